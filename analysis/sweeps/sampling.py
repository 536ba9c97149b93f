"""One device's equation as a study's setting describes it, and trajectories to look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from analysis.diffusion.hardware import AnalogNetwork, Drive
from analysis.diffusion.model import TrainedModel
from analysis.kernel.counter import draw_keys
from analysis.kernel.equation import CellNoise, Equation, device, diffusing
from analysis.kernel.solve import solve, trajectories
from analysis.sweeps.measurement import Value, number

Array = npt.NDArray[np.float64]

PATH_POINTS = tuple(round(0.02 * k, 2) for k in range(51))
"""Times of a trajectory's points, in runs (s on the published board)."""


def equation_of(model: TrainedModel, setting: Mapping[str, Value], rng: np.random.Generator) -> Equation:
    """Return the equation of one device as `setting` describes it; `rng` draws its write noise."""
    write, read = (_noise(setting, name) for name in ("write_noise", "read_noise"))
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


def _noise(setting: Mapping[str, Value], name: str) -> CellNoise:
    share = number(setting, name)
    return CellNoise(weight=share) if setting["relative_to"] == "weight" else CellNoise(memory=share)


def coarse(drive: Drive, steps: int) -> Drive:
    """Return the drive averaged over each of `steps` equal parts; `steps` divides its ticks."""

    def mean(table: Array) -> Array:
        return np.asarray(table.reshape(steps, -1, *table.shape[1:]).mean(axis=1))

    noise = None if drive.noise is None else np.sqrt(mean(drive.noise**2))
    return replace(drive, fx=mean(drive.fx), g2=mean(drive.g2), embedding=mean(drive.embedding), noise=noise)


def paths(equation: Equation, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return x and y, each (51,), of one trajectory at `PATH_POINTS`; between steps it is taken as straight."""
    start = equation.prior * rng.standard_normal((1, 2))
    found = trajectories(equation, 1, draw_keys(rng), start=start, every=1)[:, 0].astype(np.float64)
    whole = np.concatenate([start, found])
    times = np.linspace(0.0, 1.0, len(whole))
    x, y = (np.interp(PATH_POINTS, times, whole[:, k]) for k in range(2))
    return np.asarray(x), np.asarray(y)


def wander(equation: Equation, n: int, rng: np.random.Generator) -> float:
    """Return how far a solution's noise alone moves its end, units: 0 for an ODE on cells without read noise."""
    start = equation.prior * rng.standard_normal((n, 2))
    first, second = (solve(equation, n, rng, start=start).astype(np.float64) for _ in range(2))
    apart = np.nan_to_num(((first - second) ** 2).sum(axis=1), nan=1e4, posinf=1e4)
    return float(np.sqrt(0.5 * np.minimum(apart, 1e4).mean()))
