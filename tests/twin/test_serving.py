"""A bench on the network, through the clients that people use: sockets, VISA, serial programs, other languages."""

import asyncio
import gc
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import pyvisa
import serial
from hypothesis import given
from hypothesis import strategies as st
from pymeasure.adapters import VISAAdapter
from pymeasure.instruments.agilent import AgilentB1500
from pymeasure.instruments.keysight import KeysightDSOX1102G
from pyvisa.errors import VisaIOError

from instruments.clock import VirtualClock, WallClock
from instruments.errors import BenchBusyError, ConfigError
from instruments.twin.serving.framing import LineFramer
from instruments.twin.serving.pace import Pacer
from instruments.twin.serving.server import BenchServer

ANALYZER, SCOPE, TEKTRONIX = (
    "GPIB0::17::INSTR", "USB0::0x2A8D::0x1797::MY00000001::0::INSTR", "TCPIP0::127.0.0.2::inst0::INSTR",
)  # fmt: skip
SECONDS = 60
"""After which a test gives up; nothing here takes that long."""


class Served:
    """A bench served by a thread of this process."""

    def __init__(self, specification: str = "bench-rram32.yaml", **options: Any) -> None:
        self.defects: list[str] = []
        started: Future[BenchServer] = Future()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()

        async def main() -> None:
            wall = options.pop("wall", None) or WallClock()
            try:
                async with BenchServer(specification, wall, report=self.defects.append, **options) as server:
                    started.set_result(server)
                    await self._stop.wait()
            except BaseException as error:
                if started.done():
                    raise
                started.set_exception(error)

        self._thread = threading.Thread(target=lambda: self._run(main), daemon=True)
        self._thread.start()
        self.server = started.result(SECONDS)
        self.offers = {offer.resource: offer for offer in self.server.offers}

    def _run(self, main: Callable[[], Any]) -> None:
        try:
            self._loop.run_until_complete(main())
        finally:
            self._loop.close()

    def call(self, step: Callable[[], Any]) -> Any:
        """Do something in the server's thread."""
        done: Future[Any] = Future()
        self._loop.call_soon_threadsafe(lambda: done.set_result(step()))
        return done.result(SECONDS)

    def connect(self, resource: str) -> "Line":
        return Line(self.offers[resource].port)

    def close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(SECONDS)
        assert self.defects == []


class Line:
    """A client at a raw socket."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), SECONDS)
        self._file = self.socket.makefile("rb")

    def send(self, text: str | bytes) -> None:
        self.socket.sendall(text.encode() if isinstance(text, str) else text)

    def read(self) -> str:
        return self._file.readline().decode().rstrip("\r\n")

    def is_cut(self) -> bool:
        """Whether the other end has hung up."""
        try:
            return self._file.read(1) == b""
        except ConnectionError:
            return True

    def ask(self, text: str) -> str:
        self.send(text + "\n")
        return self.read()

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def reset(self) -> None:
        """Go as a killed process goes: at once, with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    bench = Served()
    yield bench
    bench.close()


@pytest.fixture(scope="module")
def visa() -> Iterator[pyvisa.ResourceManager]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it says about interfaces that this machine lacks
        manager = pyvisa.ResourceManager("@py")
    yield manager
    manager.close()


# Who reaches it


def test_raw_socket_answers_lines(served: Served) -> None:
    line = served.connect(ANALYZER)
    assert line.ask("*IDN?").startswith("Agilent Technologies,B1500A,")
    line.send("*ID")
    line.send("N?\r\nUNT?\n*OPC?\n")
    replies = [line.read() for _ in range(3)]
    assert replies[0].startswith("Agilent")
    assert replies[1].startswith("B1517A,0;")
    assert replies[2] == "1"
    line.close()


