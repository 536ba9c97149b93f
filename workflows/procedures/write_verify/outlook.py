"""How many trims a cell is still to take: a small dynamic program, by which the choice of a pulse is made.

A trim aimed at a step d makes one of d L, L lognormal. From an error of r half windows on, the best median step is a
share a of the way, and V(r) = 1 + min over a of the mean of V(r |1 - a L|), with V = 0 inside the window.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

Z = (-1.465, -0.792, -0.366, 0.0, 0.366, 0.792, 1.465)
"""Seven equally likely values of a standard normal deviate."""
SHARES = (0.3, 0.45, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25)
"""Shares of the way that the median of a trim may be aimed at."""
_MOST = 60.0
_POINTS, _REACH = 80, math.log(400.0)
_GRID = np.linspace(0.0, _REACH, _POINTS)
_STEP = 0.05


def _level(spread: float) -> float:
    """A spread on the grid that tables are made for."""
    return min(max(round(spread / _STEP), 2), 60) * _STEP


def _outcomes(spread: float) -> Floats:
    """Logarithm of the error left, (points, shares, outcomes)."""
    z = np.linspace(-2.4, 2.4, 25)
    factors = np.exp(spread * z)
    left = np.abs(1 - np.array(SHARES)[:, None] * factors)
    return np.asarray(_GRID[:, None, None] + np.log(np.maximum(left, 1e-9)))


_WEIGHTS = np.exp(-0.5 * np.linspace(-2.4, 2.4, 25) ** 2)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


def _value(where: Floats, table: Floats) -> Floats:
    return np.where(where <= 0, 0.0, np.interp(where, _GRID, table))


@functools.lru_cache(maxsize=256)
def _settled(spread: float) -> tuple[float, ...]:
    """V on the grid, every trim alike."""
    where = _outcomes(spread)
    table = np.full(_POINTS, 1.0)
    for _ in range(60):
        after = 1 + (_value(where, table) * _WEIGHTS).sum(axis=-1).min(axis=-1)
        if np.max(np.abs(after - table)) < 1e-3:
            break
        table = np.minimum(after, _MOST)
    return tuple(table.tolist())


@functools.lru_cache(maxsize=1024)
def _first(spread: float, later: float) -> tuple[float, ...]:
    """V on the grid when only the first trim has another spread: the cell is known better after it."""
    where = _outcomes(spread)
    table = 1 + (_value(where, np.array(_settled(later))) * _WEIGHTS).sum(axis=-1).min(axis=-1)
    return tuple(np.minimum(table, _MOST).tolist())


def _look_up(table: tuple[float, ...], r: float) -> float:
    if r <= 1:
        return 0.0
    place = math.log(r) / _REACH * (_POINTS - 1)
    i = int(place)
    if i >= _POINTS - 1:
        return table[-1]
    return table[i] + (place - i) * (table[i + 1] - table[i])


@dataclass(frozen=True)
class Side:
    """Trims towards the target from one side: standard deviations of the logarithm of a step, now and once known."""

    now: float
    later: float

    def first(self, r: float) -> float:
        """Trims to expect from r half windows on."""
        return _look_up(_first(_level(self.now), _level(min(self.later, self.now))), r)

    def then(self, r: float) -> float:
        """The same, behind a trim of this side."""
        return _look_up(_settled(_level(min(self.later, self.now))), r)


@dataclass(frozen=True)
class Outlook:
    """Pulses to be expected from an error on.

    Attributes:
        half: half width of the verify window, uS.
        set, reset: trims from below and from above.
        gate: pulses that a gate-limited SET and what follows it take; no more than these are ever expected.
    """

    half: float
    set: Side
    reset: Side
    gate: float = _MOST

    def left(self, gap: float) -> float:
        """Pulses to expect from `gap` = target - g (uS) on."""
        side, most = (self.set, self.gate) if gap > 0 else (self.reset, self.gate + 1)
        return min(side.first(abs(gap) / self.half), most)

    def trim(self, gap: float) -> tuple[float, float]:
        """The best median step of a trim (uS), and the pulses to expect with it."""
        size, sign = abs(gap), 1.0 if gap > 0 else -1.0
        side, most = (self.set, self.gate) if gap > 0 else (self.reset, self.gate + 1)
        factors = [math.exp(side.now * z) for z in Z]
        best = size, math.inf
        for share in SHARES:
            cost = 1.0
            for f in factors:
                rest = size * (1 - share * f)
                if rest > 0:
                    cost += min(side.then(rest / self.half), most) / len(Z)
                else:
                    cost += self.left(sign * rest) / len(Z)
            if cost < best[1]:
                best = share * size, cost
        return best
