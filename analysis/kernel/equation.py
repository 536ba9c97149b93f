"""What the kernel solves: the reverse equation as increments of equal or unequal steps, float32.

    x <- keep_k x + gain_k n(x, embedding_k) + shift + spread_k z

`n` is the network with `weights`, every voltage that reaches an array clamped, hidden layers rectified, the embedding
added before both rectifiers; z is standard normal. Three things go wrong in cells: levels and write noise change the
weights once (`device`), read noise changes them anew at every step (`variances`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from analysis.diffusion.hardware import CLAMP, AnalogNetwork, Drive
from analysis.diffusion.samplers import Sampler
from analysis.diffusion.sde import VPSDE
from analysis.errors import AnalysisError

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]

DAC_CODES = 2048
"""Codes a volt of the board's 12-bit converters: code = trunc(2048 (1 + v)), v in [-1, 1) (published firmware)."""
VOLT_PER_EMBEDDING = 0.5
"""The published firmware gives a unit of embedding 0.5 V."""


@dataclass(frozen=True)
class CellNoise:
    """Gaussian deviation of a cell's conductance; the three parts add in squares.

    `weight` is a fraction of the weight, |G - g_fixed|; `memory` a fraction of G_mem itself, before g_fixed is taken
    away; `absolute` is in S.
    """

    weight: float = 0.0
    memory: float = 0.0
    absolute: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a negative deviation."""
        for name, value in (("weight", self.weight), ("memory", self.memory), ("absolute", self.absolute)):
            if not value >= 0.0:
                raise AnalysisError(f"a noise of {value} {name} is not one: give 0 or more")

    def sigma(self, conductance: Array, g_fixed: float) -> Array:
        """Standard deviation at each conductance, S."""
        g = np.asarray(conductance, dtype=np.float64)
        return np.asarray(np.sqrt((self.weight * (g - g_fixed)) ** 2 + (self.memory * g) ** 2 + self.absolute**2))


def device(network: AnalogNetwork, noise: CellNoise, rng: np.random.Generator, *, levels: bool = True) -> AnalogNetwork:
    """Return the network as one programming leaves it: on the window's levels, then with one draw of write noise."""
    g_fixed = network.window.g_fixed
    made = []
    for g in network.conductances:
        target = network.window.quantise(g) if levels else g
        made.append(np.maximum(target + rng.standard_normal(g.shape) * noise.sigma(target, g_fixed), 0.0))
    return network.with_conductances(made)


def quantised(volts: Array) -> Array:
    """Return what the board's converters put out for `volts`: whole codes, held within their range."""
    codes = np.clip(np.trunc(DAC_CODES * (1.0 + np.asarray(volts))), 0, 2 * DAC_CODES - 1)
    return np.asarray(codes / DAC_CODES - 1.0)


def diffusing(drive: Drive) -> Drive:
    """Return the reverse SDE with the marginals of the probability-flow ODE that `drive` runs.

    The flow is speed beta / 2 (x + score); the SDE has twice the score's part and diffusion sqrt(speed beta), which is
    the square root of twice the flow's factor of x.
    """
    return replace(drive, kg=2.0 * drive.kg, noise=np.sqrt(2.0 * np.maximum(drive.a, 0.0)))


