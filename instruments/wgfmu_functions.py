"""The functions of the vendor's WGFMU library under Python names, its constants and its error codes.

From the public header `wgfmu.h`; see `instruments.wgfmu` for what it is about.
"""

import enum
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from instruments.errors import InstrumentError, LimitError

Floats = npt.NDArray[np.float64]

TICK = 10e-9
"""Resolution of every time in a pattern, s."""


class OperationMode(enum.IntEnum):
    """What a channel is; SMU passes the analyzer's SMU on through the remote switch."""

    DC = 2000
    FAST_IV = 2001
    PG = 2002
    SMU = 2003


class ForceRange(enum.IntEnum):
    """Output range."""

    AUTO = 3000
    V3 = 3001
    V5 = 3002
    V10_NEGATIVE = 3003
    V10_POSITIVE = 3004


class MeasureMode(enum.IntEnum):
    """What is measured."""

    VOLTAGE = 4000
    CURRENT = 4001


class VoltageRange(enum.IntEnum):
    """Voltage measurement range."""

    V5 = 5001
    V10 = 5002


class CurrentRange(enum.IntEnum):
    """Current measurement range."""

    UA1 = 6001
    UA10 = 6002
    UA100 = 6003
    MA1 = 6004
    MA10 = 6005

    @property
    def amps(self) -> float:
        """Full scale, A."""
        return float(f"1e{self - 6007}")

    @classmethod
    def holding(cls, amps: float) -> "CurrentRange":
        """The smallest range that holds a current (A); LimitError beyond 10 mA."""
        for member in cls:
            if abs(amps) <= member.amps:
                return member
        raise LimitError(f"WGFMU: {amps:g} A is more than its largest range of 10 mA; expect less current")


class Status(enum.IntEnum):
    """State of a channel's sequencer."""

    COMPLETED = 10000
    DONE = 10001
    RUNNING = 10002
    ABORT_COMPLETED = 10003
    ABORTED = 10004
    RUNNING_ILLEGAL = 10005
    IDLE = 10006


class EventData(enum.IntEnum):
    """What a measurement event gives: a value for each point, or all conversions (one each 5 ns)."""

    AVERAGED = 12000
    RAW = 12001


class Axis(enum.IntEnum):
    """How `create_merged_pattern` joins two patterns."""

    TIME = 9000
    VOLTAGE = 9001


OUT_OF_RANGE, ILLEGAL_STRING, CONTEXT, NOT_SUPPORTED, COMMUNICATION = -1, -2, -3, -4, -5
CHANNEL_NOT_FOUND, PATTERN_NOT_FOUND, EVENT_NOT_FOUND, PATTERN_EXISTS = -9, -10, -11, -12
NOT_RUNNING, NOT_READY, OUT_OF_DATE = -13, -14, -15
ERROR_TEXTS = {
    OUT_OF_RANGE: "a parameter is out of range", ILLEGAL_STRING: "a name is empty or illegal",
    CONTEXT: "settings contradict each other", NOT_SUPPORTED: "the channel doesn't support this function",
    COMMUNICATION: "the analyzer can't be reached", -6: "the analyzer's firmware reports an error",
    -7: "the library failed", -8: "the library failed for a reason that it doesn't tell",
    CHANNEL_NOT_FOUND: "there is no such WGFMU channel", PATTERN_NOT_FOUND: "there is no such pattern",
    EVENT_NOT_FOUND: "there is no such event", PATTERN_EXISTS: "there is a pattern of that name already",
    NOT_RUNNING: "no sequencer runs", NOT_READY: "the measurement is not over",
    OUT_OF_DATE: "the result was dropped when settings changed",
}  # fmt: skip


class WgfmuError(InstrumentError):
    """A function of the library returned a negative code."""

    def __init__(self, code: int, detail: str = "") -> None:
        """Keep the code (see `ERROR_TEXTS`)."""
        super().__init__(f"WGFMU: {ERROR_TEXTS.get(code, f'error {code}')}{': ' if detail else ''}{detail}")
        self.code = code


class WgfmuLibrary(Protocol):
    """The functions of the vendor's library that a measurement needs; each raises WgfmuError. Volts, seconds, amps."""

    def open_session(self, address: str) -> None:
        """Connect to the analyzer at a VISA address."""

    def close_session(self) -> None:
        """Give the analyzer back."""

    def initialize(self) -> None:
        """Reset every WGFMU channel: disconnected, SMU mode."""

    def clear(self) -> None:
        """Forget patterns, sequences and errors; the hardware stays as it is."""

    def channel_ids(self) -> list[int]:
        """Channels there are: 101 to 1002, slot and channel."""
        ...

    def set_operation_mode(self, channel: int, mode: int) -> None:
        """An `OperationMode`."""

    def set_force_voltage_range(self, channel: int, force_range: int) -> None:
        """A `ForceRange`."""

    def set_measure_mode(self, channel: int, mode: int) -> None:
        """A `MeasureMode`."""

    def set_measure_voltage_range(self, channel: int, voltage_range: int) -> None:
        """A `VoltageRange`."""

    def set_measure_current_range(self, channel: int, current_range: int) -> None:
        """A `CurrentRange`."""

    def set_measure_enabled(self, channel: int, enabled: bool) -> None:
        """Whether the channel measures."""

    def connect(self, channel: int) -> None:
        """Close the output."""

    def disconnect(self, channel: int) -> None:
        """Open the output."""

    def create_pattern(self, pattern: str, volts: float) -> None:
        """A new pattern that starts at `volts`."""

    def add_vectors(self, pattern: str, durations: Sequence[float], volts: Sequence[float]) -> None:
        """Append straight lines: so long, to that level."""

    def set_measure_event(
        self, pattern: str, event: str, time: float, points: int, interval: float, average: float, data: int
    ) -> None:
        """Measure `points` times from `time` on, every `interval`, over `average` each (an `EventData`)."""

    def set_range_event(self, pattern: str, event: str, time: float, current_range: int) -> None:
        """Change the current range at `time` of the pattern."""

    def add_sequence(self, channel: int, pattern: str, loops: float) -> None:
        """Append a pattern, so many times, to what the channel will play."""

    def execute(self) -> None:
        """Start all connected channels at once."""

    def wait_until_completed(self) -> None:
        """Until all data can be read."""

    def abort(self) -> None:
        """Stop; the outputs stay where they are."""

    def status(self) -> tuple[int, float, float]:
        """(`Status`, elapsed seconds, total seconds)."""
        ...

    def measure_value_size(self, channel: int) -> tuple[int, int]:
        """(values there are, values there will be)."""
        ...

    def measure_values(self, channel: int, offset: int, size: int) -> tuple[Floats, Floats]:
        """Times from the start (s) and values (V or A), from `offset` on."""
        ...

    def dc_force_voltage(self, channel: int, volts: float) -> None:
        """Force in DC mode."""

    def dc_measure_value(self, channel: int) -> float:
        """Measure once in DC mode, V or A."""
        ...
