"""Forming: a pristine cell's first, lasting change, by a gate ramp under a held bit line, each pulse verified.

Constants after NI-RRAM-Python, which forms real 1T1R chips so: word line 1.3 to 4 V, bit line 3.3 V, pulses of 1 ms.
"""

from dataclasses import dataclass, replace
from functools import partial

from analysis.characterisation.forming import summarise_forming
from analysis.figures.characterisation import draw_forming
from analysis.records import RunFile
from analysis.records.tables import Tables
from instruments.quantity import si
from instruments.station_file import StationFile
from workflows.procedures.characterise.common import (
    CellOptions,
    between,
    chosen_cells,
    drawn,
    effort_rows,
    in_range,
    ladder,
    ordered,
    parameters,
)
from workflows.procedures.characterise.probe import Place, Probe, Pulse
from workflows.procedures.options import option
from workflows.procedures.procedure import Procedure, Work
from workflows.tables import Row


@dataclass(frozen=True, kw_only=True)
class FormingOptions(CellOptions):
    """What to form and how."""

    cells: int = option(64, "How many cells, spread over the array; 0 for all.")
    volts: float = option(3.3, "Bit line during a pulse.", unit="V")
    gate_from: float = option(1.3, "Word line of the first pulse.", unit="V")
    gate_to: float = option(4.0, "Word line of the last pulse.", unit="V")
    steps: int = option(28, "Pulses from the first gate to the last.")
    width: float = option(1e-3, "Length of a pulse.", unit="s")
    formed: float = option(20e-6, "Conductance from which a cell counts as formed.", unit="S")


@dataclass(frozen=True)
class FormingRequest:
    """Checked: array, places, the ramp, the threshold in S; `done`: cells that have their verdict."""

    array: int
    cells: tuple[Place, ...]
    pulses: tuple[Pulse, ...]
    formed: float
    done: frozenset[Place] = frozenset()


def request(o: FormingOptions, station: StationFile) -> FormingRequest:
    """Check options and every pulse of the ramp against the limits."""
    _, rows, cols = station.shape
    places = chosen_cells(replace(o, cells=o.cells or rows * cols), station)
    in_range(o, steps=(2, 1000), formed=(1e-6, 200e-6))
    ordered(o.gate_from, o.gate_to, "gate ramp", "V")
    limits = station.limits
    limits.bit_line.check(o.volts, "bit line when forming")
    for gate in (o.gate_from, o.gate_to):
        limits.word_line.check(gate, "gate when forming")
    limits.pulse_width.check(o.width, "width of a forming pulse")
    ramp = tuple(Pulse("form", o.volts, gate, o.width) for gate in ladder(o.gate_from, o.gate_to, o.steps))
    return FormingRequest(o.array, places, ramp, o.formed)


def resumed(o: FormingOptions, station: StationFile, tables: Tables) -> FormingRequest:
    """The request, with the cells that have their verdict."""
    status = tables.cells()["status"].reshape(station.shape[1:])
    asked = request(o, station)
    return replace(asked, done=frozenset(place for place in asked.cells if status[place]))


def work(w: Work[FormingOptions, FormingRequest]) -> None:
    """Form cell by cell: read, then pulse and read up the ramp until it conducts."""
    asked, probe = w.request, Probe(w, w.request.array)
    probe.begin()
    w.writer.phase("form")
    for number, place in enumerate(asked.cells):
        if place not in asked.done:
            w.controls.around(f"form cell {place}", partial(_form, probe, asked, place))
        w.controls.told("forming", number + 1, len(asked.cells))


def _form(probe: Probe, asked: FormingRequest, place: Place) -> None:
    g = probe.read(place).conductance
    for pulse in asked.pulses:
        if g >= asked.formed:
            break
        g = probe.train(place, [pulse])
    verdict = "ok" if g >= asked.formed else "unresponsive"
    probe.writer.cell(*place, verdict, conductance=g)


def rows(run: RunFile) -> list[Row]:
    """The closing table."""
    s = summarise_forming(run)
    found = [Row("formed", f"{s.formed} of {s.cells} cells; {s.untouched} conducted before any pulse")]
    if s.gate is not None and s.pulses is not None:
        found += [
            Row("gate at forming", between(s.gate.value, s.gate.error, "V") + f", spread {si(s.gate_sigma, 'V')}"),
            Row("pulses per cell", f"{s.pulses.value:.2f} ± {s.pulses.error:.2f}"),
        ]
    if s.after is not None:
        found.append(Row("conductance when formed", between(s.after.value, s.after.error, "S")))
    if s.failed:
        found.append(Row("not formed", ", ".join(f"({r},{c})" for r, c in s.failed[:24])))
    return found + effort_rows(run)


PROCEDURE = Procedure(
    name="forming",
    title="Form pristine cells by a gate ramp, each pulse verified.",
    options=FormingOptions,
    request=request,
    parameters=parameters,
    work=work,
    report=drawn(draw_forming),
    rows=rows,
    resumed=resumed,
)
