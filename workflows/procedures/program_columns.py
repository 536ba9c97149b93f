"""Program arrays a column at a time: all rows of a bit line are read, decided on and pulsed together.

The same requests, algorithms and records as `program`. What differs is the order of work: in each round a column is
read once, every open cell's algorithm answers, and the pulses that were asked for are given in groups: SETs together,
then RESETs, each cell with its own gate and amplitude, as far as the amplitudes lie close enough together for the cells
on other bit lines to feel none of it. Every cell of a group is in the journal before its pulse. A finished cell keeps
its gate closed, in pulses and in reads, a resumed run included.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from analysis.records import ResumeState, RunWriter
from instruments.column_array import SPREAD, ColumnArray, ColumnRead
from instruments.errors import DoubtError, InstrumentError
from instruments.limits import Limits
from instruments.station import Station
from workflows.errors import Interrupted, RequestError
from workflows.procedures.carry_out import carry_out
from workflows.procedures.program import MOST_DOUBTS, RECOGNISED_BY, Cell, program
from workflows.procedures.program_progress import VISITS, Progress
from workflows.procedures.program_request import ProgramRequest
from workflows.procedures.write_verify import ALGORITHMS, Pulse, State, Verdict, WriteVerify

Floats = npt.NDArray[np.float64]


def groups(
    asked: Mapping[Cell, Pulse], load: Mapping[Cell, float], limits: Limits, spread: float = SPREAD
) -> list[dict[Cell, Pulse]]:
    """What to give at once: SETs first, then RESETs, by falling amplitude.

    Args:
        asked: what each cell's algorithm wants.
        load: conductance to expect of each, S.
        limits: what a bit line stands, and a word line.
        spread: how much amplitudes of one pulse may differ, V; for RESET twice that.
    """
    found: list[dict[Cell, Pulse]] = []
    order = sorted(asked, key=lambda cell: (asked[cell].kind != "set", asked[cell].width, -asked[cell].volts, cell))
    for cell in order:
        pulse = asked[cell]
        if found:
            first = next(iter(found[-1].values()))
            lower = first.volts - pulse.volts
            amps = first.volts * (load[cell] + sum(load[other] for other in found[-1]))
            if (
                (pulse.kind, pulse.width) == (first.kind, first.width)
                and lower <= (spread if pulse.kind == "set" else 2 * spread)
                and (pulse.kind == "reset" or pulse.gate + lower <= limits.word_line.high)
                and amps <= limits.column_current.high
            ):
                found[-1][cell] = pulse
                continue
        found.append({cell: pulse})
    return [dict(sorted(group.items())) for group in found]


class Step(NamedTuple):
    """One unit of work, the size of a Prefect task: a column to program or verify again, or the wait before a pass."""

    kind: str  # "program", "verify" or "wait"
    array: int  # slice of the target; -1: none in particular
    col: int
    visit: int = 0  # pass that it belongs to, from 1; 0: before the first


class ColumnProgramming:
    """One programming run under way.

    Args:
        columns: the arrays.
        writer: the run's records; if it was resumed, work goes on from its state.
        request: what to program; `check` must have passed. `settle_rows` counts columns here.
        stop: asked between pulses; when it says True the run stops with `Interrupted`.
    """

    def __init__(
        self, columns: ColumnArray, writer: RunWriter, request: ProgramRequest, stop: Callable[[], bool] = lambda: False
    ) -> None:
        self.columns, self.writer, self.request, self.stop = columns, writer, request, stop
        # Each array's cells are learned from apart: they may come from different wafers.
        self._algorithms: list[WriteVerify] = [ALGORITHMS[request.algorithm].fresh() for _ in request.arrays]
        if np.isfinite(request.target).any():
            low, high = float(np.nanmin(request.target)), float(np.nanmax(request.target))
            for kind, volts, gate, width in ALGORITHMS[request.algorithm].extremes(low, high):
                columns.check_pulse(kind, np.full(columns.rows, volts), np.full(columns.rows, gate), width)
        self._states: dict[Cell, State] = {}
        self._last: dict[Cell, float] = {}
        self._doubts: dict[Cell, int] = {}
        self._pending: dict[Cell, Verdict] = {}
        self._spent: dict[Cell, int] = {}
        self._inside: dict[Cell, bool] = {}
        self.finished: dict[Cell, str] = dict(writer.state.finished) if writer.state else {}
        wanted = int(np.isfinite(request.target).sum())
        self._verifies = bool(request.settle_rows) + request.passes
        visits = 2 * VISITS["read"] + VISITS["program"] + VISITS["verify"] * self._verifies
        self.progress = Progress(wanted, visits * wanted)
        self._pass_began = columns.clock.now()

    def begin(self) -> None:
        """Record the targets, switch to programming mode; a resumed run first reads the columns left in doubt."""
        writer, state, clock = self.writer, self.writer.state, self.columns.clock
        if state is not None and clock.is_virtual and state.last_time > clock.now():
            clock.sleep(state.last_time - clock.now())  # a killed bench may have forgotten its last milliseconds
        if state is None or "conductance_target" not in state.maps:
            if self.request.tolerances is not None:
                writer.map("tolerance", self.request.tolerances, title="half width of each cell's window")
            writer.map("conductance_target", self.request.target, title="target conductance")
        self.columns.prepare()
        if state is None:
            return
        self._take_over(state)
        writer.phase("resume")
        for (array, col), cells in _by_column(doubt.cell for doubt in state.in_doubt):
            self._visit(array, col, cells)
            writer.note(
                f"pulses on {len(cells)} cells of column {col} were in doubt; they were read before anything else"
            )
        self._recognise(state)

    def _take_over(self, state: ResumeState) -> None:
        """Go on from what the run's earlier parts did: a budget is a cell's (for a target), not a process's."""
        shape = self.request.target.shape
        pulses = (state.cells["pulses"] - state.pulses_before).reshape(shape)
        g = state.cells["conductance"].reshape(shape)
        self._spent = {cell: int(pulses[cell]) for cell in np.ndindex(*pulses.shape) if pulses[cell]}
        for cell in self.finished:
            self._judge(cell, float(g[cell]))

    def _recognise(self, state: ResumeState) -> None:
        """See by some finished cells that the array is as this run left it: somebody may have used it meanwhile.

        Raises:
            RequestError: more than a fifth of them have changed by far more than cells do by themselves.
        """
        kept = state.cells["conductance"].reshape(self.request.target.shape)
        good = sorted(cell for cell, verdict in self.finished.items() if verdict == "ok")
        asked = good[:: max(1, len(good) // RECOGNISED_BY)]
        changed = 0
        for (array, col), cells in _by_column(asked):
            self._visit(array, col, cells)
            changed += sum(
                abs(self._last[cell] - float(kept[cell])) > max(5 * self.request.tolerance_of(cell), 5e-6)
                for cell in cells
            )
        if changed > len(asked) / 5:
            raise RequestError(
                f"the array is not as this run left it: {changed} of {len(asked)} finished cells have changed; "
                "somebody used it since. Begin a new run"
            )

    def read_rows(self, name: str, title: str) -> Iterator[Step]:
        """Read every cell that has a target, a column at a time; at the end the map is recorded under `name`."""
        values: Floats = np.full_like(self.request.target, np.nan)
        self.writer.phase(name)
        self.progress.phase = "reading the array" if name == "conductance_before" else "reading it back"
        for array, col in self._places():
            cells = self._wanted(array, col)
            self._visit(array, col, cells)
            for cell in cells:
                values[cell] = self._last[cell]
                self.progress.visited("read")
            yield Step("read", array, col)
        self.writer.map(name, values, title=title)

    def steps(self) -> Iterator[Step]:
        """The order of work: each column programmed, and verified again `settle_rows` later; then the passes."""
        lag, places = self.request.settle_rows, self._places()
        for number in range(len(places) + lag):
            if number < len(places):
                yield Step("program", *places[number])
            if lag and number >= lag:
                yield Step("verify", *places[number - lag])
        for visit in range(1, self.request.passes + 1):
            yield Step("wait", -1, -1, visit)
            for place in places:
                yield Step("verify", *place, visit)

    def run(self, step: Step) -> None:
        """Do one step: program a column or verify it again, with the verdicts if it is the last time."""
        if step.kind == "wait":
            self._wait(step.visit)
            return
        self.progress.phase = f"verifying, pass {step.visit} of {self.request.passes}" if step.visit else "programming"
        last = step.visit == self.request.passes and (step.kind == "verify" or not self._verifies)
        wanted = self._wanted(step.array, step.col)
        going = [cell for cell in wanted if cell not in self.finished]
        self._program(step.array, step.col, going, final=last)
        for cell in going:
            self._judge(cell, self._last[cell])
            if last or self._pending[cell] != "ok":
                self._finish(cell, self._pending[cell])
        for _ in wanted:
            self.progress.visited(step.kind)

    def name(self, step: Step) -> str:
        """A step in words, of which no two are alike."""
        if step.kind == "wait":
            return f"wait before pass {step.visit}"
        behind = f" pass {step.visit}" if step.visit else ""
        return f"{step.kind} array {self.request.arrays[step.array]} column {step.col}{behind}"

    def _wait(self, visit: int) -> None:
        """Let the rest of the gap pass, with nothing driven, stopping when asked to."""
        clock = self.columns.clock
        began, self.progress.phase = self._pass_began, f"waiting for pass {visit} of {self.request.passes}"
        if visit == 1:
            began = clock.now()
        if began + self.request.gap > clock.now() and any(v == "ok" for v in self._pending.values()):
            self.columns.safe()
            while (
                left := began + self.request.gap - clock.now()
            ) > 1e-6:  # not > 0: a virtual clock counts whole nanoseconds
                self._check_stop()
                self.progress.tell()
                clock.sleep(min(left, 1.0))
            self.columns.prepare()
        self._pass_began = clock.now()

    def _places(self) -> list[tuple[int, int]]:
        arrays, _, cols = self.request.target.shape
        return [(a, col) for a in range(arrays) for col in range(cols) if self._wanted(a, col)]

    def _wanted(self, array: int, col: int) -> list[Cell]:
        return [(array, int(row), col) for row in np.flatnonzero(np.isfinite(self.request.target[array, :, col]))]

    def _program(self, array: int, col: int, cells: list[Cell], *, final: bool) -> None:
        """Rounds of read, decide and pulse until every cell has its verdict (in `_pending`)."""
        request, algorithm = self.request, self._algorithms[array]
        windows = {
            cell: request.window(cell, max(request.budget - self._spent.get(cell, 0), 0), final=final) for cell in cells
        }
        for cell in cells:
            self._states.setdefault(cell, algorithm.start(windows[cell]))
        left = list(cells)
        while left:
            read = self._visit(array, col, left)
            asked: dict[Cell, Pulse] = {}
            after: dict[Cell, State] = {}
            for cell in left:
                self._refuse_clipped(cell, read)
                state, answer = algorithm.decide(windows[cell], self._states[cell], self._last[cell])
                if isinstance(answer, Pulse):
                    asked[cell], after[cell] = answer, state  # counts once the pulse is given
                    continue
                self._states[cell] = state
                if answer != "again":
                    self._pending[cell] = answer
                    windows.pop(cell)
            left = list(windows)
            self._give(asked, after)

    def _give(self, asked: Mapping[Cell, Pulse], after: Mapping[Cell, State]) -> None:
        """Give the pulses of a round; after one in doubt the rest is left to the next round, which reads first."""
        load = {cell: max(self._last[cell], float(self.request.target[cell]), 0.0) for cell in asked}
        for group in groups(asked, load, self.columns.limits):
            self._states.update({cell: after[cell] for cell in group})
            if not self._pulse(group, load):
                return

    def _pulse(self, group: Mapping[Cell, Pulse], load: Mapping[Cell, float]) -> bool:
        """One pulse on a group; False if it is in doubt."""
        self._check_stop()
        kind, _, _, width = next(iter(group.values()))
        volts, gates, expected = np.zeros((3, self.columns.rows))
        for cell, pulse in group.items():
            volts[cell[1]], gates[cell[1]], expected[cell[1]] = pulse.volts, pulse.gate, load[cell]
        # The limits speak before the journal does: an intent is something that may have happened.
        self.columns.check_pulse(kind, volts, gates, width, expected)
        started, cells = self.columns.clock.now(), list(group)
        intents = [
            self.writer.intent(
                kind, cell[1], cell[2], array=cell[0], amplitude=pulse.volts, gate=pulse.gate, width=width,
                t=started, sync=cell == cells[-1],
            )
            for cell, pulse in group.items()
        ]  # fmt: skip
        self.progress.pulses += len(cells)
        try:
            self.columns.pulse_column(kind, volts, gates, width, expected)
        except DoubtError as error:
            # Never again: what the next read finds decides. The intents stay open, as in doubt as they are.
            for cell in cells:
                self._doubts[cell] = self._doubts.get(cell, 0) + 1
            self.writer.note(
                f"a {kind} pulse on {len(cells)} cells of column {cells[0][2]} is in doubt; read next ({error})"
            )
            if max(self._doubts[cell] for cell in cells) >= MOST_DOUBTS:
                raise
            return False
        share = (self.columns.clock.now() - started) / len(cells)  # of the time: so that sums over cells are right
        for cell, intent in zip(cells, intents, strict=True):
            # The lab's own estimate: the conductance changes during the pulse, the last read is what is known of it.
            energy = group[cell].volts ** 2 * max(self._last[cell], 0.0) * width
            self.writer.result(intent, energy=energy, t=started + share)
        return True

    def _visit(self, array: int, col: int, cells: list[Cell]) -> ColumnRead:
        """Read some cells of a column, and write it down."""
        self._check_stop()
        self.columns.select_column(self.request.arrays[array], col)
        started = self.columns.clock.now()
        rows = np.zeros(self.columns.rows, dtype=np.bool_)
        rows[[cell[1] for cell in cells]] = True
        read = self.columns.read_column(rows)
        share = (self.columns.clock.now() - started) / len(cells)
        for cell in cells:
            row = cell[1]
            g = float(read.conductances[row])
            self.writer.event(
                "read", row, col, array=array, amplitude=read.volts, gate=self.columns.settings.gate,
                width=read.duration, conductance=g, current=float(read.currents[row]),
                energy=float(read.energies[row]), t=started, duration=share,
            )  # fmt: skip
            self._last[cell] = g
        return read

    def _refuse_clipped(self, cell: Cell, read: ColumnRead) -> None:
        g, target = self._last[cell], float(self.request.target[cell])
        if read.clipped[cell[1]] and g < target + self.request.tolerance_of(cell):
            raise InstrumentError(
                f"cell {cell} conducts more than the board's converter can tell ({g * 1e6:.3g} uS or more), and its "
                f"target is {target * 1e6:.3g} uS; lower read.volts in the station file, or look for a short"
            )

    def _finish(self, cell: Cell, verdict: Verdict) -> None:
        self.finished[cell] = verdict
        self.writer.cell(cell[1], cell[2], verdict, array=cell[0], conductance=self._last[cell])

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


def _by_column(cells: Iterable[Cell]) -> list[tuple[tuple[int, int], list[Cell]]]:
    found: dict[tuple[int, int], list[Cell]] = {}
    for cell in cells:
        found.setdefault((cell[0], cell[2]), []).append(cell)
    return sorted(found.items())


def program_columns(
    columns: ColumnArray,
    writer: RunWriter,
    request: ProgramRequest,
    *,
    stop: Callable[[], bool] = lambda: False,
    listener: Callable[[Progress], None] | None = None,
    around: Callable[[str, Callable[[], object]], object] = lambda name, work: work(),
) -> None:
    """Program arrays column by column and read them before and after.

    Args:
        columns: the arrays; left in programming mode (whoever opened the station makes it safe).
        writer: the run's records.
        request: what to program; checked against the station beforehand. `settle_rows` counts columns.
        stop: asked between pulses.
        listener: told of every finished cell.
        around: called with a name and a piece of work the size of a column, to do it.

    Raises:
        Interrupted: `stop` said so.
        InstrumentError: the board has no column mode, or an instrument failed.
    """
    carry_out(ColumnProgramming(columns, writer, request, stop), writer, listener, around)


def program_as_wired(
    station: Station,
    writer: RunWriter,
    request: ProgramRequest,
    *,
    stop: Callable[[], bool] = lambda: False,
    listener: Callable[[Progress], None] | None = None,
    around: Callable[[str, Callable[[], object]], object] = lambda name, work: work(),
) -> None:
    """Program cell by cell or by columns, as `request.wiring` says; arguments as for either."""
    if request.wiring == "column":
        program_columns(station.columns, writer, request, stop=stop, listener=listener, around=around)
    else:
        program(station.array, writer, request, stop=stop, listener=listener, around=around)
