"""Disturb: what pulses on one cell do to its neighbours, and what reading does to the cell that is read.

Around each aggressor, cells of its row (which share word and source line), of its column (which share the bit line) and
others that share nothing with it are programmed to one level; the last tell relaxation from disturb.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from analysis.characterisation.disturb import GROUPS, summarise_disturb
from analysis.figures.characterisation_time import draw_disturb
from analysis.records import RunFile
from analysis.records.tables import Tables
from instruments.quantity import si
from instruments.station_file import StationFile
from workflows.errors import RequestError
from workflows.procedures.characterise.common import (
    cell_name,
    chosen_cells,
    drawn,
    effort_rows,
    in_range,
    log_counts,
    parameters,
    recorded,
)
from workflows.procedures.characterise.preparing import (
    Manner,
    PreparedOptions,
    check_preparing,
    program_cells,
)
from workflows.procedures.characterise.probe import Place, Probe, Pulse
from workflows.procedures.options import option
from workflows.procedures.procedure import Procedure, Work
from workflows.tables import Row


@dataclass(frozen=True, kw_only=True)
class DisturbOptions(PreparedOptions):
    """Aggressors, neighbours, and what is done to them."""

    cells: int = option(2, "How many aggressors, spread over the array.")
    level: float = option(60e-6, "Conductance that the neighbours are programmed to.", unit="S")
    neighbours: int = option(6, "Cells of the row, of the column, and of neither, around each aggressor.")
    pulses: int = option(1000, "RESET pulses, and then SET pulses, on each aggressor.")
    reads: int = option(1000, "Reads of a cell in the read-disturb test.")
    per_decade: int = option(2, "Looks a decade of pulses or reads.")
    reset_volts: float = option(2.0, "Amplitude of RESET pulses.", unit="V")
    reset_gate: float = option(3.0, "Gate of RESET pulses.", unit="V")
    set_volts: float = option(2.2, "Amplitude of SET pulses.", unit="V")
    set_gate: float = option(1.2, "Gate of SET pulses.", unit="V")
    width: float = option(1e-6, "Width of all pulses.", unit="s")
    read_volts: float = option(0.3, "Read voltage of the read-disturb test.", unit="V")


@dataclass(frozen=True)
class Neighbourhood:
    """An aggressor and the cells watched: (group, place), group as in `GROUPS`."""

    aggressor: Place
    victims: tuple[tuple[int, Place], ...]


@dataclass(frozen=True)
class DisturbRequest:
    """Checked: array, neighbourhoods, level (S), how to program, counts of looks, pulses; `done`: kept already."""

    array: int
    cells: tuple[Neighbourhood, ...]
    level: float
    manner: Manner
    looks: tuple[int, ...]
    read_looks: tuple[int, ...]
    reset: Pulse
    set: Pulse
    read_volts: float
    done: frozenset[str] = frozenset()


def request(o: DisturbOptions, station: StationFile) -> DisturbRequest:
    """Check options, the level and both pulses."""
    _, rows, cols = station.shape
    in_range(o, neighbours=(1, 512), pulses=(1, 10_000_000), reads=(1, 10_000_000), per_decade=(1, 100))
    places = chosen_cells(o, station)
    if min(rows, cols) <= o.neighbours:
        raise RequestError(f"neighbours must be less than {min(rows, cols)} on arrays of {rows}x{cols}")
    manner = check_preparing(replace(o, low=o.level, high=o.level), station)
    limits = station.limits
    limits.bit_line.check(o.set_volts, "SET pulse")
    limits.source_line.check(o.reset_volts, "RESET pulse")
    for gate in (o.set_gate, o.reset_gate):
        limits.word_line.check(gate, "gate of a pulse")
    limits.pulse_width.check(o.width, "width of a pulse")
    limits.read.check(o.read_volts, "read voltage of the read-disturb test")
    around = tuple(Neighbourhood(place, _victims(place, o.neighbours, rows, cols)) for place in places)
    return DisturbRequest(
        o.array, around, o.level, manner, log_counts(1, o.pulses, o.per_decade), log_counts(1, o.reads, o.per_decade),
        Pulse("reset", o.reset_volts, o.reset_gate, o.width), Pulse("set", o.set_volts, o.set_gate, o.width),
        o.read_volts,
    )  # fmt: skip


def _victims(place: Place, count: int, rows: int, cols: int) -> tuple[tuple[int, Place], ...]:
    """The nearest cells after the aggressor, wrapping around the array's edges."""
    row, col = place
    return tuple(
        victim
        for k in range(1, count + 1)
        for victim in (
            (0, (row, (col + k) % cols)), (1, ((row + k) % rows, col)), (2, ((row + k) % rows, (col + k) % cols)),
        )
    )  # fmt: skip


