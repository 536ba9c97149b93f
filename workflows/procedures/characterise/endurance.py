"""Endurance: SET and RESET in turn, thousands of times, both states read at counts even in their logarithm."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from analysis.characterisation.endurance import summarise_endurance
from analysis.figures.characterisation_time import draw_endurance
from analysis.records import RunFile
from analysis.records.tables import Tables
from instruments.quantity import si
from instruments.station_file import StationFile
from workflows.procedures.characterise.common import (
    CellOptions,
    cell_name,
    chosen_cells,
    drawn,
    effort_rows,
    in_range,
    log_counts,
    parameters,
    recorded,
)
from workflows.procedures.characterise.probe import Place, Probe, Pulse
from workflows.procedures.options import option
from workflows.procedures.procedure import Procedure, Work
from workflows.tables import Row

GIVE_UP = 3
"""Looks in a row at which a cell's states don't differ, after which it counts as stuck and is left alone."""


@dataclass(frozen=True, kw_only=True)
class EnduranceOptions(CellOptions):
    """How many cycles of which pulses."""

    cells: int = option(4, "How many cells, spread over the array.")
    cycles: int = option(1000, "SET and RESET pulses of each cell.")
    per_decade: int = option(6, "Looks at both states a decade of cycles.")
    set_volts: float = option(2.0, "Amplitude of SET pulses.", unit="V")
    set_gate: float = option(1.2, "Gate of SET pulses.", unit="V")
    reset_volts: float = option(1.8, "Amplitude of RESET pulses.", unit="V")
    reset_gate: float = option(3.0, "Gate of RESET pulses.", unit="V")
    width: float = option(1e-6, "Width of all pulses.", unit="s")
    least_ratio: float = option(1.5, "High over low conductance below which a look counts as failed.")


@dataclass(frozen=True)
class EnduranceRequest:
    """Checked: array, places, counts at which to look, the two pulses, the least ratio; `done`: looks kept already."""

    array: int
    cells: tuple[Place, ...]
    looks: tuple[int, ...]
    set: Pulse
    reset: Pulse
    least_ratio: float
    done: frozenset[str] = frozenset()


def request(o: EnduranceOptions, station: StationFile) -> EnduranceRequest:
    """Check options and both pulses against the limits."""
    places = chosen_cells(o, station)
    in_range(o, cycles=(1, 100_000_000), per_decade=(1, 100), least_ratio=(1.01, 1000))
    limits = station.limits
    limits.bit_line.check(o.set_volts, "SET pulse")
    limits.source_line.check(o.reset_volts, "RESET pulse")
    for gate in (o.set_gate, o.reset_gate):
        limits.word_line.check(gate, "gate of a pulse")
    limits.pulse_width.check(o.width, "width of a pulse")
    pulses = (
        Pulse("set", o.set_volts, o.set_gate, o.width), Pulse("reset", o.reset_volts, o.reset_gate, o.width),
    )  # fmt: skip
    return EnduranceRequest(o.array, places, log_counts(1, o.cycles, o.per_decade), *pulses, o.least_ratio)


def resumed(o: EnduranceOptions, station: StationFile, tables: Tables) -> EnduranceRequest:
    """The request, with the looks that were kept and the verdicts."""
    return replace(request(o, station), done=recorded(tables))


def work(w: Work[EnduranceOptions, EnduranceRequest]) -> None:
    """Cell by cell, look by look."""
    asked, probe = w.request, Probe(w, w.request.array)
    finished = w.writer.state.finished if w.writer.state is not None else {}
    probe.begin()
    w.writer.phase("cycle")
    for number, place in enumerate(asked.cells):
        if (0, *place) not in finished:
            _cell(w, probe, place)
        w.controls.told("cycling", (number + 1) * asked.looks[-1], len(asked.cells) * asked.looks[-1])


def _cell(w: Work[EnduranceOptions, EnduranceRequest], probe: Probe, place: Place) -> None:
    asked, failed, given = w.request, 0, _given(probe, place)
    if not given:
        probe.read(place)
    ratios: list[float] = []
    for look in asked.looks:
        name = f"endurance/{cell_name(place)}/look_{look}"
        if name in asked.done:
            continue
        w.controls.around(
            f"cycles {given + 1}..{look} of cell {place}",
            partial(_cycle, probe, asked, place, name, given, look, ratios),
        )
        given = look
        failed = failed + 1 if ratios[-1] < asked.least_ratio else 0
        if failed >= GIVE_UP:
            probe.writer.note(f"cell {place} no longer switches after {look} cycles; it is left alone")
            break
    probe.writer.cell(*place, "stuck" if failed >= GIVE_UP else "ok", conductance=probe.last.get(place, float("nan")))


def _given(probe: Probe, place: Place) -> int:
    """Cycles that the cell has had in this run's earlier parts: they count, looked at or not."""
    state = probe.writer.state
    if state is None:
        return 0
    pulses = np.asarray(state.cells["pulses"]).reshape(probe.station.file.shape[1:])
    return int(pulses[place]) // 2


def _cycle(
    probe: Probe, asked: EnduranceRequest, place: Place, name: str, given: int, look: int, ratios: list[float]
) -> None:
    """Cycles `given` + 1 to `look`, the last one read after each pulse; adds high over low conductance to `ratios`."""
    for _ in range(given + 1, look):
        probe.pulse(place, asked.set)
        probe.pulse(place, asked.reset)
    high = probe.train(place, [asked.set])
    low = probe.train(place, [asked.reset])
    probe.writer.data(
        name, np.array([look, high, low]), title="cycles so far; conductance after SET and after RESET (S)"
    )
    ratios.append(high / max(low, 1e-12))


def rows(run: RunFile) -> list[Row]:
    """The closing table."""
    s = summarise_endurance(run)
    found = [Row("cycles", f"{s.cycles} asked for, of {len(s.cells)} cells")]
    for c in s.cells:
        found.append(
            Row(
                f"cell ({c.place[0]},{c.place[1]})",
                f"{int(c.counts[-1])} cycles, high {si(float(c.high[-1]), 'S')}, low {si(float(c.low[-1]), 'S')}, "
                f"window {c.window_change.value * 1e6:+.2f} ± {c.window_change.error * 1e6:.2f} µS a decade"
                + (", stuck" if c.stuck else ""),
            )
        )
    return found + effort_rows(run)


PROCEDURE = Procedure(
    name="endurance",
    title="Switch cells back and forth up to a number of cycles, and see what remains of their window.",
    options=EnduranceOptions,
    request=request,
    parameters=parameters,
    work=work,
    report=drawn(draw_endurance),
    rows=rows,
    resumed=resumed,
)
