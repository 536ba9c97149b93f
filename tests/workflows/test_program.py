"""The programming procedure on the twin: what it does to the chip, and what it writes down of it."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from program_jobs import STUCK_OFF, STUCK_ON, Done, pattern, programmed, row
from scipy import stats

from analysis.programming import responsive_cells, summarise
from analysis.records import layout, open_run, read_journal
from instruments.array import CellArray
from workflows.errors import Interrupted
from workflows.procedures.session import run_folder
from workflows.tables import program_rows

READ, SET, RESET = (layout.EVENT_CODE[kind] for kind in ("read", "set", "reset"))

WANTED = {**row(1, 18, 24), **row(8, 0, 5), **row(20, 10, 15)}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Nineteen cells programmed, two of which can't be."""
    return programmed(tmp_path_factory.mktemp("runs") / "few", pattern(WANTED), settle_rows=4)


def events(done: Done) -> dict[str, Any]:
    with h5py.File(done.folder / "run.h5") as file:
        return {name: column[()] for name, column in file["entry/events"].items()}


def test_every_responsive_cell_is_programmed_and_the_stuck_ones_are_named(done: Done) -> None:
    with open_run(done.folder) as run:
        summary = summarise(run)
        error = run.map("conductance_after") - run.map("conductance_target")
    assert summary.cells == len(WANTED)
    assert summary.responsive == len(WANTED) - 2
    assert summary.failed == (((0, *STUCK_ON), "unresponsive"), ((0, *STUCK_OFF), "unresponsive"))
    for cell in (STUCK_ON, STUCK_OFF):
        error[cell] = np.nan
    assert np.nanmax(np.abs(error)) < 1.5e-6  # the window and, after the last verify, relaxation and noise
    assert summary.inside >= 0.8
    named = next(r.value for r in program_rows(summary) if r.name == "cells given up")
    assert named == "2: unresponsive (1,21), (8,3)"


def test_what_the_twin_knows_agrees_and_stands_apart(done: Done) -> None:
    with open_run(done.folder) as run:
        summary = summarise(run)
    assert summary.truth is not None
    assert summary.truth.stuck == ((0, *STUCK_ON), (0, *STUCK_OFF))
    hidden = [r for r in program_rows(summary) if r.of == "twin"]
    assert {r.name for r in hidden} == {"true conductance inside", "cells that can't move", "true pulse energy"}
    drives = done.ledger
    pulses = drives[drives["kind"] != b"read"]
    assert summary.truth.pulse_energy == pytest.approx(pulses["energy"].sum())


def test_a_cell_that_was_given_up_is_left_alone(done: Done) -> None:
    records = read_journal(done.folder / "journal.jsonl").records
    verdicts = {(r["row"], r["col"]): n for n, r in enumerate(records) if r["kind"] == "cell"}
    assert len(verdicts) == len(WANTED)
    for n, record in enumerate(records):
        if record["kind"] == "intent":
            assert n < verdicts[record["row"], record["col"]]


def test_cells_without_a_target_are_never_touched(done: Done) -> None:
    touched = {(int(d["row"]), int(d["col"])) for d in done.ledger}
    assert touched == set(WANTED)
    with open_run(done.folder) as run:
        assert np.isfinite(run.map("conductance_after")).sum() == len(WANTED)


def test_the_journal_tells_every_drive_that_reached_the_chip(done: Done) -> None:
    told = events(done)
    names = {READ: b"read", SET: b"set", RESET: b"reset"}
    assert len(done.ledger) == len(told["kind"])
    assert [names[k] for k in told["kind"]] == done.ledger["kind"].tolist()
    for name in ("row", "col"):
        np.testing.assert_array_equal(told[name], done.ledger[name])
    pulses = told["kind"] != READ
    sign = np.where(told["kind"] == RESET, -1, 1)
    # The SPGU expects 1 Mohm, and meets a little more: 50 ohm in 1 Mohm.
    np.testing.assert_allclose(done.ledger["volts"], sign * told["amplitude"], rtol=1e-4)
    np.testing.assert_allclose(done.ledger["gate"], told["gate"], rtol=1e-6)
    np.testing.assert_allclose(done.ledger["width"][pulses], told["width"][pulses], rtol=0.05)  # half of each edge


def test_nothing_on_the_wire_passed_a_limit(done: Done) -> None:
    limits, drives = done.station.limits, done.ledger
    for kind, low, high in (
        (b"read", limits.read.low, limits.read.high),
        (b"set", 0.0, limits.bit_line.high),
        (b"reset", -limits.source_line.high, 0.0),
    ):
        volts = drives["volts"][drives["kind"] == kind]
        assert volts.size
        assert low <= volts.min()
        assert volts.max() <= high
    assert drives["gate"].max() <= limits.word_line.high
    assert drives["gate"].min() >= limits.word_line.low
    pulses = drives["kind"] != b"read"
    assert drives["width"][pulses].min() >= limits.pulse_width.low
    assert drives["width"][pulses].max() <= limits.pulse_width.high


