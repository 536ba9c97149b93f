"""How fast a served bench's time goes: as fast as it can, like the wall's, or a whole number of times faster."""

import math
from collections.abc import Callable
from typing import Protocol

from instruments.clock import NS, Clock, VirtualClock

PACES = (1, 10, 100)
"""Scales of real time that are offered."""
PATIENCE_NS = 10 * NS
"""In virtual time, how far the bench's clock goes on at most for an answer that somebody waits for, ns."""
_SHORTEST = 1e-3
"""s of the wall between two looks at a bench that nobody speaks to."""


class Timer(Protocol):
    """What `call_later` gives."""

    def cancel(self) -> None:
        """Forget it."""
        ...


CallLater = Callable[[float, Callable[[], None]], Timer]


class Pacer:
    """Keeps a bench's clock and the wall's together.

    In virtual time every answer is due at once, however long it took the instrument; while nobody asks for anything the
    bench's clock goes like the wall's, so that a program that waits a second finds the bench a second older. (A wall
    that is made to stand still takes that away, and with it all that two equal sequences of messages could differ in.)
    Otherwise the clock goes with the wall's, and what an instrument did that takes longer is due when the wall has got
    there.

    Args:
        clock: the bench's.
        wall: the wall's.
        scale: seconds of the bench in one of the wall, > 0; None for virtual time.
        call_later: arranges for a call after so many seconds of the wall.
    """

    def __init__(self, clock: VirtualClock, wall: Clock, scale: float | None, call_later: CallLater) -> None:
        self.clock, self.scale = clock, scale
        self._wall, self._call_later = wall, call_later
        self._zero_ns, self._wall_zero = clock.now_ns, wall.now()
        # What a program computes between two messages isn't waiting, and moving the clock costs more than it is worth.
        self._least_ns = 1_000_000 if scale is None else 0
        self._timer: Timer | None = None
        self.passed: Callable[[], None] = lambda: None
        """Called when somebody waits and the bench has moved."""
        self.awaited: set[object] = set()
        """Who waits for something to happen."""

    @property
    def virtual(self) -> bool:
        """Whether nobody waits for the wall."""
        return self.scale is None

    def catch_up(self) -> None:
        """Let the bench live up to now."""
        behind = self._target_ns() - self.clock.now_ns
        if behind > self._least_ns:
            self.clock.advance_ns(behind)

    def due(self) -> float:
        """Seconds of the wall until the bench's present instant."""
        if self.scale is None:
            return 0.0
        return max(0.0, (self.clock.now_ns - self._target_ns()) / NS / self.scale)

    def arrange(self) -> None:
        """After each step of the bench: wake up for its next event, in place of an earlier arrangement."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.scale is None:
            self._zero_ns, self._wall_zero = self.clock.now_ns, self._wall.now()
        if (next_ns := self.clock.next_event_ns()) is None:
            return
        wait = (next_ns - self._target_ns()) / NS / (self.scale or 1.0)
        self._timer = self._call_later(max(wait, _SHORTEST), self._wake)

    def stop(self) -> None:
        """No more waking up."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def hurry(self, until_ns: int, answered: Callable[[], bool]) -> None:
        """In virtual time, run the bench's events until somebody is `answered` or the next one is after `until_ns`."""
        if self.scale is not None:
            return
        while not answered():
            due = self.clock.next_event_ns()
            if due is None or due > until_ns:
                return
            self.clock.step()

    def _wake(self) -> None:
        self._timer = None
        self.catch_up()
        self.passed()
        self.arrange()

    def _target_ns(self) -> int:
        return self._zero_ns + math.floor((self._wall.now() - self._wall_zero) * (self.scale or 1.0) * NS)
