"""The board's five MAX5742 DACs (12 bits, four outputs each): words, their order, what the outputs hold.

Order, chips and the cast are facts of the published firmware (yangjc97/memristor-sde-diffusion, commit
2ec8b0b, `TIMER/timer.c` and `max5742/max5742.c`); that command bits 0..3 load outputs A..D is the MAX5742's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint16]
Route = tuple[int, tuple[int, ...], tuple[int, ...]]
"""Array, rows (one an output), columns (one an input, the bias last) of a layer."""

MID: Final = 2048  # code of 0 V

COLUMNS: Final = ("g2", "fx", *(f"t{i}" for i in range(1, 15)), "noise1", "noise2")
CHIPS: Final = np.array([9, 9] + [1] * 4 + [2] * 4 + [3] * 4 + [4] * 2 + [9, 9], dtype=np.uint8)
NIBBLES: Final = np.array([0, 1] + [0, 1, 2, 3] * 3 + [0, 1] + [2, 3], dtype=np.uint16)
_OUTPUT: Final = {pair: i for i, pair in enumerate(zip(CHIPS.tolist(), NIBBLES.tolist(), strict=True))}

WORD_RECORD: Final = np.dtype([("tick", "i4"), ("time", "f8"), ("chip", "u1"), ("word", "u2")])


@dataclass(frozen=True)
class SwitchEdge:
    """Switch `name` ("S1".."S4") goes to `level` (0 or 1) at `time` s after the run's first interrupt."""

    time: float
    name: str
    level: int


@dataclass(frozen=True)
class RunTrace:
    """All that one run put on the board's wires.

    Attributes:
        start: instant of the first interrupt on the board's clock, s.
        words: every DAC word in order, `WORD_RECORD`; `time` is when it is latched, s after `start`; the last
            tick is the closing write.
        volts: what the 18 outputs (`COLUMNS`) held after each tick, V, shape (ticks + 1, 18), the last row
            after the closing write; an output that a misaddressed word missed keeps its voltage.
        edges: switch edges in order.
        initial: pre-charge of the two integrators in V, or None where it was set by hand.
        aborted: whether the run was stopped early.
        analog: analog settings that the host changed (`ANALOG`), by name; the board's resistors otherwise.
        routes: lines that the host wired (`ROUTE`): layer -> (array, rows, columns); the board's wiring otherwise.
    """

    start: float
    words: npt.NDArray[np.void]
    volts: npt.NDArray[np.float64]
    edges: tuple[SwitchEdge, ...]
    initial: tuple[float, float] | None = None
    aborted: bool = False
    analog: Mapping[str, float] = field(default_factory=dict)
    routes: Mapping[int, Route] = field(default_factory=dict)

    @property
    def ticks(self) -> int:
        """Active ticks: the closing write is not one."""
        return len(self.volts) - 1


def dac_codes(volts: npt.NDArray[np.floating]) -> Words:
    """Codes of the firmware's cast: trunc(2048 (1 + v)), saturating below 0, wrapping only at 16 bits."""
    scaled = np.float32(MID) * (np.float32(1) + volts.astype(np.float32))
    codes: Words = (np.maximum(scaled, 0).astype(np.int64) & 0xFFFF).astype(np.uint16)
    return codes


def decode(words: Words, held: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Voltages that the outputs hold after each tick.

    Args:
        words: words in write order, shape (n, 18).
        held: codes held before, shape (18,); left as they are after the last tick.

    Returns:
        Volts, shape (n, 18). A word whose nibble is above 3 (reached only from 7 V on), or names an output
        without a wire, changes nothing.
    """
    if np.array_equal(words >> 12, np.broadcast_to(NIBBLES, words.shape)):
        codes = (words & 0x0FFF).astype(np.int64)
        if len(codes):
            held[:] = codes[-1]
    else:
        codes = np.empty(words.shape, np.int64)
        for row, line in enumerate(words.tolist()):
            for chip, word in zip(CHIPS.tolist(), line, strict=True):
                output = _OUTPUT.get((chip, word >> 12))
                if output is not None:
                    held[output] = word & 0x0FFF
            codes[row] = held
    return codes / MID - 1.0
