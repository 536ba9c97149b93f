"""Quasi-static I-V curves: switching voltages, conductances of both states, and how far cycles resemble each other."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.characterisation.common import Estimate, Floats, Place, kept_by_cell, mean_of, require, sigma_of
from analysis.errors import AnalysisError
from analysis.records import RunFile

LOW = 0.3
"""V up to which a curve's slope is taken for the conductance: far below where quasi-static switching begins."""


@dataclass(frozen=True)
class CellCurves:
    """One cell's curves.

    Attributes:
        place: (row, col).
        amps: [cycle, SET or RESET, level], A; NaN where a sweep was in doubt.
        limited: where the compliance held the current, same shape.
        set_volts, set_sigma: where conductance rises half way in the rising SET sweep: mean, spread over cycles, V.
        reset_volts, reset_sigma: the same of its fall in the RESET sweep, V (positive on the source line).
        on, off: conductance after SET and after RESET, S; their spreads over cycles `on_sigma`, `off_sigma`.
        ratio: of the means of on and off.
        switched: share of cycles whose on state has at least twice the conductance of the off state before it.
    """

    place: Place
    amps: npt.NDArray[np.float64]
    limited: npt.NDArray[np.bool_]
    set_volts: Estimate
    set_sigma: Estimate
    reset_volts: Estimate
    reset_sigma: Estimate
    on: Estimate
    on_sigma: Estimate
    off: Estimate
    off_sigma: Estimate
    ratio: float
    switched: float


@dataclass(frozen=True)
class IvSummary:
    """An I-V run: `volts` [SET or RESET, level] across the cell in V, cycles asked for, cells with any curve."""

    volts: Floats
    cycles: int
    cells: tuple[CellCurves, ...]


def summarise_iv(run: RunFile) -> IvSummary:
    """Summarise an I-V run, also one that was interrupted.

    Raises:
        AnalysisError: it is of another procedure, or has no curve.
    """
    require(run, "iv")
    kept = kept_by_cell(run, "iv")
    if not kept:
        raise AnalysisError(f"run {run.header.run_id} ended before its first block of sweeps was kept")
    volts = np.asarray(run.data("iv/volts"), dtype=np.float64)
    cells = []
    for place, names in kept.items():
        blocks = sorted(int(rest.removeprefix("from_")) for rest in names if rest.startswith("from_"))
        if blocks:
            amps = np.concatenate([run.data(names[f"from_{b}"]) for b in blocks]).astype(np.float64)
            limited = np.concatenate([run.data(names[f"limited_{b}"]) for b in blocks]).astype(np.bool_)
            cells.append(_curves(place, volts, amps, limited))
    return IvSummary(volts, int(run.header.parameters["cycles"]), tuple(cells))


def _curves(place: Place, volts: Floats, amps: Floats, limited: npt.NDArray[np.bool_]) -> CellCurves:
    half = volts.shape[1] // 2
    up, down = slice(1, half), slice(half, -1)
    before = _slope(volts[0, up], amps[:, 0, up])  # as the last RESET left it
    on = _slope(volts[0, down], amps[:, 0, down])
    off = _slope(volts[1, down], amps[:, 1, down])
    set_volts = _crossing(volts[0, up], amps[:, 0, up], before, on)
    reset_volts = _crossing(-volts[1, up], -amps[:, 1, up], on, off)
    finite = np.isfinite(before) & np.isfinite(on)
    return CellCurves(
        place=place, amps=amps, limited=limited,
        set_volts=mean_of(set_volts), set_sigma=sigma_of(set_volts),
        reset_volts=mean_of(reset_volts), reset_sigma=sigma_of(reset_volts),
        on=mean_of(on), on_sigma=sigma_of(on), off=mean_of(off), off_sigma=sigma_of(off),
        ratio=float(np.nanmean(on) / np.nanmean(off)) if finite.any() else float("nan"),
        switched=float(np.mean(on[finite] >= 2 * before[finite])) if finite.any() else float("nan"),
    )  # fmt: skip


def _slope(volts: Floats, amps: Floats) -> Floats:
    """Conductance of each cycle's curve below `LOW`, through the origin, S."""
    low = np.abs(volts) <= LOW
    v = volts[low]
    return np.asarray((amps[:, low] * v).sum(axis=1) / (v @ v))


def _crossing(volts: Floats, amps: Floats, start: Floats, end: Floats) -> Floats:
    """Where each cycle's chord conductance first passes half way from `start` to `end`, V; NaN if never."""
    with np.errstate(invalid="ignore"):
        g = amps / volts
        share = (g - start[:, None]) / (end - start)[:, None]
    found = np.full(len(amps), np.nan)
    for k, row in enumerate(share):
        past = np.flatnonzero(row >= 0.5)
        if past.size and past[0] > 0:
            i = past[0]
            part = (0.5 - row[i - 1]) / (row[i] - row[i - 1])
            found[k] = volts[i - 1] + part * (volts[i] - volts[i - 1])
    return found