def test_printed_energy_and_time_are_the_sums_of_the_events(done: Done) -> None:
    told = events(done)
    with open_run(done.folder) as run:
        summary = summarise(run)
        rows = {r.name: r.value for r in program_rows(summary)}
    pulses = told["kind"] != READ
    assert summary.pulses.count == pulses.sum()
    assert summary.pulses.energy == pytest.approx(told["energy"][pulses].sum(), rel=1e-12)
    assert summary.reads.energy == pytest.approx(told["energy"][~pulses].sum(), rel=1e-12)
    assert summary.pulses.seconds + summary.reads.seconds == pytest.approx(told["duration"].sum(), rel=1e-12)
    lasted = (told["time"] + told["duration"]).max() - told["time"].min()
    assert summary.duration == pytest.approx(lasted, rel=1e-12)
    assert rows["energy"].startswith(f"{told['energy'].sum() * 1e6:.3g} µJ: {pulses.sum()} pulses")
    assert rows["time on the lab's clock"].startswith(f"{lasted:.3g} s (")
    # Events follow one another: none begins before the one before it is over.
    assert (np.diff(told["time"]) >= told["duration"][:-1] - 1e-9).all()


def test_energies_are_the_laboratorys_own_estimates(done: Done) -> None:
    told = events(done)
    reads = told["kind"] == READ
    own = np.abs(told["amplitude"] * told["current"] * told["width"])
    np.testing.assert_allclose(told["energy"][reads], own[reads], rtol=1e-9)
    np.testing.assert_allclose(told["conductance"][reads], (told["current"] / told["amplitude"])[reads], rtol=1e-9)
    assert (told["energy"][reads] > 0).all()
    last: dict[tuple[int, int], float] = {}
    for n in range(len(reads)):
        cell = told["row"][n], told["col"][n]
        if reads[n]:
            last[cell] = told["conductance"][n]
        else:
            known = told["amplitude"][n] ** 2 * last[cell] * told["width"][n]
            assert told["energy"][n] == pytest.approx(known, rel=1e-9)


class Watched:
    """The array, with somebody who looks into the journal at the moment of each pulse."""

    def __init__(self, cells: CellArray, folder: Path) -> None:
        self._cells, self._folder = cells, folder
        self.seen = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cells, name)

    def pulse(self, kind: Any, volts: float, gate: float, width: float) -> None:
        intent = read_journal(self._folder / "journal.jsonl").records[-1]
        assert (intent["kind"], intent["op"]) == ("intent", kind)
        assert (intent["amplitude"], intent["gate"], intent["width"]) == (volts, gate, width)
        self.seen += 1
        self._cells.pulse(kind, volts, gate, width)


def test_each_pulse_is_announced_before_it_is_given(tmp_path: Path) -> None:
    watched: list[Watched] = []

    def watch(cells: CellArray, folder: Path) -> Watched:
        watched.append(Watched(cells, folder))
        return watched[0]

    done = programmed(tmp_path / "run", pattern(row(3, 3, 4)), around_cells=watch)
    with open_run(done.folder) as run:
        assert watched[0].seen == run.where("set", "reset").sum() > 0


def test_a_wider_window_is_honoured_and_cheaper(tmp_path: Path, done: Done) -> None:
    wide = programmed(tmp_path / "wide", pattern(WANTED), settle_rows=4, tolerance=5e-6, verify=0.5)
    with open_run(wide.folder) as run, open_run(done.folder) as narrow:
        summary = summarise(run)
        assert summary.pulses.count < summarise(narrow).pulses.count
        cells, target = run.cells, run.map("conductance_target").ravel()
    ok = cells["status"] == layout.CELL_CODE["ok"]
    assert summary.tolerance == 5e-6
    assert summary.inside == 1.0
    # A verdict is given on a read within the verify share; the later reading back is noisier than that.
    records = read_journal(wide.folder / "journal.jsonl").records
    for record in (r for r in records if r["kind"] == "cell" and r["status"] == "ok"):
        assert abs(record["conductance"] - target[record["row"] * 32 + record["col"]]) <= 2.5e-6
    assert ok.sum() == len(WANTED) - 2


@pytest.mark.parametrize("budget", [1, 3])
def test_no_cell_takes_more_pulses_than_its_budget(tmp_path: Path, budget: int) -> None:
    done = programmed(tmp_path / "run", pattern(row(5, 0, 5, 60, 100)), budget=budget)
    with open_run(done.folder) as run:
        summary = summarise(run)
        assert run.cells["pulses"].max() == budget
    assert {status for _, status in summary.failed} == {"budget"}
    # They do respond: given up for want of pulses, they count as missed, not as none of our business.
    assert summary.responsive == 6
    assert summary.inside < 1.0


