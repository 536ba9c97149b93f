"""Digital samplers: Euler, Heun and Euler-Maruyama over any score, and over the analog model with its drive.

What the paper, its code and arithmetic disagree on is a named choice in `SAMPLERS`. `ode` is what works: the
probability-flow equation at its own speed from the prior that the data really has. `paper` is the published code's:
Euler steps of the equation with beta doubled, from N(0, I), on t = linspace(1, 1e-4, n); doubling hides much of the
wrong prior, at the price of a ring that is too thin with an exact score. `sde` is the reverse SDE, right from any
prior.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from analysis.diffusion.data import Ring
from analysis.diffusion.hardware import AnalogNetwork, Drive
from analysis.diffusion.sde import VPSDE, named_prior

Array = npt.NDArray[np.float64]
Score = Callable[[Array, float], Array]

METHODS = ("euler", "heun", "euler-maruyama")


@dataclass(frozen=True)
class Sampler:
    """How the reverse equation is solved: method, time factor on beta, number of times, last time and prior.

    `speed` multiplies beta. Euler-Maruyama solves the reverse SDE, the two others the probability-flow ODE.
    """

    method: str = "heun"
    speed: float = 1.0
    points: int = 200
    t_end: float = 1e-4
    prior: str = "matched"

    def __post_init__(self) -> None:
        """Refuse an unknown method or a grid without a step."""
        if self.method not in METHODS:
            raise ValueError(f"unknown method {self.method!r}; choose from {', '.join(METHODS)}")
        if self.points < 2 or self.speed <= 0.0:
            raise ValueError(f"need at least 2 points and a positive speed, got {self.points} and {self.speed}")


SAMPLERS: dict[str, Sampler] = {
    "ode": Sampler(),
    "sde": Sampler(method="euler-maruyama"),
    "paper": Sampler(method="euler", speed=2.0, prior="standard"),
}


def sample(
    score: Score,
    n: int,
    rng: np.random.Generator,
    *,
    sampler: Sampler | None = None,
    sde: VPSDE | None = None,
    ring: Ring | None = None,
    start: Array | None = None,
) -> Array:
    """Return `n` samples (n, 2) of the reverse equation with `score(x, t)`, (n, 2) -> (n, 2).

    They start from the sampler's prior or from `start` (n, 2).
    """
    sampler, sde, ring = sampler or SAMPLERS["ode"], sde or VPSDE(), ring or Ring()
    x = named_prior(sampler.prior, sde, ring).draw(n, rng) if start is None else np.array(start, dtype=np.float64)
    stochastic = sampler.method == "euler-maruyama"
    share = 1.0 if stochastic else 0.5

    def velocity(x: Array, t: float) -> Array:
        """Minus dx/dt of the reverse equation: time runs from the horizon to 0."""
        return sampler.speed * float(sde.beta(t)) * np.asarray(0.5 * x + share * score(x, t))

    times = np.linspace(sde.horizon, sampler.t_end, sampler.points)
    for now, then in pairwise(times):
        h = now - then
        slope = velocity(x, now)
        if sampler.method == "heun":
            slope = 0.5 * (slope + velocity(x + h * slope, then))
        x = x + h * slope
        if stochastic:
            x = x + np.sqrt(sampler.speed * float(sde.beta(now)) * h) * rng.standard_normal(x.shape)
    return x


def run_drive(
    network: AnalogNetwork,
    drive: Drive,
    n: int,
    rng: np.random.Generator,
    *,
    substeps: int = 1,
    start: Array | None = None,
    trajectory: bool = False,
) -> Array:
    """Return what the ideal loop around `network` reaches: (n, 2), or (ticks + 1, n, 2) with `trajectory`.

    Every tick is `substeps` Heun steps with the tables held, as the converters hold them; they start from the drive's
    prior or from `start` (n, 2).
    """
    x = drive.prior.draw(n, rng) if start is None else np.array(start, dtype=np.float64)
    h = 1.0 / (drive.ticks * substeps)
    a, b = drive.a, drive.b
    path = [x]
    for k in range(drive.ticks):
        embedding = drive.embedding[k]
        for _ in range(substeps):
            slope = a[k] * x + b[k] * network(x, embedding) + drive.trim
            ahead = x + h * slope
            x = x + 0.5 * h * (slope + a[k] * ahead + b[k] * network(ahead, embedding) + drive.trim)
            if drive.noise is not None:
                x = x + drive.noise[k] * np.sqrt(h) * rng.standard_normal(x.shape)
        if trajectory:
            path.append(x)
    return np.stack(path) if trajectory else x
