"""The board's driver: over a clean line, a bad line, both dialects, and through pyvisa."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import pyvisa
from hypothesis import given, settings
from hypothesis import strategies as st
from pyvisa.constants import StatusCode
from pyvisa.errors import VisaIOError
from twin.fakes_board import FakeBench, FakeSerial

from instruments.board import TABLE_COLUMNS, Board, Dialect
from instruments.board_frames import Frame, decode_frame, encode_frame
from instruments.board_line import NoReplyError
from instruments.errors import InstrumentError, LimitError, ModeError
from instruments.twin.panels.board import BoardPanel
from instruments.twin.visa import TwinVisaLibrary


class Bench(FakeBench):
    """A board of either firmware, its line and its driver."""

    def __init__(
        self, firmware: str = "extended", dialect: Dialect = "auto", gate: Callable[[str, float], None] | None = None
    ) -> None:
        super().__init__()
        self.gated: list[tuple[str, float]] = []
        self.panel = BoardPanel(self, {"firmware": firmware})  # type: ignore[arg-type]  # a stand-in
        self.serial = FakeSerial(self.panel, self.clock)
        self.board = Board(self.serial, self.clock, gate or self.record, dialect)

    def record(self, name: str, volts: float) -> None:
        self.gated.append((name, volts))

    def frames_sent(self) -> list[Frame]:
        return [decode_frame(line.removesuffix(b"\r\n")) for line in self.serial.sent]


def forbid(name: str, volts: float) -> None:
    raise LimitError(f"{name}: {volts}")


# Over a clean line


def test_identity_tells_the_dialect() -> None:
    bench = Bench()
    identity = bench.board.identity()
    assert (identity.vendor, identity.serial, identity.dialect) == ("ohmflow-twin", "TWIN-0001", "1.2")
    assert "TABLE" in identity.capabilities
    assert bench.board.identify().startswith("ohmflow-twin,HDPM-X,TWIN-0001,1.2,")
    assert bench.board.geometry() == (3, 32, 32)


def test_constructor_sends_nothing_and_the_first_exchange_greets() -> None:
    bench = Bench(dialect="extended")
    assert bench.serial.sent == []
    bench.board.mode("program")
    assert bench.frames_sent() == [Frame(0, "ID"), Frame(1, "MODE PROGRAM")]
    assert bench.serial.locks == 2


def test_select_connects_and_is_silent_for_the_same_cell() -> None:
    bench = Bench()
    bench.board.mode("program")
    bench.board.select(1, 31, 2)
    assert bench.fixture.connections[-1] == ("program", 1, 31, 2)
    traffic = len(bench.serial.sent)
    bench.board.select(1, 31, 2)
    assert len(bench.serial.sent) == traffic
    bench.board.select(1, 31, 3)
    bench.board.select(1, 31, 2)
    assert len(bench.serial.sent) == traffic + 2
    assert bench.board.selection() == (1, 31, 2)
    bench.board.deselect()
    assert bench.board.selection() is None


def test_a_new_mode_or_a_refusal_forgets_the_selection() -> None:
    bench = Bench()
    bench.board.mode("program")
    bench.board.select(0, 1, 1)
    with pytest.raises(InstrumentError, match="error 22"):
        bench.board.select(0, 32, 1)
    bench.board.select(0, 1, 1)
    bench.board.mode("compute")
    with pytest.raises(ModeError, match="PROGRAM"):
        bench.board.select(0, 1, 1)
    bench.board.mode("program")
    bench.board.select(0, 1, 1)
    assert bench.fixture.connections[-1] == ("program", 0, 1, 1)


def test_selection_is_sent_again_when_the_watchdog_could_have_dropped_it() -> None:
    bench = Bench()
    bench.board.set_watchdog(2.0)
    bench.board.mode("program")
    bench.board.select(0, 1, 1)
    bench.clock.sleep(3.0)
    assert bench.board.current_mode() == ("safe", "watchdog")
    with pytest.raises(ModeError):
        bench.board.select(0, 1, 1)


def test_modes_exclude_each_other_and_a_run_forbids_change() -> None:
    bench = Bench()
    with pytest.raises(ModeError):
        bench.board.start_run()
    bench.board.mode("compute")
    assert bench.board.start_run(200) == 200
    with pytest.raises(ModeError):
        bench.board.mode("program")
    with pytest.raises(ModeError):
        bench.board.set_initial_state(0.0, 0.0)
    bench.board.safe()
    assert bench.board.current_mode() == ("safe", "host")


def test_run_waits_for_its_end() -> None:
    bench = Bench()
    bench.board.mode("compute")
    bench.board.set_type("0", noise=False)
    bench.board.set_initial_state(0.3, -0.1)
    assert bench.board.set_offsets(0.01, -0.02) == (pytest.approx(0.01), pytest.approx(-0.02))
    assert bench.board.set_gain("score", 0.5) == 0.5
    before = bench.clock.now()
    state = bench.board.run(200)
    assert 1.0 < bench.clock.now() - before < 1.2
    assert (state.phase, state.tick, state.ticks) == ("done", 200, 200)
    (trace,) = bench.fixture.traces
    assert trace.initial == (0.3, -0.1)
    assert bench.gated == [("initial x", 0.3), ("initial y", -0.1), ("offset 1", 0.01), ("offset 2", -0.02)]


def test_stopped_run_says_so() -> None:
    bench = Bench()
    bench.board.mode("compute")
    bench.board.start_run()
    bench.clock.sleep(0.3)
    state = bench.board.stop()
    assert state.phase == "done"
    assert 0 < state.tick < state.ticks == 241
    assert bench.board.wait_done() == state


def test_waiting_for_no_run_is_an_error() -> None:
    with pytest.raises(InstrumentError, match="idle"):
        Bench().board.wait_done()


def test_uploaded_table_is_played_and_not_sent_twice() -> None:
    bench = Bench()
    volts = np.random.default_rng(3).uniform(-1, 0.999, (60, 18))
    bench.board.upload_table(volts)
    traffic = len(bench.serial.sent)
    bench.board.upload_table(volts)
    assert len(bench.serial.sent) == traffic + 2
    bench.board.mode("compute")
    assert bench.board.run().ticks == 60
    (trace,) = bench.fixture.traces
    error = volts[:, :16] - trace.volts[:-1, :16]
    assert error.min() > -1 / 2048
    assert error.max() < 1 / 2048
    bench.board.set_type("4")
    assert bench.board.start_run() == 241


def test_table_voltages_pass_the_gate_column_by_column() -> None:
    bench = Bench()
    volts = np.zeros((3, 18))
    volts[1, 5] = -0.4
    bench.board.upload_table(volts)
    assert [name for name, _ in bench.gated[::2]] == [f"table {name}" for name in TABLE_COLUMNS]
    assert ("table t4", -0.4) in bench.gated


# Limits: nothing is sent


@pytest.mark.parametrize(
    "drive",
    [
        lambda board: board.set_initial_state(0.1, 0.1),
        lambda board: board.set_offsets(0.1, 0.1),
        lambda board: board.set_gain("bias", 0.1),
        lambda board: board.upload_table(np.zeros((4, 18))),
    ],
)
@pytest.mark.parametrize("dialect", ["published", "extended"])
def test_refused_voltages_are_not_sent(drive: Callable[[Board], object], dialect: Dialect) -> None:
    bench = Bench(dialect, dialect, gate=forbid)
    with pytest.raises(LimitError):
        drive(bench.board)
    assert bench.serial.sent == []


@pytest.mark.parametrize("level", [1.0, -1.001, np.nan, np.inf])
def test_tables_beyond_the_converters_are_refused(level: float) -> None:
    bench = Bench()
    with pytest.raises(LimitError, match="nothing was sent"):
        bench.board.upload_table(np.full((2, 18), level))
    with pytest.raises(InstrumentError, match="18"):
        bench.board.upload_table(np.zeros((2, 17)))
    assert bench.serial.sent == []


def test_voltages_that_are_no_number_are_refused() -> None:
    bench = Bench()
    with pytest.raises(LimitError):
        bench.board.set_initial_state(float("nan"), 0.0)
    assert bench.serial.sent == []


# Over a bad line


def faulty(pattern: str) -> Callable[[bytes], bytes | None]:
    """Passes lines by the pattern's letters: "." as it is, "x" lost, "c" one bit changed, "h" cut; then "."."""
    left = iter(pattern)

    def pass_on(line: bytes) -> bytes | None:
        kind = next(left, ".")
        damaged = bytes([*line[:3], line[3] ^ 4, *line[4:]]) if len(line) > 3 else line
        return {".": line, "x": None, "c": damaged, "h": line[: len(line) // 2]}[kind]

    return pass_on


@given(st.text("..xch", max_size=12), st.text("..xch", max_size=12))
@settings(max_examples=60, deadline=None)
def test_lost_and_damaged_lines_never_double_a_run(to_board: str, to_host: str) -> None:
    bench = Bench(dialect="extended")
    board = bench.board
    bench.serial.to_board, bench.serial.to_host = faulty(to_board), faulty(to_host)
    wanted = 0
    for _ in range(4):
        try:
            board.mode("compute")
            board.start_run(5)
        except NoReplyError:
            bench.clock.sleep(1.0)
            wanted = len(bench.fixture.traces)  # it may have run, but once at most
            continue
        bench.clock.sleep(1.0)
        wanted += 1
        assert len(bench.fixture.traces) == wanted


@pytest.mark.parametrize(
    ("to_board", "to_host"), [(".xxx", ""), ("", ".xxx"), (".cxh", ""), ("", ".chc"), (".c", "..c")]
)
def test_exchange_is_repeated_with_the_same_frame(to_board: str, to_host: str) -> None:
    bench = Bench(dialect="extended")
    bench.serial.to_board, bench.serial.to_host = faulty(to_board), faulty(to_host)
    bench.board.mode("compute")
    assert bench.panel.handle(encode_frame(0, "MODE?")) == [encode_frame(0, "OK COMPUTE HOST")]
    requests = bench.frames_sent()
    assert requests[0] == Frame(0, "ID")
    assert set(requests[1:]) == {Frame(1, "MODE COMPUTE")}


def test_late_replies_are_skipped() -> None:
    bench = Bench()
    bench.board.identify()
    bench.serial._incoming += encode_frame(200, "OK COMPUTE HOST") + b"\r\n"
    assert bench.board.current_mode() == ("safe", "power-on")


def test_silence_is_one_clear_sentence() -> None:
    bench = Bench(dialect="extended")
    bench.serial.to_board = lambda line: None
    with pytest.raises(NoReplyError, match=r"no valid reply to ID in 4 attempts \(no answer in time\); check power"):
        bench.board.mode("program")
    with pytest.raises(InstrumentError):
        bench.board.safe()


def test_sequence_numbers_wrap_from_255_to_1() -> None:
    bench = Bench()
    for _ in range(256):
        bench.board.current_mode()
    numbers = [frame.seq for frame in bench.frames_sent()]
    assert numbers == [0, *range(1, 256), 1]


def test_a_new_driver_is_not_served_an_old_reply() -> None:
    bench = Bench()
    bench.board.mode("compute")
    bench.board.run(5)
    again = Board(bench.serial, bench.clock, lambda name, volts: None, "extended")
    again.mode("compute")
    again.run(5)
    assert len(bench.fixture.traces) == 2


def test_a_library_without_locks_will_do_and_a_lock_held_by_another_will_not() -> None:
    codes = iter([StatusCode.error_nonsupported_operation, StatusCode.error_resource_locked])

    @contextmanager
    def no_lock() -> Iterator[None]:
        raise VisaIOError(next(codes))
        yield

    bench, other = Bench(), Bench()
    bench.serial.lock_context = other.serial.lock_context = no_lock  # type: ignore[method-assign]
    bench.board.mode("program")
    with pytest.raises(InstrumentError, match="lock"):
        other.board.mode("program")
    assert other.serial.sent == []


# Published dialect


def test_auto_finds_the_published_firmware() -> None:
    bench = Bench("published")
    assert bench.board.identity().dialect == "published"
    assert bench.board.extended is False
    assert bench.serial.sent[-1] == b"C000\r\n"


def test_published_commands_are_sent_as_published() -> None:
    bench = Bench("published", "published")
    board = bench.board
    board.set_type("E", noise=True)
    assert board.set_offsets(0.014, -0.5) == (pytest.approx(0.01), -0.5)
    assert board.set_gain("score", 1.254) == 1.25
    assert board.set_gain("noise", 0.0) == 0.0
    board.set_gain("bias", 0.2)
    board.set_noise(False)
    assert [line.decode() for line in bench.serial.sent] == [
        "InE1\r\n", "O5100\r\n", "C125\r\n", "N000\r\n", "D2\r\n", "InE1\r\n", "InE0\r\n",
    ]  # fmt: skip


def test_published_runs_respect_the_dead_time() -> None:
    bench = Bench("published", "published")
    bench.board.set_type("0")
    for runs in (1, 2, 3):
        state = bench.board.run()
        assert (state.phase, state.tick) == ("done", 241)
        assert len(bench.fixture.traces) == runs
    assert 16 < bench.clock.now() < 17  # 5 s before each, 1.2 s for the last


@pytest.mark.parametrize(
    ("call", "purpose"),
    [
        (lambda board: board.select(0, 0, 0), "select a cell"),
        (lambda board: board.mode("program"), "switch to program mode"),
        (lambda board: board.set_initial_state(0, 0), "set an initial state"),
        (lambda board: board.upload_table(np.zeros((2, 18))), "take a table"),
        (lambda board: board.run_state(), "tell the state of a run"),
    ],
)
def test_what_published_firmware_cannot_do_says_what_to_do(call: Callable[[Board], object], purpose: str) -> None:
    bench = Bench("published", "published")
    with pytest.raises(InstrumentError, match=f"can't {purpose}; set it by hand .* or load a firmware"):
        call(bench.board)
    assert bench.serial.sent == []


@pytest.mark.parametrize(
    "call",
    [
        lambda board: board.set_gain("drift", 1.0),
        lambda board: board.set_gain("bias", 0.15),
        lambda board: board.set_gain("score", 0.0),
        lambda board: board.set_gain("noise", 10.0),
        lambda board: board.set_offsets(0.5, 0.0),
        lambda board: board.set_type("x"),
        lambda board: board.set_noise(True),
        lambda board: board.start_run(200),
    ],
)
def test_values_beyond_the_published_commands_are_refused(call: Callable[[Board], object]) -> None:
    bench = Bench("published", "published")
    with pytest.raises((InstrumentError, LimitError)):
        call(bench.board)
    assert bench.serial.sent == []


def test_published_replies_are_compared_with_what_was_asked() -> None:
    bench = Bench("published", "published")
    bench.serial.to_board = lambda line: line.replace(b"C050", b"C950")
    with pytest.raises(InstrumentError, match=r"C050 was not confirmed \(it answered 'Coef: 9.500000'\)"):
        bench.board.set_gain("score", 0.5)


def test_published_lines_are_repeated_but_go_is_not() -> None:
    bench = Bench("published", "published")
    bench.serial.to_board = faulty("xx.")
    assert bench.board.set_gain("score", 0.5) == 0.5
    bench.serial.to_board = lambda line: None
    sent = len(bench.serial.sent)
    with pytest.raises(InstrumentError, match="Go was not confirmed"):
        bench.board.start_run()
    assert len(bench.serial.sent) == sent + 1


def test_published_safe_sends_nothing() -> None:
    bench = Bench("published", "published")
    bench.board.safe()
    assert bench.serial.sent == []


# Through pyvisa


@pytest.mark.parametrize("firmware", ["published", "extended"])
def test_both_dialects_through_pyvisa(tmp_path: Path, firmware: str) -> None:
    """Characters take their time, both line ends are right, and the two-line reply is read whole."""
    description = tmp_path / "board.yaml"
    description.write_text(
        f"""
spec: "1.1"
bench: {{preset: cmo-hfox, arrays: 2, rows: 4, cols: 5}}
devices:
  board:
    eom:
      ASRL INSTR: {{q: "\\r\\n", r: "\\r\\n"}}
    error: ERROR
    handler: instruments.twin.panels.board:BoardPanel
    options: {{firmware: {firmware}}}
    timing: {{byte: 1.0416667 ms}}
resources:
  ASRL1::INSTR: {{device: board}}
""",
        encoding="utf-8",
    )
    manager = pyvisa.ResourceManager(TwinVisaLibrary.from_file(description))
    try:
        library = manager.visalib
        resource = manager.open_resource("ASRL1::INSTR", timeout=2000)
        board = Board(resource, library.clock, lambda name, volts: None)
        assert (board.identity().dialect == "published") == (firmware == "published")
        assert board.set_offsets(0.1, -0.2) == (pytest.approx(0.1), pytest.approx(-0.2))
        if firmware == "extended":
            board.mode("program")
            before = library.clock.now()
            board.select(1, 3, 4)
            assert 0.03 < library.clock.now() - before < 0.06  # some forty characters at 9600 baud
            assert library.bench.fixture.selected == (1, 3, 4)
            board.mode("compute")
        assert board.run().phase == "done"
        board.safe()
    finally:
        manager.close()
