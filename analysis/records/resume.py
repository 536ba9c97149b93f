"""Where a run stands that did not complete."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.records import layout
from analysis.records.header import RunHeader
from analysis.records.tables import Cell, Doubt, Tables


@dataclass(frozen=True)
class ResumeState:
    """Where a run stands that is to be gone on with.

    Args:
        header: of the run's first part.
        status: how the last part ended (`layout.STATUSES`, without running).
        finished: cells that have a verdict other than pending, and the verdict.
        in_doubt: what was announced and whose result nobody saw, on cells not read since: read them first.
        last_time: laboratory time of the last record, seconds; the clock should go on from there.
        phase: the last phase begun; empty if none.
        cells: the cells' table so far (`layout.CELL_COLUMNS`), so that budgets go on.
        pulses_before: pulses that an earlier target of each cell took, in the cells' table's order: no budget's affair.
        maps: maps stored so far, [array?, row, col].
        captures: captures so far, by oscilloscope.
    """

    header: RunHeader
    status: str
    finished: Mapping[Cell, str]
    in_doubt: tuple[Doubt, ...]
    last_time: float
    phase: str
    cells: Mapping[str, npt.NDArray[Any]]
    pulses_before: npt.NDArray[np.int64]
    maps: Mapping[str, npt.NDArray[Any]]
    captures: Mapping[str, int]


def state_of(tables: Tables) -> ResumeState:
    """Where the run stands whose journal the tables were made from."""
    codes = tables.status
    arrays, rows, cols = tables.header.shape
    finished = {
        (index // (rows * cols), index // cols % rows, index % cols): layout.CELL_STATUSES[code]
        for index, code in enumerate(codes)
        if code
    }
    shape = layout.shape_of(arrays, rows, cols)
    return ResumeState(
        header=tables.header,
        status=tables.outcome[0],
        finished=finished,
        in_doubt=tuple(tables.doubts.values()),
        last_time=tables.segments[-1].last_time,
        phase=tables.phases[-1][1] if tables.phases else "",
        cells=tables.cells(),
        pulses_before=np.array(tables.pulses_before, dtype=np.int64),
        maps={name: a.values.reshape(shape) for (where, name), a in tables.arrays.items() if where == "map"},
        captures={scope: len(records) for scope, records in tables.waveforms.items()},
    )