@pytest.mark.parametrize("number", [0, -1])
@pytest.mark.parametrize("resource", [ANALYZER, SCOPE, TEKTRONIX])
def test_visa_reaches_every_instrument(
    served: Served, visa: pyvisa.ResourceManager, resource: str, number: int
) -> None:
    address = served.offers[resource].addresses[number]
    opened: Any = visa.open_resource(address, timeout=5000, read_termination="\n", write_termination="\n")
    assert len(opened.query("*IDN?").split(",")) == 4
    opened.close()


def test_netcat_in_another_language(served: Served) -> None:
    """A client of some lines in bash, or in C where there is a compiler, or in perl."""
    port = served.offers[SCOPE].port
    script = f'exec 3<>/dev/tcp/127.0.0.1/{port}; printf "*IDN?\\n" >&3; IFS= read -r reply <&3; printf "%s" "$reply"'
    found = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=SECONDS, check=True)
    assert found.stdout.startswith("KEYSIGHT TECHNOLOGIES,")
    perl = shutil.which("perl")
    if perl is not None:
        script = (
            f'use IO::Socket::INET; $s = IO::Socket::INET->new("127.0.0.1:{port}"); '
            'print $s ":CHAN1:RANG 4\\n:CHAN1:RANG?\\n"; print scalar <$s>;'
        )
        found = subprocess.run([perl, "-e", script], capture_output=True, text=True, timeout=SECONDS, check=True)
        assert float(found.stdout) == 4.0


def test_board_on_a_serial_line(served: Served) -> None:
    from instruments import board_frames as frames

    name = served.offers["ASRL1::INSTR"].serial
    for _ in range(2):  # closed and opened again
        with serial.Serial(name, 9600, timeout=SECONDS) as port:
            port.write(frames.encode_frame(0, "ID") + b"\r\n")
            assert frames.decode_frame(port.readline().rstrip(b"\r\n")).body.startswith("OK ")
            port.write(b"@0101 I")  # left unfinished


def test_visa_serial_poll_clear_trigger_and_lock(served: Served, visa: pyvisa.ResourceManager) -> None:
    address = served.offers[ANALYZER].addresses[0]
    first: Any = visa.open_resource(address, timeout=2000, read_termination="\r\n", write_termination="\r\n")
    second: Any = visa.open_resource(address, timeout=2000, read_termination="\r\n", write_termination="\r\n")
    first.write("*RST;CN 1;DV 1,0,0.1,1E-4;FMT 1,0;MM 1,1;FROB")
    assert first.read_stb() & 32, "the error bit"
    assert first.query("ERRX?").startswith("+100,")
    first.assert_trigger()
    first.write("*OPC?")
    assert first.read() == "1", "a query's reply is read before data are"
    first.clear()
    first.timeout = 50
    with pytest.raises(VisaIOError, match="VI_ERROR_TMO"):
        first.read()
    first.lock_excl()
    with pytest.raises(VisaIOError):
        second.write("CL")
    first.close()  # and its lock is gone
    assert second.query("*OPC?") == "1"
    second.write("CL")
    second.close()


