"""Multilevel states: how straight their I-V lines are, how exact, and how many a single read can tell apart."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.characterisation.common import Estimate, Floats, Place, mean_of, numbered, places, require, sigma_of
from analysis.errors import AnalysisError
from analysis.records import RunFile

APART = 4.0
"""Read sigmas between the means of two levels that one read tells apart: two each way, 2.3 % mistaken."""
REACHED = 0.9
"""Share of the levels that a responsive cell reaches within a quarter of the range."""


@dataclass(frozen=True)
class CellLevels:
    """One cell's levels.

    Attributes:
        place: (row, col).
        amps: [level, voltage], A, mean of the repeats.
        conductance: [level], S: slope through the origin.
        responsive: whether the cell can be programmed at all.
        discernible: how many levels lie `APART` read sigmas or more from the one before.
        nonlinearity: largest deviation from the straight line over the current at the highest voltage: mean of levels.
        error: standard deviation of read-back minus level, S.
        read_sigma: of one read, as conductance, S, from the repeats at the highest voltage.
    """

    place: Place
    amps: Floats
    conductance: Floats
    responsive: bool
    discernible: int
    nonlinearity: Estimate
    error: Estimate
    read_sigma: float


@dataclass(frozen=True)
class LevelSummary:
    """A level run: levels asked for and done, the range in S, `targets` of those done [level], `volts`, the cells."""

    levels: int
    low: float
    high: float
    targets: Floats
    volts: Floats
    cells: tuple[CellLevels, ...]


def summarise_levels(run: RunFile) -> LevelSummary:
    """Summarise a level run, also one that was interrupted.

    Raises:
        AnalysisError: it is of another procedure, or no level was finished.
    """
    require(run, "levels")
    kept = numbered(run, "levels/level_")
    if not kept:
        raise AnalysisError(f"run {run.header.run_id} ended before its first level was kept")
    levels = np.asarray(run.header.parameters["levels"], dtype=np.float64)
    volts = np.asarray(run.data("levels/volts"), dtype=np.float64)
    amps = np.stack([run.data(name) for _, name in kept])  # [level, cell, voltage, repeat]
    targets = levels[[k for k, _ in kept]]
    cells = tuple(_cell(place, volts, amps[:, i], targets) for i, place in enumerate(places(run)))
    return LevelSummary(len(levels), float(levels[0]), float(levels[-1]), targets, volts, cells)


def _cell(place: Place, volts: Floats, amps: npt.NDArray[np.float64], targets: Floats) -> CellLevels:
    mean = amps.mean(axis=2)
    g = (mean * volts).sum(axis=1) / (volts @ volts)
    bend = np.abs(mean - g[:, None] * volts).max(axis=1) / (g * volts[-1])
    single = amps[:, -1] / volts[-1]
    if amps.shape[2] > 1:
        read_sigma = float(np.sqrt(single.var(axis=1, ddof=1).mean()))
    else:
        read_sigma = float(np.sqrt((((mean - g[:, None] * volts) / volts[-1]) ** 2).mean()))
    span = float(np.ptp(targets)) or 1e-6
    responsive = bool(np.mean(np.abs(g - targets) < span / 4) >= REACHED)
    return CellLevels(
        place=place, amps=mean, conductance=g, responsive=responsive,
        discernible=_told_apart(g, APART * read_sigma) if responsive else 0,
        nonlinearity=mean_of(bend), error=sigma_of(g - targets), read_sigma=read_sigma,
    )  # fmt: skip


def _told_apart(g: Floats, distance: float) -> int:
    """The most levels of which each two are `distance` (S) or more apart."""
    count, last = 0, -np.inf
    for value in np.sort(g):
        if value - last >= distance:
            count, last = count + 1, value
    return count
