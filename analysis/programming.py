"""What a programming run achieved and what it cost, from its run file alone."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.errors import AnalysisError
from analysis.records import RunFile
from analysis.records.layout import CELL_CODE, CELL_STATUSES, EVENT_CODE

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Cost:
    """Totals of one kind of event: how many, joules by the lab's own estimate, seconds on the lab's clock."""

    count: int
    energy: float
    seconds: float


@dataclass(frozen=True)
class Truth:
    """What only the twin knows about a simulated run.

    Attributes:
        inside: share of cells that can move whose true conductance lies in the window at the end.
        sigma: standard deviation of their true error, S.
        stuck: cells that can't move, (array, row, col).
        pulse_energy: joules truly dissipated by pulses; NaN of a resumed run, whose earlier parts kept no account.
    """

    inside: float
    sigma: float
    stuck: tuple[tuple[int, int, int], ...]
    pulse_energy: float


@dataclass(frozen=True)
class ProgramSummary:
    """A programming run in numbers. What the lab could know; `truth` apart.

    Attributes:
        cells: cells with a target.
        responsive: those that a pulse could move, whether they could be programmed or ran out of pulses.
        pending: those without a verdict, of a run that did not complete.
        inside: share of responsive cells whose final read lies within the tolerance.
        mean_error, sigma: of the final read of responsive cells, S.
        skewness, kurtosis: shape of that error (0 and 0 for a Gaussian).
        failed: cells given up, with their verdict: ((array, row, col), status).
        pulses_mean, pulses_p95: of responsive cells.
        pulses, reads: costs.
        duration: seconds on the lab's clock, from the start of the first event to the end of the last.
        tolerance: half width of the window, S.
        truth: twin only.
    """

    cells: int
    responsive: int
    pending: int
    inside: float
    mean_error: float
    sigma: float
    skewness: float
    kurtosis: float
    failed: tuple[tuple[tuple[int, int, int], str], ...]
    pulses_mean: float
    pulses_p95: float
    pulses: Cost
    reads: Cost
    duration: float
    tolerance: float
    truth: Truth | None


def summarise(run: RunFile) -> ProgramSummary:
    """Summarise a programming run.

    Raises:
        AnalysisError: the run is of another procedure.
    """
    header = run.header
    if "tolerance" not in header.parameters:
        raise AnalysisError(f"run {header.run_id} is a {header.procedure} run: it programmed nothing")
    tolerance = float(header.parameters["tolerance"])
    shape = header.shape
    target = run.map("conductance_target").reshape(shape)
    after = run.map("conductance_after").reshape(shape)
    wanted = np.isfinite(target)
    status = np.asarray(run.cells["status"]).reshape(shape)
    pulses = np.asarray(run.cells["pulses"]).reshape(shape)
    failed = wanted & ~np.isin(status, [CELL_CODE["ok"], CELL_CODE["pending"]])
    responsive = responsive_cells(run) & np.isfinite(after)
    error = (after - target)[responsive]
    per_cell = pulses[responsive]
    events = run.events
    kind = np.asarray(events["kind"])
    is_pulse = np.isin(kind, [EVENT_CODE["set"], EVENT_CODE["reset"], EVENT_CODE["form"]])
    is_read = kind == EVENT_CODE["read"]
    time = np.asarray(events["time"])
    ended = time + np.nan_to_num(np.asarray(events["duration"]))
    spread = float(error.std()) if error.size else float("nan")
    scaled = (error - error.mean()) / spread if error.size and spread > 0 else np.zeros(0)
    return ProgramSummary(
        cells=int(wanted.sum()),
        responsive=int(responsive.sum()),
        pending=int((wanted & (status == CELL_CODE["pending"])).sum()),
        inside=float(np.mean(np.abs(error) <= tolerance)) if error.size else float("nan"),
        mean_error=float(error.mean()) if error.size else float("nan"),
        sigma=spread,
        skewness=float(np.mean(scaled**3)) if scaled.size else float("nan"),
        kurtosis=float(np.mean(scaled**4) - 3) if scaled.size else float("nan"),
        failed=tuple((_cell(i), CELL_STATUSES[int(status[tuple(i)])]) for i in np.argwhere(failed)),
        pulses_mean=float(per_cell.mean()) if per_cell.size else float("nan"),
        pulses_p95=float(np.percentile(per_cell, 95)) if per_cell.size else float("nan"),
        pulses=_cost(events, is_pulse),
        reads=_cost(events, is_read),
        duration=_duration(run, time, ended),
        tolerance=tolerance,
        truth=_truth(run, target, wanted, tolerance) if header.world == "simulated" else None,
    )


def responsive_cells(run: RunFile) -> npt.NDArray[np.bool_]:
    """Which cells had a target, got a verdict and moved, (array, row, col)."""
    status = np.asarray(run.cells["status"]).reshape(run.header.shape)
    wanted = np.isfinite(run.map("conductance_target").reshape(run.header.shape))
    return np.asarray(wanted & np.isin(status, [CELL_CODE["ok"], CELL_CODE["budget"]]))


def _duration(run: RunFile, started: Floats, ended: Floats) -> float:
    """Seconds of work on the lab's clock: the parts of a resumed run, without the time between them."""
    if not started.size:
        return 0.0
    borders = [*(float(s["first_time"]) for s in run.segments), float("inf")]
    total = 0.0
    for first, following in pairwise(borders):
        part = (started >= first) & (started < following)
        total += float(ended[part].max() - started[part].min()) if part.any() else 0.0
    return total


def _cell(index: npt.NDArray[np.intp]) -> tuple[int, int, int]:
    a, r, c = (int(i) for i in index)
    return a, r, c


def _cost(events: Any, chosen: npt.NDArray[np.bool_]) -> Cost:
    energy, seconds = np.asarray(events["energy"])[chosen], np.asarray(events["duration"])[chosen]
    return Cost(int(chosen.sum()), float(np.nansum(energy)), float(np.nansum(seconds)))


def _truth(run: RunFile, target: Floats, wanted: npt.NDArray[np.bool_], tolerance: float) -> Truth | None:
    try:
        g, stuck = np.asarray(run.twin("true_conductance")), np.asarray(run.twin("stuck"))
        energy, kind = np.asarray(run.twin("drives/energy")), np.asarray(run.twin("drives/kind"))
    except (AnalysisError, KeyError):
        return None  # the run did not end in order
    arrays = [int(a) for a in run.header.parameters["arrays"]]
    g, stuck = g[arrays], stuck[arrays]
    error = (g - target)[wanted & (stuck == 0)]
    return Truth(
        inside=float(np.mean(np.abs(error) <= tolerance)) if error.size else float("nan"),
        sigma=float(error.std()) if error.size else float("nan"),
        stuck=tuple(_cell(i) for i in np.argwhere(wanted & (stuck != 0))),
        pulse_energy=float(energy[kind > 0].sum()) if run.segment_count == 1 else float("nan"),
    )
