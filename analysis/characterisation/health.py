"""Health of an array against the run that programmed it: which cells drifted, and what mending them achieved."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.characterisation.common import Estimate, Floats, Place, mean_of, require, sigma_of
from analysis.errors import AnalysisError
from analysis.records import RunFile
from analysis.records.layout import CELL_CODE


@dataclass(frozen=True)
class State:
    """The array at one time: cells outside the window; mean and spread of the error of all able cells, S."""

    outside: int
    mean: Estimate
    sigma: Estimate


@dataclass(frozen=True)
class Health:
    """A health run.

    Attributes:
        cells: with a target; given_up: those that the reference could not program; able: the rest.
        tolerance: half width of the window, S.
        drifted: [row, col]: able cells found outside.
        before, after: the array as found, and as left; `after` is None if nothing was to be mended.
        mended, failed: drifted cells that are back, and that could not be brought back.
        pulses: it took.
        worst: able cells as found, by size of the error: ((row, col), S).
    """

    cells: int
    given_up: int
    able: int
    tolerance: float
    drifted: npt.NDArray[np.bool_]
    before: State
    after: State | None
    mended: int
    failed: int
    pulses: int
    worst: tuple[tuple[Place, float], ...]


def summarise_health(run: RunFile) -> Health:
    """Summarise a health run.

    Raises:
        AnalysisError: it is of another procedure, or ended before the array had been read.
    """
    require(run, "health")
    if "health/read" not in run.names("data"):
        raise AnalysisError(f"run {run.header.run_id} ended before the array had been read")
    shape, p = run.header.shape, run.header.parameters
    target, before, after = (run.map(f"conductance_{name}").reshape(shape)[0] for name in ("target", "before", "after"))
    given_up = np.asarray(p["given_up"], dtype=np.bool_)
    tolerance = float(p["manner"]["tolerance"])
    able = np.isfinite(target) & ~given_up
    error = np.where(able, before - target, np.nan)
    drifted = able & (np.abs(error) > tolerance)
    status = np.asarray(run.cells["status"]).reshape(shape)[0]
    order = np.argsort(-np.abs(np.where(drifted, error, 0.0)), axis=None)[: int(drifted.sum())]
    places = [(int(i // shape[2]), int(i % shape[2])) for i in order]
    mended = bool(p["mend"]) and run.status == "completed"
    return Health(
        cells=int(np.isfinite(target).sum()), given_up=int((np.isfinite(target) & given_up).sum()),
        able=int(able.sum()), tolerance=tolerance, drifted=drifted, before=_state(error, tolerance),
        after=_state(np.where(able, after - target, np.nan), tolerance) if mended else None,
        mended=int((drifted & (status == CELL_CODE["ok"])).sum()),
        failed=int((drifted & (status > CELL_CODE["ok"])).sum()),
        pulses=int(run.where("set", "reset", "form").sum()),
        worst=tuple((place, float(error[place])) for place in places),
    )  # fmt: skip


def _state(error: Floats, tolerance: float) -> State:
    return State(int((np.abs(error) > tolerance).sum()), mean_of(error), sigma_of(error))
