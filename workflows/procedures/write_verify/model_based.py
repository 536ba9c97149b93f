"""Write-verify by what this chip's cells have been seen to do: each pulse is the one expected to leave the least work.

Three responses are learned while programming, shared by an array's cells and refined for each (`response`):

* gate: where a SET at full height ends, against its gate voltage (the transistor as compliance, Merced-Grafals 2016);
* SET and RESET trims: the logarithm of the step against the amplitude and the conductance.

For a cell away from its target every kind of pulse is weighed by the pulses still to be expected after it, with all
that is not known of the cell taken as chance. A law that is nothing like these lines shows in how often they surprise:
beliefs about the cell then widen, amplitudes rise in small steps as long as nothing moves, and a cell that goes on
surprising is handed to incremental pulses with reversal.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from workflows.procedures.write_verify.incremental import IncrementalReversal, IncrementalState
from workflows.procedures.write_verify.interface import Again, Kind, Pulse, State, Verdict, Window
from workflows.procedures.write_verify.outlook import Outlook, Side, Z
from workflows.procedures.write_verify.response import Offset, Response

Action = Literal["gate", "set", "reset"]
US = 1e-6
_AIMS = (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5)
"""Aims of a gate-limited SET, in its own standard deviations from the target."""


@dataclass(frozen=True)
class CellState:
    """What is known of one cell.

    Attributes:
        pulses: given so far.
        gate, set, reset: its own offsets from the array's responses.
        last: what the last pulse was, if its effect is still to be learned from.
        features: of that pulse.
        before: conductance before it, S.
        g: mean of the reads since the last pulse, or of this visit, S.
        reads: how many.
        visits: how often it was found in its window.
        passed: whether the last answer was "ok".
        hard: pulses since it last was.
        volts: amplitude of the last pulse, V.
        still: pulses of one kind in a row that moved nothing.
        idle: strongest ones among them.
        fallback: state of the algorithm that took over, if one did.
    """

    pulses: int = 0
    gate: Offset = field(default_factory=Offset)
    set: Offset = field(default_factory=Offset)
    reset: Offset = field(default_factory=Offset)
    last: Action | None = None
    features: tuple[float, ...] = ()
    before: float = 0.0
    g: float = 0.0
    reads: int = 0
    visits: int = 0
    passed: bool = False
    hard: int = 0
    volts: float = 0.0
    still: int = 0
    idle: int = 0
    fallback: IncrementalState | None = None


class ModelBased:
    """See the module. What it learns of the cells of an array is kept in the object: use `fresh` for each array.

    Args:
        settings: voltages and patience.
    """

    name = "model-based"

    def __init__(self, settings: "Settings | None" = None) -> None:
        self.settings = settings or Settings()
        self.rescue = IncrementalReversal(width=self.settings.width)
        # First beliefs, wide: the nominal gate law of memristor_RL; trims of a few uS somewhere around 1.2 V.
        self.gate = Response((50.0, 50.0, 0.0), (25.0, 25.0, 10.0), between=6.0, noise=5.0, wander=0.3)
        self.set = Response((1.0, 1.0, 0.0), (1.5, 0.4, 0.7), between=0.8, noise=0.5, wander=0.08)
        self.reset = Response((1.0, 1.0, 1.0), (1.5, 0.4, 0.7), between=0.8, noise=0.5, wander=0.08)

    def fresh(self) -> "ModelBased":
        """See `WriteVerify.fresh`."""
        return ModelBased(self.settings)

    def start(self, window: Window) -> CellState:
        """A cell like the others."""
        return CellState(gate=self.gate.cell(), set=self.set.cell(), reset=self.reset.cell())

    def decide(self, window: Window, state: State, g: float) -> tuple[CellState, Pulse | Again | Verdict]:
        """See `WriteVerify.decide`."""
        assert isinstance(state, CellState)
        if not math.isfinite(g):
            g = 0.0 if not g > 0 else 1.0
        if state.passed:
            state = replace(state, passed=False, reads=0, last=None, hard=0)
        state = self._learn(state, g)
        reads = state.reads + 1
        state = replace(state, g=state.g + (g - state.g) / reads if reads > 1 else g, reads=reads)
        if self._unsure(window, state):
            return state, "again"
        if window.accepts(state.g):
            return replace(state, visits=state.visits + 1, passed=True, idle=0, still=0, last=None), "ok"
        if state.pulses >= window.budget:
            return state, "budget"
        if state.idle > self.settings.idle_limit:
            return state, "unresponsive"
        if state.fallback is not None or state.hard >= self.settings.patience:
            return self._fall_back(window, state)
        return self._choose(window, state)

    def _unsure(self, window: Window, state: CellState) -> bool:
        """Whether another read could change what is decided."""
        s = self.settings
        off = abs(state.g - window.target) / window.tolerance
        if state.visits or window.final:
            return state.reads < s.reads and s.sure_inside < off < s.sure_outside
        return state.reads < s.first_reads and abs(off - window.verify) < s.close

    def _learn(self, state: CellState, g: float) -> CellState:
        """What the last pulse did."""
        if state.last is None:
            return state
        s, kind = self.settings, state.last
        moved = (g - state.before) / US if kind != "reset" else (state.before - g) / US
        seen = moved > s.visible
        offset: Offset = getattr(state, kind)
        response: Response = getattr(self, kind)
        if kind == "gate":
            if seen:
                offset = response.learn(state.features, offset, g / US)
            else:
                offset = response.learn_at_most(state.features, offset, g / US)
        elif seen:
            offset = response.learn(state.features, offset, math.log(moved), error=s.read_error / moved)
        elif moved > -3 * s.visible:
            offset = response.learn_at_most(state.features, offset, math.log(s.visible))
        still = 0 if abs(moved) > s.visible else state.still + 1
        idle = state.idle if still else 0
        state = replace(state, last=None, still=still, idle=idle)
        if kind == "gate":
            return replace(state, gate=offset)
        return replace(state, set=offset) if kind == "set" else replace(state, reset=offset)

    # What is expected

    def _choose(self, window: Window, state: CellState) -> tuple[CellState, Pulse]:
        s = self.settings
        gap = (window.target - state.g) / US
        half = window.verify * window.tolerance / US
        work = Outlook(half, self._side(self.set, state.set), self._side(self.reset, state.reset))
        work = replace(work, gate=self._aim(window.target / US, state, work, -math.inf)[1])
        wanted, trim_cost = work.trim(gap)
        if gap < 0:
            return self._trim(state, "reset", wanted)
        aim, gate_cost = self._aim(window.target / US, state, work, state.g / US)
        if gate_cost < trim_cost or state.g < s.trim_from:
            return self._gate_pulse(state, aim)
        return self._trim(state, "set", wanted, window.target / US)

    def _side(self, response: Response, cell: Offset) -> Side:
        now = response.predict((1.0, 0.0, 0.0), cell)[1]
        return Side(math.sqrt(now), math.sqrt(1.4 * response.noise))

    def _aim(self, target: float, state: CellState, work: Outlook, g: float) -> tuple[float, float]:
        """The best aim (uS) of a gate-limited SET, and the pulses to expect with it."""
        x = self._gate_for(state, target)
        spread = math.sqrt(self.gate.predict((1.0, x, x * x), state.gate)[1])
        best = target, math.inf
        for k in _AIMS:
            cost = 1.0
            for z in Z:
                cost += work.left(target - max(target + (k + z) * spread, g)) / len(Z)
            if cost < best[1]:
                best = target + k * spread, cost
        return best

    def _gate_for(self, state: CellState, g: float) -> float:
        """The gate, as a feature, that is expected to take a SET to `g` uS."""
        low, high = self.settings.gate_features
        for _ in range(20):
            middle = 0.5 * (low + high)
            if self.gate.predict((1.0, middle, middle * middle), state.gate)[0] < g:
                low = middle
            else:
                high = middle
        return 0.5 * (low + high)

    # Pulses

    def _gate_pulse(self, state: CellState, aim: float) -> tuple[CellState, Pulse]:
        s = self.settings
        x = self._gate_for(state, aim)
        volts = s.set_volts
        if state.still:  # nothing moves: more of both
            x = min(x + s.step_gate * 2.0 ** (state.still - 1), s.gate_features[1])
            volts = min(volts + 0.1 * state.still, s.set_stop)
            if state.still >= s.still_limit:
                x, volts = s.gate_features[1], s.set_stop
        strongest = x >= s.gate_features[1] - 1e-6 and volts >= s.set_stop - 1e-9
        pulse = Pulse("set", round(volts, 6), round(s.gate_volts(x), 6), s.width)
        return self._given(state, "gate", (1.0, x, x * x), volts, strongest), pulse

    def _trim(self, state: CellState, kind: Kind, step: float, target: float = 0.0) -> tuple[CellState, Pulse]:
        """A trim by about `step` uS; the gate of a SET is opened for `target` and head-room."""
        s = self.settings
        response: Response = getattr(self, kind)
        offset: Offset = getattr(state, kind)
        size = math.log(max(state.g / US, 5.0) / 60.0)
        w = response.weights
        slope = min(max(w[1], s.slope_low), s.slope_high)
        x = (math.log(max(step, 0.05)) - w[0] - w[2] * size - offset.mean) / slope
        low, high = (s.set_low, s.set_stop) if kind == "set" else (s.reset_low, s.reset_stop)
        volts = min(max(s.volts(x), low), high)
        if state.still and state.volts:
            volts = min(max(volts, state.volts + s.step_volts * 2.0 ** (state.still - 1)), high)
            if state.still >= s.still_limit + 2:
                volts = high
        volts = round(volts, 3)
        features = (1.0, s.feature(volts), size)
        gate, strongest = s.reset_gate, volts >= high - 1e-9
        if kind == "set":
            room = self._gate_for(state, target + s.headroom)
            if state.still >= s.still_limit:
                room = s.gate_features[1]
            gate = s.gate_volts(room)
            strongest = strongest and room >= s.gate_features[1] - 1e-6
        return self._given(state, kind, features, volts, strongest), Pulse(kind, volts, round(gate, 6), s.width)

    def _given(
        self, state: CellState, action: Action, features: tuple[float, ...], volts: float, strongest: bool
    ) -> CellState:
        return replace(
            state, pulses=state.pulses + 1, hard=state.hard + 1, last=action, features=features, before=state.g,
            reads=0, volts=volts, idle=state.idle + 1 if strongest and state.still else 0,
        )  # fmt: skip

    def _fall_back(self, window: Window, state: CellState) -> tuple[CellState, Pulse | Verdict]:
        """Incremental pulses with reversal, from where the model's trims were."""
        inner = state.fallback or self.rescue.start(window)
        inner, answer = self.rescue.decide(window, replace(inner, pulses=state.pulses), state.g)
        pulses = state.pulses + isinstance(answer, Pulse)
        state = replace(state, pulses=pulses, fallback=inner, reads=0, last=None, before=state.g)
        assert answer != "ok"
        return state, answer

    def extremes(self, low: float, high: float) -> tuple[Pulse, ...]:
        """See `WriteVerify.extremes`."""
        s = self.settings
        rescue = {pulse.kind: pulse for pulse in self.rescue.extremes(low, high)}
        gate = round(max(s.gate_volts(s.gate_features[1]), rescue["set"].gate), 6)
        return (
            Pulse("set", max(s.set_stop, rescue["set"].volts), gate, s.width),
            Pulse("reset", max(s.reset_stop, rescue["reset"].volts), max(s.reset_gate, rescue["reset"].gate), s.width),
        )


