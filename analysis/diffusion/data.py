"""The circle: the two-dimensional data set that the unconditional experiment learns and is judged by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ring:
    """Points whose radius is N(`radius`, `width`^2) and whose angle is uniform.

    The defaults are the published data set (circle experiment, 10,000 points). Lengths are software units; on the
    board one unit is 0.1 V.
    """

    radius: float = 0.7
    width: float = 0.04

    def draw(self, n: int, rng: np.random.Generator) -> Array:
        """Return `n` points, shape (n, 2)."""
        r = rng.normal(self.radius, self.width, n)
        angle = rng.uniform(0.0, 2.0 * np.pi, n)
        return np.stack([r * np.cos(angle), r * np.sin(angle)], axis=1)

    def density(self, x: Array) -> Array:
        """Return the probability density at points `x` (..., 2), per square unit.

        A radius below zero means the opposite point; at the default width its share is below 1e-60 and left out.
        """
        r = np.maximum(np.hypot(x[..., 0], x[..., 1]), 1e-12)
        radial = np.exp(-0.5 * ((r - self.radius) / self.width) ** 2) / (self.width * np.sqrt(2.0 * np.pi))
        return np.asarray(radial / (2.0 * np.pi * r), dtype=np.float64)

    @property
    def coordinate_variance(self) -> float:
        """Variance of one coordinate: (radius^2 + width^2) / 2."""
        return 0.5 * (self.radius**2 + self.width**2)


def ring_training_set(rng: np.random.Generator, n: int = 10_000, ring: Ring | None = None) -> Array:
    """Draw the circle's training set, shape (n, 2); 10,000 points in the published experiment."""
    return (ring or Ring()).draw(n, rng)
