"""Bringing cells to the states that a characterisation needs, by the write-verify of `workflows.procedures.program`."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from instruments.station_file import StationFile
from workflows.procedures.characterise.common import CellOptions, in_range, ordered
from workflows.procedures.characterise.probe import Place, Probe
from workflows.procedures.options import option
from workflows.procedures.program import Programming, ProgramRequest

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class PreparedOptions(CellOptions):
    """Cells that are programmed first."""

    low: float = option(20e-6, "Lowest conductance programmed.", unit="S")
    high: float = option(100e-6, "Highest conductance programmed.", unit="S")
    window: float = option(1e-6, "Half width of the window around a target.", unit="S")
    verify: float = option(0.7, "Share of the window that verify reads must lie within.")
    budget: int = option(120, "Pulses that a cell may take.")


@dataclass(frozen=True)
class Manner:
    """How cells are programmed: half window in S, share of it for verify reads, pulses a cell; see `ProgramRequest`."""

    tolerance: float
    verify: float
    budget: int

    @classmethod
    def of(cls, o: PreparedOptions) -> "Manner":
        """From the options."""
        return cls(o.window, o.verify, o.budget)


def check_preparing(o: PreparedOptions, station: StationFile) -> Manner:
    """Check targets and the algorithm's pulses against the station and its limits."""
    in_range(o, budget=(1, 100_000))
    if o.low != o.high:
        ordered(o.low, o.high, "targets", "S")
    target = np.full(station.shape[1:], np.nan)
    target.flat[0], target.flat[-1] = o.low, o.high
    manner = Manner.of(o)
    _request(target, o.array, manner, 0).check(station.shape, station.limits)
    return manner


def spread_targets(places: tuple[Place, ...], low: float, high: float, levels: int, shape: tuple[int, int]) -> Floats:
    """Targets for some cells, [row, col] in S, NaN elsewhere: evenly spaced levels dealt out in turn."""
    target = np.full(shape, np.nan)
    values = np.linspace(low, high, levels) if levels > 1 else np.array([0.5 * (low + high)])
    for k, place in enumerate(places):
        target[place] = values[k % levels]
    return target


def _request(target: Floats, array: int, manner: Manner, settle_rows: int) -> ProgramRequest:
    return ProgramRequest(
        target[None], (array,), manner.tolerance, manner.verify, manner.budget, settle_rows=settle_rows
    )


def program_cells(
    probe: Probe, target: Floats, manner: Manner, *, settle_rows: int = 0, record: bool = True, anew: bool = False
) -> None:
    """Program the cells that have a target; one that got its verdict on this very target before is left alone.

    Args:
        probe: the array.
        target: S, [row, col]; NaN leaves a cell alone.
        manner: how.
        settle_rows: how many rows later a row is verified again; 0 for never.
        record: whether these are new targets, to be recorded as the run's.
        anew: whether verdicts from before don't count.
    """
    writer, state = probe.writer, probe.writer.state
    finished: dict[tuple[int, int, int], str] = {}
    if state is not None and "conductance_target" in state.maps and not anew:
        before = np.asarray(state.maps["conductance_target"]).reshape(target.shape)
        finished = {c: v for c, v in state.finished.items() if before[c[1:]] == target[c[1:]]}
    if record and not (finished and np.array_equal(before, target, equal_nan=True)):
        writer.map("conductance_target", target, title="target conductance")
    probe.cells.prepare()
    job = Programming(probe.cells, writer, _request(target, probe.number, manner, settle_rows), probe.controls.stop)
    job.finished = finished
    if probe.controls.listener:
        job.progress.listeners.append(probe.controls.listener)
    for step in job.steps():
        probe.controls.around(f"{step.kind} row {step.row}", partial(job.run, step))
