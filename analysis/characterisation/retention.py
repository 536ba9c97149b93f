"""Retention: how far programmed cells drift, and the logarithmic laws of the drift's mean and spread."""

from dataclasses import dataclass

import numpy as np

from analysis.characterisation.common import Estimate, Floats, line_fit, mean_of, numbered, places, require, spread_of
from analysis.records import RunFile
from analysis.records.layout import CELL_CODE

BINS_PER_DECADE = 2
LEAST = 8
"""Cells that an age must have been seen of, to say anything about the spread."""
MILESTONES = (1.0, 1e2, 1e4, 1e6)
"""s; ages that the closing table names, each by the bin next to it."""


@dataclass(frozen=True)
class Age:
    """Drift at an age: seconds since programming, mean and spread of the bulk of cells (S), share still inside."""

    age: float
    mean: Estimate
    sigma: Estimate
    inside: float


@dataclass(frozen=True)
class Retention:
    """A retention run.

    Attributes:
        asked, cells: asked for, and those programmed in order and read at least twice.
        target: of these, [cell], S.
        ages: bins' geometric means, s; drift: one `Age` a bin.
        times: [cell, read], s since that cell was programmed; NaN where there is no read.
        conductance: [cell, read], S.
        mean_slope: change of the drift's mean per ln t, S.
        read_sigma: spread of the first age's drift, S: mostly read noise, as no time has passed.
        sigma_slope, sigma_offset: change per ln t of the drift's spread, net of `read_sigma`, and its value at 1 s, S.
        milestones: the bins next to `MILESTONES`.
        tolerance: half width of the window, S.
    """

    asked: int
    cells: int
    target: Floats
    ages: Floats
    drift: tuple[Age, ...]
    times: Floats
    conductance: Floats
    mean_slope: Estimate
    read_sigma: float
    sigma_slope: Estimate
    sigma_offset: Estimate
    milestones: tuple[Age, ...]
    tolerance: float


def summarise_retention(run: RunFile) -> Retention:
    """Summarise a retention run, also one that was interrupted: drift is reckoned from a cell's first read.

    Raises:
        AnalysisError: it is of another procedure.
    """
    require(run, "retention")
    asked = places(run)
    tolerance = float(run.header.parameters["manner"]["tolerance"])
    names = set(run.names("data"))
    status = np.asarray(run.cells["status"]).reshape(run.header.shape)[0]
    targets = run.map("conductance_target").reshape(run.header.shape)[0]
    origin = float(run.data("begin/all")[0]) if "begin/all" in names else float("nan")
    points = [run.data(name) for _, name in numbered(run, "retention/point_")]
    times, values, wanted = [], [], []
    for i, place in enumerate(asked):
        name = f"r{place[0]}_c{place[1]}"
        if status[place] != CELL_CODE["ok"] or f"begin/{name}" not in names:
            continue
        began = float(run.data(f"begin/{name}")[0])
        alone = run.data(f"relaxation/{name}") if f"relaxation/{name}" in names else np.empty((2, 0))
        times.append([*alone[0], *(origin - began + p[0, i] for p in points)])
        values.append([*alone[1], *(p[1, i] for p in points)])
        wanted.append(float(targets[place]))
    width = max((len(t) for t in times), default=0)
    t = np.array([[*row, *[np.nan] * (width - len(row))] for row in times]).reshape(len(times), width)
    g = np.array([[*row, *[np.nan] * (width - len(row))] for row in values]).reshape(len(values), width)
    target = np.array(wanted)
    ages = _ages(t, g, target, tolerance)
    x = np.log([a.age for a in ages])
    mean_slope, _ = line_fit(x, [a.mean.value for a in ages])
    read_sigma = ages[0].sigma.value if ages else float("nan")
    net = [max(a.sigma.value**2 - read_sigma**2, 0.0) ** 0.5 for a in ages]
    sigma_slope, sigma_offset = line_fit(x[1:], net[1:])
    return Retention(
        asked=len(asked), cells=len(t), target=target, ages=np.array([a.age for a in ages]), drift=tuple(ages),
        times=t, conductance=g, mean_slope=mean_slope, read_sigma=read_sigma,
        sigma_slope=sigma_slope, sigma_offset=sigma_offset, milestones=_milestones(ages),
        tolerance=tolerance,
    )  # fmt: skip


def _ages(t: Floats, g: Floats, target: Floats, tolerance: float) -> list[Age]:
    """Drift in bins of log age; a cell that was read several times in a bin counts once, by its mean."""
    if not t.size or t.shape[1] < 2:
        return []
    first = g[:, :1]
    with np.errstate(divide="ignore", invalid="ignore"):
        number = np.floor(np.log10(t) * BINS_PER_DECADE + 0.5)
    number[:, 0] = np.nan  # what the drift is reckoned from is no drift
    found = []
    for bin_ in np.unique(number[np.isfinite(number)]):
        here = number == bin_
        seen = here.any(axis=1)
        if seen.sum() < min(LEAST, len(t)):
            continue
        weight = here[seen]
        drift = np.where(weight, g[seen] - first[seen], 0.0).sum(axis=1) / weight.sum(axis=1)
        error = np.where(weight, g[seen], 0.0).sum(axis=1) / weight.sum(axis=1) - target[seen]
        age = float(np.exp(np.log(t[here]).mean()))
        found.append(Age(age, mean_of(drift), spread_of(drift), float(np.mean(np.abs(error) <= tolerance))))
    return found


def _milestones(ages: list[Age]) -> tuple[Age, ...]:
    chosen: dict[float, Age] = {}
    for wanted in MILESTONES:
        near = [a for a in ages if abs(np.log10(a.age / wanted)) <= 0.5]
        if near:
            best = min(near, key=lambda a: abs(np.log10(a.age / wanted)))
            chosen[best.age] = best
    return tuple(chosen.values())
