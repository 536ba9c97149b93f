"""How many levels a cell can hold: programmed to each in turn, each read at several voltages (paper, Fig. 2d)."""

from dataclasses import dataclass, replace

import numpy as np

from analysis.characterisation.levels import summarise_levels
from analysis.figures.characterisation import draw_levels
from analysis.records import RunFile
from analysis.records.tables import Tables
from instruments.quantity import si
from instruments.station_file import StationFile
from workflows.procedures.characterise.common import (
    chosen_cells,
    drawn,
    effort_rows,
    in_range,
    ladder,
    parameters,
    recorded,
)
from workflows.procedures.characterise.preparing import (
    Manner,
    PreparedOptions,
    check_preparing,
    program_cells,
)
from workflows.procedures.characterise.probe import Place, Probe
from workflows.procedures.options import option
from workflows.procedures.procedure import Procedure, Work
from workflows.tables import Row


@dataclass(frozen=True, kw_only=True)
class LevelOptions(PreparedOptions):
    """Which levels, and how they are read back."""

    cells: int = option(4, "How many cells, spread over the array.")
    levels: int = option(64, "Levels from the lowest to the highest conductance.")
    window: float = option(0.5e-6, "Half width of the window around a level.", unit="S")
    read_from: float = option(0.05, "Lowest voltage of the read-back.", unit="V")
    read_to: float = option(0.3, "Highest voltage of the read-back.", unit="V")
    points: int = option(6, "Voltages of the read-back.")
    repeats: int = option(2, "Reads at each voltage.")


@dataclass(frozen=True)
class LevelRequest:
    """Checked: array, places, levels in S, how to program, read voltages, repeats; `done`: levels kept already."""

    array: int
    cells: tuple[Place, ...]
    levels: tuple[float, ...]
    manner: Manner
    volts: tuple[float, ...]
    repeats: int
    done: frozenset[str] = frozenset()


def request(o: LevelOptions, station: StationFile) -> LevelRequest:
    """Check options, targets and voltages."""
    places = chosen_cells(o, station)
    in_range(o, levels=(2, 4096), points=(2, 100), repeats=(1, 1000), read_from=(0.005, 1.0))
    manner = check_preparing(o, station)
    volts = ladder(o.read_from, o.read_to, o.points)
    for v in volts:
        station.limits.read.check(v, "read voltage")
    levels = tuple(float(g) for g in np.linspace(o.low, o.high, o.levels))
    return LevelRequest(o.array, places, levels, manner, volts, o.repeats)


def resumed(o: LevelOptions, station: StationFile, tables: Tables) -> LevelRequest:
    """The request, with the levels that were kept."""
    return replace(request(o, station), done=recorded(tables))


def work(w: Work[LevelOptions, LevelRequest]) -> None:
    """Level by level: program all cells to it, then read them back."""
    asked, probe = w.request, Probe(w, w.request.array)
    probe.begin()
    w.writer.phase("levels")
    w.writer.data("levels/volts", np.array(asked.volts), units="V", title="voltages of the read-back")
    for k, level in enumerate(asked.levels):
        if f"levels/level_{k}" not in asked.done:
            _level(probe, asked, k, level)
        w.controls.told("levels", k + 1, len(asked.levels))


def _level(probe: Probe, asked: LevelRequest, k: int, level: float) -> None:
    target = np.full(probe.station.file.shape[1:], np.nan)
    for place in asked.cells:
        target[place] = level
    program_cells(probe, target, asked.manner)
    settings = probe.cells.settings
    amps = np.empty((len(asked.cells), len(asked.volts), asked.repeats))
    try:
        for j, volts in enumerate(asked.volts):
            probe.use(replace(settings, volts=volts))
            for i, place in enumerate(asked.cells):
                for repeat in range(asked.repeats):
                    amps[i, j, repeat] = probe.read(place).current
    finally:
        probe.cells.settings = settings
    probe.use(settings)
    probe.writer.data(f"levels/level_{k}", amps, units="A", title=f"read-back of level {k}: [cell, voltage, repeat]")


def rows(run: RunFile) -> list[Row]:
    """The closing table."""
    s = summarise_levels(run)
    found = [Row("levels", f"{s.levels} asked for, {s.low * 1e6:g}..{s.high * 1e6:g} µS, {len(s.cells)} cells")]
    for c in s.cells:
        text = "can't be programmed"
        if c.responsive:
            text = (
                f"{c.discernible} levels told apart by one read (2σ each way), nonlinearity "
                f"{c.nonlinearity.value:.2%}, error σ {si(c.error.value, 'S')}, read σ {si(c.read_sigma, 'S')}"
            )
        found.append(Row(f"cell ({c.place[0]},{c.place[1]})", text))
    return found + effort_rows(run)


PROCEDURE = Procedure(
    name="levels",
    title="Program cells to 64 levels or more, and see how linear and how far apart they are (Fig. 2d).",
    options=LevelOptions,
    request=request,
    parameters=parameters,
    work=work,
    report=drawn(draw_levels),
    rows=rows,
    resumed=resumed,
)