def test_pymeasure_finds_the_same_values_over_the_network(tmp_path: Path, visa: pyvisa.ResourceManager) -> None:
    def analyze(adapter: VISAAdapter) -> list[Any]:
        b1500 = AgilentB1500(adapter)
        b1500.reset()
        b1500.initialize_all_smus()
        b1500.data_format(1, mode=1)
        for smu in b1500.smu_references:
            smu.enable()
            smu.adc_type = "HSADC"
        b1500.meas_mode("STAIRCASE_SWEEP", *b1500.smu_references)
        b1500.smu2.force("Voltage", "Auto Ranging", 2.0)
        b1500.smu1.staircase_sweep_source("VOLTAGE", "LINEAR_SINGLE", "Auto Ranging", 0, 0.2, 5, 1e-3)
        b1500.check_errors()
        b1500.clear_buffer()
        b1500.clear_timer()
        b1500.send_trigger()
        found = [b1500.read_channels(5) for _ in range(5)]
        b1500.force_gnd()
        return [b1500.id, b1500.smu1.name, *(str(one) for one in found)]

    def look(adapter: VISAAdapter) -> list[Any]:
        scope = KeysightDSOX1102G(adapter)
        scope.reset()
        scope.timebase_scale = 1e-3
        scope.ch1.scale = 0.5
        return [scope.id, scope.timebase_scale, scope.ch1.scale, scope.ch1.offset, scope.waveform_points_mode]

    def visit(names: tuple[str, str], manager: pyvisa.ResourceManager) -> list[Any]:
        found = []
        for name, visit_one in zip(names, (analyze, look), strict=True):
            adapter = VISAAdapter(name, visa_library=manager.visalib, timeout=5000)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # pymeasure's own, about names that it is about to change
                found.append(visit_one(adapter))
            adapter.close()
        return found

    bench = Served(f"bench-rram32.yaml?seed=3&dir={tmp_path / 'a'}", idle=False)
    network = visit((bench.offers[ANALYZER].addresses[0], bench.offers[SCOPE].addresses[0]), visa)
    bench.close()
    manager = pyvisa.ResourceManager(f"bench-rram32.yaml?seed=3&dir={tmp_path / 'b'}@twin")
    inside = visit((ANALYZER, SCOPE), manager)
    manager.close()
    assert network == inside


def test_hislip_polls_clears_triggers_and_cuts_blocks(served: Served, visa: pyvisa.ResourceManager) -> None:
    address = served.offers[SCOPE].addresses[1]
    assert "hislip" in address
    scope: Any = visa.open_resource(address, timeout=5000, read_termination="\n", write_termination="\n")
    scope.write("*RST;*CLS;*SRE 32;*ESE 32;FROB")
    assert scope.read_stb() & 32, "the event summary"
    assert scope.query(":SYSTem:ERRor?").startswith("-113,")
    scope.write(":TRIGger:SWEep NORMal;:TRIGger:EDGE:SOURce EXTernal;:WAVeform:POINts:MODE RAW;:WAVeform:POINts 50000")
    link = scope.visalib.sessions[scope.session].interface
    scope.write(":SINGle")
    assert any(scope.query(":AER?") == "+1" for _ in range(100)), "armed"
    assert scope.query(":TER?") == "+0"
    link.trigger()
    assert scope.query(":TER?") == "+1"
    scope.write(":DIGitize")
    scope.clear()
    assert scope.query("*OPC?") == "1", "it no longer waits for a trigger"
    scope.write(":TRIGger:SWEep AUTO;:DIGitize")
    assert scope.query("*OPC?") == "1"
    link.max_msg_size = 4096
    data = scope.query_binary_values(":WAVeform:FORMat BYTE;:WAVeform:DATA?", datatype="B", container=bytes)
    assert len(data) == 50_000
    scope.write("*IDN?")  # and isn't read
    assert scope.query("*OPC?") == "1"
    scope.close()


def test_hislip_refuses_what_is_none(served: Served) -> None:
    port = int(served.offers[SCOPE].addresses[1].split(",")[1].split(":")[0])
    header = struct.Struct(">2sBBIQ")
    for sent, kind in (
        (b"GET / HTTP/1.1\r\n\r\n", 2),
        (header.pack(b"HS", 6, 0, 0, 0), 2),
        (header.pack(b"HS", 0, 0, 0x01006F68, 7) + b"hislip9", 2),
        (header.pack(b"HS", 17, 0, 999, 0), 2),
        (header.pack(b"HS", 0, 0, 0x01006F68, 7) + b"hislip0" + header.pack(b"HS", 7, 0, 2, 1) + b"A", 1),
    ):
        with socket.create_connection(("127.0.0.1", port), SECONDS) as link:
            link.sendall(sent)
            assert header.unpack(link.recv(16))[1] == kind


# Several clients


