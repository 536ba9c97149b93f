"""What an oscilloscope measures on a record: levels, times, areas; knows no language.

Definitions as in the makers' manuals (and IEEE 181): top and base are the more frequent values of the upper and the
lower half of the record, or its extremes where there is no such value; edges are measured at 10, 50 and 90 % of the way
from base to top, with a hysteresis of 5 % around the middle. What can't be found is None.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

HYSTERESIS = 0.05
FLAT_SHARE = 0.05
"""A level counts as top or base if so large a share of the samples lies there."""


@dataclass(frozen=True, eq=False)
class Waveform:
    """A record to measure on.

    Attributes:
        volts: samples, shape (points,).
        step: between them, s.
        first: time of the first, s after the trigger.
    """

    volts: Floats
    step: float
    first: float

    @cached_property
    def levels(self) -> tuple[float, float]:
        """Base and top, V."""
        low, high = float(self.volts.min()), float(self.volts.max())
        if high <= low:
            return low, high
        counts, edges = np.histogram(self.volts, bins=64, range=(low, high))

        def mode(part: slice, other: float) -> float:
            at = (part.start or 0) + int(np.argmax(counts[part]))
            if counts[at] < FLAT_SHARE * len(self.volts):
                return other
            return float(self.volts[(self.volts >= edges[at]) & (self.volts <= edges[at + 1])].mean())

        return mode(slice(0, 32), low), mode(slice(32, 64), high)

    def at(self, share: float) -> float:
        """Level so far from base to top."""
        base, top = self.levels
        return base + share * (top - base)

    @cached_property
    def edges(self) -> list[tuple[float, bool]]:
        """Middle crossings: time (s after the trigger), rising."""
        base, top = self.levels
        if top <= base:
            return []
        band = HYSTERESIS * (top - base)
        state = np.zeros(len(self.volts), np.int8)
        state[self.volts > self.at(0.5) + band] = 1
        state[self.volts < self.at(0.5) - band] = -1
        known = np.flatnonzero(state)
        changes = np.flatnonzero(np.diff(state[known]))
        found = []
        for k in changes:
            before, after = int(known[k]), int(known[k + 1])
            found.append((self._crossing(before, after, self.at(0.5)), bool(state[after] > 0)))
        return found

    def _crossing(self, before: int, after: int, level: float) -> float:
        """Where the record passes a level between two samples, by a straight line."""
        part = self.volts[before : after + 1]
        side = part >= level
        k = int(np.flatnonzero(side != side[0])[0]) - 1
        a, b = float(part[k]), float(part[k + 1])
        return self.first + (before + k + (level - a) / (b - a)) * self.step

    def ramp(self, rising: bool) -> float | None:
        """10-90 % time of the first edge of a kind, s."""
        for time, up in self.edges:
            if up != rising:
                continue
            middle = (time - self.first) / self.step
            low, high = self.at(0.1), self.at(0.9)
            begin, end = (low, high) if rising else (high, low)
            left, right = self.volts[: int(middle) + 1], self.volts[int(middle) + 1 :]
            behind = np.flatnonzero(left <= begin if rising else left >= begin)
            ahead = np.flatnonzero(right >= end if rising else right <= end)
            if not len(behind) or not len(ahead):
                continue
            i, j = int(behind[-1]), int(middle) + 1 + int(ahead[0])
            return self._crossing(j - 1, j, end) - self._crossing(i, i + 1, begin)
        return None

    def widths(self, positive: bool) -> list[float]:
        """Of all pulses of a sign that lie within the record, s."""
        return [b - a for (a, up), (b, _) in itertools.pairwise(self.edges) if up == positive]

    def period(self) -> float | None:
        """Mean period, s."""
        for rising in (True, False):
            times = [t for t, up in self.edges if up == rising]
            if len(times) > 1:
                return (times[-1] - times[0]) / (len(times) - 1)
        return None

    def width(self, positive: bool) -> float | None:
        """Mean width of pulses of a sign, s."""
        found = self.widths(positive)
        return sum(found) / len(found) if found else None


def _ratio(a: float | None, b: float | None) -> float | None:
    return None if a is None or not b else a / b


def _over(w: Waveform, up: bool) -> float | None:
    base, top = w.levels
    if top <= base:
        return None
    return 100 * (float(w.volts.max()) - top if up else base - float(w.volts.min())) / (top - base)


def _slew(w: Waveform, rising: bool) -> float | None:
    base, top = w.levels
    return _ratio((0.8 if rising else -0.8) * (top - base), w.ramp(rising))


def _rms(volts: Floats) -> float:
    return math.sqrt(float(np.mean(np.square(volts))))


def _cycle(w: Waveform) -> Floats | None:
    rising = [t for t, up in w.edges if up]
    if len(rising) < 2:
        return None
    a, b = (math.ceil((t - w.first) / w.step) for t in (rising[0], rising[1]))
    return w.volts[a:b]


def _count(w: Waveform, rising: bool) -> float:
    return float(sum(up == rising for _, up in w.edges))


MEASUREMENTS: dict[str, Callable[[Waveform], float | None]] = {
    "max": lambda w: float(w.volts.max()),
    "min": lambda w: float(w.volts.min()),
    "peak to peak": lambda w: float(np.ptp(w.volts)),
    "base": lambda w: w.levels[0],
    "top": lambda w: w.levels[1],
    "amplitude": lambda w: w.levels[1] - w.levels[0],
    "mean": lambda w: float(w.volts.mean()),
    "rms": lambda w: _rms(w.volts),
    "ac rms": lambda w: float(w.volts.std()),
    "cycle mean": lambda w: None if (c := _cycle(w)) is None else float(c.mean()),
    "cycle rms": lambda w: None if (c := _cycle(w)) is None else _rms(c),
    "area": lambda w: float(w.volts.sum()) * w.step,
    "period": lambda w: w.period(),
    "frequency": lambda w: _ratio(1.0, w.period()),
    "rise": lambda w: w.ramp(True),
    "fall": lambda w: w.ramp(False),
    "rise slew": lambda w: _slew(w, True),
    "fall slew": lambda w: _slew(w, False),
    "positive width": lambda w: w.width(True),
    "negative width": lambda w: w.width(False),
    "duty": lambda w: None if (r := _ratio(w.width(True), w.period())) is None else 100 * r,
    "negative duty": lambda w: None if (r := _ratio(w.width(False), w.period())) is None else 100 * r,
    "overshoot": lambda w: _over(w, True),
    "preshoot": lambda w: _over(w, False),
    "time of max": lambda w: w.first + float(np.argmax(w.volts)) * w.step,
    "time of min": lambda w: w.first + float(np.argmin(w.volts)) * w.step,
    "positive pulses": lambda w: float(len(w.widths(True))),
    "negative pulses": lambda w: float(len(w.widths(False))),
    "bit rate": lambda w: _ratio(1.0, min((*w.widths(True), *w.widths(False)), default=None)),
    "burst": lambda w: w.edges[-1][0] - w.edges[0][0] if len(w.edges) > 1 else None,
    "rising edges": lambda w: _count(w, True),
    "falling edges": lambda w: _count(w, False),
}
"""Each by its name here: V, s, Hz, V s, V/s, % or a count."""


def delay(one: Waveform, other: Waveform) -> float | None:
    """From the first rising edge of one to the first of the other, s."""
    starts = [next((t for t, up in w.edges if up), None) for w in (one, other)]
    return None if starts[0] is None or starts[1] is None else starts[1] - starts[0]


def phase(one: Waveform, other: Waveform) -> float | None:
    """The same in degrees of the first one's period."""
    ratio = _ratio(delay(one, other), one.period())
    return None if ratio is None else 360 * ratio
