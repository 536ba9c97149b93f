"""The network as the circuit computes it: conductances, gains, clamps, and the tables that drive it.

Conventions, shared with the circuit simulator. One software unit is 0.1 V. Layer l holds conductances G of shape
(n_out, n_in + 1), the last column driven by the constant unit; its pre-activation, in units, is

    z = gain_l * (G - g_fixed) @ v + embedding

with gain_l = 1 / scale_l in units per siemens. The same 14 embedding values enter both hidden layers; the output layer
has none. Every voltage that reaches an array is clamped to -2..4 units (-0.2..0.4 V, so that a read never programs a
cell). Hidden layers are rectified. 282 cells in all.

The integrators solve, on the run's own time tau from 0 to 1,

    dx/dtau = kf * (-fx) * x + kg * g2 * n(x, embedding) + trim + noise

with every table constant during a tick of the converters (200 ticks of 5 ms in a run of 1 s).

Sources: unit, clamp, window, layer sizes and the embedding's place from the paper (Methods and Fig. 3); the equation
and the tick from the published firmware.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from analysis.diffusion.sde import Prior
from analysis.mapping import ConductanceWindow

Array = npt.NDArray[np.float64]

UNIT_VOLT = 0.1
LAYER_SHAPES = ((14, 3), (14, 15), (2, 15))
N_CELLS = sum(rows * columns for rows, columns in LAYER_SHAPES)
N_HIDDEN = 14
N_TICKS = 200
CLAMP = (-2.0, 4.0)
# The embedding's converters reach +-1 V, and the published firmware gives a unit of embedding 0.5 V.
EMBEDDING_LIMIT = 2.0


@dataclass(frozen=True)
class WriteNoise:
    """Gaussian error that programming leaves on a conductance.

    `relative` is a fraction of G_mem itself, before g_fixed is taken away; `absolute` is in S. They add in squares.
    """

    relative: float = 0.0
    absolute: float = 0.0

    def sigma(self, conductance: Array) -> Array:
        """Standard deviation of the error at each conductance, S."""
        return np.hypot(self.relative * np.asarray(conductance), self.absolute)

    def apply(self, conductances: Sequence[Array], rng: np.random.Generator) -> tuple[Array, ...]:
        """Return conductances with one draw of the error; none falls below zero."""
        return tuple(np.maximum(g + rng.normal(size=g.shape) * self.sigma(g), 0.0) for g in conductances)


@dataclass(frozen=True)
class AnalogNetwork:
    """The three crossbar layers with their conductances (S), gains (units per S) and, where known, offsets (units).

    `offsets` are added to each layer's pre-activation: what a measurement of the amplifiers found, by default nothing.
    """

    conductances: tuple[Array, ...]
    gains: tuple[float, ...]
    window: ConductanceWindow = field(default_factory=ConductanceWindow)
    offsets: tuple[Array, ...] | None = None
    clamp: tuple[float, float] = CLAMP

    def __post_init__(self) -> None:
        """Check the shapes."""
        shapes = tuple(g.shape for g in self.conductances)
        if shapes != LAYER_SHAPES:
            raise ValueError(f"layers need shapes {LAYER_SHAPES}, got {shapes}")
        if len(self.gains) != len(shapes):
            raise ValueError(f"{len(shapes)} layers but {len(self.gains)} gains")

    @property
    def weights(self) -> tuple[Array, ...]:
        """Weights that the layers realise, each (n_out, n_in + 1)."""
        g_fixed = self.window.g_fixed
        return tuple((g - g_fixed) * gain for g, gain in zip(self.conductances, self.gains, strict=True))

    def with_conductances(self, conductances: Sequence[Array]) -> AnalogNetwork:
        """Return the same circuit with other (measured, noisy) conductances, S."""
        return replace(self, conductances=tuple(np.asarray(g, dtype=np.float64) for g in conductances))

    def layer_voltages(self, x: Array, embedding: Array) -> tuple[Array, Array, Array]:
        """Return both hidden layers' outputs (n, 14) before the next clamp and the output n (n, 2), in units."""
        low, high = self.clamp
        v, seen = np.asarray(x, dtype=np.float64), []
        for index, w in enumerate(self.weights):
            v = np.clip(v, low, high)
            z = v @ w[:, :-1].T + w[:, -1]
            if self.offsets is not None:
                z = z + self.offsets[index]
            v = np.maximum(z + embedding, 0.0) if index < 2 else z
            seen.append(v)
        return seen[0], seen[1], seen[2]

    def __call__(self, x: Array, embedding: Array) -> Array:
        """Return the network's output n, shape (n, 2) in units, at points `x` (n, 2) and one embedding (14,)."""
        return self.layer_voltages(x, embedding)[2]


@dataclass(frozen=True)
class Drive:
    """Everything that stays digital in a run: the converters' tables, loop gains, trims and the starting law.

    Tables have one row a tick, held for the tick. `fx` and `g2` are in volts and stay within +-1 V; `embedding`
    (ticks, 14) is in units; `kf` and `kg` are the loop gains; `trim` (2,) is added to dx/dtau, in units a run;
    `noise` (ticks,) is the diffusion, in units per square root of a run, zero for an ODE.
    """

    fx: Array
    g2: Array
    embedding: Array
    kf: float
    kg: float
    prior: Prior
    trim: Array = field(default_factory=lambda: np.zeros(2))
    noise: Array | None = None

    def __post_init__(self) -> None:
        """Refuse tables that the converters cannot put out."""
        ticks = len(self.fx)
        if self.g2.shape != (ticks,) or self.embedding.shape != (ticks, N_HIDDEN):
            raise ValueError(
                f"tables do not fit together: fx {self.fx.shape}, g2 {self.g2.shape}, "
                f"embedding {self.embedding.shape}; need (n,), (n,), (n, {N_HIDDEN})"
            )
        if self.noise is not None and self.noise.shape != (ticks,):
            raise ValueError(f"noise table has shape {self.noise.shape}, need ({ticks},)")
        peak = max(float(np.abs(self.fx).max()), float(np.abs(self.g2).max()))
        if not peak <= 1.0:
            raise ValueError(f"a coefficient of {peak:.3g} V is outside the converters' +-1 V")

    @classmethod
    def from_coefficients(
        cls,
        a: Array,
        b: Array,
        embedding: Array,
        prior: Prior,
        *,
        trim: Array | None = None,
        noise: Array | None = None,
        full_scale: float = 0.95,
    ) -> Drive:
        """Build the drive of dx/dtau = a x + b n + trim with both tables' peaks at `full_scale` volts.

        The largest table that fits makes the multipliers' offsets, which are fixed in volts, matter least.
        """
        kf, kg = float(np.abs(a).max()) / full_scale, float(np.abs(b).max()) / full_scale
        # A table of zeros has no scale of its own.
        kf, kg = kf or 1.0, kg or 1.0
        return cls(-a / kf, b / kg, embedding, kf, kg, prior, np.zeros(2) if trim is None else trim, noise)

    def with_loop_gains(self, kf: float, kg: float) -> Drive:
        """Return the same equation for a board whose loop gains are `kf` and `kg`; its tables may not exceed +-1 V."""
        return replace(self, fx=self.fx * (self.kf / kf), g2=self.g2 * (self.kg / kg), kf=kf, kg=kg)

    @property
    def a(self) -> Array:
        """Coefficient of x in dx/dtau, per run."""
        return -self.kf * self.fx

    @property
    def b(self) -> Array:
        """Coefficient of n in dx/dtau, per run."""
        return self.kg * self.g2

    @property
    def ticks(self) -> int:
        """Number of ticks in a run."""
        return len(self.fx)
