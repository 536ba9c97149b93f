"""The jobs of a plan file: arrivals unfolded, dependencies matched and checked for cycles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from instruments.errors import ConfigError
from instruments.quantity import to_si
from workflows.planning import strict
from workflows.planning.durations import PastRun, parse_duration
from workflows.planning.hours import Shifts
from workflows.planning.model import Job, Step, Week

MAX_JOBS = 2000
"""Most jobs of a plan, each repetition of a recurring one counted."""
_KEYS = ("station", "instruments", "priority", "arrive", "after", "due", "duration", "steps")


@dataclass(frozen=True)
class _Entry:
    """A job as written: its one template, and when it arrives (None: with what it comes after)."""

    job: Job
    arrivals: list[float] | None
    recurs: bool
    due: Any


def read_step(entry: Any, place: str, operators: Mapping[str, Shifts], past: Sequence[PastRun], name: str) -> Step:
    """A step of a job or move.

    Raises:
        ConfigError: unknown keys or operators, or work that is longer than any shift.
    """
    entry = strict.known(entry, ("name", "duration", "hands"), place)
    if "duration" not in entry:
        raise ConfigError(f"{place}: has no `duration`, such as '25 min +- 10 %'")
    duration = parse_duration(entry["duration"], f"{place}.duration", past)
    hands = strict.texts(entry, "hands", place)
    for who in hands:
        if who not in operators:
            raise ConfigError(f"{place}.hands: {who!r} is no operator; allowed: {', '.join(operators) or 'none'}")
    if hands and max(operators[who].longest for who in hands) < duration.median:
        raise ConfigError(f"{place}: takes longer than any shift of {', '.join(hands)}; split the step")
    return Step(str(entry.get("name", name)), duration, hands)


def read_jobs(week: Week, entries: Sequence[tuple[str, Any]], past: Sequence[PastRun]) -> tuple[Job, ...]:
    """All jobs, recurring ones unfolded.

    A job that comes after a recurring one waits for its latest repetition that arrives no later than itself; if it
    says no arrival of its own, it recurs with the first recurring job that it comes after.

    Raises:
        ConfigError: something is unknown, contradictory, too much or cyclic.
    """
    if not entries:
        raise ConfigError("jobs: there are none; name at least one with a `duration` or `steps`")
    written = {name: _entry(name, entry, week, past) for name, entry in entries}
    for name, entry in written.items():
        for other in entry.job.after:
            if other not in written:
                raise ConfigError(f"jobs.{name}.after: there is no job {other!r}; allowed: {_list(written)}")
    unfolded: dict[str, list[Job]] = {}
    for name in _order(written):
        unfolded[name] = _unfold(written[name], unfolded, week)
        if sum(map(len, unfolded.values())) > MAX_JOBS:
            raise ConfigError(f"jobs: more than {MAX_JOBS} with all repetitions; make `plan.days` fewer")
    jobs = tuple(job for name in written for job in unfolded[name])
    if not jobs:
        raise ConfigError("jobs: none of them arrives within the plan; make `plan.days` more")
    return jobs


def _entry(name: str, entry: Any, week: Week, past: Sequence[PastRun]) -> _Entry:
    place = f"jobs.{name}"
    entry = strict.known(entry, _KEYS, place)
    shared = [r.name for r in week.resources if r.name not in week.stations]
    station = entry.get("station") or ""
    if station and station not in week.stations:
        raise ConfigError(f"{place}.station: {station!r} is no station; allowed: {_list(week.stations)}")
    instruments = strict.texts(entry, "instruments", place)
    for instrument in instruments:
        if instrument not in shared:
            raise ConfigError(f"{place}.instruments: {instrument!r} is no instrument; allowed: {_list(shared)}")
    priority = entry.get("priority", 0)
    if not isinstance(priority, int) or isinstance(priority, bool) or abs(priority) > 10**6:
        raise ConfigError(f"{place}.priority: must be a whole number (higher goes first), not {priority!r}")
    if ("duration" in entry) == ("steps" in entry):
        raise ConfigError(f"{place}: needs either `duration` or `steps`")
    parts = entry["steps"] if "steps" in entry else [{"duration": entry["duration"]}]
    if not isinstance(parts, list) or not 1 <= len(parts) <= 50:
        raise ConfigError(f"{place}.steps: must be a list of 1 to 50 steps")
    where = f"{place}.steps[{{}}]" if "steps" in entry else place
    steps = tuple(
        read_step(part, where.format(i + 1), week.operators, past, f"step {i + 1}") for i, part in enumerate(parts)
    )
    arrivals, recurs = None, False
    if "arrive" in entry:
        arrivals, recurs = week.era.arrivals(entry["arrive"], week.span, f"{place}.arrive")
    resources = tuple(dict.fromkeys(((station,) if station else ()) + instruments))
    after = tuple(dict.fromkeys(strict.texts(entry, "after", place)))
    return _Entry(Job(name, name, 0.0, station, resources, priority, steps, after), arrivals, recurs, entry.get("due"))


def _order(written: Mapping[str, _Entry]) -> list[str]:
    """Names so that each comes after those that it waits for.

    Raises:
        ConfigError: jobs wait for each other.
    """
    try:
        return list(TopologicalSorter({name: entry.job.after for name, entry in written.items()}).static_order())
    except CycleError as error:
        # graphlib lists each before the one that waits for it.
        ring = " after ".join(reversed(error.args[1]))
        raise ConfigError(f"jobs: these wait for each other for ever: {ring}") from error


def _unfold(entry: _Entry, done: Mapping[str, Sequence[Job]], week: Week) -> list[Job]:
    job, arrivals, recurs = entry.job, entry.arrivals, entry.recurs
    if arrivals is None:
        leader = next((done[other] for other in job.after if _recurs(done[other])), None)
        recurs = leader is not None
        arrivals = [j.arrival for j in leader] if leader is not None else [0.0]
    unfolded = []
    for number, arrival in enumerate(arrivals, 1):
        # Of a recurring job, the repetition that this one means: the latest that was asked for by then.
        waits = [[j for j in done[o] if j.arrival <= arrival or not _recurs(done[o])][-1:] for o in job.after]
        unfolded.append(
            replace(
                job, name=f"{job.base}#{number}" if recurs else job.base, arrival=arrival,
                after=tuple(j.name for found in waits for j in found), due=_due(entry, arrival, week),
            )
        )  # fmt: skip
    return unfolded


def _recurs(jobs: Sequence[Job]) -> bool:
    return any(job.name != job.base for job in jobs)


def _due(entry: _Entry, arrival: float, week: Week) -> float | None:
    """Either so long after the arrival ("6 h") or a date and time."""
    due, place = entry.due, f"jobs.{entry.job.base}.due"
    if due is None:
        return None
    if isinstance(due, str) and due[:4].isdigit() and due[4:5] == "-":
        return week.era.instant(due, place)
    seconds = to_si(due, "s", what=place)
    if seconds <= 0:
        raise ConfigError(f"{place}: {due!r} must be after the job's arrival, such as '6 h', or a date and time")
    return arrival + seconds


def _list(names: Any) -> str:
    shown = list(names)
    return ", ".join(shown[:20]) + (" ..." if len(shown) > 20 else "") if shown else "none are given"
