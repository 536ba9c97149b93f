"""The simulated VISA backend through pyvisa's own front door."""

import gc
import random
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pyvisa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pymeasure.adapters import VISAAdapter
from pyvisa.constants import (
    AccessModes,
    BufferOperation,
    InterfaceType,
    RENLineOperation,
    ResourceAttribute,
    SerialTermination,
    StatusCode,
)
from pyvisa_sim.highlevel import SimVisaLibrary
from pyvisa_sim.sessions import session as stock_session

import instruments.twin.backend
from instruments.clock import VirtualClock
from instruments.errors import ConfigError, InstrumentError
from instruments.twin.benchfile import find_file, parse_specification
from instruments.twin.visa import TwinVisaLibrary
from instruments.twin.wire import Timing, split_message

HERE = __name__

GPIB = "GPIB0::7::INSTR"
PLAIN = "GPIB0::8::INSTR"
LAN = "TCPIP0::scope::inst0::INSTR"
SOCKET = "TCPIP0::scope::5025::SOCKET"
SERIAL = "ASRL1::INSTR"

FILE = f"""
spec: "1.1"
devices:
  probe:
    eom:
      GPIB INSTR: {{q: "\\r\\n", r: "\\n"}}
      TCPIP INSTR: {{q: "\\n", r: "\\n"}}
      TCPIP SOCKET: {{q: "\\n", r: "\\n"}}
      ASRL INSTR: {{q: "\\r\\n", r: "\\r\\n"}}
    handler: "{HERE}:Probe"
    options: {{model: X1}}
    dialogues:
      - {{q: "YAML?", r: "from the file"}}
  polite:
    eom: {{GPIB INSTR: {{q: "\\n", r: "\\n"}}}}
    handler: "{HERE}:Probe"
    error: ERROR
    timing: {{message: "5 ms", byte: "2 us"}}
    dialogues:
      - {{q: "YAML?", r: "1"}}
  plain:
    eom: {{GPIB INSTR: {{q: "\\n", r: "\\n"}}}}
    error: ERROR
    dialogues:
      - {{q: "*IDN?", r: "plain"}}
      - {{q: "SET"}}
resources:
  {GPIB}: {{device: probe}}
  {LAN}: {{device: probe}}
  {SOCKET}: {{device: probe}}
  {SERIAL}: {{device: probe}}
  GPIB0::9::INSTR: {{device: polite}}
  {PLAIN}: {{device: plain}}
"""


class Probe:
    """A panel that notes what it is told and does what its messages say."""

    def __init__(self, bench: Any, options: Mapping[str, str]) -> None:
        self.bench = bench
        self.options = dict(options)
        self.heard: list[bytes] = []
        self.output: list[bytes] = []
        self.replies: list[bytes] = []
        self.events: list[str] = []
        self.stb = 0
        self.clears_rqs = True

    def handle(self, message: bytes) -> list[bytes] | None:
        self.heard.append(message)
        head, _, rest = message.partition(b" ")
        if head == b"ECHO?":
            return [rest]
        if head == b"ALL?":
            return self.replies
        if head == b"LATER":
            self.bench.clock.env.process(self._later(int(rest)))
            return []
        if head == b"BUG":
            return [message.no_such_method()]  # type: ignore[attr-defined]  # a slip in a panel, on purpose
        return None if head in (b"YAML?", b"YAML?;YAML?", b"NOBODY") else []

    def _later(self, nanoseconds: int) -> Any:
        yield self.bench.clock.env.timeout(nanoseconds)
        self.output.append(b"late")
        self.stb |= 0x40

    def pull(self) -> bytes | None:
        return self.output.pop(0) if self.output else None

    def status_byte(self) -> int:
        byte = self.stb
        if self.clears_rqs:
            self.stb &= ~0x40
        return byte

    def clear(self) -> None:
        self.output.clear()
        self.events.append("clear")

    def trigger(self) -> None:
        self.events.append("trigger")


