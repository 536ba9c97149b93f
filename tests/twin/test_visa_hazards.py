"""Hazards of pyvisa-sim 0.7 that the twin's backend is free of.

For each, one test of the twin; where it is cheap to show, a test `test_stock_...` that the stock backend
still has it. When one of those fails, pyvisa-sim has been mended, and what works around it here may go.
"""

import gc
import random
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pyvisa
from pyvisa.constants import BufferOperation, Lock, ResourceAttribute, StatusCode, TriggerProtocol
from pyvisa_sim.devices import Device
from pyvisa_sim.highlevel import SimVisaLibrary
from pyvisa_sim.sessions import session as stock_session

from instruments.errors import ConfigError
from instruments.twin.visa import TwinVisaLibrary

NAME = "GPIB3::5::INSTR"
ABSENT = "GPIB3::6::INSTR"
UPLOAD = "DATA #14;;;;"

FILE = f"""
spec: "1.1"
devices:
  counter:
    eom: {{GPIB INSTR: {{q: "\\n", r: "\\n"}}}}
    error: ERROR
    dialogues:
      - {{q: "*IDN?", r: "counter"}}
      - {{q: "{UPLOAD}", r: "stored"}}
    properties:
      level:
        default: "0"
        getter: {{q: "LEV?", r: "{{}}"}}
        setter: {{q: "LEV {{}}"}}
resources:
  {NAME}: {{device: counter}}
"""
DERIVED = """
spec: "1.1"
devices:
  family:
    eom: {GPIB INSTR: {q: "\\n", r: "\\n"}}
    error: ERROR
    dialogues:
      - {q: "*IDN?", r: "family"}
      - {q: "*OPC?", r: "1"}
  child:
    bases: [family]
    dialogues:
      - {q: "*IDN?", r: "child"}
resources:
  GPIB3::5::INSTR: {device: child}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "hazards.yaml"
    path.write_text(FILE)
    return path


@pytest.fixture
def twin(file: Path) -> Iterator[pyvisa.ResourceManager]:
    manager = pyvisa.ResourceManager(TwinVisaLibrary.from_file(file))
    yield manager
    manager.close()


@pytest.fixture
def stock(file: Path) -> Iterator[pyvisa.ResourceManager]:
    manager = pyvisa.ResourceManager(SimVisaLibrary(str(file)))
    yield manager
    manager.close()


def connect(manager: pyvisa.ResourceManager) -> Any:
    return manager.open_resource(NAME, read_termination="\n", write_termination="\n")


def broken(*args: object) -> None:
    raise AttributeError("a slip in the device")


# A missing resource


def test_opening_a_missing_resource_fails(twin: pyvisa.ResourceManager) -> None:
    with pytest.raises(pyvisa.VisaIOError) as caught:
        twin.open_resource(ABSENT)
    assert caught.value.error_code == StatusCode.error_resource_not_found


def test_stock_opens_a_missing_resource_and_loses_what_it_is_sent(stock: pyvisa.ResourceManager) -> None:
    assert stock.open_resource(ABSENT).write("into the void") == 0


# An AttributeError in a device


def test_an_attribute_error_in_a_device_surfaces(twin: pyvisa.ResourceManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Device, "_match", broken)
    with pytest.raises(AttributeError, match="slip"):
        connect(twin).write("*IDN?")


def test_stock_swallows_an_attribute_error(stock: pyvisa.ResourceManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Device, "_match", broken)
    assert connect(stock).write("*IDN?") == 0


# Semicolons in uploads


def test_a_block_with_semicolons_is_one_message(twin: pyvisa.ResourceManager) -> None:
    device = connect(twin)
    device.write(f"{UPLOAD};*IDN?")
    assert (device.read(), device.read()) == ("stored", "counter")


def test_binary_uploads_are_not_taken_for_text(twin: pyvisa.ResourceManager) -> None:
    device = connect(twin)
    device.write_raw(b"LEV \xff\xfe\n")
    assert device.read() == "ERROR"


def test_stock_cuts_a_block_at_its_semicolons(stock: pyvisa.ResourceManager) -> None:
    assert connect(stock).query(UPLOAD) == "ERROR"


# Operations that are missing


OPERATIONS = {
    "read_stb": lambda library, session: library.read_stb(session),
    "clear": lambda library, session: library.clear(session),
    "assert_trigger": lambda library, session: library.assert_trigger(session, TriggerProtocol.default),
    "lock": lambda library, session: library.lock(session, Lock.exclusive, 0, None),
    "flush": lambda library, session: library.flush(session, BufferOperation.discard_read_buffer),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_operations_of_a_message_based_instrument_exist(twin: pyvisa.ResourceManager, operation: str) -> None:
    device = connect(twin)
    OPERATIONS[operation](twin.visalib, device.session)
    assert device.query("*IDN?") == "counter"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_stock_lacks_operations(stock: pyvisa.ResourceManager, operation: str) -> None:
    with pytest.raises(NotImplementedError):
        OPERATIONS[operation](stock.visalib, connect(stock).session)


def test_waiting_for_a_service_request_ends(twin: pyvisa.ResourceManager) -> None:
    with pytest.raises(pyvisa.VisaIOError) as caught:
        connect(twin).wait_for_srq(3000)
    assert caught.value.error_code == StatusCode.error_timeout
    assert 2.0 < twin.visalib.clock.now() <= 3.0


def test_stock_cannot_wait_for_a_service_request(stock: pyvisa.ResourceManager) -> None:
    with pytest.raises(NotImplementedError):
        connect(stock).wait_for_srq(1)


# Time-outs in real time


class CountedTime:
    """Stands in for `time` in the stock session."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def time_out(manager: pyvisa.ResourceManager) -> None:
    device = connect(manager)
    device.timeout = 5000
    with pytest.raises(pyvisa.VisaIOError):
        device.read()


