"""Health of a programmed array: read it, compare it with the run that programmed it, and mend the cells that drifted.

Only cells outside the window are programmed again; no other cell gets a pulse.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from analysis.characterisation.health import summarise_health
from analysis.errors import AnalysisError
from analysis.figures.characterisation_array import draw_health
from analysis.records import RunFile, RunHeader, open_run
from analysis.records.tables import Tables
from instruments.quantity import si
from instruments.station_file import StationFile
from instruments.strict_yaml import parse_yaml
from workflows.errors import NothingYetError, RequestError
from workflows.procedures.characterise.array_errors import read_map
from workflows.procedures.characterise.common import check_array, drawn, effort_rows, in_range, parameters
from workflows.procedures.characterise.preparing import Manner, program_cells
from workflows.procedures.characterise.probe import Probe
from workflows.procedures.options import RunOptions, option
from workflows.procedures.procedure import Procedure, Work
from workflows.procedures.program import ProgramRequest
from workflows.procedures.session import run_folder
from workflows.tables import Row

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class HealthOptions(RunOptions):
    """Against which run, and whether to mend."""

    reference: str = option("", "Run that programmed the array: its folder or name; default: the latest one.")
    array: int = option(0, "Number of the array on the board.")
    window: float = option(0.0, "Half width of the window around a target; 0 for the reference's.", unit="S")
    mend: bool = option(False, "Program the cells that drifted out of the window again.")
    most: float = option(0.5, "Share of drifted cells above which nothing is mended: it is another array, or worse.")
    verify: float = option(0.7, "When mending: share of the window that verify reads must lie within.")
    budget: int = option(120, "When mending: pulses that a cell may take.")
    settle_rows: int = option(8, "When mending: rows later a row is verified again; 0 for never.")


@dataclass(frozen=True)
class HealthRequest:
    """Checked: array, target and the reference's last reads [row, col] in S, the window, whether and how to mend.

    `given_up`: cells that the reference could not program: they are looked at, but not mended. `before` is what a
    resumed run has read already, else None.
    """

    array: int
    reference: str
    target: Floats
    programmed: Floats
    given_up: npt.NDArray[np.bool_]
    manner: Manner
    settle_rows: int
    mend: bool
    most: float
    before: Floats | None = None


def request(o: HealthOptions, station: StationFile) -> HealthRequest:
    """Read the reference run, check options and what mending would send."""
    check_array(o.array, station)
    in_range(o, budget=(1, 100_000), settle_rows=(0, 4096), most=(0, 1), window=(0, 50e-6))
    runs = Path(o.runs).expanduser()
    folder = run_folder(runs, o.reference) if o.reference else _latest(runs, o.array, station)
    with open_run(folder) as run:
        target, programmed, status, tolerance = _reference(run, o.array)
    if target.shape != station.shape[1:]:
        raise RequestError(
            f"run {folder} is of an array of {target.shape}, station {station.name} has {station.shape[1:]}"
        )
    manner = Manner(o.window or tolerance, o.verify, o.budget)
    ProgramRequest(target[None], (o.array,), manner.tolerance, o.verify, o.budget, o.settle_rows).check(
        station.shape, station.limits
    )
    return HealthRequest(
        o.array, str(folder.absolute()), target, programmed, status > 1, manner, o.settle_rows, o.mend, o.most
    )


def _latest(runs: Path, array: int, station: StationFile) -> Path:
    """The latest completed run on this station that programmed the array, among the runs.

    Raises:
        NothingYetError: there is none.
    """
    for header, path in _completed(runs):
        if header.procedure not in ("program", "circle", "generate") or _station(header) != station.name:
            continue
        if array in [int(a) for a in header.parameters.get("arrays", [])]:
            return path
    raise NothingYetError(
        f"no run under {runs} programmed array {array} of station {station.name}; program it first, or give "
        "--reference RUN"
    )


def _station(header: RunHeader) -> str:
    """Name of the station that a run was made on."""
    section = parse_yaml(header.station.encode(), "station file").get("station")
    return str(section.get("name", "")) if isinstance(section, dict) else ""


def _completed(runs: Path) -> Iterator[tuple[RunHeader, Path]]:
    """Completed runs, the latest first."""
    found = []
    for path in runs.glob("*/run.h5"):
        with contextlib.suppress(AnalysisError), open_run(path) as run:
            if run.status == "completed":
                found.append((run.header.started, run.header, path.parent))
    yield from ((header, path) for _, header, path in sorted(found, key=lambda one: one[0], reverse=True))


def _reference(run: RunFile, array: int) -> tuple[Floats, Floats, npt.NDArray[np.int64], float]:
    """Target, last read, cells' verdicts, half window of a run that programmed an array."""
    numbers = [int(a) for a in run.header.parameters.get("arrays", [])]
    if array not in numbers:
        raise RequestError(f"run {run.header.run_id} did not work on array {array}, only on {numbers}")
    k, shape = numbers.index(array), run.header.shape
    target = run.map("conductance_target").reshape(shape)[k]
    if not np.isfinite(target).any():
        raise RequestError(f"run {run.header.run_id} has no targets for array {array}: it programmed nothing there")
    last = np.asarray(run.cells["conductance"]).reshape(shape)[k]
    status = np.asarray(run.cells["status"], dtype=np.int64).reshape(shape)[k]
    manner = run.header.parameters.get("manner", {})
    return target, last, status, float(run.header.parameters.get("tolerance", manner.get("tolerance", 1e-6)))