class FakeBench:
    """What the library itself needs of a bench."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


class Lab:
    """One opened bench and short ways to its parts."""

    def __init__(self, path: Path) -> None:
        self.bench = FakeBench()
        self.lib = TwinVisaLibrary.from_file(path, bench=self.bench)
        self.rm = pyvisa.ResourceManager(self.lib)

    def open(self, name: str = GPIB, **kwargs: Any) -> Any:
        self.rm = pyvisa.ResourceManager(self.lib)
        out = "\r\n" if name in (GPIB, SERIAL) else "\n"
        kwargs = {"read_termination": "\r\n" if name == SERIAL else "\n", "write_termination": out} | kwargs
        return self.rm.open_resource(name, **kwargs)

    def panel(self, name: str = GPIB) -> Any:
        return self.lib.instruments[name].panel


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "lab.yaml"
    file.write_text(FILE)
    return file


@pytest.fixture
def lab(path: Path) -> Iterator[Lab]:
    opened = Lab(path)
    yield opened
    opened.rm.close()


@pytest.fixture
def by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `@twin` known, whether or not the project is installed."""
    monkeypatch.setitem(sys.modules, "pyvisa_twin", instruments.twin.backend)
    monkeypatch.delitem(pyvisa.highlevel._WRAPPERS, "twin", raising=False)


def fails_with(code: StatusCode) -> Any:
    return pytest.raises(pyvisa.VisaIOError, check=lambda error: error.error_code == code)


# Opening


def test_specification_has_parameters_and_percent_escapes() -> None:
    assert parse_specification("a b.yaml?dir=/x%26y/z&seed=3&name=") == (
        "a b.yaml",
        {"dir": "/x&y/z", "seed": "3", "name": ""},
    )
    assert parse_specification("a.yaml?") == ("a.yaml", {})


@pytest.mark.parametrize("text", ["a.yaml?seed", "a.yaml?=1", "a.yaml?seed=1&seed=2"])
def test_malformed_specification_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="key=value"):
        parse_specification(text)


def test_packaged_files_are_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_file("bench-rram32.yaml").is_file()
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        find_file("nowhere.yaml")


def test_pyvisa_opens_the_backend_by_name(path: Path, by_name: None) -> None:
    rm = pyvisa.ResourceManager(f"{path}?name=by-name@twin")
    try:
        assert set(rm.list_resources()) == {GPIB, LAN, SERIAL, PLAIN, "GPIB0::9::INSTR"}
        assert rm.list_resources("?*::SOCKET") == (SOCKET,)
        assert rm.list_resources("USB?*") == ()
        assert rm.resource_info(LAN).interface_type == InterfaceType.tcpip
        instrument = rm.open_resource("gpib::7")
        assert instrument.query("ECHO? hello").strip() == "hello"
        assert instrument.last_status == StatusCode.success
        assert rm.visalib.clock.is_virtual
    finally:
        rm.close()


def test_without_a_file_the_examples_of_pyvisa_sim_are_there(by_name: None) -> None:
    rm = pyvisa.ResourceManager("@twin")
    try:
        device = rm.open_resource("ASRL1::INSTR", read_termination="\n", write_termination="\r\n")
        assert device.query("?IDN") == "LSG Serial #1234"
    finally:
        rm.close()


def test_same_specification_is_the_same_bench_and_name_separates(path: Path, by_name: None) -> None:
    one, again, other = (pyvisa.ResourceManager(f"{path}?name={n}@twin") for n in "aab")
    try:
        assert one is again
        assert one.visalib.bench is again.visalib.bench
        assert one.visalib.bench is not other.visalib.bench
    finally:
        one.close()
        other.close()


def test_bench_is_closed_with_its_manager_and_opens_anew(path: Path) -> None:
    lab = Lab(path)
    session = lab.open()
    lab.rm.close()
    assert lab.bench.closed == 1
    with pytest.raises(pyvisa.InvalidSession):
        session.read()
    before = lab.panel()
    rm = pyvisa.ResourceManager(lab.lib)
    assert lab.panel() is not before
    assert lab.open().query("ECHO? back") == "back"
    rm.close()
    assert lab.bench.closed == 2