def test_a_time_out_takes_no_real_time(twin: pyvisa.ResourceManager, monkeypatch: pytest.MonkeyPatch) -> None:
    real = CountedTime()
    monkeypatch.setattr(stock_session, "time", real)
    monkeypatch.setattr("time.sleep", real.sleep)
    time_out(twin)
    assert real.now == 0.0
    assert twin.visalib.clock.now() == 5.0


def test_stock_sleeps_through_a_time_out(stock: pyvisa.ResourceManager, monkeypatch: pytest.MonkeyPatch) -> None:
    real = CountedTime()
    monkeypatch.setattr(stock_session, "time", real)
    time_out(stock)
    assert real.now > 5.0


# Threads. That the stock backend mixes replies up depends on the machine's moods, so it is not asserted.


def test_two_threads_get_their_own_replies(twin: pyvisa.ResourceManager) -> None:
    twin.visalib.instruments[NAME].panel = Mirror(None, {})
    right: list[bool] = []

    def work(name: str) -> None:
        device = connect(twin)
        device.timeout = 30_000
        for k in range(200):
            with device.lock_context():
                right.append(device.query(f"{name}{k}") == f"{name}{k}")

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
    assert right == [True] * 400


class Mirror:
    """A panel that sends back what it gets."""

    def __init__(self, bench: object, options: Mapping[str, str]) -> None:
        pass

    def handle(self, message: bytes) -> list[bytes] | None:
        return [message]

    def pull(self) -> bytes | None:
        return None

    def status_byte(self) -> int:
        return 0

    def clear(self) -> None:
        pass

    def trigger(self) -> None:
        pass


# Inheritance


def test_bases_are_inherited(file: Path) -> None:
    file.write_text(DERIVED)
    manager = pyvisa.ResourceManager(TwinVisaLibrary.from_file(file))
    device = connect(manager)
    assert (device.query("*IDN?"), device.query("*OPC?"), device.query("*TST?")) == ("child", "1", "ERROR")
    manager.close()


def test_bases_in_another_file_and_circles(file: Path) -> None:
    file.with_name("family.yaml").write_text(DERIVED)
    file.write_text(DERIVED.replace("[family]", "[{device: child, filename: family.yaml}]"))
    manager = pyvisa.ResourceManager(TwinVisaLibrary.from_file(file))
    assert connect(manager).query("*OPC?") == "1"
    manager.close()
    short = DERIVED.replace("[family]", "[child]")
    long = DERIVED.replace("family:", "family:\n    bases: [child]")
    for circle in (short, long):
        file.write_text(circle)
        with pytest.raises(ConfigError, match="own base"):
            TwinVisaLibrary.from_file(f"{file}?name=circle")


@pytest.mark.parametrize(
    "file_text", ["spec: 1.1\ndevices: {", "devices: {}", DERIVED.replace("device: child", "device: x")]
)
def test_a_malformed_file_is_named(file: Path, file_text: str) -> None:
    file.write_text(file_text)
    with pytest.raises(ConfigError, match=r"hazards\.yaml"):
        TwinVisaLibrary.from_file(file)


def test_stock_does_not_inherit(file: Path) -> None:
    file.write_text(DERIVED)
    with pytest.raises(NotImplementedError):
        SimVisaLibrary(str(file))


# State and garbage collection


def remember(library: type[SimVisaLibrary], file: Path) -> str:
    """Set a level, let go of everything, and ask for it."""
    connect(pyvisa.ResourceManager(library(str(file)))).write("LEV 7")
    gc.collect()
    return str(connect(pyvisa.ResourceManager(library(str(file)))).query("LEV?"))


def test_state_outlives_its_users(file: Path) -> None:
    assert remember(TwinVisaLibrary, file) == "7"
    pyvisa.ResourceManager(TwinVisaLibrary(str(file))).close()
    assert connect(pyvisa.ResourceManager(TwinVisaLibrary(str(file)))).query("LEV?") == "0"
    pyvisa.ResourceManager(TwinVisaLibrary(str(file))).close()


def test_stock_state_dies_with_its_users(file: Path) -> None:
    assert remember(SimVisaLibrary, file) == "0"


# Large replies


def test_a_reply_is_taken_in_one_piece(twin: pyvisa.ResourceManager) -> None:
    device = connect(twin)
    block = bytes(range(256)) * 4000
    twin.visalib.instruments[NAME].panel = Mirror(None, {})
    device.write_raw(block + b"\n")
    device.read_termination = None
    data, status = twin.visalib.read(device.session, len(block))
    assert (data, status) == (block, StatusCode.success_max_count_read)


def test_stock_takes_a_reply_byte_by_byte(stock: pyvisa.ResourceManager) -> None:
    connect(stock).write("*IDN?")
    assert stock.visalib.devices[NAME].read() == (b"c", False)


# The termination character of GPIB sessions


def test_termination_character_is_line_feed_on_every_board(twin: pyvisa.ResourceManager) -> None:
    device = twin.open_resource(NAME)
    assert device.get_visa_attribute(ResourceAttribute.termchar) == 10
    assert device.interface_number == 3


def test_stock_takes_the_board_number_for_the_termination_character(stock: pyvisa.ResourceManager) -> None:
    assert stock.open_resource(NAME).get_visa_attribute(ResourceAttribute.termchar) == 3


# Session handles


def test_handles_do_not_use_up_global_chance(twin: pyvisa.ResourceManager) -> None:
    state = random.getstate()
    connect(twin)
    assert random.getstate() == state


def test_stock_draws_handles_from_global_chance(stock: pyvisa.ResourceManager) -> None:
    state = random.getstate()
    connect(stock)
    assert random.getstate() != state
