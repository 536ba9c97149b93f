"""Replies that no sane instrument gives, fed to our drivers: only our own errors may come of them, and soon."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pymeasure.adapters import Adapter
from pyvisa.constants import StatusCode
from pyvisa.errors import VisaIOError

from instruments import board_frames as frames
from instruments.b1500a import B1500A
from instruments.board import Board
from instruments.clock import VirtualClock
from instruments.errors import StationError
from instruments.limits import FlexGate, Limits

CHANNELS = {1: "bit_line", 601: "bit_line", 3: "source_line", 602: "source_line", 2: "word_line"}
MOST_TRANSFERS = 2000
"""Transfers in one call of a driver; more is a hang."""
GOOD = {
    "*IDN?": "Agilent Technologies,B1500A,0,A.06.02.2023.0401",
    "ERRX?": '+0,"No Error."',
    "UNT?": "B1517A,0;B1517A,0;B1517A,0;B1517A,0;0,0;B1525A,0;0,0;0,0;0,0;0,0",
    "SPST?": "0",
    "*LRN? 0": "CL1,2;DV3,0,+00.0000E+00,+1.00000E-04",
    "*LRN? 31": "TM1;AV1,0;CM0;FMT1,0;MM2,1,2",
    "*LRN? 32": "RI1,0;RV1,0",
    "*LRN? 47": "MV1,0;MT0,0.002,1;ML1",
    "TI": "000AI+012.3450E-06",
    "TV": "000BV+000.2000E+00",
    "XE": "NAI+000.005E-09,NBV+000.200E+00",
}
SPLINTERS = (
    "nan", "inf", "-inf", "1e999", "+199.9990E+99", "-1", "0", "999999999999999999999", ",", ";", '"', "+", "E", " ",
    "", "#", "@", "*", "\x00", "\xff", "0x10", "_1", "1_0", "\u0664", "OK", "ERR", "ERR 30 x", "ERR 10 x", "NONE",
    '+5,"x"',
)  # fmt: skip


@dataclass
class Spoiler:
    """Makes wrong replies of right ones."""

    rng: np.random.Generator
    made: int = 0

    def text(self, right: str) -> bytes:
        """A reply that may be anything."""
        self.made += 1
        rng, raw = self.rng, bytearray(right.encode("latin-1"))
        lot = rng.integers(8)
        if lot == 0:
            return bytes(rng.integers(0, 256, int(rng.integers(0, 80)), dtype=np.uint8))
        if lot == 1:
            return bytes(raw[: int(rng.integers(0, len(raw) + 1))])
        if lot == 2:
            return " ".join(rng.choice(SPLINTERS, int(rng.integers(0, 5)))).encode("utf-8")
        for _ in range(int(rng.integers(1, 5))):
            at = int(rng.integers(0, len(raw) + 1))
            if lot <= 4 and raw:
                other = rng.integers(0, 256) if lot == 3 else rng.choice(list(b"0123456789+-.E,"))
                raw[min(at, len(raw) - 1)] = int(other)
            elif lot == 5:
                raw[at:at] = str(rng.choice(SPLINTERS)).encode("utf-8")
            elif lot == 6:
                del raw[at : at + int(rng.integers(1, 4))]
            else:
                raw[at:at] = raw[: int(rng.integers(0, 20))]
        return bytes(raw)


class Rambling(Adapter):
    """An analyzer whose replies are spoilt now and then."""

    def __init__(self, spoiler: Spoiler, share: float) -> None:
        super().__init__()
        self.spoiler, self.share = spoiler, share
        self.asked, self.transfers = "", 0
        self.sent: list[str] = []

    def _write(self, command: str, **kwargs: Any) -> None:
        self.count()
        self.asked = command.split(";")[-1]
        self.sent.append(command)

    def _read(self, **kwargs: Any) -> str:
        return self.reply().decode("ascii")

    def _read_bytes(self, count: int, **kwargs: Any) -> bytes:
        return self.reply()[:count] if count >= 0 else self.reply()

    def reply(self) -> bytes:
        self.count()
        right = GOOD.get(self.asked) or GOOD.get(self.asked.split()[0] if self.asked.split() else "", "1")
        if self.spoiler.rng.random() >= self.share:
            return right.encode()
        if self.spoiler.rng.random() < 0.05:
            raise VisaIOError(self.spoiler.rng.choice([StatusCode.error_timeout, StatusCode.error_connection_lost]))
        return self.spoiler.text(right)

    def count(self) -> None:
        self.transfers += 1
        assert self.transfers < MOST_TRANSFERS, "the driver hangs"


def analyzer_calls(inst: B1500A) -> Iterator[Callable[[], object]]:
    """Every parser that the driver has."""

    def fire() -> None:
        inst.pulse_setup(601, base=0.0, peak=1.5, width=1e-6)
        inst.fire([601], count=2, period=1.0)

    def ramp() -> None:
        inst.initialize_all_smus()
        for smu in list(getattr(inst, "smus", {}).values())[:1]:
            smu.ramp_source("Voltage", 0, 0.2, comp=1e-4, stepsize=0.05, pause=0.01)

    def ranges() -> None:
        inst.initialize_all_smus()
        for smu in getattr(inst, "smus", {}).values():
            _ = smu.meas_range_current, smu.meas_range_voltage

    def together() -> None:
        with inst.together():
            inst.force_voltage(1, 0.2, 1e-4)
            inst.force_voltage(2, 3.0, 1e-4)
            inst.spot_current(1)

    def data() -> None:
        inst.initialize_all_smus()
        inst.data_format(1)
        inst.write("XE")
        inst.read_data(1)

    yield from (
        inst.identify, inst.check_errors, inst.clear, inst.query_modules, inst.query_meas_mode, inst.safe, together,
        fire, ramp, ranges, data, lambda: inst.spot_current(1), lambda: inst.spot_voltage(2),
        lambda: inst.sampling_mode, lambda: inst.query_learn(31), lambda: inst.connect_selector(0, "pgu"),
        lambda: inst.use_high_speed_adc([1], 16),
    )  # fmt: skip


def fuzz_analyzer(rng: np.random.Generator, replies: int) -> dict[str, int]:
    """Feed at least `replies` spoilt ones; gives how the calls ended, by name.

    Any error but ours escapes; so does any message that the limits refuse.
    """
    spoiler, ended = Spoiler(rng), dict.fromkeys(("returned", "refused"), 0)
    while spoiler.made < replies:
        adapter, clock, limits = Rambling(spoiler, 0.6), VirtualClock(), Limits()
        inst = B1500A(adapter, clock=clock, gate=FlexGate(limits, CHANNELS))
        inst._send(["SER 601,1000000", "SER 602,1000000"])
        for call in analyzer_calls(inst):
            adapter.transfers, before = 0, clock.now()
            try:
                call()
                ended["returned"] += 1
            except StationError:
                ended["refused"] += 1
            assert clock.now() - before < 600
        witness = FlexGate(limits, CHANNELS)  # one of its own: what was sent in all is within the limits
        for message in adapter.sent:
            witness(message)
    return {"replies": spoiler.made, **ended}


@dataclass
class RamblingSerial:
    """A board whose frames are sound, but not what is in them; or not even those."""

    spoiler: Spoiler
    share: float = 0.6
    published: bool = False
    read_termination: str | None = None
    transfers: int = 0
    _pending: list[bytes] = field(default_factory=list)

    def write_raw(self, message: bytes) -> int:
        """Take a line and think of a reply."""
        self.count()
        line = message.rstrip(b"\r\n")
        try:
            frame = frames.decode_frame(line)
        except frames.FrameError:
            self._pending = [self.spoiler.text("Coef: 1.000000"), self.spoiler.text("Offset set2: 0.1")]
            return len(message)
        if self.published:
            self._pending = []
            return len(message)
        body = frame.body
        right = {
            "ID": "OK ohmflow-twin,HDPM-X,TWIN-0001,1.0,ANALOG+ROUTE", "GEOM?": "OK 3 32 32", "MODE?": "OK SAFE HOST",
            "SEL?": "OK 0 1 2", "STATE?": "OK done 5 5 0 1", "STOP": "OK done 3 5 0 1", "TABLE?": "OK NONE",
        }.get(body, f"OK {body.split()[-1]}")  # fmt: skip
        rng = self.spoiler.rng
        if rng.random() >= self.share:
            self._pending = [frames.encode_frame(frame.seq, right)]
        elif rng.random() < 0.3:
            self._pending = [self.spoiler.text("@1 OK*0000").replace(b"\n", b"?")]
        else:
            text = self.spoiler.text(right).decode("latin-1")
            said = "".join(c if " " <= c < "\x7f" and c not in "@*" else "?" for c in text)[:400] or "OK"
            self._pending = [frames.encode_frame(frame.seq, said)]
        return len(message)

    def read_raw(self) -> bytes:
        """The next line, or a time-out."""
        self.count()
        if not self._pending:
            raise VisaIOError(StatusCode.error_timeout)
        return self._pending.pop(0) + b"\r\n"

    def lock_context(self) -> AbstractContextManager[object]:
        """Nobody else is there."""
        return nullcontext()

    def count(self) -> None:
        self.transfers += 1
        assert self.transfers < MOST_TRANSFERS, "the driver hangs"


def board_calls(board: Board) -> Iterator[Callable[[], object]]:
    """Every parser that the driver has."""
    table = np.zeros((2, 18))
    yield from (
        board.identify, board.geometry, board.current_mode, board.selection, board.connected, board.safe, board.stop,
        board.run_state, board.deselect, board.wait_done, lambda: board.mode("program"), lambda: board.select(0, 1, 2),
        lambda: board.set_watchdog(5.0), lambda: board.set_offsets(0.1, -0.1), lambda: board.set_gain("score", 1.0),
        lambda: board.set_gain("bias", 0.1), lambda: board.set_type("0"), lambda: board.set_analog("kx", 1.0),
        lambda: board.set_route(1, 0, [0, 1], [0, 1]), lambda: board.set_initial_state(0.1, 0.1),
        lambda: board.upload_table(table), lambda: board.set_noise(True), lambda: board.run(241),
    )  # fmt: skip


def fuzz_board(rng: np.random.Generator, replies: int) -> dict[str, int]:
    """As `fuzz_analyzer`, for both of the board's dialects."""
    spoiler, ended = Spoiler(rng), dict.fromkeys(("returned", "refused"), 0)
    while spoiler.made < replies:
        published = bool(rng.random() < 0.2)
        serial, clock = RamblingSerial(spoiler, published=published), VirtualClock()
        volts: list[float] = []
        dialect = "published" if published else "extended"
        board = Board(serial, clock, lambda name, value, volts=volts: volts.append(value), dialect)
        for call in board_calls(board):
            serial.transfers, before = 0, clock.now()
            try:
                call()
                ended["returned"] += 1
            except StationError:
                ended["refused"] += 1
            assert clock.now() - before < 600
        assert all(abs(value) <= 1 for value in volts)
    return {"replies": spoiler.made, **ended}
