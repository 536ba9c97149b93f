"""The decoder on resistive arrays: conductances in, images out, with its circuits and what it costs.

Every layer is `analysis.tiling`'s patches: currents G v of a row minus g_fixed times the sum of its driven lines, times
the layer's gain. Between layers stands a rectifier, at the end a sigmoid:

* rectifier: an operational amplifier with a diode in its loop. The loop divides the diode's knee; what remains is
  v_out = k ln(1 + exp(v / k)) with k = 2 mV (a diode's 26 to 50 mV over a loop gain of at least 20 dB).
* sigmoid: a bipolar differential pair. Its collector current is exactly I / (1 + exp(-v / V_T)); an attenuator makes
  one unit (0.1 V) V_T = kT / q. Off the design temperature the argument is wrong by the same factor, and the pair has
  an offset.

Inputs of every array are clamped to -0.2..0.4 V, as everywhere on the board.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from analysis.diffusion.hardware import CLAMP, UNIT_VOLT
from analysis.letters.data import SIDE
from analysis.letters.decoder import MAPS, MID, MIDDLE, SMALL, DecoderWeights
from analysis.mapping import ConductanceWindow
from analysis.tiling import Tiling, linear, tile, transposed_convolution

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class DecoderCircuits:
    """Rectifiers and the sigmoid's pair: `knee` and `pair_offset` in V, `pair_temperature` / design temperature."""

    knee: float = 2e-3
    pair_offset: float = 1e-3
    pair_temperature: float = 1.0

    def rectify(self, z: Array) -> Array:
        """Return the rectifier's output for z, both in units."""
        knee = self.knee / UNIT_VOLT
        return np.asarray(knee * np.logaddexp(0.0, z / knee)) if knee > 0.0 else np.maximum(z, 0.0)

    def squash(self, z: Array) -> Array:
        """Return the share of the pair's current, 0..1, for z in units (arguments of the sigmoid)."""
        # The offset is that of the pair's input, behind the attenuator of V_T / 0.1 V.
        argument = (z + self.pair_offset / 25.85e-3) / self.pair_temperature
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * argument)))


@dataclass(frozen=True)
class DecoderOnArrays:
    """A decoder as conductances (arrays, 32, 32) in S on a tiling, NaN where no cell is used.

    `read_noise` is the relative standard deviation of a cell's conductance from pass to pass.
    """

    tiling: Tiling
    conductances: Array
    gains: tuple[float, ...]
    window: ConductanceWindow = field(default_factory=ConductanceWindow)
    circuits: DecoderCircuits = field(default_factory=DecoderCircuits)
    read_noise: float = 0.0

    def decode(self, latents: Array, rng: np.random.Generator | None = None) -> Array:
        """Return images (n, 12, 12) in [0, 1] of latent points (n, 2), software units; read noise needs `rng`."""
        return self._run(latents, rng)[0]

    def array_energy(self, latents: Array, pass_time: float) -> float:
        """Return mean energy of one image in the cells and shared negative weights, J: V^2 G t over all passes."""
        return self._run(latents, None)[1] * pass_time

    def _run(self, latents: Array, rng: np.random.Generator | None) -> tuple[Array, float]:
        parts = self.tiling.patch_conductances(self.conductances)
        g_fixed = self.window.g_fixed
        v = np.asarray(latents, dtype=np.float64)
        power = 0.0
        for layer, size in enumerate(self.tiling.outputs):
            lines = np.clip(v, *CLAMP)
            # Behind the inputs the constant unit, and at index -1 a line at 0 V.
            lines = np.hstack([lines, np.ones((len(v), 1)), np.zeros((len(v), 1))])
            z = np.full((len(v), size), np.nan)
            gain = self.gains[layer] / g_fixed
            for patch, g in zip(self.tiling.patches, parts, strict=True):
                if patch.layer != layer:
                    continue
                # A piece that was left out has no cells, and no negative weight counts its lines.
                weights = np.where(np.isfinite(g), g - g_fixed, 0.0)
                driven = lines[:, patch.inputs]
                currents = driven @ weights.T
                if self.read_noise > 0.0 and rng is not None:
                    spread = np.sqrt(driven**2 @ (np.nan_to_num(g) ** 2).T)
                    currents = currents + self.read_noise * spread * rng.standard_normal(currents.shape)
                z[:, patch.outputs.ravel()] = gain * currents.reshape(len(v), -1)
                squares = UNIT_VOLT**2 * (driven**2).mean(axis=0)
                sums = UNIT_VOLT**2 * (driven.sum(axis=2) ** 2).mean(axis=0)
                power += float((squares @ np.nan_to_num(g).T).sum()) + float(sums.sum()) * len(g) * g_fixed
            last = layer == self.tiling.layers - 1
            v = self.circuits.squash(z) if last else self.circuits.rectify(z)
        return v.reshape(-1, SIDE, SIDE), power


