"""Samples of a network: how good they are that one device draws with one solver, and what they cost.

A setting names the noises (`write_noise`, `read_noise`: fractions of the weight or of G_mem, as `relative_to` says),
the `layer` they strike, `levels`, the `converters`, `method` and `steps`. One seed is one device.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from analysis.diffusion.data import Ring
from analysis.diffusion.hardware import N_TICKS
from analysis.diffusion.model import TrainedModel
from analysis.errors import AnalysisError
from analysis.kernel.solve import solve
from analysis.metrics import Truth, kl_2d, kl_authors, radius, sliced_wasserstein
from analysis.sweeps.energy import ENERGIES, energies
from analysis.sweeps.measurement import Output, Value, is_number, known
from analysis.sweeps.sampling import PATH_POINTS, equation_of, paths, wander

Array = npt.NDArray[np.float64]

METHODS = ("ode", "sde")
LAYERS = ("all", 0, 1, 2)
NOISE_OF = ("weight", "memory")
DEFAULTS: dict[str, Value] = {
    "write_noise": 0.0, "read_noise": 0.0, "relative_to": "weight", "layer": "all", "levels": True,
    "converters": False, "method": "ode", "steps": N_TICKS,
}  # fmt: skip
QUALITIES = {
    "kl_2d": Output("KL divergence in the plane, generated from true (0.1 x 0.1 bins)", "nat"),
    "kl_authors": Output("KL divergence as the published code has it (both coordinates in one histogram)", "nat"),
    "sliced_wasserstein": Output("sliced 1-Wasserstein distance", "unit"),
    "radius_mean": Output("mean radius", "unit"),
    "radius_std": Output("standard deviation of the radius", "unit"),
}
PATHS = {
    "path_x": Output("x of one trajectory", "unit", "path_time", PATH_POINTS),
    "path_y": Output("y of one trajectory", "unit", "path_time", PATH_POINTS),
}
WANDER = {
    "wander": Output("rms distance between two solutions from one start, over sqrt 2: what noise alone moves", "unit")
}
_TRUTH_DRAWS = 200_000
_FLOOR_SETS = 4


@dataclass(frozen=True)
class Samples:
    """The measurement: samples of the network by the kernel, on one device a seed."""

    name: str = "samples"
    needs_network: bool = True

    @property
    def defaults(self) -> Mapping[str, Value]:
        """Every setting, with its default."""
        return DEFAULTS

    @property
    def outputs(self) -> Mapping[str, Output]:
        """Qualities, energies, and one trajectory."""
        return {**QUALITIES, **WANDER, **ENERGIES, **PATHS}

    def check(self, setting: Mapping[str, Value]) -> None:
        """Raise AnalysisError unless every entry is known and in its range."""
        known(setting, DEFAULTS)
        for name, value in setting.items():
            truth = isinstance(value, bool)
            if name in ("write_noise", "read_noise"):
                good, allowed = is_number(value, 0.0, math.nextafter(math.inf, 0.0)), "a fraction >= 0"
            elif name == "relative_to":
                good, allowed = value in NOISE_OF, " or ".join(NOISE_OF)
            elif name == "method":
                good, allowed = value in METHODS, " or ".join(METHODS)
            elif name == "layer":
                good, allowed = not truth and value in LAYERS, "all, 0, 1 or 2"
            elif name == "steps":
                whole = isinstance(value, int) and not truth and value >= 1
                good = whole and (N_TICKS % int(value) == 0 or int(value) % N_TICKS == 0)
                allowed = f"a whole number that divides {N_TICKS} or is divided by it"
            else:
                good, allowed = truth, "true or false"
            if not good:
                raise AnalysisError(f"{name} is {allowed}, not {value!r}")

    def cost(self, setting: Mapping[str, Value], trajectories: int) -> float:
        """Steps of trajectories that one seed takes."""
        return float(int(setting["steps"]) * trajectories)

    def measure(
        self,
        network: TrainedModel | None,
        wanted: Sequence[str],
        setting: Mapping[str, Value],
        trajectories: int,
        rng: np.random.Generator,
    ) -> dict[str, float | Array]:
        """Draw `trajectories` samples from one device and return what is `wanted` of them."""
        if network is None:
            raise AnalysisError("samples need a network")
        equation = equation_of(network, setting, rng)
        found: dict[str, float | Array] = {}
        if any(name in QUALITIES for name in wanted):
            found |= qualities(solve(equation, trajectories, rng), wanted)
        if any(name in ENERGIES for name in wanted):
            found |= energies(network, int(setting["steps"]))
        if "wander" in wanted:
            found["wander"] = wander(equation, trajectories, rng)
        if any(name in PATHS for name in wanted):
            found |= dict(zip(PATHS, paths(equation, rng), strict=True))
        return {name: found[name] for name in wanted}


@lru_cache(maxsize=1)
def truth_of_ring() -> Truth:
    """Return the circle that all samples are compared with; the same draws in every process."""
    ring = Ring()
    return Truth.from_points(ring.draw(_TRUTH_DRAWS, np.random.default_rng(2024)), ring.density)


def qualities(points: npt.ArrayLike, wanted: Sequence[str]) -> dict[str, float | Array]:
    """Return those of `QUALITIES` that are `wanted`, of samples (n, 2)."""
    # A device that is noisy enough lets the integrators run away; on the board the supply stops them.
    ends = np.clip(
        np.nan_to_num(np.asarray(points, dtype=np.float64), nan=100.0, posinf=100.0, neginf=-100.0), -100.0, 100.0
    )
    found: dict[str, float | Array] = {}
    for name in wanted:
        if name == "kl_2d":
            found[name] = kl_2d(ends, truth_of_ring())
        elif name == "kl_authors":
            found[name] = kl_authors(ends, truth_of_ring())
        elif name == "sliced_wasserstein":
            found[name] = sliced_wasserstein(ends, truth_of_ring())
        elif name in ("radius_mean", "radius_std"):
            distance = radius(ends)
            found[name] = float(distance.mean() if name == "radius_mean" else distance.std())
    return found


@lru_cache(maxsize=16)
def floor(name: str, n: int) -> float:
    """Return what `n` draws of the truth itself score in a quality: nothing finite scores less on average."""
    rng = np.random.default_rng([7, n])
    drawn = [Ring().draw(n, rng) for _ in range(_FLOOR_SETS)]
    return float(np.mean([qualities(points, [name])[name] for points in drawn]))