def resumed(o: HealthOptions, station: StationFile, tables: Tables) -> HealthRequest:
    """The request, with what was read already."""
    asked = request(replace(o, reference=str(tables.header.parameters["reference"])), station)
    if ("data", "health/read") not in tables.arrays:
        return asked
    return replace(asked, before=tables.map("conductance_before")[0])


def work(w: Work[HealthOptions, HealthRequest]) -> None:
    """Read, compare, mend, read again."""
    asked, probe, writer = w.request, Probe(w, w.request.array), w.writer
    probe.begin()
    before = asked.before
    if before is None:
        writer.phase("read")
        before = read_map(probe, asked.target)
        writer.map("conductance_target", asked.target, title="target conductance, of the reference run")
        writer.map("conductance_reference", asked.programmed, title="last read of the reference run")
        writer.map("conductance_before", before, title="conductance as found")
        writer.data("health/read", np.array([probe.instant]), units="s", title="when the array had been read")
    drifted = np.isfinite(before) & (np.abs(before - asked.target) > asked.manner.tolerance)
    w.controls.told("reading the array", 1, 1)
    for row, col in np.argwhere(np.isfinite(before) & ~drifted):
        if writer.state is None or (0, row, col) not in writer.state.finished:
            writer.cell(int(row), int(col), "ok", conductance=float(before[row, col]))
    if not asked.mend:
        return
    to_mend = drifted & ~asked.given_up
    share = to_mend.sum() / max(int((np.isfinite(before) & ~asked.given_up).sum()), 1)
    if share > asked.most:
        raise RequestError(
            f"{share:.0%} of the cells are out of their windows, more than {asked.most:.0%}: this is not the array "
            f"that {asked.reference} programmed, or it needs programming as a whole. No cell was pulsed"
        )
    writer.phase("mend")
    program_cells(
        probe, np.where(to_mend, asked.target, np.nan), asked.manner, settle_rows=asked.settle_rows, record=False
    )
    writer.phase("read again")
    writer.map("conductance_after", read_map(probe, asked.target), title="conductance after mending")


def rows(run: RunFile) -> list[Row]:
    """The closing table: before and after."""
    s = summarise_health(run)
    found = [
        Row("cells", f"{s.cells} with a target; {s.given_up} of them the reference could not program"),
        Row(
            "drifted",
            f"{s.before.outside} of {s.able} outside ±{s.tolerance * 1e6:g} µS; "
            f"error σ {si(s.before.sigma.value, 'S')}, mean {s.before.mean.value * 1e6:+.3f} µS",
        ),
    ]
    if s.after is not None:
        found += [
            Row("mended", f"{s.mended} cells with {s.pulses} pulses; {s.failed} could not be"),
            Row(
                "after",
                f"{s.after.outside} of {s.able} outside; error σ {si(s.after.sigma.value, 'S')}, "
                f"mean {s.after.mean.value * 1e6:+.3f} µS",
            ),
        ]
    worst = ", ".join(f"({r},{c}) {e * 1e6:+.2f} µS" for (r, c), e in s.worst[:8])
    if worst:
        found.append(Row("furthest off as found", worst))
    return found + effort_rows(run)


PROCEDURE = Procedure(
    name="health",
    title="Read a programmed array, find the cells that drifted, and mend only those if asked.",
    options=HealthOptions,
    request=request,
    parameters=parameters,
    work=work,
    report=drawn(draw_health),
    rows=rows,
    resumed=resumed,
)
