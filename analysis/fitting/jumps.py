"""Draws of jump_probability and jump_sigma, which a walk in all common constants would explore far too slowly.

A pulse jumps or it doesn't: its likelihood is (1 - p) A + p B, A without a jump, B with one. From both the conditional
of p is known for every p at once, and p is drawn from it. jump_sigma, in B alone, moves by a Metropolis step with p
summed out.
"""

from collections.abc import Callable

import numpy as np

from analysis.fitting.model import RESETS, SETS, Floats
from analysis.fitting.start import Side

PROBABILITY, SIZE = 3, 4
"""Where the two stand in `kernel.SHARED`."""
_LOGITS = np.linspace(np.log(1e-5), 0.0, 72)
"""Grid of ln(p / (1 - p)), a good deal finer than any posterior: a hundred jumps seen tell p to a tenth."""


def draw(
    sides: tuple[Side, ...],
    latent: Floats,
    shared: Floats,
    kick: float,
    prior: Callable[[Floats], Floats],
    rng: np.random.Generator,
) -> tuple[Floats, list[Floats], float]:
    """Draw p, and try another jump_sigma.

    Args:
        sides: SETs and RESETs.
        latent: (cells, 6).
        shared: (7,) now.
        kick: what to add to ln jump_sigma.
        prior: logarithm of the prior of (ln(p / (1 - p)), ln jump_sigma), for rows of them.
        rng: source of chance.

    Returns:
        The new shared constants, each side's log likelihood by cell, and the chance that the step had.
    """
    columns = (SETS, RESETS)
    without = shared.copy()
    without[PROBABILITY] = 0.0
    quiet = [side.each(latent[:, c], without) for side, c in zip(sides, columns, strict=True)]
    tries = []
    for size in (shared[SIZE], shared[SIZE] * float(np.exp(kick))):
        jumping = shared.copy()
        jumping[PROBABILITY], jumping[SIZE] = 1.0, size
        loud = [side.each(latent[:, c], jumping) for side, c in zip(sides, columns, strict=True)]
        ratio = np.concatenate(loud) / np.concatenate(quiet) - 1
        p = 1 / (1 + np.exp(-_LOGITS))
        log_p = np.log1p(np.multiply.outer(p, ratio)).sum(axis=1)
        log_p += prior(np.stack([_LOGITS, np.full(len(_LOGITS), np.log(size))], axis=1))
        top = log_p.max()
        tries.append((size, loud, log_p, top + np.log(np.exp(log_p - top).sum())))
    chance = float(np.exp(min(tries[1][3] - tries[0][3], 0.0)))
    size, loud, log_p, _ = tries[int(rng.random() < chance)]
    weight = np.exp(log_p - log_p.max())
    # Anywhere within the grid's cell: as even as the grid is fine.
    logit = rng.choice(_LOGITS, p=weight / weight.sum()) + (_LOGITS[1] - _LOGITS[0]) * rng.uniform(-0.5, 0.5)
    out = shared.copy()
    out[PROBABILITY], out[SIZE] = 1 / (1 + np.exp(-logit)), size
    p = out[PROBABILITY]
    mixed = [side.by_cell(np.log((1 - p) * a + p * b)) for side, a, b in zip(sides, quiet, loud, strict=True)]
    return out, mixed, chance
