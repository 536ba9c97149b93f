"""A bench without physics and a serial line without VISA, for the board's tests."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from pyvisa.constants import StatusCode
from pyvisa.errors import VisaIOError

from instruments import board_frames as frames
from instruments.clock import VirtualClock
from instruments.twin.column import FULL_SCALE, Armed, Sensed
from instruments.twin.dac import RunTrace
from instruments.twin.panels.board import BoardPanel


@dataclass
class FakeColumn:
    """A column without cells: every row conducts alike."""

    rows: int = 32
    place: tuple[int, int] | None = None
    armed: Armed | None = None
    pulses: int = 0

    resets: list[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float, float]] = field(default_factory=list)

    def arm(self, gates: npt.NDArray[np.float64], levels: npt.NDArray[np.float64]) -> None:
        self.armed, self.pulses = Armed(gates, levels, 0), 0

    def reset(
        self, gates: npt.NDArray[np.float64], levels: npt.NDArray[np.float64], inhibit: float, width: float
    ) -> None:
        self.armed = None
        self.resets.append((gates, levels, inhibit, width))

    def sense(self, volts: float, gate: float, samples: int, rows: npt.NDArray[np.bool_]) -> Sensed:
        self.armed = None
        return Sensed(volts, (volts * np.linspace(0, 310e-6, self.rows)[rows]).clip(max=FULL_SCALE))


@dataclass
class FakeFixture:
    """Remembers what the board did to the wires."""

    arrays: int = 3
    rows: int = 32
    cols: int = 32
    connections: list[tuple[str, int, int, int]] = field(default_factory=list)
    traces: list[RunTrace] = field(default_factory=list)
    column: FakeColumn = field(default_factory=FakeColumn)

    def connect(self, mode: str, array: int, row: int, col: int) -> None:
        self.connections.append((mode, array, row, col))
        self.column.place = self.column.armed = None

    def connect_column(self, array: int, col: int) -> None:
        self.connect("program", -1, -1, -1)
        self.column.place = (array, col)

    def computed(self, trace: RunTrace) -> None:
        self.traces.append(trace)


class FakeBench:
    """Clock, chance and wires."""

    def __init__(self, start_ns: int = 0) -> None:
        self.clock = VirtualClock(start_ns)
        self.fixture = FakeFixture()
        self.draws = 0

    def rng(self, stream: str) -> np.random.Generator:
        self.draws += 1
        return np.random.Generator(np.random.Philox(key=7, counter=[0, 0, 0, self.draws]))


class FakeSerial:
    """A pyvisa-like resource whose far end is a panel; `to_board` and `to_host` may damage or lose what passes."""

    def __init__(self, panel: BoardPanel, clock: VirtualClock) -> None:
        self.read_termination: str | None = None
        self.sent: list[bytes] = []
        self.locks = 0
        self.to_board: Callable[[bytes], bytes | None] = lambda line: line
        self.to_host: Callable[[bytes], bytes | None] = lambda line: line
        self._panel, self._clock = panel, clock
        self._incoming = bytearray()

    def write_raw(self, message: bytes) -> int:
        self.sent.append(message)
        self._clock.sleep(1.04e-3 * len(message))
        arrived = self.to_board(message.removesuffix(b"\r\n"))
        if arrived is not None:
            for reply in self._panel.handle(arrived) or []:
                back = self.to_host(reply)
                if back is not None:
                    self._incoming += back + b"\r\n"
        return len(message)

    def read_raw(self) -> bytes:
        line, end, rest = self._incoming.partition(b"\n")
        if not end:
            self._clock.sleep(2.0)
            raise VisaIOError(StatusCode.error_timeout)
        self._incoming = bytearray(rest)
        return bytes(line + end)

    @contextmanager
    def lock_context(self) -> Iterator[None]:
        self.locks += 1
        yield


def framed(body: str, seq: int = 0) -> bytes:
    """A frame without CR LF."""
    return frames.encode_frame(seq, body)


def ask(panel: BoardPanel, body: str, seq: int = 0) -> str:
    """Exchange one frame with a panel; the text of its reply, sequence number checked."""
    replies = panel.handle(framed(body, seq))
    assert replies is not None
    (reply,) = replies
    answer = frames.decode_frame(reply)
    assert answer.seq == seq
    return answer.body
