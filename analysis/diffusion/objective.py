"""What training minimises: denoising score matching, and matching of what the finished flow puts out.

*Denoising.* The usual target of the noise prediction is the noise of one pair (x0, x). Averaged over the posterior of
x0 given x, computed on a batch of the data, it has far less variance and the same minimum (Xu, Tong, Jaakkola 2023,
"Stable target field for reduced variance score estimation").

*Distribution matching.* A network of 282 noisy cells can't be right everywhere, and score matching does not know which
of its errors the flow forgives. Here whole trajectories are run and their end points moved against the gradient of
KL(generated || data): the difference of both distributions' smoothed scores, each estimated from points (the idea of
Yin et al. 2024, "Distribution matching distillation", with kernel estimates instead of networks). Only data is used,
never the density that generated it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from analysis.diffusion.network import tensor
from analysis.diffusion.sde import VPSDE

Array = npt.NDArray[np.float64]


def denoising_batch(
    data: torch.Tensor, t: Array, sde: VPSDE, rng: np.random.Generator, references: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return noised points x (b, 2) at times `t` (b,) and the posterior mean of the noise in them (b, 2)."""
    m, s = tensor(sde.mean(t))[:, None], tensor(sde.std(t))[:, None]
    x0 = data[rng.integers(0, len(data), len(t))]
    x = m * x0 + s * tensor(rng.standard_normal((len(t), 2)))
    reference = data[rng.integers(0, len(data), references)]
    distance = torch.cat([_squared_distances(x, reference, m), ((x - m * x0) ** 2).sum(1, keepdim=True)], 1)
    share = torch.softmax(-distance / (2.0 * s * s), 1)
    posterior = share[:, :-1] @ reference + share[:, -1:] * x0
    return x, (x - m * posterior) / s


def smoothed_score(
    x: torch.Tensor, points: torch.Tensor, width: torch.Tensor, exclude_own: bool = False
) -> torch.Tensor:
    """Return the score at x (k, b, 2) of the kernel estimate on points (k, r, 2) with Gaussian `width` (k, b, 1).

    With `exclude_own` x[:, i] does not see points[:, i].
    """
    exponent = -_squared_distances(x, points, torch.ones(())) / (2.0 * width**2)
    if exclude_own:
        torch.diagonal(exponent, dim1=-2, dim2=-1).fill_(-torch.inf)
    return (torch.softmax(exponent, -1) @ points - x) / width**2


def matching_loss(
    x: torch.Tensor, data: torch.Tensor, rng: np.random.Generator, widths: tuple[float, float], references: int
) -> torch.Tensor:
    """Return a loss whose gradient moves generated points x (k, b, 2) towards the data's distribution.

    `widths` is the range of smoothing, drawn log-uniformly for each point. The generated score comes from the other
    points of the same network.
    """
    k, b, _ = x.shape
    with torch.no_grad():
        here = x.detach()
        width = tensor(widths[0] * (widths[1] / widths[0]) ** rng.random((k, b, 1)))
        moved = here + width * tensor(rng.standard_normal((k, b, 2)))
        reference = data[rng.integers(0, len(data), references)].expand(k, references, 2)
        generated = smoothed_score(moved, here, width, exclude_own=True)
        step = (generated - smoothed_score(moved, reference, width)) * width**2
        # A point far from all data has a step as long as the way to it; one such point must not own the batch.
        target = here - 0.5 * step.clamp(-1.0, 1.0)
    return 0.5 * ((x - target) ** 2).sum(-1).mean()


def _squared_distances(x: torch.Tensor, points: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Squared distances of x (..., b, 2) to factor * points (..., r, 2): (..., b, r)."""
    squares = (points * points).sum(-1)[..., None, :]
    return (x * x).sum(-1, keepdim=True) - 2.0 * factor * (x @ points.transpose(-1, -2)) + factor**2 * squares
