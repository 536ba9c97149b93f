"""The law of cells whose gate sets a sharp ceiling: what the twin's chips are by default.

* SET: the gate bounds the conductance that a pulse can reach, G_c = k_g (V_g - V_t). One pulse moves
  dG = max(G_c - G, 0) f, with f = 1 - exp(-(t_p / 1 us) exp((V - V_s) / v0)) (Merced-Grafals 2016 for the gate's
  role; switching kinetics exponential in voltage).
* RESET: dG = -(G - G_min) f L with the same f around V_r and L lognormal.
* Spread: V_t, V_s, V_r, V_form, G_min, G_max and the gate slope differ from cell to cell; V_t, V_s, V_r jitter from
  cycle to cycle; a rare pulse jumps.
* Relaxation, read noise, telegraph: `parts.Relaxation`, `parts.ReadNoise`.
* A pristine cell conducts almost nothing until a pulse passes its forming voltage; stuck cells never move.

G is the conductance of the cell with its transistor fully on. Below threshold only `g_leak` remains.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from instruments.twin.laws.parts import (
    Bools,
    Defects,
    Floats,
    Jumps,
    ReadNoise,
    Records,
    Relaxation,
    blank,
    book,
    bounded,
    build,
    constant,
    spread,
)

CELL = np.dtype(
    [
        ("g", "f8"),  # conductance just after the last move, S
        ("drift", "f8"),  # mean relaxation since then, S per ln(1 + t/1 s)
        ("spread", "f8"),  # random relaxation since then, S per ln(1 + t/t0)
        ("moved_ns", "i8"),  # instant of the last move
        ("v_t", "f8"),
        ("v_s", "f8"),
        ("v_r", "f8"),
        ("v_form", "f8"),
        ("k_g", "f8"),
        ("g_min", "f8"),
        ("g_max", "f8"),
        ("rtn", "f8"),  # telegraph step, peak to peak, as a fraction of G; 0 in quiet cells
        ("rtn_tau", "f8"),  # mean dwell time, s
        ("rtn_high", "i1"),
        ("rtn_ns", "i8"),  # instant at which rtn_high was last drawn
        ("formed", "i1"),
        ("stuck", "i1"),  # 0 healthy, 1 stuck on, -1 stuck off
        ("pulses", "i8"),
        ("energy", "f8"),  # J dissipated by pulses over the cell's life
    ],
    align=True,
)
"""One cell's record, in the order in which chips have always been kept on disk."""


