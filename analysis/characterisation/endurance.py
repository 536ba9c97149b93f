"""Endurance: both states against the number of cycles, and how the window between them changes."""

from dataclasses import dataclass

import numpy as np

from analysis.characterisation.common import Estimate, Floats, Place, kept_by_cell, line_fit, require
from analysis.errors import AnalysisError
from analysis.records import RunFile
from analysis.records.layout import CELL_CODE


@dataclass(frozen=True)
class CellEndurance:
    """One cell: cycles at each look, both states then (S), change of their difference per decade (S), stuck or not."""

    place: Place
    counts: Floats
    high: Floats
    low: Floats
    window_change: Estimate
    stuck: bool


@dataclass(frozen=True)
class Endurance:
    """An endurance run: cycles asked for, and the cells looked at."""

    cycles: int
    cells: tuple[CellEndurance, ...]


def summarise_endurance(run: RunFile) -> Endurance:
    """Summarise an endurance run, also one that was interrupted.

    Raises:
        AnalysisError: it is of another procedure, or nothing was looked at.
    """
    require(run, "endurance")
    status = np.asarray(run.cells["status"]).reshape(run.header.shape)[0]
    cells = []
    for place, names in kept_by_cell(run, "endurance").items():
        table = np.stack([run.data(name) for name in names.values()])
        table = table[np.argsort(table[:, 0])]
        slope, _ = line_fit(np.log10(table[:, 0]), table[:, 1] - table[:, 2])
        stuck = bool(status[place] == CELL_CODE["stuck"])
        cells.append(CellEndurance(place, table[:, 0], table[:, 1], table[:, 2], slope, stuck))
    if not cells:
        raise AnalysisError(f"run {run.header.run_id} ended before its first look")
    return Endurance(int(run.header.parameters["looks"][-1]), tuple(cells))
