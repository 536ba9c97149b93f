"""Likelihood of single pulses under the law, compiled: what the read after a pulse should show, given the one before.

The cycle-to-cycle jitter of the switching voltage is integrated numerically (an even grid of its normal deviate, as
fine as the density needs), that of the gate's ceiling and the RESET's lognormal in closed form. All conductances in uS.
"""

from collections.abc import Callable
from math import erfc, exp, expm1, log, log1p, pi, sqrt
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_F = TypeVar("_F", bound=Callable[..., Any])

SHARED = ("v0", "c2c", "reset_sigma", "jump_probability", "jump_sigma", "relax_a", "relax_b")
"""Order of the constants that all cells share, in `shared` below; V, V, 1, 1, uS, uS, uS."""
COLUMNS = (
    "before", "after", "volts", "gate", "width", "age", "quiet_before", "quiet_after", "noisy_before", "noisy_after",
    "share", "waning", "bottom",
)  # fmt: skip
"""Columns of an observation: uS, uS, V, V, us, s, variances of the two reads in a quiet cell and in a noisy one (uS^2),
weight of "noisy", the logarithm by which an idle cell's relaxation goes on, and the least conductance that a downward
jump leaves (of G_min and the read before the lower), uS.

The read before tells the less of where a cell ends the further the pulse moves it: of its variance (1 - f)^2 counts."""


def compiled(function: _F) -> _F:
    """Compile with the disk cache, or without it where no cache folder can be written."""
    options = {"error_model": "numpy", "fastmath": {"contract", "nsz", "arcp", "reassoc"}}
    try:
        return cast(_F, numba.njit(cache=True, **options)(function))
    except RuntimeError:
        return cast(_F, numba.njit(**options)(function))


@compiled
def _phi(x: float) -> float:
    """Standard normal distribution function."""
    if x > 8.0:
        return 1.0
    if x < -37.0:
        return 0.0
    return 0.5 * erfc(-0.7071067811865476 * x)


@compiled
def _normal(d: float, variance: float) -> float:
    if d * d > 200.0 * variance:
        return 0.0
    return exp(-0.5 * d * d / variance) / sqrt(2 * pi * variance)


@compiled
def _bounded(seen: float, mean: float, own: float, noise: float, low: float, high: float) -> float:
    """Density of a normal (mean, own) held within low..high, with what piled up at the ends, blurred by noise.

    `own` and `noise` are variances. A jump from near an end of a cell's range is half the time cut off there, and then
    looks as if nothing had jumped.
    """
    total = own + noise
    here = _normal(seen - mean, total)
    reach = 5.0 * sqrt(own)
    if mean - low > reach and high - mean > reach:
        return here
    gain = own / total
    centre = mean + gain * (seen - mean)
    sd = sqrt(max(noise * gain, 1e-9))
    here *= _phi((high - centre) / sd) - _phi((low - centre) / sd)
    size = sqrt(own)
    here += _phi((low - mean) / size) * _normal(seen - low, noise)
    here += _phi((mean - high) / size) * _normal(seen - high, noise)
    return here


@compiled
def _relaxed(step: float, lasting: float, waning: float, relax_b: float, floor: float, full: float) -> float:
    """Variance that relaxation adds between a pulse and the read after it, uS^2."""
    if step < 0.02:
        return (0.5 * relax_b * waning) ** 2
    share = min(floor + (1.0 - floor) * step / full, 1.0)
    return (share * relax_b * lasting) ** 2


