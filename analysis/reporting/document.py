"""A run's report as sections, and pages of one run or of several, with a comparison of those of one procedure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.cost import si
from analysis.page import Rows, Section, grid, paragraph, sectioned, table, text
from analysis.records import Measure, RunFile
from analysis.reporting.beside import beside_parts, beside_rows
from analysis.reporting.costs import clock, forecast_parts, micro, sample_parts, spent_parts
from analysis.reporting.happened import happened_parts
from analysis.reporting.plates import plates
from analysis.reporting.provenance import Again, again_parts, provenance_parts, what_rows
from analysis.reporting.solved import Solution

_EFFORT = ("effort", "time on the lab's clock")
"""Rows of an outcome that say what it took."""
_UNITS = {"energy": "J", "sigma": "S", "mean_error": "S"}


@dataclass(frozen=True)
class Found:
    """What was found out about a run from its file.

    Attributes:
        outcome: the closing table; rows of what only the twin knows begin with "twin only: ".
        headline: what was achieved, in words and numbers; "" for the first rows of the outcome.
        measures: numbers with 95 % intervals, by name.
        solution: of runs that solved the loop's equation.
        pictures: PNG files.
        again: how to make it again.
        checksum: SHA-256 of the file.
        trouble: why there is nothing to sum up; "" if there is.
    """

    outcome: Rows
    measures: Mapping[str, Measure]
    pictures: tuple[Path, ...]
    again: Again
    checksum: str
    headline: str = ""
    solution: Solution | None = None
    trouble: str = ""


@dataclass(frozen=True)
class RunPart:
    """A run's report, whole, when its file and pictures are no longer needed."""

    run_id: str
    procedure: str
    world: str
    status: str
    chip: str
    started: str
    headline: str
    measures: Mapping[str, Measure]
    outcome: Rows
    sections: tuple[Section, ...]

    @property
    def label(self) -> str:
        """One line that says which run, and which world it is of."""
        return f"{self.procedure} · {self.run_id} · {self.status} · chip {self.chip or 'not named'}"


def run_part(run: RunFile, found: Found) -> RunPart:
    """A run's report out of its open file and what was found out about it."""
    outcome = found.outcome
    sections = [
        Section("Outcome", _outcome(found)),
        Section("What, when, with what", (table(what_rows(run)),)),
        Section("Beside the paper", beside_parts(beside_rows(run, outcome, found.solution))),
        Section("Figures", plates(found.pictures) or (paragraph("This run has no figures."),)),
        Section("What it cost", _cost(run, found)),
        Section("Forecast and outcome", forecast_parts(run)),
        Section("What happened", happened_parts(run)),
        Section("Provenance", provenance_parts(run, found.checksum)),
        Section("How to reproduce it", again_parts(found.again, f"ohmflow report {run.header.run_id}")),
    ]
    h = run.header
    return RunPart(
        h.run_id, h.procedure, run.world, run.status, h.chip, h.started, headline(found), found.measures, outcome,
        tuple(sections),
    )  # fmt: skip


def headline(found: Found) -> str:
    """What was achieved, in a sentence or two."""
    if found.trouble:
        return f"There is nothing to sum up: {found.trouble}."
    if found.headline:
        return found.headline
    said = [row for row in found.outcome if row[0] not in _EFFORT]
    whole = [row for row in said if not row[0].startswith("cell (")]
    single = [row for row in said if row[0].startswith("cell (")]
    rows = [*whole[:2], *single[:1]]
    return " ".join(f"{name[:1].upper()}{name[1:]}: {value}." for name, value in rows)


def _outcome(found: Found) -> tuple[str, ...]:
    parts = [paragraph(headline(found), "lede")]
    known = [row for row in found.outcome if not row[0].startswith("twin only: ")]
    hidden = [(name.removeprefix("twin only: "), value) for name, value in found.outcome if (name, value) not in known]
    if known:
        parts.append(table(known))
    if hidden:
        parts += ["<h3 class=twin>Known only to the twin: no laboratory could measure these</h3>", table(hidden)]
    return tuple(parts)


