"""Gate law and switching kinetics from single pulses: a hierarchical model, sampled.

Each cell has its own k_g, V_t, V_s, G_max, V_r, G_min, normal about the chip's means with the chip's spreads; v0, c2c,
the RESET's sigma, jumps and the relaxation's a are common. Metropolis steps move a cell's constants (all cells at once;
SET and RESET separate given the common ones) and the common ones; means, spreads and the share of jumps come from exact
conditionals.
What comes out are draws of everything: intervals need no further approximation.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from analysis.errors import AnalysisError
from analysis.fitting.chain import Chain
from analysis.fitting.model import MICRO, Draws, Effort, Floats, ReadNoise
from analysis.fitting.observations import Steps
from analysis.fitting.start import Side, start

_GATE_MARGIN = 0.3
"""A RESET behind a transistor that is less than this above threshold is bounded by its gate, and left out, V."""


def prepare(steps: Steps, noise: ReadNoise, g_min: float) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Observations as the kernel wants them, (n, 13), and the cell of each; g_min (S) is what any cell's is about."""
    telegraph, amplitude = noise.telegraph[steps.cell], noise.amplitude[steps.cell]
    first, second = (
        np.maximum(noise.variance(g, t) * MICRO**2, 0.5e-4)
        for g, t in ((steps.before, steps.t_before), (steps.after, steps.t_after))
    )
    # A read is either high or low: the variance of a two-level signal is a quarter of its step squared.
    extra = [(0.5 * amplitude * np.maximum(g, 0.0) * MICRO) ** 2 for g in (steps.before, steps.after)]
    columns = [
        steps.before * MICRO, steps.after * MICRO, steps.volts, steps.gate, steps.width * MICRO, steps.age, first,
        second, first + extra[0], second + extra[1], telegraph, steps.waning,
        np.minimum(steps.before, g_min) * MICRO,
    ]  # fmt: skip
    return np.ascontiguousarray(np.stack(columns, axis=1)), steps.cell


def sample(
    steps: Steps,
    noise: ReadNoise,
    base: Mapping[str, float],
    relax_b: tuple[float, float],
    rng: np.random.Generator,
    effort: Effort | None = None,
) -> Draws:
    """Draw from the posterior.

    Args:
        steps: pulses of cells that can move.
        noise: of the reads.
        base: complete base preset; where the chain starts, and what stays where nothing is known.
        relax_b: estimate and standard error of relax_b, S, from rests; a standard error of 0 keeps it.
        rng: source of chance.
        effort: how long.

    Raises:
        AnalysisError: too few pulses or cells for a fit.
    """
    effort = effort or Effort()
    good = ~steps.reset | (steps.gate > base["v_t"] + 5 * base["v_t_spread"] + _GATE_MARGIN)
    steps = steps.only(good & (steps.before > 0) & (steps.after > 0))
    chosen, local = _choose(steps, effort.cells, rng)
    steps = steps.only(local >= 0)
    local = local[local >= 0]
    count = len(chosen)
    if count < 8:
        raise AnalysisError(f"only {count} cells have at least 6 pulses with a read on both sides; a fit needs 8")
    obs, _ = prepare(steps, noise, base["g_min"])
    sides = tuple(
        Side(np.ascontiguousarray(obs[mask]), local[mask], count, is_set, base)
        for mask, is_set in ((~steps.reset, True), (steps.reset, False))
    )
    b_mean, b_sd = relax_b[0] * MICRO, relax_b[1] * MICRO
    chain = Chain(sides, start(sides, base, b_mean), base, (b_mean, b_sd), count, rng)
    chain.know(replace(steps, cell=local))
    chain.climb()
    for step in range(effort.burn):
        chain.step(adapt=True, step=step, of=effort.burn)
    chain.counts[:] = 0
    return chain.collect(effort.keep, chosen)


def _choose(steps: Steps, most: int, rng: np.random.Generator) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Cells with enough pulses, at most so many by lot; and each step's place among them, -1 for none."""
    total = int(steps.cell.max()) + 1 if len(steps) else 0
    enough = np.flatnonzero(np.bincount(steps.cell, minlength=total) >= 6)
    if len(enough) > most:
        enough = np.sort(rng.choice(enough, most, replace=False))
    place = np.full(total, -1)
    place[enough] = np.arange(len(enough))
    return enough.astype(np.int64), place[steps.cell].astype(np.int64)
