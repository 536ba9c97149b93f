"""What a plan consists of: jobs, their steps, the resources and people they need. Times are s from the plan's start."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from workflows.planning.durations import Duration
from workflows.planning.hours import Era, Shifts


@dataclass(frozen=True)
class Step:
    """A part of a job.

    Attributes:
        name: what is done.
        duration: how long it takes.
        hands: operators any one of whom must be there for all of it; empty if nobody is needed.
    """

    name: str
    duration: Duration
    hands: tuple[str, ...] = ()


@dataclass(frozen=True)
class Resource:
    """A station or shared instrument, which one job has at a time.

    Attributes:
        name: unique among resources and operators.
        at: station where an instrument stands at the start; "" if it need not be moved.
        move: what carrying it to another station takes; None: nothing.
        mtbf, mttr: mean times between failures and to repair, both exponential, s; 0: never fails.
    """

    name: str
    at: str = ""
    move: Step | None = None
    mtbf: float = 0.0
    mttr: float = 0.0


@dataclass(frozen=True)
class Job:
    """One job, or one repetition of a recurring one.

    Attributes:
        name: unique: that of the file, with "#1", "#2", ... if it recurs.
        base: its name in the file.
        arrival: when it is asked for.
        station: where it runs; "" if anywhere.
        resources: what it must have, all at once, from its first step to its last: station and instruments.
        priority: higher goes first.
        steps: in order.
        after: names of the jobs that must have finished.
        due: None if no one waits.
    """

    name: str
    base: str
    arrival: float
    station: str
    resources: tuple[str, ...]
    priority: int
    steps: tuple[Step, ...]
    after: tuple[str, ...] = ()
    due: float | None = None


@dataclass(frozen=True)
class Week:
    """A checked plan.

    Attributes:
        name: of the plan.
        era: its start and local time.
        span: its length; jobs arrive within it and may end later.
        limit: the forecast looks no further.
        overtake: whether a job whose resources are all free may pass one that waits for some of them.
        stations: names of those of the resources that are stations.
        resources: stations and instruments.
        operators: working hours by name.
        jobs: each with all of its repetitions, in the order of the file.
    """

    name: str
    era: Era
    span: float
    limit: float
    overtake: bool
    stations: tuple[str, ...]
    resources: tuple[Resource, ...]
    operators: Mapping[str, Shifts] = field(default_factory=dict)
    jobs: tuple[Job, ...] = ()
