"""Likelihood of a series of reads for a trap of given step and dwell time, compiled.

A trap slower than the integration is a two-state hidden Markov chain (forward-backward); a faster one blurs each read
on its own, by sqrt(tau/T) of its step. The cell's own level is fitted.
"""

from math import exp, log, sqrt

import numpy as np
import numpy.typing as npt

from analysis.fitting.kernel import compiled

Floats = npt.NDArray[np.float64]

BIN_LOW, BIN_HIGH = float(np.exp(-0.09)), float(np.exp(0.09))
"""How far the step of a trap may lie from its place on the grid."""
_CLIPPED = 0.15865525393145707
"""Share of a standard normal beyond 1, on either side."""
_INNER = 0.2911
"""Variance of a standard normal between -1 and 1."""


@compiled
def _chain(y: Floats, stay: Floats, half: float, sigma: float, centre: float, alpha: Floats, scale: Floats) -> float:
    """Log likelihood of reads `y` of a two-level signal +-half about `centre`; on return alpha is P(high | all)."""
    n = len(y)
    total = 0.0
    high, low = 0.5, 0.5
    inverse = 0.5 / (sigma * sigma)
    for i in range(n):
        if i > 0:
            p = stay[i]
            high, low = p * high + (1 - p) * low, p * low + (1 - p) * high
        a = (y[i] - centre - half) ** 2 * inverse
        b = (y[i] - centre + half) ** 2 * inverse
        least = min(a, b)
        high *= exp(least - a)
        low *= exp(least - b)
        norm = high + low
        total += log(norm) - least
        high /= norm
        low /= norm
        alpha[i] = high
    back_high, back_low = 1.0, 1.0
    for i in range(n - 1, -1, -1):
        up, down = alpha[i] * back_high, (1 - alpha[i]) * back_low
        alpha[i] = up / (up + down)
        if i > 0:
            a = (y[i] - centre - half) ** 2 * inverse
            b = (y[i] - centre + half) ** 2 * inverse
            least = min(a, b)
            e_high, e_low = exp(least - a) * back_high, exp(least - b) * back_low
            p = stay[i]
            back_high, back_low = p * e_high + (1 - p) * e_low, p * e_low + (1 - p) * e_high
            norm = back_high + back_low
            back_high /= norm
            back_low /= norm
    scale[0] = total
    return total


@compiled
def _slow(y: Floats, times: Floats, g: float, sigma: float, amplitude: float, tau: float, work: Floats) -> float:
    """Log likelihood, the level integrated out, of a trap slower than the integration.

    work[3, 0] becomes the expected sum of squared residuals over sigma^2, n more than the slope in ln sigma.
    """
    n = len(y)
    stay, alpha, scale = work[0, :n], work[1, :n], work[2, :1]
    for i in range(1, n):
        stay[i] = 0.5 * (1.0 + exp(-2.0 * (times[i] - times[i - 1]) / tau))
    half_0 = 0.5 * amplitude * g
    half = half_0
    mean, least, most = 0.0, y[0], y[0]
    for i in range(n):
        mean += y[i] / n
        least, most = min(least, y[i]), max(most, y[i])
    work[3, 0] = 0.0
    if 2.0 * half > most - least + 6.0 * sigma:
        # So large a step would have shown: the trap never switched, in either of its states.
        never = 0.0
        for i in range(n):
            never -= 0.5 * ((y[i] - mean) / sigma) ** 2
            if i > 0:
                never += log(stay[i])
            work[3, 0] += ((y[i] - mean) / sigma) ** 2
        return never
    best = -1e300
    first_centre = 0.0
    total = 0.0
    # The level has two modes where the trap never switched: start from both ends.
    for side in range(2):
        half = 0.5 * amplitude * g
        centre = mean + (0.8 * half if side == 0 else -0.8 * half)
        value = 0.0
        for _ in range(3):
            _chain(y, stay, half, sigma, centre, alpha, scale)
            tilt, slant = 0.0, 0.0
            for i in range(n):
                state = (2.0 * alpha[i] - 1.0) / n
                tilt += state
                slant += state * y[i]
            # Least squares of level and step; the step stays within its bin of the grid.
            step = (slant - mean * tilt) / max(1.0 - tilt * tilt, 1e-6)
            step = min(max(step, half_0 * BIN_LOW), half_0 * BIN_HIGH)
            moved = mean - step * tilt
            change = abs(moved - centre) + abs(step - half)
            centre, half = moved, step
            if change < 0.05 * sigma / sqrt(n):
                break
        value = _chain(y, stay, half, sigma, centre, alpha, scale)
        if side == 0 or value > best:
            work[3, 0] = 0.0
            for i in range(n):
                a, b = (y[i] - centre - half) / sigma, (y[i] - centre + half) / sigma
                work[3, 0] += alpha[i] * a * a + (1.0 - alpha[i]) * b * b
        if side == 0:
            best, first_centre = value, centre
            total = value
        elif abs(centre - first_centre) < 0.5 * sigma / sqrt(n):
            total = max(best, value)
        else:
            top = max(best, value)
            total = top + log(exp(best - top) + exp(value - top))
    return total


