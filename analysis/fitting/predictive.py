"""Does the fitted law explain what was seen? Every pulse re-simulated from the read before it, with posterior draws.

A check compares, for one kind of pulse, where each observation lies among its simulations (its rank, even in 0..1 if
the law is right) and how far the ranks are from even (Kolmogorov's distance). The same distance of data made by the law
itself gives the posterior-predictive p-value.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.fitting.estimate import Fit
from analysis.fitting.model import LATENT, ReadNoise
from analysis.fitting.observations import Steps

Floats = npt.NDArray[np.float64]

DISTANCE = 0.05
"""Kolmogorov distance from which a departure matters, whatever its significance: a rank off by a twentieth."""
CHANCE = 0.01
"""Posterior-predictive p-value below which it is no accident."""
_K_G, _V_T, _V_S, _G_MAX, _V_R, _G_MIN = range(len(LATENT))


@dataclass(frozen=True)
class Check:
    """One kind of observation against the law.

    Attributes:
        name: what was looked at.
        count: observations.
        distance: Kolmogorov distance of their ranks from even, 0..1.
        p: share of law-made data sets that are as far or farther; NaN where it was not simulated.
        contradicts: whether the law is clearly wrong here.
        verdict: the same in one line.
    """

    name: str
    count: int
    distance: float
    p: float
    contradicts: bool
    verdict: str


@dataclass(frozen=True)
class Prediction:
    """Simulated reads after the pulses, and what comes of them.

    Attributes:
        steps: the pulses of fitted cells.
        simulated: (draws, n) reads after each pulse, S.
        ranks: (n,) of what was seen among them, 0..1.
        kinds: name -> mask (n,).
        checks: one a kind, and those of noise and relaxation.
    """

    steps: Steps
    simulated: Floats
    ranks: Floats
    kinds: Mapping[str, npt.NDArray[np.bool_]]
    checks: tuple[Check, ...]


def predict(fit: Fit, rng: np.random.Generator) -> Prediction | None:
    """Re-simulate a fit's pulses and check them; None if no pulses were fitted."""
    draws = fit.pulses
    if draws is None:
        return None
    place = np.full(len(fit.observations.cells), -1)
    place[draws.cells] = np.arange(len(draws.cells))
    steps = fit.observations.steps
    usable = (place[steps.cell] >= 0) & ~fit.stuck[steps.cell] & (steps.before > 0) & (steps.after > 0)
    usable &= ~steps.reset | (steps.gate > fit.values()["v_t"] + 0.3)
    steps = steps.only(usable)
    index = place[steps.cell]
    simulated = np.stack([
        simulate(steps, cells[index], shared, fit.noise.reads, fit.base, rng)
        for cells, shared in zip(draws.cell_draws, draws.shared_draws, strict=True)
    ])  # fmt: skip
    ranks = _ranks(steps.after, simulated, rng)
    typical = draws.cell_mean[index]
    volts = np.where(steps.reset, typical[:, _V_R], typical[:, _V_S])
    drive = steps.width / 1e-6 * np.exp(np.minimum((steps.volts - volts) / fit.values()["v0"], 50.0))
    kinds = {
        "SET to the gate's ceiling": ~steps.reset & (drive > 12),
        "SET part of the way": ~steps.reset & (drive <= 12) & (drive > 0.01),
        "RESET to the bottom": steps.reset & (drive > 12),
        "RESET part of the way": steps.reset & (drive <= 12) & (drive > 0.01),
        "pulses too weak to move": drive <= 0.01,
    }
    few = rng.permutation(len(simulated))[:20]
    checks = []
    for name, mask in kinds.items():
        if mask.sum() < 30:
            continue
        distance = _distance(ranks[mask])
        rest = np.arange(len(simulated))
        own = [_distance(_ranks(simulated[r][mask], simulated[rest != r][:, mask], rng)) for r in few]
        p = (1 + sum(d >= distance for d in own)) / (1 + len(own))
        # Twenty replicates can't tell less than 5 %: a distance beyond all of them by half counts as chance < 1 %.
        beyond = distance > 1.5 * max(own)
        checks.append(_check(name, int(mask.sum()), distance, min(p, CHANCE / 2) if beyond else p))
    return Prediction(steps, simulated, ranks, kinds, (*checks, *_plain_checks(fit)))