def _cost(run: RunFile, found: Found) -> tuple[str, ...]:
    parts = ["<h3>The run itself</h3>", *spent_parts(run)]
    if found.solution is not None:
        parts += ["<h3>A sample: as run, projected, digital, and by the paper</h3>",
                  *sample_parts(found.solution, run.world == "simulated")]  # fmt: skip
    else:
        said = "The paper states no cost of programming or measuring devices; nothing is projected from this run."
        parts.append(paragraph(said, "paper"))
    return tuple(parts)


def report_page(parts: Sequence[RunPart], further: Sequence[Section] = ()) -> str:
    """A page of one run or of several; `further` are sections of studies and chips."""
    if len(parts) == 1 and not further:
        one = parts[0]
        lead = [f"<h1>{text(one.procedure)} on chip {text(one.chip or 'not named')}</h1>", _badge(one)]
        return sectioned(f"{one.run_id}: {one.procedure}", lead, one.sections)
    chips = list(dict.fromkeys(one.chip or "not named" for one in parts))
    worlds = " and ".join(sorted({one.world for one in parts}))
    lead = []
    if parts:
        title = f"{len(parts)} runs of " + (f"chip {chips[0]}" if len(chips) == 1 else f"{len(chips)} chips")
        lead = [f"<h1>{text(title)}</h1>", f"<p>All runs: <span class=world>{text(worlds)}</span></p>"]
        columns = ("run", "procedure", "world", "started", "status", "outcome")
        rows = [(p.run_id, p.procedure, p.world, p.started[:19].replace("T", " "), p.status, p.headline) for p in parts]
        lead.append(grid(columns, rows))
    else:
        title = further[0].title
    sections = [*comparison(parts), *further]
    for one in parts:
        sections.append(Section(one.label, (_badge(one),), level=1))
        sections += one.sections
    return sectioned(title, lead, sections)


def _badge(one: RunPart) -> str:
    said = "SIMULATED on a twin" if one.world == "simulated" else "measured on real instruments"
    return (
        f"<p>{text(one.run_id)} · <span class=world>{said}</span> · {text(one.status)} · "
        f"chip {text(one.chip or 'not named')}</p>"
    )


def comparison(parts: Sequence[RunPart]) -> list[Section]:
    """Runs of one procedure side by side: numbers with their intervals, then what else their outcomes say."""
    found = []
    for procedure in dict.fromkeys(one.procedure for one in parts):
        group = [one for one in parts if one.procedure == procedure]
        if len(group) < 2:
            continue
        names = _names(group)
        rows = []
        for name in dict.fromkeys(name for one in group for name in one.measures):
            values = [one.measures.get(name) for one in group]
            rows.append((name.replace("_", " "), *(said(name, v) for v in values), _apart(values)))
        columns = ("number (95 % interval)", *names, "intervals")
        lines = [name for one in group for name, _ in one.outcome]
        texts = [
            (name, *(dict(one.outcome).get(name, "-") for one in group))
            for name in dict.fromkeys(lines)
            if not name.startswith("digital")
        ]
        found.append(
            Section(
                f"Comparison of {len(group)} {procedure} runs",
                (grid(columns, rows), "<h3>Outcomes side by side</h3>", grid(("what", *names), texts)),
            )
        )
    return found


def _names(group: Sequence[RunPart]) -> list[str]:
    """What tells runs apart: their names, with when they began where two are named alike."""
    names = [one.run_id for one in group]
    return [
        name if names.count(name) == 1 else f"{name}, {one.started[:16].replace('T', ' ')}"
        for name, one in zip(names, group, strict=True)
    ]


def said(name: str, measure: Measure | None) -> str:
    """A measure with its interval, for people."""
    if measure is None or not math.isfinite(measure.value):
        return "-"
    value = _number(name, measure.value)
    if not (math.isfinite(measure.low) and math.isfinite(measure.high)):
        return value
    return f"{value} ({_number(name, measure.low)} to {_number(name, measure.high)})"


def _number(name: str, value: float) -> str:
    if name == "seconds":
        return clock(value)
    return micro(si(value, _UNITS[name])) if name in _UNITS else f"{value:.4g}"


def _apart(values: Sequence[Measure | None]) -> str:
    """Whether any two intervals have nothing in common."""
    known = [v for v in values if v is not None and math.isfinite(v.low) and math.isfinite(v.high)]
    if len(known) < 2:
        return ""
    return "apart" if max(v.low for v in known) > min(v.high for v in known) else "overlap"
