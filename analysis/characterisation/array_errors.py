"""Errors of a programmed array at several times: their size, their shape, and whether time changes them."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.characterisation.common import Estimate, Floats, mean_of, numbered, require, sigma_of
from analysis.errors import AnalysisError
from analysis.records import RunFile
from analysis.records.layout import CELL_CODE


@dataclass(frozen=True)
class ErrorsAt:
    """Errors at one time.

    Attributes:
        age: s since the last cell was programmed, mean of the reads.
        error: read minus target of the cells that could be programmed, S; relative: the same over the target.
        mean, sigma: of the error, S; relative_mean, relative_sigma: of the relative one.
        inside: share within the window.
        skewness, kurtosis: of the relative error (0 and 0 for a Gaussian).
        gaussian: p-value of D'Agostino and Pearson's test that it is one.
    """

    age: float
    error: Floats
    relative: Floats
    mean: Estimate
    sigma: Estimate
    relative_mean: Estimate
    relative_sigma: Estimate
    inside: float
    skewness: float
    kurtosis: float
    gaussian: float


@dataclass(frozen=True)
class ArrayErrors:
    """An array-errors run.

    Attributes:
        cells, given_up: with a target, and those that could not be programmed.
        tolerance: half width of the window, S.
        times: what was found at each time.
        growth: spread of the relative error at the last time over that at the first; None with less than two.
    """

    cells: int
    given_up: int
    tolerance: float
    times: tuple[ErrorsAt, ...]
    growth: Estimate | None


def summarise_errors(run: RunFile) -> ArrayErrors:
    """Summarise an array-errors run, also one that was interrupted.

    Raises:
        AnalysisError: it is of another procedure, or the array was never read.
    """
    require(run, "array-errors")
    shape = run.header.shape
    target = run.map("conductance_target").reshape(shape)[0]
    status = np.asarray(run.cells["status"]).reshape(shape)[0]
    wanted = np.isfinite(target)
    good = wanted & (status == CELL_CODE["ok"])
    tolerance = float(run.header.parameters["manner"]["tolerance"])
    found = []
    for k, name in numbered(run, "errors/time_"):
        age = float(np.mean(run.data(name)))
        g = run.map(f"conductance_time_{k}").reshape(shape)[0]
        found.append(_at(age, (g - target)[good], target[good], tolerance))
    if not found:
        raise AnalysisError(f"run {run.header.run_id} ended before the array was read")
    growth = None
    if len(found) > 1:
        first, last = found[0].relative_sigma, found[-1].relative_sigma
        ratio = last.value / first.value
        growth = Estimate(
            ratio, ratio * float(np.hypot(first.error / first.value, last.error / last.value)), last.count
        )
    given_up = int((wanted & ~good).sum())
    return ArrayErrors(int(wanted.sum()), given_up, tolerance, tuple(found), growth)


def _at(age: float, error: Floats, target: Floats, tolerance: float) -> ErrorsAt:
    relative = error / target
    some = relative.size >= 20 and float(np.std(relative)) > 0
    return ErrorsAt(
        age=age, error=error, relative=relative, mean=mean_of(error), sigma=sigma_of(error),
        relative_mean=mean_of(relative), relative_sigma=sigma_of(relative),
        inside=float(np.mean(np.abs(error) <= tolerance)) if error.size else float("nan"),
        skewness=float(stats.skew(relative)) if some else float("nan"),
        kurtosis=float(stats.kurtosis(relative)) if some else float("nan"),
        gaussian=float(stats.normaltest(relative).pvalue) if some else float("nan"),
    )  # fmt: skip
