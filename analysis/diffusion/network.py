"""The score network in torch: 2-14-14-2, ReLU, one time embedding added before both ReLUs.

Weights are a sequence of three tensors (k, n_out, n_in + 1), bias last, for k networks at once: seeds in training, or
draws of the write noise on one network. Clamps are those of the circuit, or none for the network as published.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from analysis.diffusion.hardware import LAYER_SHAPES, N_HIDDEN

Array = npt.NDArray[np.float64]


def time_features(frequencies: Array, t: npt.ArrayLike) -> Array:
    """Return the published embedding [sin, cos](2 pi W t): frequencies (7,), t (n,) -> (n, 14)."""
    phase = 2.0 * np.pi * np.asarray(t, dtype=np.float64)[..., None] * frequencies
    return np.concatenate([np.sin(phase), np.cos(phase)], axis=-1)


def draw_frequencies(rng: np.random.Generator) -> Array:
    """Draw the seven fixed frequencies W ~ N(0, 1)."""
    return rng.standard_normal(N_HIDDEN // 2)


def initial_weights(rng: np.random.Generator) -> tuple[Array, ...]:
    """Draw weights and biases as torch's Linear does: uniform within 1 / sqrt(n_in)."""
    return tuple(rng.uniform(-1.0, 1.0, shape) / np.sqrt(shape[1] - 1) for shape in LAYER_SHAPES)


def affine(weights: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Return weights (k, o, i + 1) applied to v (k, b, i) and the constant unit: (k, b, o)."""
    return torch.baddbmm(weights[:, None, :, -1], v, weights[:, :, :-1].transpose(1, 2))


def forward(
    weights: Sequence[torch.Tensor],
    embedding: torch.Tensor,
    x: torch.Tensor,
    clamp: tuple[float, float] | None,
    offsets: Sequence[torch.Tensor] | None = None,
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return the output n (k, b, 2) at x (k, b, 2) and both hidden layers (k, b, 14).

    `embedding` is anything that broadcasts to (k, b, 14), `offsets` to each layer's pre-activation.
    """
    v, hidden = x, []
    for index, w in enumerate(weights):
        if clamp is not None:
            v = v.clamp(*clamp)
        v = affine(w, v)
        if offsets is not None:
            v = v + offsets[index]
        if index < len(weights) - 1:
            v = torch.relu(v + embedding)
            hidden.append(v)
    return v, hidden


def tensor(values: npt.ArrayLike) -> torch.Tensor:
    """Return values as a float32 tensor of their own."""
    return torch.tensor(np.asarray(values), dtype=torch.float32)