@dataclass(frozen=True)
class DecoderCosts:
    """Assumed costs of an integrated decoder, as in `analysis.projection`: 12-bit converters at 10 MS/s.

    `settle` s for a layer to settle, `convert` s for a conversion; J a conversion; W an amplifier while it is used.
    """

    settle: float = 100e-9
    convert: float = 100e-9
    input_conversion: float = 20e-12
    output_conversion: float = 100e-12
    amplifier_power: float = 100e-6


@dataclass(frozen=True)
class TilingReport:
    """What a decoder takes, and one image in it: counts, s and J (projected: see `DecoderCosts`)."""

    scheme: str
    arrays: int
    cells: int
    zeros: int
    utilisation: float
    passes: tuple[int, ...]
    input_conversions: int
    output_conversions: int
    seconds: float
    energies: dict[str, float]

    @property
    def energy(self) -> float:
        """Joules an image."""
        return sum(self.energies.values())


def tile_decoder(weights: DecoderWeights, scheme: str = "reused") -> Tiling:
    """Return the decoder's place on 32x32 arrays; `scheme` is one of `analysis.tiling.SCHEMES`."""
    patches, outputs = [], []
    for layer, u in enumerate(weights.u[:-2]):
        patches += linear(layer, u.shape[0], u.shape[1] - 1)
        outputs.append(u.shape[0])
    first = weights.n_linear
    patches += transposed_convolution(first, MID, MAPS, SMALL, scheme)
    patches += transposed_convolution(first + 1, 1, MID, MIDDLE, scheme)
    return tile(patches, (*outputs, MID * MIDDLE**2, SIDE**2), scheme)


def target_conductances(weights: DecoderWeights, tiling: Tiling, quantised: bool = True) -> Array:
    """Return target conductances (arrays, 32, 32), S, on the window's levels if `quantised`; NaN where unused.

    A structural zero is g_fixed itself and lies on no level.
    """
    used = weights.quantised() if quantised else weights
    g_fixed = weights.window.g_fixed
    return tiling.spread([(u + 1.0) * g_fixed for u in used.u], g_fixed)


def place_decoder(weights: DecoderWeights, stuck: Array, scheme: str = "reused") -> tuple[Tiling, Array]:
    """Return the decoder's place around `stuck` cells (arrays, 32, 32; NaN: good), and its targets there, S.

    The arrays may be more than are needed.
    """
    tiling = tile_decoder(weights, scheme)
    target = target_conductances(weights, tiling)
    own = stuck[: tiling.arrays]
    if np.isfinite(own).any():
        tiling = tiling.around(target, own)
        target = target_conductances(weights, tiling)
    return tiling, target


def on_arrays(
    weights: DecoderWeights, tiling: Tiling, measured: Array | None = None, read_noise: float = 0.0
) -> DecoderOnArrays:
    """Return the decoder with measured conductances (arrays, 32, 32), S, or ideal cells at their levels."""
    conductances = target_conductances(weights, tiling) if measured is None else measured
    return DecoderOnArrays(tiling, conductances, weights.gains, weights.window, read_noise=read_noise)


def tiling_report(decoder: DecoderOnArrays, latents: Array, costs: DecoderCosts | None = None) -> TilingReport:
    """Return what the decoder takes; the arrays' energy is that of `latents` (n, 2).

    Reused kernels need a converter for every input and output of a pass, because outputs wait in a memory for the next
    layer. Unrolled, voltages run through from the two latent coordinates to the pixels.
    """
    costs, tiling = costs or DecoderCosts(), decoder.tiling
    passes = tuple(tiling.passes(layer) for layer in range(tiling.layers))
    if tiling.scheme == "reused":
        inputs = sum(tiling.driven_lines(layer) for layer in range(tiling.layers))
        outputs = sum(tiling.read_lines(layer) for layer in range(tiling.layers))
        seconds = sum(passes) * (costs.settle + costs.convert)
        busy = sum(tiling.read_lines(layer) for layer in range(tiling.layers)) * (costs.settle + costs.convert)
    else:
        inputs, outputs = 2, tiling.outputs[-1]
        seconds = tiling.layers * costs.settle + costs.convert
        busy = sum(tiling.outputs) * seconds
    energies = {
        "arrays": decoder.array_energy(latents, costs.settle if tiling.scheme == "reused" else seconds),
        "amplifiers": busy * costs.amplifier_power,
        "input converters": inputs * costs.input_conversion,
        "output converters": outputs * costs.output_conversion,
    }
    return TilingReport(
        tiling.scheme, tiling.arrays, tiling.cells, tiling.zeros, tiling.utilisation, passes, inputs, outputs,
        seconds, energies,
    )  # fmt: skip