@compiled
def _set_density(
    o: Floats, first: float, second: float, k: float, v_t: float, v_s: float, g_max: float, s: Floats, floor: float,
    full: float,
) -> float:  # fmt: skip
    """Density of the read after a SET, 1/uS; `first` and `second` are the reads' variances."""
    v0, c2c, jump, jump_size = s[0], s[1], s[3], s[4]
    before, after, volts, gate, width = o[0], o[1], o[2], o[3], o[4]
    lasting = log1p(o[5] * exp(min(s[5] / s[6], 500.0)))
    ceiling, ceiling_sd = k * (gate - v_t), k * c2c
    e = min((volts - v_s) / v0, 60.0)
    spread = c2c / v0
    rate = width * exp(e)
    # Beyond these all cycles alike go all the way, or none goes any.
    single = rate * exp(-4.0 * spread) > 12.0 or rate * exp(4.0 * spread) * max(ceiling - before, 10.0) < 0.005
    reach = max(min(ceiling, g_max) - before, 0.0)
    blur = ceiling_sd + 0.3 / max(rate if rate < 1.0 else 1.0, 0.02)
    h = min(max(1.1 * blur / (reach * spread + 1e-9), 0.2), 1.0)
    half = 0 if single else int(3.6 / h)
    # Ceiling below the cell, between, or cut off by g_max.
    top = max(g_max, before)
    below = _phi((before - ceiling) / ceiling_sd)
    above = _phi((ceiling - top) / ceiling_sd)
    between = 1.0 - below - above
    idle = 0.0
    if below > 1e-12:
        idle = below * _normal(after - before, first + second + _relaxed(0.0, lasting, o[11], s[6], floor, full))
    density = 0.0
    weight_sum = 0.0
    for node in range(-half, half + 1):
        z = node * h
        w = exp(-0.5 * z * z)
        weight_sum += w
        f = 1.0 - exp(-rate * exp(-spread * z))
        here = 0.0
        if between > 1e-12:
            step = max((ceiling - before) * f, 0.0)
            d = after - before - (ceiling - before) * f
            noise = second + (1.0 - f) ** 2 * first + _relaxed(step, lasting, o[11], s[6], floor, full)
            total = (f * ceiling_sd) ** 2 + noise
            jumping = jump if step > 0.1 else 0.0
            inside = 1.0
            if below > 1e-6 or above > 1e-6:
                # Where the ceiling was, judged by the read: it must have lain between the cell and g_max.
                centre = ceiling + f * ceiling_sd * ceiling_sd / total * d
                sd = ceiling_sd * sqrt(max(noise / total, 1e-12))
                inside = _phi((top - centre) / sd) - _phi((before - centre) / sd)
            here += inside * (1.0 - jumping) * _normal(d, total)
            if jumping > 0.0:
                own = (f * ceiling_sd) ** 2 + jump_size * jump_size
                here += between * jumping * _bounded(after, after - d, own, noise, o[12], top)
        if above > 1e-12:
            step = (top - before) * f
            noise = second + (1.0 - f) ** 2 * first + _relaxed(step, lasting, o[11], s[6], floor, full)
            jumping = jump if step > 0.1 else 0.0
            here += above * (1.0 - jumping) * _normal(after - before - step, noise)
            if jumping > 0.0:
                here += above * jumping * _bounded(after, before + step, jump_size * jump_size, noise, o[12], top)
        density += w * here
    return density / weight_sum + idle


@compiled
def _shifted_lognormal(x: float, mean: float, variance: float, skew: float) -> float:
    """Density of a lognormal shifted so as to have these three moments; normal where the skewness vanishes."""
    if skew < 0.02:
        return _normal(x - mean, variance)
    if abs(x - mean) > 12.0 * sqrt(variance):
        return 0.0
    # (w + 3)^2 w = skew^2, with w = exp(tau^2) - 1, to a percent.
    w = skew * skew / (9.0 + 6.0 * skew * skew / 9.0)
    tau2 = log1p(w)
    scale = sqrt(variance / w)  # mean of the unshifted one
    u = x - mean + scale
    if u <= 0.0:
        return 0.0
    d = log(u / scale) + 0.5 * tau2
    return _normal(d, tau2) / u


@compiled
def _partial(seen: float, mean: float, own: float, noise: float, skew: float, room: float, whole: float) -> float:
    """Density of a RESET that did not go all the way: a lognormal step below `room`, blurred by noise.

    Its mass is less than one by the share that did. `own` and `noise` are variances, `skew` the lognormal's.
    """  # fmt: skip
    total = own + noise
    gain = own / total
    inside = 1.0
    if whole > 1e-6:
        # Near the end the lognormal is wide, and the read tells where it was.
        inside = _phi((room - mean - gain * (seen - mean)) / sqrt(max(noise * gain, 1e-9)))
    return inside * _shifted_lognormal(seen, mean, total, skew * gain * sqrt(gain))


@compiled
def _partial_jump(
    seen: float, f: float, sigma: float, noise: float, size2: float, room: float, whole: float
) -> float:  # fmt: skip
    """As `_partial`, with a jump of variance size2 besides, cut off at `room`."""
    mean, square = room * f * exp(0.5 * sigma * sigma), (room * f * exp(sigma * sigma)) ** 2
    if whole > 1e-6:
        # Moments of a lognormal cut off at room.
        z = -log(f) / sigma
        below = max(_phi(z), 1e-300)
        mean *= _phi(z - sigma) / below
        square *= _phi(z - 2.0 * sigma) / below
    own = max(square - mean * mean, 0.0) + size2
    return (1.0 - whole) * _bounded(seen, mean, own, noise, -1e3, room)