@compiled
def _fast(y: Floats, sigma: float, reach: float, work: Floats) -> float:
    """Log likelihood of reads that each average a fast trap: reach times a standard normal cut off at +-1.

    work[3, 0] as in `_slow`, the part of n included.
    """
    n = len(y)
    centre, least, most = 0.0, y[0], y[0]
    for i in range(n):
        centre += y[i] / n
        least, most = min(least, y[i]), max(most, y[i])
    if 2.0 * reach > most - least + 8.0 * sigma:
        work[3, 0] = 0.0
        return -1e4  # a third of the reads would lie at the ends
    inner = sigma * sigma + _INNER * reach * reach
    inverse, inverse_inner = 0.5 / (sigma * sigma), 0.5 / inner
    weight = (1.0 - 2.0 * _CLIPPED) * sigma / sqrt(inner)
    total = 0.0
    for repeat in range(4):
        total = 0.0
        up, down = 0.0, 0.0
        slope = 0.0
        for i in range(n):
            d = y[i] - centre
            a = _CLIPPED * exp(-inverse * (d - reach) ** 2)
            b = _CLIPPED * exp(-inverse * (d + reach) ** 2)
            c = weight * exp(-inverse_inner * d * d)
            norm = a + b + c + 1e-300
            total += log(norm)
            up += (a * (d - reach) + b * (d + reach)) / norm * inverse + c * d / norm * inverse_inner
            down += (a + b) / norm * inverse + c / norm * inverse_inner
            slope += 2.0 * inverse * (a * (d - reach) ** 2 + b * (d + reach) ** 2) / norm
            slope += c / norm * ((2.0 * inverse_inner * d * d - 1.0) * sigma * sigma / inner + 1.0)
        work[3, 0] = slope
        if repeat < 3:
            centre += up / max(down, 1e-300)
    return total


@compiled
def table(
    y: Floats, times: Floats, g: float, sigma: float, integration: float, amplitudes: Floats, dwells: Floats,
    out: Floats, residual: Floats,
) -> float:  # fmt: skip
    """Add a series' log likelihood of each (amplitude, dwell time), relative to that of no trap, to `out`.

    And its sum of squared residuals over sigma^2 to `residual`; gives that of no trap.
    """
    n = len(y)
    mean = 0.0
    for i in range(n):
        mean += y[i] / n
    quiet = 0.0
    for i in range(n):
        quiet -= 0.5 * ((y[i] - mean) / sigma) ** 2
    work = np.zeros((4, n))
    for k in range(len(dwells)):
        tau = dwells[k]
        for a in range(len(amplitudes)):
            if tau < integration:
                out[a, k] += _fast(y, sigma, 0.5 * amplitudes[a] * g * sqrt(tau / integration), work) - quiet
            else:
                out[a, k] += _slow(y, times, g, sigma, amplitudes[a], tau, work) - quiet
            residual[a, k] += work[3, 0]
    return -2.0 * quiet
