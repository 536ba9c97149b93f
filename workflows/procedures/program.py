"""Program arrays: read, decide, limit, pulse, verify, cell by cell, with every event in the run's journal.

Once all cells are programmed they are verified again, in one pass or several with time between them: what relaxed out
of the window meanwhile is brought back before the cell gets its verdict. A cell that has its verdict is finished;
nothing touches it again, a resumed run included.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from analysis.records import ResumeState, RunWriter
from instruments.array import CellArray
from instruments.errors import DoubtError, InstrumentError
from workflows.errors import Interrupted, RequestError
from workflows.procedures.carry_out import carry_out
from workflows.procedures.program_progress import VISITS, Progress
from workflows.procedures.program_request import ProgramRequest
from workflows.procedures.write_verify import Pulse, State, Verdict, WriteVerify, for_pulses

__all__ = ["MOST_DOUBTS", "RECOGNISED_BY", "VISITS", "Cell", "ProgramRequest", "Programming", "Progress", "program"]

Floats = npt.NDArray[np.float64]
Cell = tuple[int, int, int]

MOST_DOUBTS = 3
"""Pulses on one cell that may go unacknowledged before the run stops."""


class Step(NamedTuple):
    """One unit of work: a row to program or to verify again, or the wait before a pass."""

    kind: str  # "program", "verify" or "wait"
    array: int  # slice of the target; -1: none in particular
    row: int
    visit: int = 0  # pass that it belongs to, from 1; 0: before the first


RECOGNISED_BY = 32
"""Finished cells that a resumed run looks at before it trusts the rest."""


class Programming:
    """One programming run under way: the same pieces serve the plain function and the flow.

    Args:
        cells: the arrays.
        writer: the run's records; if it was resumed, work goes on from its state.
        request: what to program; `check` must have passed.
        stop: asked between pulses; when it says True the run stops with `Interrupted`.
    """

    def __init__(
        self, cells: CellArray, writer: RunWriter, request: ProgramRequest, stop: Callable[[], bool] = lambda: False
    ) -> None:
        self.cells = cells
        self.writer = writer
        self.request = request
        self.stop = stop
        # Each array's cells are learned from apart: they may come from different wafers.
        algorithm = for_pulses(request.algorithm, cells.limits.pulse_width.low)
        self._algorithms: list[WriteVerify] = [algorithm.fresh() for _ in request.arrays]
        if np.isfinite(request.target).any():
            low, high = float(np.nanmin(request.target)), float(np.nanmax(request.target))
            for pulse in algorithm.extremes(low, high):
                cells.check_pulse(*pulse)
        self._states: dict[Cell, State] = {}
        self._last: dict[Cell, float] = {}
        self._bounded: set[Cell] = set()  # cells whose last read was limited by the compliance
        self._doubts: dict[Cell, int] = {}
        self._pending: dict[Cell, Verdict] = {}
        self._spent: dict[Cell, int] = {}
        self._inside: dict[Cell, bool] = {}
        self.finished: dict[Cell, str] = dict(writer.state.finished) if writer.state else {}
        wanted = int(np.isfinite(request.target).sum())
        self._verifies = bool(request.settle_rows) + request.passes
        visits = 2 * VISITS["read"] + VISITS["program"] + VISITS["verify"] * self._verifies
        self.progress = Progress(wanted, visits * wanted)
        self._pass_began = cells.clock.now()

    def begin(self) -> None:
        """Record the targets, switch to programming mode; a resumed run first reads the cells left in doubt."""
        writer, state = self.writer, self.writer.state
        clock = self.cells.clock
        if state is not None and clock.is_virtual and state.last_time > clock.now():
            clock.sleep(state.last_time - clock.now())  # a killed bench may have forgotten its last milliseconds
        if state is None or "conductance_target" not in state.maps:
            if self.request.tolerances is not None:
                writer.map("tolerance", self.request.tolerances, title="half width of each cell's window")
            writer.map("conductance_target", self.request.target, title="target conductance")
        self.cells.prepare()
        if state is not None:
            self._take_over(state)
            writer.phase("resume")
            for doubt in state.in_doubt:
                array, row, col = doubt.cell
                self.cells.select(self.request.arrays[array], row, col)
                self._read((array, row, col))
                writer.note(
                    f"pulse {doubt.kind} on cell {doubt.cell} was in doubt; the cell was read before anything else"
                )
            self._recognise(state)

    def _recognise(self, state: ResumeState) -> None:
        """See by some finished cells that the array is as this run left it: somebody may have used it meanwhile.

        Raises:
            RequestError: more than a fifth of them have changed by far more than cells do by themselves.
        """
        kept = state.cells["conductance"].reshape(self.request.target.shape)
        finished = sorted(cell for cell, verdict in self.finished.items() if verdict == "ok")
        asked = finished[:: max(1, len(finished) // RECOGNISED_BY)]
        changed = 0
        for cell in asked:
            self.cells.select(self.request.arrays[cell[0]], cell[1], cell[2])
            changed += abs(self._read(cell) - float(kept[cell])) > max(5 * self.request.tolerance_of(cell), 5e-6)
        if changed > len(asked) / 5:
            raise RequestError(
                f"the array is not as this run left it: {changed} of {len(asked)} finished cells have changed; "
                "somebody used it since. Begin a new run"
            )

    def _take_over(self, state: ResumeState) -> None:
        """Go on from what the run's earlier parts did: a budget is a cell's (for a target), not a process's."""
        shape = self.request.target.shape
        pulses = (state.cells["pulses"] - state.pulses_before).reshape(shape)
        g = state.cells["conductance"].reshape(shape)
        self._spent = {cell: int(pulses[cell]) for cell in np.ndindex(*pulses.shape) if pulses[cell]}
        for cell in self.finished:
            self._judge(cell, float(g[cell]))

    def read_rows(self, name: str, title: str) -> Iterator[Step]:
        """Read every cell that has a target, a row at a time (a generator, so that a caller can look between rows).

        At the end the map is recorded under `name`; cells without target stay NaN.
        """
        values: Floats = np.full_like(self.request.target, np.nan)
        self.writer.phase(name)
        self.progress.phase = "reading the array" if name == "conductance_before" else "reading it back"
        for a in range(len(self.request.arrays)):
            for row in range(values.shape[1]):
                for col in self._wanted(a, row):
                    self.cells.select(self.request.arrays[a], row, col)
                    values[a, row, col] = self._read((a, row, col))
                    self.progress.visited("read")
                yield Step("read", a, row)
        self.writer.map(name, values, title=title)

    def steps(self) -> Iterator[Step]:
        """The order of work: each row programmed, and verified again `settle_rows` rows later; then the passes."""
        lag = self.request.settle_rows
        arrays, rows = self.request.target.shape[:2]
        for a in range(arrays):
            for row in range(rows + lag):
                if row < rows and self._wanted(a, row):
                    yield Step("program", a, row)
                if lag and row >= lag and self._wanted(a, row - lag):
                    yield Step("verify", a, row - lag)
        for visit in range(1, self.request.passes + 1):
            yield Step("wait", -1, -1, visit)
            for a in range(arrays):
                for row in range(rows):
                    if self._wanted(a, row):
                        yield Step("verify", a, row, visit)

    def run(self, step: Step) -> None:
        """Do one step: program the cells of a row or verify them again, with the verdicts if it is the last time."""
        if step.kind == "wait":
            self._wait(step.visit)
            return
        self.progress.phase = f"verifying, pass {step.visit} of {self.request.passes}" if step.visit else "programming"
        last = step.visit == self.request.passes and (step.kind == "verify" or not self._verifies)
        for col in self._wanted(step.array, step.row):
            cell: Cell = (step.array, step.row, col)
            if cell not in self.finished:
                self._pending[cell] = self._program(cell, final=last)
                self._judge(cell, self._last[cell])
                if last or self._pending[cell] != "ok":
                    self._finish(cell, self._pending[cell])
            self.progress.visited(step.kind)

    def name(self, step: Step) -> str:
        """A step in words, of which no two are alike."""
        if step.kind == "wait":
            return f"wait before pass {step.visit}"
        behind = f" pass {step.visit}" if step.visit else ""
        return f"{step.kind} array {self.request.arrays[step.array]} row {step.row}{behind}"

    def _wait(self, visit: int) -> None:
        """Let the rest of the gap pass, with nothing driven, stopping when asked to."""
        clock = self.cells.clock
        began, self.progress.phase = self._pass_began, f"waiting for pass {visit} of {self.request.passes}"
        if visit == 1:
            began = clock.now()
        if began + self.request.gap > clock.now() and any(v == "ok" for v in self._pending.values()):
            self.cells.safe()
            while (left := began + self.request.gap - clock.now()) > 1e-6:
                self._check_stop()
                self.progress.tell()
                clock.sleep(min(left, 1.0))
            self.cells.prepare()
        self._pass_began = clock.now()

    def last_read(self, cell: Cell) -> float:
        """What the last read of a cell gave, S."""
        return self._last[cell]

    def measured(self) -> Floats:
        """What the last reads gave, S, in the targets' shape; NaN where nothing was read."""
        values = np.full(self.request.target.shape, np.nan)
        for cell, g in self._last.items():
            values[cell] = g
        return values

    def _wanted(self, array: int, row: int) -> list[int]:
        return [int(c) for c in np.flatnonzero(np.isfinite(self.request.target[array, row]))]

    def _program(self, cell: Cell, *, final: bool) -> Verdict:
        request, algorithm = self.request, self._algorithms[cell[0]]
        window = request.window(cell, max(request.budget - self._spent.get(cell, 0), 0), final=final)
        state = self._states.get(cell) or algorithm.start(window)
        self.cells.select(request.arrays[cell[0]], cell[1], cell[2])
        while True:
            g = self._read(cell)
            if cell in self._bounded and g < window.target + window.tolerance:
                raise InstrumentError(
                    f"cell {cell} was read at the compliance: it has {g * 1e6:.3g} uS or more, and its target is "
                    f"{window.target * 1e6:.3g} uS; raise read.compliance in the station file, or look for a short"
                )
            state, answer = algorithm.decide(window, state, g)
            if isinstance(answer, Pulse):
                self._pulse(cell, answer, g)
            elif answer != "again":
                self._states[cell] = state
                return answer

    def _read(self, cell: Cell) -> float:
        self._check_stop()
        array, row, col = cell
        started = self.cells.clock.now()
        read = self.cells.read()
        self.writer.event(
            "read", row, col, array=array, amplitude=read.volts, gate=self.cells.settings.gate, width=read.duration,
            conductance=read.conductance, current=read.current, energy=read.energy, t=started,
            duration=self.cells.clock.now() - started,
        )  # fmt: skip
        self._last[cell] = read.conductance
        if not read.in_compliance:
            self._bounded.discard(cell)
        elif cell not in self._bounded:
            self._bounded.add(cell)
            self.writer.note(f"a read of cell {cell} reached its compliance: {read.conductance * 1e6:.3g} uS or more")
        return read.conductance

    def _pulse(self, cell: Cell, pulse: Pulse, g: float) -> None:
        self._check_stop()
        array, row, col = cell
        # The limits speak before the journal does: an intent is something that may have happened.
        self.cells.check_pulse(*pulse)
        intent = self.writer.intent(
            pulse.kind, row, col, array=array, amplitude=pulse.volts, gate=pulse.gate, width=pulse.width
        )
        try:
            self.cells.pulse(*pulse)
        except DoubtError as error:
            # Never again: what the next read finds decides. The intent stays open, as in doubt as it is.
            self.progress.pulses += 1
            self._doubts[cell] = self._doubts.get(cell, 0) + 1
            self.writer.note(f"a {pulse.kind} pulse on cell {cell} is in doubt; the cell is read next ({error})")
            if self._doubts[cell] >= MOST_DOUBTS:
                raise
            return
        # The lab's own estimate: the conductance changes during the pulse, the last read is what is known of it.
        self.writer.result(intent, energy=pulse.volts**2 * max(g, 0.0) * pulse.width)
        self.progress.pulses += 1

    def _finish(self, cell: Cell, verdict: Verdict) -> None:
        status: str = verdict
        g = self._last[cell]
        self.finished[cell] = status
        self.writer.cell(cell[1], cell[2], status, array=cell[0], conductance=g)

    def _judge(self, cell: Cell, g: float) -> None:
        """For the progress: whether a cell that has been programmed is where it should be, as far as is known."""
        inside = abs(g - float(self.request.target[cell])) <= self.request.tolerance_of(cell)
        before = self._inside.get(cell)
        self._inside[cell] = inside
        self.progress.done += before is None
        self.progress.inside += inside - bool(before)

    def _check_stop(self) -> None:
        if self.stop():
            raise Interrupted("stopped on request")


def program(
    cells: CellArray,
    writer: RunWriter,
    request: ProgramRequest,
    *,
    stop: Callable[[], bool] = lambda: False,
    listener: Callable[[Progress], None] | None = None,
    around: Callable[[str, Callable[[], object]], object] = lambda name, work: work(),
) -> None:
    """Program arrays and read them before and after. The whole procedure, without Prefect.

    Args:
        cells: the arrays; left in programming mode (whoever opened the station makes it safe).
        writer: the run's records.
        request: what to program; checked against the station beforehand.
        stop: asked between pulses.
        listener: told of every finished cell.
        around: called with a name and a piece of work the size of a row, to do it; a flow puts a task around it.

    Raises:
        Interrupted: `stop` said so.
    """
    carry_out(Programming(cells, writer, request, stop), writer, listener, around)
