"""How an InfiniiVision oscilloscope puts a record into words: preamble and data blocks.

Certain (programmer's guides of the X-Series): the ten fields of the preamble; blocks `#8` with eight digits; WORD data
left-shifted, BYTE data truncated; 0 for a hole, 1 for clipped low, all ones for clipped high.
From memory of traces of such instruments: 199 of the 256 levels span the screen, hence the y increment.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from instruments.twin.panels.scpi import block
from instruments.twin.scope_front_end import Input, Plan

LEVELS, SCREEN_LEVELS = 256, 199
FORMATS = {"BYTE": 0, "WORD": 1, "ASC": 4}
TYPES = {"NORM": 0, "PEAK": 1, "AVER": 2, "HRES": 3}
_SIGN = 0x8000


@dataclass(frozen=True)
class WaveformFormat:
    """What the WAVeform commands asked for: BYTE, WORD or ASC; unsigned codes; least significant byte first."""

    form: str
    unsigned: bool
    little: bool

    def scale(self, used: Input) -> tuple[float, float, int]:
        """Y increment (V), origin (V) and reference of a channel's codes."""
        word = self.form == "WORD"
        reference = (_SIGN if word else 128) if self.unsigned else 0
        return used.span / (65536 if word else LEVELS), used.centre, reference

    def preamble(self, plan: Plan, used: Input, kind: str, count: int = 1) -> str:
        """The ten fields: format, type, points, count, x increment, origin and reference, y likewise."""
        step, origin, reference = self.scale(used)
        counts = [f"+{n}" for n in (FORMATS[self.form], TYPES[kind], plan.points, count)]
        x = [f"{plan.step:+.8E}", f"{plan.first:+.8E}", "+0"]
        return ",".join([*counts, *x, f"{step:+.8E}", f"{origin:+.8E}", f"+{reference}"])

    def data(self, codes: npt.NDArray[np.int16], plan: Plan, used: Input) -> bytes:
        """The data block."""
        if self.form == "ASC":
            step, origin, _ = self.scale(used)
            volts = (codes >> 8) * step + origin
            return block(",".join(f"{v:+.5E}" for v in volts).encode(), 8)
        # The outermost levels of the converter are reserved: 0 for holes, the next and the last for what was clipped.
        high = codes >= 32768 - (1 << 16 - plan.bits)
        words = codes.view(np.uint16) ^ np.uint16(_SIGN)
        if self.form == "WORD":
            words[words == 0] = 1
            words[high] = 0xFFFF
            words ^= np.uint16(0 if self.unsigned else _SIGN)
            return block(words.astype("<u2" if self.little else ">u2", copy=False).tobytes(), 8)
        octets = np.maximum(words >> 8, 1).astype(np.uint8)
        octets[high] = 0xFF
        octets ^= np.uint8(0 if self.unsigned else 0x80)
        return block(octets.tobytes(), 8)
