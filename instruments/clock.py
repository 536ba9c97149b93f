"""The only place that asks for the time.

Everything else is handed a `Clock`. On a real bench it is the machine's; on a twin it is the bench's own,
which a simpy environment drives in whole nanoseconds, so that a night in the lab takes seconds and two runs
with one seed see the same instants.
"""

import time
from datetime import UTC, datetime
from typing import Protocol

import simpy

NS = 1_000_000_000


class Clock(Protocol):
    """What procedures and drivers may know of time."""

    @property
    def is_virtual(self) -> bool:
        """Whether the seconds are simulated."""
        ...

    def now(self) -> float:
        """Seconds on this clock since its own zero; never goes back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let `seconds` (>= 0) pass on this clock."""
        ...


class WallClock:
    """The machine's monotonic clock, zero at construction."""

    is_virtual = False

    def __init__(self) -> None:
        self._zero = time.monotonic()

    def now(self) -> float:
        """Seconds since construction."""
        return time.monotonic() - self._zero

    def sleep(self, seconds: float) -> None:
        """Block the calling thread for `seconds`."""
        if seconds > 0:
            time.sleep(seconds)


class VirtualClock:
    """Simulated time: a simpy environment counted in integer nanoseconds.

    `sleep` runs every event that falls due on the way, so a board that is computing, or an instrument that
    replies late, lives on while somebody waits.

    Args:
        start_ns: reading at construction, nanoseconds >= 0 (a bench goes on where it was left).
    """

    is_virtual = True

    def __init__(self, start_ns: int = 0) -> None:
        self.env = simpy.Environment(initial_time=start_ns)

    @property
    def now_ns(self) -> int:
        """Nanoseconds on this clock."""
        return int(self.env._now)  # without the property: it is asked several times a message

    def now(self) -> float:
        """Seconds on this clock."""
        return self.now_ns / NS

    def sleep(self, seconds: float) -> None:
        """Advance by `seconds`, rounded to whole nanoseconds; negative values are refused."""
        if seconds < 0:
            raise ValueError(f"can't sleep {seconds} s: time does not run backwards")
        self.advance_ns(round(seconds * NS))

    def advance_ns(self, nanoseconds: int) -> None:
        """Advance by whole nanoseconds, running every event due up to and including that instant."""
        env, target = self.env, self.now_ns + nanoseconds
        queue = env._queue  # what `peek` looks at, which takes an exception to say that there is nothing
        if nanoseconds > 0 and (not queue or queue[0][0] > target):
            env._now = target  # nothing happens on the way: a fifth of the time that an event takes
            return
        # An event of our own marks the end: env.run(until=...) would do it with an exception a call.
        if nanoseconds > 0:
            env.timeout(nanoseconds)
        while env.peek() <= target:
            env.step()

    def next_event_ns(self) -> int | None:
        """Instant of the next scheduled event, or None when nothing is pending."""
        queue = self.env._queue
        return int(queue[0][0]) if queue else None

    def step(self) -> None:
        """Jump to the next scheduled event and run it."""
        self.env.step()


def wall_time() -> str:
    """The date and time of day, ISO 8601 with zone (UTC): for records only, never for decisions."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def stopwatch() -> float:
    """Seconds on the machine's monotonic clock, for reporting how long a program took."""
    return time.perf_counter()
