"""Program-verify ramps of the literature: the bit line's (ISPVA) and the gate's (IGVVA); an overshoot starts anew."""

from dataclasses import dataclass, replace

from workflows.procedures.write_verify.interface import Pulse, State, Verdict, Window


@dataclass(frozen=True)
class RampState:
    """Where a cell is on its ramp.

    Attributes:
        pulses: given so far.
        step: place on the SET ramp, from 0.
        reset_step: place on the RESET ramp, from 0.
        erasing: the last pulse was a RESET, because the cell had overshot.
        idle: strongest pulses in a row that moved nothing.
        last_g: the read before, S.
    """

    pulses: int = 0
    step: int = 0
    reset_step: int = 0
    erasing: bool = False
    idle: int = 0
    last_g: float = 0.0


@dataclass(frozen=True)
class Ramp:
    """SET pulses along a ramp until the verify read passes; RESET and a new ramp after an overshoot.

    Milo et al. 2021 compare the two ways on a 4 kb array: the bit line's amplitude rises at a fixed gate (ISPVA), or
    the gate's at a fixed amplitude (IGVVA), which they find the more reliable.

    Attributes:
        name: as in `WriteVerify`.
        set_start, set_step, set_stop: amplitudes of the SET ramp, V; a step of 0 keeps it.
        gate_offset, gate_slope: nominal gate law, V_g = gate_offset + target / gate_slope (V, S/V; memristor_RL).
        gate_below: how far below the gate of its target a ramp of the gate begins, V.
        gate_above: how far above it the ramp ends (IGVVA), or where the gate stays (ISPVA), V.
        gate_step: gate increment, V; 0 keeps it.
        reset_start, reset_step, reset_stop: amplitudes that take an overshoot back, V.
        reset_gate: gate of RESET pulses, V.
        width: pulse width, s.
        idle_limit, still: strongest pulses without effect (S) before a cell is given up.
    """

    name: str
    set_start: float
    set_step: float
    set_stop: float
    gate_below: float
    gate_above: float
    gate_step: float
    gate_offset: float = 0.6
    gate_slope: float = 125e-6
    reset_start: float = 0.9
    reset_step: float = 0.05
    reset_stop: float = 2.0
    reset_gate: float = 3.0
    width: float = 1e-6
    idle_limit: int = 6
    still: float = 0.5e-6

    def fresh(self) -> "Ramp":
        """See `WriteVerify.fresh`; this one remembers nothing from cell to cell."""
        return self

    def start(self, window: Window) -> RampState:
        """At the ramp's foot."""
        return RampState()

    def decide(self, window: Window, state: State, g: float) -> tuple[RampState, Pulse | Verdict]:
        """See `WriteVerify.decide`."""
        assert isinstance(state, RampState)
        if window.accepts(g):
            return replace(state, step=0, reset_step=0, erasing=False, idle=0), "ok"
        if state.pulses >= window.budget:
            return state, "budget"
        erasing = g > window.target
        still = state.pulses > 0 and erasing == state.erasing and abs(g - state.last_g) < self.still
        step = 0 if erasing else state.step
        reset_step = state.reset_step if erasing and state.erasing else 0
        pulse, strongest = self._reset(reset_step) if erasing else self._set(window.target, step)
        idle = state.idle + 1 if still and strongest else 0
        if idle > self.idle_limit:
            return replace(state, idle=idle), "unresponsive"
        after = RampState(state.pulses + 1, step + (not erasing), reset_step + erasing, erasing, idle, g)
        return after, pulse

    def _set(self, target: float, step: int) -> tuple[Pulse, bool]:
        gate = self._gate(target) + self.gate_above
        if self.gate_step:
            gate = min(self._gate(target) - self.gate_below + step * self.gate_step, gate)
        volts = min(self.set_start + step * self.set_step, self.set_stop)
        end = volts >= self.set_stop - 1e-9 and gate >= self._gate(target) + self.gate_above - 1e-9
        return Pulse("set", round(volts, 6), round(max(gate, 0.0), 6), self.width), end

    def _reset(self, step: int) -> tuple[Pulse, bool]:
        volts = min(self.reset_start + step * self.reset_step, self.reset_stop)
        return Pulse("reset", round(volts, 6), self.reset_gate, self.width), volts >= self.reset_stop - 1e-9

    def _gate(self, target: float) -> float:
        return self.gate_offset + target / self.gate_slope

    def extremes(self, low: float, high: float) -> tuple[Pulse, ...]:
        """See `WriteVerify.extremes`."""
        gate = round(self._gate(high) + self.gate_above, 6)
        return (
            Pulse("set", self.set_stop, gate, self.width),
            Pulse("reset", self.reset_stop, self.reset_gate, self.width),
        )


ISPVA = Ramp(
    "ispva", set_start=1.0, set_step=0.025, set_stop=2.5, gate_below=0.0, gate_above=0.3, gate_step=0.0
)  # fmt: skip
"""Incremental step pulse with verify algorithm: the bit line's amplitude rises."""
IGVVA = Ramp(
    "igvva", set_start=2.0, set_step=0.0, set_stop=2.0, gate_below=0.15, gate_above=0.4, gate_step=0.02
)  # fmt: skip
"""Incremental gate voltage with verify algorithm: the gate rises."""
