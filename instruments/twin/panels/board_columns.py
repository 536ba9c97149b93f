"""Column mode of the board's extended dialect, and the rate of its line: what a checked frame makes the board do."""

from collections.abc import Callable
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from instruments import board_frames as frames
from instruments.clock import VirtualClock
from instruments.twin.column import DRIVER_SETTLE, FULL_SCALE, Armed, Sensed
from instruments.twin.line_rate import LineRate
from instruments.twin.panels.board_arguments import Refusal, checked, real, whole

Floats = npt.NDArray[np.float64]

CAPABILITIES: Final = "COLUMN+BAUD"
RATES: Final = (9600, 115200, 460800, 921600)
MILLIVOLT: Final = 1e-3
"""V a step of a word or source line's code."""
READ_VOLTS: Final = 0.5
SAMPLES: Final = 4096
CURRENT_STEP: Final = 0.5e-9
"""A a unit of a read's values."""
VOLT_STEP: Final = 5e-6
"""V a unit of a read's first value."""
LINE_CODES: Final = 4095
OFFSET_CODES: Final = 400
"""Highest source line while the bit line is pulsed: no more may stand across cells on the other bit lines."""
SHORTEST, LONGEST = 200e-9, 10e-3
"""Pulses on source lines, s: switches of 100 ns, and a timer."""


class Wires(Protocol):
    """What column mode needs of the bench's wires; `instruments.twin.column.ColumnWires` fulfils it."""

    pulses: int

    @property
    def place(self) -> tuple[int, int] | None:
        """Array and column that are connected."""
        ...

    @property
    def armed(self) -> Armed | None:
        """What the next pulse meets."""
        ...

    def arm(self, gates: Floats, levels: Floats) -> None:
        """Open gates for the next pulse on the bit line."""
        ...

    def reset(self, gates: Floats, levels: Floats, inhibit: float, width: float) -> None:
        """Pulse source lines."""
        ...

    def sense(self, volts: float, gate: float, samples: int, rows: npt.NDArray[np.bool_]) -> Sensed:
        """Read those rows."""
        ...


class Switches(Protocol):
    """What the verbs need of the bench's wires."""

    @property
    def arrays(self) -> int:
        """Arrays on the board."""
        ...

    @property
    def rows(self) -> int:
        """Rows of an array."""
        ...

    @property
    def cols(self) -> int:
        """Columns of an array."""
        ...

    def connect(self, mode: str, array: int, row: int, col: int) -> None:
        """Set the switches."""
        ...

    @property
    def column(self) -> Wires:
        """A whole column at the board's own drivers."""
        ...

    def connect_column(self, array: int, col: int) -> None:
        """Set the switches to a column."""
        ...


class ColumnVerbs:
    """Verbs COL, ARM, PULSE, SENSE and BAUD.

    Args:
        clock: the bench's.
        switches: the bench's wires.
        connect: sets the switches to (array, column), or to none, if the mode allows it.
        rate: of the serial line.
    """

    def __init__(
        self,
        clock: VirtualClock,
        switches: Switches,
        connect: Callable[[tuple[int, int] | None], None],
        rate: LineRate,
    ) -> None:
        self._clock, self._switches, self._connect, self._rate = clock, switches, connect, rate
        self._wires: Wires = switches.column
        self.verbs: dict[str, tuple[Callable[..., str], int, int]] = {
            "COL": (self.column, 1, 2), "COL?": (self.get_column, 0, 0), "ARM": (self.arm, 2, 2),
            "ARM?": (self.get_arm, 0, 0), "PULSE": (self.pulse, 4, 4), "SENSE": (self.sense, 4, 4),
            "BAUD": (self.baud, 1, 1), "BAUD?": (self.get_baud, 0, 0),
        }  # fmt: skip

    def execute(self, verb: str, arguments: list[str]) -> str:
        """Do what a frame asks for; the data of its reply."""
        handler, least, most = self.verbs[verb]
        return handler(*checked(arguments, least, most))

    def column(self, *place: str) -> str:
        """COL a c, COL NONE."""
        if place == ("NONE",):
            self._connect(None)
        elif len(place) == 2:
            sizes = (self._switches.arrays, self._switches.cols)
            array, col = (whole(text, 0, size - 1) for text, size in zip(place, sizes, strict=True))
            self._connect((array, col))
        else:
            raise Refusal(frames.BAD_ARGUMENTS, "COL needs array and column, or NONE")
        return self.get_column()

    def get_column(self) -> str:
        """COL?"""
        place = self._wires.place
        return "NONE" if place is None else "{} {}".format(*place)

    def arm(self, gates: str, levels: str) -> str:
        """ARM gates levels."""
        self._connected()
        asked = self._volts(gates, LINE_CODES), self._volts(levels, OFFSET_CODES)
        self._clock.sleep(DRIVER_SETTLE)
        self._wires.arm(*asked)
        return self.get_arm()

    def get_arm(self) -> str:
        """ARM?"""
        armed = self._wires.armed
        return "NONE" if armed is None else f"{int(np.count_nonzero(armed.gates))} {self._wires.pulses}"

    def pulse(self, gates: str, levels: str, inhibit: str, width: str) -> str:
        """PULSE gates levels inhibit width."""
        self._connected()
        opened, raised = self._volts(gates, LINE_CODES), self._volts(levels, LINE_CODES)
        common, seconds = real(inhibit, 0.0, LINE_CODES * MILLIVOLT), real(width, SHORTEST, LONGEST)
        self._clock.sleep(DRIVER_SETTLE)
        self._wires.reset(opened, raised, common, seconds)
        return str(int(np.count_nonzero(opened)))

    def _volts(self, digits: str, most: int) -> Floats:
        try:
            codes = frames.unpack_codes(digits)
        except ValueError:
            raise Refusal(frames.BAD_ARGUMENTS, "lines are two base64 digits each") from None
        if len(codes) != self._switches.rows:
            raise Refusal(frames.BAD_ARGUMENTS, f"one value for each of {self._switches.rows} rows")
        if max(codes) > most:
            raise Refusal(frames.OUT_OF_RANGE, f"codes are 0..{most}")
        return np.array(codes) * MILLIVOLT

    def sense(self, volts: str, gate: str, samples: str, mask: str) -> str:
        """SENSE v g n rows."""
        self._connected()
        try:
            rows = frames.unpack_mask(mask, self._switches.rows)
        except ValueError as error:
            raise Refusal(frames.BAD_ARGUMENTS, str(error)) from None
        asked = real(volts, -READ_VOLTS, READ_VOLTS), real(gate, 0.0, LINE_CODES * MILLIVOLT)
        found = self._wires.sense(*asked, whole(samples, 1, SAMPLES), rows)
        codes = np.rint(found.currents / CURRENT_STEP).astype(int)
        codes[found.currents >= FULL_SCALE] = frames.MOST_VALUE  # clipped: not a value but a mark
        codes[found.currents <= -FULL_SCALE] = -frames.MOST_VALUE
        return frames.pack_values([round(found.volts / VOLT_STEP), *codes.tolist()])

    def baud(self, rate: str) -> str:
        """BAUD r: the reply still comes at the old rate."""
        wanted = whole(rate, 0, 999_999)
        if wanted not in RATES:
            raise Refusal(frames.OUT_OF_RANGE, ", ".join(map(str, RATES)))
        self._rate.change(wanted)
        return str(wanted)

    def get_baud(self) -> str:
        """BAUD?"""
        return str(self._rate.board)

    def _connected(self) -> None:
        if self._wires.place is None:
            raise Refusal(frames.WRONG_MODE, "no column is connected: COL array column in PROGRAM")
