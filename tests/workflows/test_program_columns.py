"""Programming by columns on the twin: what it does to the chip, what it writes down, and how it goes on."""

import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from program_jobs import STUCK_OFF, STUCK_ON, pattern

from analysis.programming import summarise
from analysis.records import layout, open_run, read_journal
from instruments.errors import DoubtError, InstrumentError, StationError
from instruments.limits import Limits, Range
from instruments.station import Station
from instruments.station_file import StationFile
from instruments.twin.fault_profile import profiles
from workflows.errors import Interrupted, RequestError
from workflows.procedures.program import ProgramRequest, program
from workflows.procedures.program_columns import groups, program_as_wired, program_columns
from workflows.procedures.session import recorded_run
from workflows.procedures.write_verify import ALGORITHMS, Pulse

READ, SET, RESET = (layout.EVENT_CODE[kind] for kind in ("read", "set", "reset"))
Floats = npt.NDArray[np.float64]


def column(number: int, first: int = 0, last: int = 31) -> dict[tuple[int, int], float]:
    """A column's cells with levels spread over the window."""
    return {(first + i, number): float(g) for i, g in enumerate(np.linspace(20, 100, last - first + 1))}


WANTED = {**column(3), **column(21, 0, 9), **column(30, 5, 6)}
"""Among them both cells that can't move."""


@dataclass(frozen=True)
class Done:
    folder: Path
    ledger: npt.NDArray[np.void]
    seconds: float
    true: Floats


def programmed(
    folder: Path,
    target: Floats,
    *,
    bench: Path | None = None,
    stop: Callable[[], bool] = lambda: False,
    resume: bool = False,
    faults: Path | None = None,
    serial: bool = False,
    meanwhile: Callable[[Station], None] = lambda station: None,
    **request: Any,
) -> Done:
    file = StationFile.load("station-twin.yaml")
    asked = ProgramRequest(target[None], **{"algorithm": "incremental-reversal", "passes": 1, "gap": 0.0, **request})
    asked.check(file.shape, file.limits)
    twin = {"dir": None if bench is None else str(bench), "faults": None if faults is None else str(faults)}
    with Station.open(file, seed="1", **twin) as station:
        meanwhile(station)
        with recorded_run(station, folder, "program", asked.parameters(), arrays=1, resume=resume) as writer:
            begun = station.clock.now()
            if serial:
                program(station.array, writer, asked, stop=stop)
            else:
                program_columns(station.columns, writer, asked, stop=stop)
            seconds = station.clock.now() - begun
        return Done(folder, station.bench.ledger.table(), seconds, station.bench.true_conductance()[0])


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """44 cells of three columns programmed, two of which can't be."""
    return programmed(tmp_path_factory.mktemp("runs") / "few", pattern(WANTED))


def events(folder: Path) -> dict[str, Any]:
    with h5py.File(folder / "run.h5") as file:
        return {name: values[()] for name, values in file["entry/events"].items()}


# What comes of it


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_any_algorithm_programs_a_column(tmp_path: Path, algorithm: str) -> None:
    done = programmed(tmp_path / "run", pattern(column(5)), algorithm=algorithm)
    with open_run(done.folder) as run:
        summary = summarise(run)
    assert summary.cells == 32
    # ISPVA keeps fewer cells than any other: three of four at the least.
    assert summary.inside >= 0.75


def test_every_responsive_cell_is_programmed_and_the_stuck_ones_are_named(done: Done) -> None:
    with open_run(done.folder) as run:
        summary = summarise(run)
    assert summary.cells == len(WANTED)
    assert sorted(cell for cell, _ in summary.failed) == [(0, *STUCK_ON), (0, *STUCK_OFF)]
    assert {status for _, status in summary.failed} == {"unresponsive"}
    target = pattern(WANTED)
    responsive = np.isfinite(target)
    responsive[STUCK_ON] = responsive[STUCK_OFF] = False
    error = np.abs(done.true - target)[responsive]
    assert error.max() < 2e-6
    assert (error < 1e-6).mean() > 0.9


def test_the_records_are_those_of_serial_programming_and_it_takes_a_fraction_of_the_time(
    tmp_path: Path, done: Done
) -> None:
    serial = programmed(tmp_path / "serial", pattern(WANTED), serial=True)
    with open_run(done.folder) as mine, open_run(serial.folder) as other:
        assert list(mine.cells) == list(other.cells)
        assert sorted(mine.maps) == sorted(other.maps)
        assert summarise(mine).pulses_mean == pytest.approx(summarise(other).pulses_mean, rel=0.3)
    assert set(events(done.folder)) == set(events(serial.folder))
    assert serial.seconds > 8 * done.seconds  # with 44 cells in three columns; whole ones gain more


