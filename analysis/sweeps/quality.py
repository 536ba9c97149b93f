"""What a point of a study measures: the quality of samples that one device draws with one solver.

A setting names the noises (fractions: `write_weight` and `read_weight` of the weight, `write_memory` and `read_memory`
of G_mem), the `layer` they strike, `levels`, the `converters`, `method` and `steps`. One seed is one device.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from analysis.diffusion.data import Ring
from analysis.diffusion.hardware import N_TICKS, AnalogNetwork, Drive
from analysis.diffusion.model import TrainedModel
from analysis.errors import AnalysisError
from analysis.kernel.equation import CellNoise, Equation, device, diffusing
from analysis.kernel.solve import solve
from analysis.metrics import Truth, kl_2d, kl_authors, radius, sliced_wasserstein

Array = npt.NDArray[np.float64]
Value = float | int | str | bool

DEFAULTS: dict[str, Value] = {
    "write_weight": 0.0, "write_memory": 0.0, "read_weight": 0.0, "read_memory": 0.0, "layer": "all",
    "levels": True, "converters": False, "method": "ode", "steps": N_TICKS,
}  # fmt: skip
METHODS = ("ode", "sde")
LAYERS = ("all", 0, 1, 2)
METRICS = ("kl_2d", "kl_authors", "sliced_wasserstein", "radius_mean", "radius_std")
_NOISES = ("write_weight", "write_memory", "read_weight", "read_memory")
_TRUTH_DRAWS = 200_000


def check_setting(setting: Mapping[str, Value]) -> None:
    """Raise AnalysisError unless every entry is known and in its range."""
    for name, value in setting.items():
        if name not in DEFAULTS:
            raise AnalysisError(f"nothing is called {name!r}; there are {', '.join(DEFAULTS)}")
        truth = isinstance(value, bool)
        if name in _NOISES:
            good, allowed = not truth and isinstance(value, int | float) and 0.0 <= value < math.inf, "a fraction >= 0"
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


def cost(setting: Mapping[str, Value], trajectories: int) -> float:
    """Steps of trajectories that one seed takes."""
    return float(int(setting["steps"]) * trajectories)


@lru_cache(maxsize=8)
def _model(path: Path) -> TrainedModel:
    return TrainedModel.load(path)


@lru_cache(maxsize=1)
def _truth() -> Truth:
    ring = Ring()
    return Truth.from_points(ring.draw(_TRUTH_DRAWS, np.random.default_rng(2024)), ring.density)


def equation_of(model: TrainedModel, setting: Mapping[str, Value], rng: np.random.Generator) -> Equation:
    """Return the equation of one device as `setting` describes it; `rng` draws its write noise."""
    write = CellNoise(float(setting["write_weight"]), float(setting["write_memory"]))
    read = CellNoise(float(setting["read_weight"]), float(setting["read_memory"]))
    ideal = model.ideal_network()
    made = device(ideal, write, rng, levels=bool(setting["levels"]))
    spared = device(ideal, CellNoise(), rng, levels=bool(setting["levels"]))
    struck = range(3) if setting["layer"] == "all" else (int(setting["layer"]),)
    layers = zip(made.conductances, spared.conductances, strict=True)
    network: AnalogNetwork = ideal.with_conductances([a if i in struck else b for i, (a, b) in enumerate(layers)])
    steps = int(setting["steps"])
    drive = coarse(model.drive, steps) if steps < model.drive.ticks else model.drive
    equation = Equation.of_drive(
        network,
        diffusing(drive) if setting["method"] == "sde" else drive,
        substeps=max(1, steps // model.drive.ticks),
        converters=bool(setting["converters"]),
        read_noise=read if read != CellNoise() else None,
    )
    if equation.variances is None:
        return equation
    variances = (s if i in struck else np.zeros_like(s) for i, s in enumerate(equation.variances))
    return replace(equation, variances=tuple(variances))


def coarse(drive: Drive, steps: int) -> Drive:
    """Return the drive averaged over each of `steps` equal parts; `steps` divides its ticks."""

    def mean(table: Array) -> Array:
        return np.asarray(table.reshape(steps, -1, *table.shape[1:]).mean(axis=1))

    noise = None if drive.noise is None else np.sqrt(mean(drive.noise**2))
    return replace(drive, fx=mean(drive.fx), g2=mean(drive.g2), embedding=mean(drive.embedding), noise=noise)


def measure(
    model: Path, metric: str, setting: Mapping[str, Value], trajectories: int, rng: np.random.Generator
) -> float:
    """Return the metric of `trajectories` samples from one device: one seed at one point."""
    equation = equation_of(_model(model), setting, rng)
    points = solve(equation, trajectories, rng).astype(np.float64)
    # A device that is noisy enough lets the integrators run away; on the board the supply stops them.
    points = np.clip(np.nan_to_num(points, nan=100.0, posinf=100.0, neginf=-100.0), -100.0, 100.0)
    if metric == "kl_2d":
        return kl_2d(points, _truth())
    if metric == "kl_authors":
        return kl_authors(points, _truth())
    if metric == "sliced_wasserstein":
        return sliced_wasserstein(points, _truth())
    distance = radius(points)
    return float(distance.mean() if metric == "radius_mean" else distance.std())
