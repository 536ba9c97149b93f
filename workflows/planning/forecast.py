"""When will what be done: many possible courses of a week, and what they have in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from instruments.errors import ConfigError
from workflows.planning.compiled import Compiled, compile_week, failures
from workflows.planning.durations import Floats, past_runs, sample
from workflows.planning.engine import ABSENCE, Course, Lab
from workflows.planning.model import Week
from workflows.planning.week import load_week

QUANTILES = (0.1, 0.5, 0.9)
MAX_REPEATS = 100_000


@dataclass(frozen=True)
class Conflict:
    """A job that had to wait for a resource that another job had or was to have first.

    Attributes:
        waits: the job that waited.
        holds: the job that it waited for; "" for a repair or for somebody's hours.
        resource: what it waited for.
        share: of the repeats in which it did, 0..1.
        seconds: that it waited so, mean over all repeats.
    """

    waits: str
    holds: str
    resource: str
    share: float
    seconds: float


@dataclass(frozen=True)
class Forecast:
    """What is to be expected of a week. Times are s from the plan's start; rows of three are P10, P50, P90.

    Attributes:
        week: what was planned.
        repeats: courses that this is made from.
        start: when each job has its resources, shape (3, jobs); infinite beyond the plan's limit.
        finish: when each is done, shape (3, jobs).
        late: probability to miss its due time, shape (jobs,); NaN where none is given.
        waiting: P10, P50, P90 of the time that each waits for resources and people, s, shape (3, jobs).
        unfinished: probability not to be done within the plan's limit, shape (jobs,).
        end: of everything, shape (3,).
        used: share of the plan's time that each station and instrument is held (of their hours: operators), [3] each.
        awaited: total time that jobs wait for each, mean, s.
        conflicts: who waits for whom, the longest waits first.
    """

    week: Week
    repeats: int
    start: Floats
    finish: Floats
    late: Floats
    waiting: Floats
    unfinished: Floats
    end: Floats
    used: Mapping[str, tuple[float, float, float]]
    awaited: Mapping[str, float]
    conflicts: tuple[Conflict, ...]

    @property
    def critical(self) -> str:
        """What the jobs wait for longest, in all; the most used if nobody waits; "" if nothing is used."""
        if not self.used:
            return ""
        return max(self.used, key=lambda name: (self.awaited.get(name, 0.0), self.used[name][1]))

    def coverage(self, actual: Mapping[str, float | datetime]) -> float:
        """Share of jobs that really finished within their P10 to P90 (0.8 is to be expected).

        Args:
            actual: by job, when it finished: s from the plan's start, or a time with zone (without: local).

        Raises:
            ConfigError: no job, or one that isn't in the plan.
        """
        number = {job.name: i for i, job in enumerate(self.week.jobs)}
        unknown = sorted(set(actual) - set(number))
        if unknown or not actual:
            raise ConfigError(f"the plan has no job {unknown[0]!r}" if unknown else "no job's actual end is given")
        inside = 0
        for name, when in actual.items():
            seconds = self.week.era.seconds(when) if isinstance(when, datetime) else float(when)
            low, _, high = self.finish[:, number[name]]
            # Times are told to the second: what is known exactly must not miss its own instant by rounding.
            inside += bool(low - 0.5 <= seconds <= high + 0.5)
        return inside / len(actual)


def plan(path: str | Path, runs_folder: str | Path, seed: int = 0, repeats: int = 400) -> Forecast:
    """Forecast a plan file; what `ohmflow plan` calls.

    Args:
        path: the plan file.
        runs_folder: runs that durations are learnt from; it need not exist.
        seed: of the random generator; equal seeds give equal forecasts.
        repeats: courses to draw, 10 to 100,000; 400 know a P90 to about 1.5 percentage points.

    Raises:
        ConfigError: something about the plan or the repeats is wrong.
    """
    week = load_week(path, past_runs(Path(runs_folder).expanduser()))
    return forecast(week, np.random.default_rng(seed), repeats)


def forecast(week: Week, rng: np.random.Generator, repeats: int = 400) -> Forecast:
    """Forecast a week.

    Raises:
        ConfigError: repeats are not 10 to 100,000.
    """
    if not 10 <= repeats <= MAX_REPEATS:
        raise ConfigError(f"{repeats} repeats tell nothing or take for ever; allowed: 10 to {MAX_REPEATS}")
    compiled = compile_week(week)
    seconds = sample(compiled.durations, rng, repeats).tolist()
    courses = [Lab(compiled, row, failures(compiled, rng)).run() for row in seconds]
    start, finish = (np.array([getattr(c, name) for c in courses]) for name in ("start", "finish"))
    due = np.array([np.nan if job.due is None else job.due for job in week.jobs])
    late = np.where(np.isnan(due), np.nan, (finish > due).mean(axis=0))
    waiting = np.zeros_like(finish)
    for repeat, course in enumerate(courses):
        for (waits, _, _), time in course.waits.items():
            waiting[repeat, waits] += time
    return Forecast(
        week=week, repeats=repeats, start=_quantiles(start), finish=_quantiles(finish), late=late,
        waiting=_quantiles(waiting), unfinished=np.isinf(finish).mean(axis=0),
        end=_quantiles(finish.max(axis=1, keepdims=True))[:, 0], used=_used(week, compiled, courses),
        awaited=_awaited(compiled, courses), conflicts=_conflicts(week, compiled, courses),
    )  # fmt: skip


def _quantiles(values: Floats) -> Floats:
    """P10, P50, P90 over the repeats; a method that never reckons with infinities."""
    return np.asarray(np.quantile(values, QUANTILES, axis=0, method="closest_observation"))


def _used(week: Week, compiled: Compiled, courses: Sequence[Course]) -> dict[str, tuple[float, float, float]]:
    held = np.zeros((len(courses), len(compiled.names)))
    for repeat, course in enumerate(courses):
        for what, begin, end in course.held:
            held[repeat, what] += max(min(end, week.span) - begin, 0.0)
    hours = [week.span] * compiled.resources + [max(s.within(week.span), 1.0) for s in compiled.shifts]
    shares = _quantiles(held / np.array(hours))
    return {name: (float(a), float(b), float(c)) for name, (a, b, c) in zip(compiled.names, shares.T, strict=True)}


def _awaited(compiled: Compiled, courses: Sequence[Course]) -> dict[str, float]:
    total = np.zeros(len(compiled.names))
    for course in courses:
        for (_, _, resource), seconds in course.waits.items():
            total[resource] += seconds / len(courses)
    return {name: float(seconds) for name, seconds in zip(compiled.names, total, strict=True)}


def _conflicts(week: Week, compiled: Compiled, courses: Sequence[Course]) -> tuple[Conflict, ...]:
    found: dict[tuple[int, int, int], list[float]] = {}
    for course in courses:
        for wait, seconds in course.waits.items():
            found.setdefault(wait, []).append(seconds)
    return tuple(
        Conflict(
            week.jobs[waits].name,
            "" if holds == ABSENCE else week.jobs[holds].name,
            compiled.names[resource],
            len(times) / len(courses),
            sum(times) / len(courses),
        )
        for (waits, holds, resource), times in sorted(found.items(), key=lambda item: (-sum(item[1]), item[0]))
    )