def test_the_journal_tells_every_drive_that_reached_the_chip(done: Done) -> None:
    told, drives = events(done.folder), done.ledger
    names = {READ: b"read", SET: b"set", RESET: b"reset"}
    drives = drives[np.abs(drives["volts"]) > 0.01]  # but the converters' zero, read at 0 V
    assert [names[k] for k in told["kind"]] == drives["kind"].tolist()
    for name in ("row", "col"):
        np.testing.assert_array_equal(told[name], drives[name])
    pulses = told["kind"] != READ
    sign = np.where(told["kind"] == RESET, -1, 1)
    # A millivolt of each line's own, and the resistance common to a column.
    np.testing.assert_allclose(drives["volts"], sign * told["amplitude"], rtol=0.011, atol=0.006)
    np.testing.assert_allclose(drives["gate"], told["gate"], atol=0.01)
    np.testing.assert_allclose(drives["width"][pulses], told["width"][pulses], rtol=0.05)


def test_cells_without_a_target_are_never_touched(done: Done) -> None:
    reads_and_pulses = done.ledger[np.abs(done.ledger["volts"]) > 0.01]
    assert {(int(d["row"]), int(d["col"])) for d in reads_and_pulses} == set(WANTED)
    with open_run(done.folder) as run:
        assert np.isfinite(run.map("conductance_after")).sum() == len(WANTED)


def test_what_is_not_meant_feels_no_more_than_a_read(tmp_path: Path) -> None:
    highest = {}

    def look(station: Station) -> None:
        highest.update({"ledger": station.bench.ledger.highest})

    programmed(tmp_path / "run", pattern(column(3)), algorithm="model-based", meanwhile=look)
    assert 0.1 < highest["ledger"]["half"] < 0.32


def test_all_cells_of_a_group_are_announced_before_any_result(done: Done) -> None:
    open_, most = set(), 0
    for record in read_journal(done.folder / "journal.jsonl").records:
        if record["kind"] == "intent":
            open_.add(record["seq"])
            most = max(most, len(open_))
        elif record["kind"] == "result":
            open_.discard(record["of"])
        elif record["kind"] == "event":
            assert not open_, "a read before the results of the last pulse"
    assert most > 10


def test_times_and_energies_add_up(done: Done) -> None:
    told = events(done.folder)
    lasted = (told["time"] + told["duration"]).max() - told["time"].min()
    assert 0.5 * lasted < told["duration"].sum() <= lasted
    reads = told["kind"] == READ
    np.testing.assert_allclose(told["conductance"][reads], (told["current"] / told["amplitude"])[reads], rtol=1e-9)
    assert (told["energy"][reads] > 0).all()


def test_cells_may_have_windows_of_their_own(tmp_path: Path) -> None:
    target = pattern(column(5))
    own = np.where(np.arange(32)[:, None] < 16, 8e-6, 0.5e-6) * np.ones((32, 32))
    done = programmed(tmp_path / "run", target, tolerances=own[None], passes=0)
    with open_run(done.folder) as run:
        pulses = run.cells["pulses"].reshape(32, 32)[:, 5]
    assert pulses[:16].mean() < 0.7 * pulses[16:].mean()


def test_between_passes_the_outputs_are_off(tmp_path: Path) -> None:
    done = programmed(tmp_path / "run", pattern(column(5, 0, 3)), passes=2, gap=30.0)
    assert done.seconds > 60
    times = np.sort(done.ledger["time"])
    assert (np.diff(times) > 29).sum() == 2


# Groups


def test_one_group_serves_what_one_pulse_can() -> None:
    asked = {
        (0, 0, 0): Pulse("set", 2.5, 1.0, 1e-6), (0, 1, 0): Pulse("set", 2.25, 1.4, 1e-6),
        (0, 2, 0): Pulse("set", 1.4, 3.0, 1e-6), (0, 3, 0): Pulse("set", 2.5, 1.0, 2e-6),
        (0, 4, 0): Pulse("reset", 1.7, 3.0, 1e-6), (0, 5, 0): Pulse("reset", 1.2, 3.0, 1e-6),
        (0, 6, 0): Pulse("reset", 1.0, 3.0, 1e-6),
    }  # fmt: skip
    found = groups(asked, dict.fromkeys(asked, 50e-6), Limits())
    assert [[cell[1] for cell in group] for group in found] == [[0, 1], [2], [3], [4, 5], [6]]


