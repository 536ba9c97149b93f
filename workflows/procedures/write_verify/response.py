"""What pulses do to the cells of one array, learned from the pulses given to them: a small hierarchical Kalman filter.

Every response is a line y = w . features + u + noise: weights w shared by the array, an offset u of the cell's own.
Both are Gaussian beliefs; how much cells differ and how noisy a pulse is are learned as well. Nothing here knows a
device: a law that is no such line is followed locally, because u may wander from pulse to pulse.
"""

import math
from dataclasses import dataclass

FAR = 3.0
"""Standard deviations at which an observation surprises."""


@dataclass(frozen=True)
class Offset:
    """What is known of one cell's offset: mean, variance, and how many pulses taught it."""

    mean: float = 0.0
    variance: float = 0.0
    seen: int = 0
    surprise: float = 1.0


class Response:
    """A response shared by the cells of an array. Learns in place.

    Args:
        weights: first beliefs.
        sigmas: their standard deviations.
        between: standard deviation of the cells' offsets, first belief.
        noise: of a pulse, first belief.
        wander: standard deviation by which a cell's offset moves from pulse to pulse.
    """

    def __init__(
        self, weights: tuple[float, ...], sigmas: tuple[float, ...], between: float, noise: float, wander: float
    ) -> None:
        self.weights = list(weights)
        n = len(weights)
        self._covariance = [[sigmas[i] ** 2 if i == j else 0.0 for j in range(n)] for i in range(n)]
        self._least = [1e-6 * s**2 for s in sigmas]
        self.between = between**2
        self.noise = noise**2
        self._floor = (0.2 * noise) ** 2, (0.2 * between) ** 2
        self._wander = wander**2
        self._firsts = self._others = 6.0

    def cell(self) -> Offset:
        """A cell never pulsed."""
        return Offset(0.0, self.between)

    def predict(self, features: tuple[float, ...], cell: Offset) -> tuple[float, float]:
        """Mean and variance of what a pulse would give, its noise included."""
        mean = sum(w * x for w, x in zip(self.weights, features, strict=True)) + cell.mean
        return mean, self._shared(features) + cell.variance + self.noise

    def learn(self, features: tuple[float, ...], cell: Offset, seen: float, error: float = 0.0) -> Offset:
        """Take in what a pulse gave (`seen`, with a standard error); gives what is now known of the cell."""
        mean, variance = self.predict(features, cell)
        variance += error**2
        miss = seen - mean
        ratio = miss**2 / variance
        far = math.sqrt(ratio)
        if far > FAR:  # a jump, or a law that is no such line: learn a little, doubt the cell's offset
            miss *= FAR / far
        self._learn_spread(cell, min(ratio, FAR**2), variance)
        gain = cell.variance / variance
        covariance = self._covariance
        column = [sum(c * x for c, x in zip(row, features, strict=True)) for row in covariance]
        for i in range(len(column)):
            self.weights[i] += column[i] * miss / variance
            for j in range(len(column)):
                covariance[i][j] -= column[i] * column[j] / variance
            covariance[i][i] += self._least[i]
        surprise = 0.6 * cell.surprise + 0.4 * min(ratio, FAR**2)
        left = cell.variance * (1 - gain) + self._wander * max(1.0, surprise)
        return Offset(cell.mean + gain * miss, left, cell.seen + 1, surprise)

    def learn_at_most(self, features: tuple[float, ...], cell: Offset, bound: float) -> Offset:
        """A pulse gave less than could be seen: at most `bound`."""
        mean, variance = self.predict(features, cell)
        if mean <= bound:
            spread = cell.variance + self._wander
            return Offset(cell.mean - 0.3 * math.sqrt(spread), spread, cell.seen, cell.surprise)
        # The array learns nothing from it: cells that can't move would drag it along.
        variance *= 1.5
        gain = cell.variance / variance
        left = cell.variance * (1 - gain) + self._wander
        return Offset(cell.mean + gain * (bound - mean), left, cell.seen, cell.surprise)

    def _shared(self, features: tuple[float, ...]) -> float:
        return sum(
            x * sum(c * y for c, y in zip(row, features, strict=True))
            for x, row in zip(features, self._covariance, strict=True)
        )

    def _learn_spread(self, cell: Offset, ratio: float, variance: float) -> None:
        """Scale the variances that share in this observation towards what it shows."""
        if cell.seen == 0:
            self._firsts += 1
            self.between *= math.exp(2 * cell.variance / variance * (ratio - 1) / max(self._firsts, 1))
            self.between = max(self.between, self._floor[1])
        else:
            self._others += 1
        count = min(self._firsts + self._others, 400.0)
        self.noise *= math.exp(2 * self.noise / variance * (ratio - 1) / count)
        self.noise = max(self.noise, self._floor[0])
