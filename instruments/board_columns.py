"""A whole column at the board's own drivers and converters: the driver's side of the dialect's column mode.

The specification is board_protocol.md, "A column at once".
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from instruments import board_frames as frames
from instruments.board import Board
from instruments.errors import DoubtError, InstrumentError, LimitError, LinkError
from instruments.link import readable

Floats = npt.NDArray[np.float64]

MILLIVOLT: Final = 1e-3
CURRENT_STEP: Final = 0.5e-9
VOLT_STEP: Final = 5e-6
SAMPLE_SECONDS: Final = 5e-6
"""s that one sample of all rows takes."""
MOST_SAMPLES: Final = 4096
MOST_CODE: Final = 4095
MOST_OFFSET: Final = 0.4
"""V; highest source line while the bit line is pulsed."""
SHORTEST, LONGEST = 200e-9, 10e-3
"""Pulses on source lines, s."""


class Sensed(NamedTuple):
    """A column as the board read it.

    Attributes:
        volts: measured on the bit line, V.
        currents: A, one a row; NaN where none was asked for.
        clipped: rows whose current is beyond the converter: their value is a lower bound.
    """

    volts: float
    currents: Floats
    clipped: npt.NDArray[np.bool_]


class BoardColumns:
    """Column mode of a board.

    Args:
        board: the driver.
        rows: of its arrays that are used, from 0 on; the board may have more, which stay off.

    Raises (all methods):
        InstrumentError: the board has no column mode, is silent, or refuses.
        ModeError: it is not in programming mode, or no column is connected.
        LimitError: a voltage would pass a limit; nothing was sent.
    """

    def __init__(self, board: Board, rows: int) -> None:
        self._board, self._rows = board, rows
        self._there: int | None = None

    @property
    def _lines(self) -> int:
        if self._there is None:
            self._there = self._board.geometry()[1]
        return self._there

    def require(self) -> None:
        """Refuse a board that can't do it, in one sentence."""
        if "COLUMN" not in self._board.capabilities:
            raise InstrumentError(
                "board: it reports no column mode (capability COLUMN of dialect 1.2); program cell by cell, "
                "or load a firmware that has it (instruments/board_protocol.md)"
            )

    def connect(self, array: int, col: int) -> None:
        """Connect a bit line, all gates off (programming mode)."""
        self._ask(f"COL {array} {col}")

    def disconnect(self) -> None:
        """Connect no column (programming mode)."""
        self._ask("COL NONE")

    def connected(self) -> tuple[int, int] | None:
        """Array and column that the board says are connected."""
        answer = self._ask("COL?")
        if answer == "NONE":
            return None
        with readable("board, COL?"):
            array, col = (int(word) for word in answer.split())
            return array, col

    def arm(self, gates: Floats, levels: Floats) -> None:
        """Open gates and raise source lines for the next pulse on the bit line, which must come within a second.

        Args:
            gates: V, shape (rows,), to a millivolt; 0 keeps a row out.
            levels: source lines, V, shape (rows,), up to `MOST_OFFSET`.
        """
        codes, raised = self.codes("word line", gates), self.codes("source line", levels)
        answer = self._ask(f"ARM {self._digits(codes)} {self._digits(raised)}")
        wanted = f"{np.count_nonzero(codes)} 0"
        if answer != wanted:
            raise InstrumentError(f"board: it was to be armed for {wanted!r} and says {answer!r}; nothing was pulsed")

    def pulse(self, gates: Floats, levels: Floats, inhibit: float, width: float) -> None:
        """Pulse source lines, each to its own level, the other bit lines at a common one.

        Args:
            gates: V, shape (rows,); 0 keeps a row out.
            levels: V, shape (rows,).
            inhibit: V.
            width: s, 200 ns..10 ms.

        Raises:
            DoubtError: no answer came, so nobody knows whether the pulse did.
        """
        codes, raised = self.codes("word line", gates), self.codes("source line", levels)
        self._board.check("inhibited bit line", inhibit)
        if not 0 <= inhibit <= 4.095 or not SHORTEST <= width <= LONGEST:
            raise LimitError(
                f"board: it pulses for {SHORTEST:g} s to {LONGEST:g} s with bit lines at 0 V to 4.095 V at most"
            )
        # A frame that is repeated is answered from memory: the pulse comes once or never.
        try:
            answer = self._ask(f"PULSE {self._digits(codes)} {self._digits(raised)} {inhibit:.3f} {width:.9f}")
        except LinkError as error:
            raise DoubtError(f"source lines may have been pulsed or not ({error})") from error
        if answer != str(np.count_nonzero(codes)):
            raise DoubtError(f"{np.count_nonzero(codes)} rows were to be pulsed and the board says {answer!r}")

    def codes(self, name: str, volts: Floats) -> list[int]:
        """Codes of line voltages, shape (rows,), each of which has passed the limits."""
        if volts.shape != (self._rows,) or not np.all(np.isfinite(volts)):
            raise LimitError(f"board: a column takes {self._rows} finite voltages; nothing was sent")
        codes = np.rint(volts / MILLIVOLT).astype(int)
        for limit in (float(codes.min()) * MILLIVOLT, float(codes.max()) * MILLIVOLT):
            self._board.check(name, limit)
        if codes.min() < 0 or codes.max() > MOST_CODE:
            raise LimitError("board: its drivers give 0 V to 4.095 V; nothing was sent")
        found: list[int] = codes.tolist()
        return found

    def _digits(self, codes: list[int]) -> str:
        return frames.pack_codes(codes + [0] * (self._lines - self._rows))

    def pulses(self) -> int:
        """How many pulses the board has seen on its bit line since it was armed."""
        answer = self._ask("ARM?")
        if answer == "NONE":
            return 0
        with readable("board, ARM?"):
            _, pulses = answer.split()
            return int(pulses)

    def sense(self, volts: float, gate: float, samples: int, rows: npt.NDArray[np.bool_] | None = None) -> Sensed:
        """Read rows at once; the gates of the others stay closed.

        Args:
            volts: on the bit line, V, -0.5..0.5.
            gate: on every word line, V.
            samples: to average, 1..4096, 5 us each.
            rows: which, shape (rows,); all if None. The currents of the others are NaN.
        """
        self._board.check("column read", volts)
        self._board.check("word line", gate)
        if not 1 <= samples <= MOST_SAMPLES:
            raise InstrumentError(f"board: {samples} samples are outside 1..{MOST_SAMPLES}")
        chosen = np.ones(self._rows, dtype=np.bool_) if rows is None else rows
        mask = frames.pack_mask([*chosen.tolist(), *[False] * (self._lines - self._rows)])
        answer = self._ask(f"SENSE {volts:.6f} {gate:.6f} {samples} {mask}")
        with readable("board, SENSE"):
            first, *others = frames.unpack_values(answer)
            if len(others) != int(chosen.sum()):
                raise ValueError(f"{len(others)} rows")
            codes = np.full(self._rows, np.nan)
            codes[chosen] = others
            clipped = np.abs(codes) >= frames.MOST_VALUE
            return Sensed(first * VOLT_STEP, codes * CURRENT_STEP, clipped)

    def set_rate(self, rate: int) -> int:
        """Ask for a faster line (bit/s); the rate that it has then."""
        return self._board.set_rate(rate)

    def _ask(self, body: str) -> str:
        return self._board.ask(body, "connect a whole column")
