"""A pytest plugin: a laboratory tests its own drivers, procedures and flows against the twin.

It comes with ohmflow (entry point `ohmflow`); nothing is imported before a test asks for one of the fixtures:

bench           an open simulated bench; `bench.manager` is pyvisa's resource manager, for any driver
station         a station of the twin, opened; when the test is over its outputs must be safe and all drives within the
                limits, or the test fails
virtual_time    the bench's clock: `.now()`, `.sleep(3600)` takes no time
run_procedure   `run_procedure("program", pattern="stripes")` carries out a procedure and gives its open run file
played_back     `played_back("recorded.jsonl")` opens a bench whose instruments answer as on a tape
bench_seed      names the chip and all chance; parametrised by --bench-seeds 1,2,3
fault_profile   what the bench suffers from; parametrised by --fault-profiles none,timeouts

Markers say what is other than usual:

    @pytest.mark.bench("bench-rram32.yaml", preset="wan2022-hfox")   # bench file, parameters of the bench
    @pytest.mark.station("my-station.yaml")                          # station file

Every test has a fresh chip of its own in its own temporary folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

if TYPE_CHECKING:
    import pyvisa

    from analysis.records.reader import RunFile
    from instruments.clock import VirtualClock
    from instruments.station import Station

BENCH, STATION = "bench-rram32.yaml", "station-twin.yaml"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which chips and which faults a whole suite is run with."""
    group = parser.getgroup("ohmflow", "the twin of a resistive-memory laboratory")
    group.addoption("--bench-seeds", default="1", help="Seeds of the twin's chips, with commas between them.")
    group.addoption("--fault-profiles", default="none", help="Fault profiles, with commas between; none: no faults.")


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known."""
    config.addinivalue_line("markers", "bench(file, **parameters): the bench file of `bench`, and its parameters")
    config.addinivalue_line("markers", "station(file, **parameters): the station file of `station`, and its twin's")
    _seeds(config)  # a mistake in them is told before anything is collected


def _seeds(config: pytest.Config) -> list[int]:
    text = str(config.getoption("--bench-seeds"))
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise pytest.UsageError(f"--bench-seeds {text!r}: give whole numbers with commas between them") from None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what uses the bench once for each seed and profile that was asked for."""
    if "bench_seed" in metafunc.fixturenames and not _given(metafunc, "bench_seed"):
        seeds = _seeds(metafunc.config)
        metafunc.parametrize("bench_seed", seeds, ids=[f"chip{seed}" for seed in seeds], scope="function")
    if "fault_profile" in metafunc.fixturenames and not _given(metafunc, "fault_profile"):
        names = [word.strip() for word in str(metafunc.config.getoption("--fault-profiles")).split(",")]
        metafunc.parametrize("fault_profile", ["" if n == "none" else n for n in names], ids=names, scope="function")


def _given(metafunc: pytest.Metafunc, name: str) -> bool:
    """Whether the test itself says which values it wants."""
    told = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    return any(name in (names.replace(" ", "").split(",") if isinstance(names, str) else names) for names in told)


@dataclass(frozen=True)
class OpenBench:
    """A simulated bench.

    Attributes:
        manager: pyvisa's resource manager; `manager.open_resource(...)`, `manager.visalib` for adapters.
        clock: its virtual time.
        chip: what no laboratory could know; `chip.true_conductance()` in S, [array, row, col]; `chip.ledger`.
    """

    manager: pyvisa.ResourceManager
    clock: VirtualClock
    chip: Any


@pytest.fixture
def bench_seed() -> int:
    """Seed of the chip; see --bench-seeds."""
    return 1


@pytest.fixture
def fault_profile() -> str:
    """Name of the fault profile, or ""; see --fault-profiles."""
    return ""


@pytest.fixture
def bench(request: pytest.FixtureRequest, bench_seed: int, fault_profile: str, tmp_path: Path) -> Iterator[OpenBench]:
    """An open simulated bench with a fresh chip."""
    import pyvisa

    file, params = _asked(request, "bench", BENCH)
    params = {"seed": bench_seed, "dir": tmp_path / "bench", **params}
    if fault_profile:
        params |= {"faults": fault_profile, "faults_seed": bench_seed}
    query = "&".join(f"{name}={quote(str(value), safe='/')}" for name, value in params.items())
    manager = pyvisa.ResourceManager(f"{file}?{query}@twin")
    library: Any = manager.visalib
    yield OpenBench(manager, library.clock, library.bench)
    manager.close()


