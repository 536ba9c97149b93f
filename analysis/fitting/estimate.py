"""The fit of a chip: noise first, then relaxation, then pulses; an estimate with its interval for every constant."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

from analysis.fitting.constants import CONSTANTS, Estimate, complete, kept
from analysis.fitting.model import LATENT, Draws, Effort
from analysis.fitting.noise import NoiseDraws, fit_noise
from analysis.fitting.observations import Observations, exercised
from analysis.fitting.pulses import sample
from analysis.fitting.relaxation import RelaxationDraws, fit_relaxation

Floats = npt.NDArray[np.float64]
Told = Callable[[str], None]

LEVEL = 0.95
"""Probability that a stated interval holds the constant."""

REMARKS = {
    "k_g": "needs SET pulses at two gates or more, with a read before and after",
    "v_s": "needs SET pulses with a read before and after",
    "v_r": "needs RESET pulses with a read before and after",
    "g_max": "needs SET pulses with gates that let cells pass it",
    "g_min": "needs RESETs that bring cells near it",
    "v0": "needs pulses that move cells part of the way",
    "relax_a": "needs RESETs that bring cells to their lowest conductance",
    "relax_b": "needs reads over a wide range of ages after a move of 15 uS or more",
    "relax_c": "needs reads over a wide range of ages after a move of 15 uS or more",
    "read_sigma": "needs 16 reads in a row on 8 cells or more",
    "rtn_share": "needs 16 reads in a row on 8 cells or more",
    "rtn_amplitude": "needs 16 reads in a row on 8 cells or more",
    "rtn_tau_min": "needs series of reads at several integration times on dozens of cells",
    "rtn_tau_max": "needs series of reads at several integration times on dozens of cells",
    "stuck_on": "needs pulses strong enough to move most cells",
    "stuck_off": "needs pulses strong enough to move most cells",
}


@dataclass(frozen=True)
class ArrayMeans:
    """One array's cells: how many, and of each of `LATENT` mean, standard error, and spread of the cells' estimates."""

    array: int
    cells: int
    mean: Floats
    error: Floats
    spread: Floats


@dataclass(frozen=True)
class Fit:
    """A fitted chip.

    Attributes:
        estimates: name -> estimate, for every constant of the law.
        level: of the intervals.
        observations: what was looked at.
        pulses, noise, relaxation: draws, for checks and figures; pulses is None without enough of them.
        stuck: (cells,) which cells never moved.
        tested: (cells,) which were pulsed enough to tell.
        base: complete base preset.
        arrays: by array, where more than one was seen.
    """

    estimates: Mapping[str, Estimate]
    level: float
    observations: Observations
    pulses: Draws | None
    noise: NoiseDraws
    relaxation: RelaxationDraws
    stuck: npt.NDArray[np.bool_]
    tested: npt.NDArray[np.bool_]
    base: Mapping[str, float]
    arrays: tuple[ArrayMeans, ...]

    def values(self) -> dict[str, float]:
        """The fitted law: estimates, and the base preset's where the data say nothing."""
        return {name: e.value for name, e in self.estimates.items()}


def fit(
    observations: Observations,
    base: Mapping[str, float],
    rng: np.random.Generator,
    *,
    effort: Effort | None = None,
    told: Told = lambda phase: None,
    level: float = LEVEL,
) -> Fit:
    """Fit the law to a chip.

    Args:
        observations: from `gather` or `observe`.
        base: constants of the preset to start from, SI; they stay where the data say nothing.
        rng: source of chance.
        effort: how long to sample.
        told: called with the name of each phase as it begins.
        level: of the stated intervals, 0..1.

    Raises:
        AnalysisError: there is nothing that could be fitted.
    """
    law = complete(base)
    cells = len(observations.cells)
    told("noise")
    noise = fit_noise(observations.noise, cells, law, rng)
    told("relaxation")
    relaxation = fit_relaxation(observations.rests, noise.reads, law, rng)
    tested, stuck, mean = exercised(observations.steps, cells)
    told("pulses")
    b = relaxation.relax_b
    known_b = (law["relax_b"], 0.0) if b is None else (float(np.median(b)), float(b.std()))
    steps = observations.steps.only(~stuck[observations.steps.cell])
    enough = np.bincount(steps.cell, minlength=cells) >= 6
    pulses = sample(steps, noise.reads, law, known_b, rng, effort) if enough.sum() >= 8 else None
    estimates = _estimates(law, noise, relaxation, pulses, level)
    for name, chosen in (("stuck_on", stuck & (mean > 60e-6)), ("stuck_off", stuck & (mean <= 60e-6))):
        if tested.sum() >= 20:
            estimates[name] = _share(name, int(chosen.sum()), int(tested.sum()), level)
    arrays = _by_array(observations, pulses) if pulses is not None else ()
    return Fit(estimates, level, observations, pulses, noise, relaxation, stuck, tested, law, arrays)


def _estimates(
    law: Mapping[str, float], noise: NoiseDraws, relaxation: RelaxationDraws, pulses: Draws | None, level: float
) -> dict[str, Estimate]:
    found: dict[str, tuple[Floats, int]] = {}
    if noise.read_sigma is not None:
        found["read_sigma"] = noise.read_sigma, noise.cells
    found |= {name: (x, noise.cells) for name, x in noise.telegraph.items()}
    for name, x in (("relax_b", relaxation.relax_b), ("relax_c", relaxation.relax_c)):
        if x is not None:
            found[name] = x, relaxation.cells
    if pulses is not None:
        for name, cells in pulses.informed.items():
            if cells < 8:
                continue
            if name in pulses.mean:
                found[name] = pulses.mean[name], cells
                found[f"{name}_spread"] = pulses.spread[name], cells
            else:
                found[name] = pulses.shared[name], cells
    out = {}
    for constant in CONSTANTS:
        name = constant.name
        if name not in found:
            out[name] = kept(name, law, REMARKS.get(name.removesuffix("_spread"), "no run tells it"))
            continue
        x, cells = found[name]
        low, middle, high = np.quantile(x, [0.5 - level / 2, 0.5, 0.5 + level / 2])
        out[name] = Estimate(name, float(middle), float(low), float(high), cells)
    if not out["relax_a"].informed and out["relax_b"].informed and law["relax_b"] > 0:
        # The law's onset exp(-a/b) stays where it was; else a new b would move it by decades.
        a = law["relax_a"] / law["relax_b"] * out["relax_b"].value
        out["relax_a"] = Estimate(
            "relax_a", a, a, a, 0, False, "moved with relax_b, so that relaxation begins when it did"
        )
    return out


def _share(name: str, hits: int, total: int, level: float) -> Estimate:
    """A share of cells, with Jeffreys' interval."""
    low, high = beta.ppf([0.5 - level / 2, 0.5 + level / 2], hits + 0.5, total - hits + 0.5)
    return Estimate(name, hits / total, 0.0 if hits == 0 else float(low), float(high), total)


def _by_array(observations: Observations, pulses: Draws) -> tuple[ArrayMeans, ...]:
    number = observations.cells[pulses.cells, 0]
    out = []
    for array in np.unique(number):
        mine = number == array
        count, values = int(mine.sum()), pulses.cell_mean[mine]
        if count >= 4:
            spread = values.std(axis=0, ddof=1)
            out.append(ArrayMeans(int(array), count, values.mean(axis=0), spread / np.sqrt(count), spread))
    return tuple(out)


__all__ = ["LATENT", "LEVEL", "ArrayMeans", "Fit", "fit"]
