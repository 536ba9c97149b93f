"""Generating letters as a procedure: judged, costed and reported from the run file."""

from pathlib import Path
from typing import Any

import numpy as np

from analysis.baseline import Settings, measure_baseline
from analysis.letters.report import letters_rows, report_letters
from analysis.letters.summary import has_letters, summarise_letters
from analysis.programming import summarise
from analysis.records import RunFile, WaveformSpec, open_run
from instruments.clock import stopwatch
from instruments.station_file import StationFile
from workflows.errors import RequestError
from workflows.procedures.letters import LettersRun, check_data, letters
from workflows.procedures.letters_options import LettersOptions
from workflows.procedures.mover import mover
from workflows.procedures.procedure import Procedure, Work
from workflows.tables import Row, clock_text, program_rows

_BASELINE_SECONDS = 12.0
"""How long the digital baseline may be measured for."""
_DECODINGS = 200


def _request(options: LettersOptions, station: StationFile) -> LettersOptions:
    options.check()
    if "oscilloscope" not in station.instruments:
        raise RequestError(f"station {station.name} has no oscilloscope; name one under `instruments:`")
    arrays, rows, cols = station.shape
    if arrays < 4 or (rows, cols) != (32, 32):
        raise RequestError(
            f"station {station.name} has {arrays} arrays of {rows}x{cols}; letters need 7 to 11 of 32x32, "
            "such as station-letters.yaml has"
        )
    check_data(options)
    return options


def _parameters(options: LettersOptions) -> dict[str, Any]:
    return options.parameters()


def _waveforms(options: LettersOptions, station: StationFile) -> tuple[WaveformSpec, ...]:
    driver = station.instruments["oscilloscope"].driver
    # Tektronix picks its own sample rate and may take up to four times as many points as it was asked for.
    points = options.points if driver == "infiniivision" else 4 * options.points
    return (WaveformSpec("scope1", ("x", "y", "nx", "ny"), points),)


def _work(work: Work[LettersOptions, LettersOptions]) -> None:
    run = LettersRun(work.station, work.writer, work.request, mover(work.station, work.ask), work.controls)
    letters(run, work.controls.around)
    if work.options.baseline:
        work.controls.around("digital baseline", lambda: _measure_baseline(run))


def _measure_baseline(run: LettersRun) -> None:
    """The same network and decoder digitally, on this computer, in this run."""
    assert run.models is not None
    assert run.judge is not None
    run.controls.told("digital baseline", 0, 1)
    label = run.request.labels[0]
    rng = np.random.default_rng([run.request.seed, 9])
    baseline = measure_baseline(
        run.models.network.ideal_network(), run.models.network.drive(label), run.judge.truths[label], rng=rng,
        stopwatch=stopwatch, settings=Settings(points=1000, total_time=_BASELINE_SECONDS),
    )  # fmt: skip
    run.writer.data("baseline", baseline.to_bytes(), title="digital baseline on this computer, JSON in UTF-8")
    decoder, point = run.models.vae.decoder, rng.standard_normal((1, 2)) * 0.3
    decoder.decode(point)
    times = []
    for _ in range(_DECODINGS):
        began = stopwatch()
        decoder.decode(point)
        times.append(stopwatch() - began)
    title = "median time of one digital decoding on this computer, one by one"
    run.writer.data("decoding", np.array([np.median(times)]), units="s", title=title)
    run.controls.told("digital baseline", 1, 1)


def _report(folder: Path) -> None:
    with open_run(folder) as run:
        if has_letters(run):
            report_letters(run, folder)


def _rows(run: RunFile) -> list[Row]:
    if not has_letters(run):
        return program_rows(summarise(run))
    summary = summarise_letters(run)
    rows = [Row(name.removeprefix("twin only: "), value, "twin" if name.startswith("twin only: ") else "lab")
            for name, value in letters_rows(run, summary)]  # fmt: skip
    return [*rows, Row("time on the lab's clock", clock_text(summary.lab_seconds))]


PROCEDURE = Procedure(
    name="generate",
    title="Generate handwritten letters out of noise, the decoder's weights on arrays, too (the paper's Fig. 4).",
    options=LettersOptions,
    request=_request,
    parameters=_parameters,
    work=_work,
    report=_report,
    rows=_rows,
    arrays=lambda request, station: station.shape[0],
    waveforms=_waveforms,
    elsewhere=("cache",),
)
