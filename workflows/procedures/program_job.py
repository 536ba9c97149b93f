"""Programming an array, as a procedure: a pattern by name, the station's first array, the default algorithm."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.figures import programming as figures
from analysis.programming import summarise
from analysis.records import RunFile, open_run
from analysis.records.tables import Tables
from instruments.station_file import StationFile
from workflows.errors import RequestError
from workflows.procedures.options import RunOptions, option
from workflows.procedures.patterns import load_pattern
from workflows.procedures.procedure import Procedure, Work
from workflows.procedures.program import ProgramRequest
from workflows.procedures.program_columns import program_as_wired
from workflows.procedures.write_verify import ALGORITHMS, DEFAULT
from workflows.tables import Row, program_rows


@dataclass(frozen=True, kw_only=True)
class ProgramOptions(RunOptions):
    """A programming job by names and numbers only."""

    pattern: str = option("moon-star", "moon-star, or a .npy or .csv file of conductances in S.")
    array: int = option(0, "Array number on the board.")
    window: float = option(1e-6, "Half width of the target window.", unit="S")
    verify: float = option(0.7, "Share of the window that verify reads must lie within.")
    budget: int = option(120, "Pulses a cell may take.")
    algorithm: str = option(DEFAULT, f"Write-verify algorithm: {', '.join(ALGORITHMS)}.")
    passes: int = option(3, "Times that everything is verified again after programming.")
    gap: float = option(10.0, "From the start of one pass to the next, at least.", unit="s")
    settle_rows: int = option(0, "Rows after which a row is verified again meanwhile; 0: never.")
    wiring: str = option("cell", "cell: one at a time; column: a bit line at a time, by the board's own drivers.")


def _request(options: ProgramOptions, station: StationFile) -> ProgramRequest:
    arrays, rows, cols = station.shape
    if not 0 <= options.array < arrays:
        raise RequestError(f"array {options.array} does not exist; station {station.name} has arrays 0..{arrays - 1}")
    return _checked(options, station, load_pattern(options.pattern, rows, cols)[None])


def _checked(options: ProgramOptions, station: StationFile, target: np.ndarray) -> ProgramRequest:
    request = ProgramRequest(
        target, (options.array,), options.window, options.verify, options.budget, options.settle_rows,
        options.algorithm, options.passes, options.gap, wiring=options.wiring,
    )  # fmt: skip
    request.check(station.shape, station.limits)
    request.check_extremes(station.limits)
    return request


def _resumed(options: ProgramOptions, station: StationFile, tables: Tables) -> ProgramRequest:
    target = tables.map("conductance_target")
    if not np.isfinite(target).any():  # killed before the first record
        target = load_pattern(options.pattern, *station.shape[1:])
    request = ProgramRequest.from_record(tables.header.parameters, target, tables.map("tolerance"))
    request.check(station.shape, station.limits)
    return request


def _work(work: Work[ProgramOptions, ProgramRequest]) -> None:
    c = work.controls
    program_as_wired(work.station, work.writer, work.request, stop=c.stop, listener=c.listener, around=c.around)


def _report(folder: Path) -> None:
    with open_run(folder) as run:
        figures.draw(run, folder / "figures")


def _rows(run: RunFile) -> list[Row]:
    return program_rows(summarise(run))


PROCEDURE = Procedure(
    name="program",
    title="Program a conductance pattern into an array, cell by cell, and record everything.",
    options=ProgramOptions,
    request=_request,
    resumed=_resumed,
    parameters=ProgramRequest.parameters,
    work=_work,
    report=_report,
    rows=_rows,
    arrays=lambda request, station: len(request.arrays),
)
