"""The closed loop in torch: the knobs that stay digital, and trajectories that gradients run back through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from analysis.diffusion.hardware import EMBEDDING_LIMIT, N_HIDDEN, Drive
from analysis.diffusion.network import forward, tensor
from analysis.diffusion.sde import Prior

Array = npt.NDArray[np.float64]


def interpolation(tau: Array, knots: int) -> torch.Tensor:
    """Return the matrix (n, knots) that interpolates linearly from `knots` even knots on [0, 1] to `tau` (n,)."""
    position = np.asarray(tau) * (knots - 1)
    left = np.minimum(position.astype(np.int64), knots - 2)
    share = position - left
    matrix = np.zeros((len(position), knots))
    rows = np.arange(len(position))
    matrix[rows, left] = 1.0 - share
    matrix[rows, left + 1] = share
    return tensor(matrix)


def tick_centres(ticks: int) -> Array:
    """Return the middle of each tick on the run's time from 0 to 1."""
    return (np.arange(ticks) + 0.5) / ticks


@dataclass(frozen=True)
class Tables:
    """The drive's tables as tensors, `steps` rows: coefficients a, b (steps,), embedding (steps, 14), trim (2,)."""

    a: torch.Tensor
    b: torch.Tensor
    embedding: torch.Tensor
    trim: torch.Tensor

    def coarse(self, steps: int) -> Tables:
        """Return the tables averaged to `steps` rows, which must divide theirs."""
        return Tables(
            self.a.reshape(steps, -1).mean(1),
            self.b.reshape(steps, -1).mean(1),
            self.embedding.reshape(steps, -1, N_HIDDEN).mean(1),
            self.trim,
        )

    def drive(self, prior: Prior) -> Drive:
        """Return the tables as a drive for the board."""
        a, b, embedding, trim = (
            part.detach().numpy().astype(np.float64) for part in (self.a, self.b, self.embedding, self.trim)
        )
        return Drive.from_coefficients(a, b, embedding, prior, trim=trim)


class Knobs:
    """Smooth corrections, all zero at first, to a drive's tables and to the layers' gains.

    Corrections are linear between `knots` even knots, so that a table of 200 ticks has few parameters; coefficients
    and gains are corrected by factors and keep their signs.
    """

    def __init__(self, a: Array, b: Array, embedding: Array, trim: Array, knots: int, n_layers: int = 3) -> None:
        """Start from tables a, b (ticks,), embedding (ticks, 14) and trim (2,)."""
        self._start = tuple(tensor(part) for part in (a, b, embedding, trim))
        self._matrix = interpolation(tick_centres(len(a)), knots)
        self.embedding = torch.zeros(knots, N_HIDDEN, requires_grad=True)
        self.log_coefficients = torch.zeros(knots, 2, requires_grad=True)
        self.log_gains = torch.zeros(n_layers, requires_grad=True)
        self.trim = torch.zeros(2, requires_grad=True)

    def embedding_at(self, tau: Array) -> torch.Tensor:
        """Return the correction of the embedding at times `tau` (n,) of the run: (n, 14)."""
        return interpolation(tau, len(self.embedding)) @ self.embedding

    def tables(self) -> Tables:
        """Return the corrected tables; the embedding stays within what its converters reach."""
        a, b, embedding, trim = self._start
        factors = torch.exp(self._matrix @ self.log_coefficients)
        corrected = (embedding + self._matrix @ self.embedding).clamp(-EMBEDDING_LIMIT, EMBEDDING_LIMIT)
        return Tables(a * factors[:, 0], b * factors[:, 1], corrected, trim + self.trim)

    def gained(self, weights: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Return the layers' weights under the corrected gains."""
        return [w * g for w, g in zip(weights, torch.exp(self.log_gains), strict=True)]


def run_flow(
    weights: Sequence[torch.Tensor],
    tables: Tables,
    x: torch.Tensor,
    clamp: tuple[float, float],
    offsets: Sequence[torch.Tensor] | None = None,
) -> torch.Tensor:
    """Return where Euler steps over the tables' rows take points x (k, n, 2)."""
    h = 1.0 / len(tables.a)
    for a, b, embedding in zip(tables.a, tables.b, tables.embedding, strict=True):
        n, _ = forward(weights, embedding, x, clamp, offsets)
        x = x + h * (a * x + b * n + tables.trim)
    return x
