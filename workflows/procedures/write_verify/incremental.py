"""Incremental pulses with reversal: one kind grows until it crosses the target, then the other."""

from dataclasses import dataclass, replace

from workflows.procedures.write_verify.interface import Kind, Pulse, State, Verdict, Window


@dataclass(frozen=True)
class IncrementalState:
    """Amplitudes of the next pulse of either kind, gate lift, the last kind, and what the last pulses did."""

    pulses: int = 0
    set_volts: float = 0.0
    reset_volts: float = 0.0
    lift: float = 0.0
    last: Kind | None = None
    last_g: float = 0.0
    idle: int = 0


@dataclass(frozen=True)
class IncrementalReversal:
    """Incremental SET/RESET with reversal: one kind grows until it crosses the target, then the other.

    The idea is that of Wan et al. 2022 (incremental pulses, reversal on overshoot); the gate of a SET pulse follows the
    target by the device's nominal gate law, so that one SET can't overshoot far (Merced-Grafals 2016). On reversal the
    amplitude starts two steps below where that kind ended last, which is where this cell is known to move.

    Attributes:
        set_start, reset_start: first amplitudes, V.
        set_stop, reset_stop: highest amplitudes, V.
        floor: lowest amplitude that reversals may fall back to, V.
        step: increment, V.
        back: steps to fall back on reversal.
        gate_offset, gate_slope: nominal gate law, V_g = gate_offset + target / gate_slope (V, S/V; memristor_RL).
        gate_margin: added to it, V, so that the ceiling lies above the target.
        lift_step, lift_stop: what the gate of a cell is raised by each time its SETs no longer move it, and at most, V.
        reset_gate: gate of RESET pulses, V: transistor fully on.
        width: pulse width, s.
        lift_from: SET amplitude above which standing still means that the gate is what bounds it, V.
        idle_limit: strongest pulses that may pass without visible effect before the cell is given up.
        still: change that counts as no effect, S.
    """

    name: str = "incremental-reversal"
    set_start: float = 1.2
    reset_start: float = 1.0
    set_stop: float = 2.5
    reset_stop: float = 2.0
    floor: float = 0.6
    step: float = 0.05
    back: int = 2
    gate_offset: float = 0.6
    gate_slope: float = 125e-6
    gate_margin: float = 0.05
    lift_step: float = 0.04
    lift_stop: float = 0.4
    lift_from: float = 1.6
    reset_gate: float = 3.0
    width: float = 1e-6
    idle_limit: int = 6
    still: float = 0.5e-6

    def fresh(self) -> "IncrementalReversal":
        """See `WriteVerify.fresh`; this one remembers nothing from cell to cell."""
        return self

    def start(self, window: Window) -> IncrementalState:
        """Both amplitudes at their beginnings."""
        return IncrementalState(set_volts=self.set_start, reset_volts=self.reset_start)

    def decide(self, window: Window, state: State, g: float) -> tuple[IncrementalState, Pulse | Verdict]:
        """See `WriteVerify.decide`."""
        assert isinstance(state, IncrementalState)
        if window.accepts(g):
            return state, "ok"
        if state.pulses >= window.budget:
            return state, "budget"
        kind: Kind = "set" if g < window.target else "reset"
        set_volts, reset_volts = state.set_volts, state.reset_volts
        if state.last == kind:  # not enough yet
            if kind == "set":
                set_volts = min(set_volts + self.step, self.set_stop)
            else:
                reset_volts = min(reset_volts + self.step, self.reset_stop)
        elif state.last is not None:  # crossed the target: the other kind, from a little below where it worked before
            if kind == "set":
                set_volts = max(set_volts - self.back * self.step, self.floor)
            else:
                reset_volts = max(reset_volts - self.back * self.step, self.floor)
        standing = state.last == kind and abs(g - state.last_g) < self.still
        lift = state.lift
        if kind == "set" and standing and set_volts > self.lift_from:
            lift = min(lift + self.lift_step, self.lift_stop)
        volts, stop = (set_volts, self.set_stop) if kind == "set" else (reset_volts, self.reset_stop)
        strongest = volts >= stop - 1e-9 and (kind == "reset" or lift >= self.lift_stop - 1e-9)
        idle = state.idle + 1 if strongest and standing else 0
        if idle > self.idle_limit:
            return replace(state, idle=idle), "unresponsive"
        gate = self.reset_gate
        if kind == "set":
            gate = self.gate_offset + window.target / self.gate_slope + self.gate_margin + lift
        after = IncrementalState(state.pulses + 1, set_volts, reset_volts, lift, kind, g, idle)
        return after, Pulse(kind, round(volts, 6), round(gate, 6), self.width)

    def extremes(self, low: float, high: float) -> tuple[Pulse, ...]:
        """The strongest pulses this algorithm could send for targets of `low`..`high` S: to be checked beforehand."""
        gate = self.gate_offset + high / self.gate_slope + self.gate_margin + self.lift_stop
        return (
            Pulse("set", self.set_stop, round(gate, 6), self.width),
            Pulse("reset", self.reset_stop, self.reset_gate, self.width),
        )