def test_32_clients_at_once_get_their_own_replies(served: Served) -> None:
    resources = [ANALYZER, SCOPE, TEKTRONIX] * 11
    lines = [served.connect(resource) for resource in resources[:32]]
    for line in lines:
        line.send("*IDN?\n" * 20)
    for resource, line in zip(resources, lines, strict=False):
        maker = {ANALYZER: "Agilent", SCOPE: "KEYSIGHT", TEKTRONIX: "TEKTRONIX"}[resource]
        assert all(line.read().startswith(maker) for _ in range(20))
        line.close()


def test_measured_data_go_to_who_asked(served: Served) -> None:
    first, second = served.connect(ANALYZER), served.connect(ANALYZER)
    first.send("*RST;FMT 1,0;CN 1;DV 1,0,0.1,1E-4;AV 1,1\n")
    assert first.ask("ERRX?").startswith("+0,")
    first.send("TI 1,0\n")
    assert second.ask("*OPC?") == "1"
    assert "AI" in first.read()
    first.close()
    second.close()


def test_killed_clients_leave_the_bench_usable(served: Served) -> None:
    for cut in ("*ID", ":DIGitize;*OPC?\n", "*IDN?\n" * 500, ":WAV:DA"):
        line = served.connect(SCOPE)
        line.send(":TRIGger:SWEep NORMal;:TRIGger:EDGE:SOURce EXTernal\n" + cut)
        line.reset()
        other = served.connect(SCOPE)
        assert other.ask("*IDN?").startswith("KEYSIGHT"), cut
        other.close()


def test_a_held_reply_waits_for_its_event_and_finds_its_client(served: Served) -> None:
    waiting, other = served.connect(SCOPE), served.connect(ANALYZER)
    waiting.send("*RST;*CLS\n:TRIGger:SWEep NORMal;:TRIGger:EDGE:SOURce EXTernal\n:DIGitize\n*OPC?\n")
    assert other.ask("*OPC?") == "1", "only the oscilloscope waits"
    third = served.connect(SCOPE)
    third.send("*IDN?\n")
    run = served.server.library.instruments[SCOPE]
    assert run.panel is not None
    served.call(lambda: (run.panel.trigger(), served.server._pacer.passed()))
    assert (waiting.read(), third.read()[:8]) == ("1", "KEYSIGHT")
    for line in (waiting, other, third):
        line.close()


def test_a_slow_reader_keeps_nobody_waiting(served: Served) -> None:
    slow, quick = served.connect(SCOPE), served.connect(SCOPE)
    quick.send("*RST;:TRIGger:SWEep AUTO;:WAVeform:POINts:MODE RAW;:WAVeform:POINts 100000;:WAVeform:FORMat BYTE\n")
    quick.send(":DIGitize\n")
    assert quick.ask("*OPC?") == "1"
    sender = threading.Thread(target=slow.send, args=(":WAVeform:DATA?\n" * 80,), daemon=True)
    sender.start()
    for _ in range(20):
        assert quick.ask("*OPC?") == "1"
    sender.join(SECONDS)
    total = 80 * (10 + 100_000 + 1)
    got = 0
    while got < total:
        got += len(slow.socket.recv(1 << 20))
    assert got == total
    slow.close()
    quick.close()


# What is wrong


@pytest.mark.parametrize(
    ("resource", "query", "error"),
    [(ANALYZER, "ERRX?", '+150,"Command input buffer is full."'), (SCOPE, ":SYSTem:ERRor?", "-363,")],
)
def test_a_message_too_long_is_an_error(served: Served, resource: str, query: str, error: str) -> None:
    line = served.connect(resource)
    line.send("*CLS\n" if resource == SCOPE else "*RST\n")
    while not line.ask(query).lstrip("+").startswith("0"):
        pass
    line.send(b"A" * 1_200_000 + b"\n")
    assert line.ask(query).startswith(error)
    assert line.ask(query).lstrip("+").startswith("0,")
    line.close()


