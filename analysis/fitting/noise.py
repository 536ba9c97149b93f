"""Read noise and telegraph noise from repeated reads.

A quiet cell's reads scatter by read_sigma log10(G/uS) sqrt(ln((t_w + T)/2T)) about their mean. In a cell with a trap a
two-level signal is added: slower than the integration it is a hidden Markov chain, faster ones average down as
sqrt(tau/T). For each cell the likelihood of every step size and dwell time on a grid is computed (forward-backward, the
cell's own level fitted); a mixture over cells then gives the chip's constants, by Metropolis sampling.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log, sqrt

import numpy as np
import numpy.typing as npt

from analysis.fitting.model import ReadNoise
from analysis.fitting.observations import Series
from analysis.fitting.telegraph import table

Floats = npt.NDArray[np.float64]

AMPLITUDES = np.exp(np.arange(np.log(1e-3), np.log(0.15), 0.18))
"""Grid of telegraph steps, relative."""
DWELLS = np.exp(np.arange(np.log(5e-5), np.log(200.0), 0.75))
"""Grid of dwell times, s."""
AMPLITUDE_SIGMA = 0.5
"""Lognormal sigma of the step between cells: part of the law, not of a preset."""
MOST_READS = 160
"""Reads of a series in which traps are looked for; more would tell little and cost much."""


@dataclass(frozen=True)
class NoiseDraws:
    """Posterior draws, SI; `None` where the data say nothing of it.

    Attributes:
        read_sigma: (draws,).
        telegraph: name -> (draws,), for rtn_share, rtn_amplitude, rtn_tau_min, rtn_tau_max; empty if not informed.
        cells: cells with series.
        reads: how the pulses' reads are to be judged.
        spectrum: rows (integration s, measured scatter S, expected scatter S, series) of quiet cells.
    """

    read_sigma: Floats | None
    telegraph: Mapping[str, Floats]
    cells: int
    reads: ReadNoise
    spectrum: Floats


def fit_noise(
    series: Sequence[Series], cells: int, base: Mapping[str, float], rng: np.random.Generator, draws: int = 1500
) -> NoiseDraws:
    """Estimate read noise and telegraph noise.

    Args:
        series: still series of reads.
        cells: how many cells the observations have.
        base: complete base preset: what is kept where nothing is known.
        rng: source of chance.
        draws: posterior draws.
    """
    window = base["read_window"]
    share = np.full(cells, base["rtn_share"])
    usual = np.full(cells, base["rtn_amplitude"] * np.exp(AMPLITUDE_SIGMA**2))
    shapes = np.array([_shape(s, window) for s in series])
    seen = sorted({s.cell for s, shape in zip(series, shapes, strict=True) if shape > 0.05})
    if len(seen) < 8:
        reads = ReadNoise(base["read_sigma"], window, share, usual)
        return NoiseDraws(None, {}, len(seen), reads, np.zeros((0, 4)))
    used = [(s, shape) for s, shape in zip(series, shapes, strict=True) if shape > 0.05]
    place = {cell: i for i, cell in enumerate(seen)}
    dof, squares = np.zeros(len(seen)), np.zeros(len(seen))
    for s, shape in used:
        dof[place[s.cell]] += len(s.values) - 1
        squares[place[s.cell]] += float(np.sum(np.square(s.values - s.values.mean()))) / shape**2
    sigma = float(np.sqrt(np.median(squares / dof)))
    quiet = np.ones(len(seen), bool)
    for _ in range(6):  # cells that scatter more than noise can are left out, and sigma is corrected
        quiet = squares / sigma**2 < dof + 3 * np.sqrt(2 * dof)
        sigma = float(np.sqrt(squares[quiet].sum() / dof[quiet].sum()))
    # Traps too weak to be seen one by one make sigma look larger: how the tables change with it must be known.
    tables = np.zeros((2, len(seen), len(AMPLITUDES), len(DWELLS)))
    untrapped = np.zeros(len(seen))
    for s, shape in used:
        g, few = float(s.values.mean()), slice(0, MOST_READS)
        untrapped[place[s.cell]] += table(
            s.values[few] * 1e6, s.times[few], g * 1e6, sigma * shape * 1e6, float(s.integration[0]), AMPLITUDES,
            DWELLS, tables[0, place[s.cell]], tables[1, place[s.cell]],
        )  # fmt: skip
    shortest = min(float(s.integration[0]) for s, _ in used)
    longest = max(float(s.times[-1] - s.times[0]) for s, _ in used)
    found = _mixture(tables, untrapped, squares / sigma**2 - untrapped, dof, sigma, base, rng, draws)
    posterior, amplitude = _per_cell(tables[0], found)
    share[seen] = posterior
    usual[seen] = amplitude
    read_sigma = found[:, 0]
    centre = np.median(found[:, 1:], axis=0)
    unseen = np.ones(cells, bool)
    unseen[seen] = False
    share[unseen] = centre[0]
    usual[unseen] = centre[1] * np.exp(AMPLITUDE_SIGMA**2)
    telegraph = {name: found[:, i + 1] for i, name in enumerate(("rtn_share", "rtn_amplitude"))}
    if posterior.sum() >= 12 and shortest < longest / 30:
        telegraph |= {name: found[:, i + 3] for i, name in enumerate(("rtn_tau_min", "rtn_tau_max"))}
    reads = ReadNoise(float(np.median(read_sigma)), window, share, usual)
    calm = {cell for cell, p in zip(seen, posterior, strict=True) if p < 0.5}
    return NoiseDraws(read_sigma, telegraph, len(seen), reads, _spectrum(used, calm, reads.sigma))


def _shape(s: Series, window: float) -> float:
    """Read noise of a series in units of read_sigma."""
    integration, g = float(s.integration[0]), float(s.values.mean())
    ratio = max((window + integration) / (2 * integration), 1.0)
    return float(max(log(max(g, 1e-9) / 1e-6) / log(10.0), 0.0) * sqrt(log(ratio)))


def _weights(amplitude: float, low: float, high: float) -> tuple[Floats, Floats]:
    """Weights of the grid's amplitudes and dwell times in a chip with these constants."""
    z = np.log(AMPLITUDES / amplitude) / AMPLITUDE_SIGMA
    a = np.exp(-0.5 * z * z)
    # Loguniform between low and high: each node stands for its bin, as far as that lies inside.
    edges = np.log(DWELLS)
    left = np.maximum(edges - 0.375, np.log(low))
    right = np.minimum(edges + 0.375, np.log(high))
    t = np.maximum(right - left, 0.0)
    return a / a.sum(), t / max(float(t.sum()), 1e-12)