def simulate(
    steps: Steps, cells: Floats, shared: Floats, noise: ReadNoise, base: Mapping[str, float], rng: np.random.Generator
) -> Floats:
    """What reads after these pulses could have shown, S, (n,), by the law.

    Args:
        steps: pulses, with the reads before them.
        cells: (n, 6) constants of each pulse's cell, columns `pulses.LATENT`, S and V.
        shared: (7,) `kernel.SHARED`, S and V.
        noise: of reads.
        base: complete preset, for what is in neither.
        rng: source of chance.
    """
    v0, c2c, reset_sigma, jump_p, jump_sigma, a, b = (float(x) for x in shared)
    n = len(steps)
    telegraph = np.where(rng.random(n) < noise.telegraph[steps.cell], noise.amplitude[steps.cell], 0.0)

    def seen(g: Floats, integration: Floats) -> Floats:
        step = telegraph * g * (rng.integers(0, 2, n) - 0.5)
        return np.asarray(g + step + np.sqrt(noise.variance(g, integration)) * rng.standard_normal(n))

    # The read before is what the cell seemed to be; its noise taken away again gives what it may have been.
    before = 2 * steps.before - seen(steps.before, steps.t_before)
    jitter = c2c * rng.standard_normal((2, n))
    threshold = np.where(steps.reset, cells[:, _V_R], cells[:, _V_S]) + jitter[0]
    f = -np.expm1(-(steps.width / 1e-6) * np.exp(np.minimum((steps.volts - threshold) / v0, 60.0)))
    ceiling = np.minimum(cells[:, _K_G] * (steps.gate - cells[:, _V_T] - jitter[1]), cells[:, _G_MAX])
    up = np.maximum(ceiling - before, 0.0) * f
    down = np.maximum(before - cells[:, _G_MIN], 0.0) * np.minimum(
        f * np.exp(reset_sigma * rng.standard_normal(n)), 1.0
    )
    size = np.where(steps.reset, down, up)
    jumps = np.where((rng.random(n) < jump_p) & (size > 0.1e-6), jump_sigma * rng.standard_normal(n), 0.0)
    after = before + np.where(steps.reset, -down, up) + jumps
    after = np.clip(after, np.minimum(cells[:, _G_MIN], before), np.maximum(cells[:, _G_MAX], before))
    change = np.abs(after - before)
    share = np.minimum(base["relax_floor"] + (1 - base["relax_floor"]) * change / base["relax_full"], 1.0)
    onset = np.exp(min(a / max(b, 1e-12), 500.0))
    lasting = b * np.log1p(steps.age * onset)
    fresh = share * (lasting * rng.standard_normal(n) + base["relax_c"] * np.log1p(steps.age))
    waning = 0.5 * b * steps.waning * rng.standard_normal(n)
    return seen(np.maximum(after + np.where(change > 0.02e-6, fresh, waning), 1e-10), steps.t_after)


def _ranks(seen: Floats, simulated: Floats, rng: np.random.Generator) -> Floats:
    below = (simulated < seen).sum(axis=0)
    return np.asarray((below + rng.random(len(seen))) / (len(simulated) + 1))


def _distance(ranks: Floats) -> float:
    x = np.sort(ranks)
    n = len(x)
    return float(max(np.max(np.arange(1, n + 1) / n - x), np.max(x - np.arange(n) / n)))


def _check(name: str, count: int, distance: float, p: float) -> Check:
    wrong = distance > DISTANCE and p < CHANCE
    if wrong:
        says = "the data contradict the law here: ranks are further from even than the law can make them"
    elif distance > DISTANCE:
        says = "agrees, but few data: a departure could hide"
    else:
        says = "agrees with the law"
    return Check(name, count, distance, p, wrong, f"{name}: {says} (distance {distance:.3f}, p {p:.2g}, {count} seen)")


def _plain_checks(fit: Fit) -> list[Check]:
    """Noise by integration time and relaxation by age: measured scatter over expected."""
    out = []
    for name, rows, seen, due, count in (
        ("read noise", fit.noise.spectrum, 1, 2, 3), ("relaxation", fit.relaxation.scatter, 2, 4, 5),
    ):  # fmt: skip
        if not len(rows):
            continue
        ratio = rows[:, seen] / rows[:, due]
        worst = int(np.argmax(np.abs(np.log(ratio))))
        # A scatter from n series is known to 1/sqrt(2n), and the expected one no better.
        blur = 4 / np.sqrt(2 * rows[worst, count]) + 0.05
        wrong = bool(abs(np.log(ratio[worst])) > max(0.45, blur))
        says = "the data contradict the law here" if wrong else "agrees with the law"
        text = f"{name}: {says} (scatter over expected, at worst {ratio[worst]:.2f} at {rows[worst, 0]:.2g} s)"
        out.append(Check(name, int(rows[:, count].sum()), float(abs(np.log(ratio[worst]))), float("nan"), wrong, text))
    return out
