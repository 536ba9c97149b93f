"""Parts of the closed-loop circuit as parameters: what a schematic and its data sheets say.

SI units. Every default has its source beside it; "chosen" marks values that are not published, picked so that a
1 s run at 0.1 V per unit works. Nothing here is random: `Offsets.sample` and `ReadNoise.sample_telegraph` take the
generator they use.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
LayerArrays = tuple[Array, Array, Array]


@dataclass(frozen=True)
class OpAmp:
    """One-pole, slew-limited amplifier. Defaults: OPAx171 data sheet (TI SBOS516), typical values."""

    offset_sigma: float = 0.25e-3
    """V; the data sheet's typical input offset, taken as one sigma."""
    open_loop_gain: float = 10 ** (130 / 20)
    gain_bandwidth: float = 3e6
    """Hz."""
    slew_rate: float = 1.5e6
    """V/s."""

    @classmethod
    def ideal(cls) -> "OpAmp":
        """No offset, infinite gain, bandwidth and slew rate."""
        return cls(0.0, np.inf, np.inf, np.inf)


@dataclass(frozen=True)
class Multiplier:
    """W = (X + ox)(Y + oy) (1 + e)/scale + oz. Defaults: AD633 data sheet (Analog Devices), typical values."""

    scale: float = 10.0
    """V."""
    input_offset_sigma: float = 5e-3
    """V, for X and Y."""
    output_offset_sigma: float = 5e-3
    """V."""
    gain_sigma: float = 0.0025
    """Relative; the data sheet gives 0.25 % of full scale."""
    bandwidth: float = 1e6
    """Hz."""


@dataclass(frozen=True)
class Rectifier:
    """ReLU by a TIA with two diodes. Defaults: common SPICE model of the 1N4148 (Is = 2.52 nA, N = 1.752).

    The saturation current is the knee's one parameter: it rounds the knee over a few Is * R_f and shifts the
    characteristic by the leakage Is of the diode that is reverse biased. 0 is the ideal rectifier.
    """

    saturation_current: float = 2.52e-9
    """A."""
    load_resistance: float = 100e3
    """Ohm, input resistor of the inverting amplifier behind it (chosen)."""
    forward_voltage: float = 0.3
    """V at some uA; only the recovery time of lagged runs depends on it."""


@dataclass(frozen=True)
class Clamp:
    """Protection in front of every crossbar: the paper caps all array voltages to -0.2 .. 0.4 V (Fig. 3c)."""

    low: float = -0.2
    high: float = 0.4


@dataclass(frozen=True)
class Crossbar:
    """The resistive part. `fixed_conductance`: the paper's 20 kOhm shared negative weight."""

    fixed_conductance: float = 50e-6
    """S."""
    wire_resistance: float = 0.0
    """Ohm per segment between two cells, along bit and source lines; 0 switches it off (values: 1-3 ohm at 180 nm)."""


@dataclass(frozen=True)
class Integrator:
    """Slope -1/(R C) per volt. R and C chosen; the leak is a resistor across the capacitor."""

    resistance: float = 100e3
    capacitance: float = 1e-6
    leak_resistance: float = np.inf


@dataclass(frozen=True)
class LoopGains:
    """Gains of dV/dt = -drift V_fx V_x + score V_g2 V_score + noise V_noise (unpublished, chosen).

    With the board's V_fx = -0.25 beta and V_g2 = 0.5 beta coef, drift = score = 4 and an output gain of 5 give
    "beta x 2" of the authors' sampler: the ODE at coef 0.5, the SDE's drift at coef 1. A noise gain of 1/s makes the
    board's 10 mV offset trim a step of 10 mV in a 1 s run; full SDE noise within the DAC's +-1 V needs about 4/s.
    """

    drift: float = 4.0
    """1/(V s)."""
    score: float = 4.0
    """1/(V s)."""
    noise: float = 1.0
    """1/s."""


@dataclass(frozen=True)
class ReadNoise:
    """Fluctuation of the conductances during a run; all zero by default.

    White part: every cell has sigma = hypot(white_relative * |ref|, white_absolute) measured in `white_bandwidth`
    (Hz), a one-sided density of sigma^2/white_bandwidth. It is summed exactly into one Gaussian per node and
    integration step, of variance sum V^2 sigma_G^2 in the step's bandwidth 1/(2 dt): what reaches the integrators
    does not depend on the step. The default bandwidth makes sigma the deviation of one 1 ms step.
    Slow part (1/f below 1/duration): one Gaussian per cell and run. RTN: two levels `telegraph` apart, switching
    at `telegraph_rate` each way. `reference` says what "relative" refers to: the memory cell's conductance (physical)
    or the weight G - G_fixed (the paper's robustness study).
    """

    white_relative: float = 0.0
    white_absolute: float = 0.0
    """S."""
    white_bandwidth: float = 500.0
    """Hz."""
    slow_relative: float = 0.0
    slow_absolute: float = 0.0
    """S."""
    telegraph_fraction: float = 0.0
    """Share of cells with RTN."""
    telegraph_relative: float = 0.01
    """Distance of the levels over G (device literature: 1 %)."""
    telegraph_rate: float = 20.0
    """1/s (chosen)."""
    reference: str = "memory"
    """"memory" or "weight"."""

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if self.reference not in ("memory", "weight"):
            raise ValueError(f"read noise refers to 'memory' or 'weight', not {self.reference!r}")
        if self.white_bandwidth <= 0:
            raise ValueError("white_bandwidth must be positive")

    def sample_telegraph(self, conductances: LayerArrays, rng: np.random.Generator) -> LayerArrays:
        """Which cells have RTN, as level distances in S, shaped as the conductances."""
        return _three(
            np.where(rng.random(g.shape) < self.telegraph_fraction, self.telegraph_relative * np.abs(g), 0.0)
            for g in conductances
        )


