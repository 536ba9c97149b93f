"""Array errors: an array programmed with a pattern and read back at several times (paper, Fig. 2f and 2g)."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.characterisation.array_errors import summarise_errors
from analysis.figures.characterisation_array import draw_errors
from analysis.records import RunFile
from analysis.records.tables import Tables
from instruments.errors import ConfigError
from instruments.quantity import si, to_si
from instruments.station_file import StationFile
from workflows.errors import RequestError
from workflows.procedures.characterise.common import (
    check_array,
    drawn,
    effort_rows,
    in_range,
    instants,
    parameters,
    recorded,
)
from workflows.procedures.characterise.preparing import Manner, program_cells
from workflows.procedures.characterise.probe import Probe
from workflows.procedures.options import RunOptions, option
from workflows.procedures.patterns import load_pattern
from workflows.procedures.procedure import Procedure, Work
from workflows.procedures.program import ProgramRequest
from workflows.tables import Row

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ErrorOptions(RunOptions):
    """What is programmed, and when it is read."""

    array: int = option(0, "Number of the array on the board.")
    pattern: str = option("moon-star", "moon-star, or a .npy or .csv file of conductances in S.")
    window: float = option(1e-6, "Half width of the window around a target.", unit="S")
    verify: float = option(0.7, "Share of the window that verify reads must lie within.")
    budget: int = option(120, "Pulses that a cell may take.")
    settle_rows: int = option(8, "Rows later a row is verified again; 0 for never.")
    times: str = option("0 s, 1000 s, 10000 s, 100000 s", "When to read, after the last cell was programmed.")


@dataclass(frozen=True)
class ErrorRequest:
    """Checked: array, target [row, col] in S, how to program, instants in s; `done` and `instants`: kept already."""

    array: int
    target: Floats
    manner: Manner
    settle_rows: int
    times: tuple[float, ...]
    done: frozenset[str] = frozenset()
    instants: Any = None


def request(o: ErrorOptions, station: StationFile) -> ErrorRequest:
    """Check options, the pattern and the algorithm's pulses."""
    check_array(o.array, station)
    in_range(o, budget=(1, 100_000), settle_rows=(0, 4096))
    target = load_pattern(o.pattern, *station.shape[1:])
    manner = Manner(o.window, o.verify, o.budget)
    whole = ProgramRequest(target[None], (o.array,), o.window, o.verify, o.budget, o.settle_rows)
    whole.check(station.shape, station.limits)
    try:
        times = tuple(to_si(text.strip(), "s", what="time") for text in o.times.split(",") if text.strip())
    except ConfigError as error:
        raise RequestError(str(error)) from error
    if not times or list(times) != sorted(set(times)) or times[0] < 0:
        raise RequestError(f"times {o.times!r}: give instants from 0 s on, rising, such as '0 s, 100 s'")
    return ErrorRequest(o.array, target, manner, o.settle_rows, times)


def resumed(o: ErrorOptions, station: StationFile, tables: Tables) -> ErrorRequest:
    """The request, with the targets as they were, and what was kept."""
    target = tables.map("conductance_target")[0]
    asked = request(o, station)
    if np.isfinite(target).any():
        asked = replace(asked, target=target)
    return replace(asked, done=recorded(tables), instants=instants(tables, "begin/"))


def work(w: Work[ErrorOptions, ErrorRequest]) -> None:
    """Program, then read at each time."""
    asked, probe = w.request, Probe(w, w.request.array)
    probe.begin()
    if "begin/all" in asked.done:
        origin = float(asked.instants["begin/all"])
    else:
        w.writer.phase("program")
        program_cells(probe, asked.target, asked.manner, settle_rows=asked.settle_rows)
        origin = probe.instant
        w.writer.data("begin/all", np.array([origin]), units="s", title="when the last cell had its target")
    w.writer.phase("watch")
    for k, delay in enumerate(asked.times):
        if f"errors/time_{k}" not in asked.done:
            probe.wait_until(origin + delay)
            w.controls.around(f"read after {si(delay, 's')}", partial(_read, probe, asked, k, origin))
        w.controls.told("reading the array", k + 1, len(asked.times))


def _read(probe: Probe, asked: ErrorRequest, k: int, origin: float) -> None:
    began = probe.instant - origin
    found = read_map(probe, asked.target)
    probe.writer.map(f"conductance_time_{k}", found, title=f"conductance {si(asked.times[k], 's')} after programming")
    probe.writer.data(
        f"errors/time_{k}", np.array([began, probe.instant - origin]), units="s", title="first and last read"
    )


def read_map(probe: Probe, target: Floats) -> Floats:
    """Read every cell that has a target: S, [row, col], NaN elsewhere."""
    found = np.full_like(target, np.nan)
    for row, col in np.argwhere(np.isfinite(target)):
        found[row, col] = probe.read((int(row), int(col))).conductance
    return found


def rows(run: RunFile) -> list[Row]:
    """The closing table."""
    s = summarise_errors(run)
    found = [Row("cells", f"{s.cells} programmed, {s.given_up} given up")]
    for t in s.times:
        found.append(
            Row(
                f"after {si(t.age, 's')}",
                f"relative error {t.relative_mean.value:+.2%}, σ {t.relative_sigma.value:.2%} ± "
                f"{t.relative_sigma.error:.2%}; error σ {t.sigma.value * 1e6:.3f} µS; "
                f"{t.inside:.1%} within the window, skewness {t.skewness:+.2f}, excess kurtosis {t.kurtosis:+.2f}",
            )
        )
    if s.growth is not None:
        found.append(Row("spread, last over first", f"{s.growth.value:.3f} ± {s.growth.error:.3f}"))
    return found + effort_rows(run)


PROCEDURE = Procedure(
    name="array-errors",
    title="Program an array and read its errors at several times (Fig. 2f, 2g).",
    options=ErrorOptions,
    request=request,
    parameters=parameters,
    work=work,
    report=drawn(draw_errors),
    rows=rows,
    resumed=resumed,
)