@dataclass(frozen=True)
class CellLaw:
    """Constants of a device, SI units. Spreads are standard deviations.

    Ranges: voltages in V > 0, conductances in S > 0, fractions 0..1, times in s > 0.
    """

    record: ClassVar[np.dtype[Any]] = CELL

    k_g: float = constant(125e-6, "S/V", positive=True)
    """Gate slope dG_c/dV_g, S/V."""
    k_g_spread: float = constant(0.0)
    """Relative device-to-device spread of k_g."""
    v_t: float = constant(0.6, "V")
    v_t_spread: float = constant(0.03, "V")
    v_s: float = constant(1.35, "V")
    v_s_spread: float = constant(0.08, "V")
    v_r: float = constant(1.25, "V")
    v_r_spread: float = constant(0.08, "V")
    v0: float = constant(0.09, "V", positive=True)
    """Voltage that changes the switching rate e-fold."""
    c2c: float = constant(0.03, "V")
    """Cycle-to-cycle jitter of V_t, V_s and V_r, V."""
    reset_sigma: float = constant(0.2)
    """Lognormal sigma of a RESET step."""
    jump_probability: float = constant(0.01)
    jump_sigma: float = constant(5e-6, "S")
    g_min: float = constant(8e-6, "S")
    g_min_spread: float = constant(2e-6, "S")
    g_max: float = constant(160e-6, "S")
    g_max_spread: float = constant(8e-6, "S")
    g_pristine: float = constant(1e-8, "S")
    g_leak: float = constant(1e-10, "S", positive=True)
    g_start: float = constant(15e-6, "S")
    """Conductance of a formed, fresh cell (after a full RESET)."""
    v_form: float = constant(3.0, "V")
    v_form_spread: float = constant(0.15, "V")
    formed: bool = constant(True)
    stuck_on: float = constant(0.005)
    stuck_off: float = constant(0.005)
    relax_a: float = constant(0.412e-6, "S")
    relax_b: float = constant(0.042e-6, "S")
    relax_c: float = constant(-0.089e-6, "S", signed=True)
    relax_floor: float = constant(0.3)
    """Share of the relaxation that even a tiny move leaves."""
    relax_full: float = constant(10e-6, "S", positive=True)
    """Move from which the relaxation is full, S."""
    read_sigma: float = constant(0.0277e-6, "S")
    read_window: float = constant(1.0, "s", positive=True)
    rtn_share: float = constant(0.15)
    rtn_amplitude: float = constant(0.01)
    rtn_tau_min: float = constant(1e-3, "s", positive=True)
    rtn_tau_max: float = constant(10.0, "s", positive=True)

    def __post_init__(self) -> None:
        _ = self.relaxation, self.defects  # the parts check what they are made of

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> "CellLaw":
        """Build from a preset's `cell:` section.

        Raises:
            ValueError: an unknown name, a value of the wrong type, or one out of range.
        """
        return build(cls, values)

    @cached_property
    def relaxation(self) -> Relaxation:
        """The part that relaxes."""
        return Relaxation(self.relax_a, self.relax_b, self.relax_c, self.relax_floor, self.relax_full)

    @cached_property
    def noise(self) -> ReadNoise:
        """What reads see."""
        return ReadNoise(
            self.read_sigma, self.read_window, self.rtn_share, self.rtn_amplitude, self.rtn_tau_min, self.rtn_tau_max
        )

    @cached_property
    def defects(self) -> Defects:
        """Cells that never move."""
        return Defects(self.stuck_on, self.stuck_off)

    @cached_property
    def jumps(self) -> Jumps:
        """Rare surplus steps."""
        return Jumps(self.jump_probability, self.jump_sigma)

    @property
    def relax_t0(self) -> float:
        """Seconds at which sigma(t) = a + b ln t passes zero: where relaxation begins."""
        return self.relaxation.t0

    @property
    def v_quiet(self) -> float:
        """See `Law`: far below any V_s or V_r - 10 v0."""
        return 0.45

    def disturbs(self, volts: float) -> bool:
        """See `Law`."""
        return volts > self.v_r - 4 * self.v_r_spread - 9 * self.v0

    def gate_within(self, gate: float, volts: float, amps: float) -> float:
        """See `Law`: the SET ceiling is the lower of the gate's and that of the current, I/V."""
        return min(gate, self.v_t + amps / volts / self.k_g)

    def fresh(self, shape: tuple[int, ...], rng: np.random.Generator, now_ns: int = 0) -> Records:
        """See `Law`."""
        cells = blank(CELL, shape, now_ns)
        cells["v_t"] = spread(rng, shape, self.v_t, self.v_t_spread, 0.05)
        cells["v_s"] = spread(rng, shape, self.v_s, self.v_s_spread, 0.2)
        cells["v_r"] = spread(rng, shape, self.v_r, self.v_r_spread, 0.2)
        cells["v_form"] = spread(rng, shape, self.v_form, self.v_form_spread, 0.5)
        cells["k_g"] = self.k_g * spread(rng, shape, 1.0, self.k_g_spread, 0.1)
        cells["g_min"] = spread(rng, shape, self.g_min, self.g_min_spread, 0.1e-6)
        cells["g_max"] = spread(rng, shape, self.g_max, self.g_max_spread, 20e-6)
        self.noise.fresh(cells, rng)
        cells["formed"] = self.formed
        self.defects.fresh(cells, rng)
        start = self.g_start * np.exp(0.25 * rng.standard_normal(shape))
        cells["g"] = np.where(cells["formed"] > 0, np.maximum(start, cells["g_min"]), self.g_pristine)
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
        """See `Law`. A pristine cell is formed when the pulse passes its forming voltage."""
        before = self.conductance(c, now_ns)
        jitter = self.c2c * rng.standard_normal((2, *before.shape))
        ceiling = np.minimum(c["k_g"] * (gate - (c["v_t"] + jitter[0])), c["g_max"])
        f = self._fraction(volts, np.asarray(c["v_s"]) + jitter[1], width)
        delta = np.maximum(ceiling - before, 0.0) * f
        delta = delta + self.jumps.of(delta, rng)
        forming = (np.asarray(c["formed"]) == 0) & (self._fraction(volts, np.asarray(c["v_form"]), width) > 0.5)
        conducting: Bools = np.asarray(gate) > c["v_t"]
        forming &= conducting & (np.asarray(c["stuck"]) == 0)
        formed_to = np.clip(ceiling, c["g_min"], c["g_max"])
        moved = np.where(np.asarray(c["formed"]) > 0, before + delta, np.where(forming, formed_to, before))
        moved = np.where(conducting, moved, before)
        energy = self._move(c, before, moved, conducting, volts, width, now_ns, rng)
        c["formed"] = np.where(forming, 1, c["formed"])
        return energy

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
        shape = before.shape
        f = self._fraction(volts, np.asarray(c["v_r"]) + self.c2c * rng.standard_normal(shape), width)
        step = np.maximum(before - c["g_min"], 0.0) * np.minimum(
            f * np.exp(self.reset_sigma * rng.standard_normal(shape)), 1.0
        )
        step = step - self.jumps.of(step, rng)
        conducting: Bools = np.asarray(gate) > c["v_t"]
        moved = np.where(conducting & (np.asarray(c["formed"]) > 0), before - step, before)
        return self._move(c, before, moved, conducting, volts, width, now_ns, rng)

    def _fraction(self, volts: npt.ArrayLike, threshold: Floats, width: float) -> Floats:
        """Share of the way that one pulse goes: 0 far below the threshold, 1 far above."""
        exponent = np.minimum((np.asarray(volts) - threshold) / self.v0, 60.0)
        return np.asarray(-np.expm1(-(width / 1e-6) * np.exp(exponent)), dtype=np.float64)

    def _move(
        self,
        c: Records,
        before: Floats,
        after: Floats,
        conducting: Bools,
        volts: npt.ArrayLike,
        width: float,
        now_ns: int,
        rng: np.random.Generator,
    ) -> Floats:
        after = bounded(c, before, after)
        # Behind a closed transistor a cell takes no energy, whatever its conductance.
        energy = np.square(volts) * np.where(conducting, 0.5 * (before + after), self.g_leak) * width
        self.relaxation.move(c, before, after, now_ns, rng)
        return book(c, np.asarray(energy, dtype=np.float64))
