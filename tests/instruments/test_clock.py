"""Clocks: virtual time is exact in nanoseconds and runs what falls due; real time goes on by itself."""

from collections.abc import Generator
from datetime import datetime, timedelta

import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from instruments.clock import NS, VirtualClock, WallClock, stopwatch, wall_time


@given(st.lists(st.integers(0, 10**15), max_size=30), st.integers(0, 2**62))
def test_nanoseconds_add_up_exactly(steps: list[int], start: int) -> None:
    clock = VirtualClock(start)
    for step in steps:
        clock.advance_ns(step)
    assert clock.now_ns == start + sum(steps)


@given(st.lists(st.floats(0, 1e6), max_size=30))
def test_seconds_are_rounded_to_nanoseconds(steps: list[float]) -> None:
    clock = VirtualClock()
    for step in steps:
        clock.sleep(step)
    assert clock.now_ns == sum(round(step * NS) for step in steps)
    assert clock.now() == clock.now_ns / NS


def test_a_night_passes_at_once() -> None:
    clock = VirtualClock()
    clock.sleep(1e8)
    assert clock.now() == 1e8
    assert clock.is_virtual


def test_time_does_not_run_backwards() -> None:
    clock = VirtualClock(5)
    with pytest.raises(ValueError, match="backwards"):
        clock.sleep(-1e-9)
    clock.advance_ns(-3)
    assert clock.now_ns == 5


def test_events_run_at_their_instants_while_somebody_sleeps() -> None:
    clock = VirtualClock(100)
    seen: list[tuple[str, int]] = []

    def ticking(name: str, every: int, times: int) -> Generator[simpy.Event, None, None]:
        for _ in range(times):
            yield clock.env.timeout(every)
            seen.append((name, clock.now_ns))

    clock.env.process(ticking("a", 30, 3))
    clock.env.process(ticking("b", 50, 1))
    clock.advance_ns(60)  # up to and including the instant
    assert seen == [("a", 130), ("b", 150), ("a", 160)]
    assert clock.now_ns == 160
    clock.advance_ns(1000)
    assert seen[3:] == [("a", 190)]
    assert clock.now_ns == 1160


def test_a_step_jumps_to_the_next_event() -> None:
    clock = VirtualClock()
    assert clock.next_event_ns() is None
    clock.env.timeout(70)
    assert clock.next_event_ns() == 70
    clock.step()
    assert (clock.now_ns, clock.next_event_ns()) == (70, None)


def test_sleeping_leaves_nothing_pending() -> None:
    clock = VirtualClock()
    clock.sleep(3)
    clock.sleep(0)
    assert clock.next_event_ns() is None


def test_what_an_event_raises_reaches_the_sleeper() -> None:
    clock = VirtualClock()

    def broken() -> Generator[simpy.Event, None, None]:
        yield clock.env.timeout(10)
        raise RuntimeError("smoke")

    clock.env.process(broken())
    with pytest.raises(RuntimeError, match="smoke"):
        clock.sleep(1)


def test_the_wall_clock_never_goes_back() -> None:
    clock = WallClock()
    readings = [clock.now() for _ in range(100)]
    assert readings == sorted(readings)
    assert readings[0] >= 0
    clock.sleep(0)
    clock.sleep(-1)
    assert clock.now() >= readings[-1]
    assert not clock.is_virtual


def test_the_time_of_day_carries_its_zone() -> None:
    stamp = datetime.fromisoformat(wall_time())
    assert stamp.utcoffset() == timedelta(0)
    assert stamp.microsecond % 1000 == 0


def test_the_stopwatch_runs_forward() -> None:
    assert stopwatch() <= stopwatch()
