"""The decoder as cells: linear layers and two transposed convolutions whose weights are conductances around g_fixed.

A layer's pre-activation, in units of 0.1 V, is  z = gain * (u @ v)  with u = (G - g_fixed) / g_fixed in the window's
range and v the inputs, clamped to -2..4 units, and a constant unit. Between layers stands a rectifier, behind the last
one a sigmoid whose argument is z. Inputs are latent points in software units (latent coordinate / 8).

Shapes as published: linear 2-16-144, rectified, as 16 maps of 3x3; transposed convolutions 16-8 and 8-1, kernel 3x3,
stride 2, padding 1, output padding 1: 3 -> 6 -> 12. `hidden` None leaves the layer of 16 out, as the paper's text has
it: one linear layer and two deconvolutions.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import conv_transpose2d

from analysis.diffusion.hardware import CLAMP, WriteNoise
from analysis.diffusion.network import tensor
from analysis.errors import AnalysisError
from analysis.mapping import ConductanceWindow

Array = npt.NDArray[np.float64]

MAPS, MID = 16, 8
KERNEL, STRIDE = 3, 2
SMALL, MIDDLE, LARGE = 3, 6, 12


@dataclass(frozen=True)
class DecoderWeights:
    """Weights of the decoder as the cells should realise them, before rounding.

    `u` has for each linear layer (n_out, n_in + 1), the bias last, and for each transposed convolution
    (C_out, 9 C_in + 1): columns ordered input channel, kernel row, kernel column, then the bias. `gains` are units of
    pre-activation per unit of u. `window` is the one that u was trained for.
    """

    u: tuple[Array, ...]
    gains: tuple[float, ...]
    window: ConductanceWindow = field(default_factory=ConductanceWindow)

    def __post_init__(self) -> None:
        """Check the shapes."""
        found = tuple(part.shape for part in self.u)
        if found not in (layer_shapes(None), *(layer_shapes(n) for n in (found[0][0],))):
            raise AnalysisError(f"no decoder has layers of shapes {found}")
        if len(self.gains) != len(self.u):
            raise AnalysisError(f"{len(self.u)} layers but {len(self.gains)} gains")

    @property
    def n_linear(self) -> int:
        """Number of linear layers, 1 or 2."""
        return len(self.u) - 2

    @property
    def n_weights(self) -> int:
        """Number of weights and biases."""
        return sum(part.size for part in self.u)

    def quantised(self) -> DecoderWeights:
        """Return the weights on the window's levels."""
        g_fixed = self.window.g_fixed
        parts = tuple(self.window.quantise((u + 1.0) * g_fixed) / g_fixed - 1.0 for u in self.u)
        return DecoderWeights(parts, self.gains, self.window)

    def decode(self, latents: Array) -> Array:
        """Return images (n, 12, 12) in [0, 1] of latent points (n, 2): the digital decoder, clamps included."""
        weights = [tensor(u * gain) for u, gain in zip(self.u, self.gains, strict=True)]
        with torch.no_grad():
            logits = decoder_forward(weights, tensor(latents))
            return np.asarray(torch.sigmoid(logits).numpy(), dtype=np.float64)

    def feature_maps(self, latent: Array) -> tuple[Array, Array, Array]:
        """Return the maps of one latent point (2,): (16, 3, 3), (8, 6, 6) and the image (12, 12)."""
        weights = [tensor(u * gain) for u, gain in zip(self.u, self.gains, strict=True)]
        with torch.no_grad():
            small, middle, logits = _stages(weights, tensor(latent)[None])
            image = torch.sigmoid(logits)
        parts = (np.asarray(part[0].numpy(), dtype=np.float64) for part in (small, middle, image))
        first, second, third = parts
        return first, second, third


def layer_shapes(hidden: int | None) -> tuple[tuple[int, int], ...]:
    """Shapes of u of all layers."""
    flat = MAPS * SMALL * SMALL
    linear = ((flat, 3),) if hidden is None else ((hidden, 3), (flat, hidden + 1))
    return (*linear, (MID, MAPS * KERNEL**2 + 1), (1, MID * KERNEL**2 + 1))


def decoder_forward(weights: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Return the sigmoid's arguments (n, 12, 12) for latent points x (n, 2) under weights u * gain."""
    return _stages(weights, x)[2]


def _stages(weights: list[torch.Tensor], x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    low, high = CLAMP
    v = x
    for w in weights[:-2]:
        v = torch.relu(v.clamp(low, high) @ w[:, :-1].T + w[:, -1])
    small = v.reshape(-1, MAPS, SMALL, SMALL)
    middle = torch.relu(_transposed(weights[-2], small, MAPS))
    return small, middle, _transposed(weights[-1], middle, MID)[:, 0]


def _transposed(w: torch.Tensor, maps: torch.Tensor, channels: int) -> torch.Tensor:
    kernel = w[:, :-1].reshape(-1, channels, KERNEL, KERNEL).transpose(0, 1)
    return conv_transpose2d(maps.clamp(*CLAMP), kernel, w[:, -1], stride=STRIDE, padding=1, output_padding=1)


class DecoderCells:
    """The decoder's conductances in training: u inside the window, rounded to levels, with write noise."""

    def __init__(
        self, hidden: int | None, window: ConductanceWindow, noise: WriteNoise, rng: np.random.Generator
    ) -> None:
        self._window, self._noise, self._rng = window, noise, rng
        self.low, self.high = window.g_min / window.g_fixed - 1.0, window.g_max / window.g_fixed - 1.0
        shapes = layer_shapes(hidden)
        self.u = [tensor(rng.uniform(-0.5, 0.5, shape)).requires_grad_() for shape in shapes]
        start = ([4.0] if hidden is None else [4.0, 1.0]) + [0.7, 2.0]
        self.log_gains = torch.log(tensor(start)).requires_grad_()

    def draw(self) -> list[torch.Tensor]:
        """Return every layer's u * gain after rounding and one draw of the write noise."""
        step, g_fixed = self._window.step / self._window.g_fixed, self._window.g_fixed
        drawn = []
        for u, log_gain in zip(self.u, self.log_gains, strict=True):
            # Rounding passes the gradient straight through.
            level = u + (torch.round((u - self.low) / step) * step + self.low - u).detach()
            g = (level.detach().numpy().astype(np.float64) + 1.0) * g_fixed
            error = self._rng.standard_normal(u.shape) * (self._noise.sigma(g) / g_fixed)
            drawn.append((level + tensor(error)) * torch.exp(log_gain))
        return drawn

    def clip(self) -> None:
        """Bring every conductance back into the window."""
        with torch.no_grad():
            for u in self.u:
                u.clamp_(self.low, self.high)

    def weights(self) -> DecoderWeights:
        """Return what was learned."""
        gains = np.exp(self.log_gains.detach().numpy().astype(np.float64))
        u = tuple(part.detach().numpy().astype(np.float64) for part in self.u)
        return DecoderWeights(u, tuple(float(g) for g in gains), self._window)
