"""Dry runs: what a job will take, foretold on twins; and what the run then says of its forecast."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from program_jobs import pattern, row

from analysis.errors import AnalysisError
from analysis.forecast import MEASURES, TOTAL, Forecast, Spent, foretell, judged, spent
from analysis.records import open_run
from workflows.errors import Interrupted, RequestError
from workflows.procedures.controls import Controls
from workflows.procedures.forecast import dry_run
from workflows.procedures.forecast_store import keep, kept
from workflows.procedures.job import Job
from workflows.procedures.program_job import PROCEDURE, ProgramOptions

CELLS = {**row(1, 0, 5), **row(8, 3, 6)}


@pytest.fixture
def options(tmp_path: Path) -> ProgramOptions:
    np.save(tmp_path / "pattern.npy", pattern(CELLS))
    return ProgramOptions(pattern=str(tmp_path / "pattern.npy"), runs=str(tmp_path / "runs"), chip="1", run_id="run")


def test_a_dry_run_is_kept_and_the_run_says_how_good_it_was(options: ProgramOptions, tmp_path: Path) -> None:
    job = Job.prepare(PROCEDURE, options)
    forecast = dry_run(job, 2, Controls(), processes=2)
    assert not (tmp_path / "runs").exists()
    assert forecast.phases[TOTAL]["pulses"].p50 >= len(CELLS)
    keep(job, forecast)
    # Whichever the chip, it is the same job; another window is another one.
    assert kept(Job.prepare(PROCEDURE, replace(options, chip="7"))) == forecast
    assert kept(Job.prepare(PROCEDURE, replace(options, window=2e-6))) is None
    with open_run(job.run()) as run:
        found = judged(run)
        total = spent(run)[TOTAL]
        phases = [what for name, what in spent(run).items() if name != TOTAL]
    assert [one.measure for one in found] == list(MEASURES)
    assert [one.outcome for one in found] == [total.seconds, total.energy, total.pulses, total.reads]
    assert sum(p.seconds for p in phases) == pytest.approx(total.seconds)
    assert sum(p.energy for p in phases) == pytest.approx(total.energy)
    assert sum(p.pulses for p in phases) == total.pulses


def test_a_real_station_is_foretold_on_a_twin_with_its_limits(options: ProgramOptions) -> None:
    real = replace(options, station="station-lab.yaml", chip="")
    forecast = dry_run(Job.prepare(PROCEDURE, real), 2, Controls(), processes=1)
    assert forecast.phases[TOTAL]["seconds"].p50 > 0


def test_what_can_not_be_foretold_is_refused(options: ProgramOptions) -> None:
    job = Job.prepare(PROCEDURE, options)
    for repeats in (1, 0, 100_000):
        with pytest.raises(RequestError, match=r"a dry run needs 2\.\."):
            dry_run(job, repeats, Controls())
    with pytest.raises(Interrupted):
        dry_run(job, 2, Controls(stop=lambda: True), processes=1)
    with pytest.raises(AnalysisError, match="at least two"):
        foretell("program", "x", [{TOTAL: Spent(1.0)}])


def test_quantiles_are_those_of_the_next_run() -> None:
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(2000):
        seen = np.exp(0.2 * rng.standard_normal(6))
        forecast = foretell("program", "x", [{TOTAL: Spent(float(v))} for v in seen[:5]])
        held += forecast.phases[TOTAL]["seconds"].holds(float(seen[5]))
    assert held / 2000 == pytest.approx(0.8, abs=0.03)
    assert Forecast.from_json(forecast.to_json()) == forecast
    with pytest.raises(AnalysisError, match="no forecast"):
        Forecast.from_json("[1]")
