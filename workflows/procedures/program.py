"""Program arrays: read, decide, limit, pulse, verify, cell by cell, with every event in the run's journal.

A row is programmed, and some rows later verified again: what relaxed out of the window meanwhile is brought back before
the cell gets its verdict. A cell that has its verdict is finished; nothing touches it again, a resumed run included.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from analysis.records import ResumeState, RunWriter
from instruments.array import CellArray
from instruments.errors import DoubtError, InstrumentError
from instruments.limits import Limits
from workflows.errors import Interrupted, RequestError
from workflows.procedures.patterns import check_targets
from workflows.procedures.write_verify import (
    ALGORITHMS,
    IncrementalReversal,
    Pulse,
    State,
    Verdict,
    Window,
    WriteVerify,
)

Floats = npt.NDArray[np.float64]
Cell = tuple[int, int, int]

MOST_DOUBTS = 3
"""Pulses on one cell that may go unacknowledged before the run stops."""


@dataclass(frozen=True)
class ProgramRequest:
    """What to program.

    Attributes:
        target: conductances, S, shape (len(arrays), rows, cols); NaN leaves a cell alone.
        arrays: physical array numbers, one for each slice of `target`.
        tolerance: half width of the window, S.
        verify: share of the tolerance that verify reads must lie within, 0..1.
        budget: pulses a cell may take.
        settle_rows: how many rows later a row is verified again; 0 for never.
        algorithm: a name in `ALGORITHMS`.
    """

    target: Floats
    arrays: tuple[int, ...] = (0,)
    tolerance: float = 1e-6
    verify: float = 0.7
    budget: int = 120
    settle_rows: int = 8
    algorithm: str = IncrementalReversal.name

    def parameters(self) -> dict[str, Any]:
        """What the run's header keeps (the targets go to a map of their own)."""
        kept = {k: v for k, v in asdict(self).items() if k != "target"}
        return {**kept, "arrays": list(self.arrays)}

    @classmethod
    def from_record(cls, parameters: Mapping[str, Any], target: Floats) -> "ProgramRequest":
        """The request of a run that is to be resumed."""
        names = ("tolerance", "verify", "budget", "settle_rows", "algorithm")
        arrays = tuple(int(a) for a in parameters["arrays"])
        return cls(target.reshape(len(arrays), *target.shape[-2:]), arrays, **{n: parameters[n] for n in names})

    def check(self, shape: tuple[int, int, int], limits: Limits) -> None:
        """Refuse what can't be programmed on a station of `shape` (arrays, rows, cols) within `limits`.

        Raises:
            RequestError: shape, window, budget, algorithm or targets are wrong.
            LimitError: the algorithm's strongest pulse would pass a limit.
        """
        if self.target.shape != (len(self.arrays), *shape[1:]):
            raise RequestError(
                f"targets have shape {self.target.shape}; this station needs {(len(self.arrays), *shape[1:])}"
            )
        for number in self.arrays:
            if not 0 <= number < shape[0]:
                raise RequestError(f"array {number} does not exist; this station has arrays 0..{shape[0] - 1}")
        if not 0 < self.tolerance <= 50e-6:
            raise RequestError(
                f"window of +-{self.tolerance * 1e6:g} uS makes no sense; give more than 0 and at most 50 uS"
            )
        if not 0 < self.verify <= 1:
            raise RequestError(f"verify share {self.verify:g} must lie within 0..1")
        if not 1 <= self.budget <= 100_000:
            raise RequestError(f"budget of {self.budget} pulses must lie within 1..100000")
        if not 0 <= self.settle_rows <= 4096:
            raise RequestError(f"settle_rows {self.settle_rows} must lie within 0..4096")
        if self.algorithm not in ALGORITHMS:
            raise RequestError(f"algorithm {self.algorithm!r} is unknown; known: {', '.join(ALGORITHMS)}")
        for slice_ in self.target:
            check_targets(slice_, limits.conductance.low, limits.conductance.high)


class Step(NamedTuple):
    """One unit of work, the size of a Prefect task: a row to program or to verify again."""

    kind: str  # "program" or "verify"
    array: int  # slice of the target
    row: int


RECOGNISED_BY = 32
"""Finished cells that a resumed run looks at before it trusts the rest."""
VISITS = {"read": 1.0, "program": 8.0, "verify": 1.5}
"""How long a visit to a cell takes, in reads: what "time left" is reckoned by."""