def _mixture(
    tables: Floats,
    untrapped: Floats,
    beyond: Floats,
    dof: Floats,
    sigma: float,
    base: Mapping[str, float],
    rng: np.random.Generator,
    draws: int,
) -> Floats:
    """Draws of (read_sigma, share, amplitude, tau_min, tau_max), shape (draws, 5).

    A hypothesis with squared residuals R (over sigma^2) at ln sigma has at ln sigma + x the log likelihood
    l - (n - 1) x + R (1 - exp(-2x))/2: exact where what the trap did is clear, right to first order elsewhere. All are
    kept relative to the cell's best one: R of a trap that is seen well is thousands less than that of none.

    Args:
        tables: log likelihoods relative to no trap, and R: (2, cells, amplitudes, dwell times).
        untrapped: R of no trap, (cells,).
        beyond: R of the reads that the tables leave out, (cells,).
        dof: reads less levels, (cells,).
        sigma: read_sigma at which the tables were made, S.
        base: complete base preset.
        rng: source of chance.
        draws: how many.
    """
    flat = tables.reshape(2, len(dof), -1)
    best = flat[0].argmax(axis=1)
    top = np.maximum(flat[0].max(axis=1), 0.0)
    least = np.where(top > 0, flat[1][np.arange(len(best)), best], untrapped)
    here = (tables[0] - top[:, None, None]).astype(np.float32)
    more = (tables[1] - least[:, None, None]).astype(np.float32)

    def log_p(x: Floats) -> float:
        share, low, high = float(1 / (1 + np.exp(-x[1]))), float(np.exp(x[3])), float(np.exp(x[4]))
        change = float(x[0] - np.log(sigma))
        if abs(change) > 0.1 or not (
            DWELLS[0] <= low < 0.5 * high and high <= DWELLS[-1] and 1e-4 < np.exp(x[2]) < 0.2
        ):
            return -np.inf
        a, t = _weights(float(np.exp(x[2])), low, high)
        inside = t > 0
        # Half of what a unit of R is worth more at another sigma.
        worth = 0.5 * (1 - float(np.exp(-2 * change)))
        likely = np.exp(np.minimum(here[:, :, inside] + np.float32(worth) * more[:, :, inside], 60.0))
        trapped = (likely @ t[inside].astype(np.float32)) @ a
        quiet = np.exp(np.minimum(worth * (untrapped - least) - top, 60.0))
        common = worth * (least + beyond) - dof * change
        mixed = np.log(share * trapped + (1 - share) * quiet + 1e-300) + common
        prior = -0.5 * ((x[1] + 1.7) / 2.5) ** 2 - 0.5 * ((x[2] - np.log(base["rtn_amplitude"] + 1e-4)) / 1.5) ** 2
        return float(mixed.sum() + prior)

    share = min(max(base["rtn_share"], 0.02), 0.9)
    x = np.log([sigma, share / (1 - share), max(base["rtn_amplitude"], 2e-3), base["rtn_tau_min"], base["rtn_tau_max"]])
    now, out = log_p(x), np.zeros((draws, 5))
    chol, scale, past = np.diag([2 / np.sqrt(2 * dof.sum()), 0.2, 0.1, 0.3, 0.3]), 0.7, [x]
    burn = 900
    for i in range(burn + 2 * draws):
        new = x + scale * (chol @ rng.standard_normal(5))
        value = log_p(new)
        chance = float(np.exp(min(value - now, 0.0))) if np.isfinite(value) else 0.0
        if rng.random() < chance:
            x, now = new, value
        if i < burn:
            past.append(x)
            scale *= float(np.exp(0.05 * (chance - 0.3)))
            if i in (200, 400, 650):
                chol = np.linalg.cholesky(np.cov(np.array(past[len(past) // 3 :]).T) + 1e-8 * np.eye(5))
                scale = 1.0
        elif (i - burn) % 2 == 0:
            out[(i - burn) // 2] = x
    out = np.exp(out)
    out[:, 1] /= 1 + out[:, 1]
    return out


def _per_cell(tables: Floats, draws: Floats) -> tuple[Floats, Floats]:
    """Each cell's probability of a trap, and its expected step (RMS), at the chip's median constants."""
    _, share, amplitude, low, high = np.median(draws, axis=0)
    a, t = _weights(float(amplitude), float(low), float(high))
    top = np.maximum(tables.max(axis=(1, 2)), 0.0)
    joint = np.exp(tables - top[:, None, None]) * a[:, None] * t
    trapped, quiet = share * joint.sum(axis=(1, 2)), (1 - share) * np.exp(-top)
    by_amplitude = joint.sum(axis=2) / joint.sum(axis=(1, 2))[:, None]
    return trapped / (trapped + quiet), np.sqrt(by_amplitude @ AMPLITUDES**2)


def _spectrum(used: Sequence[tuple[Series, float]], calm: set[int], sigma: float) -> Floats:
    """Scatter of quiet cells by integration time, measured and expected."""
    rows: dict[float, list[tuple[float, float]]] = {}
    for s, shape in used:
        if s.cell in calm:
            rows.setdefault(float(f"{s.integration[0]:.2g}"), []).append(
                (float(s.values.var(ddof=1)), (sigma * shape) ** 2)
            )
    return np.array([
        [t, np.sqrt(np.mean([v for v, _ in pairs])), np.sqrt(np.mean([e for _, e in pairs])), len(pairs)]
        for t, pairs in sorted(rows.items())
    ]).reshape(-1, 4)  # fmt: skip
