"""The law of filamentary cells: a gap that grows and shrinks, in series with a real transistor.

Form and symbols of the Stanford/PKU RRAM model (Guan, Yu, Wong, IEEE Electron Device Lett. 33, 1405 (2012); Jiang et
al., SISPAD 2014; nanoHUB 10.4231/D37H1DN48):

* I = I0 exp(-x/g0) sinh(V_c/V0) through a tunnelling gap x, and a conductance beside it.
* dx/dt = -+ velocity exp(-Ea/kT) sinh(a0 F / (kT/q)) from the local field F = gamma V_c / L = F_min on, and 0 below,
  with gamma = gamma0 - beta (x/1 nm)^3 and T = T_ambient + R_th V_c I: a wide gap concentrates the field less, and
  current heats, so that a RESET begins abruptly and becomes gradual as the current falls.
* V_c is what the series NMOS (square law, triode to saturation) leaves of the pulse. In SET its source is grounded: its
  current saturates, the cell's voltage falls as the gap closes, and the gap stops about where G V_stop = I_sat, with a
  V_stop that falls as the logarithm of time. No sharp ceiling, and where a cell settles grows as (V_g - V_t)^2. In
  RESET the transistor is a source follower: the cell gets at most V_g - V_t.

Devices differ in gamma0, V_t, k_n and their range, cycles in gamma0 and by a random walk of the gap as it
moves. Relaxation, read noise, telegraph, defects, forming and jumps are the parts that all laws share.

G is the conductance as read: cell and fully opened transistor in series.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from instruments.twin.laws import gap_kernel
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


@dataclass(frozen=True)
class GapLaw:
    """Constants of a filamentary device, SI. Lengths in m, energies in eV, temperatures in K."""

    record: ClassVar[np.dtype[Any]] = record("gamma", "k_n", "v_form")

    i_zero: float = constant(1e-3, "A", positive=True)
    """I0, of the published model."""
    v_zero: float = constant(0.25, "V", positive=True)
    """I0 / v_zero is the conductance at no gap."""
    v_sinh: float = constant(1.0, "V", positive=True)
    """V0 of the sinh at programming voltages: filaments of 20-100 uS are nearly ohmic."""
    gap_scale: float = constant(0.25e-9, "m", positive=True)
    g_parallel: float = constant(1e-6, "S")
    velocity: float = constant(10.0, "m/s", positive=True)
    barrier: float = constant(0.78)
    """Ea, eV."""
    gamma: float = constant(18.0, positive=True)
    gamma_spread: float = constant(0.05)
    """Relative device-to-device spread."""
    beta: float = constant(2.5)
    hop: float = constant(0.25e-9, "m", positive=True)
    thickness: float = constant(8e-9, "m", positive=True)
    field_min: float = constant(1.4e9, "V/m", positive=True)
    """F_min, of the published model: a weaker local field moves nothing."""
    thermal_resistance: float = constant(3e5, "K/W")
    ambient: float = constant(298.0, "K", positive=True)
    c2c: float = constant(0.02)
    """Relative cycle-to-cycle jitter of gamma."""
    gap_walk: float = constant(0.1)
    """Deviation of a move: gap_walk sqrt(g0 |dx|), m."""
    v_t: float = constant(0.45, "V")
    v_t_spread: float = constant(0.03, "V")
    k_n: float = constant(250e-6, "A/V/V", positive=True)
    k_n_spread: float = constant(0.03)
    v_read_gate: float = constant(3.0, "V", positive=True)
    """Gate at which "fully on" is meant."""
    g_min: float = constant(8e-6, "S", positive=True)
    g_min_spread: float = constant(1.5e-6, "S")
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
        on = self.k_n * (self.v_read_gate - self.v_t)
        if self.g_max + 5 * self.g_max_spread > 0.8 * on:
            raise ValueError("g_max must lie well below k_n (v_read_gate - v_t), what the open transistor conducts")
        if self.g_parallel > 0.5 * self.g_min:
            raise ValueError("g_parallel must not pass half of g_min")
        if self.v_quiet < 0.3:
            raise ValueError("field_min thickness / gamma must be some 0.4 V or more, or reads would move cells")

    @property
    def v_quiet(self) -> float:
        """See `Law`: where the local field of the most sensitive cell reaches F_min."""
        most = self.gamma * (1 + 5 * self.gamma_spread) * (1 + 5 * self.c2c)
        return self.field_min * self.thickness / most

    def disturbs(self, volts: float) -> bool:
        """See `Law`."""
        return volts > self.v_quiet

    def gate_within(self, gate: float, volts: float, amps: float) -> float:
        """See `Law`: the gate at which the transistor saturates at `amps`."""
        return float(min(gate, self.v_t + np.sqrt(2 * amps / self.k_n)))

    def fresh(self, shape: tuple[int, ...], rng: np.random.Generator, now_ns: int = 0) -> Records:
        """See `Law`."""
        cells = blank(self.record, shape, now_ns)
        cells["v_t"] = spread(rng, shape, self.v_t, self.v_t_spread, 0.05)
        cells["k_n"] = self.k_n * spread(rng, shape, 1.0, self.k_n_spread, 0.7)
        relative = spread(rng, shape, 1.0, self.gamma_spread, 0.3)
        cells["gamma"] = self.gamma * np.minimum(relative, 1 + 5 * self.gamma_spread)
        cells["g_min"] = spread(rng, shape, self.g_min, self.g_min_spread, 2 * self.g_parallel)
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
        """See `Law`. A pulse that forms a cell also closes its gap, from the widest one on."""
        before = self.conductance(c, now_ns)
        forming = self.forming.by(c, volts, gate, width)
        begin = np.where(forming, c["g_min"], before)
        return self._pulse(c, before, begin, volts, gate, width, now_ns, rng, setting=True)

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
        return self._pulse(c, before, before, volts, gate, width, now_ns, rng, setting=False)

    @cached_property
    def _device(self) -> Floats:
        return np.array(
            [
                self.i_zero / self.v_zero, self.g_parallel, self.gap_scale, self.v_sinh, self.velocity, self.barrier,
                self.hop, self.thickness, self.beta, 1e-9, self.thermal_resistance, self.ambient, self.field_min,
            ]
        )  # fmt: skip

    def _gap(self, c: Records, g: npt.ArrayLike) -> Floats:
        """The gap that reads as `g`, m; conductances that no gap gives read as the nearest that one does."""
        alone = 1 / np.maximum(1 / np.maximum(g, 1e-12) - 1 / self._on(c), 1e-3) - self.g_parallel
        return np.asarray(self.gap_scale * np.log(self._device[0] / np.clip(alone, 1e-9, self._device[0])))

    def _as_read(self, c: Records, gap: Floats) -> Floats:
        alone = self._device[0] * np.exp(-gap / self.gap_scale) + self.g_parallel
        return np.asarray(1 / (1 / alone + 1 / self._on(c)), dtype=np.float64)

    def _on(self, c: Records) -> Floats:
        return np.asarray(c["k_n"] * np.maximum(self.v_read_gate - c["v_t"], 0.1), dtype=np.float64)

    def _pulse(
        self,
        c: Records,
        before: Floats,
        begin: Floats,
        volts: npt.ArrayLike,
        gate: npt.ArrayLike,
        width: float,
        now_ns: int,
        rng: np.random.Generator,
        *,
        setting: bool,
    ) -> Floats:
        shape = before.shape
        start = self._gap(c, begin)
        gamma = c["gamma"] * (1 + self.c2c * rng.standard_normal(shape).clip(-5, 5))
        over = np.where(c["formed"] > 0, np.asarray(gate) - c["v_t"], 0.0)
        gaps = start.flatten()
        energy = np.empty_like(gaps)
        per_cell = (volts, over, c["k_n"], gamma, self._gap(c, c["g_max"]), self._gap(c, c["g_min"]))
        v, o, k, y, low, high = (_flat(one, shape) for one in per_cell)
        gap_kernel.pulse(gaps, v, o, k, y, low, high, width, setting, self._device, energy)
        moved = gaps.reshape(shape) - start
        moved += self.gap_walk * np.sqrt(self.gap_scale * np.abs(moved)) * rng.standard_normal(shape)
        after = np.where(moved == 0, begin, self._as_read(c, start + moved))
        step = np.abs(after - begin)
        after = after + (1 if setting else -1) * self.jumps.of(step, rng)
        after = bounded(c, before, np.asarray(after, dtype=np.float64))
        self.relaxation.move(c, before, after, now_ns, rng)
        drawn = energy.reshape(shape)
        return book(c, np.where(drawn > 0, drawn, np.square(volts) * self.g_leak * width))


def _flat(values: npt.ArrayLike, shape: tuple[int, ...]) -> Floats:
    return np.ascontiguousarray(np.broadcast_to(np.asarray(values, dtype=np.float64), shape)).ravel()
