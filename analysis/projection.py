"""What an integrated design could do: latency and energy of a sample where every number is assumed and has a range.

Nothing here is measured, and nothing is the paper's; `Integrated` names each assumption, `RANGES` how far it may be
off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, cast

import numpy as np
from scipy.special import gammainccinv

from analysis.cost import Energy, Entry, amplifier_count
from analysis.diffusion.hardware import LAYER_SHAPES, N_TICKS, AnalogNetwork


@dataclass(frozen=True)
class Range:
    """How far a parameter may be off; `relative` bounds are factors of its value."""

    low: float
    high: float
    unit: str
    source: str
    relative: bool = False

    def bounds(self, value: float) -> tuple[float, float]:
        """Low and high value."""
        return (self.low * value, self.high * value) if self.relative else (self.low, self.high)


@dataclass(frozen=True)
class Integrated:
    """An integrated design that does not exist: every number is assumed; `RANGES` says how far and why.

    `array_power` (W) and `noise_gain` come from the network that was run; see `noise_gain_of`. With
    `amplifiers_for_bandwidth` an amplifier burns what its bandwidth needs where that is above `amplifier_power`.
    """

    array_power: float
    noise_gain: float = 16.0
    solution_time: float = 20e-6
    setup_time: float = 1e-6
    amplifiers: float = float(sum(amplifier_count().values()))
    amplifier_power: float = 100e-6
    multipliers: float = 4.0
    multiplier_power: float = 200e-6
    control_power: float = 0.5e-3
    channels: float = 18.0
    ticks: float = float(N_TICKS)
    conversion_energy: float = 20e-12
    readout_energy: float = 100e-12
    supply_efficiency: float = 0.85
    settling_error: float = 0.01
    load_capacitance: float = 0.5e-12
    gm_per_current: float = 15.0
    branches: float = 3.0
    supply: float = 1.8
    amplifiers_for_bandwidth: bool = False

    @property
    def latency(self) -> float:
        """Seconds a sample: set-up and solution."""
        return self.setup_time + self.solution_time

    def parts(self) -> dict[str, float]:
        """Joules a sample by part, losses of the supply included."""
        on, power = self.latency, self.amplifier_power
        if self.amplifiers_for_bandwidth:
            power = max(power, self.power_for_bandwidth)
        parts = {
            "amplifiers": self.amplifiers * power * on,
            "multipliers": self.multipliers * self.multiplier_power * on,
            "control": self.control_power * on,
            "arrays": self.array_power * self.solution_time,
            "converters": self.channels * self.ticks * self.conversion_energy,
            "readout": 2.0 * self.readout_energy,
        }
        return {name: joules / self.supply_efficiency for name, joules in parts.items()}

    @property
    def energy(self) -> float:
        """Joules a sample."""
        return sum(self.parts().values())

    @property
    def closed_loop_bandwidth(self) -> float:
        """Bandwidth of each layer, Hz, with which all of them settle to `settling_error` within a tick.

        Layers are equal poles in cascade: the remainder after t is the upper gamma function
        Q(layers, t / tau), regularised.
        """
        tick = self.solution_time / self.ticks
        return float(gammainccinv(len(LAYER_SHAPES), self.settling_error) / (2.0 * np.pi * tick))

    @property
    def gain_bandwidth(self) -> float:
        """Gain-bandwidth product that a TIA needs for that, Hz."""
        return self.closed_loop_bandwidth * self.noise_gain

    @property
    def power_for_bandwidth(self) -> float:
        """Mean power of an amplifier that has this bandwidth, W.

        gm = 2 pi GBW C; the input pair's current gm / (gm/I) times `branches` from `supply`. TIAs at `noise_gain`, all
        others at a gain of 2.
        """
        tia = min(amplifier_count()["tia"], self.amplifiers)
        gain = (tia * self.noise_gain + (self.amplifiers - tia) * 2.0) / self.amplifiers
        gm = 2.0 * np.pi * self.closed_loop_bandwidth * gain * self.load_capacitance
        return float(gm / self.gm_per_current * self.branches * self.supply)


RANGES: Mapping[str, Range] = MappingProxyType(
    {
        "array_power": Range(0.5, 2.0, "W", "from the run; conductances and voltages may change", relative=True),
        "noise_gain": Range(0.5, 1.5, "", "from the conductances; gains may be shared otherwise", relative=True),
        "solution_time": Range(10e-6, 100e-6, "s", "20 us is the paper's projection; the range is assumed"),
        "setup_time": Range(0.2e-6, 5e-6, "s", "assumed: two capacitors charged by a converter"),
        "amplifiers": Range(69, 117, "", "structure; 69 without clamp and converter buffers"),
        "amplifier_power": Range(50e-6, 200e-6, "W", "assumed: CMOS amplifiers of some 100 MHz"),
        "multiplier_power": Range(50e-6, 500e-6, "W", "assumed: Gilbert cells"),
        "control_power": Range(0.1e-3, 2e-3, "W", "assumed: sequencer and table memory"),
        "ticks": Range(50, 200, "", "200 as the published firmware; that fewer do is assumed"),
        "conversion_energy": Range(5e-12, 100e-12, "J", "assumed: 12 bit at 10 MS/s with table read"),
        "readout_energy": Range(20e-12, 500e-12, "J", "assumed: 12-bit successive approximation"),
        "supply_efficiency": Range(0.7, 0.95, "", "assumed"),
        "settling_error": Range(0.001, 0.1, "", "assumed"),
        "load_capacitance": Range(0.2e-12, 2e-12, "F", "assumed: a line of 32 cells and an input"),
        "gm_per_current": Range(10.0, 20.0, "1/V", "textbook moderate inversion"),
        "branches": Range(2.0, 6.0, "", "assumed: total over input pair's current"),
        "supply": Range(1.2, 3.3, "V", "1.8 V is usual at 180 nm"),
    }
)


@dataclass(frozen=True)
class Band:
    """A projected number: nominal, and with every parameter at its better and at its worse bound."""

    low: float
    nominal: float
    high: float


@dataclass(frozen=True)
class Sensitivity:
    """What one parameter does, all others nominal.

    `energy` and `latency` are at its (low, high) bound; elasticities are d ln y / d ln p at the nominal point.
    """

    name: str
    bounds: tuple[float, float]
    value: float
    unit: str
    source: str
    energy: tuple[float, float]
    latency: tuple[float, float]
    energy_elasticity: float
    latency_elasticity: float


@dataclass(frozen=True)
class Projection:
    """Latency and energy of a sample in an integrated design, and what they hang on, the largest swing first."""

    design: Integrated
    latency: Band
    energy: Band
    sensitivities: tuple[Sensitivity, ...]

    @property
    def entry(self) -> Entry:
        """The nominal point, for a comparison."""
        how = "amplifiers powered for their bandwidth" if self.design.amplifiers_for_bandwidth else "as assumed"
        energy = Energy(self.energy.nominal, "projected", "sum of parts", f"every part assumed, {how}")
        return Entry(f"integrated, {how}", "projected", self.latency.nominal, (energy,))


def project(design: Integrated, ranges: Mapping[str, Range] = RANGES) -> Projection:
    """Project latency and energy, their corners over `ranges`, and the sensitivity to each parameter that matters."""
    step = 1e-4
    rows: list[Sensitivity] = []
    best: dict[str, Any] = {}
    worst: dict[str, Any] = {}
    for name, span in ranges.items():
        value = float(getattr(design, name))
        bounds = span.bounds(value)
        points = (*bounds, value * np.exp(step), value * np.exp(-step))
        first, last, up, down = (replace(design, **cast(dict[str, Any], {name: v})) for v in points)
        cheap = int((last.energy, last.latency) < (first.energy, first.latency))
        best[name], worst[name] = bounds[cheap], bounds[1 - cheap]
        row = Sensitivity(
            name, bounds, value, span.unit, span.source,
            (first.energy, last.energy), (first.latency, last.latency),
            float(np.log(up.energy / down.energy) / (2.0 * step)),
            float(np.log(up.latency / down.latency) / (2.0 * step)),
        )  # fmt: skip
        if first.energy != last.energy or first.latency != last.latency:
            rows.append(row)
    rows.sort(key=lambda row: -abs(row.energy[1] - row.energy[0]))
    low, high = replace(design, **best), replace(design, **worst)
    return Projection(
        design,
        Band(low.latency, design.latency, high.latency),
        Band(low.energy, design.energy, high.energy),
        tuple(rows),
    )


def noise_gain_of(network: AnalogNetwork) -> float:
    """Return the largest noise gain of a TIA: 1 + R_f (sum of its row's conductances and the fixed one)."""
    fixed = network.window.g_fixed
    layers = zip(network.conductances, network.gains, strict=True)
    return float(1.0 + max(gain * (g.sum(axis=1).max() + fixed) for g, gain in layers))
