"""One possible course of a week, as a discrete-event simulation.

The queue is that of the instruments' locks: a job asks for all of its resources at once and waits in one line, by
priority, then by when it asked. It gets them when all are free and nobody ahead of it waits for one of them. (With
`overtake`, a what-if, when all are free.) Nobody who runs is turned out. A failed resource halts its job, which goes
on where it was when the repair is done.
"""

from bisect import insort
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import simpy

from workflows.planning.compiled import Compiled, Part
from workflows.planning.durations import Floats

ABSENCE = -1
"""In place of a job that is waited for: a repair, or somebody's hours."""
Wait = tuple[int, int, int]
"""(job that waits, job that it waits for or `ABSENCE`, resource)."""


@dataclass
class Course:
    """What happened: times in s, per job; infinite where the limit came first.

    Attributes:
        ready: when it asked for its resources.
        start: when it had them.
        finish: when it gave them back.
        held: (resource or operator, from, to).
        waits: seconds waited.
    """

    ready: Floats
    start: Floats
    finish: Floats
    held: list[tuple[int, float, float]]
    waits: dict[Wait, float]


class _AtLast(simpy.Event):
    """An event that comes after all others of its instant, so that whoever asks at one instant is ranked, not raced."""

    def __init__(self, env: simpy.Environment, delay: float) -> None:
        super().__init__(env)
        self._ok = True
        self._value = None
        env.schedule(self, simpy.events.EventPriority(2), delay)


