"""What the pulse model speaks of: cells' own constants, what is known of reads, draws, effort."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
MICRO = 1e6

LATENT = ("k_g", "v_t", "v_s", "g_max", "v_r", "g_min")
"""A cell's own constants, in the order of columns."""
SETS, RESETS = slice(0, 4), slice(4, 6)
"""Columns that SETs and RESETs depend on."""


@dataclass(frozen=True)
class ReadNoise:
    """What is known of the reads before pulses are looked at.

    Attributes:
        sigma: `read_sigma`, S.
        window: `read_window`, s.
        telegraph: (cells,) probability that a cell has telegraph noise.
        amplitude: (cells,) its expected step if it has, relative (RMS).
    """

    sigma: float
    window: float
    telegraph: Floats
    amplitude: Floats

    def variance(self, g: Floats, integration: Floats) -> Floats:
        """Of a quiet cell's read, S^2."""
        ratio = np.maximum((self.window + integration) / (2 * integration), 1.0)
        return np.asarray((self.sigma * np.maximum(np.log10(np.maximum(g, 1e-9) / 1e-6), 0.0)) ** 2 * np.log(ratio))


@dataclass(frozen=True)
class Draws:
    """Posterior draws, in S and V.

    Attributes:
        shared: name -> (draws,).
        mean, spread: name of a cell's constant -> (draws,); k_g's spread is relative.
        cell_mean, cell_sd: (cells, 6), columns `LATENT`.
        cell_draws: (kept, cells, 6), some of the draws.
        shared_draws: (kept, 7) `kernel.SHARED` of the same draws, S and V.
        cells: which cells of the observations, (cells,).
        informed: name of a constant -> cells that informed it; 0 if none.
        acceptance: of the three kinds of moves.
    """

    shared: Mapping[str, Floats]
    mean: Mapping[str, Floats]
    spread: Mapping[str, Floats]
    cell_mean: Floats
    cell_sd: Floats
    cell_draws: Floats
    shared_draws: Floats
    cells: npt.NDArray[np.int64]
    informed: Mapping[str, int]
    acceptance: tuple[float, float, float]


@dataclass(frozen=True)
class Effort:
    """How long to sample: steps thrown away, steps kept, and most cells looked at (the others tell the same)."""

    burn: int = 700
    keep: int = 1800
    cells: int = 320
