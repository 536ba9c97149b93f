"""Reading and pulsing single cells for a procedure: each pulse in the journal before it is given, and never twice."""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal, NamedTuple

from analysis.records import RunWriter
from instruments.array import CellArray, CellRead
from instruments.errors import DoubtError
from instruments.staircase import Curve, Sweep, choose_converter, rest, sweep
from instruments.station_file import ReadSettings
from workflows.procedures.procedure import Work
from workflows.procedures.program import MOST_DOUBTS

Place = tuple[int, int]
"""(row, col)."""
_SLICE = 0.5
"""s of the wall clock after which a wait looks whether it should end."""
_REST = 10.0
"""s of waiting from which the outputs are switched off meanwhile."""


class Pulse(NamedTuple):
    """A pulse: `volts` across the cell (> 0), `gate` on its word line, `width` s. A FORM pulse has SET's polarity."""

    kind: Literal["set", "reset", "form"]
    volts: float
    gate: float
    width: float

    @property
    def polarity(self) -> Literal["set", "reset"]:
        """What the instruments are told."""
        return "reset" if self.kind == "reset" else "set"


class Probe:
    """One physical array under a procedure's hands.

    Args:
        work: what the procedure works with.
        number: of the array on the board; in the records it is array 0.
    """

    def __init__(self, work: Work[Any, Any], number: int) -> None:
        self.station = work.station
        self.cells: CellArray = work.station.array
        self.writer: RunWriter = work.writer
        self.controls = work.controls
        self.number = number
        self.last: dict[Place, float] = {}
        self._doubts: dict[Place, int] = {}

    def begin(self) -> None:
        """Programming mode; a resumed run first reads the cells whose last pulse is in doubt."""
        state, clock = self.writer.state, self.cells.clock
        if state is not None and clock.is_virtual and state.last_time > clock.now():
            clock.sleep(state.last_time - clock.now())  # a killed bench may have forgotten its last milliseconds
        self.cells.prepare()
        if state is None:
            return
        self.writer.phase("resume")
        for doubt in state.in_doubt:
            self.read(doubt.cell[1:])
            self.writer.note(f"{doubt.kind} on cell {doubt.cell} was in doubt; the cell was read before anything else")

    def read(self, place: Place) -> CellRead:
        """Read a cell as the array's settings say."""
        self.controls.check()
        cells, (row, col) = self.cells, place
        cells.select(self.number, row, col)
        started = cells.clock.now()
        found = cells.read()
        self.writer.event(
            "read", row, col, amplitude=found.volts, gate=cells.settings.gate, width=found.duration,
            conductance=found.conductance, current=found.current, energy=found.energy, t=started,
            duration=cells.clock.now() - started,
        )  # fmt: skip
        self.last[place] = found.conductance
        return found

    def pulse(self, place: Place, pulse: Pulse) -> bool:
        """Give a pulse; True if it is known to have reached the cell.

        When nobody knows, the cell is read at once, and what is found there decides: nothing is repeated.

        Raises:
            DoubtError: too many pulses on this cell went unacknowledged.
        """
        shape = pulse.volts, pulse.gate, pulse.width
        self.cells.check_pulse(pulse.polarity, *shape)
        return self._announced(place, pulse, lambda: self.cells.pulse(pulse.polarity, *shape)) is not None

    def sweep(self, place: Place, plan: Sweep) -> Curve | None:
        """Sweep a cell once, as one event of the sweep's polarity; its width is that of one level. None: in doubt."""
        plan.check(self.cells.limits)
        announced = Pulse(plan.kind, plan.peak, plan.gate, plan.dwell)
        curves: list[Curve] = []
        self._announced(
            place, announced, lambda: curves.append(sweep(self.station.analyzer, self.cells, plan)), energy=math.nan
        )
        return curves[0] if curves else None

    def rest(self) -> None:
        """After sweeps: ready for reads and pulses again."""
        rest(self.station.analyzer, self.cells)

    def _announced(
        self, place: Place, pulse: Pulse, act: Callable[[], None], energy: float | None = None
    ) -> float | None:
        self.controls.check()
        row, col = place
        self.cells.select(self.number, row, col)
        intent = self.writer.intent(
            pulse.kind, row, col, amplitude=pulse.volts, gate=pulse.gate, width=pulse.width
        )  # fmt: skip
        try:
            act()
        except DoubtError as error:
            self._doubts[place] = self._doubts.get(place, 0) + 1
            self.writer.note(f"a {pulse.kind} on cell {place} is in doubt; the cell is read next ({error})")
            if self._doubts[place] >= MOST_DOUBTS:
                raise
            self.read(place)
            return None
        # The lab's own estimate: the conductance changes during the pulse, the last read is what is known of it.
        spent = pulse.volts**2 * max(self.last.get(place, 0.0), 0.0) * pulse.width if energy is None else energy
        self.writer.result(intent, energy=spent)
        return spent

    def train(self, place: Place, pulses: Iterable[Pulse]) -> float:
        """Give pulses one after the other, then read: the conductance afterwards, S."""
        for one in pulses:
            self.pulse(place, one)
        return self.read(place).conductance

    def use(self, settings: ReadSettings) -> None:
        """Read with other settings from now on. The limits see every voltage."""
        limits = self.cells.limits
        limits.read.check(settings.volts, "read voltage")
        limits.word_line.check(settings.gate, "gate of a read")
        self.cells.settings = settings
        choose_converter(self.station.analyzer, self.cells)

    def at_volts(self, volts: float) -> None:
        """Read at another voltage from now on."""
        self.use(replace(self.cells.settings, volts=volts))

    @property
    def instant(self) -> float:
        """Seconds on a scale that outlives this process: the bench's clock, or the laboratory's time of day."""
        clock = self.cells.clock
        if clock.is_virtual:
            return clock.now()
        return datetime.fromisoformat(self.station.wall_time()).timestamp()

    def wait_until(self, instant: float) -> None:
        """Wait for an `instant`, with outputs off if it is long; `Interrupted` ends it when the run should stop."""
        left = instant - self.instant
        if left <= 0:
            return
        clock = self.cells.clock
        if left > _REST:
            self.cells.safe()
        while left > 0:
            self.controls.check()
            clock.sleep(left if clock.is_virtual else min(left, _SLICE))
            left = instant - self.instant if not clock.is_virtual else 0.0
        self.cells.prepare()