def test_garbage_to_the_gateway_ends_that_connection_only(served: Served, visa: pyvisa.ResourceManager) -> None:
    address = served.offers[ANALYZER].addresses[0]
    port = int(address.split(",")[1].split(":")[0])
    rng = random.Random(5)
    for number in range(60):
        link = socket.create_connection(("127.0.0.1", port), SECONDS)
        body = rng.randbytes(rng.randrange(200))
        if number % 2:  # a call of the right program, with arguments that are not
            body = struct.pack(">10I", number, 0, 2, 0x0607AF, 1, rng.randrange(30), 0, 0, 0, 0) + body
        link.sendall(struct.pack(">I", (1 << 31) | len(body)) + body)
        link.close()
    opened: Any = visa.open_resource(address, timeout=5000, read_termination="\r\n", write_termination="\r\n")
    assert opened.query("*OPC?") == "1"
    opened.close()


def test_port_mapper_tells_the_gateway_s_port() -> None:
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    bench = Served(portmapper=port)
    with socket.create_connection(("127.0.0.1", port), SECONDS) as link:
        for program, expected in (
            (0x0607AF, int(bench.offers[ANALYZER].addresses[0].split(",")[1].split(":")[0])),
            (5, 0),
        ):
            body = struct.pack(">14I", 7, 0, 2, 100000, 2, 3, 0, 0, 0, 0, program, 1, 6, 0)
            link.sendall(struct.pack(">I", (1 << 31) | len(body)) + body)
            reply = b""
            while len(reply) < 32:
                reply += link.recv(100)
            assert struct.unpack(">8I", reply)[1:] == (7, 1, 0, 0, 0, 0, expected)
    bench.close()


def test_a_fault_that_cuts_the_connection_cuts_it_here_too(tmp_path: Path) -> None:
    profile = tmp_path / "cut.yaml"
    profile.write_text("rules:\n- {fault: disconnect, resource: 'GPIB*', message: '*FROB*', for: 1 h}\n")
    bench = Served(f"bench-rram32.yaml?faults={profile}")
    line, scope = bench.connect(ANALYZER), bench.connect(SCOPE)
    assert line.ask("*OPC?") == "1"
    line.send("FROB\n")
    assert line.is_cut()
    again = bench.connect(ANALYZER)
    assert again.is_cut()
    assert scope.ask("*OPC?") == "1"
    for one in (line, again, scope):
        one.close()
    bench.close()


def test_unknown_device_name_is_refused(served: Served, visa: pyvisa.ResourceManager) -> None:
    address = served.offers[ANALYZER].addresses[0].replace("gpib0,17", "gpib0,5")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pyvisa-py leaves the socket of a link that was refused to the collector
        with pytest.raises(Exception, match="error creating link: 3"):
            visa.open_resource(address)
        gc.collect()


def test_one_server_a_state_folder(tmp_path: Path) -> None:
    first = Served(f"bench-rram32.yaml?dir={tmp_path}", state=tmp_path)
    with pytest.raises(BenchBusyError, match="is served by process"):
        Served(f"bench-rram32.yaml?dir={tmp_path}", state=tmp_path)
    with pytest.raises(BenchBusyError, match="is in use by process"):
        pyvisa.ResourceManager(f"bench-rram32.yaml?dir={tmp_path}&name=another@twin")
    with pytest.raises(ConfigError, match="can't be had"):
        Served("bench-rram32.yaml", port=first.offers[ANALYZER].port)
    first.close()


