"""The circle experiment as a procedure: judged, costed and reported from the run file."""

from pathlib import Path
from typing import Any

import numpy as np

from analysis.baseline import Settings, measure_baseline
from analysis.circle import has_samples, reference, summarise_circle
from analysis.circle_cost import circle_cost
from analysis.metrics import judge
from analysis.programming import summarise
from analysis.records import RunFile, WaveformSpec, open_run
from analysis.report import report_circle
from instruments.clock import stopwatch
from instruments.station_file import StationFile
from workflows.errors import RequestError
from workflows.procedures.circle import CircleRun, circle
from workflows.procedures.circle_options import CircleOptions
from workflows.procedures.controls import Told
from workflows.procedures.mover import mover
from workflows.procedures.procedure import Procedure, Work
from workflows.tables import Row, circle_rows, program_rows

_BASELINE_SECONDS = 12.0
"""How long the digital baseline may be measured for."""


def _request(options: CircleOptions, station: StationFile) -> CircleOptions:
    options.check()
    if "oscilloscope" not in station.instruments:
        raise RequestError(f"station {station.name} has no oscilloscope; name one under `instruments:`")
    arrays, rows, cols = station.shape
    if arrays < 3 or rows < 14 or cols < 15:
        raise RequestError(f"station {station.name} has {arrays} arrays of {rows}x{cols}; the network needs 3 of 14x15")
    return options


def _parameters(options: CircleOptions) -> dict[str, Any]:
    return options.parameters()


def _waveforms(options: CircleOptions, station: StationFile) -> tuple[WaveformSpec, ...]:
    driver = station.instruments["oscilloscope"].driver
    # Tektronix picks its own sample rate and may take up to four times as many points as it was asked for.
    points = options.points if driver == "infiniivision" else 4 * options.points
    return (WaveformSpec("scope1", ("x", "y", "nx", "ny"), points),)


def _work(work: Work[CircleOptions, CircleOptions]) -> None:
    c = work.controls
    move = mover(work.station, work.ask)
    run = CircleRun(work.station, work.writer, work.request, Path(work.request.cache), move, c.stop, c.listener, c.told)
    circle(run, c.around)
    work.station.safe()  # the rest needs no instrument
    if work.options.baseline:
        c.around("digital baseline", lambda: _measure_baseline(run, c.told))


def _report(folder: Path) -> None:
    with open_run(folder) as run:
        if has_samples(run):
            report_circle(run, folder)


def _rows(run: RunFile) -> list[Row]:
    if not has_samples(run):
        return program_rows(summarise(run))
    summary = summarise_circle(run)
    return circle_rows(summary, circle_cost(run, summary))


PROCEDURE = Procedure(
    name="circle",
    title="Train, program, calibrate and sample a circle out of noise (the paper's Fig. 3), and report it.",
    options=CircleOptions,
    request=_request,
    parameters=_parameters,
    work=_work,
    report=_report,
    rows=_rows,
    arrays=lambda request, station: station.shape[0],
    waveforms=_waveforms,
    elsewhere=("cache",),
)


def _measure_baseline(run: CircleRun, told: Told) -> None:
    """The same network sampled digitally, on this computer, in this run, to the quality of the analog samples."""
    assert run.model is not None
    assert run.ends is not None
    told("digital baseline", 0, 1)
    truth = reference()
    rng = np.random.default_rng([run.request.seed, 9])
    ends = run.ends[np.isfinite(run.ends).all(axis=1)]
    # A resumed run may have drawn few of its samples itself; then the many-step digital result sets the quality.
    target = judge(ends, truth, rng)["kl_2d"] if len(ends) >= 200 else None
    settings = Settings(points=max(len(ends), 1000) if target is None else len(ends), total_time=_BASELINE_SECONDS)
    baseline = measure_baseline(
        run.model.ideal_network(),
        run.model.drive,
        truth,
        rng=rng,
        stopwatch=stopwatch,
        target=target,
        settings=settings,
    )
    run.writer.data("baseline", baseline.to_bytes(), title="digital baseline on this computer, JSON in UTF-8")
    told("digital baseline", 1, 1)
