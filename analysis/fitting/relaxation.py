"""Relaxation from cells left alone: reads on log time after a move that relaxes in full.

A cell's reads are g0 + c ln(1 + t) + b z ln(1 + t/t0), g0 and z its own. Against the read at t1 only b and c show:
ln(t/t1) hides t0 = exp(-a/b), which the scatter of full RESETs tells instead (`analysis.fitting.pulses`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from analysis.fitting.model import ReadNoise
from analysis.fitting.observations import Series

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RelaxationDraws:
    """Posterior draws of relax_b and relax_c, S, (draws,), or None; how many cells; and what the figure shows.

    `scatter`: rows (age s, mean change S, its standard deviation S, the same two expected, cells), change since the
    first read.
    """

    relax_b: Floats | None
    relax_c: Floats | None
    cells: int
    scatter: Floats


def fit_relaxation(
    rests: Sequence[Series], noise: ReadNoise, base: Mapping[str, float], rng: np.random.Generator, draws: int = 3000
) -> RelaxationDraws:
    """Estimate b and c.

    Args:
        rests: series that follow a pulse over a wide range of ages.
        noise: of the reads.
        base: complete base preset.
        rng: source of chance.
        draws: posterior draws.
    """
    full = [s for s in rests if abs(s.move) >= 1.5 * base["relax_full"] and s.age[0] > 0]
    cells = len({s.cell for s in full})
    if cells < 8:
        return RelaxationDraws(None, None, cells, np.zeros((0, 6)))
    t0 = float(np.exp(-base["relax_a"] / base["relax_b"])) if base["relax_b"] > 0 else 1e-4
    pieces = _pieces([_thinned(s) for s in full], noise, t0)
    b0 = max(base["relax_b"], 1e-9) * 1e6

    def log_p(x: Floats) -> float:
        return pieces.likelihood(float(np.exp(x[0])), float(x[1]))

    best = minimize(lambda x: -log_p(x), np.array([np.log(b0), base["relax_c"] * 1e6]), method="Nelder-Mead").x
    # One fresh z a rest: its scatter is what limits both.
    chol = np.diag([1 / np.sqrt(2 * len(full)), float(np.exp(best[0])) / np.sqrt(len(full))])
    x, now, scale, out = best, log_p(best), 1.6, np.zeros((draws, 2))
    for i in range(300 + draws):
        new = x + scale * (chol @ rng.standard_normal(2))
        value = log_p(new)
        if rng.random() < np.exp(min(value - now, 0.0)):
            x, now = new, value
        if i >= 300:
            out[i - 300] = x
    b, c = np.exp(out[:, 0]) * 1e-6, out[:, 1] * 1e-6
    return RelaxationDraws(b, c, cells, _scatter(full, noise, float(np.median(b)), float(np.median(c)), t0))


def _thinned(s: Series) -> Series:
    """At most eight reads a decade: a trap's slow switching makes crowded reads tell the same."""
    _, chosen = np.unique(np.round(8 * np.log10(s.age)), return_index=True)
    return Series(s.cell, s.times[chosen], s.age[chosen], s.integration[chosen], s.values[chosen], s.move)


@dataclass(frozen=True)
class _Pieces:
    """Rests with their offsets projected out, so that a likelihood for any (b, c) costs a few products; in uS.

    y and l are the reads and the two regressors of c and b; P weights by the noise and takes the mean away. First axis:
    the rest; second: the kind of noise (none but the read's, two sizes of trap), with its weight.
    """

    yy: Floats  # y' P y
    yl: Floats  # (..., 2) y' P l
    ll: Floats  # (..., 2, 2) l' P l
    logdet: Floats
    weight: Floats

    def likelihood(self, b: float, c: float) -> float:
        rr = self.yy - 2 * c * self.yl[..., 0] + c * c * self.ll[..., 0, 0]
        rl = self.yl[..., 1] - c * self.ll[..., 0, 1]
        gain = 1 + b * b * self.ll[..., 1, 1]
        log_p = -0.5 * (rr - b * b * rl**2 / gain) - 0.5 * np.log(gain) + self.logdet
        top = log_p.max(axis=1)
        return float(np.sum(top + np.log(np.sum(self.weight * np.exp(log_p - top[:, None]), axis=1))))


def _pieces(rests: Sequence[Series], noise: ReadNoise, t0: float) -> _Pieces:
    yy, yl, ll, logdet, weight = [], [], [], [], []
    for s in rests:
        columns = np.stack([s.values * 1e6, np.log1p(s.age), np.log1p(s.age / t0)])
        variance = noise.variance(s.values, s.integration) * 1e12 + 1e-6
        step = noise.amplitude[s.cell] * float(s.values.mean()) * 1e6
        share = float(noise.telegraph[s.cell])
        weight.append([1 - share, 0.7 * share, 0.3 * share])
        products, terms = [], []
        for extra in (0.0, 0.25 * step**2, 0.028 * step**2):
            w = 1 / (variance + extra)
            sums = columns @ w
            products.append((columns * w) @ columns.T - np.outer(sums, sums) / w.sum())
            terms.append(0.5 * float(np.log(w).sum() - np.log(w.sum())))
        p = np.array(products)
        yy.append(p[:, 0, 0])
        yl.append(p[:, 0, 1:])
        ll.append(p[:, 1:, 1:])
        logdet.append(terms)
    return _Pieces(np.array(yy), np.array(yl), np.array(ll), np.array(logdet), np.array(weight))


def _scatter(full: Sequence[Series], noise: ReadNoise, b: float, c: float, t0: float) -> Floats:
    """Change since the first read by age, measured and expected."""
    ages = np.concatenate([s.age[1:] for s in full])
    changes = np.concatenate([s.values[1:] - s.values[0] for s in full])
    first = np.concatenate([np.full(len(s.age) - 1, s.age[0]) for s in full])
    quiet = np.concatenate([
        noise.variance(s.values[1:], s.integration[1:]) + noise.variance(s.values[:1], s.integration[:1]) for s in full
    ])  # fmt: skip
    trap = np.concatenate([
        np.full(len(s.age) - 1, 0.5 * noise.telegraph[s.cell] * (noise.amplitude[s.cell] * s.values.mean()) ** 2)
        for s in full
    ])  # fmt: skip
    edges = np.geomspace(ages.min() * 0.99, ages.max() * 1.01, 11)
    rows = []
    for low, high in pairwise(edges):
        here = (ages >= low) & (ages < high)
        if here.sum() < 8:
            continue
        mean = c * np.mean(np.log1p(ages[here]) - np.log1p(first[here]))
        random = b * np.log((ages[here] + t0) / (first[here] + t0))
        sd = float(np.sqrt(np.mean(random**2 + quiet[here] + trap[here])))
        rows.append(
            [float(np.exp(np.log(ages[here]).mean())), changes[here].mean(), changes[here].std(), mean, sd, here.sum()]
        )
    return np.array(rows).reshape(-1, 6)