def test_state_is_kept_and_two_servers_are_two_benches(tmp_path: Path) -> None:
    def conductance(bench: Served) -> float:
        return float(bench.call(lambda: bench.server.library.bench.true_conductance()[0, 0, 0]))

    kept, other = (Served(f"bench-rram32.yaml?seed=2&dir={tmp_path / n}", state=tmp_path / n) for n in "ab")
    terminal = kept.offers["ASRL1::INSTR"].serial
    assert terminal == str(tmp_path / "a" / "asrl1.tty")
    assert Path(terminal).exists()
    before = conductance(kept)
    assert conductance(other) == pytest.approx(before)
    cells = kept.server.library.bench.chip.cells

    def change() -> None:
        cells[0, 0, 0]["g"] = 77e-6

    kept.call(change)
    changed = conductance(kept)
    assert changed != pytest.approx(before)
    assert conductance(other) == pytest.approx(before)
    kept.close()
    other.close()
    assert not Path(terminal).is_symlink()
    again = Served(f"bench-rram32.yaml?seed=2&dir={tmp_path / 'a'}", state=tmp_path / "a")
    assert conductance(again) == pytest.approx(changed, rel=0.05)
    again.close()


# Time


def test_scaled_time_holds_replies_until_they_are_due() -> None:
    wall, clock = VirtualClock(), VirtualClock()
    calls: list[tuple[float, Callable[[], None]]] = []

    class Timer:
        def cancel(self) -> None:
            calls.clear()

    def later(seconds: float, call: Callable[[], None]) -> Timer:
        calls.append((seconds, call))
        return Timer()

    pacer = Pacer(clock, wall, 10.0, later)
    clock.sleep(5)  # an instrument took five seconds
    assert pacer.due() == pytest.approx(0.5)
    wall.sleep(0.25)
    pacer.catch_up()
    assert (clock.now(), pacer.due()) == (5.0, pytest.approx(0.25))
    wall.sleep(0.75)
    pacer.catch_up()
    assert (clock.now(), pacer.due()) == (pytest.approx(10.0), 0.0)
    happened: list[float] = []
    clock.env.timeout(20 * 10**9).callbacks.append(lambda event: happened.append(clock.now()))  # type: ignore[union-attr]
    pacer.arrange()
    ((seconds, wake),) = calls
    assert seconds == pytest.approx(2.0)
    wall.sleep(2.0)
    wake()
    assert happened == [pytest.approx(30.0)]


def test_virtual_time_passes_with_the_wall_while_nobody_asks() -> None:
    wall, clock = VirtualClock(), VirtualClock()
    pacer = Pacer(clock, wall, None, lambda seconds, call: pytest.fail("nothing is pending"))
    clock.sleep(100)
    pacer.arrange()
    assert pacer.due() == 0.0
    wall.sleep(3)
    pacer.catch_up()
    assert clock.now() == pytest.approx(103)


def test_a_bench_at_a_hundred_times_real_time(visa: pyvisa.ResourceManager) -> None:
    bench = Served(scale=100.0)
    line = bench.connect(ANALYZER)
    clock = WallClock()
    line.send("PA 5\n")  # 50 ms of the wall
    assert line.ask("*OPC?") == "1"
    assert clock.now() >= 0.05
    line.close()
    gateway: Any = visa.open_resource(
        bench.offers[ANALYZER].addresses[0], timeout=5000, read_termination="\r\n", write_termination="\r\n"
    )
    before, clock = bench.server.library.clock.now(), WallClock()
    gateway.write("PA 50;*OPC?")
    gateway.timeout = 10
    with pytest.raises(VisaIOError, match="VI_ERROR_TMO"):
        gateway.read()
    gateway.timeout = 5000
    assert gateway.read() == "1"
    assert clock.now() >= 0.5
    assert bench.server.library.clock.now() - before >= 50
    gateway.close()
    bench.close()


def test_an_event_comes_when_the_wall_has_got_there() -> None:
    bench = Served(scale=10.0)
    line = bench.connect(SCOPE)
    line.send(":TIMebase:RANGe 1;:TRIGger:SWEep AUTO\n:DIGitize\n")  # a second of the bench
    clock = WallClock()
    assert line.ask("*OPC?") == "1"
    assert clock.now() >= 0.09
    line.close()
    bench.close()


