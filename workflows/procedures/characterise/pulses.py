"""Pulse response: what one SET or RESET pulse does, by its amplitude, gate and width, from the same state each time.

Ladders like those of Merced-Grafals 2016 (TaOx 1T1R, gate and amplitude ramps); before each pulse under test a cell is
brought to its low state (for SET) or its high state (for RESET) by a strong pulse, and read.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from analysis.characterisation.pulses import LADDERS, summarise_pulses
from analysis.figures.characterisation import draw_pulses
from analysis.records import RunFile
from analysis.records.tables import Tables
from instruments.station_file import StationFile
from workflows.procedures.characterise.common import (
    CellOptions,
    between,
    cell_name,
    chosen_cells,
    drawn,
    effort_rows,
    in_range,
    ladder,
    log_ladder,
    ordered,
    parameters,
    recorded,
)
from workflows.procedures.characterise.probe import Place, Probe, Pulse
from workflows.procedures.options import option
from workflows.procedures.procedure import Procedure, Work
from workflows.tables import Row


@dataclass(frozen=True, kw_only=True)
class PulseOptions(CellOptions):
    """Which ladders."""

    repeats: int = option(3, "Times that each step of a ladder is done.")
    set_from: float = option(0.8, "First amplitude of the SET ladder.", unit="V")
    set_to: float = option(2.2, "Last amplitude of the SET ladder.", unit="V")
    reset_from: float = option(0.8, "First amplitude of the RESET ladder.", unit="V")
    reset_to: float = option(2.0, "Last amplitude of the RESET ladder.", unit="V")
    volts_steps: int = option(15, "Steps of the amplitude ladders.")
    gate_from: float = option(0.7, "First gate of the gate ladder.", unit="V")
    gate_to: float = option(1.4, "Last gate of the gate ladder.", unit="V")
    gate_steps: int = option(8, "Steps of the gate ladder.")
    width_from: float = option(100e-9, "First width of the width ladders.", unit="s")
    width_to: float = option(100e-6, "Last width of the width ladders.", unit="s")
    width_steps: int = option(7, "Steps of the width ladders.")
    set_at: float = option(1.35, "SET amplitude in the width ladder.", unit="V")
    reset_at: float = option(1.25, "RESET amplitude in the width ladder.", unit="V")
    gate: float = option(1.2, "Gate of SET pulses under test, but in the gate ladder.", unit="V")
    high_gate: float = option(1.3, "Gate of the strong SET that prepares the high state.", unit="V")
    reset_gate: float = option(3.0, "Gate of RESET pulses: transistor fully on.", unit="V")
    width: float = option(1e-6, "Width of pulses, but in the width ladders.", unit="s")


@dataclass(frozen=True)
class PulseRequest:
    """Checked: array, places, steps (ladder, repeat, pulse), strong pulses that prepare; `done`: cells kept already."""

    array: int
    cells: tuple[Place, ...]
    steps: tuple[tuple[int, int, Pulse], ...]
    to_low: Pulse
    to_high: Pulse
    done: frozenset[str] = frozenset()


def request(o: PulseOptions, station: StationFile) -> PulseRequest:
    """Check options and every pulse of every ladder against the limits."""
    places = chosen_cells(o, station)
    in_range(o, repeats=(1, 1000), volts_steps=(2, 200), gate_steps=(2, 200), width_steps=(2, 100))
    ordered(o.set_from, o.set_to, "SET amplitudes", "V")
    ordered(o.reset_from, o.reset_to, "RESET amplitudes", "V")
    ordered(o.gate_from, o.gate_to, "gates", "V")
    ordered(o.width_from, o.width_to, "widths", "s")
    widths = log_ladder(o.width_from, o.width_to, o.width_steps)
    ladders: dict[str, list[Pulse]] = {
        "set_volts": [Pulse("set", v, o.gate, o.width) for v in ladder(o.set_from, o.set_to, o.volts_steps)],
        "set_gate": [Pulse("set", o.set_to, g, o.width) for g in ladder(o.gate_from, o.gate_to, o.gate_steps)],
        "set_width": [Pulse("set", o.set_at, o.gate, t) for t in widths],
        "reset_volts": [
            Pulse("reset", v, o.reset_gate, o.width) for v in ladder(o.reset_from, o.reset_to, o.volts_steps)
        ],
        "reset_width": [Pulse("reset", o.reset_at, o.reset_gate, t) for t in widths],
    }
    to_low = Pulse("reset", o.reset_to, o.reset_gate, o.width)
    to_high = Pulse("set", o.set_to, o.high_gate, o.width)
    limits = station.limits
    for one in (*(p for steps in ladders.values() for p in steps), to_low, to_high):
        line = limits.bit_line if one.kind == "set" else limits.source_line
        line.check(one.volts, f"{one.kind.upper()} pulse")
        limits.word_line.check(one.gate, f"gate of a {one.kind.upper()} pulse")
        limits.pulse_width.check(one.width, f"width of a {one.kind.upper()} pulse")
    steps = tuple((LADDERS.index(name), k, p) for name, ps in ladders.items() for k in range(o.repeats) for p in ps)
    return PulseRequest(o.array, places, steps, to_low, to_high)


def resumed(o: PulseOptions, station: StationFile, tables: Tables) -> PulseRequest:
    """The request, with the cells that are finished."""
    return replace(request(o, station), done=recorded(tables))


def work(w: Work[PulseOptions, PulseRequest]) -> None:
    """Cell by cell, all ladders."""
    asked, probe = w.request, Probe(w, w.request.array)
    probe.begin()
    w.writer.phase("pulse")
    for number, place in enumerate(asked.cells):
        if f"response/{cell_name(place)}" not in asked.done:
            w.controls.around(f"pulse cell {place}", partial(_cell, probe, asked, place))
        w.controls.told("pulsing", number + 1, len(asked.cells))


def _cell(probe: Probe, asked: PulseRequest, place: Place) -> None:
    table = np.full((len(asked.steps), 7), np.nan)
    probe.read(place)
    for k, (kind, repeat, pulse) in enumerate(asked.steps):
        before = probe.train(place, [asked.to_low if pulse.kind == "set" else asked.to_high])
        known = probe.pulse(place, pulse)
        after = probe.read(place).conductance
        if known:
            table[k] = kind, repeat, pulse.volts, pulse.gate, pulse.width, before, after
    probe.writer.data(
        f"response/{cell_name(place)}",
        table,
        title="a row a pulse: ladder, repeat, amplitude (V), gate (V), width (s), conductance before and after (S)",
    )


def rows(run: RunFile) -> list[Row]:
    """The closing table."""
    s = summarise_pulses(run)
    found = [Row("cells", f"{len(s.cells)} of {s.asked}, of which {s.responsive} respond to pulses")]
    if s.responsive:
        found += [
            Row("SET begins at", f"{between(s.set_threshold.value, s.set_threshold.error, 'V')} (half way, 1 pulse)"),
            Row("RESET begins at", f"{between(s.reset_threshold.value, s.reset_threshold.error, 'V')} (half way)"),
            Row("spread over cells", f"SET {s.set_sigma.value * 1e3:.0f} mV, RESET {s.reset_sigma.value * 1e3:.0f} mV"),
            Row("gate slope", f"{s.gate_slope.value * 1e6:.1f} ± {s.gate_slope.error * 1e6:.1f} µS/V"),
            Row("gate threshold", between(s.gate_threshold.value, s.gate_threshold.error, "V")),
            Row("cycle to cycle", f"SET {s.set_repeat.value * 1e6:.2f} µS at the strongest pulse"),
        ]
    return found + effort_rows(run)


PROCEDURE = Procedure(
    name="pulses",
    title="Pulse response: SET and RESET against amplitude, gate and width.",
    options=PulseOptions,
    request=request,
    parameters=parameters,
    work=work,
    report=drawn(draw_pulses),
    rows=rows,
    resumed=resumed,
)
