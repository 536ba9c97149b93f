"""The closed loop in torch for all classes at once: tables with one embedding a class, flow or stochastic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from analysis.diffusion.flow import interpolation, tick_centres
from analysis.diffusion.hardware import EMBEDDING_LIMIT, N_HIDDEN, N_TICKS, Drive
from analysis.diffusion.network import forward, tensor
from analysis.diffusion.sde import VPSDE, Prior

Array = npt.NDArray[np.float64]


class ClassKnobs:
    """The tables of one mode, and smooth corrections to them, all zero at first.

    Embedding = time (knots, 14, interpolated linearly) + class (n, 14), within what the converters reach; coefficients
    a and b (ticks,) are corrected by factors; each class has a trim (2,). `noise` (ticks,) is fixed.
    """

    def __init__(self, a: Array, b: Array, noise: Array | None, embedding: Array, trim: Array, knots: int) -> None:
        """Start from tables a, b, noise (ticks,), embedding (n, ticks, 14) and trim (n, 2)."""
        self._a, self._b = tensor(a), tensor(b)
        self._noise = noise
        self._start, self._trim = tensor(embedding), tensor(trim)
        self._matrix = interpolation(tick_centres(len(a)), knots)
        self.time = torch.zeros(knots, N_HIDDEN, requires_grad=True)
        self.classes = torch.zeros(len(embedding), N_HIDDEN, requires_grad=True)
        self.log_coefficients = torch.zeros(knots, 2, requires_grad=True)
        self.trim = torch.zeros(len(embedding), 2, requires_grad=True)

    @classmethod
    def for_mode(cls, mode: str, speed: float, sde: VPSDE, time: torch.Tensor, classes: torch.Tensor) -> ClassKnobs:
        """Return the tables of the reverse equation, n / std being the score, for embeddings that were learned.

        `ode` is the probability flow; `sde` has twice the score's share, and noise. `speed` multiplies beta.
        """
        tau = tick_centres(N_TICKS)
        t = sde.horizon * (1.0 - tau)
        beta = speed * sde.beta(t) * sde.horizon
        share = 1.0 if mode == "sde" else 0.5
        matrix = interpolation(tau, len(time))
        embedding = (matrix @ time.detach())[None] + classes.detach()[:, None]
        noise = np.sqrt(beta) if mode == "sde" else None
        trim = np.zeros((len(classes), 2))
        return cls(0.5 * beta, share * beta / sde.std(t), noise, embedding.numpy(), trim, len(time))

    @classmethod
    def of_drives(cls, drives: Sequence[Drive], knots: int) -> ClassKnobs:
        """Return the tables of drives that differ in embedding and trim only."""
        first = drives[0]
        embedding = np.stack([d.embedding for d in drives])
        return cls(first.a, first.b, first.noise, embedding, np.stack([d.trim for d in drives]), knots)

    def parameters(self, trim: bool = False) -> list[torch.Tensor]:
        """What training may move; the trims only on a chip, where there are offsets."""
        return [self.time, self.classes, self.log_coefficients, *([self.trim] if trim else [])]

    def run(
        self,
        weights: Sequence[torch.Tensor],
        x: torch.Tensor,
        steps: int,
        clamp: tuple[float, float],
        rng: np.random.Generator,
        offsets: Sequence[torch.Tensor] | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """Return where `steps` Euler(-Maruyama) steps take points x (k, n * m, 2): for each of n classes (k, m, 2)."""
        a, b, embedding, trim = self._tables()
        count = len(embedding)
        a, b = a.reshape(steps, -1).mean(1), b.reshape(steps, -1).mean(1)
        embedding = embedding.reshape(count, steps, -1, N_HIDDEN).mean(2)
        each = x.shape[1] // count
        trim = trim.repeat_interleave(each, 0)
        spread = None if self._noise is None else np.sqrt((self._noise.reshape(steps, -1) ** 2).mean(1) / steps)
        h = 1.0 / steps
        for k in range(steps):
            n, _ = forward(weights, embedding[:, k].repeat_interleave(each, 0), x, clamp, offsets)
            x = x + h * (a[k] * x + b[k] * n + trim)
            if spread is not None:
                x = x + tensor(spread[k] * rng.standard_normal(tuple(x.shape)))
        return tuple(x.reshape(len(x), count, each, 2).unbind(1))

    def drives(self, prior: Prior) -> tuple[Drive, ...]:
        """Return the tables of each class as a drive for the board."""
        a, b, embedding, trim = (part.detach().numpy().astype(np.float64) for part in self._tables())
        return tuple(
            Drive.from_coefficients(a, b, own, prior, trim=shift, noise=self._noise)
            for own, shift in zip(embedding, trim, strict=True)
        )

    def _tables(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        factors = torch.exp(self._matrix @ self.log_coefficients)
        embedding = self._start + (self._matrix @ self.time)[None] + self.classes[:, None]
        embedding = embedding.clamp(-EMBEDDING_LIMIT, EMBEDDING_LIMIT)
        return self._a * factors[:, 0], self._b * factors[:, 1], embedding, self._trim + self.trim
