"""The law of incremental soft-bounds cells: each pulse is so many equal steps, and steps shrink towards the bounds.

The step is that of aihwkit's `PowStepDevice` (IBM's analog hardware toolkit; `SoftBoundsDevice` is its exponent 1), as
the limit of small steps, so that long pulses have a closed form:

* SET: d omega/dn = -(dw_up / range) omega^gamma_up with omega = (G_max - G) / range; RESET: the same towards G_min with
  constants of its own. Up and down differ in size, exponent and spread: the cells are asymmetric.
* A pulse counts n = tanh((V_g - V_t) / v_sat) ((V - V_on) / v_ref)^power (t_p / 1 us)^stretch steps. The power law in
  amplitude has a hard onset, unlike kinetics exponential in voltage, and the gate acts through a channel that
  saturates: it sets how fast a SET goes and bounds nothing, so a cell under the same pulse again goes on.
* Cycles differ by a lognormal factor of n and by noise that grows as the root of the step, as that of a sum of
  independent small steps does (aihwkit's `dw_min_std`).

Relaxation, read noise, telegraph, defects, forming and jumps are the parts that all laws share.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from instruments.twin.laws.parts import (
    Defects,
    Floats,
    Forming,
    Jumps,
    ReadNoise,
    Records,
    Relaxation,
    blank,
    book,
    bounded,
    constant,
    record,
    spread,
)

LONGEST = 1e12
"""Steps beyond which a pulse counts as infinite: a cell is then at its bound."""


@dataclass(frozen=True)
class IncrementLaw:
    """Constants of an incremental device, SI; `_dtod` are relative device-to-device deviations as in aihwkit."""

    record: ClassVar[np.dtype[Any]] = record("v_on", "v_form", "dw_up", "dw_down", "gamma_up", "gamma_down")

    dw_up: float = constant(3e-6, "S", positive=True)
    """Step at the lower bound, S: what one reference pulse moves."""
    dw_down: float = constant(4e-6, "S", positive=True)
    dw_dtod: float = constant(0.3)
    gamma_up: float = constant(1.0, positive=True)
    gamma_down: float = constant(1.6, positive=True)
    gamma_dtod: float = constant(0.05)
    c2c: float = constant(0.25)
    """Lognormal sigma of a pulse's number of steps."""
    dw_std: float = constant(0.3)
    """Deviation of a single step, relative to it."""
    v_on: float = constant(0.75, "V")
    v_on_spread: float = constant(0.05, "V")
    v_ref: float = constant(0.5, "V", positive=True)
    power: float = constant(3.0, positive=True)
    stretch: float = constant(0.5, positive=True)
    v_t: float = constant(0.45, "V")
    v_t_spread: float = constant(0.03, "V")
    v_sat: float = constant(0.8, "V", positive=True)
    i_sat: float = constant(500e-6, "A", positive=True)
    """Current of the fully open channel: what an SMU's compliance is compared with."""
    g_min: float = constant(8e-6, "S", positive=True)
    g_min_spread: float = constant(2e-6, "S")
    g_max: float = constant(160e-6, "S", positive=True)
    g_max_spread: float = constant(8e-6, "S")
    g_start: float = constant(15e-6, "S", positive=True)
    g_leak: float = constant(1e-10, "S", positive=True)
    relaxation: Relaxation = field(default_factory=Relaxation)
    noise: ReadNoise = field(default_factory=ReadNoise)
    defects: Defects = field(default_factory=Defects)
    forming: Forming = field(default_factory=Forming)
    jumps: Jumps = field(default_factory=Jumps)

    def __post_init__(self) -> None:
        if self.v_on - 5 * self.v_on_spread < 0.3:
            raise ValueError("v_on - 5 v_on_spread must be 0.3 V or more, or reads would move cells")

    @property
    def v_quiet(self) -> float:
        """See `Law`: the lowest onset that a cell of this law has."""
        return self.v_on - 5 * self.v_on_spread

    def disturbs(self, volts: float) -> bool:
        """See `Law`."""
        return volts > self.v_quiet

    def gate_within(self, gate: float, volts: float, amps: float) -> float:
        """See `Law`: the gate at which the channel itself gives `amps`."""
        if amps >= self.i_sat * np.tanh(max(gate - self.v_t, 0.0) / self.v_sat):
            return gate
        return float(self.v_t + self.v_sat * np.arctanh(amps / self.i_sat))

    def fresh(self, shape: tuple[int, ...], rng: np.random.Generator, now_ns: int = 0) -> Records:
        """See `Law`."""
        cells = blank(self.record, shape, now_ns)
        cells["v_t"] = spread(rng, shape, self.v_t, self.v_t_spread, 0.05)
        cells["v_on"] = spread(rng, shape, self.v_on, self.v_on_spread, self.v_quiet)
        for name in ("dw_up", "dw_down"):
            cells[name] = getattr(self, name) * spread(rng, shape, 1.0, self.dw_dtod, 0.2)
        for name in ("gamma_up", "gamma_down"):
            cells[name] = getattr(self, name) * spread(rng, shape, 1.0, self.gamma_dtod, 0.2)
        cells["g_min"] = spread(rng, shape, self.g_min, self.g_min_spread, 0.1e-6)
        cells["g_max"] = spread(rng, shape, self.g_max, self.g_max_spread, 20e-6)
        self.forming.fresh(cells, rng)
        self.noise.fresh(cells, rng)
        self.defects.fresh(cells, rng)
        start = np.maximum(self.g_start * np.exp(0.25 * rng.standard_normal(shape)), cells["g_min"])
        cells["g"] = np.where(cells["formed"] > 0, start, self.forming.g_pristine)
        self.defects.pin(cells)
        return cells

    def conductance(self, c: Records, now_ns: int) -> Floats:
        """See `Law`."""
        return self.relaxation.now(c, now_ns, self.g_leak)

    def sense(self, c: Records, now_ns: int, integration: float, rng: np.random.Generator) -> Floats:
        """See `Law`."""
        seen = self.noise.seen(c, self.conductance(c, now_ns), now_ns, integration, rng)
        return np.asarray(np.maximum(seen, self.g_leak), dtype=np.float64)

    def set_pulse(
        self,
        c: Records,
        volts: npt.ArrayLike,
        gate: npt.ArrayLike,
        width: float,
        now_ns: int,
        rng: np.random.Generator,
    ) -> Floats:
        """See `Law`. A pulse that forms a cell also moves it, from its lower bound."""
        before = self.conductance(c, now_ns)
        forming = self.forming.by(c, volts, gate, width)
        begin = np.where(forming, c["g_min"], before)
        room = (c["g_max"] - begin) / (c["g_max"] - c["g_min"])
        left = self._left(room, c, "up", self._steps(c, volts, gate, width, rng))
        step = self._noisy((room - left) * (c["g_max"] - c["g_min"]), c["dw_up"], rng)
        return self._move(c, before, begin + step, volts, gate, width, now_ns, rng)

    def reset_pulse(
        self,
        c: Records,
        volts: npt.ArrayLike,
        gate: npt.ArrayLike,
        width: float,
        now_ns: int,
        rng: np.random.Generator,
    ) -> Floats:
        """See `Law`."""
        before = self.conductance(c, now_ns)
        room = (before - c["g_min"]) / (c["g_max"] - c["g_min"])
        left = self._left(room, c, "down", self._steps(c, volts, gate, width, rng))
        step = self._noisy((room - left) * (c["g_max"] - c["g_min"]), c["dw_down"], rng)
        return self._move(c, before, before - step, volts, gate, width, now_ns, rng)

    def _steps(
        self, c: Records, volts: npt.ArrayLike, gate: npt.ArrayLike, width: float, rng: np.random.Generator
    ) -> Floats:
        """How many steps a pulse counts in each cell; 0 in those that it can't reach."""
        channel = np.tanh(np.maximum(np.asarray(gate) - c["v_t"], 0.0) / self.v_sat)
        drive = (np.maximum(np.asarray(volts) - c["v_on"], 0.0) / self.v_ref) ** self.power
        cycle = np.exp(self.c2c * rng.standard_normal(c.shape))
        steps = channel * drive * cycle * (width / 1e-6) ** self.stretch
        return np.asarray(np.where(c["formed"] > 0, np.minimum(steps, LONGEST), 0.0), dtype=np.float64)

    @staticmethod
    def _left(room: Floats, c: Records, way: str, steps: Floats) -> Floats:
        """What is left of the room to a bound after so many steps: d omega/dn = -a omega^gamma, solved."""
        a = c[f"dw_{way}"] / (c["g_max"] - c["g_min"])
        gamma = c[f"gamma_{way}"]
        some = np.maximum(room, 1e-9)
        bent = np.abs(gamma - 1) > 1e-6
        exponent = np.where(bent, 1 - gamma, 1.0)
        base = np.maximum(some**exponent - exponent * a * steps, 0.0)
        with np.errstate(divide="ignore"):
            power_law = np.where(base > 0, base, 0.0) ** (1 / exponent)
        left = np.where(bent, power_law, some * np.exp(-a * steps))
        # A cell that relaxed past its bound is not moved by a pulse towards it.
        return np.asarray(np.where(room > 1e-9, np.minimum(left, room), room), dtype=np.float64)

    def _noisy(self, step: Floats, dw: Floats, rng: np.random.Generator) -> Floats:
        noise = self.dw_std * np.sqrt(np.maximum(step, 0.0) * dw) * rng.standard_normal(step.shape)
        return np.asarray(step + noise + self.jumps.of(step, rng), dtype=np.float64)

    def _move(
        self,
        c: Records,
        before: Floats,
        after: Floats,
        volts: npt.ArrayLike,
        gate: npt.ArrayLike,
        width: float,
        now_ns: int,
        rng: np.random.Generator,
    ) -> Floats:
        after = bounded(c, before, after)
        conducting = np.asarray(gate) > c["v_t"]
        energy = np.square(volts) * np.where(conducting, 0.5 * (before + after), self.g_leak) * width
        self.relaxation.move(c, before, after, now_ns, rng)
        return book(c, np.asarray(energy, dtype=np.float64))
