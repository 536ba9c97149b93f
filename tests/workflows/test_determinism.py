"""One seed, one outcome; and one chip, whoever looks at it."""

from pathlib import Path
from typing import Any

import numpy as np
from program_jobs import STUCK_OFF, command, finish, pattern, programmed, row

from analysis.records import open_run, same_data
from instruments.station import Station
from instruments.station_file import StationFile
from workflows.procedures.job import Job
from workflows.procedures.program_job import PROCEDURE as PROGRAM
from workflows.procedures.program_job import ProgramOptions

WANTED = {**row(1, 0, 2), **row(8, 3, 4)}


def job(folder: Path, name: str, **options: str | int) -> Job[Any, Any]:
    np.save(folder / "pattern.npy", pattern(WANTED))
    given = {"pattern": str(folder / "pattern.npy"), "settle_rows": 2, "chip": "1", **options}
    return Job.prepare(PROGRAM, ProgramOptions(run_id=name, **given))  # type: ignore[arg-type]


def test_the_same_seed_on_a_fresh_bench_gives_the_same_file(tmp_path: Path) -> None:
    places = [tmp_path / "here", tmp_path / "somewhere" / "else"]
    files = []
    for number, place in enumerate(places):
        folder = job(tmp_path, f"run{number}", runs=str(place), bench=str(place / "bench")).run()
        files.append(folder / "run.h5")
    assert same_data(*files) == []
    # The figures say which run they are of, and nothing else that differs.
    assert {p.name for p in (files[0].parent / "figures").iterdir()} == {"programming.png", "traces.png"}


def test_another_seed_is_another_chip(tmp_path: Path) -> None:
    one = programmed(tmp_path / "one", pattern(WANTED), settle_rows=2)
    two = programmed(tmp_path / "two", pattern(WANTED), settle_rows=2, seed="2")
    differences = same_data(one.folder / "run.h5", two.folder / "run.h5")
    assert any("/entry/conductance_before/" in line for line in differences)
    assert any("/entry/provenance/seed" in line for line in differences)


def test_a_chip_that_has_been_programmed_is_not_the_fresh_one(tmp_path: Path) -> None:
    first = programmed(tmp_path / "first", pattern(WANTED), bench=tmp_path / "bench", settle_rows=2)
    second = programmed(tmp_path / "second", pattern(WANTED), bench=tmp_path / "bench", settle_rows=2)
    with open_run(first.folder) as before, open_run(second.folder) as after:
        known = np.isfinite(pattern(WANTED))
        known[STUCK_OFF] = False
        left, found = before.map("conductance_after")[known], after.map("conductance_before")[known]
        # Some relaxation and noise between the last look of one and the first of the other.
        np.testing.assert_allclose(found, left, atol=1.5e-6)
        assert after.events["time"][0] > before.events["time"][-1]


def test_two_processes_in_turn_see_one_chip(tmp_path: Path) -> None:
    """The command programs in its own process; what it left is found here, and what is done here is found there."""
    np.save(tmp_path / "pattern.npy", pattern({(4, 4): 40, (4, 5): 90}))
    arguments = ["program", "--direct", "--pattern", tmp_path / "pattern.npy", "--runs", tmp_path / "runs"]
    arguments += ["--bench", tmp_path / "bench", "--chip", "7", "--run-id", "there"]
    ended = finish(command(*arguments, home=tmp_path / "home"))
    assert ended.code == 0, ended.err
    with open_run(tmp_path / "runs" / "there") as run:
        left = run.twin("true_conductance")
        assert run.header.seed == 7
    with Station.open(StationFile.load("station-twin.yaml"), dir=str(tmp_path / "bench"), seed="7") as station:
        np.testing.assert_allclose(station.bench.true_conductance(), left, rtol=1e-3)
        station.array.prepare()
        station.array.select(0, 4, 5)
        assert abs(station.array.read().conductance - 90e-6) < 2e-6


def test_a_bench_is_one_processes_at_a_time(tmp_path: Path) -> None:
    np.save(tmp_path / "pattern.npy", pattern({(4, 4): 40}))
    arguments = ["program", "--direct", "--pattern", tmp_path / "pattern.npy", "--runs", tmp_path / "runs"]
    with Station.open(StationFile.load("station-twin.yaml"), dir=str(tmp_path / "bench")):
        ended = finish(command(*arguments, "--bench", tmp_path / "bench", home=tmp_path / "home"))
    assert ended.code == 2
    assert ended.err.startswith("error: the bench ")
    assert "is in use by process" in ended.err
    assert len(ended.err.splitlines()) == 1
    assert not (tmp_path / "runs").exists()