@dataclass
class Progress:
    """Running totals for whoever watches.

    Attributes:
        cells: cells with a target.
        work: all that is to be done, in reads (`VISITS`).
        worked: how much of it is over.
        done: cells programmed or given up.
        inside: those of them that last read within the window.
        pulses: given so far, by this process.
        phase: what is going on, in words.
        listeners: called after each cell.
    """

    cells: int
    work: float
    worked: float = 0.0
    done: int = 0
    inside: int = 0
    pulses: int = 0
    phase: str = ""
    listeners: list[Callable[["Progress"], None]] = field(default_factory=list)

    def tell(self) -> None:
        """Call every listener."""
        for listener in self.listeners:
            listener(self)

    def visited(self, kind: str) -> None:
        """A visit (a key of `VISITS`) to a cell is over."""
        self.worked += VISITS[kind]
        self.tell()


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
        self.algorithm: WriteVerify = ALGORITHMS[request.algorithm]
        if isinstance(self.algorithm, IncrementalReversal):
            low, high = float(np.nanmin(request.target)), float(np.nanmax(request.target))
            for pulse in self.algorithm.extremes(low, high):
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
        visits = 2 * VISITS["read"] + VISITS["program"] + (VISITS["verify"] if request.settle_rows else 0)
        self.progress = Progress(wanted, visits * wanted)

    def begin(self) -> None:
        """Record the targets, switch to programming mode; a resumed run first reads the cells left in doubt."""
        writer, state = self.writer, self.writer.state
        clock = self.cells.clock
        if state is not None and clock.is_virtual and state.last_time > clock.now():
            clock.sleep(state.last_time - clock.now())  # a killed bench may have forgotten its last milliseconds
        if state is None or "conductance_target" not in state.maps:
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
            changed += abs(self._read(cell) - float(kept[cell])) > max(5 * self.request.tolerance, 5e-6)
        if changed > len(asked) / 5:
            raise RequestError(
                f"the array is not as this run left it: {changed} of {len(asked)} finished cells have changed; "
                "somebody used it since. Begin a new run"
            )

    def _take_over(self, state: ResumeState) -> None:
        """Go on from what the run's earlier parts did: a budget is a cell's, not a process's."""
        pulses, g = (state.cells[name].reshape(self.request.target.shape) for name in ("pulses", "conductance"))
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
        """The order of work: each row programmed, and verified again `settle_rows` rows later."""
        lag = self.request.settle_rows
        rows = self.request.target.shape[1]
        for a in range(len(self.request.arrays)):
            for row in range(rows + lag):
                if row < rows and self._wanted(a, row):
                    yield Step("program", a, row)
                if lag and row >= lag and self._wanted(a, row - lag):
                    yield Step("verify", a, row - lag)

    def run(self, step: Step) -> None:
        """Do one step: program the cells of a row, or verify them again and give the verdicts."""
        self.progress.phase = "programming"
        for col in self._wanted(step.array, step.row):
            cell: Cell = (step.array, step.row, col)
            if cell in self.finished:
                self.progress.visited(step.kind)
                continue
            failed_before = self._pending.get(cell, "ok") != "ok"
            if not (step.kind == "verify" and failed_before):
                self._pending[cell] = self._program(cell)
                self._judge(cell, self._last[cell])
            if step.kind == "verify" or not self.request.settle_rows or self._pending[cell] != "ok":
                self._finish(cell, self._pending[cell])
            self.progress.visited(step.kind)

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

    def _program(self, cell: Cell) -> Verdict:
        request = self.request
        budget = max(request.budget - self._spent.get(cell, 0), 0)
        window = Window(float(request.target[cell]), request.tolerance, request.verify, budget)
        state = self._states.get(cell) or self.algorithm.start(window)
        self.cells.select(request.arrays[cell[0]], cell[1], cell[2])
        while True:
            g = self._read(cell)
            if cell in self._bounded and g < window.target + window.tolerance:
                raise InstrumentError(
                    f"cell {cell} was read at the compliance: it has {g * 1e6:.3g} uS or more, and its target is "
                    f"{window.target * 1e6:.3g} uS; raise read.compliance in the station file, or look for a short"
                )
            state, answer = self.algorithm.decide(window, state, g)
            if not isinstance(answer, Pulse):
                self._states[cell] = state
                return answer
            self._pulse(cell, answer, g)

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
        inside, before = abs(g - float(self.request.target[cell])) <= self.request.tolerance, self._inside.get(cell)
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
    job = Programming(cells, writer, request, stop)
    if listener:
        job.progress.listeners.append(listener)
        job.progress.tell()
    job.begin()

    def read_all(name: str, title: str) -> None:
        for _ in job.read_rows(name, title):
            pass

    state = writer.state
    untouched = state is None or not (state.finished or state.in_doubt or np.any(state.cells["pulses"]))
    if not untouched:
        job.progress.worked += VISITS["read"] * job.progress.cells
    else:
        around("read before", lambda: read_all("conductance_before", "conductance before programming"))
    writer.phase("program")
    for step in job.steps():
        name = f"{step.kind} array {request.arrays[step.array]} row {step.row}"
        around(name, lambda step=step: job.run(step))  # type: ignore[misc]  # the default binds the loop's value
    around("read after", lambda: read_all("conductance_after", "conductance after programming"))
