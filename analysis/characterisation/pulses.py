"""Pulse response: where cells begin to switch, how the gate bounds them, and how well a pulse repeats itself."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from analysis.characterisation.common import (
    Estimate,
    Floats,
    Place,
    kept_by_cell,
    line_fit,
    mean_of,
    places,
    require,
    sigma_of,
)
from analysis.errors import AnalysisError
from analysis.records import RunFile

LADDERS = ("set_volts", "set_gate", "set_width", "reset_volts", "reset_width")
"""Their numbers in the run's tables are their places here."""
VARIED = {"set_volts": 2, "set_gate": 3, "set_width": 4, "reset_volts": 2, "reset_width": 4}
"""Which column of the table a ladder varies."""
MOVED = 5e-6
"""S by which at least one pulse must move a cell that counts as responsive."""


@dataclass(frozen=True)
class Response:
    """One cell's response.

    Attributes:
        place: (row, col).
        table: a row a pulse: ladder, repeat, amplitude (V), gate (V), width (s), conductance before and after (S);
            rows of pulses in doubt are NaN.
        responsive: whether it moved at all.
        set_threshold, reset_threshold: amplitude at which a pulse goes half of the strongest one's way, V.
        gate_slope: of the conductance reached against the gate, S/V; gate_threshold: where that line meets zero, V.
    """

    place: Place
    table: Floats
    responsive: bool
    set_threshold: float
    reset_threshold: float
    gate_slope: Estimate
    gate_threshold: float

    def ladder(self, name: str) -> tuple[Floats, Floats, Floats]:
        """(what was varied, before, after) of a ladder's pulses, each 1-D: V or s, S, S."""
        rows = self.table[self.table[:, 0] == LADDERS.index(name)]
        return rows[:, VARIED[name]], rows[:, 5], rows[:, 6]


@dataclass(frozen=True)
class PulseSummary:
    """A pulse-response run.

    Attributes:
        asked: cells asked for.
        cells: those that were finished.
        responsive: those of them that moved.
        set_threshold, reset_threshold: means over responsive cells, V; `..._sigma`: their spread.
        gate_slope: S/V; gate_threshold: V.
        set_repeat: spread of the conductance that equal strongest SET pulses reach in one cell, S.
    """

    asked: int
    cells: tuple[Response, ...]
    responsive: int
    set_threshold: Estimate
    set_sigma: Estimate
    reset_threshold: Estimate
    reset_sigma: Estimate
    gate_slope: Estimate
    gate_threshold: Estimate
    set_repeat: Estimate


def summarise_pulses(run: RunFile) -> PulseSummary:
    """Summarise a pulse-response run.

    Raises:
        AnalysisError: it is of another procedure, or no cell was finished.
    """
    require(run, "pulses")
    cells = [_response(place, run.data(names[""])) for place, names in kept_by_cell(run, "response").items()]
    if not cells:
        raise AnalysisError(f"run {run.header.run_id} ended before its first cell was finished")
    good = [c for c in cells if c.responsive]
    spreads = []
    for cell in good:
        volts, _, after = cell.ladder("set_volts")
        top = after[volts == np.nanmax(volts)]
        if len(top) > 1:
            spreads.append(float(np.nanstd(top, ddof=1)))
    return PulseSummary(
        asked=len(places(run)), cells=tuple(cells), responsive=len(good),
        set_threshold=mean_of([c.set_threshold for c in good]), set_sigma=sigma_of([c.set_threshold for c in good]),
        reset_threshold=mean_of([c.reset_threshold for c in good]),
        reset_sigma=sigma_of([c.reset_threshold for c in good]),
        gate_slope=mean_of([c.gate_slope.value for c in good]),
        gate_threshold=mean_of([c.gate_threshold for c in good]), set_repeat=mean_of(spreads),
    )  # fmt: skip


def _response(place: Place, table: npt.NDArray[np.float64]) -> Response:
    nothing = Estimate(float("nan"), float("nan"), 0)
    made = Response(place, table, False, float("nan"), float("nan"), nothing, float("nan"))
    moves = np.abs(table[:, 6] - table[:, 5])
    if not np.nanmax(moves, initial=0.0) > MOVED:
        return made
    slope, zero = _gate_law(*made.ladder("set_gate"))
    return replace(
        made, responsive=True, set_threshold=_half_way(*made.ladder("set_volts")),
        reset_threshold=_half_way(*made.ladder("reset_volts")), gate_slope=slope,
        gate_threshold=-zero.value / slope.value,
    )  # fmt: skip


def _gate_law(gate: Floats, before: Floats, after: Floats) -> tuple[Estimate, Estimate]:
    """Line through the conductances that the gate bounded: of moves of an eighth of the largest or more."""
    move = after - before
    with np.errstate(invalid="ignore"):
        bounded = move > np.nanmax(move) / 8
    return line_fit(gate[bounded], after[bounded])


def _half_way(volts: Floats, before: Floats, after: Floats) -> float:
    """Amplitude at which a pulse moves half as far as the strongest, V, between the means of the repeats."""
    levels = np.unique(volts[np.isfinite(volts)])
    if len(levels) < 2:
        return float("nan")
    moves = np.array([np.nanmean(np.abs(after - before)[volts == v]) for v in levels])
    share = moves / moves[-1]
    past = np.flatnonzero(share >= 0.5)
    if not past.size or past[0] == 0:
        return float("nan")
    i = int(past[0])
    return float(levels[i - 1] + (0.5 - share[i - 1]) / (share[i] - share[i - 1]) * (levels[i] - levels[i - 1]))
