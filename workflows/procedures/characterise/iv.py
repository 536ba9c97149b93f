"""Quasi-static I-V: SET by the bit line, RESET by the source line, both positive, hundreds of times (paper, Fig. 2c).

The sweeps are the analyzer's own staircase sweep measurements (MM 2, WV), so that no message passes between two levels.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from analysis.characterisation.iv import summarise_iv
from analysis.figures.characterisation import draw_iv
from analysis.records import RunFile
from analysis.records.tables import Tables
from instruments.quantity import si
from instruments.staircase import Sweep
from instruments.station_file import StationFile
from workflows.errors import RequestError
from workflows.procedures.characterise.common import (
    CellOptions,
    between,
    cell_name,
    chosen_cells,
    drawn,
    effort_rows,
    in_range,
    parameters,
    recorded,
)
from workflows.procedures.characterise.probe import Place, Probe
from workflows.procedures.options import option
from workflows.procedures.procedure import Procedure, Work
from workflows.tables import Row

LONGEST = 5.0
"""s a sweep may take: its reply must come before the analyzer's time-out."""


@dataclass(frozen=True, kw_only=True)
class IvOptions(CellOptions):
    """Which sweeps, and how many."""

    cells: int = option(1, "How many cells, spread over the array.")
    cycles: int = option(200, "SET and RESET sweeps of each cell.")
    set_volts: float = option(1.5, "Peak on the bit line.", unit="V")
    reset_volts: float = option(1.5, "Peak on the source line; the cell sees it as negative.", unit="V")
    set_gate: float = option(1.4, "Word line in SET sweeps.", unit="V")
    reset_gate: float = option(3.0, "Word line in RESET sweeps.", unit="V")
    set_compliance: float = option(200e-6, "Current limit of SET sweeps.", unit="A")
    reset_compliance: float = option(1e-3, "Current limit of RESET sweeps.", unit="A")
    steps: int = option(31, "Levels from 0 V to the peak.")
    delay: float = option(1e-3, "From a level to its measurement.", unit="s")
    block: int = option(20, "Cycles kept at a time: what a resumed run may have to repeat.")


@dataclass(frozen=True)
class IvRequest:
    """Checked: array, places, cycles, cycles a block, the two sweeps; `done`: blocks kept already."""

    array: int
    cells: tuple[Place, ...]
    cycles: int
    block: int
    set: Sweep
    reset: Sweep
    done: frozenset[str] = frozenset()


def request(o: IvOptions, station: StationFile) -> IvRequest:
    """Check options, wiring and both sweeps against the limits."""
    places = chosen_cells(o, station)
    in_range(o, cycles=(1, 100_000), steps=(5, 2000), delay=(0, 1), block=(1, 1000))
    missing = [name for name, line in station.lines.items() if line.smu is None]
    if missing:
        raise RequestError(
            f"station {station.name} has no SMU on its {missing[0].replace('_', ' ')}; sweeps need one on every line"
        )
    sweeps = (
        Sweep("set", o.set_volts, o.set_gate, o.set_compliance, o.steps, o.delay),
        Sweep("reset", o.reset_volts, o.reset_gate, o.reset_compliance, o.steps, o.delay),
    )
    for one in sweeps:
        if one.peak <= 0 or one.compliance <= 0:
            raise RequestError("peaks and compliances of sweeps must be more than 0")
        one.check(station.limits)
        if (seconds := 2 * one.steps * one.dwell) > LONGEST:
            raise RequestError(f"a sweep would take {si(seconds, 's')}; ask for fewer steps or a shorter delay")
    return IvRequest(o.array, places, o.cycles, o.block, *sweeps)


def resumed(o: IvOptions, station: StationFile, tables: Tables) -> IvRequest:
    """The request, with the blocks that were kept."""
    return replace(request(o, station), done=recorded(tables))


def work(w: Work[IvOptions, IvRequest]) -> None:
    """Cell by cell, block by block: SET sweep, RESET sweep."""
    asked, probe = w.request, Probe(w, w.request.array)
    probe.begin()
    w.writer.phase("sweep")
    if "iv/volts" not in asked.done:
        volts = np.stack([asked.set.volts, -asked.reset.volts])
        w.writer.data("iv/volts", volts, units="V", title="across the cell in SET and RESET sweeps")
    blocks = [
        (place, first) for place in asked.cells for first in range(0, asked.cycles, asked.block)
    ]  # fmt: skip
    for number, (place, first) in enumerate(blocks):
        if f"iv/{cell_name(place)}/from_{first}" not in asked.done:
            w.controls.around(f"sweep cell {place} from cycle {first}", partial(_block, probe, asked, place, first))
        w.controls.told("sweeping", number + 1, len(blocks))
    probe.rest()


def _block(probe: Probe, asked: IvRequest, place: Place, first: int) -> None:
    count = min(asked.block, asked.cycles - first)
    amps = np.full((count, 2, 2 * asked.set.steps), np.nan, dtype=np.float32)
    limited = np.zeros(amps.shape, dtype=np.bool_)
    for cycle in range(count):
        for k, plan in enumerate((asked.set, asked.reset)):
            curve = probe.sweep(place, plan)
            if curve is not None:
                amps[cycle, k], limited[cycle, k] = (1 - 2 * k) * curve.amps, curve.limited
    name = f"iv/{cell_name(place)}"
    probe.writer.data(f"{name}/limited_{first}", limited, title="where the compliance held the current")
    # Last, because this is what says that the block is finished.
    probe.writer.data(
        f"{name}/from_{first}", amps, units="A", title="current through the cell, [cycle, SET or RESET, level]"
    )


def rows(run: RunFile) -> list[Row]:
    """The closing table."""
    s = summarise_iv(run)
    found = [Row("cycles", f"{s.cycles} of each of {len(s.cells)} cells")]
    for c in s.cells:
        found.append(
            Row(
                f"cell ({c.place[0]},{c.place[1]})",
                f"SET at {between(c.set_volts.value, c.set_volts.error, 'V')} (σ {si(c.set_sigma.value, 'V')}), RESET "
                f"at {between(c.reset_volts.value, c.reset_volts.error, 'V')} (σ {si(c.reset_sigma.value, 'V')}), "
                f"on {si(c.on.value, 'S')}, off {si(c.off.value, 'S')}, on/off {c.ratio:.1f}, "
                f"{c.switched:.1%} of the cycles switched",
            )
        )
    return found + effort_rows(run)


PROCEDURE = Procedure(
    name="iv",
    title="Sweep cells quasi-statically, SET and RESET in turn (Fig. 2c).",
    options=IvOptions,
    request=request,
    parameters=parameters,
    work=work,
    report=drawn(draw_iv),
    rows=rows,
    resumed=resumed,
)