def test_a_budget_is_a_cells_and_not_a_processes(tmp_path: Path) -> None:
    target = pattern({STUCK_OFF: 50})
    asked = iter([False] * 12)

    def stop() -> bool:
        return next(asked, True)

    with pytest.raises(Interrupted):
        programmed(tmp_path / "run", target, bench=tmp_path / "bench", stop=stop, budget=8)
    with open_run(tmp_path / "run") as run:
        assert 0 < run.cells["pulses"].max() < 8
    programmed(tmp_path / "run", target, bench=tmp_path / "bench", resume=True, budget=8)
    with open_run(tmp_path / "run") as run:
        assert run.cells["pulses"].max() == 8
        assert summarise(run).failed == (((0, *STUCK_OFF), "budget"),)


def test_a_run_stopped_before_its_targets_were_recorded_records_them_when_resumed(tmp_path: Path) -> None:
    programmed(tmp_path / "run", pattern(row(3, 3, 4)), bench=tmp_path / "bench", stop=lambda: False)
    journal = tmp_path / "other" / "journal.jsonl"
    journal.parent.mkdir()
    # A kill after the header, which is the first line.
    journal.write_bytes((tmp_path / "run" / "journal.jsonl").read_bytes().splitlines(keepends=True)[0])
    done = programmed(journal.parent, pattern(row(3, 3, 4)), bench=tmp_path / "bench", resume=True)
    with open_run(done.folder) as run:
        np.testing.assert_array_equal(run.map("conductance_target"), pattern(row(3, 3, 4)))


def test_a_row_is_verified_again_some_rows_later(tmp_path: Path) -> None:
    wanted = {**row(2, 0, 1), **row(3, 0, 1), **row(4, 0, 1)}
    order = []
    done = programmed(tmp_path / "run", pattern(wanted), settle_rows=2, tolerance=20e-6)
    for record in read_journal(done.folder / "journal.jsonl").records:
        if record["kind"] == "phase":
            order.append(record["name"])
        elif record["kind"] == "cell" or (record["kind"] == "event" and order[-1][0] != record["row"]):
            order.append((record["row"], record["kind"]))
    programming = order[order.index("program") :]
    assert programming.index((4, "event")) < programming.index((2, "cell")) < programming.index((3, "cell"))


def test_without_settling_each_cell_gets_its_verdict_at_once(tmp_path: Path) -> None:
    done = programmed(tmp_path / "run", pattern(row(2, 0, 2)), settle_rows=0)
    last = None
    for record in read_journal(done.folder / "journal.jsonl").records:
        if record["kind"] == "cell":
            assert last == (record["row"], record["col"])
        last = record.get("row"), record.get("col")


def test_eight_rows_meet_the_target_of_the_whole_array(tmp_path: Path) -> None:
    wanted = {cell: level for number in range(8, 16) for cell, level in row(number).items()}
    done = programmed(tmp_path / "run", pattern(wanted))
    with open_run(done.folder) as run:
        summary = summarise(run)
    assert summary.truth is not None
    assert [cell for cell, _ in summary.failed] == list(summary.truth.stuck)
    # 98 % of a whole array are asked for; of 254 cells 95.5 % leave room for three standard errors.
    assert summary.inside >= 0.955
    assert summary.truth.inside >= 0.955
    assert summary.pulses_mean <= 6.5  # the array's first cells teach what a pulse does
    assert summary.pulses_p95 <= 15
    assert abs(summary.mean_error) < 0.2e-6
    assert 0.2e-6 < summary.sigma < 0.6e-6


def test_errors_after_a_single_verify_are_nearly_gaussian(tmp_path: Path) -> None:
    wanted = {cell: level for number in range(8, 16) for cell, level in row(number).items()}
    done = programmed(tmp_path / "run", pattern(wanted), algorithm="incremental-reversal", settle_rows=8, passes=0)
    with open_run(done.folder) as run:
        error = (run.map("conductance_after") - run.map("conductance_target"))[responsive_cells(run)[0]]
    # But for the odd cell that a telegraph moves: Kolmogorov-Smirnov, against the quartiles' bell.
    quartiles = np.percentile(error, [25, 50, 75])
    assert stats.kstest((error - quartiles[1]) / ((quartiles[2] - quartiles[0]) / 1.349), "norm").statistic < 0.1


def test_a_run_is_found_by_folder_by_name_and_by_file(done: Done) -> None:
    folder = done.folder
    for name in (str(folder), folder.name, str(folder / "run.h5")):
        assert run_folder(folder.parent, name) == folder