@dataclass(frozen=True)
class CircuitParams:
    """The whole closed loop: 2 inputs, two hidden layers, 2 outputs, 4 multipliers, 2 integrators."""

    feedback: tuple[float, float, float] = (100e3, 100e3, 100e3)
    """Ohm, R_f of each layer's TIAs: 0.1 V/unit at 10 uS per unit of weight."""
    output_gain: float = 5.0
    """V/V behind the last layer (the published network multiplies its output by 5)."""
    bias_voltage: float = 0.1
    """V on each layer's bias line: 1 unit."""
    embedding_gain: tuple[float, float] = (0.2, 0.2)
    """R_f/R_e of the hidden layers: the firmware's 0.5 V/unit to 0.1 V/unit."""
    crossbar: Crossbar = field(default_factory=Crossbar)
    clamp: Clamp = field(default_factory=Clamp)
    rectifier: Rectifier = field(default_factory=Rectifier)
    op_amp: OpAmp = field(default_factory=OpAmp)
    multiplier: Multiplier = field(default_factory=Multiplier)
    integrator: Integrator = field(default_factory=Integrator)
    gains: LoopGains = field(default_factory=LoopGains)
    read_noise: ReadNoise = field(default_factory=ReadNoise)
    max_step: float = 1e-3
    """s, integration step within a tick; 1 ms is within 0.02 mV of an eighth of it."""
    dynamics: str = "auto"
    """Network: "static", "lagged" (first-order lags, slew, rectifier recovery), or "auto": lagged below 2000
    settling times of the network (about 30 ms)."""

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if self.dynamics not in ("auto", "static", "lagged"):
            raise ValueError(f"dynamics is 'auto', 'static' or 'lagged', not {self.dynamics!r}")
        if not self.clamp.low < self.clamp.high:
            raise ValueError("the clamp's low limit must be below its high limit")
        if self.max_step <= 0 or min(self.feedback) <= 0:
            raise ValueError("max_step and feedback resistors must be positive")

    def compressed(self, duration: float) -> "CircuitParams":
        """The same equation solved in `duration` (s) instead of 1 s: smaller capacitors, faster ticks, same drives."""
        gains = LoopGains(self.gains.drift / duration, self.gains.score / duration, self.gains.noise / duration)
        integrator = replace(self.integrator, capacitance=self.integrator.capacitance * duration)
        return replace(self, gains=gains, integrator=integrator, max_step=self.max_step * duration)


def _three(arrays: Iterable[Array]) -> LayerArrays:
    first, second, third = (np.asarray(a, dtype=np.float64) for a in arrays)
    return first, second, third


@dataclass(frozen=True, eq=False)
class Offsets:
    """Input offset voltages (V) of one board's amplifiers and errors of its multipliers."""

    buffer: LayerArrays
    """Line drivers, (n_in,) for each layer."""
    negative: Array
    """Line summing amplifiers, (3,)."""
    tia: LayerArrays
    """(n_out,) for each layer."""
    inverter: LayerArrays
    """(n_out,) for each layer; the last one is the output gain's."""
    product_x: Array
    """(4,): fx*x, fx*y, g2*nx, g2*ny; so are the next three."""
    product_y: Array
    product_z: Array
    product_gain: Array
    """Relative gain errors."""
    summer: Array
    """(2,), inverting amplifiers in front of the integrators."""
    integrator: Array
    """(2,)."""

    @classmethod
    def zero(cls, conductances: LayerArrays) -> "Offsets":
        """No offsets."""
        return cls.sample(conductances, OpAmp.ideal(), Multiplier(10.0, 0.0, 0.0, 0.0), np.random.default_rng(0))

    @classmethod
    def sample(
        cls, conductances: LayerArrays, op_amp: OpAmp, multiplier: Multiplier, rng: np.random.Generator
    ) -> "Offsets":
        """One board's offsets, normally distributed."""
        sigma = op_amp.offset_sigma
        outputs = [g.shape[0] for g in conductances]
        return cls(
            buffer=_three(rng.normal(0.0, sigma, g.shape[1] - 1) for g in conductances),
            negative=rng.normal(0.0, sigma, 3),
            tia=_three(rng.normal(0.0, sigma, n) for n in outputs),
            inverter=_three(rng.normal(0.0, sigma, n) for n in outputs),
            product_x=rng.normal(0.0, multiplier.input_offset_sigma, 4),
            product_y=rng.normal(0.0, multiplier.input_offset_sigma, 4),
            product_z=rng.normal(0.0, multiplier.output_offset_sigma, 4),
            product_gain=rng.normal(0.0, multiplier.gain_sigma, 4),
            summer=rng.normal(0.0, sigma, 2),
            integrator=rng.normal(0.0, sigma, 2),
        )
