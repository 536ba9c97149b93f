"""Patterns, events and sequences as the WGFMU's library keeps them; knows no instrument and no physics.

Ranges and rounding: B1530A User's Guide (times in 10 ns steps, a vector of 10 ns..10995.11627775 s, a sampling interval
of 10 ns..1.34217728 s, averaging over 10 ns..20.971512 ms, 1..1e12 loops). Times are kept in whole ticks of 10 ns.
Uncertain: the code for a measurement that lasts longer than its pattern (here "settings contradict each other").
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from instruments.wgfmu_functions import (
    CONTEXT,
    ILLEGAL_STRING,
    OUT_OF_RANGE,
    TICK,
    Axis,
    CurrentRange,
    EventData,
    WgfmuError,
)

LONGEST_VECTOR = 10995.11627775
LONGEST_INTERVAL, LONGEST_AVERAGE = 1.34217728, 20.971512e-3
MOST_VOLTS = 10.0
MOST_LOOPS = 1e12
CONVERSION = 5e-9
"""Time of one conversion, s: raw data come so densely."""


def checked(value: float, low: float, high: float, what: str) -> float:
    """A number in low..high; WgfmuError -1 otherwise."""
    if not (math.isfinite(value) and low * (1 - 1e-9) - 1e-15 <= value <= high * (1 + 1e-9)):
        raise WgfmuError(OUT_OF_RANGE, f"{what} {value:g} is not in {low:g} to {high:g}")
    return value


def ticks(seconds: float) -> int:
    """Whole ticks, rounded to the nearest."""
    return round(seconds / TICK)


def named(text: str) -> str:
    """A name; WgfmuError -2 if it is empty."""
    if not text:
        raise WgfmuError(ILLEGAL_STRING, repr(text))
    return text


@dataclass(frozen=True)
class MeasureEvent:
    """A sampling measurement within a pattern; start, interval and average in ticks."""

    name: str
    start: int
    points: int
    interval: int
    average: int
    raw: bool

    @classmethod
    def checked(
        cls, name: str, time: float, points: int, interval: float, average: float, data: int, end: int
    ) -> "MeasureEvent":
        """From the library's parameters for a pattern that ends after `end` ticks; WgfmuError -1, -2 or -3."""
        start = ticks(checked(time, 0.0, end * TICK, "time"))
        if not 1 <= points <= 2**31 - 1:
            raise WgfmuError(OUT_OF_RANGE, f"{points} points")
        every = ticks(checked(interval, TICK, LONGEST_INTERVAL, "interval"))
        over = 0 if average == 0 else ticks(checked(average, TICK, LONGEST_AVERAGE, "averaging time"))
        if data not in tuple(EventData):
            raise WgfmuError(OUT_OF_RANGE, f"data mode {data}")
        if over > every:
            raise WgfmuError(CONTEXT, f"averaging over {average:g} s every {interval:g} s")
        if start + (points - 1) * every + max(over, 1) > end:
            raise WgfmuError(CONTEXT, f"event {name} goes on when its pattern is over")
        return cls(named(name), start, points, every, over, data == EventData.RAW)

    @property
    def values(self) -> int:
        """Values a point gives: one, or all conversions of its averaging time."""
        return 1 + int(self.average * TICK / CONVERSION + 1e-6) if self.raw else 1


@dataclass
class Pattern:
    """Corners (ticks, volts) joined by straight lines, and what happens on the way."""

    times: list[int]
    volts: list[float]
    measures: list[MeasureEvent] = field(default_factory=list)
    ranges: list[tuple[int, CurrentRange]] = field(default_factory=list)
    triggers: list[tuple[int, int]] = field(default_factory=list)

    @classmethod
    def at(cls, volts: float) -> "Pattern":
        """A pattern of one corner."""
        return cls([0], [checked(volts, -MOST_VOLTS, MOST_VOLTS, "voltage")])

    @property
    def end(self) -> int:
        """Ticks it lasts."""
        return self.times[-1]

    def add(self, durations: Iterable[float], volts: Iterable[float]) -> None:
        """Append vectors; if one is out of range none is added."""
        times, levels = list(self.times), list(self.volts)
        for duration, level in zip(durations, volts, strict=True):
            times.append(times[-1] + max(1, ticks(checked(duration, TICK, LONGEST_VECTOR, "vector time"))))
            levels.append(checked(level, -MOST_VOLTS, MOST_VOLTS, "voltage"))
        self.times, self.volts = times, levels

    def put(self, time: float, volts: float) -> None:
        """Add or replace a corner at an absolute time."""
        at, level = ticks(checked(time, 0.0, 1e9, "time")), checked(volts, -MOST_VOLTS, MOST_VOLTS, "voltage")
        corners = dict(zip(self.times, self.volts, strict=True)) | {at: level}
        self.times = sorted(corners)
        self.volts = [corners[t] for t in self.times]

    def level(self, at: Sequence[float]) -> npt.NDArray[np.float64]:
        """Volts at times in ticks; the last level beyond the end."""
        return np.asarray(np.interp(at, self.times, self.volts), dtype=np.float64)

    def merged(self, other: "Pattern", axis: int) -> "Pattern":
        """This one and another, one after the other or on top of each other."""
        if axis == Axis.TIME:
            return Pattern(self.times + [self.end + t for t in other.times[1:]], self.volts + other.volts[1:])
        if axis == Axis.VOLTAGE:
            times = sorted({*self.times, *other.times})
            return Pattern(times, _within(self.level(times) + other.level(times)))
        raise WgfmuError(OUT_OF_RANGE, f"axis {axis}")

    def multiplied(self, time: float, volts: float) -> "Pattern":
        """Stretched in both directions."""
        if time <= 0 or volts == 0:
            raise WgfmuError(OUT_OF_RANGE, f"factors {time:g}, {volts:g}")
        times = [round(t * time) for t in self.times]
        if any(b <= a for a, b in itertools.pairwise(times)):
            raise WgfmuError(OUT_OF_RANGE, "vectors get shorter than 10 ns")
        return Pattern(times, _within(np.array(self.volts) * volts))

    def shifted(self, time: float, volts: float) -> "Pattern":
        """Moved in both directions; a later one starts with its first level."""
        by = ticks(checked(time, 0.0, LONGEST_VECTOR, "time offset"))
        levels = _within(np.array(self.volts) + volts)
        if by == 0:
            return Pattern(list(self.times), levels)
        return Pattern([0, *(t + by for t in self.times)], [levels[0], *levels])


def _within(volts: npt.NDArray[np.float64]) -> list[float]:
    return [checked(float(v), -MOST_VOLTS, MOST_VOLTS, "voltage") for v in volts]