def test_bench_section_reaches_open_bench(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def open_bench(section: Mapping[str, Any], *, base: Path, params: Mapping[str, str]) -> FakeBench:
        asked.append((dict(section), base, dict(params)))
        return FakeBench()

    monkeypatch.setitem(sys.modules, "instruments.twin.bench", SimpleNamespace(open_bench=open_bench))
    path.write_text(FILE + "bench: {preset: x, arrays: 3}\n")
    lib = TwinVisaLibrary.from_file(f"{path}?seed=5&dir=/somewhere")
    assert asked == [({"preset": "x", "arrays": "3"}, path.parent, {"seed": "5", "dir": "/somewhere"})]
    assert lib.clock is lib.bench.clock
    panel: Any = lib.instruments[GPIB].panel
    assert panel.bench is lib.bench
    assert panel.options == {"model": "X1"}
    lib.reset()
    assert len(asked) == 2


def test_bench_is_released_when_a_panel_cannot_be_built(path: Path) -> None:
    bench = FakeBench()
    path.write_text(FILE.replace(f"{HERE}:Probe", f"{HERE}:Absent"))
    with pytest.raises(ConfigError, match="Absent"):
        TwinVisaLibrary.from_file(path, bench=bench)
    assert bench.closed == 1


def test_reset_builds_new_panels_under_open_sessions(lab: Lab) -> None:
    session = lab.open()
    before = lab.panel()
    session.write("SET 1")
    lab.lib.reset()
    assert lab.panel() is not before
    assert session.query("ECHO? 1") == "1"
    assert lab.panel().heard == [b"ECHO? 1"]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("GPIB0::30::INSTR", StatusCode.error_resource_not_found),
        ("VXI0::1::INSTR", StatusCode.error_resource_not_found),
        ("ASRL9::INSTR", StatusCode.error_resource_not_found),
    ],
)
def test_absent_resources_do_not_open(lab: Lab, name: str, code: StatusCode) -> None:
    with fails_with(code):
        lab.rm.open_resource(name)


@pytest.mark.parametrize(
    "name",
    ["USB0::0x2A8D::0x1797::CN1::INSTR", "USB0::0x2A8D::0x1797::CN1::0::RAW", "ASRL/dev/ttyUSB0::INSTR"],
)
def test_other_interfaces_open(path: Path, name: str) -> None:
    path.write_text(FILE + f"  {name}: {{device: probe}}\n")
    lab = Lab(path)
    terminator = "\r\n" if name.startswith("ASRL") else "\n"
    session = lab.open(name, read_termination=terminator, write_termination=terminator)
    assert session.query("ECHO? here") == "here"
    lab.rm.close()


def test_pymeasure_takes_the_library(lab: Lab) -> None:
    adapter = VISAAdapter(GPIB, visa_library=lab.lib, read_termination="\n", write_termination="\n")
    adapter.write("ECHO? through pymeasure")
    assert adapter.read() == "through pymeasure"
    adapter.write("ECHO? unread")
    adapter.flush_read_buffer()
    adapter.write("ECHO? 0123456789")
    assert adapter.read_bytes(4) == b"0123"


# Messages


@pytest.mark.parametrize(
    ("name", "writes", "heard"),
    [
        (GPIB, [b"A\r\n", b"B", b"C\n"], [b"A", b"B", b"C\n"]),
        (GPIB, [b"A;B;#15\r\n;;\n\r\n"], [b"A;B;#15\r\n;;\n"]),
        (LAN, [b"A;B\n", b"C"], [b"A;B", b"C"]),
        (SOCKET, [b"A", b"B;C\nD", b"\n\n"], [b"AB;C", b"D", b""]),
        (SERIAL, [b"G", b"o\r", b"\nIn", b"a0\r\nX\r\n"], [b"Go", b"Ina0", b"X"]),
    ],
)
def test_what_a_message_is(lab: Lab, name: str, writes: list[bytes], heard: list[bytes]) -> None:
    session = lab.open(name)
    for data in writes:
        assert session.write_raw(data) == len(data)
    assert lab.panel(name).heard == heard


