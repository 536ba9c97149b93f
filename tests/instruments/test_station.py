"""Stations: opened, identified, shared between processes, and left safe however they are left."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pyvisa
import yaml

import sim_configs
from instruments.errors import BenchBusyError, ConfigError, InstrumentError, LimitError, ModeError, StationError
from instruments.limits import Range
from instruments.station import Station
from instruments.station_file import InstrumentEntry, Line, StationFile
from instruments.twin.bench import open_bench
from instruments.twin.visa import TwinVisaLibrary

ROOT = Path(__file__).resolve().parents[2]
ANALYZER, BOARD, SCOPE = "GPIB0::17::INSTR", "ASRL1::INSTR", "USB0::0x2A8D::0x1797::MY00000001::INSTR"
TWIN = StationFile.load("station-twin.yaml")


def library(station: Station) -> TwinVisaLibrary:
    """The simulated laboratory behind an open station."""
    found: Any = station.analyzer.adapter.connection.visalib
    assert isinstance(found, TwinVisaLibrary)
    return found


def assert_safe(lab: TwinVisaLibrary) -> None:
    """Every output at 0 V and open, selector ports open, the board disconnected."""
    panel: Any = lab.instruments[ANALYZER].panel
    assert not any(unit.on for unit in panel.smus.units.values())
    assert not any(unit.on for unit in panel.spgus.units.values())
    assert [panel.spgus.ports.get(port, 0) for port in range(4)] == [0, 0, 0, 0]
    wires: Any = lab.bench.fixture  # type: ignore[attr-defined]  # a bench of ours
    assert [wires.voltage(channel) for channel in (1, 2, 3, 601, 602)] == [0.0] * 5
    assert (wires.mode, wires.selected) == ("safe", None)


def set_to_work(station: Station) -> None:
    """Outputs on, a cell selected, read and pulsed: as unsafe as it gets."""
    station.array.prepare()
    station.array.select(0, 3, 4)
    station.array.pulse("set", 2.0, 1.2, 1e-6)
    station.array.read()
    assert station.bench.fixture.voltage(2) == 3.0
    assert station.bench.fixture.selected == (0, 3, 4)


class Broken:
    """Faults on the wire: what is written to `dead` is lost; a message that holds `at` is met by an interrupt, once."""

    def __init__(self, dead: str = "", at: bytes = b"") -> None:
        self.dead, self.at = dead, at

    def before_write(self, resource: str, data: bytes) -> bytes:
        if self.at and self.at in data:
            self.at = b""
            raise KeyboardInterrupt
        return b"" if resource == self.dead else data

    def after_reply(self, resource: str, data: bytes) -> bytes:
        return data


class Visit:
    """Somebody opens the station, sets it to work, does something, perhaps on broken wires, and leaves."""

    station: Station
    lab: TwinVisaLibrary

    def __call__(self, fault: Broken | None = None, do: Callable[[Station], object] = lambda station: None) -> None:
        with Station.open(TWIN) as self.station:
            set_to_work(self.station)
            self.lab = library(self.station)
            self.lab.faults = fault
            do(self.station)


@pytest.fixture
def visit() -> Iterator[Visit]:
    """A visit whose faults end with the test."""
    made = Visit()
    yield made
    made.lab.faults = None


# Opening


def test_an_open_station_knows_who_is_there() -> None:
    with Station.open(TWIN, seed="1") as station:
        assert [(i.role, i.driver, i.resource) for i in station.identities] == [
            ("analyzer", "b1500a", ANALYZER),
            ("board", "board", BOARD),
            ("oscilloscope", "infiniivision", SCOPE),
        ]
        assert "B1500A" in station.identities[0].idn
        assert station.identities[1].idn.startswith("ohmflow-twin,")
        assert station.world == "simulated"
        assert station.clock is station.bench.clock
        assert len(station.bench.ledger) == 0
        assert station.left_safe is None
        lab = library(station)
    assert_safe(lab)
    assert station.left_safe


def test_a_twins_parameters_come_from_the_file_and_from_the_caller(tmp_path: Path) -> None:
    file = replace(TWIN, twin={"seed": "4", "preset": "ideal", "dir": str(tmp_path / "a")})
    with Station.open(file, dir=str(tmp_path / "b"), preset=None) as station:
        assert (station.bench.seed, station.bench.preset, station.bench.folder) == (4, "ideal", tmp_path / "b")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("name", ["a b", "50%41", "x&seed=9", "me@lab", "Zoë", "k=v", "#1"])
def test_a_bench_may_lie_in_any_folder(tmp_path: Path, name: str) -> None:
    with Station.open(TWIN, dir=str(tmp_path / name), seed="2"):
        pass
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name / "chip-2" / "chip.json").exists()


@pytest.mark.parametrize("param", ["dir", "seed", "preset", "fresh"])
def test_a_real_station_refuses_what_only_a_twin_has(param: str) -> None:
    with pytest.raises(
        ConfigError, match="station rram-lab is real: a bench directory or chip seed makes sense for a twin"
    ):
        Station.open(StationFile.load("station-lab.yaml"), **{param: "1"})


def test_a_real_station_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    data = yaml.safe_load(sim_configs.path("station-lab.yaml").read_text())
    data["instruments"]["analyzer"]["resource"] = f"ASRL{tmp_path}/ttyUSB7::INSTR".replace("_", "-")
    path = tmp_path / "lab.yaml"
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(
        InstrumentError, match=r"analyzer at ASRL.*ttyUSB7::INSTR can't be reached: .* Check the address"
    ):
        Station.open(StationFile.load(path))


def changed(role: str, **values: Any) -> StationFile:
    instruments = dict(TWIN.instruments)
    instruments[role] = replace(instruments[role], **values)
    return replace(TWIN, instruments=instruments)


@pytest.mark.parametrize(
    ("file", "error", "words"),
    [
        (
            changed("analyzer", resource="GPIB0::18::INSTR"),
            InstrumentError,
            "analyzer at GPIB0::18::INSTR can't be reached",
        ),
        (changed("board", resource="ASRL9::INSTR"), InstrumentError, "board at ASRL9::INSTR can't be reached"),
        (changed("board", resource="nonsense"), InstrumentError, "board at nonsense can't be reached"),
        (changed("analyzer", resource=BOARD), InstrumentError, "analyzer at ASRL1::INSTR can't be reached"),
        (changed("analyzer", driver="b1505"), ConfigError, "driver 'b1505' is unknown; known: b1500a"),
        (changed("board", driver="pcb"), ConfigError, "driver 'pcb' is unknown; known: board"),
        (changed("board", options={"dialekt": "auto"}), ConfigError, "unknown option 'dialekt'; known: dialect"),
        (changed("board", options={"dialect": "spoken"}), StationError, "dialect is auto, published or extended"),
        (replace(TWIN, visa="no-bench.yaml@twin"), ConfigError, "simulated bench 'no-bench.yaml' not found"),
        (replace(TWIN, visa="@twin"), ConfigError, "simulated bench '' not found"),
        (replace(TWIN, visa="@nobody"), ConfigError, "VISA library '@nobody' can't be opened"),
        (replace(TWIN, shape=(3, 64, 32)), ConfigError, "are (3, 64, 32), but the board reports (3, 32, 32)"),
        (replace(TWIN, twin={"seed": "one"}), ConfigError, "seed 'one' must be a whole number"),
        (replace(TWIN, twin={"preset": "steel"}), ConfigError, "'steel' not found"),
        (
            replace(TWIN, lines={**TWIN.lines, "word_line": Line(None, 602, 1)}),
            ConfigError,
            "needs an SMU on the word line",
        ),
        (replace(TWIN, lines={**TWIN.lines, "bit_line": Line(1)}), ConfigError, "programming needs an SPGU channel"),
    ],
)
def test_what_cannot_be_opened_says_why_and_holds_nothing(
    tmp_path: Path, file: StationFile, error: type[Exception], words: str
) -> None:
    with pytest.raises(error) as caught:
        Station.open(file, dir=str(tmp_path))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    with Station.open(TWIN, dir=str(tmp_path)) as station:  # the bench is free, and nothing was done to the chip
        assert len(station.bench.ledger) == 0


def test_a_silent_or_foreign_instrument_is_told_apart(tmp_path: Path) -> None:
    text = sim_configs.path("bench-rram32.yaml").read_text()
    foreign = "    dialogues: [{q: '*IDN?', r: 'HEWLETT-PACKARD,4142B,0,4.30'}]\n    error: ERROR\n"
    for change, words in (
        (foreign, "expected a B1500A, found 'HEWLETT-PACKARD,4142B,0,4.30'"),
        ("    dialogues: []\n", f"analyzer at {ANALYZER} can't be reached: B1500A: Timeout"),
    ):
        head, _, tail = text.partition("    error: ERROR\n    handler: instruments.twin.panels.b1500a:B1500APanel\n")
        bench = tmp_path / f"bench-{len(change)}.yaml"
        bench.write_text(head + change + tail)
        with pytest.raises(InstrumentError) as caught:
            Station.open(replace(TWIN, visa=f"{bench}@twin"))
        assert words in str(caught.value)
        assert "safe" not in str(caught.value)


def test_a_station_says_who_is_using_its_bench(tmp_path: Path) -> None:
    held = open_bench({}, base=Path("."), params={"dir": str(tmp_path)})
    with pytest.raises(BenchBusyError, match=f"in use by process {os.getpid()}"):
        Station.open(TWIN, dir=str(tmp_path))
    held.close()


# Leaving


def test_leaving_quietly_is_safe(visit: Visit) -> None:
    visit()
    assert_safe(visit.lab)
    assert visit.station.left_safe
    visit.station.close()  # again, without harm


@pytest.mark.parametrize("error", [RuntimeError("smoke"), KeyboardInterrupt(), SystemExit(3), GeneratorExit()])
def test_leaving_by_an_exception_is_safe_and_passes_it_on(visit: Visit, error: BaseException) -> None:
    def fail(station: Station) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        visit(do=fail)
    assert caught.value is error
    assert_safe(visit.lab)
    assert visit.station.left_safe


def read_and_pulse(station: Station) -> None:
    station.array.read()
    station.array.pulse("set", 2.0, 1.2, 1e-6)


@pytest.mark.parametrize("at", [b"TI 1", b"ERRX?", b"SRP"])
def test_an_interrupt_amid_an_exchange_is_safe(visit: Visit, at: bytes) -> None:
    with pytest.raises(KeyboardInterrupt):
        visit(Broken(at=at), read_and_pulse)
    assert_safe(visit.lab)
    assert visit.station.left_safe


@pytest.mark.parametrize("at", [b"SPP", b"DZ", b"ERSSP", b"CL", b"SAFE"])
def test_a_second_interrupt_does_not_keep_outputs_on(visit: Visit, at: bytes) -> None:
    with pytest.raises(KeyboardInterrupt):
        visit(Broken(at=at))
    assert_safe(visit.lab)
    assert visit.station.left_safe


def test_a_board_that_died_does_not_keep_the_analyzer_on(visit: Visit) -> None:
    with pytest.raises(InstrumentError, match=r"may not be safe: board: no valid reply to SAFE.*by hand"):
        visit(Broken(BOARD))
    panel: Any = visit.lab.instruments[ANALYZER].panel
    assert not any(unit.on for unit in (*panel.smus.units.values(), *panel.spgus.units.values()))
    assert set(panel.spgus.ports.values()) <= {0}
    assert visit.station.left_safe is False


def test_an_analyzer_that_died_does_not_keep_the_board_connected(visit: Visit) -> None:
    with pytest.raises(InstrumentError, match=r"the station may not be safe: .*Switch the outputs off by hand"):
        visit(Broken(ANALYZER))
    wires: Any = visit.lab.bench.fixture  # type: ignore[attr-defined]  # a bench of ours
    assert (wires.mode, wires.selected) == ("safe", None)
    assert visit.station.left_safe is False


def test_the_first_failure_is_the_one_reported(visit: Visit) -> None:
    def fail(station: Station) -> None:
        raise RuntimeError("smoke")

    with pytest.raises(RuntimeError, match="smoke") as caught:
        visit(Broken(BOARD), fail)
    assert any("may not be safe" in note for note in caught.value.__notes__)


def test_making_safe_in_between_needs_preparing_again() -> None:
    with Station.open(TWIN, preset="ideal") as station:
        set_to_work(station)
        station.safe()
        assert_safe(library(station))
        with pytest.raises(ModeError, match=r"call prepare\(\) first"):
            station.array.read()
        station.array.prepare()
        with pytest.raises(ModeError, match="no cell is selected"):
            station.array.pulse("set", 2.0, 1.2, 1e-6)
        station.array.select(0, 3, 4)
        assert station.array.read().conductance == pytest.approx(75e-6, rel=0.01)


# Working


def test_what_is_read_is_what_is_there() -> None:
    with Station.open(TWIN, preset="ideal") as station:
        array, bench = station.array, station.bench
        array.prepare()
        array.prepare()
        for cell in ((0, 0, 0), (2, 31, 31), (1, 7, 9)):
            array.select(*cell)
            read = array.read()
            true = bench.true_conductance()[cell]
            assert read.conductance == pytest.approx(true, abs=0.02e-6)
            assert read.current == pytest.approx(0.2 * read.conductance)
            assert (read.volts, read.duration, read.in_compliance) == (0.2, 0.02, False)
            assert read.energy == pytest.approx(0.04 * true * 0.02, rel=0.01)
        array.pulse("set", 2.5, 1.0, 1e-6)
        assert array.read().conductance == pytest.approx(50e-6, rel=0.01)
        array.pulse("reset", 2.0, 3.0, 1e-6)
        assert array.read().conductance == pytest.approx(8e-6, rel=0.05)
        assert bench.ledger.highest == pytest.approx({"read": 0.2, "set": 2.5, "reset": 2.0}, rel=1e-3)


@pytest.mark.parametrize(
    ("pulse", "words"),
    [
        (("set", 3.6, 1.2, 1e-6), "SET pulse on the bit line: 3.6 V is outside"),
        (("reset", 2.6, 3.0, 1e-6), "RESET pulse on the source line: 2.6 V is outside"),
        (("set", 2.0, 4.1, 1e-6), "gate of a SET pulse: 4.1 V is outside"),
        (("set", 2.0, 1.2, 0.1), "width of a SET pulse: 100 ms is outside"),
        (("reset", float("nan"), 3.0, 1e-6), "RESET pulse on the source line: nan V is outside"),
    ],
)
def test_a_pulse_beyond_a_limit_leaves_no_trace(pulse: tuple[Any, ...], words: str) -> None:
    with Station.open(TWIN) as station:
        set_to_work(station)
        drives, now = len(station.bench.ledger), station.clock.now()
        with pytest.raises(LimitError) as caught:
            station.array.pulse(*pulse)
        assert words in str(caught.value)
        assert (len(station.bench.ledger), station.clock.now()) == (drives, now)


def test_the_gate_of_the_station_file_guards_the_analyzer_itself() -> None:
    limits = TWIN.limits.with_ranges(bit_line=Range(-0.3, 2.0))
    with Station.open(replace(TWIN, limits=limits)) as station:
        set_to_work(station)
        with pytest.raises(LimitError, match=r"bit line: 2\.1 V is outside -300 mV\.\.2 V"):
            station.analyzer.force_voltage(1, 2.1, 1e-4)
        with pytest.raises(LimitError, match="channel 401 is not wired"):
            station.analyzer.write("DV 4,0,0.1")
        with pytest.raises(LimitError, match="initial x"):
            station.board.set_initial_state(1.5, 0.0)
        assert station.bench.fixture.voltage(1) == 0.2


def test_a_selection_that_failed_is_no_selection(visit: Visit) -> None:
    def select_another(station: Station) -> None:
        with pytest.raises(InstrumentError, match="no valid reply to"):
            station.array.select(0, 5, 5)
        with pytest.raises(ModeError, match="no cell is selected"):
            station.array.read()

    with pytest.raises(InstrumentError, match="may not be safe"):
        visit(Broken(BOARD), select_another)


def test_computing_disconnects_the_analyzer() -> None:
    with Station.open(TWIN, preset="ideal") as station:
        set_to_work(station)
        station.board.mode("compute")
        assert station.bench.fixture.mode == "compute"
        with pytest.raises(ModeError, match="the board is in compute mode"):
            station.array.read()
        station.array.pulse("set", 2.5, 1.5, 1e-6)
        assert len(station.bench.ledger) == 2  # nothing more reached a cell
        with pytest.raises(ModeError):
            station.board.select(0, 0, 0)


# Processes


def test_a_station_killed_while_programming_leaves_its_chip_to_the_next(tmp_path: Path) -> None:
    code = """
        import os, signal, sys
        from instruments.station import Station
        from instruments.station_file import StationFile
        station = Station.open(StationFile.load("station-twin.yaml"), dir=sys.argv[1], seed="3")
        array = station.array
        array.prepare()
        array.select(1, 2, 3)
        for k in range(10):
            array.pulse("set", 1.5, 1.2, 1e-6)
            if k == 6:
                print(station.bench.true_conductance()[1, 2, 3].hex(), station.clock.now_ns, flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    conductance, now = done.stdout.split()
    with Station.open(TWIN, dir=str(tmp_path), seed="3") as station:
        # The clock stood at the last draw, which was the pulse; reading the queue afterwards was forgotten.
        assert int(now) - 20_000_000 < station.bench.clock.now_ns
        assert station.bench.chip.cells["pulses"][1, 2, 3] == 7
        cell = station.bench.chip.cells[1, 2, 3]
        assert station.bench.chip.conductance((1, 2, 3), int(now)) == float.fromhex(conductance) > cell["g_min"]
        station.array.prepare()
        station.array.select(1, 2, 3)
        assert station.array.read().conductance == pytest.approx(float.fromhex(conductance), abs=3e-6)


def test_equal_seeds_give_equal_measurements() -> None:
    def measure() -> list[float]:
        with Station.open(TWIN, seed="11") as station:
            set_to_work(station)
            return [station.array.read().current for _ in range(5)] + [station.clock.now()]

    assert measure() == measure()


def test_the_stock_pyvisa_front_door_opens_the_same_bench(tmp_path: Path) -> None:
    manager = pyvisa.ResourceManager(f"bench-rram32.yaml?dir={tmp_path}&seed=1@twin")
    assert {ANALYZER, BOARD} <= set(manager.list_resources("?*"))
    with pytest.raises(BenchBusyError):
        Station.open(TWIN, dir=str(tmp_path), seed="2")
    manager.close()
    with Station.open(TWIN, dir=str(tmp_path), seed="1") as station:
        assert isinstance(station.file.instruments["board"], InstrumentEntry)
