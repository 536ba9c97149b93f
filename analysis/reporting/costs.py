"""Cost tables of a report: what was spent by kind and phase, what a sample costs as run, projected and by the paper."""

from analysis.circle_cost import CircleCost
from analysis.claims import Claim
from analysis.cost import Entry, programming_cost, si
from analysis.forecast import MEASURES, TOTAL, Forecast, Range, spent
from analysis.page import grid, paragraph, table
from analysis.records import RunFile
from analysis.report import sensitivity_rows
from analysis.reporting.solved import Solution

_NAMES = {"form": "FORM pulses", "set": "SET pulses", "reset": "RESET pulses", "read": "reads", "select": "selections",
          "compute": "solutions", "calibrate": "calibrations", "other": "other"}  # fmt: skip


def clock(seconds: float) -> str:
    """Seconds on the laboratory's clock for people: "29 min 15 s"."""
    if not seconds >= 60:
        return micro(si(seconds, "s"))
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min {rest:02d} s" if hours else f"{minutes} min {rest:02d} s"


def micro(said: str) -> str:
    """With the sign for micro that people read."""
    return said.replace(" u", " µ")


def _joules(value: float) -> str:
    return micro(si(value, "J"))


def spent_parts(run: RunFile) -> tuple[str, ...]:
    """What the run itself took, by kind of event; measured on a real bench, simulated on a twin."""
    cost = programming_cost(run)
    rows = [(_NAMES[kind], f"{c.count}", _joules(c.energy), clock(c.seconds)) for kind, c in cost.by_kind]
    total = (
        "total", f"{sum(c.count for _, c in cost.by_kind)}", _joules(cost.energy),
        f"{clock(cost.busy)} of {clock(cost.span)}",
    )  # fmt: skip
    how = "simulated on the twin" if run.world == "simulated" else "measured"
    return (
        grid(("what", "how many", "energy in the cells", "time on the lab's clock"), [*rows, total], numbers=3),
        paragraph(
            f"Times are {how}. Energies are the laboratory's own estimate, V²·G·t in the cells, without the "
            "instruments' supplies; sweeps have no estimate and count as 0. The rest of the time is selecting cells "
            "and waiting."
        ),
    )


def sample_parts(s: Solution, simulated: bool) -> tuple[str, ...]:
    """What a sample costs: as run, projected with its corners, digital on this computer, and the paper's claims."""
    c = s.cost
    rows = [_entry("on the board as run", c.board, "simulated on the twin" if simulated else "measured")]
    for p in c.projections:
        corners = f"{_joules(p.energy.low)} to {_joules(p.energy.high)}"
        rows.append(_entry(p.entry.name, p.entry, f"projected; all parameters at their corners: {corners}"))
    rows += _digital(c)
    first = len(rows)
    rows += [_claim(claim) for claim in s.claims]
    columns = ("a sample", "how it is known", "time", "energy")
    parts = [
        grid(columns, rows, paper=range(first, len(rows)), numbers=2),
        paragraph("Rows in italics are the paper's; nothing else in this report is computed from them.", "paper"),
    ]
    if s.letter:
        parts += ["<h3>A whole letter, solved and decoded</h3>", table(s.letter)]
    if c.comparison is not None:
        parts.append(paragraph(c.comparison.verdict))
    elif c.baseline is None:
        parts.append(paragraph("No digital baseline was measured in this run."))
    parts += ["<h3>What the projection hangs on</h3>", table(sensitivity_rows(c))]
    parts += ["<h3>What the paper's claims imply</h3>",
              table([(f"{claim.source}, {claim.task}", claim.explain()) for claim in s.claims])]  # fmt: skip
    return tuple(parts)


def _entry(name: str, e: Entry, how: str) -> tuple[str, str, str, str]:
    return name, how, micro(si(e.seconds, "s")), _joules(e.energies[0].joules)


def _digital(c: CircleCost) -> list[tuple[str, str, str, str]]:
    if c.baseline is None:
        return []
    b = c.baseline
    rows = []
    for m in b.measurements:
        name = f"digital, {m.name}" + (f", {m.batch} at once" if m.batch > 1 else ", one by one")
        if m.seconds is None:
            rows.append((name, f"not measured: {m.skipped}", "", ""))
            continue
        known = [e for e in b.entries() if e.seconds == m.seconds and e.batch == m.batch]
        joules = " or ".join(f"{_joules(e.joules)} ({e.label})" for e in known[0].energies) if known else ""
        rows.append((name, f"measured on the computer that made the run: {b.cpu}", micro(si(m.seconds, "s")), joules))
    return rows


def _claim(claim: Claim) -> tuple[str, str, str, str]:
    said = f"the paper's claim: {claim.speedup:g} times faster, {claim.saving:.1%} less energy than its GPU"
    seconds = "not stated" if claim.seconds is None else micro(si(claim.seconds, "s"))
    joules = "not stated" if claim.joules is None else _joules(claim.joules)
    return f"paper, {claim.source}", said, seconds, joules


def forecast_parts(run: RunFile) -> tuple[str, ...]:
    """What had been foretold beside what happened, phase by phase; without a forecast, what each phase took."""
    took = spent(run)
    if "forecast" not in run.names("data"):
        rows = [(name, *(_amount(m, getattr(s, m)) for m in MEASURES)) for name, s in took.items()]
        return (
            paragraph("This run was begun without a forecast; the option --dry-run of its command makes one. It took:"),
            grid(("phase", "lab's clock", "energy", "pulses", "reads"), rows, numbers=4),
        )
    forecast = Forecast.from_json(bytes(run.data("forecast")))
    whole = run.status == "completed" and len(run.segments) == 1
    rows, held, judged = [], 0, 0
    for name, measures in forecast.phases.items():
        cells = []
        for measure in MEASURES:
            found, foretold = took.get(name), measures[measure]
            if found is None:
                cells.append(f"not reached; foretold {_range(measure, foretold)}")
                continue
            value = float(getattr(found, measure))
            good = foretold.holds(value)
            if name == TOTAL:
                held, judged = held + good, judged + 1
            mark = "" if good else " — outside"
            cells.append(f"{_amount(measure, value)}{mark}\nforetold {_range(measure, foretold)}")
        rows.append((name, *cells))
    said = (
        f"Foretold from {forecast.runs} dry runs on twins ({forecast.device}); P50 (P10 to P90). Of the totals "
        f"{held} of {judged} lie within P10 to P90."
    )
    if not whole:
        said += " The run was interrupted or did not complete, so that the two are not of the same thing."
    return paragraph(said), grid(("phase", "lab's clock", "energy", "pulses", "reads"), rows)


def _amount(measure: str, value: float) -> str:
    if measure == "seconds":
        return clock(value)
    return _joules(value) if measure == "energy" else f"{value:.0f}"


def _range(measure: str, found: Range) -> str:
    middle, low, high = (_amount(measure, value) for value in (found.p50, found.p10, found.p90))
    return f"{middle} ({low} to {high})" if low != high else middle
