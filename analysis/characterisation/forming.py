"""What forming took: at which gate cells began to conduct, after how many pulses, and with what conductance."""

from dataclasses import dataclass

import numpy as np

from analysis.characterisation.common import Estimate, Floats, Place, is_kind, mean_of, of_cell, places, require
from analysis.records import RunFile
from analysis.records.layout import CELL_CODE


@dataclass(frozen=True)
class Forming:
    """A forming run in numbers.

    Attributes:
        cells, formed: asked for, and those that conduct now.
        untouched: those that conducted before any pulse.
        failed: those that don't, (row, col).
        gates: word line of the pulse that formed each cell, V.
        gate: its mean over cells, V; `gate_sigma` its spread. None if no cell was formed.
        pulses: pulses a cell.
        before, after: conductance of the cells formed, S.
    """

    cells: int
    formed: int
    untouched: int
    failed: tuple[Place, ...]
    gates: Floats
    gate: Estimate | None
    gate_sigma: float
    pulses: Estimate | None
    before: Floats
    after: Estimate | None


def summarise_forming(run: RunFile) -> Forming:
    """Summarise a forming run.

    Raises:
        AnalysisError: the run is of another procedure.
    """
    require(run, "forming")
    asked = places(run)
    status = np.asarray(run.cells["status"]).reshape(run.header.shape)[0]
    after = np.asarray(run.cells["conductance"]).reshape(run.header.shape)[0]
    gates, pulses, before, ends, failed, untouched = [], [], [], [], [], 0
    for place in asked:
        which = of_cell(run, place)
        forms = which[is_kind(run, which, "form")]
        if status[place] == CELL_CODE["unresponsive"]:
            failed.append(place)
        if status[place] != CELL_CODE["ok"]:
            continue
        if not len(forms):
            untouched += 1
            continue
        reads = which[is_kind(run, which, "read")]
        gates.append(float(run.events["gate"][forms[-1]]))
        pulses.append(len(forms))
        before.append(float(run.events["conductance"][reads[0]]))
        ends.append(float(after[place]))
    some = bool(gates)
    return Forming(
        cells=len(asked),
        formed=int(sum(status[place] == CELL_CODE["ok"] for place in asked)),
        untouched=untouched,
        failed=tuple(failed),
        gates=np.array(gates),
        gate=mean_of(gates) if some else None,
        gate_sigma=float(np.std(gates)) if some else float("nan"),
        pulses=mean_of(pulses) if some else None,
        before=np.array(before),
        after=mean_of(ends) if some else None,
    )
