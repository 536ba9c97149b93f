"""A forecast for people (tables for the terminal and for Markdown) and for programs (JSON)."""

import math
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from workflows.planning.forecast import Forecast
from workflows.tables import clock_text

JSON_FORMAT = 1
_MOST_CONFLICTS = 12


class Table(NamedTuple):
    """A table ready to print: its title, its columns' heads and its rows, all text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """The table as Markdown, under a heading."""

        def line(cells: tuple[str, ...]) -> str:
            return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

        rule = "|" + "---|" * len(self.columns)
        return "\n".join([f"## {self.title}", "", line(self.columns), rule, *map(line, self.rows), ""])


def tables(forecast: Forecast) -> list[Table]:
    """Jobs, resources and conflicts."""
    return [job_table(forecast), resource_table(forecast), conflict_table(forecast)]


def markdown(forecast: Forecast) -> str:
    """All tables as one Markdown text."""
    return "\n".join(table.markdown() for table in tables(forecast))


def job_table(f: Forecast) -> Table:
    """When each job starts and finishes, in order of its likely start."""
    chief = _chief_waits(f)
    rows = []
    for i in np.argsort(f.start[1], kind="stable"):
        job = f.week.jobs[i]
        (start10, start50, start90), (end10, end50, end90) = f.start[:, i], f.finish[:, i]
        late = "" if math.isnan(f.late[i]) else f"{f.late[i]:.0%} (due {_local(f, job.due)})"
        started = f"{_local(f, start50)} ({_span(f, start10, start90)})"
        rows.append(
            (
                job.name, job.station or "any", started, f"{_local(f, end50)} ({_span(f, end10, end90)})", late,
                _wait(f.waiting[1, i], f.waiting[2, i]),
                chief.get(job.name, "") if f.waiting[2, i] >= 1 else "",
            )
        )  # fmt: skip
    heads = ("job", "station", "start (P10-P90)", "finish (P10-P90)", "late", "waits, P50 / P90", "for")
    end = f"{_local(f, f.end[1])} ({_span(f, f.end[0], f.end[2])})"
    title = f"Plan {f.week.name}: all done {end}, {f.week.era.zone}; {f.repeats} courses"
    return Table(title, heads, tuple(rows))


def resource_table(f: Forecast) -> Table:
    """How much each resource and operator is used, and how long jobs wait for it in all."""
    rows = tuple(
        (
            name + (" (critical)" if name == f.critical else ""),
            "operator" if name in f.week.operators else "station" if name in f.week.stations else "instrument",
            f"{middle:.0%} ({low:.0%}-{high:.0%})",
            _duration(f.awaited[name]),
        )
        for name, (low, middle, high) in f.used.items()
    )
    return Table("Use of resources", ("resource", "kind", "used (P10-P90)", "waited for, mean in all"), rows)


def conflict_table(f: Forecast) -> Table:
    """Who waits for whom: the longest waits of all."""
    rows = tuple(
        (c.waits, c.resource, c.holds or _absence(f, c.resource), f"{c.share:.0%}", _duration(c.seconds))
        for c in f.conflicts[:_MOST_CONFLICTS]
    )
    more = len(f.conflicts) - len(rows)
    title = "Conflicts" + (f" (and {more} shorter ones)" if more else "")
    return Table(title, ("job", "waits for", "which has", "in courses", "mean wait"), rows)


def to_json(f: Forecast) -> dict[str, Any]:
    """Everything, in JSON's types; times are ISO 8601, null where beyond the plan's limit, durations s."""

    def three(values: Any, time: bool = True) -> dict[str, Any]:
        one = (lambda v: _iso(f, v)) if time else float
        return {name: one(value) for name, value in zip(("p10", "p50", "p90"), values, strict=True)}

    jobs = {
        job.name: {
            "job": job.base, "station": job.station or None, "resources": list(job.resources),
            "priority": job.priority, "arrival": _iso(f, job.arrival), "after": list(job.after),
            "due": None if job.due is None else _iso(f, job.due), "start": three(f.start[:, i]),
            "finish": three(f.finish[:, i]), "waiting": three(f.waiting[:, i], time=False),
            "late": None if job.due is None else float(f.late[i]), "unfinished": float(f.unfinished[i]),
        }
        for i, job in enumerate(f.week.jobs)
    }  # fmt: skip
    return {
        "format": JSON_FORMAT,
        "plan": f.week.name,
        "start": _iso(f, 0.0),
        "days": f.week.span / 86400,
        "repeats": f.repeats,
        "end": three(f.end),
        "critical": f.critical or None,
        "jobs": jobs,
        "resources": {n: {"used": three(u, time=False), "awaited": f.awaited[n]} for n, u in f.used.items()},
        "conflicts": [{**asdict(c), "holds": c.holds or None} for c in f.conflicts],
    }


def _chief_waits(f: Forecast) -> dict[str, str]:
    """For each job what it waits for longest; conflicts come sorted."""
    chief: dict[str, str] = {}
    for c in f.conflicts:
        chief.setdefault(c.waits, f"{c.resource} ({c.holds or _absence(f, c.resource)}, {c.share:.0%})")
    return chief


def _absence(f: Forecast, resource: str) -> str:
    return "out of hours" if resource in f.week.operators else "under repair"


def _iso(f: Forecast, seconds: float) -> str | None:
    return f.week.era.local(round(float(seconds))).isoformat() if math.isfinite(seconds) else None


def _local(f: Forecast, seconds: float | None) -> str:
    if seconds is None or not math.isfinite(seconds):
        return "beyond the plan"
    return f.week.era.local(float(seconds)).strftime("%a %d %b %H:%M")


def _span(f: Forecast, low: float, high: float) -> str:
    """Two times; the second without its date where that is the first's."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return f"{_local(f, low)} - {_local(f, high)}"
    a, b = f.week.era.local(float(low)), f.week.era.local(float(high))
    if a.date() == b.date():
        return f"{a:%H:%M}-{b:%H:%M}"
    return f"{a:%a %H:%M} - {b:%a %H:%M}" if (b - a).days < 6 else f"{a:%d %b %H:%M} - {b:%d %b %H:%M}"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return "0"
    if seconds < 86400:
        return clock_text(seconds) if seconds < 3600 else f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} d"


def _wait(middle: float, high: float) -> str:
    return "" if high < 1 else f"{_duration(middle)} / {_duration(high)}"