PULSES = st.builds(
    Pulse, st.sampled_from(["set", "reset"]), st.floats(0.5, 2.5), st.floats(0.7, 3.95), st.sampled_from([1e-7, 1e-6])
)


@given(st.dictionaries(st.tuples(st.just(0), st.integers(0, 31), st.just(4)), PULSES, max_size=32))
def test_groups_give_each_cell_its_own_pulse_once_within_the_limits(asked: dict[tuple[int, int, int], Pulse]) -> None:
    limits = Limits().with_ranges(column_current=Range(0.0, 1e-3, "A"))
    found = groups(asked, dict.fromkeys(asked, 60e-6), limits)
    given_ = [(cell, pulse) for group in found for cell, pulse in group.items()]
    assert sorted(given_) == sorted(asked.items())
    for group in found:
        volts = [pulse.volts for pulse in group.values()]
        assert len({(pulse.kind, pulse.width) for pulse in group.values()}) == 1
        kind = next(iter(group.values())).kind
        assert max(volts) - min(volts) <= (0.3 if kind == "set" else 0.6) + 1e-12
        assert len(group) == 1 or max(volts) * 60e-6 * len(group) <= 1e-3
        assert kind == "reset" or len(group) == 1 or all(p.gate + max(volts) - p.volts <= 4.0 for p in group.values())


# Stopping, going on, and trouble


def stop_after(asks: int) -> Callable[[], bool]:
    left = iter(range(asks))
    return lambda: next(left, None) is None


def test_a_stopped_run_is_resumed_without_touching_finished_cells(tmp_path: Path) -> None:
    target = pattern({**column(5), **column(6)})
    with pytest.raises(Interrupted):
        programmed(tmp_path / "run", target, bench=tmp_path / "bench", stop=stop_after(60), passes=0)
    records = read_journal(tmp_path / "run" / "journal.jsonl").records
    finished = {(r["row"], r["col"]) for r in records if r["kind"] == "cell"}
    assert 0 < len(finished) < 64
    programmed(tmp_path / "run", target, bench=tmp_path / "bench", resume=True, passes=0)
    more = read_journal(tmp_path / "run" / "journal.jsonl").records[len(records) :]
    pulsed = {(r["row"], r["col"]) for r in more if r["kind"] == "intent"}
    assert pulsed
    assert not pulsed & finished
    with open_run(tmp_path / "run") as run:
        assert summarise(run).cells == 64
        assert (run.cells["status"].reshape(32, 32)[:, 5:7] == layout.CELL_CODE["ok"]).sum() >= 63


def test_a_budget_is_a_cells_and_not_a_processes(tmp_path: Path) -> None:
    target = pattern({STUCK_OFF: 50})
    for asks, resume in ((12, False), (1000, True)):
        try:
            programmed(
                tmp_path / "run", target, bench=tmp_path / "bench", stop=stop_after(asks), resume=resume, budget=8,
                passes=0,
            )  # fmt: skip
        except Interrupted:
            assert not resume
    with open_run(tmp_path / "run") as run:
        assert run.cells["pulses"].max() == 8


def test_an_array_that_somebody_used_meanwhile_is_not_gone_on_with(tmp_path: Path) -> None:
    target = pattern({**column(5), **column(6)})
    with pytest.raises(Interrupted):
        programmed(tmp_path / "run", target, bench=tmp_path / "bench", stop=stop_after(60), passes=0)

    def use(station: Station) -> None:
        station.columns.prepare()
        station.columns.select_column(0, 5)
        station.columns.pulse_column("set", np.full(32, 2.5), np.full(32, 1.5), 1e-6)

    with pytest.raises(RequestError, match="somebody used it"):
        programmed(tmp_path / "run", target, bench=tmp_path / "bench", resume=True, passes=0, meanwhile=use)


def faults(folder: Path, *rules: dict[str, Any]) -> Path:
    path = folder / "faults.yaml"
    path.write_text(yaml.safe_dump({"rules": list(rules)}))
    return path


SET_PULSE = {"resource": "GPIB*", "message": "*SRP"}
RESET_PULSE = {"resource": "ASRL*", "message": "*@* PULSE *"}


