"""The variance-preserving stochastic differential equation and what the sampler starts from.

Forward in t: dx = -beta(t) x / 2 dt + sqrt(beta(t)) dw with beta linear in t. Given x(0), x(t) is Gaussian with mean
`mean(t) x(0)` and standard deviation `std(t)` (Song et al. 2021, VP-SDE).

The published schedule is short: at t = 1 the data still has the factor .882 and only .470 of noise, so that the circle
ends at .642 a dimension and not at 1. Sampling that starts at N(0, I), as the paper does, starts from a wrong
distribution; `Prior.matched` starts from the right second moment.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.diffusion.data import Ring

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class VPSDE:
    """VP-SDE with beta(t) = beta_min + (beta_max - beta_min) t / horizon on 0 <= t <= horizon."""

    beta_min: float = 0.001
    beta_max: float = 0.5
    horizon: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a schedule that is not one."""
        if not (0.0 <= self.beta_min <= self.beta_max and self.beta_max > 0.0 and self.horizon > 0.0):
            raise ValueError(
                f"need 0 <= beta_min <= beta_max, beta_max > 0 and horizon > 0, got beta_min={self.beta_min}, "
                f"beta_max={self.beta_max}, horizon={self.horizon}"
            )

    def beta(self, t: npt.ArrayLike) -> Array:
        """Rate of noising at time `t`, per unit time."""
        return np.asarray(self.beta_min + (self.beta_max - self.beta_min) * np.asarray(t) / self.horizon)

    def integral(self, t: npt.ArrayLike) -> Array:
        """Integral of beta from 0 to `t`."""
        t = np.asarray(t, dtype=np.float64)
        return np.asarray(self.beta_min * t + 0.5 * (self.beta_max - self.beta_min) * t**2 / self.horizon)

    def mean(self, t: npt.ArrayLike) -> Array:
        """Factor of x(0) in x(t), 1 at t = 0."""
        return np.asarray(np.exp(-0.5 * self.integral(t)))

    def std(self, t: npt.ArrayLike) -> Array:
        """Standard deviation of x(t) given x(0), 0 at t = 0."""
        return np.asarray(np.sqrt(-np.expm1(-self.integral(t))))


@dataclass(frozen=True)
class Prior:
    """The isotropic Gaussian N(0, std^2 I) that a sample starts from, in software units."""

    std: float = 1.0

    @classmethod
    def standard(cls) -> Prior:
        """N(0, I), the paper's choice."""
        return cls(1.0)

    @classmethod
    def matched(cls, sde: VPSDE, coordinate_variance: float) -> Prior:
        """The Gaussian with the second moment that the data really has at the horizon (.642 for the circle)."""
        horizon = sde.horizon
        return cls(float(np.sqrt(sde.mean(horizon) ** 2 * coordinate_variance + sde.std(horizon) ** 2)))

    def draw(self, n: int, rng: np.random.Generator) -> Array:
        """Return `n` starting points, shape (n, 2)."""
        return rng.normal(0.0, self.std, (n, 2))


PRIORS = ("matched", "standard")


def named_prior(name: str, sde: VPSDE, ring: Ring) -> Prior:
    """Return the prior of one of the names in `PRIORS`."""
    if name == "matched":
        return Prior.matched(sde, ring.coordinate_variance)
    if name == "standard":
        return Prior.standard()
    raise ValueError(f"unknown prior {name!r}; choose from {', '.join(PRIORS)}")