# Framing


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=20).map(lambda b: b.replace(b"\n", b"").replace(b"\r", b"").replace(b"#", b"")),
            st.binary(max_size=40).map(lambda b: b"DATA #2%02d" % len(b) + b),
        ),
        max_size=6,
    ),
    st.lists(st.integers(1, 9), min_size=1),
)
def test_framing_finds_the_messages_however_they_arrive(messages: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(message + b"\n" for message in messages)
    framer, found, at = LineFramer(1000), [], 0
    while at < len(stream):
        step = cuts[at % len(cuts)]
        found += framer.feed(stream[at : at + step])
        at += step
    assert found == messages


def test_framing_skips_what_is_too_long() -> None:
    framer = LineFramer(10)
    assert framer.feed(b"A" * 30) == [None]
    assert framer.feed(b"A" * 30 + b"\nB\n" + b"C" * 11 + b"\nD\n") == [b"B", None, b"D"]
    assert framer.feed(b"E #9999999999") == [None], "a block that could never be taken"
    assert framer.feed(b"99\nF\n") == [b"F"]


# The command


def test_the_command_serves_until_it_is_told_to_stop(tmp_path: Path, visa: pyvisa.ResourceManager) -> None:
    from instruments.station_file import StationFile

    out = tmp_path / "served.yaml"
    command = [
        sys.executable, "-m", "workflows.cli", "bench", "serve", "station-twin.yaml", "--port-base", "0",
        "--state", str(tmp_path / "state"), "--chip", "4", "--station-out", str(out),
    ]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    try:
        assert process.stdout is not None
        said = "".join(iter(lambda: _until_ready(process.stdout), ""))
        assert f"ASRL{tmp_path}/state/asrl1.tty::INSTR" in said
        station = StationFile.load(out)
        assert (station.world, station.simulated, station.served, station.visa) == ("simulated", False, True, "@py")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from instruments.station import Station

            with Station.open(station) as opened:
                assert opened.world == "simulated"
                assert [one.role for one in opened.identities] == ["analyzer", "board", "oscilloscope"]
                opened.array.prepare()
                opened.array.select(0, 3, 4)
                reading = opened.array.read()
                assert 1e-7 < reading.conductance < 2e-4
        process.terminate()
        rest, errors = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, errors, rest) == (0, "", "stopped by SIGTERM; the chip is as it was left\n")


def _until_ready(stream: Any) -> str:
    line = str(stream.readline())
    return "" if line.startswith("ready") else line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["station-lab.yaml"], "only a simulated bench can be served"),
        (["station-twin.yaml", "--pace", "7"], "pace '7' must be virtual, steps, 1, 10, 100"),
        (["station-twin.yaml", "--port-base", "99999"], "--port-base must be 0..65000"),
        (["bench-rram32.yaml", "--station-out", "x.yaml"], "is a bench file; name the station that uses it"),
        (["station-twin.yaml", "--listen", "no such host"], "address 'no such host' to listen at"),
        (["nothing.yaml"], "station file nothing.yaml not found"),
    ],
)
def test_the_command_refuses_in_one_sentence(words: list[str], said: str, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from workflows.cli import app
    from workflows.errors import USER_ERRORS

    found = CliRunner().invoke(app, ["bench", "serve", *words, "--state", "none"])
    assert isinstance(found.exception, USER_ERRORS)
    assert said in str(found.exception)


def test_an_open_door_is_asked_for_and_warned_of() -> None:
    from instruments.twin.serving.command import refuse_open_door

    assert refuse_open_door("127.0.0.1", False) == ""
    with pytest.raises(ConfigError, match=r"say so by --listen 0\.0\.0\.0"):
        refuse_open_door("0.0.0.0", False)
    assert "whoever reaches it can drive this bench" in refuse_open_door("0.0.0.0", True)
