"""Retention: programmed cells read again on a schedule even in the logarithm of time (paper, Fig. 2e).

Each cell is first watched alone, right after it was programmed, for the relaxation of its first seconds; then all are
left alone together, without drive, and read at each instant of the long schedule.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from analysis.characterisation.retention import summarise_retention
from analysis.figures.characterisation_time import draw_retention
from analysis.records import RunFile
from analysis.records.tables import Tables
from instruments.quantity import si
from instruments.station_file import StationFile
from workflows.procedures.characterise.common import (
    cell_name,
    chosen_cells,
    drawn,
    effort_rows,
    in_range,
    instants,
    ordered,
    parameters,
    recorded,
)
from workflows.procedures.characterise.preparing import (
    Floats,
    Manner,
    PreparedOptions,
    check_preparing,
    program_cells,
    spread_targets,
)
from workflows.procedures.characterise.probe import Place, Probe
from workflows.procedures.options import option
from workflows.procedures.procedure import Procedure, Work
from workflows.tables import Row

FIRST_LOOK = 0.1
"""s after it was programmed at which a cell is first looked at."""


@dataclass(frozen=True, kw_only=True)
class RetentionOptions(PreparedOptions):
    """Which cells, and when they are read."""

    cells: int = option(64, "How many cells, spread over the array.")
    levels: int = option(8, "How many levels they are programmed to.")
    alone: float = option(10.0, "How long each cell is watched alone after it was programmed; 0 for not.", unit="s")
    start: float = option(30.0, "First instant of the schedule, after the last cell was programmed.", unit="s")
    end: float = option(1e6, "Last instant of the schedule.", unit="s")
    per_decade: int = option(4, "Instants a decade of time.")
    average: int = option(2, "Reads averaged at each instant.")


@dataclass(frozen=True)
class RetentionRequest:
    """Checked: array, places, how to program to which levels (S), instants in s.

    In a resumed run `done` names the data kept already, and `instants` has what happened when, on `Probe.instant`'s
    scale: "begin/all" the schedule, "begin/r<row>_c<col>" a cell's programming.
    """

    array: int
    cells: tuple[Place, ...]
    manner: Manner
    low: float
    high: float
    levels: int
    alone: tuple[float, ...]
    schedule: tuple[float, ...]
    average: int
    done: frozenset[str] = frozenset()
    instants: Mapping[str, float] = field(default_factory=dict)


def request(o: RetentionOptions, station: StationFile) -> RetentionRequest:
    """Check options and targets."""
    places = chosen_cells(o, station)
    in_range(o, levels=(1, 1024), alone=(0, 1e4), start=(0.1, 1e8), end=(1, 1e9), per_decade=(1, 50), average=(1, 1000))
    ordered(o.start, o.end, "schedule", "s")
    manner = check_preparing(o, station)
    decades = np.log10(o.end / o.start)
    schedule = np.geomspace(o.start, o.end, max(2, round(decades * o.per_decade) + 1))
    alone: Floats = np.empty(0)
    if o.alone > FIRST_LOOK:
        looks = max(2, round(np.log10(o.alone / FIRST_LOOK) * o.per_decade) + 1)
        alone = np.geomspace(FIRST_LOOK, o.alone, looks)
    return RetentionRequest(
        o.array, places, manner, o.low, o.high, o.levels, tuple(float(t) for t in alone),
        tuple(float(t) for t in schedule), o.average,
    )  # fmt: skip


def resumed(o: RetentionOptions, station: StationFile, tables: Tables) -> RetentionRequest:
    """The request, with the instants that were kept."""
    return replace(request(o, station), done=recorded(tables), instants=instants(tables, "begin/"))


def work(w: Work[RetentionOptions, RetentionRequest]) -> None:
    """Program and watch each cell, then follow the schedule."""
    asked, probe = w.request, Probe(w, w.request.array)
    probe.begin()
    w.writer.phase("program")
    shape = w.station.file.shape[1:]
    target = spread_targets(asked.cells, asked.low, asked.high, asked.levels, shape)
    if "begin/all" not in asked.done:
        if w.writer.state is None or "conductance_target" not in w.writer.state.maps:
            w.writer.map("conductance_target", target, title="target conductance")
        for number, place in enumerate(asked.cells):
            if f"relaxation/{cell_name(place)}" not in asked.done:
                _program_and_watch(probe, asked, target, place)
            w.controls.told("programming", number + 1, len(asked.cells))
        origin = probe.instant
        w.writer.data("begin/all", np.array([origin]), units="s", title="when the schedule began")
    else:
        origin = asked.instants["begin/all"]
    w.writer.phase("retain")
    for k, delay in enumerate(asked.schedule):
        if f"retention/point_{k}" not in asked.done:
            probe.wait_until(origin + delay)
            w.controls.around(f"read after {si(delay, 's')}", partial(_point, probe, asked, k, origin))
        w.controls.told("retention", k + 1, len(asked.schedule))


def _program_and_watch(probe: Probe, asked: RetentionRequest, target: Floats, place: Place) -> None:
    only = np.full_like(target, np.nan)
    only[place] = target[place]
    name = f"begin/{cell_name(place)}"
    if name in asked.instants:  # a resumed run: only the watching is left
        began = asked.instants[name]
    else:
        program_cells(probe, only, asked.manner, record=False)
        began = probe.instant
        probe.writer.data(name, np.array([began]), units="s", title="when the cell had its target")
    found = np.empty((2, len(asked.alone)))
    for k, delay in enumerate(asked.alone):
        probe.wait_until(began + delay)
        found[:, k] = probe.instant - began, _average(probe, place, asked.average)
    probe.writer.data(
        f"relaxation/{cell_name(place)}", found,
        title="seconds since the cell had its target, and reads (S)",
    )  # fmt: skip


def _average(probe: Probe, place: Place, count: int) -> float:
    return float(np.mean([probe.read(place).conductance for _ in range(count)]))


def _point(probe: Probe, asked: RetentionRequest, k: int, origin: float) -> None:
    found = np.empty((2, len(asked.cells)))
    for i, place in enumerate(asked.cells):
        found[:, i] = probe.instant - origin, _average(probe, place, asked.average)
    probe.writer.data(f"retention/point_{k}", found, title="seconds since the schedule began, and reads (S), [cell]")


def rows(run: RunFile) -> list[Row]:
    """The closing table."""
    s = summarise_retention(run)
    found = [Row("watched", f"{s.cells} cells of {s.asked}, {si(s.ages[-1], 's') if len(s.ages) else 'not at all'}")]
    for p in s.milestones:
        found.append(
            Row(
                f"drift after {si(p.age, 's')}",
                f"mean {p.mean.value * 1e6:+.3f} ± {p.mean.error * 1e6:.3f} µS, σ {p.sigma.value * 1e6:.3f} ± "
                f"{p.sigma.error * 1e6:.3f} µS; {p.inside:.1%} within the window",
            )
        )
    found.append(
        Row("law of the mean", f"{s.mean_slope.value * 1e9:+.1f} ± {s.mean_slope.error * 1e9:.1f} nS per ln t")
    )
    found.append(
        Row(
            "law of σ, net of read noise",
            f"{s.sigma_slope.value * 1e9:.1f} ± {s.sigma_slope.error * 1e9:.1f} nS per ln t",
        )
    )
    return found + effort_rows(run)


PROCEDURE = Procedure(
    name="retention",
    title="Read programmed cells on a schedule even in log time, to 1e6 s and beyond (Fig. 2e).",
    options=RetentionOptions,
    request=request,
    parameters=parameters,
    work=work,
    report=drawn(draw_retention),
    rows=rows,
    resumed=resumed,
)
