"""What a served bench has besides instruments: its time as its clients' clock, its probes, and a bounded memory."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from instruments.clock import VirtualClock, WallClock
from instruments.errors import ConfigError, LinkError
from instruments.served_bench import ServedBench
from instruments.station_file import StationFile
from instruments.twin.ledger import Ledger
from instruments.twin.serving.server import BenchServer
from workflows.procedures.controls import Answer
from workflows.procedures.mover import mover

SCOPE = "USB0::0x2A8D::0x1797::MY00000001::0::INSTR"
SECONDS = 60


class Running:
    """A bench served by a thread of this process; what it counts is its own time, whatever the wall does."""

    def __init__(self, scale: float | None = None, **options: Any) -> None:
        started: Future[BenchServer] = Future()
        self._loop, self._stop = asyncio.new_event_loop(), asyncio.Event()

        async def main() -> None:
            async with BenchServer("bench-rram32.yaml?name=served-bench", WallClock(), scale, **options) as server:
                started.set_result(server)
                await self._stop.wait()

        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(main()), daemon=True)
        self._thread.start()
        self.server = started.result(SECONDS)
        self.address = f"127.0.0.1:{self.server.bench_port}"

    @property
    def bench(self) -> Any:
        return self.server.library.bench

    def call(self, step: Callable[[], Any]) -> Any:
        done: Future[Any] = Future()
        self._loop.call_soon_threadsafe(lambda: done.set_result(step()))
        return done.result(SECONDS)

    def ask(self, line: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.server.bench_port), SECONDS) as link:
            link.sendall(line)
            return link.makefile("rb").readline().strip()

    def close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(SECONDS)
            self._loop.close()


@pytest.fixture
def running() -> Iterator[Running]:
    bench = Running(idle=False)
    yield bench
    bench.close()


@pytest.fixture
def clock(running: Running) -> Iterator[ServedBench]:
    made = ServedBench(running.address)
    yield made
    made.close()


def test_an_hour_on_a_virtual_bench_has_passed_at_once(running: Running, clock: ServedBench) -> None:
    assert clock.is_virtual
    begun, wall = clock.now(), WallClock()
    clock.sleep(3600)
    assert clock.now() - begun == 3600
    assert running.call(lambda: running.server.library.clock.now()) == clock.now()
    assert wall.now() < 600


def test_what_is_due_while_a_client_sleeps_happens_when_it_is_due(running: Running, clock: ServedBench) -> None:
    seen: list[int] = []
    bench: VirtualClock = running.server.library.clock

    def ticking() -> Any:
        for _ in range(1000):
            yield bench.env.timeout(1_000_000)
            seen.append(bench.now_ns)

    begun = bench.now_ns
    running.call(lambda: bench.env.process(ticking()))
    clock.sleep(0.5)
    assert len(seen) == 500
    clock.sleep(1.0)
    assert seen == [begun + 1_000_000 * (k + 1) for k in range(1000)]
    assert bench.now_ns == begun + 1_500_000_000


def test_a_scaled_bench_sleeps_its_own_seconds() -> None:
    bench = Running(100.0)
    try:
        clock, wall = ServedBench(bench.address), WallClock()
        assert not clock.is_virtual
        begun, wall_begun = clock.now(), wall.now()
        clock.sleep(2.0)
        slept = clock.now() - begun
        assert slept >= 2.0
        assert wall.now() - wall_begun >= 0.99 * 2.0 / 100
        clock.close()
    finally:
        bench.close()


def test_time_goes_on_without_the_bench_and_never_back(running: Running, clock: ServedBench) -> None:
    clock.sleep(10)
    before = clock.now()
    running.close()
    without = [clock.now() for _ in range(3)]
    assert before <= without[0] <= without[1] <= without[2] < before + SECONDS
    clock.sleep(0.001)
    assert clock.now() >= without[2] + 0.001
    with pytest.raises(LinkError, match="probes were not moved"):
        clock.move_probes({1: "x"})


@pytest.mark.parametrize("line", [b"\n", b"SLEEP -1\n", b"SLEEP 1e3\n", b"SLEEP\n", b"NOW x\n", b"\xff\x00\n",
                                  b"SLEEP " + b"9" * 25 + b"\n", b"PROBES\n", b"PROBES 1\n", b"PROBES 0=x\n",
                                  b"PROBES 1=x;2=y\n"])  # fmt: skip
def test_what_it_does_not_understand_it_refuses(running: Running, line: bytes) -> None:
    before = running.call(lambda: running.server.library.clock.now_ns)
    assert running.ask(line) == b"? PACE, NOW, SLEEP nanoseconds or PROBES channel=node ..."
    assert running.call(lambda: running.server.library.clock.now_ns) == before


def test_probes_move_on_every_oscilloscope_or_not_at_all(running: Running, clock: ServedBench) -> None:
    clock.move_probes({1: "h1_3", 4: "run"})
    scopes = running.bench.scopes
    assert {(panel.probes[1], panel.probes[4]) for panel in scopes} == {("h1_3", "run")}
    with pytest.raises(LinkError, match="no node nowhere"):
        clock.move_probes({1: "x", 2: "nowhere"})
    assert {panel.probes[1] for panel in scopes} == {"h1_3"}


def test_a_mover_needs_nobody_at_a_served_bench(running: Running, clock: ServedBench) -> None:
    from instruments.station import Station

    station = Station.__new__(Station)
    station.served, station._manager = clock, type("Manager", (), {"visalib": object()})()
    asked: list[str] = []

    def ask(question: Any) -> Answer:
        asked.append(str(question))
        return Answer("somebody")

    assert station.real
    assert not station.attended
    mover(station, ask)("scope1", {2: "score_x"})
    assert len(asked) == 1
    assert {panel.probes[2] for panel in running.bench.scopes} == {"score_x"}


def test_a_station_file_names_the_bench_only_where_one_is_served(tmp_path: Path) -> None:
    served = _station(tmp_path, served="true", bench="127.0.0.1:5035")
    assert StationFile.load(served).bench == "127.0.0.1:5035"
    for given in ({"served": "true", "bench": "5035"}, {"served": "true", "bench": "a b:1"}):
        with pytest.raises(ConfigError, match=r"station\.bench: .* must be host:port"):
            StationFile.load(_station(tmp_path, **given))
    real = replace(StationFile.load("station-lab.yaml"))
    assert real.bench == ""
    text = real.text.replace("world: real", "world: real\n  bench: 127.0.0.1:5035")
    (tmp_path / "real.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"station\.bench: .* must be host:port of a bench that is served"):
        StationFile.load(tmp_path / "real.yaml")


def test_nobody_there_is_said_in_one_sentence() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ConfigError, match=f"no served bench answers at 127.0.0.1:{port}"):
        ServedBench(f"127.0.0.1:{port}")


def test_a_bounded_ledger_keeps_its_totals() -> None:
    every, bounded = Ledger(), Ledger(most=10)
    for k in range(1, 101):
        for one in (every, bounded):
            one.drive(float(k), "set", (0, k % 32, 0), 2.0 - 0.01 * k, 1.0, 1e-6, 1e-12 * k)
    assert bounded.energy == every.energy
    assert bounded.highest == every.highest == {"set": 1.99}
    assert 10 <= len(bounded) < 20
    assert bounded.table().tolist() == every.table()[-len(bounded) :].tolist()


def test_a_served_bench_bounds_its_ledger(running: Running) -> None:
    most = running.bench.ledger.most
    assert most is not None
    assert most <= 100_000


def test_a_held_record_is_sent_again_as_it_was_and_a_new_one_is_not(running: Running) -> None:
    offer = next(one for one in running.server.offers if one.resource == SCOPE)
    with socket.create_connection(("127.0.0.1", offer.port), SECONDS) as link:
        answers = link.makefile("rb")

        def block(message: bytes) -> bytes:
            link.sendall(message + b"\n")
            head = answers.read(10)
            return head + answers.read(int(head[2:]) + 1)

        def ask(message: bytes) -> bytes:
            link.sendall(message + b"\n")
            return answers.readline()

        link.sendall(b":TRIGger:SWEep AUTO;:WAVeform:POINts 1000\n:DIGitize\n")
        first, preamble = block(b":WAVeform:DATA?"), ask(b":WAVeform:PREamble?")
        assert block(b":WAVeform:DATA?") == first
        assert ask(b":WAVeform:PREamble?") == preamble
        word = block(b":WAVeform:FORMat WORD;:WAVeform:DATA?")
        assert len(word) == len(first) + 1000
        assert ask(b":WAVeform:PREamble?") != preamble
        assert block(b":WAVeform:FORMat BYTE;:WAVeform:DATA?") == first
        link.sendall(b":DIGitize\n")
        assert block(b":WAVeform:DATA?") != first  # noise


def _station(folder: Path, **given: str) -> Path:
    from workflows.benching import _Source

    source = _Source.find("station-twin.yaml")
    path = folder / "served.yaml"
    names = {entry.resource for entry in source.station.instruments.values()}
    from pyvisa.rname import to_canonical_name

    source.write_station(path, {to_canonical_name(name): name for name in names}, "127.0.0.1:1")
    path.write_text(path.read_text().replace("bench: 127.0.0.1:1", f"bench: {given['bench']!r}"))
    return path
