"""Two-level telegraph noise in read traces: a hidden Markov model against a single level, judged by their BIC.

Both levels are Gaussian with one common width. The model is fitted by expectation-maximisation (Baum-Welch) to all
traces at once; a trace counts as telegraph noise where the two-level model's BIC is lower by `GAIN` and its levels lie
`SEPARATION` widths or more apart, so that slow drifts and odd reads don't pass for it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

GAIN = 10.0
"""Difference of BIC that is called very strong evidence (Kass and Raftery 1995)."""
SEPARATION = 2.0
"""Widths between the levels: the least at which two Gaussians of equal share have two peaks."""
VISITS = 4
"""Changes of level that a telegraph must show: with fewer it is a jump, or a telegraph too slow for the trace."""
_ROUNDS = 30


@dataclass(frozen=True)
class Telegraph:
    """What was found in some traces; every attribute has one item a trace.

    Attributes:
        found: whether it is telegraph noise.
        jumped: whether it has two levels, but went from one to the other fewer than `VISITS` times.
        gain: by how much the two-level model's BIC is lower.
        low, high: levels, in the traces' unit.
        sigma: width of either level.
        dwell_low, dwell_high: mean time in each level, in samples.
        switches: changes of the most probable level.
    """

    found: npt.NDArray[np.bool_]
    jumped: npt.NDArray[np.bool_]
    gain: Floats
    low: Floats
    high: Floats
    sigma: Floats
    dwell_low: Floats
    dwell_high: Floats
    switches: npt.NDArray[np.int64]


def find_telegraphs(traces: Floats) -> Telegraph:
    """Look for two levels in `traces` [trace, sample], evenly sampled, 16 samples or more."""
    traces = np.asarray(traces, dtype=np.float64)
    n = traces.shape[1]
    mean, spread = traces.mean(axis=1), traces.std(axis=1)
    safe = np.where(spread > 0, spread, 1.0)
    x = (traces - mean[:, None]) / safe[:, None]
    best: tuple[Floats, ...] | None = None
    # Even, and rare on either side: expectation-maximisation finds the peak next to where it starts.
    for quantiles in ((0.2, 0.8), (0.5, 0.97), (0.03, 0.5)):
        fitted = _fit(x, np.quantile(x, quantiles, axis=1).T)
        if best is None:
            best = fitted
        else:
            better = fitted[0] > best[0]
            best = tuple(
                np.where(better.reshape(-1, *[1] * (a.ndim - 1)), a, b) for a, b in zip(fitted, best, strict=True)
            )
    assert best is not None
    loglik, levels, sigma, stay, posterior = best
    single = -0.5 * n * (np.log(2 * np.pi) + 1.0)  # of unit variance, at its own mean
    # One level has 2 parameters (mean, width), two have 5 (levels, width, two rates).
    gain = (-2 * single + 2 * np.log(n)) - (-2 * loglik + 5 * np.log(n))
    order = np.argsort(levels, axis=1)
    levels = np.take_along_axis(levels, order, axis=1)
    stay = np.take_along_axis(stay, order, axis=1)
    high = posterior > 0.5
    high ^= (order[:, 0] == 1)[:, None]
    switches = np.count_nonzero(np.diff(high, axis=1), axis=1)
    apart = levels[:, 1] - levels[:, 0] >= SEPARATION * sigma
    two = (gain > GAIN) & apart & (spread > 0)
    found, jumped = two & (switches >= VISITS), two & (switches < VISITS)
    dwell = 1 / np.maximum(1 - stay, 1 / (10 * n))
    return Telegraph(
        found, jumped, gain, mean + safe * levels[:, 0], mean + safe * levels[:, 1], safe * sigma,
        dwell[:, 0], dwell[:, 1], switches.astype(np.int64),
    )  # fmt: skip


def _fit(x: Floats, levels: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Log-likelihood, levels [trace, 2], width, probability of staying [trace, 2], P(second level) [trace, sample]."""
    count, n = x.shape
    sigma = np.full(count, 0.5)
    stay = np.full((count, 2), 0.9)
    loglik = np.full(count, -np.inf)
    gamma = np.empty((n, count, 2))
    for _ in range(_ROUNDS):
        before = loglik
        emission = np.exp(-0.5 * ((x[:, :, None] - levels[:, None, :]) / sigma[:, None, None]) ** 2) + 1e-300
        gamma, pairs, loglik = _forward_backward(np.ascontiguousarray(emission.transpose(1, 0, 2)), stay)
        loglik = loglik - n * np.log(sigma * np.sqrt(2 * np.pi))
        weight = gamma.sum(axis=0) + 1e-9
        levels = np.einsum("nts,tn->ts", gamma, x) / weight
        residual = np.einsum("nts,tns->t", gamma, (x[:, :, None] - levels[:, None, :]) ** 2)
        sigma = np.sqrt(np.maximum(residual / n, 1e-4))
        leaving = gamma[:-1].sum(axis=0) + 1e-9
        stay = np.clip(pairs / leaving, 1e-3, 1 - 1e-4)
        if np.all(np.abs(loglik - before) < 1e-3):
            break
    return loglik, levels, sigma, stay, np.ascontiguousarray(gamma[:, :, 1].T)


def _forward_backward(emission: Floats, stay: Floats) -> tuple[Floats, Floats, Floats]:
    """Posterior [sample, trace, level], expected stays [trace, level], scaled log-likelihood [trace]."""
    n, count, _ = emission.shape
    leave = 1 - stay
    forward = np.empty_like(emission)
    scale = np.empty((n, count))
    state = np.full((count, 2), 0.5) * emission[0]
    for k in range(n):
        if k:
            state = (state * stay + (state * leave)[:, ::-1]) * emission[k]
        scale[k] = state.sum(axis=1)
        state = state / scale[k][:, None]
        forward[k] = state
    backward = np.ones((count, 2))
    gamma = np.empty_like(emission)
    pairs = np.zeros((count, 2))
    gamma[-1] = forward[-1]
    for k in range(n - 2, -1, -1):
        weighted = emission[k + 1] * backward / scale[k + 1][:, None]
        pairs += forward[k] * stay * weighted
        backward = stay * weighted + leave * weighted[:, ::-1]
        gamma[k] = forward[k] * backward
    return gamma, pairs, np.log(scale).sum(axis=0)