def test_without_end_a_message_goes_on(lab: Lab) -> None:
    session = lab.open(send_end=False)
    session.write_raw(b"ONE")
    session.send_end = True
    session.write_raw(b" MESSAGE")
    assert lab.panel().heard == [b"ONE MESSAGE"]


def test_serial_termination_character_is_added_by_the_port(lab: Lab) -> None:
    session = lab.open(SERIAL, end_output=SerialTermination.termination_char)
    session.write_raw(b"GO\r")
    assert lab.panel(SERIAL).heard == [b"GO"]


@given(st.lists(st.binary(max_size=12).map(lambda b: b.translate(None, b"\r\n")), max_size=6), st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_serial_framing_does_not_depend_on_the_pieces(lab: Lab, messages: list[bytes], data: st.DataObject) -> None:
    session = lab.open(SERIAL)
    panel = lab.panel(SERIAL)
    panel.heard.clear()
    session.flush(BufferOperation.discard_write_buffer)
    rest = b"".join(m + b"\r\n" for m in messages)
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        session.write_raw(rest[:size])
        rest = rest[size:]
    assert panel.heard == messages


def test_yaml_answers_what_the_panel_passes_on(lab: Lab) -> None:
    assert lab.open().query("YAML?", delay=0) == "from the file"
    polite = lab.open("GPIB0::9::INSTR")
    polite.write("YAML?;YAML?")
    assert (polite.read(), polite.read()) == ("1", "1")
    assert polite.query("NOBODY") == "ERROR"


def test_silence_about_an_unknown_message_is_an_error(lab: Lab) -> None:
    with pytest.raises(InstrumentError, match="NOBODY"):
        lab.open().write("NOBODY")


def test_plain_devices_answer_from_the_file(lab: Lab) -> None:
    plain = lab.open(PLAIN)
    plain.write("*IDN?;SET;WHAT;*IDN?")
    assert [plain.read() for _ in range(3)] == ["plain", "ERROR", "plain"]


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=5))
@example([b";;#11;\n"])
def test_blocks_are_never_cut(blocks: list[bytes]) -> None:
    parts = [b"DATA #2%02d" % len(block) + block for block in blocks]
    assert split_message(b";".join(parts), b";") == parts


@given(st.text(alphabet="AB;# 19", max_size=20))
def test_splitting_loses_nothing(text: str) -> None:
    assert b";".join(split_message(text.encode(), b";")) == text.encode()


# Replies and time


def test_replies_come_before_measured_output(lab: Lab) -> None:
    session, panel = lab.open(), lab.panel()
    panel.output = [b"d1", b"d2"]
    panel.replies = [b"r1", b"r2"]
    session.write("ALL?")
    assert [session.read() for _ in range(4)] == ["r1", "r2", "d1", "d2"]


def test_wire_costs_what_the_file_says(lab: Lab) -> None:
    session = lab.open("GPIB0::9::INSTR")
    session.write("ECHO? abc")
    assert lab.bench.clock.now_ns == 5_000_000 + 10 * 2_000
    assert session.read() == "abc"
    assert lab.bench.clock.now_ns == 10_000_000 + 14 * 2_000
    session.write("ECHO? abc")
    start = lab.bench.clock.now_ns
    session.read_bytes(1)
    session.read_bytes(3)
    assert lab.bench.clock.now_ns - start == 5_000_000 + 4 * 2_000


@pytest.mark.parametrize(
    ("text", "ns"), [("5 ms", 5e6), ("1.0417 ms", 1041700), ("2us", 2e3), (".5 s", 5e8), ("1e3 ns", 1e3)]
)
def test_times_are_read(text: str, ns: float) -> None:
    assert Timing.from_section({"message": text}).message_ns == pytest.approx(ns, rel=1e-12)


@pytest.mark.parametrize("section", [{"message": "-5 ms"}, {"byte": "5"}, {"byte": "5 min"}, {"latency": "5 ms"}])
def test_bad_times_are_refused(section: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="timing"):
        Timing.from_section(section)