@dataclass(frozen=True)
class Equation:
    """One device's equation, ready to be solved.

    weights: (h, 3), (h, h + 1), (2, h + 1), bias last; embedding (rows, h); rates (rows, 3): keep, gain, spread; shift
    (2,) a step; clamp in units, or None; variances like weights, of the read noise at every step, units squared.
    `heun` takes the mean of the increments at both ends; a step's end has the rates of `ahead` rows on, so rows =
    steps + ahead. `prior` is the standard deviation of the starting points.
    """

    weights: tuple[Array, ...]
    embedding: Array
    rates: Array
    prior: float
    shift: tuple[float, float] = (0.0, 0.0)
    clamp: tuple[float, float] | None = CLAMP
    variances: tuple[Array, ...] | None = None
    heun: bool = False
    ahead: int = 0

    def __post_init__(self) -> None:
        """Refuse shapes that do not fit together."""
        hidden = len(self.weights[0]) if self.weights else 0
        expected = ((hidden, 3), (hidden, hidden + 1), (2, hidden + 1))
        for name, layers in (("weights", self.weights), ("variances", self.variances or self.weights)):
            shapes = tuple(w.shape for w in layers)
            if shapes != expected or hidden == 0:
                raise AnalysisError(f"{name} have shapes {shapes}; a network of width {hidden} needs {expected}")
        rows = len(self.rates)
        if self.rates.shape != (rows, 3) or self.embedding.shape != (rows, hidden):
            raise AnalysisError(
                f"rates {self.rates.shape} and embedding {self.embedding.shape} do not fit: need (rows, 3) and "
                f"(rows, {hidden})"
            )
        if self.steps < 1:
            raise AnalysisError(f"{rows} rows make {self.steps} steps; at least 1 is needed")

    @property
    def hidden(self) -> int:
        """Width of the hidden layers."""
        return len(self.weights[0])

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.rates) - self.ahead

    @property
    def stochastic(self) -> bool:
        """Whether any step has diffusion."""
        return bool(np.any(self.rates[:, 2]))

    @property
    def flop_per_step(self) -> int:
        """Multiplications and additions of the weights without biases; read noise not counted (504 at width 14)."""
        return (2 if self.heun else 1) * 2 * sum(int(w.shape[0]) * (int(w.shape[1]) - 1) for w in self.weights)

    @classmethod
    def of_drive(
        cls,
        network: AnalogNetwork,
        drive: Drive,
        *,
        substeps: int = 1,
        heun: bool = False,
        converters: bool = False,
        read_noise: CellNoise | None = None,
    ) -> Equation:
        """Return the loop around `network`, every tick held for `substeps` steps.

        `converters` rounds the tables of coefficients and embedding to the codes of the board's 12-bit converters.
        """
        if substeps < 1:
            raise AnalysisError(f"a tick takes at least one step, not {substeps}")
        a, b, embedding = drive.a, drive.b, drive.embedding
        if converters:
            a, b = -drive.kf * quantised(drive.fx), drive.kg * quantised(drive.g2)
            embedding = quantised(embedding * VOLT_PER_EMBEDDING) / VOLT_PER_EMBEDDING
        h = 1.0 / (drive.ticks * substeps)
        noise = np.zeros(drive.ticks) if drive.noise is None else drive.noise
        rates = np.repeat(np.stack([1.0 + h * a, h * b, np.sqrt(h) * noise], axis=1), substeps, axis=0)
        weights = [w.copy() for w in network.weights]
        for w, offset in zip(weights, network.offsets or (), strict=False):
            w[:, -1] += offset
        shift = (float(h * drive.trim[0]), float(h * drive.trim[1]))
        made = cls(
            tuple(weights), np.repeat(embedding, substeps, axis=0), rates, drive.prior.std, shift, network.clamp,
            heun=heun,
        )  # fmt: skip
        return made if read_noise is None else made.with_read_noise(network, read_noise)

    @classmethod
    def of_score(
        cls,
        weights: Sequence[Array],
        embedding: Array,
        scale: Array,
        sampler: Sampler,
        prior: float,
        sde: VPSDE | None = None,
        clamp: tuple[float, float] | None = None,
    ) -> Equation:
        """Return what `samplers.sample` solves for the score scale(t) n(x, embedding(t)).

        `embedding` (points, h) and `scale` (points,) are at the sampler's times, linspace(horizon, t_end, points).
        """
        sde = sde or VPSDE()
        times = np.linspace(sde.horizon, sampler.t_end, sampler.points)
        if scale.shape != times.shape:
            raise AnalysisError(f"scale has shape {scale.shape}, the sampler has {sampler.points} times")
        h = (sde.horizon - sampler.t_end) / (sampler.points - 1)
        stochastic, heun = sampler.method == "euler-maruyama", sampler.method == "heun"
        speed = h * sampler.speed * sde.beta(times)
        spread = np.sqrt(speed) if stochastic else np.zeros_like(speed)
        rates = np.stack([1.0 + 0.5 * speed, (1.0 if stochastic else 0.5) * speed * scale, spread], axis=1)
        rows = sampler.points if heun else sampler.points - 1
        return cls(
            tuple(np.asarray(w, dtype=np.float64) for w in weights), embedding[:rows], rates[:rows], prior, clamp=clamp,
            heun=heun, ahead=1 if heun else 0,
        )  # fmt: skip

    def with_read_noise(self, network: AnalogNetwork, noise: CellNoise) -> Equation:
        """Return the equation whose cells, those of `network`, fluctuate by `noise` from step to step."""
        g_fixed = network.window.g_fixed
        pairs = zip(network.conductances, network.gains, strict=True)
        return replace(self, variances=tuple((noise.sigma(g, g_fixed) * gain) ** 2 for g, gain in pairs))

    def with_weight_noise(self, fraction: float) -> Equation:
        """Return the equation whose weights fluctuate by `fraction` of themselves from step to step."""
        return replace(self, variances=tuple((fraction * w) ** 2 for w in self.weights))
