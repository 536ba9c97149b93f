"""The circle experiment end to end on the twin, small: programmed, calibrated, sampled, judged and reported."""

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.circle import array_power, final_states, summarise_circle
from analysis.circle_cost import circle_cost
from analysis.records import RunFile, open_run, read_journal
from analysis.records.tables import unpack
from workflows.errors import RequestError
from workflows.procedures.circle_job import PROCEDURE as CIRCLE
from workflows.procedures.circle_options import CircleOptions
from workflows.procedures.controls import Controls
from workflows.procedures.job import Job

SMALL = CircleOptions(
    samples=120, uncalibrated=60, calibration_runs=10, calibration_rounds=2, recipe="quick", compensation=60,
    points=500, field=3, chip="1", baseline=False,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("circle")
    options = replace(
        SMALL, runs=str(root / "runs"), cache=str(root / "cache"), run_id="first", bench=str(root / "bench")
    )
    return Job.prepare(CIRCLE, options).run()


@pytest.fixture
def run(folder: Path) -> RunFile:
    return open_run(folder)


def test_calibration_is_what_makes_the_circle(run: RunFile) -> None:
    with run:
        summary = summarise_circle(run)
    assert summary.calibrated.samples == 120
    assert summary.uncalibrated is not None
    after, before = summary.calibrated.metrics, summary.uncalibrated.metrics
    # A quick training's circle: near the floor of so few points; offsets of 5 mV tear it apart.
    assert after["kl_2d"].value - after["kl_2d"].floor < 0.6
    assert abs(after["radius_mean"].value - 0.7) < 0.03
    assert before["kl_2d"].value - before["kl_2d"].floor > 2 * (after["kl_2d"].value - after["kl_2d"].floor)
    first, *rest = summary.calibration
    assert rest[-1] < 0.5 * first


def test_every_solution_is_recorded_with_its_scale(run: RunFile) -> None:
    with run:
        waves = run.waveforms("scope1")
        assert len(waves) == 120
        assert list(waves.index["index"]) == list(range(120))
        times = waves.times(0)
        before = waves.volts(0)[:2, times < -1e-3].mean(axis=1)
        assert before == pytest.approx(0.1 * run.data("samples/start")[0], abs=2e-3)
        ends = final_states(run)
        assert ends.shape == (120, 2)
        assert np.isfinite(ends).all()


def test_arrays_hold_the_network_and_nothing_else(run: RunFile) -> None:
    with run:
        target = run.map("conductance_target")
        assert np.isfinite(target).sum() == 282
        levels = (target[np.isfinite(target)] - 20e-6) / (80e-6 / 63)
        assert levels == pytest.approx(np.round(levels), abs=1e-6)
        programming = summarise_circle(run).programming
        assert programming.inside > 0.95
        assert run.world == "simulated"


def test_power_from_measured_voltages_is_that_of_the_circuit(run: RunFile) -> None:
    with run:
        summary = summarise_circle(run)
        assert summary.true_array_energy is not None
        assert array_power(run) * summary.run_seconds == pytest.approx(summary.true_array_energy, rel=0.15)


def test_the_report_stands_alone_and_keeps_the_papers_numbers_apart(folder: Path, run: RunFile) -> None:
    page = (folder / "report.html").read_text()
    assert "SIMULATED" in page
    assert not re.search(r"(src|href)=.?https?:", page)
    assert page.count("data:image/png;base64,") >= 6
    paper = page.index("What the paper says")
    assert "64.8x" in page[paper:]
    assert "64.8" not in page[:paper]
    with run:
        cost = circle_cost(run, summarise_circle(run))
    assert cost.board.how == "simulated"
    assert cost.comparison is None  # no baseline was measured
    assert cost.projections[0].entry.how == "projected"


def test_the_report_is_made_from_the_file_alone(folder: Path, tmp_path: Path) -> None:
    from analysis.report import report_circle

    shutil.copy(folder / "run.h5", tmp_path / "run.h5")
    with open_run(tmp_path / "run.h5") as run:
        page = report_circle(run, tmp_path).read_text()
    strip = re.compile(r'<img alt="[^"]*" src="[^"]*">')
    assert strip.sub("", page) == strip.sub("", (folder / "report.html").read_text())


def run_and_be_killed(options: CircleOptions, at: int) -> None:
    """Run in a process of its own that kills itself when it asks for the `at`-th time whether to stop."""
    child = os.fork()
    if child == 0:
        calls = 0

        def stop() -> bool:
            nonlocal calls
            calls += 1
            if calls == at:
                os.kill(os.getpid(), 9)
            return False

        try:
            Job.prepare(CIRCLE, options).run(Controls(stop=stop))
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)


def test_a_killed_run_goes_on_and_so_it_does_a_second_time(folder: Path, tmp_path: Path) -> None:
    """Killed in the middle of programming, and late: the whole is there in the end."""
    options = replace(
        SMALL, samples=30, uncalibrated=4, runs=str(tmp_path), cache=str(folder.parents[1] / "cache"), run_id="killed",
        bench=str(tmp_path / "bench"),
    )  # fmt: skip
    resumed = CircleOptions(resume="killed", runs=str(tmp_path), cache=options.cache)
    run_and_be_killed(options, 1500)
    run_and_be_killed(resumed, 1500)
    Job.prepare(CIRCLE, resumed).run()
    with open_run(tmp_path / "killed") as run:
        assert run.status == "completed"
        assert len(run.waveforms("scope1")) == 30
        assert list(run.waveforms("scope1").index["index"]) == list(range(30))
        assert len(run.segments) == 3
    assert_finished_cells_were_left_alone(tmp_path / "killed")


def assert_finished_cells_were_left_alone(folder: Path) -> None:
    records = read_journal(folder / "journal.jsonl").records
    cuts = [i for i, r in enumerate(records) if r["kind"] == "resume"]
    assert len(cuts) == 2
    for cut in cuts:
        place = ("array", "row", "col")
        finished = {tuple(r[k] for k in place) for r in records[:cut] if r["kind"] == "cell" and r["status"] == "ok"}
        pulsed = {tuple(r[k] for k in place) for r in records[cut:] if r["kind"] == "intent"}
        targets = [unpack(r["packed"]) for r in records if r["kind"] == "array" and r["name"] == "conductance_target"]
        moved = {c for c in finished if len({float(t[c]) for t in targets if np.isfinite(t[c])}) > 1}
        # Only a cell that the network was mapped away from, or onto another of its weights, is touched again.
        assert not (pulsed & finished) - moved


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"samples": 0}, "samples must be 1"),
        ({"recipe": "none"}, "recipe 'none' is unknown"),
        ({"points": 10}, "points must be 500"),
        ({"calibration_runs": 1}, "calibration runs must be 8"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_driven(
    change: dict[str, object], said: str, tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match=said):
        Job.prepare(CIRCLE, replace(SMALL, runs=str(tmp_path), **change))  # type: ignore[arg-type]  # that is the point
    assert not list(tmp_path.iterdir())
