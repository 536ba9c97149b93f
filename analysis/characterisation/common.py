"""Estimates with their uncertainties, and what the runs of all characterisations have in common."""

import math
import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.errors import AnalysisError
from analysis.records import RunFile
from analysis.records.layout import EVENT_CODE

Floats = npt.NDArray[np.float64]
Place = tuple[int, int]
"""(row, col)."""
_NAME = re.compile(r"r(\d+)_c(\d+)")


@dataclass(frozen=True)
class Estimate:
    """A quantity and its standard uncertainty, both in the quantity's unit; `count` values went into it."""

    value: float
    error: float
    count: int = 1


def mean_of(values: npt.ArrayLike) -> Estimate:
    """Mean of finite values with its standard error (NaN where it can't be known)."""
    v = np.asarray(values, dtype=np.float64)
    v = v[np.isfinite(v)]
    if not v.size:
        return Estimate(float("nan"), float("nan"), 0)
    error = float(v.std(ddof=1) / np.sqrt(v.size)) if v.size > 1 else float("nan")
    return Estimate(float(v.mean()), error, int(v.size))


def sigma_of(values: npt.ArrayLike) -> Estimate:
    """Standard deviation with its standard error, sigma / sqrt(2 (n - 1)) as for a Gaussian."""
    v = np.asarray(values, dtype=np.float64)
    v = v[np.isfinite(v)]
    if v.size < 2:
        return Estimate(float("nan"), float("nan"), int(v.size))
    sigma = float(v.std(ddof=1))
    return Estimate(sigma, sigma / float(np.sqrt(2 * (v.size - 1))), int(v.size))


def spread_of(values: npt.ArrayLike) -> Estimate:
    """Standard deviation of the bulk: half the distance of the quantiles at ±1 sigma, so that a few jumps don't count.

    Its standard error is 0.962 sigma / sqrt(n), as for quantiles of a Gaussian.
    """
    v = np.asarray(values, dtype=np.float64)
    v = v[np.isfinite(v)]
    if v.size < 4:
        return Estimate(float("nan"), float("nan"), int(v.size))
    low, high = np.quantile(v, (0.15866, 0.84134))
    sigma = 0.5 * float(high - low)
    return Estimate(sigma, 0.962 * sigma / math.sqrt(v.size), int(v.size))


def share_of(count: int, total: int) -> Estimate:
    """A share of a total, as the mean and spread of a beta distribution from Jeffreys' prior."""
    a, b = count + 0.5, total - count + 0.5
    return Estimate(
        count / total if total else float("nan"), float(np.sqrt(a * b / ((a + b) ** 2 * (a + b + 1)))), total
    )


def line_fit(x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Estimate, Estimate]:
    """Least-squares line through finite points: (slope, intercept) with standard errors from the residuals."""
    points: Floats = np.array([x, y], dtype=np.float64)
    u, v = points[:, np.isfinite(points).all(axis=0)]
    n = int(u.size)
    if n < 2 or float(np.ptp(u)) == 0.0:
        nan = Estimate(float("nan"), float("nan"), n)
        return nan, nan
    middle = float(u.mean())
    centred = u - middle
    sxx = float(centred @ centred)
    slope = float(centred @ v) / sxx
    intercept = float(v.mean()) - slope * middle
    residual = v - slope * u - intercept
    variance = float(residual @ residual) / (n - 2) if n > 2 else float("nan")
    at_zero = math.sqrt(variance * (1 / n + middle**2 / sxx))
    return Estimate(slope, math.sqrt(variance / sxx), n), Estimate(intercept, at_zero, n)


def require(run: RunFile, procedure: str) -> None:
    """Raise AnalysisError unless the run is of that procedure."""
    if run.header.procedure != procedure:
        raise AnalysisError(f"run {run.header.run_id} is a {run.header.procedure} run, not one of {procedure}")


def places(run: RunFile) -> tuple[Place, ...]:
    """The cells that the run was asked to work on."""
    return tuple((int(row), int(col)) for row, col in run.header.parameters["cells"])


def kept_by_cell(run: RunFile, group: str) -> dict[Place, dict[str, str]]:
    """What a run keeps as `group/r<row>_c<col>[/rest]`: place -> rest ("" if none) -> full name."""
    found: dict[Place, dict[str, str]] = {}
    for name in run.names("data"):
        first, _, rest = name.partition("/")
        cell, _, rest = rest.partition("/")
        match = _NAME.fullmatch(cell)
        if first == group and match is not None:
            found.setdefault((int(match[1]), int(match[2])), {})[rest] = name
    return dict(sorted(found.items()))


def numbered(run: RunFile, prefix: str) -> list[tuple[int, str]]:
    """Data named `prefix<number>`, in order of their numbers."""
    names = [(name.removeprefix(prefix), name) for name in run.names("data") if name.startswith(prefix)]
    return sorted((int(rest), name) for rest, name in names if rest.isdigit())


def of_cell(run: RunFile, place: Place) -> npt.NDArray[np.intp]:
    """Numbers of a cell's events, in order."""
    e = run.events
    return np.flatnonzero((e["row"] == place[0]) & (e["col"] == place[1]))


def is_kind(run: RunFile, which: npt.NDArray[np.intp], kind: str) -> npt.NDArray[np.bool_]:
    """Which of some events are of a kind."""
    return np.asarray(run.events["kind"][which] == EVENT_CODE[kind])
