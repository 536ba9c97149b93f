"""A week with names made numbers: what the engine works on, again and again."""

from dataclasses import dataclass

import numpy as np

from workflows.planning.durations import Duration
from workflows.planning.hours import Shifts
from workflows.planning.model import Week


@dataclass(frozen=True)
class Part:
    """A step as the engine needs it: column of the durations, operators' numbers, time they reserve (s)."""

    column: int
    hands: tuple[int, ...]
    need: float
    moves: int = -1  # the instrument that it carries


@dataclass(frozen=True)
class Ready:
    """A job as the engine needs it."""

    arrival: float
    rank: int
    mask: int
    resources: tuple[int, ...]
    station: int
    after: tuple[int, ...]
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Compiled:
    """A week with names made numbers; operators are numbered on after the resources.

    Attributes:
        names: of resources, then operators.
        resources: how many of these are resources.
        durations: what to draw, a column each.
        places: for each resource the station where it stands at the start; -1: needs no moving.
        failures: (mtbf, mttr) of each resource, s; 0: none.
    """

    names: tuple[str, ...]
    resources: int
    jobs: tuple[Ready, ...]
    durations: tuple[Duration, ...]
    places: tuple[int, ...]
    failures: tuple[tuple[float, float], ...]
    shifts: tuple[Shifts, ...]
    overtake: bool
    limit: float


def compile_week(week: Week) -> Compiled:
    """Names to numbers, steps to columns."""
    names = tuple(r.name for r in week.resources) + tuple(week.operators)
    number = {name: i for i, name in enumerate(names)}
    order = {job.name: i for i, job in enumerate(week.jobs)}
    durations: list[Duration] = []

    def part(duration: Duration, hands: tuple[str, ...], moves: int = -1) -> Part:
        durations.append(duration)
        return Part(len(durations) - 1, tuple(number[h] for h in hands), duration.median, moves)

    jobs = []
    for job in week.jobs:
        mine = tuple(number[r] for r in job.resources)
        carried = [week.resources[r] for r in mine if week.resources[r].move and job.station]
        moves = [part(r.move.duration, r.move.hands, number[r.name]) for r in carried if r.move]
        steps = [part(s.duration, s.hands) for s in job.steps]
        jobs.append(
            Ready(
                job.arrival, -job.priority, sum(1 << r for r in mine), mine,
                number[job.station] if job.station else -1, tuple(order[a] for a in job.after), (*moves, *steps),
            )
        )  # fmt: skip
    return Compiled(
        names, len(week.resources), tuple(jobs), tuple(durations),
        tuple(number[r.at] if r.at else -1 for r in week.resources), tuple((r.mtbf, r.mttr) for r in week.resources),
        tuple(week.operators.values()), week.overtake, week.limit,
    )  # fmt: skip


def failures(compiled: Compiled, rng: np.random.Generator) -> list[list[tuple[float, float]]]:
    """For each resource the intervals (s) in which it is broken, up to the limit; whether it is used or not."""
    found: list[list[tuple[float, float]]] = []
    for mtbf, mttr in compiled.failures:
        spans = []
        if mtbf:
            # Room for six standard deviations more failures than are due.
            due = compiled.limit / mtbf
            count = int(due + 6 * np.sqrt(due) + 10)
            ups, downs = rng.exponential(mtbf, count), rng.exponential(mttr, count)
            ends = np.cumsum(ups + downs)
            spans = [(float(e - d), float(e)) for e, d in zip(ends, downs, strict=True) if e - d < compiled.limit]
        found.append(spans)
    return found