class Lab:
    """The laboratory in one repeat.

    Args:
        compiled: the week.
        seconds: durations, shape (columns,).
        broken: see `failures`.
    """

    def __init__(self, compiled: Compiled, seconds: Sequence[float], broken: list[list[tuple[float, float]]]) -> None:
        self._week, self._seconds, self._broken = compiled, seconds, broken
        self._env = simpy.Environment()
        self._down = 0
        self._busy = 0
        self._owner = [ABSENCE] * len(compiled.names)
        self._since = [0.0] * len(compiled.names)
        self._place = list(compiled.places)
        self._line: list[tuple[int, float, int]] = []
        self._grants: dict[int, simpy.Event] = {}
        self._asking: list[tuple[int, float, int, Part]] = []
        self._blamed: dict[int, tuple[Wait, float]] = {}
        self._alarms: set[float] = set()
        self._ended = [self._env.event() for _ in compiled.jobs]
        jobs = len(compiled.jobs)
        ready, start, finish = (np.full(jobs, np.inf) for _ in range(3))
        self.course = Course(ready, start, finish, [], {})

    def run(self) -> Course:
        """Let it happen, up to the last job's end or the limit."""
        env = self._env
        for number in range(len(self._week.jobs)):
            env.process(self._job(number))
        for number, spans in enumerate(self._broken):
            if spans:
                env.process(self._breakages(1 << number, spans))
        left = env.all_of(self._ended)
        env.run(until=env.any_of([left, env.timeout(self._week.limit)]))
        for number in range(len(self._week.names)):
            if self._busy >> number & 1:
                self.course.held.append((number, self._since[number], env.now))
        for who in list(self._blamed):
            self._blame(who, None)
        return self.course

    def _job(self, number: int) -> Generator[simpy.Event, Any, None]:
        env, job, course = self._env, self._week.jobs[number], self.course
        if job.arrival > 0:
            yield env.timeout(job.arrival)
        for other in job.after:
            if not self._ended[other].processed:
                yield self._ended[other]
        course.ready[number] = env.now
        if job.mask:
            insort(self._line, (job.rank, env.now, number))
            self._grants[number] = grant = env.event()
            self._look()
            yield grant
        course.start[number] = env.now
        for part in job.parts:
            if part.moves >= 0 and self._place[part.moves] == job.station:
                continue
            operator = ABSENCE
            if part.hands:
                insort(self._asking, (job.rank, env.now, number, part))
                self._grants[number] = grant = env.event()
                self._look()
                operator = yield grant
            yield env.timeout(self._end(self._seconds[part.column], job.resources) - env.now)
            if operator != ABSENCE:
                self._free(operator)
            if part.moves >= 0:
                self._place[part.moves] = job.station
        for resource in job.resources:
            self._free(resource)
        course.finish[number] = env.now
        self._ended[number].succeed()

    def _end(self, work: float, resources: tuple[int, ...]) -> float:
        """When `work` seconds that begin now are over, breakages of the resources left out."""
        now = self._env.now
        spans = [span for r in resources for span in self._broken[r] if span[1] > now]
        for begin, end in sorted(spans):
            if now + work <= begin:
                break
            work -= max(begin - now, 0.0)
            now = max(now, end)
        return now + work

    def _breakages(self, bit: int, spans: list[tuple[float, float]]) -> Generator[simpy.Event, Any, None]:
        for begin, end in spans:
            yield self._env.timeout(max(begin - self._env.now, 0.0))
            self._down |= bit
            yield self._env.timeout(max(end - self._env.now, 0.0))
            self._down &= ~bit
            self._look()

    def _take(self, what: int, number: int) -> None:
        self._busy |= 1 << what
        self._owner[what], self._since[what] = number, self._env.now

    def _free(self, what: int) -> None:
        self._busy &= ~(1 << what)
        self.course.held.append((what, self._since[what], self._env.now))
        self._look()

    def _look(self, at: float | None = None) -> None:
        """Look at both lines at the end of this instant, or of a later one."""
        at = self._env.now if at is None else at
        if at not in self._alarms:
            self._alarms.add(at)
            event = _AtLast(self._env, max(at - self._env.now, 0.0))
            event.callbacks.append(lambda _: self._serve(at))

    def _serve(self, at: float) -> None:
        self._alarms.discard(at)
        if self._line and self._serve_resources():
            self._look()  # whoever was let in may ask for hands at this instant, too
        elif self._asking:
            self._serve_hands()

    def _serve_resources(self) -> bool:
        """Let in whoever may; gives whether anybody was."""
        taken = self._busy | self._down
        ahead: dict[int, int] = {}
        left = []
        for entry in self._line:
            number = entry[2]
            job = self._week.jobs[number]
            clash = job.mask & taken
            if not clash:
                for resource in job.resources:
                    self._take(resource, number)
                taken |= job.mask
                self._grant(number, 0)
                continue
            left.append(entry)
            resource = (clash & -clash).bit_length() - 1
            if clash & self._busy:
                resource = ((clash & self._busy) & -(clash & self._busy)).bit_length() - 1
            self._blame(number, (number, self._who(resource, ahead), resource))
            if not self._week.overtake:
                for wanted in job.resources:
                    ahead.setdefault(wanted, number)
                taken |= job.mask
        let_in = len(left) < len(self._line)
        self._line = left
        return let_in

    def _who(self, resource: int, ahead: dict[int, int]) -> int:
        if self._busy >> resource & 1:
            return self._owner[resource]
        return ABSENCE if self._down >> resource & 1 else ahead.get(resource, ABSENCE)

    def _serve_hands(self) -> None:
        now, first = self._env.now, self._week.resources
        left = []
        for entry in self._asking:
            _, _, number, part = entry
            free = [o for o in part.hands if not self._busy >> o & 1]
            starts = [(self._week.shifts[o - first].next_start(now, part.need), o) for o in free]
            soonest, operator = min(starts, default=(np.inf, part.hands[0]))
            if soonest <= now + 1e-6:
                self._take(operator, number)
                self._grant(number, operator)
                continue
            left.append(entry)
            self._blame(number, (number, ABSENCE if free else self._owner[operator], operator))
            if soonest < self._week.limit:
                self._look(soonest)
        self._asking = left

    def _grant(self, number: int, value: int) -> None:
        self._blame(number, None)
        self._grants.pop(number).succeed(value)

    def _blame(self, number: int, wait: Wait | None) -> None:
        """From now on `number` waits for this; what it waited for until now is booked."""
        before = self._blamed.pop(number, None)
        if before is not None:
            seconds = self._env.now - before[1]
            if seconds > 0:
                self.course.waits[before[0]] = self.course.waits.get(before[0], 0.0) + seconds
        if wait is not None:
            self._blamed[number] = (wait, self._env.now)
