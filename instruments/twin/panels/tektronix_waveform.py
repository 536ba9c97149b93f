"""How a Tektronix 4, 5 or 6 Series MSO puts a record into words: numbers, preamble, curve.

Certain (programmer manuals, Tektronix's published command lists): the fields; V = YZERO + YMULT (code - YOFF); 25
levels a division in 8 bits, 6400 in 16, hence 10.24 divisions in all; the five binary encodings.
Uncertain: XZERO as the time of the first point while PT_OFF counts the points before the trigger (the manuals' example
has PT_OFF 0, and older families make XZERO a fraction of a sample).
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from instruments.twin.panels.scpi import Reply, block
from instruments.twin.panels.scpi_state import Value
from instruments.twin.scope_front_end import Plan

SPAN_DIVISIONS = 10.24
FIELDS = (
    "BYT_Nr", "BIT_Nr", "ENCdg", "BN_Fmt", "BYT_Or", "WFId", "NR_Pt", "PT_Fmt", "PT_ORder", "XUNit", "XINcr", "XZEro",
    "PT_Off", "YUNit", "YMUlt", "YOFf", "YZEro",
)  # fmt: skip
# By DATa:ENCdg: ENCDG, BN_FMT (signed or not), BYT_OR.
_ENCODINGS = {
    "ASCI": ("ASCII", "RI", "MSB"),
    "FAS": ("BINARY", "RI", "MSB"),
    "RIB": ("BINARY", "RI", "MSB"),
    "RPB": ("BINARY", "RP", "MSB"),
    "SRI": ("BINARY", "RI", "LSB"),
    "SRP": ("BINARY", "RP", "LSB"),
}


WORDS = {"ENCdg": ("ASCIi", "BINary"), "BN_Fmt": ("RI", "RP"), "BYT_Or": ("MSB", "LSB")}
RANGES = {"BYT_Nr": (1.0, 2.0), "BIT_Nr": (8.0, 16.0)}
"""Fields that can be set, and what to; they change what DATa says."""


def rewritten(name: str, value: str | float, encoding: str) -> dict[str, Value]:
    """The DATa settings that writing a field changes, the encoding having been `encoding`."""
    if name in ("BYT_Nr", "BIT_Nr"):
        return {"DATa:WIDth": float(value if name == "BYT_Nr" else round(float(value) / 8)) // 1}
    kind, form, order = _ENCODINGS[encoding]
    if name == "ENCdg":
        kind = "ASCII" if value == "ASCI" else "BINARY"
    elif name == "BN_Fmt":
        form = str(value)
    else:
        order = str(value)
    chosen = {("RI", "MSB"): "RIB", ("RP", "MSB"): "RPB", ("RI", "LSB"): "SRI", ("RP", "LSB"): "SRP"}[form, order]
    return {"DATa:ENCdg": "ASCI" if kind == "ASCII" else chosen}


@dataclass(frozen=True)
class CurveFormat:
    """What the DATa commands asked for.

    Attributes:
        source: channel.
        encoding: DATa:ENCdg in its short form.
        width: bytes a point, 1 or 2.
        start: first point, from 1.
        stop: last point; beyond the record: its end.
    """

    source: int
    encoding: str
    width: int
    start: int
    stop: int

    def window(self, plan: Plan) -> slice:
        """The points to transfer, from 0."""
        stop = min(self.stop, plan.points)
        return slice(min(self.start, stop) - 1, stop)

    def preamble(self, plan: Plan, mode: str) -> dict[str, str]:
        """The fields of WFMOutpre in their order; `mode` is what WFID says of the acquisition."""
        used, window = plan.inputs[self.source], self.window(plan)
        kind, form, order = _ENCODINGS[self.encoding]
        step = used.span / 2 ** (8 * self.width)
        scales = f"{used.span / SPAN_DIVISIONS:.4g} V/div, {plan.step * plan.points / 10:.4g} s/div"
        values = (
            str(self.width), str(8 * self.width), kind, form, order,
            f'"Ch{self.source}, DC coupling, {scales}, {plan.points} points, {mode} mode"',
            str(window.stop - window.start), "Y", "LINEAR", '"s"',
            engineering(plan.step), engineering(plan.first + window.start * plan.step),
            str(round(-plan.first / plan.step) - window.start), '"V"', engineering(step),
            engineering(0.0 if form == "RI" else 2 ** (8 * self.width - 1)), engineering(used.centre),
        )  # fmt: skip
        return dict(zip(FIELDS, values, strict=True))

    def curve(self, codes: npt.NDArray[np.int16], plan: Plan) -> Reply:
        """The points, as text or as a block."""
        kind, form, order = _ENCODINGS[self.encoding]
        points = codes[self.window(plan)]
        samples = points if self.width == 2 else (points >> 8).astype(np.int8)
        if kind == "ASCII":
            return ",".join(map(str, samples.tolist()))
        if form == "RP":
            samples = samples ^ np.iinfo(samples.dtype).min
        return block(samples.astype(samples.dtype.newbyteorder("<" if order == "LSB" else ">"), copy=False).tobytes())


def engineering(value: Value) -> str:
    """A number as these instruments write it: 80.0000E-6."""
    plain = float(value)
    if plain == 0 or not math.isfinite(plain):
        return "0.0"
    exponent = 3 * math.floor(math.log10(abs(plain)) / 3)
    mantissa = plain / 10.0**exponent
    if round(abs(mantissa), 4) >= 1000:
        exponent, mantissa = exponent + 3, mantissa / 1000
    return f"{mantissa:.4f}E{exponent:+d}" if exponent else f"{mantissa:.4f}"