@dataclass(frozen=True)
class Settings:
    """Voltages and patience of `ModelBased`.

    Attributes:
        set_volts: height of gate-limited SETs, V.
        set_low, set_stop, reset_low, reset_stop: bounds of amplitudes, V.
        gate_middle, gate_unit: gate voltage of feature 0, and volts a unit.
        gate_features: lowest and highest gate, as features.
        volts_middle, volts_unit: the same of trim amplitudes.
        reset_gate: gate of RESET pulses, V.
        width: s.
        headroom: how far above the target the gate lets a SET trim go, uS.
        trim_from: below this a cell is SET by the gate, S.
        visible: smallest step that reads resolve, uS.
        read_error: standard error of a difference of two reads, uS.
        step_volts, step_gate: by what a pulse that moved nothing is raised at first: V, feature.
        slope_low, slope_high: bounds of what a unit of amplitude is believed to do to the logarithm of a step.
        still_limit, idle_limit: pulses without effect before the strongest, and strongest ones before giving up.
        patience: pulses since the last "ok" before the fallback takes over.
        first_reads, close: reads at most after a pulse, if the first is this close to the verify window's edge.
        reads, sure_inside, sure_outside: at most at later visits, unless the first is this sure (in tolerances).
    """

    set_volts: float = 2.3
    set_low: float = 0.5
    set_stop: float = 2.8
    reset_low: float = 0.4
    reset_stop: float = 2.2
    gate_middle: float = 1.0
    gate_unit: float = 0.4
    gate_features: tuple[float, float] = (-1.25, 3.5)
    volts_middle: float = 1.2
    volts_unit: float = 0.1
    reset_gate: float = 3.0
    width: float = 1e-6
    headroom: float = 30.0
    trim_from: float = 10e-6
    visible: float = 0.3
    read_error: float = 0.13
    step_volts: float = 0.03
    step_gate: float = 0.1
    slope_low: float = 0.2
    slope_high: float = 3.0
    still_limit: int = 4
    idle_limit: int = 4
    patience: int = 30
    first_reads: int = 2
    close: float = 0.1
    reads: int = 3
    sure_inside: float = 0.35
    sure_outside: float = 1.3

    def gate_volts(self, x: float) -> float:
        """Gate of a feature, V."""
        return self.gate_middle + self.gate_unit * x

    def volts(self, x: float) -> float:
        """Amplitude of a feature, V."""
        return self.volts_middle + self.volts_unit * x

    def feature(self, volts: float) -> float:
        """Feature of an amplitude."""
        return (volts - self.volts_middle) / self.volts_unit