@pytest.fixture
def station(request: pytest.FixtureRequest, bench_seed: int, fault_profile: str, tmp_path: Path) -> Iterator[Station]:
    """An open station of the twin; afterwards its outputs must be safe, and what was driven within its limits."""
    from instruments.station import Station
    from instruments.station_file import StationFile

    name, params = _asked(request, "station", STATION)
    file = StationFile.load(name)
    if not file.simulated:
        pytest.fail(f"station {name} is real; tests drive twins only", pytrace=False)
    twin = {"seed": str(bench_seed), "dir": str(tmp_path / "bench"), **{k: str(v) for k, v in params.items()}}
    if fault_profile:
        twin |= {"faults": fault_profile, "faults_seed": str(bench_seed)}
    opened = Station.open(file, None, **twin)
    chip = opened.bench
    try:
        yield opened
    finally:
        opened.close()
    unsafe = unsafety(chip, file)
    if unsafe:
        pytest.fail(f"the station was left unsafe: {unsafe}", pytrace=False)


def unsafety(chip: Any, file: Any) -> str:
    """What is not safe about a simulated bench: outputs that are on, drives beyond the limits; "" if all is well."""
    wires = chip.fixture
    on = [channel for channel in wires.sources if wires.voltage(channel) != 0.0]
    if on:
        return f"channels {', '.join(map(str, on))} still force a voltage"
    if wires.mode != "safe":
        return f"the board is left in mode {wires.mode}"
    limits = file.limits
    most = max(abs(v) for line in (limits.bit_line, limits.source_line) for v in (line.low, line.high))
    highest = max(chip.ledger.highest.values(), default=0.0)
    return f"{highest:.3g} V came across a cell, the limits end at {most:.3g} V" if highest > most else ""


@pytest.fixture
def virtual_time(request: pytest.FixtureRequest) -> VirtualClock:
    """The clock of the test's station or bench."""
    if "station" in request.fixturenames:
        clock: VirtualClock = request.getfixturevalue("station").clock
        return clock
    opened: OpenBench = request.getfixturevalue("bench")
    return opened.clock


@pytest.fixture
def run_procedure(
    request: pytest.FixtureRequest, bench_seed: int, fault_profile: str, tmp_path: Path
) -> Iterator[Callable[..., RunFile]]:
    """Carries out a procedure with options, without Prefect, and gives its open run file."""
    from analysis.records import open_run
    from workflows.procedures.job import Job
    from workflows.procedures.registry import procedure

    opened: list[RunFile] = []

    def run(name: str, **options: Any) -> RunFile:
        found = procedure(name)
        usual = {
            "runs": str(tmp_path / "runs"), "bench": str(tmp_path / "bench"), "chip": str(bench_seed),
            "station": _asked(request, "station", STATION)[0], "faults": fault_profile, "faults_seed": bench_seed,
        }  # fmt: skip
        job = Job.prepare(found, found.options(**{**usual, **options}))
        opened.append(open_run(job.run(report=False)))
        return opened[-1]

    yield run
    for one in opened:
        one.close()


@pytest.fixture
def played_back(tmp_path: Path) -> Iterator[Callable[..., OpenBench]]:
    """Opens a bench whose instruments answer as on a tape (`strict`: in the tape's order only)."""
    import pyvisa

    from instruments.tape import Tape
    from instruments.tape_bench import write_bench

    managers: list[pyvisa.ResourceManager] = []

    def play(tape: str | Path, *, strict: bool = True) -> OpenBench:
        folder = tmp_path / f"tape-{len(managers)}"
        path = write_bench(Tape.load(Path(tape)), folder, order="strict" if strict else "any")
        managers.append(pyvisa.ResourceManager(f"{path}@twin"))
        library: Any = managers[-1].visalib
        return OpenBench(managers[-1], library.clock, library.bench)

    yield play
    for manager in managers:
        manager.close()


def _asked(request: pytest.FixtureRequest, marker: str, usual: str) -> tuple[str, dict[str, Any]]:
    """File and parameters of the closest marker."""
    found = request.node.get_closest_marker(marker)
    if found is None:
        return usual, {}
    return str(found.args[0]) if found.args else usual, dict(found.kwargs)
