"""What a run achieved and cost, as rows for people: one list, shown by the terminal and by the orchestrator's page."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from analysis.forecast import MEASURES, Forecast, Judged, Range
from analysis.programming import ProgramSummary
from instruments.quantity import si

if TYPE_CHECKING:  # these bring torch along, which a programming run does without
    from analysis.circle import CircleSummary
    from analysis.circle_cost import CircleCost

_MANY = 100
"""Cells from which the shape of a distribution says something."""
_MOST = 24
"""Cells that a line names."""
_REASONS = {"budget": "out of pulses"}


class Row(NamedTuple):
    """A line of a closing table; `of` is "lab" for what the laboratory knows, "twin" for what only the twin does."""

    name: str
    value: str
    of: str = "lab"


def clock_text(seconds: float) -> str:
    """Seconds for people: "29 min 15 s"."""
    if seconds < 60:
        return si(seconds, "s")
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min {rest:02d} s" if hours else f"{minutes} min {rest:02d} s"


def program_rows(s: ProgramSummary, wall: float | None = None) -> list[Row]:
    """The closing table of a programming run."""
    total = s.pulses.energy + s.reads.energy
    window = f"±{s.tolerance * 1e6:g} µS, as read back at the end"
    error = f"σ {s.sigma * 1e6:.3f} µS, mean {s.mean_error * 1e6:+.3f} µS"
    if s.responsive >= _MANY:
        error += f", skewness {s.skewness:+.2f}, excess kurtosis {s.kurtosis:+.2f}"
    pulses = f"{s.pulses.count} pulses {_si(s.pulses.energy, 'J')}"
    reads = f"{s.reads.count} reads {_si(s.reads.energy, 'J')}"
    share = f"pulses {clock_text(s.pulses.seconds)}, reads {clock_text(s.reads.seconds)}, the rest selecting cells"
    rows = []
    if s.responsive:
        rows = [
            Row("inside the window", f"{s.inside:.2%} of {s.responsive} responsive cells, {window}"),
            Row("error", error),
        ]
    if s.pending:
        rows.append(Row("cells not finished", f"{s.pending} of {s.cells}"))
    rows.append(Row("cells given up", _given_up(s)))
    if s.responsive:
        rows.append(Row("pulses per cell", f"mean {s.pulses_mean:.2f}, 95 % ≤ {s.pulses_p95:.0f}"))
    rows += [
        Row("energy", f"{_si(total, 'J')}: {pulses}, {reads}"),
        Row("time on the lab's clock", f"{clock_text(s.duration)} ({share})"),
    ]
    if wall is not None:
        rows.append(Row("time of this computer", clock_text(wall)))
    if s.truth is not None:
        t = s.truth
        if t.inside == t.inside:
            inside = f"{t.inside:.2%} of the cells that can move, true error σ {t.sigma * 1e6:.3f} µS"
            rows.append(Row("true conductance inside", inside, "twin"))
        stuck = f"{len(t.stuck)}: {_listed(t.stuck)}" if t.stuck else "none"
        rows.append(Row("cells that can't move", stuck, "twin"))
        if t.pulse_energy == t.pulse_energy:
            rows.append(Row("true pulse energy", _si(t.pulse_energy, "J"), "twin"))
    return rows


def forecast_table(forecast: Forecast) -> list[tuple[str, str, str, str, str]]:
    """A line a phase, the total last: time, energy, pulses and reads as P50 (P10 to P90)."""
    rows = []
    for name, measures in forecast.phases.items():
        cells = [_range(measure, measures[measure]) for measure in MEASURES]
        rows.append((name, cells[0], cells[1], cells[2], cells[3]))
    return rows


def forecast_rows(judged: Sequence[Judged]) -> list[Row]:
    """How good the forecast was, for a closing table."""
    if not judged:
        return []
    held = sum(one.held for one in judged)
    said = "; ".join(
        f"{one.measure} {_amount(one.measure, one.outcome)}, foretold {_range(one.measure, one.foretold)}"
        for one in judged
    )
    return [Row("forecast", f"{held} of {len(judged)} within P10-P90: {said}")]


def _range(measure: str, found: Range) -> str:
    middle, low, high = (_amount(measure, value) for value in (found.p50, found.p10, found.p90))
    return f"{middle} ({low} to {high})" if low != high else middle


def _amount(measure: str, value: float) -> str:
    if measure == "seconds":
        return clock_text(value)
    return _si(value, "J") if measure == "energy" else f"{value:.0f}"


def _si(value: float, unit: str) -> str:
    return si(value, unit).replace(" u", " µ")


def _given_up(s: ProgramSummary) -> str:
    """How many, and which for which reason."""
    if not s.failed:
        return "none"
    reasons = [
        (status, [cell for cell, verdict in s.failed if verdict == status])
        for status in sorted({v for _, v in s.failed})
    ]
    return f"{len(s.failed)}: " + "; ".join(f"{_REASONS.get(why, why)} {_listed(cells)}" for why, cells in reasons)


def _listed(cells: Sequence[tuple[int, int, int]]) -> str:
    more = f" and {len(cells) - _MOST} more" if len(cells) > _MOST else ""
    return ", ".join(_cell(cell) for cell in cells[:_MOST]) + more


def _cell(cell: tuple[int, int, int]) -> str:
    array, row, col = cell
    return f"({row},{col})" if array == 0 else f"({array}: {row},{col})"


def circle_rows(s: "CircleSummary", cost: "CircleCost", wall: float | None = None) -> list[Row]:
    """The closing table of a circle run; the report has more."""
    from analysis.report import cost_rows, quality_rows

    rows = [Row(name, value) for name, value in quality_rows(s)]
    for name, value in cost_rows(s, cost):
        if name.startswith("twin only: "):
            rows.append(Row(name.removeprefix("twin only: "), value, "twin"))
        elif not name.startswith("digital, torch") and not name.startswith("digital, numpy"):
            rows.append(Row(name, value))
    rows.append(Row("time on the lab's clock", clock_text(s.lab_seconds)))
    if wall is not None:
        rows.append(Row("time of this computer", clock_text(wall)))
    return rows