@pytest.mark.parametrize(
    "rule",
    [
        {"fault": "lost-write", **SET_PULSE, "at": [3]},
        {"fault": "disconnect", **SET_PULSE, "at": [3], "for": "3 s"},
        {"fault": "lost-reply", **RESET_PULSE, "at": list(range(1, 9))},
    ],
)  # fmt: skip
def test_a_pulse_in_doubt_is_not_repeated_and_its_cells_are_read_next(tmp_path: Path, rule: dict[str, Any]) -> None:
    wanted = column(5, 0, 7)
    done = programmed(tmp_path / "run", pattern(wanted), faults=faults(tmp_path, rule), passes=0)
    records = read_journal(done.folder / "journal.jsonl").records
    seen = {record["of"] for record in records if record["kind"] == "result"}
    doubtful = [record for record in records if record["kind"] == "intent" and record["seq"] not in seen]
    assert doubtful
    for intent in doubtful:
        following = [r for r in records[intent["seq"] + 1 :] if r.get("row") == intent["row"] and r["kind"] != "result"]
        assert following[0].get("op") == "read"
    announced = sum(record["kind"] == "intent" for record in records)
    given_ = int((done.ledger["kind"] != b"read").sum())
    assert announced - len(doubtful) <= given_ <= announced
    with open_run(done.folder) as run:
        assert summarise(run).inside > 0.8


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", [name for name in profiles() if name != "disk-full"])
def test_every_fault_profile_ends_completed_or_stopped_and_pulses_nothing_twice(
    tmp_path: Path, name: str, seed: int
) -> None:
    target = pattern({**column(5, 0, 11), **column(6, 0, 11)})
    seen: list[Any] = []
    file = StationFile.load("station-twin.yaml")
    asked = ProgramRequest(target[None], algorithm="incremental-reversal", passes=4, gap=3.3)
    with contextlib.suppress(StationError), Station.open(file, seed="1", faults=name, faults_seed=str(seed)) as station:
        seen.append(station.bench)
        with recorded_run(station, tmp_path / "run", "program", asked.parameters(), arrays=1) as writer:
            program_columns(station.columns, writer, asked)
    if not (tmp_path / "run" / "journal.jsonl").exists():
        return  # it could not even be opened
    (bench,) = seen
    announced = Counter(
        (r["op"], r["row"], r["col"])
        for r in read_journal(tmp_path / "run" / "journal.jsonl").records
        if r["kind"] == "intent"
    )
    drives = bench.ledger.table()
    given_ = Counter((d["kind"].decode(), int(d["row"]), int(d["col"])) for d in drives[drives["kind"] != b"read"])
    assert not given_ - announced
    with open_run(tmp_path / "run") as run:
        assert run.status in ("completed", "failed")


def test_the_wiring_is_asked_for_recorded_and_gone_on_with(tmp_path: Path) -> None:
    asked = ProgramRequest(pattern(column(5, 0, 3))[None], wiring="column", passes=0)
    assert ProgramRequest.from_record(asked.parameters(), asked.target).wiring == "column"
    older = {name: value for name, value in asked.parameters().items() if name != "wiring"}
    assert ProgramRequest.from_record(older, asked.target).wiring == "cell"
    file = StationFile.load("station-twin.yaml")
    with pytest.raises(RequestError, match="cell, column"):
        replace(asked, wiring="row").check(file.shape, file.limits)
    used = []
    for wiring in ("column", "cell"):
        one = replace(asked, wiring=wiring)
        with (
            Station.open(file, seed="1") as station,
            recorded_run(station, tmp_path / wiring, "program", one.parameters(), arrays=1) as writer,
        ):
            program_as_wired(station, writer, one)
            used.append("half" in station.bench.ledger.highest)
    assert used == [True, False]


def test_cells_are_not_doubted_for_ever(tmp_path: Path) -> None:
    rule = {"fault": "lost-write", "resource": "GPIB*", "message": "*SPV 601*SRP", "chance": 1.0, "after": 0.5}
    with pytest.raises(InstrumentError) as caught:
        programmed(tmp_path / "run", pattern(column(5, 0, 3)), faults=faults(tmp_path, rule))
    assert isinstance(caught.value, (DoubtError, InstrumentError))
    with open_run(tmp_path / "run") as run:
        assert run.status == "failed"


def test_a_noisy_serial_line_costs_time_only(tmp_path: Path) -> None:
    rule = {"fault": "bit-flips", "resource": "ASRL*", "chance": 0.02}
    done = programmed(tmp_path / "run", pattern(column(5, 0, 7)), faults=faults(tmp_path, rule), passes=0)
    with open_run(done.folder) as run:
        assert summarise(run).inside > 0.8
        announced = int(run.where("set", "reset").sum())
    assert int((done.ledger["kind"] != b"read").sum()) == announced
