"""Re-verify passes, windows of cells' own, budgets of remapped cells, and algorithms compared: through the station."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from program_jobs import STUCK_OFF, Done, pattern, programmed, row

from analysis.programming import summarise
from analysis.records import RunWriter, open_run, read_journal
from analysis.verify_bench import Line, Share, Table, Trial, equal_yield
from instruments.errors import LimitError
from instruments.limits import Limits, Range
from instruments.station import Station
from instruments.station_file import StationFile
from workflows.errors import Interrupted, RequestError
from workflows.procedures.controls import Controls
from workflows.procedures.program import Programming, ProgramRequest
from workflows.procedures.session import recorded_run
from workflows.procedures.verify_bench import BenchVerifyOptions, bench_verify, prepare

CELLS = {**row(2, 0, 3), **row(9, 4, 6)}


def records(done: Done) -> list[dict[str, Any]]:
    return [dict(r) for r in read_journal(done.folder / "journal.jsonl").records]


def test_every_pass_looks_at_every_cell_and_only_the_last_gives_verdicts(tmp_path: Path) -> None:
    done = programmed(tmp_path / "run", pattern(CELLS), passes=2, gap=30.0)
    after = records(done)
    start = next(i for i, r in enumerate(after) if r["kind"] == "phase" and r["name"] == "program")
    verdicts = [i for i, r in enumerate(after) if r["kind"] == "cell"]
    times: dict[tuple[int, int], list[float]] = {}
    for r in after[start:]:
        if r["kind"] == "event":
            times.setdefault((r["row"], r["col"]), []).append(r["t"])
    waits = [np.flatnonzero(np.diff(t) > 15) for t in times.values()]
    assert all(len(w) == 2 for w in waits)  # twice did every cell wait for its next read
    assert len(verdicts) == len(CELLS)
    last_wait = max(t[w[1]] for t, w in zip(times.values(), waits, strict=True))
    assert all(after[i]["t"] > last_wait + 15 for i in verdicts)
    # Nothing is driven while the array waits.
    drives = np.sort(done.ledger["time"])
    assert np.sort(np.diff(drives))[-2:] == pytest.approx([30, 30], abs=2)


def test_a_gap_counts_from_the_start_of_the_pass_before(tmp_path: Path) -> None:
    done = programmed(tmp_path / "run", pattern(CELLS), passes=3, gap=0.0)
    assert np.diff(np.sort(done.ledger["time"])).max() < 5


def begun(folder: Path, asked: ProgramRequest, bench: Path, work: Callable[[Programming, RunWriter], None]) -> None:
    """A run that does some work and is then stopped."""
    file = StationFile.load("station-twin.yaml")
    with (
        Station.open(file, seed="1", dir=str(bench)) as station,
        contextlib.suppress(Interrupted),
        recorded_run(station, folder, "program", asked.parameters(), arrays=1) as writer,
    ):
        job = Programming(station.array, writer, asked)
        job.begin()
        work(job, writer)
        raise Interrupted("stopped on request")


def test_a_wait_can_be_stopped_and_the_run_gone_on_with(tmp_path: Path) -> None:
    asked = ProgramRequest(pattern(CELLS)[None], passes=2, gap=20.0)

    def work(job: Programming, writer: RunWriter) -> None:
        waiting: list[bool] = []
        job.progress.listeners.append(lambda p: waiting.append(True) if p.phase.startswith("waiting") else None)
        job.stop = lambda: bool(waiting)
        for step in job.steps():
            job.run(step)
        raise AssertionError("it did not stop")

    begun(tmp_path / "run", asked, tmp_path / "bench", work)
    with open_run(tmp_path / "run") as run:
        assert run.status == "interrupted"
        assert not run.cells["status"].any()  # nobody has a verdict yet
        before = np.array(run.cells["pulses"])
    programmed(tmp_path / "run", pattern(CELLS), bench=tmp_path / "bench", resume=True, passes=2, gap=20.0)
    with open_run(tmp_path / "run") as run:
        assert summarise(run).failed == ()
        assert (np.asarray(run.cells["pulses"]) - before).sum() <= 10  # it went on, and did not begin again


def test_steps_have_names_of_their_own(tmp_path: Path) -> None:
    file = StationFile.load("station-twin.yaml")
    asked = ProgramRequest(pattern(CELLS)[None], passes=2, settle_rows=1)
    with (
        Station.open(file, seed="1", dir=None) as station,
        recorded_run(station, tmp_path / "run", "program", asked.parameters(), arrays=1) as writer,
    ):
        job = Programming(station.array, writer, asked)
        names = [job.name(step) for step in job.steps()]
    assert len(set(names)) == len(names) == 2 * 4 + 2
    assert "verify array 0 row 9 pass 2" in names
    assert "wait before pass 1" in names


def test_each_cell_is_held_to_its_own_tolerance(tmp_path: Path) -> None:
    target = pattern({**row(3, 0, 11), **row(4, 0, 11)})
    own = np.full(target.shape, np.nan)
    own[3], own[4] = 0.4e-6, 8e-6
    done = programmed(tmp_path / "run", target, passes=1, tolerances=own[None])
    with open_run(done.folder) as run:
        pulses = np.asarray(run.cells["pulses"]).reshape(target.shape)
        np.testing.assert_array_equal(run.map("tolerance"), own)
        header = run.header.parameters
        for r in (r for r in records(done) if r["kind"] == "cell" and r["status"] == "ok"):
            assert abs(r["conductance"] - target[r["row"], r["col"]]) <= own[r["row"], r["col"]]
    assert pulses[4, :12].sum() < 0.7 * pulses[3, :12].sum()
    assert header["own_tolerances"] is True
    again = ProgramRequest.from_record(header, target, own)
    np.testing.assert_array_equal(again.tolerances, own[None])
    assert again.parameters() == done.request.parameters()
    with pytest.raises(RequestError, match="tolerances"):
        ProgramRequest.from_record(header, target)


def test_a_run_recorded_before_there_were_passes_goes_on_without(tmp_path: Path) -> None:
    parameters = {
        k: v for k, v in ProgramRequest(pattern(CELLS)[None]).parameters().items() if k not in ("passes", "gap")
    }
    assert ProgramRequest.from_record(parameters, pattern(CELLS)).passes == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"passes": -1}, "passes make no sense"), ({"passes": 101}, "passes make no sense"),
        ({"gap": -1.0}, "gap of -1 s"), ({"gap": float("nan")}, "gap of nan s"),
        ({"tolerances": np.full((1, 3, 3), 1e-6)}, "tolerances have shape"),
        ({"tolerances": np.zeros((1, 32, 32))}, "7 cells have a tolerance that makes no sense, such as 0 uS"),
        ({"tolerances": np.full((1, 32, 32), np.nan)}, "7 cells have a tolerance"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], said: str) -> None:
    file = StationFile.load("station-twin.yaml")
    with pytest.raises(RequestError, match=said):
        ProgramRequest(pattern(CELLS)[None], **changes).check(file.shape, file.limits)


def test_extremes_are_refused_before_anything_is_opened() -> None:
    tight = Limits().with_ranges(source_line=Range(-0.5, 1.5))
    with pytest.raises(LimitError, match="strongest RESET pulse of model-based"):
        ProgramRequest(pattern(CELLS)[None]).check_extremes(tight)


def test_pulses_on_an_earlier_target_are_not_charged_to_the_next(tmp_path: Path) -> None:
    """As where a network is mapped anew around a cell that was given up, and the run is then resumed."""
    how: dict[str, Any] = {"budget": 6, "passes": 0, "algorithm": "incremental-reversal"}
    first, second = pattern({STUCK_OFF: 50, (4, 4): 50}), pattern({STUCK_OFF: 60, (4, 4): 50})

    def work(job: Programming, writer: RunWriter) -> None:
        for step in job.steps():
            job.run(step)
        writer.map("conductance_target", second, title="target conductance")

    begun(tmp_path / "run", ProgramRequest(first[None], **how), tmp_path / "bench", work)
    with open_run(tmp_path / "run") as run:
        before = np.asarray(run.cells["pulses"]).reshape(first.shape)
    assert before[STUCK_OFF] == 6
    programmed(tmp_path / "run", second, bench=tmp_path / "bench", resume=True, **how)
    with open_run(tmp_path / "run") as run:
        after = np.asarray(run.cells["pulses"]).reshape(first.shape)
    assert after[STUCK_OFF] == 12
    assert after[4, 4] == before[4, 4]  # its target stayed, and so did its verdict


# Algorithms compared


def test_algorithms_are_compared_on_the_same_fresh_chips(tmp_path: Path) -> None:
    told: list[str] = []
    options = BenchVerifyOptions(
        cells=24, seeds=2, algorithms="model-based,incremental-reversal", passes=1, runs=str(tmp_path), run_id="b"
    )
    table = bench_verify(options, Controls(told=lambda name, done, total: told.append(f"{done}/{total} {name}")))
    ours, theirs = table.lines
    assert (ours.algorithm, theirs.algorithm) == ("model-based", "incremental-reversal")
    assert ours.cells == theirs.cells
    assert 40 <= ours.cells <= 48
    assert ours.converged.value > 0.95
    assert ours.inside[0].value > 0.9
    assert theirs.seconds > 0 < ours.seconds
    folders = sorted(p.name for p in (tmp_path / "b").iterdir() if p.is_dir() and p.name != "figures")
    assert folders == [f"cmo-hfox-{a}-70-chip{n}" for a in ("incremental-reversal", "model-based") for n in (1, 2)]
    befores: dict[str, list[np.ndarray]] = {}
    for name in folders:
        with open_run(tmp_path / "b" / name) as run:
            befores.setdefault(name[-1], []).append(run.map("conductance_target"))
            summary = summarise(run)
            assert summary.pulses.count > 0
    for same in befores.values():
        np.testing.assert_array_equal(same[0], same[1])
    kept = json.loads((tmp_path / "b" / "bench-verify.json").read_text())
    assert kept["lines"][0]["pulses"] == ours.pulses
    assert (tmp_path / "b" / "figures" / "trade-off.png").stat().st_size > 10_000
    assert "x the pulses of model-based" in table.text()
    assert told[-1] == "4/4 compared"
    with pytest.raises(RequestError, match="exists"):
        prepare(options)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"algorithms": "magic"}, "'magic' is unknown; known: model-based"), ({"cells": 0}, "cells must be 1..1024"),
        ({"cells": 1025}, "cells must be 1..1024"), ({"seeds": 0}, "seeds must be 1.."), ({"levels": 1}, "levels must"),
        ({"shares": "wide"}, "must be numbers"), ({"shares": "1.5"}, "verify share 1.5"),
        ({"presets": ","}, "no presets"),
        ({"station": "station-lab.yaml"}, "is real"),
    ],
)  # fmt: skip
def test_a_comparison_that_makes_no_sense_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        prepare(BenchVerifyOptions(runs=str(tmp_path), **changes))
    assert not list(tmp_path.iterdir())


def trial(algorithm: str, verify: float, pulses: int, inside: int, seed: int = 1) -> Trial:
    """A hundred cells that took `pulses` each, of which `inside` stayed."""
    good = np.arange(100) < inside
    return Trial(
        "x", algorithm, verify, seed, np.full(100, pulses), np.ones(100, bool), np.tile(good, (4, 1)), good, 300,
        1e-7, 2e-6, 50.0,
    )  # fmt: skip


def test_shares_have_wilsons_interval_and_are_pooled_over_chips() -> None:
    line = Line.of([trial("a", 0.7, 4, 98), trial("a", 0.7, 6, 100, seed=2)])
    assert line.inside[2].value == pytest.approx(0.99)
    assert (line.inside[2].low, line.inside[2].high) == pytest.approx((0.9643, 0.9973), abs=2e-4)  # 198 of 200
    assert (line.chips, line.cells, line.pulses, line.reads) == (2, 200, 5.0, 3.0)
    assert Share.of(10, 10).high == 1.0
    assert Share.of(0, 10).low == 0.0


def test_pulses_are_compared_at_equal_yield() -> None:
    table = Table.of(
        [trial("a", 0.7, 4, 98), trial("a", 0.9, 3, 90), trial("b", 0.7, 10, 96), trial("b", 0.9, 8, 88)], 1e-6, 64
    )
    ratio, share, equal = equal_yield(table.lines[:2], table.lines[2:])
    assert share == pytest.approx(0.96)
    assert equal
    assert ratio == pytest.approx(10 / 3.75)  # ours lies between 3 and 4 pulses at 96 %
    ratio, share, equal = equal_yield(table.lines[:1], table.lines[3:])
    assert (ratio, share) == pytest.approx((2.0, 0.88))
    assert not equal
    assert "b takes 2.67 x the pulses of a at equal yield (96.00% at 1e3 s)" in table.text()
