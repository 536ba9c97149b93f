"""When an oscilloscope records: armed, waiting for its trigger, complete.

The bench tells of a run when it is over. A record that needs the time after that is complete later; one that needs
less is complete at once, if a little later than on a real bench.
"""

import math
from collections.abc import Callable, Generator
from typing import Any

import numpy as np

from instruments.clock import NS, VirtualClock
from instruments.twin.scope_front_end import Plan, Record, Run, Silence, digitise, first_crossing

REARM = 5e-3
"""From the command to a trigger circuit that looks out, with an empty pre-trigger buffer, s (estimate)."""
AUTO_WAIT = 50e-3
"""How long an automatic sweep waits for a trigger, s (estimate)."""


class Digitizer:
    """Arms, triggers, records.

    Args:
        clock: the bench's.
        rng: draws noise.
        plan: how a record is to be taken now.
        finished: called when an acquisition is complete, inside an event of the clock: it must not let time pass.

    Attributes:
        running: acquiring, or waiting for a trigger.
        record: the last one, or None.
        count: acquisitions since the last `arm`.
    """

    def __init__(
        self,
        clock: VirtualClock,
        rng: Callable[[], np.random.Generator],
        plan: Callable[[], Plan],
        finished: Callable[[], None],
    ) -> None:
        self.running = False
        self._record: Record | None = None
        self.count = 0
        self._clock, self._rng, self._plan, self._finished = clock, rng, plan, finished
        self._single = True
        self._pending = False  # a record is taken, but its last sample is still to come
        self._serial = 0
        self._armed_ns = 0
        self._arm_event = self._trigger_event = False
        self._free = False  # nobody has armed it since a reset: records are taken when somebody looks
        self._seen: Run | None = None

    @property
    def record(self) -> Record | None:
        """The last record, or None."""
        if self._free:
            self._look()
        return self._record

    def free_run(self) -> None:
        """As after a reset: acquire again and again. A record is taken when one is asked for, of the last run."""
        self.stop()
        self._record = self._seen = None
        self.running, self._single, self.count, self._free = True, False, 0, True

    def _look(self) -> None:
        plan, run, self._seen = self._plan(), self._seen, None
        if run is None and self._record is not None and self._record.plan == plan:
            return
        at = None if run is None else first_crossing(run, plan.edge, self._armed_ns / NS - run.start)
        if (run is None or at is None) and plan.edge.auto:
            run, at = Silence(self._clock.now()), 0.0
        if run is not None and at is not None:
            self._record = Record(plan, digitise(run, at, plan, self._rng()), run, at)

    @property
    def trigger_event(self) -> bool:
        """Whether a trigger came that `take_trigger_event` has not told of."""
        return self._trigger_event

    @property
    def single(self) -> bool:
        """Whether it was armed for one record."""
        return self._single

    @property
    def ready(self) -> bool:
        """The pre-trigger buffer is full, and the trigger hasn't come."""
        return self.running and not self._pending and self._clock.now_ns >= self._armed_ns

    @property
    def triggered(self) -> bool:
        """The trigger has come, the record is not complete."""
        return self._pending

    def take_arm_event(self) -> bool:
        """Whether the trigger was armed since this was asked last."""
        happened = self._arm_event and self._clock.now_ns >= self._armed_ns
        self._arm_event &= not happened
        return happened

    def take_trigger_event(self) -> bool:
        """Whether a trigger came since this was asked last."""
        happened, self._trigger_event = self._trigger_event, False
        return happened

    def arm(self, single: bool) -> None:
        """Start anew: fill the pre-trigger buffer, then wait for a trigger; for one record, or again and again."""
        plan = self._plan()
        self.stop()
        self._free, self._seen = False, None
        self.running, self._single, self.count = True, single, 0
        wait = REARM + max(0.0, -plan.first)
        self._armed_ns = self._clock.now_ns + round(wait * NS)
        self._arm_event, self._trigger_event = True, False
        if plan.edge.auto:
            self._later(wait + AUTO_WAIT, self.force)

    def stop(self) -> None:
        """Give up what is not complete."""
        self.running = self._pending = False
        self._serial += 1

    def force(self) -> None:
        """Trigger now, if a trigger is waited for."""
        if self.ready:
            self._acquire(Silence(self._clock.now()), 0.0)

    def on_run(self, run: Run) -> None:
        """A run is over: see whether it brought the trigger."""
        if not self.running or self._pending:
            return
        if self._free:
            self._seen = run
            return
        at = first_crossing(run, self._plan().edge, self._armed_ns / NS - run.start)
        if at is not None:
            self._acquire(run, at)

    def view(self, points: int) -> Record | None:
        """The record with fewer points, or with more, over the same time; None if there is none."""
        record = self.record
        if record is None or points == record.plan.points:
            return record
        if points not in record.views:
            old = record.plan
            plan = Plan(old.inputs, old.edge, old.first, old.step * old.points / points, points, old.bits)
            every, rest = divmod(old.points, points)
            codes = (
                {channel: c[::every] for channel, c in record.codes.items()}
                if not rest
                else digitise(record.run, record.trigger, plan, self._rng())
            )
            record.views[points] = Record(plan, codes, record.run, record.trigger)
        return record.views[points]

    def _acquire(self, run: Run, trigger: float) -> None:
        plan = self._plan()
        record = Record(plan, digitise(run, trigger, plan, self._rng()), run, trigger)
        self._trigger_event, self._pending = True, True
        left = run.start + trigger + plan.last - self._clock.now()
        if left > 0:
            self._later(left, lambda: self._complete(record))
        else:
            self._complete(record)

    def _complete(self, record: Record) -> None:
        self._record, self._pending, self._free = record, False, False
        self.count += 1
        self.running = not self._single
        # What follows a record in a continuous sweep fills its buffer from here.
        self._armed_ns = self._clock.now_ns + round(max(0.0, -record.plan.first) * NS)
        self._serial += 1
        self._finished()

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        def wait(serial: int) -> Generator[Any, Any, None]:
            yield self._clock.env.timeout(math.ceil(seconds * NS))
            if serial == self._serial:
                action()

        self._clock.env.process(wait(self._serial))
