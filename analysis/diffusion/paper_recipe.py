"""Training as published: no hardware in the loop but multiplicative weight noise.

Adam, batch 512, gradients clipped to norm .1, 200,000 iterations; loss mean((s std + z)^2) + alpha sum h[h > 1.5] with
score s = 5 n. Several seeds are trained at once, each with its own generator, so that a seed's result does not depend
on its company.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from analysis.diffusion.hardware import N_TICKS, Drive
from analysis.diffusion.model import TrainedModel
from analysis.diffusion.network import draw_frequencies, forward, initial_weights, tensor, time_features
from analysis.diffusion.sde import VPSDE, Prior
from analysis.mapping import ConductanceWindow

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PaperRecipe:
    """The published recipe for the circle. 200,000 iterations of five networks take about 12 minutes of one core.

    `weight_noise` is the standard deviation relative to the weight; draws beyond `weight_noise_limit` are replaced by
    uniform ones within it. `speed` is the factor on beta when sampling.
    """

    name: str = "paper"
    iterations: int = 200_000
    batch: int = 512
    learning_rate: float = 2e-4
    final_rate: float = 2e-4
    weight_decay: float = 3e-5
    alpha: float = 1e-7
    clip: float = 0.1
    weight_noise: float = 0.1
    weight_noise_limit: float = 0.2
    amp: float = 5.0
    t_min: float = 1e-5
    speed: float = 2.0


def train_paper(recipe: PaperRecipe, seeds: Sequence[int], data: Array, sde: VPSDE | None = None) -> list[TrainedModel]:
    """Train one network a seed on `data` (n, 2) and return them in the seeds' order."""
    sde = sde or VPSDE()
    rngs = [np.random.default_rng([seed, 1]) for seed in seeds]
    frequencies = [draw_frequencies(rng) for rng in rngs]
    started = [initial_weights(rng) for rng in rngs]
    weights = [tensor(np.stack([w[i] for w in started])).requires_grad_() for i in range(3)]
    optimiser = torch.optim.Adam(weights, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(recipe.iterations, 1), recipe.final_rate)
    for _ in range(recipe.iterations):
        batches = [_batch(recipe, rng, data, sde, w) for rng, w in zip(rngs, frequencies, strict=True)]
        x, z, std, embedding = (tensor(np.stack(part)) for part in zip(*batches, strict=True))
        noise = [tensor(np.stack([_weight_noise(recipe, rng, w.shape[1:]) for rng in rngs])) for w in weights]
        noisy = [w * (1.0 + n) for w, n in zip(weights, noise, strict=True)]
        output, hidden = forward(noisy, embedding, x, None)
        # One mean for each seed, added: seeds share no gradient.
        loss = ((recipe.amp * output * std + z) ** 2).mean(dim=(1, 2)).sum()
        loss = loss + recipe.alpha * sum((h * (h > 1.5)).sum() for h in hidden)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        _clip_each(weights, recipe.clip)
        optimiser.step()
        decay.step()
    window = ConductanceWindow()
    models = []
    for index, seed in enumerate(seeds):
        final = tuple(w[index].detach().numpy().astype(np.float64) for w in weights)
        scales = tuple(window.largest_scale(w) for w in final)
        models.append(TrainedModel(recipe.name, seed, final, scales, published_drive(recipe, frequencies[index], sde)))
    return models


def published_drive(recipe: PaperRecipe, frequencies: Array, sde: VPSDE) -> Drive:
    """Return the published firmware's tables: beta of the reversed time at the start of each tick, from N(0, I)."""
    t = 1.0 - np.arange(N_TICKS) / N_TICKS
    beta = sde.beta(t)
    # fx = -beta / 4 and g2 = beta coef / 2 with coef .5; the loop gains make of them speed * beta / 2 * (x + amp n).
    return Drive(
        -0.25 * beta,
        0.25 * beta,
        time_features(frequencies, t),
        2.0 * recipe.speed,
        2.0 * recipe.amp * recipe.speed,
        Prior.standard(),
    )


def _batch(
    recipe: PaperRecipe, rng: np.random.Generator, data: Array, sde: VPSDE, frequencies: Array
) -> tuple[Array, Array, Array, Array]:
    t = rng.uniform(recipe.t_min, 1.0, recipe.batch)
    std = sde.std(t)[:, None]
    z = rng.standard_normal((recipe.batch, 2))
    x = sde.mean(t)[:, None] * data[rng.integers(0, len(data), recipe.batch)] + std * z
    return x, z, std, time_features(frequencies, t)


def _weight_noise(recipe: PaperRecipe, rng: np.random.Generator, shape: Sequence[int]) -> Array:
    noise = rng.normal(0.0, recipe.weight_noise, tuple(shape))
    limit = recipe.weight_noise_limit
    return np.where(np.abs(noise) > limit, rng.uniform(-limit, limit, noise.shape), noise)


def _clip_each(weights: Sequence[torch.Tensor], limit: float) -> None:
    """Scale each network's gradient down to the norm `limit`."""
    grads = [w.grad for w in weights if w.grad is not None]
    norm = torch.sqrt(sum(((g * g).sum(dim=(1, 2)) for g in grads), torch.zeros(len(grads[0]))))
    factor = (limit / (norm + 1e-6)).clamp(max=1.0)[:, None, None]
    for g in grads:
        g.mul_(factor)