def resumed(o: DisturbOptions, station: StationFile, tables: Tables) -> DisturbRequest:
    """The request, with the tests that were kept."""
    return replace(request(o, station), done=recorded(tables))


def work(w: Work[DisturbOptions, DisturbRequest]) -> None:
    """Aggressor by aggressor: prepare, RESET pulses; prepare, SET pulses; then reads."""
    asked, probe = w.request, Probe(w, w.request.array)
    probe.begin()
    for number, around in enumerate(asked.cells):
        for pulse in (asked.reset, asked.set):
            name = f"disturb/{cell_name(around.aggressor)}/{pulse.kind}"
            if name not in asked.done:
                w.writer.phase(f"{pulse.kind} beside {around.aggressor}")
                _prepare(probe, asked, around)
                w.controls.around(name, partial(_pulses, probe, asked, around, pulse, name))
        name = f"disturb/{cell_name(around.aggressor)}/read"
        if name not in asked.done:
            w.writer.phase(f"read beside {around.aggressor}")
            w.controls.around(name, partial(_reads, probe, asked, around, name))
        w.controls.told("disturb", number + 1, len(asked.cells))


def _prepare(probe: Probe, asked: DisturbRequest, around: Neighbourhood) -> None:
    target = np.full(probe.station.file.shape[1:], np.nan)
    for _, place in around.victims:
        target[place] = asked.level
    # Neighbours are needed anew for each test: verdicts of the one before don't count.
    probe.writer.map("conductance_target", np.full_like(target, np.nan), title="none between two tests")
    program_cells(probe, target, asked.manner, anew=True)


def _look(probe: Probe, around: Neighbourhood) -> list[float]:
    return [probe.read(place).conductance for _, place in around.victims]


def _pulses(probe: Probe, asked: DisturbRequest, around: Neighbourhood, pulse: Pulse, name: str) -> None:
    table = [[0.0, *_look(probe, around)]]
    probe.read(around.aggressor)
    given = 0
    for look in asked.looks:
        for _ in range(look - given):
            probe.pulse(around.aggressor, pulse)
        given = look
        table.append([float(look), *_look(probe, around)])
    title = f"a row a look: {pulse.kind.upper()} pulses on the aggressor so far, then each neighbour's conductance (S)"
    probe.writer.data(name, np.array(table), title=title)


def _reads(probe: Probe, asked: DisturbRequest, around: Neighbourhood, name: str) -> None:
    """Reads of the first cell that shares nothing with the aggressor."""
    place = next(p for group, p in around.victims if GROUPS[group] == "neither")
    usual = probe.cells.settings
    table = [[0.0, probe.read(place).conductance]]
    given = 0
    try:
        for look in asked.read_looks:
            probe.use(replace(usual, volts=asked.read_volts))
            for _ in range(look - given):
                probe.read(place)
            given = look
            probe.use(usual)
            table.append([float(look), probe.read(place).conductance])
    finally:
        probe.cells.settings = usual
    title = "a row a look: reads so far, then the conductance at the usual read voltage (S)"
    probe.writer.data(name, np.array(table), title=title)


def rows(run: RunFile) -> list[Row]:
    """The closing table."""
    s = summarise_disturb(run)
    found = []
    for t in s.tests:
        found.append(
            Row(
                f"{t.count} {t.kind.upper()} pulses" if t.kind != "read" else f"{t.count} reads",
                f"{t.group}: {t.shift.value * 1e6:+.3f} ± {t.shift.error * 1e6:.3f} µS"
                + (f", {si(t.per_pulse.value, 'S')} a pulse" if t.significant else ", no effect seen"),
            )
        )
    return found + effort_rows(run)


PROCEDURE = Procedure(
    name="disturb",
    title="Read disturb, and what pulses do to half-selected neighbours.",
    options=DisturbOptions,
    request=request,
    parameters=parameters,
    work=work,
    report=drawn(draw_disturb),
    rows=rows,
    resumed=resumed,
)