@pytest.mark.parametrize("timeout", [0, 1, 5000])
def test_a_time_out_takes_exactly_its_virtual_time(lab: Lab, timeout: int) -> None:
    session = lab.open(timeout=timeout)
    lab.bench.clock.sleep(1.5)
    with fails_with(StatusCode.error_timeout):
        session.read()
    assert lab.bench.clock.now_ns == 1_500_000_000 + timeout * 1_000_000


@pytest.mark.parametrize("delay", [0, 1, 123_456_789, 2_000_000_000])
def test_late_output_is_waited_for(lab: Lab, delay: int) -> None:
    session = lab.open(timeout=2000)
    session.write(f"LATER {delay}")
    assert session.read() == "late"
    assert lab.bench.clock.now_ns == delay


def test_output_after_the_time_out_is_not_lost(lab: Lab) -> None:
    session = lab.open(timeout=2000)
    session.write("LATER 2000000001")
    with fails_with(StatusCode.error_timeout):
        session.read()
    assert session.read() == "late"


def test_infinite_time_out_ends_when_nothing_can_come(lab: Lab) -> None:
    session = lab.open(timeout=None)
    session.write("LATER 3600000000000")
    assert session.read() == "late"
    with fails_with(StatusCode.error_timeout):
        session.read()


@given(reply=st.binary(max_size=200), chunk=st.integers(1, 64))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pieces_add_up_to_the_reply(lab: Lab, reply: bytes, chunk: int) -> None:
    session, panel = lab.open(read_termination=None), lab.panel()
    panel.replies = [reply]
    session.write("ALL?")
    assert session.read_raw(chunk) == reply + b"\n"


def test_a_large_waveform_arrives_whole(lab: Lab) -> None:
    codes = np.random.default_rng(3).integers(-32768, 32767, 200_000).astype(">i2")
    lab.panel().replies = [b"#8%08d" % codes.nbytes + codes.tobytes()]
    for termination in ("\n", None):
        session = lab.open(read_termination=termination)
        got = session.query_binary_values("ALL?", "h", is_big_endian=True, container=np.array)
        assert got.astype(">i2").tobytes() == codes.tobytes()


