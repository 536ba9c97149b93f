"""A network's conductances on the station's arrays: programmed, mapped around cells that fail, and read back."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from analysis.records import RunWriter
from instruments.station import Station
from workflows.procedures.program import Programming, ProgramRequest, Progress

Array = npt.NDArray[np.float64]

_ATTEMPTS = 3
"""Times that a network is mapped: around the cells that failed in the times before."""


@dataclass
class NetworkArrays:
    """Programs what a network needs.

    Args:
        station: open.
        writer: the run's records; a resumed run goes on from its verdicts.
        tolerance, verify, budget: of the write-verify, see `ProgramRequest`.
        stop: asked between pulses.
        listener: told of every cell.
    """

    station: Station
    writer: RunWriter
    tolerance: float
    verify: float
    budget: int
    stop: Callable[[], bool] = lambda: False
    listener: Callable[[Progress], None] | None = None
    _verdicts: dict[tuple[int, int, int], tuple[float, str, float]] = field(default_factory=dict)

    def program(self, place: Callable[[Array], Array]) -> Array:
        """Program the arrays; cells that fail are mapped around, once or twice.

        A cell that has what it should have is not touched again, in a resumed run either.

        Args:
            place: gives the targets, S, in the station's shape (arrays, rows, cols), NaN where no cell is needed,
                around the cells that can't be programmed (same shape: what they have, NaN for good cells).

        Returns:
            The conductances as read back, S, in the same shape; NaN where nothing was asked for.
        """
        self.writer.phase("program")
        shape = self.station.file.shape
        state = self.writer.state
        stuck = np.full(shape, np.nan)
        if state is not None:
            stuck = state.maps.get("stuck", stuck).reshape(shape)
            targets = state.maps["conductance_target"].reshape(shape)
            g = state.cells["conductance"].reshape(shape)
            self._verdicts = {c: (float(targets[c]), verdict, float(g[c])) for c, verdict in state.finished.items()}
        target = place(stuck)
        for attempt in range(_ATTEMPTS):
            self.writer.map("stuck", stuck, title="cells that can't be programmed, with what they have")
            self.writer.map("conductance_target", target, title="target conductance")
            failed = self._program(target, first=attempt == 0)
            if not failed or attempt == _ATTEMPTS - 1:
                break
            for cell, g_failed in failed.items():
                stuck[cell] = g_failed
            elsewhere = place(stuck)
            if np.array_equal(elsewhere, target, equal_nan=True):  # there is nowhere else to go
                break
            self.writer.note(f"{len(failed)} cells can't be programmed; the network is mapped around them")
            target = elsewhere
        measured = self._measure(target)
        self.station.array.safe()  # what follows is thinking: minutes in which nothing needs to be driven
        return measured

    def _program(self, target: Array, *, first: bool) -> dict[tuple[int, int, int], float]:
        """Program what is not programmed yet; gives the cells that can't be, with their conductance."""
        request = ProgramRequest(target, tuple(range(len(target))), self.tolerance, self.verify, self.budget)
        request.check(self.station.file.shape, self.station.file.limits)
        job = Programming(self.station.array, self.writer, request, self.stop)
        job.finished = {c: verdict for c, (wanted, verdict, _) in self._verdicts.items() if wanted == target[c]}
        if self.writer.state is None or not first:  # else begin() counts them
            job.progress.done = job.progress.inside = sum(v == "ok" for v in job.finished.values())
        if self.listener:
            job.progress.listeners.append(self.listener)
        if first:
            job.begin()
        else:
            self.station.array.prepare()
        for step in job.steps():
            job.run(step)
        for cell, verdict in job.finished.items():
            if cell not in self._verdicts or self._verdicts[cell][0] != target[cell]:
                self._verdicts[cell] = (float(target[cell]), verdict, job.last_read(cell))
        return {c: g for c, (wanted, verdict, g) in self._verdicts.items() if verdict != "ok" and wanted == target[c]}

    def _measure(self, target: Array) -> Array:
        request = ProgramRequest(target, tuple(range(len(target))))
        job = Programming(self.station.array, self.writer, request, self.stop)
        for _ in job.read_rows("conductance_after", "conductance after programming"):
            pass
        return job.measured()
