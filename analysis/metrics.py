"""How close a cloud of generated points is to the true distribution, with noise floors and intervals.

Five distances and statistics, all of points in the plane in software units:

* `kl_authors`: the published code's KL. It flattens both coordinates into one histogram and is nearly blind (a filled
  disc scores .23, a half-empty ring .015): to be reported, never to be judged by.
* `kl_2d`: KL(generated || truth) on 0.1 x 0.1 bins over [-2, 2]^2.
* `sliced_wasserstein`: mean 1-Wasserstein distance over 64 projections.
* radius mean and standard deviation, and `angular_coverage`.

A finite sample of the truth itself does not score zero; `judge` says what it scores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

EPSILON = 1e-10
_EDGES_1D = np.linspace(-4.0, 4.0, 51)
_SPAN_2D, _BINS_2D = 2.0, 40
_PROJECTIONS = 64
_SECTORS = 36


@dataclass(frozen=True)
class Metric:
    """One number with its 95 % bootstrap interval and what as many draws of the truth would score."""

    value: float
    low: float
    high: float
    floor: float


@dataclass(frozen=True)
class Truth:
    """The true distribution: a large reference sample (m, 2), its histograms, sorted projections."""

    points: Array
    mass_1d: Array
    mass_2d: Array
    projections: Array

    @classmethod
    def from_points(
        cls, points: Array, density: Callable[[Array], Array] | None = None, subdivisions: int = 40
    ) -> Truth:
        """Build the reference from draws of the truth, and from its density where that is known.

        With `density` ((..., 2) -> (...), per square unit) the two-dimensional histogram is integrated by the
        midpoint rule on `subdivisions`^2 points a bin, and 2e5 points are enough for the rest; without it the
        histogram is counted and wants 2e6.
        """
        points = _checked(points)
        if density is None:
            mass_2d = _histogram_2d(points)
        else:
            n = _BINS_2D * subdivisions
            middle = (np.arange(n) + 0.5) * (2.0 * _SPAN_2D / n) - _SPAN_2D
            grid = np.stack(np.meshgrid(middle, middle, indexing="ij"), axis=-1)
            fine = density(grid).reshape(_BINS_2D, subdivisions, _BINS_2D, subdivisions)
            mass_2d = fine.sum(axis=(1, 3))
            mass_2d = mass_2d / mass_2d.sum()
        return cls(points, _histogram_1d(points), mass_2d, np.sort(points @ _directions(), axis=0))

    def draw(self, n: int, rng: np.random.Generator) -> Array:
        """Return `n` of the reference points, shape (n, 2), drawn with replacement."""
        return self.points[rng.integers(0, len(self.points), n)]


def kl_authors(samples: Array, truth: Truth) -> float:
    """KL of the published code, in nats: x and y in one histogram, 50 bins on (-4, 4), epsilon 1e-10."""
    return _kl(_histogram_1d(_checked(samples)), truth.mass_1d)


def kl_2d(samples: Array, truth: Truth) -> float:
    """KL(samples || truth) in nats on 40 x 40 bins over [-2, 2]^2, epsilon 1e-10.

    A point outside the square counts in the bin at the edge: leaving it out would reward a sampler that diverges.
    """
    return _kl(_histogram_2d(_checked(samples)), truth.mass_2d)


def sliced_wasserstein(samples: Array, truth: Truth) -> float:
    """Mean over 64 directions of the 1-Wasserstein distance of the projections, in units."""
    ordered = np.sort(_checked(samples) @ _directions(), axis=0)
    return float(np.abs(ordered - _quantiles(truth, len(ordered))).mean())


def angular_coverage(samples: Array) -> float:
    """Share of 36 equal sectors that hold at least half of the points a uniform angle would put there."""
    return _coverage(_sectors(_checked(samples)), len(samples))


def radius(samples: Array) -> Array:
    """Distance of every point from the origin, shape (n,)."""
    samples = _checked(samples)
    return np.hypot(samples[:, 0], samples[:, 1])


def judge(
    samples: Array, truth: Truth, rng: np.random.Generator, resamples: int = 100, floor_draws: int = 8
) -> dict[str, Metric]:
    """Return every metric of `samples` (n, 2) with its interval and its noise floor.

    The intervals hold 95 % and come from `resamples` bootstrap resamples, moved so that their mean lies at the value:
    a resample has fewer distinct points and so a KL that is too high by about the floor. The floor is the mean over
    `floor_draws` sets of n true points. Keys: kl_authors, kl_2d, sliced_wasserstein, radius_mean, radius_std,
    angular_coverage.
    """
    samples = _checked(samples)
    value = _all(samples, None, truth)
    n = len(samples)
    boot = np.array([_all(samples, rng.multinomial(n, np.full(n, 1.0 / n)), truth) for _ in range(resamples)])
    floor = np.mean([_all(truth.draw(n, rng), None, truth) for _ in range(floor_draws)], axis=0)
    low, high = value + np.quantile(boot, [0.025, 0.975], axis=0) - boot.mean(axis=0)
    # The move may leave the range that a metric has: none is negative, and a share is at most 1.
    low, high[-1] = np.maximum(low, 0.0), min(high[-1], 1.0)
    names = ("kl_authors", "kl_2d", "sliced_wasserstein", "radius_mean", "radius_std", "angular_coverage")
    return {
        name: Metric(float(value[i]), float(low[i]), float(high[i]), float(floor[i])) for i, name in enumerate(names)
    }


def _all(samples: Array, counts: npt.NDArray[np.int64] | None, truth: Truth) -> Array:
    """All metrics of the points, each taken `counts` times (once when None)."""
    if counts is not None:
        samples = np.repeat(samples, counts, axis=0)
    r = radius(samples)
    return np.array(
        [
            kl_authors(samples, truth),
            kl_2d(samples, truth),
            sliced_wasserstein(samples, truth),
            r.mean(),
            r.std(),
            angular_coverage(samples),
        ]
    )


def _checked(samples: Array) -> Array:
    samples = np.asarray(samples, dtype=np.float64)
    if samples.ndim != 2 or samples.shape[1] != 2 or len(samples) == 0:
        raise ValueError(f"need points of shape (n, 2) with n > 0, got {samples.shape}")
    if not np.isfinite(samples).all():
        bad = int((~np.isfinite(samples).all(axis=1)).sum())
        raise ValueError(f"{bad} of {len(samples)} points are not finite")
    return samples


def _directions() -> Array:
    angle = (np.arange(_PROJECTIONS) + 0.5) * np.pi / _PROJECTIONS
    return np.stack([np.cos(angle), np.sin(angle)])


def _quantiles(truth: Truth, n: int) -> Array:
    """Quantiles of the true projections at the mid-ranks of n points, shape (n, 64)."""
    m = len(truth.projections)
    return truth.projections[np.minimum(((np.arange(n) + 0.5) * m / n).astype(np.int64), m - 1)]


def _histogram_1d(samples: Array) -> Array:
    counts = np.histogram(samples.ravel(), bins=_EDGES_1D)[0].astype(np.float64)
    return np.asarray(counts / max(float(counts.sum()), 1.0))


def _histogram_2d(samples: Array) -> Array:
    index = np.floor((samples + _SPAN_2D) * (_BINS_2D / (2.0 * _SPAN_2D)))
    index = np.clip(index, 0, _BINS_2D - 1).astype(np.int64)
    counts = np.bincount(index[:, 0] * _BINS_2D + index[:, 1], minlength=_BINS_2D**2).astype(np.float64)
    return np.asarray((counts / counts.sum()).reshape(_BINS_2D, _BINS_2D))


def _kl(p: Array, q: Array) -> float:
    p, q = p + EPSILON, q + EPSILON
    p, q = p / p.sum(), q / q.sum()
    return float((p * np.log(p / q)).sum())


def _sectors(samples: Array) -> npt.NDArray[np.int64]:
    turn = np.arctan2(samples[:, 1], samples[:, 0]) / (2.0 * np.pi) % 1.0
    return np.minimum((turn * _SECTORS).astype(np.int64), _SECTORS - 1)


def _coverage(sectors: npt.NDArray[np.int64], n: int) -> float:
    counts = np.bincount(sectors, minlength=_SECTORS)
    return float((counts >= 0.5 * n / _SECTORS).mean())
