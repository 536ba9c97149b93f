"""SET-RESET cycles whose SET gate is learned for each cell (after Merced-Grafals et al. 2016)."""

from dataclasses import dataclass, replace

from workflows.procedures.write_verify.interface import Kind, Pulse, State, Verdict, Window


@dataclass(frozen=True)
class GateState:
    """The gate learned for this cell (V), the last kind and read (S), RESET's amplitude (V), and counts."""

    pulses: int = 0
    gate: float = 0.0
    reset_volts: float = 0.0
    sets: int = 0
    last: Kind | None = None
    last_g: float = 0.0
    idle: int = 0


@dataclass(frozen=True)
class GateLearning:
    """A SET at full height goes where its gate lets it; what it missed by corrects the cell's gate for the next.

    An overshoot is erased before the next SET. The correction is divided by the nominal gate slope and shrinks with the
    number of SETs (an average over cycle-to-cycle noise), down to `least`.

    Attributes:
        set_volts: amplitude of SET pulses, V.
        gate_offset, gate_slope: nominal gate law, V_g = gate_offset + target / gate_slope (V, S/V; memristor_RL).
        gate_reach: how far from the nominal gate learning may go, V.
        least: smallest share of a miss that is learned from.
        reset_start, reset_step, reset_stop: RESET amplitudes, V.
        depth: how far below its target an erased cell must lie, S.
        reset_gate, width, idle_limit, still: as in `IncrementalReversal`.
    """

    name: str = "gate-learning"
    set_volts: float = 2.0
    gate_offset: float = 0.6
    gate_slope: float = 125e-6
    gate_reach: float = 0.5
    least: float = 0.25
    reset_start: float = 1.2
    reset_step: float = 0.1
    reset_stop: float = 2.0
    depth: float = 4e-6
    reset_gate: float = 3.0
    width: float = 1e-6
    idle_limit: int = 6
    still: float = 0.5e-6

    def fresh(self) -> "GateLearning":
        """See `WriteVerify.fresh`; each cell learns for itself."""
        return self

    def start(self, window: Window) -> GateState:
        """The nominal gate of the target."""
        return GateState(gate=self._gate(window.target), reset_volts=self.reset_start)

    def decide(self, window: Window, state: State, g: float) -> tuple[GateState, Pulse | Verdict]:
        """See `WriteVerify.decide`."""
        assert isinstance(state, GateState)
        if window.accepts(g):
            return state, "ok"
        if state.pulses >= window.budget:
            return state, "budget"
        gate, sets = state.gate, state.sets
        if state.last == "set":
            sets += 1
            nominal = self._gate(window.target)
            gate += max(self.least, 1 / (sets + 1)) * (window.target - g) / self.gate_slope
            gate = min(max(gate, nominal - self.gate_reach, 0.0), nominal + self.gate_reach)
        erasing = g > window.target or (state.last == "reset" and g > window.target - self.depth)
        kind: Kind = "reset" if erasing else "set"
        standing = state.last == kind and abs(g - state.last_g) < self.still
        volts = state.reset_volts
        if kind == "reset" and state.last == "reset":
            volts = min(volts + self.reset_step, self.reset_stop)
        elif kind == "reset":
            volts = self.reset_start
        ends = self._gate(window.target) + self.gate_reach
        strongest = volts >= self.reset_stop - 1e-9 if kind == "reset" else gate >= ends - 1e-9
        idle = state.idle + 1 if standing and strongest else 0
        if idle > self.idle_limit:
            return replace(state, idle=idle), "unresponsive"
        after = GateState(state.pulses + 1, gate, volts, sets, kind, g, idle)
        if kind == "set":
            return after, Pulse("set", self.set_volts, round(gate, 6), self.width)
        return after, Pulse("reset", round(volts, 6), self.reset_gate, self.width)

    def _gate(self, target: float) -> float:
        return self.gate_offset + target / self.gate_slope

    def extremes(self, low: float, high: float) -> tuple[Pulse, ...]:
        """See `WriteVerify.extremes`."""
        gate = round(self._gate(high) + self.gate_reach, 6)
        return (
            Pulse("set", self.set_volts, gate, self.width),
            Pulse("reset", self.reset_stop, self.reset_gate, self.width),
        )
