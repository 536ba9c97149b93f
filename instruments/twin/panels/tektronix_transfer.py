"""Waveform transfer of a simulated Tektronix MSO: the DATa, WFMOutpre and CURVe commands."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from instruments.twin.panels.scpi import Call, Entry, Reply, ScpiError, Tree, abbreviated, forms, number
from instruments.twin.panels.tektronix_waveform import FIELDS, RANGES, WORDS, CurveFormat, rewritten
from instruments.twin.scope_front_end import Record

if TYPE_CHECKING:
    from instruments.twin.panels.tektronix_mso import TektronixPanel

MODES = {"SAM": "Sample", "PEAK": "Peak detect", "HIR": "High res", "AVE": "Average", "ENV": "Envelope"}


class Transfer:
    """The headers that hand records out."""

    def __init__(self, panel: "TektronixPanel", tree: Tree) -> None:
        self._panel, self._settings = panel, panel.settings
        define = panel.settings.define
        sources = tuple(f"CH{n}" for n in range(1, panel.channels + 1))
        define("DATa:SOUrce", "CH1", lambda t: abbreviated(t, sources))
        for name, default in (("STARt", 1.0), ("STOP", 1e4)):
            define("DATa:" + name, default, lambda t: number(t, 1, 1e12) // 1, lambda v: str(int(float(v))))
        tree.add("DATa", Entry(self._initial))
        tree.add("WFMOutpre", Entry(None, self._whole_preamble))
        for name in FIELDS:
            write = self._set_field(name) if name in WORDS or name in RANGES else None
            tree.add("WFMOutpre:" + name, Entry(write, self._field(name)))
        tree.add("CURVe", Entry(None, self._curve))
        tree.add("WAVFrm", Entry(None, self._both))
        tree.add("CH<n>:CLIPping", Entry(None, self._clipping))

    def _field(self, name: str) -> Callable[[Call], str]:
        return lambda call: self._preamble()[name]

    def _set_field(self, name: str) -> Callable[[Call], None]:
        def write(call: Call) -> None:
            text, old = call.only()[0], str(self._settings.get("DATa:ENCdg"))
            value: str | float = abbreviated(text, WORDS[name]) if name in WORDS else number(text, *RANGES[name])
            self._settings.values.update(rewritten(name, value, old))

        return write

    def _initial(self, call: Call) -> None:
        abbreviated(call.only()[0], ("INIT",))
        for name in ("DATa:SOUrce", "DATa:ENCdg", "DATa:WIDth", "DATa:STARt", "DATa:STOP"):
            self._settings.values.pop(name, None)

    def _waveform(self) -> tuple[CurveFormat, Record]:
        get, value, record = self._settings.get, self._settings.number, self._panel.digitizer.record
        source = int(str(get("DATa:SOUrce"))[2:])
        if record is None or source not in record.codes:
            raise ScpiError(-221, f"CH{source} is not acquired")
        window = int(value("DATa:STARt")), int(value("DATa:STOP"))
        return CurveFormat(source, str(get("DATa:ENCdg")), int(value("DATa:WIDth")), *window), record

    def _preamble(self) -> dict[str, str]:
        form, record = self._waveform()
        return form.preamble(record.plan, MODES[str(self._settings.get("ACQuire:MODe"))])

    def _whole_preamble(self, call: Call) -> str:
        fields = self._preamble().items()
        if not self._panel.flag("header"):
            return ";".join(value for _, value in fields)
        verbose = self._panel.flag("verbose")
        return ";".join(f"{forms(name)[not verbose]} {value}" for name, value in fields)

    def _curve(self, call: Call) -> Reply:
        form, record = self._waveform()

        def curve() -> bytes:
            points = form.curve(record.codes[form.source], record.plan)
            return points if isinstance(points, bytes) else points.encode()

        return record.told(form, curve)

    def _both(self, call: Call) -> Reply:
        curve, head = self._curve(call), self._whole_preamble(call) + ";"
        if self._panel.flag("header"):
            head = f":{self._panel.word('WFMOutpre')}:{head}:{self._panel.word('CURVe')} "
        return head.encode() + (curve if isinstance(curve, bytes) else curve.encode())

    def _clipping(self, call: Call) -> str:
        self._panel.check_channel(call.suffixes)
        record = self._panel.digitizer.record
        codes = record.codes.get(call.suffixes[0]) if record is not None else None
        if record is None or codes is None:
            return "0"
        return str(int(codes.min() == -32768 or codes.max() >= 32768 - (1 << 16 - record.plan.bits)))