class StoppedTime:
    """Stands in for `time` in the stock session, so that its time-outs cost nothing."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@given(
    replies=st.lists(st.lists(st.sampled_from(b"AB\n\r\xc8"), max_size=6).map(bytes), min_size=1, max_size=4),
    counts=st.lists(st.integers(1, 8), min_size=1, max_size=12),
    termchar=st.sampled_from([None, 10, 65]),
    suppress_end=st.booleans(),
    end_in=st.sampled_from([None, *list(SerialTermination)[:3]]),
    bits=st.sampled_from([7, 8]),
)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_transfers_end_as_in_the_stock_backend(
    lab: Lab,
    path: Path,
    replies: list[bytes],
    counts: list[int],
    termchar: int | None,
    suppress_end: bool,
    end_in: SerialTermination | None,
    bits: int,
) -> None:
    name = GPIB if end_in is None else SERIAL
    attributes: dict[ResourceAttribute, Any] = {
        ResourceAttribute.timeout_value: 50,
        ResourceAttribute.termchar: termchar or 10,
        ResourceAttribute.termchar_enabled: termchar is not None,
        ResourceAttribute.suppress_end_enabled: suppress_end,
    }
    if end_in is not None:
        attributes |= {ResourceAttribute.asrl_end_in: end_in, ResourceAttribute.asrl_data_bits: bits}
    eom = b"\n" if end_in is None else b"\r\n"

    def transfers(library: Any, prepare: Callable[[int], None]) -> list[Any]:
        manager, _ = library.open_default_resource_manager()
        session, _ = library.open(manager, name)
        for key, value in attributes.items():
            library.set_attribute(session, key, value)
        prepare(session)
        seen: list[Any] = []
        for count in counts:
            try:
                data, status = library.read(session, count)
            except pyvisa.VisaIOError as error:
                seen.append(error.error_code)
                break
            except IndexError:
                # The stock session looks at the last bit of nothing when it has to wait for more.
                seen.append(StatusCode.error_timeout)
                break
            seen.append((bytes(data), status))
        library.close(session)
        return seen

    stock = SimVisaLibrary(str(path))
    device = stock.devices[name]
    device._output_buffers.clear()
    device._output_buffers.extend(bytearray(reply + eom) for reply in replies)
    twin = lab.lib.instruments[name]
    twin.drop_output()
    lab.panel(name).replies = replies
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stock_session, "time", StoppedTime())
        expected = transfers(stock, lambda session: None)
    assert transfers(lab.lib, lambda session: twin.send(b"ALL?\r\n", True)) == expected


# Status, clear, trigger, events


def test_serial_poll_clear_and_trigger_reach_the_panel(lab: Lab) -> None:
    session, panel = lab.open(), lab.panel()
    panel.stb = 0x31
    assert session.read_stb() == session.stb == 0x31
    session.assert_trigger()
    session.write("ECHO? stale")
    panel.output = [b"stale too"]
    session.clear()
    assert panel.events == ["trigger", "clear"]
    with fails_with(StatusCode.error_timeout):
        session.read()


def test_polling_passes_time(lab: Lab) -> None:
    session = lab.open("GPIB0::9::INSTR")
    session.write("LATER 50000000")
    polls = 1
    while not session.stb & 0x40:
        polls += 1
    assert polls == 10


def test_plain_devices_show_message_available(lab: Lab) -> None:
    plain = lab.open(PLAIN)
    assert plain.stb == 0
    plain.write("*IDN?")
    plain.assert_trigger()
    assert plain.stb == 0x10
    plain.clear()
    assert plain.stb == 0


def test_flush_drops_unread_replies_or_an_unfinished_message(lab: Lab) -> None:
    session, panel = lab.open(SERIAL), lab.panel(SERIAL)
    session.write("ECHO? stale")
    session.flush(BufferOperation.discard_read_buffer)
    assert session.query("ECHO? fresh") == "fresh"
    session.write_raw(b"HALF A ")
    session.flush(BufferOperation.discard_write_buffer)
    session.write("WHOLE")
    assert panel.heard[-1] == b"WHOLE"


@pytest.mark.parametrize("clears_rqs", [True, False])
def test_service_requests_are_waited_for(lab: Lab, clears_rqs: bool) -> None:
    session, panel = lab.open(), lab.panel()
    panel.clears_rqs = clears_rqs
    session.write("LATER 9000000000")
    session.wait_for_srq(20_000)
    assert lab.bench.clock.now() == 9.0
    panel.stb = 0
    with fails_with(StatusCode.error_timeout):
        session.wait_for_srq(0)


def test_remote_enable_is_accepted(lab: Lab) -> None:
    assert lab.open().control_ren(RENLineOperation.asrt) == StatusCode.success


# Locks and threads


def test_a_locked_resource_is_closed_to_other_sessions(lab: Lab) -> None:
    mine, other = lab.open(), lab.open()
    with mine.lock_context():
        assert mine.lock_state == AccessModes.exclusive_lock
        assert mine.query("ECHO? 1") == "1"
        for use in (lambda: other.write("X"), other.read, other.clear, other.read_stb, lambda: other.lock(0)):
            with fails_with(StatusCode.error_resource_locked):
                use()
        assert lab.open(PLAIN).query("*IDN?") == "plain"
    assert other.lock_state == AccessModes.no_lock
    assert other.query("ECHO? 2") == "2"


def test_hopeless_waiting_for_a_lock_takes_virtual_time(lab: Lab) -> None:
    mine, other = lab.open(), lab.open(timeout=30_000)
    mine.lock_excl()
    with fails_with(StatusCode.error_resource_locked):
        other.lock_excl()
    assert lab.bench.clock.now() == 30.0


def test_locks_nest_and_end(lab: Lab) -> None:
    mine, other = lab.open(), lab.open()
    mine.lock_excl()
    with mine.lock_context():
        pass
    with fails_with(StatusCode.error_resource_locked):
        other.write("X")
    mine.unlock()
    other.write("X")
    with fails_with(StatusCode.error_session_not_locked):
        mine.unlock()


def test_shared_locks_go_by_key(lab: Lab) -> None:
    first, second, third = lab.open(), lab.open(), lab.open()
    key = first.lock()
    assert key
    assert second.lock(requested_key=key) == key
    assert first.query("ECHO? 1") == second.query("ECHO? 1") == "1"
    with fails_with(StatusCode.error_resource_locked):
        third.write("X")
    with fails_with(StatusCode.error_resource_locked):
        third.lock(0, requested_key="another")
    first.unlock()
    second.unlock()
    third.write("X")


def test_a_session_can_open_locked_and_gives_up_its_lock_on_closing(lab: Lab) -> None:
    mine = lab.rm.open_resource(GPIB, access_mode=AccessModes.exclusive_lock)
    opened = len(lab.rm.list_opened_resources())
    with fails_with(StatusCode.error_resource_locked):
        lab.rm.open_resource(GPIB, access_mode=AccessModes.exclusive_lock)
    assert len(lab.rm.list_opened_resources()) == opened
    mine.close()
    lab.rm.open_resource(GPIB, access_mode=AccessModes.exclusive_lock)


@pytest.mark.parametrize("shared_session", [False, True])
def test_query_pairs_of_threads_under_a_lock_are_always_right(lab: Lab, shared_session: bool) -> None:
    common = lab.open(timeout=30_000)
    wrong: list[tuple[str, str]] = []
    finished: list[str] = []

    def work(name: str) -> None:
        session = common if shared_session else lab.open(timeout=30_000)
        for k in range(300):
            with session.lock_context():
                got = session.query(f"ECHO? {name}{k}")
            if got != f"{name}{k}":
                wrong.append((got, f"{name}{k}"))
        finished.append(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert sorted(finished) == ["a", "b"]
    assert wrong == []


# Errors and faults


def test_a_panels_exceptions_surface_and_do_not_linger(lab: Lab) -> None:
    session = lab.open()
    with pytest.raises(AttributeError, match="no_such_method"):
        session.write("BUG")
    assert session.query("ECHO? fine") == "fine"


def test_exceptions_in_simulated_processes_surface(lab: Lab) -> None:
    def process() -> Any:
        yield lab.bench.clock.env.timeout(5)
        raise AttributeError("in the board")

    lab.bench.clock.env.process(process())
    with pytest.raises(AttributeError, match="in the board"):
        lab.open().read()


def test_faults_see_the_wire_and_change_it(lab: Lab) -> None:
    seen: list[tuple[str, bytes]] = []

    class Faults:
        def before_write(self, resource: str, data: bytes) -> bytes:
            seen.append((resource, data))
            return b"" if b"lose this" in data else data.replace(b"x", b"y")

        def after_reply(self, resource: str, data: bytes) -> bytes | None:
            return None if b"mute" in data else data.upper()

    lab.lib.faults = Faults()
    session, panel = lab.open(), lab.panel()
    session.write("lose this")
    assert session.query("ECHO? x") == "Y"
    with fails_with(StatusCode.error_timeout):
        session.query("ECHO? mute")
    panel.output = [b"mute", b"data"]
    assert session.read() == "DATA"
    assert seen[0] == (GPIB, b"lose this\r\n")
    assert len(panel.heard) == 2
    lab.lib.reset()
    assert session.query("ECHO? x") == "Y"
    lab.lib.faults = None
    assert session.query("ECHO? x") == "x"


def test_state_outlives_garbage_collection(path: Path, by_name: None) -> None:
    def touch() -> Any:
        manager = pyvisa.ResourceManager(f"{path}?name=gc@twin")
        manager.open_resource(GPIB).write("SET 1")
        return manager.visalib.instruments[GPIB].panel.heard

    first = touch()
    gc.collect()
    assert touch() is first
    assert len(first) == 2
    pyvisa.ResourceManager(f"{path}?name=gc@twin").close()


def test_global_random_numbers_are_left_alone(lab: Lab) -> None:
    state = random.getstate()
    lab.open()
    assert random.getstate() == state