@compiled
def _reset_density(
    o: Floats, first: float, second: float, v_r: float, g_min: float, s: Floats, floor: float, full: float
) -> float:  # fmt: skip
    """Density of the read after a RESET, 1/uS; `first` and `second` are the reads' variances."""
    v0, c2c, sigma, jump, jump_size = s[0], s[1], s[2], s[3], s[4]
    before, after, volts, width = o[0], o[1], o[2], o[4]
    lasting = log1p(o[5] * exp(min(s[5] / s[6], 500.0)))
    seen = before - after
    # A cell at G_min or, by relaxing, below it stays where it is.
    first_sd = sqrt(first)
    at_rest = _phi((g_min - before) / first_sd)
    idle = 0.0
    if at_rest > 1e-9:
        idle = at_rest * _normal(seen, first + second + _relaxed(0.0, lasting, o[11], s[6], floor, full))
        if at_rest > 1.0 - 1e-9:
            return idle
    room = max(before - g_min, 0.5 * first_sd)
    e = min((volts - v_r) / v0, 60.0)
    spread = c2c / v0
    rate = width * exp(e)
    single = rate * exp(-4.0 * spread) > 12.0 or rate * exp(4.0 * spread) * room < 0.005
    h = min(max(1.8 * sigma / spread, 0.25), 1.0)
    half = 0 if single else int(3.6 / h)
    growth = exp(sigma * sigma)
    lognormal_skew = (growth + 2.0) * sqrt(growth - 1.0)
    raised = sqrt(growth)
    density = 0.0
    weight_sum = 0.0
    for node in range(-half, half + 1):
        z = node * h
        w = exp(-0.5 * z * z)
        weight_sum += w
        f = max(-expm1(-rate * exp(-spread * z)), 1e-12)
        median = room * f
        whole = _phi(log(f) / sigma) if f > 0.05 else 0.0  # share of pulses that go all the way
        here = 0.0
        if whole > 1e-12:
            noise = second + _relaxed(room, lasting, o[11], s[6], floor, full)
            d = after - g_min
            plain = _normal(d, noise)
            here += whole * plain
            if room > 0.1:
                # Half of the jumps point below g_min and are cut off there.
                size2 = jump_size * jump_size
                half_normal = _normal(d, noise + size2) * _phi(d * jump_size / sqrt(noise * (noise + size2)))
                here += whole * jump * (half_normal - 0.5 * plain)
        if whole < 1.0 - 1e-9:
            mean = median * raised
            own = mean * mean * (growth - 1.0)
            step = min(mean, room)
            noise = second + (1.0 - f) ** 2 * first + _relaxed(step, lasting, o[11], s[6], floor, full)
            jumping = jump if step > 0.1 else 0.0
            here += (1.0 - jumping) * _partial(seen, mean, own, noise, lognormal_skew, room, whole)
            if jumping > 0.0:
                here += jumping * _partial_jump(seen, f, sigma, noise, jump_size * jump_size, room, whole)
        density += w * here
    return (1.0 - at_rest) * density / weight_sum + idle


LEAST = 1e-7
"""Density of an observation that the law doesn't explain, 1/uS: keeps one odd read from moving a cell."""


@compiled
def set_likelihood(
    obs: Floats, first: npt.NDArray[np.int64], latent: Floats, s: Floats, floor: float, full: float, out: Floats
) -> None:
    """Log likelihood of each cell's SETs.

    Args:
        obs: (n, 13) `COLUMNS`, sorted by cell.
        first: (cells + 1,) where each cell's begin.
        latent: (cells, 4) k_g uS/V, V_t, V_s in V, G_max in uS.
        s: `SHARED`.
        floor: share of relaxation after a tiny move.
        full: move from which relaxation is full, uS.
        out: (cells,) filled.
    """
    for c in range(len(first) - 1):
        total = 0.0
        for i in range(first[c], first[c + 1]):
            o = obs[i]
            k, v_t, v_s, top = latent[c, 0], latent[c, 1], latent[c, 2], latent[c, 3]
            p = 0.0
            if o[10] < 0.995:
                p += (1.0 - o[10]) * _set_density(o, o[6], o[7], k, v_t, v_s, top, s, floor, full)
            if o[10] > 0.005:
                p += o[10] * _set_density(o, o[8], o[9], k, v_t, v_s, top, s, floor, full)
            total += log(p + LEAST)
        out[c] = total


@compiled
def reset_likelihood(
    obs: Floats, first: npt.NDArray[np.int64], latent: Floats, s: Floats, floor: float, full: float, out: Floats
) -> None:
    """Log likelihood of each cell's RESETs; `latent` is (cells, 2), V_r in V and G_min in uS; else as above."""
    for c in range(len(first) - 1):
        total = 0.0
        for i in range(first[c], first[c + 1]):
            o = obs[i]
            p = 0.0
            if o[10] < 0.995:
                p += (1.0 - o[10]) * _reset_density(o, o[6], o[7], latent[c, 0], latent[c, 1], s, floor, full)
            if o[10] > 0.005:
                p += o[10] * _reset_density(o, o[8], o[9], latent[c, 0], latent[c, 1], s, floor, full)
            total += log(p + LEAST)
        out[c] = total
