"""The reverse equation for blocks of trajectories side by side, all steps in one call, everything in cache.

x <- keep x + gain n(x) + shift + spread z, where n is the network with its clamps, rectifiers and read noise; the rates
are a step's, so that they carry the step's length. Heun's method takes the mean of the increments at both ends.

Read noise: each cell's weight is w + sigma times a normal number drawn anew each step. A node sums many of them, so one
normal number of variance sum sigma^2 v^2 a node has exactly the same law, and is what is drawn.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.kernel.normals import compiled, polar, polar_of_word, threefry, xoroshiro
from analysis.kernel.simd import (
    LANES,
    TILE_VECTORS,
    bits_of,
    fma,
    from_bits,
    higher_of,
    lane_numbers,
    load,
    lower_of,
    root,
    splat,
    splat_bits,
    store,
    tile_of,
)

Floats = npt.NDArray[np.float32]

BLOCK = TILE_VECTORS * LANES
"""Trajectories that go through the network together."""
_HUGE = np.float32(3.0e38)
_T, _L = TILE_VECTORS, LANES
_tile_2, _tile_7, _tile_8 = tile_of(2), tile_of(7), tile_of(8)
_U = np.uint32


@compiled(inline=True)
def _layer(
    out: Floats, weights: Floats, w: int, values: Floats, bias: Floats, b: int, n_in: int, n_out: int, rows: int,
    low: Any, high: Any,
) -> None:  # fmt: skip
    """Bias and weights from `w` and `b` on, times values (n_in, BLOCK), limited: (n_out, BLOCK)."""
    for i in range(0, n_out, rows):
        if rows == 7:
            _tile_7(out, i * BLOCK, weights, w + i * n_in, values, 0, bias, b + i, n_in, low, high)
        else:
            _tile_8(out, i * BLOCK, weights, w + i * n_in, values, 0, bias, b + i, n_in, low, high)


@compiled(inline=True)
def _disturb(out: Floats, variance: Floats, square: Floats, state: Floats, n: int, low: Any, high: Any) -> None:
    """Add a normal number of each node's variance, limit the sum, and note its square."""
    for t in range(_T):
        s0, s1 = bits_of(load(state, t * _L)), bits_of(load(state, BLOCK + t * _L))
        for i in range(0, n, 2):
            word, s0, s1 = xoroshiro(s0, s1)
            r2, c, s = polar_of_word(word)
            at = i * BLOCK + t * _L
            z = fma(root(load(variance, at) * r2), c, load(out, at))
            z = lower_of(higher_of(z, low), high)
            store(out, at, z)
            store(square, at, z * z)
            at += BLOCK
            z = fma(root(load(variance, at) * r2), s, load(out, at))
            z = lower_of(higher_of(z, low), high)
            store(out, at, z)
            store(square, at, z * z)
        store(state, t * _L, from_bits(s0))
        store(state, BLOCK + t * _L, from_bits(s1))


@compiled(inline=False)
def advance(
    weights: Floats, bias: Floats, variances: Floats, bias_variance: Floats, h1: int, h2: int, live: int,
    rows: int, rates: Floats, shift: Floats, clamp: Floats, keys: npt.NDArray[np.uint32], steps: int, heun: bool,
    ahead: int, noisy: bool, draws: int, reading: bool, every: int, first: int, start: Floats, prior: np.float32,
    scratch: Any, out: Floats,
) -> None:  # fmt: skip
    """Take points start (n, 2) through all steps; out (records, n, 2) gets every `every`-th and the last point.

    weights, variances: the three layers one after another, each in tiles of `rows` (the last: 2) outputs by n_in;
    of a hidden layer's nodes `live` are real, the others dead; bias (steps, h1 + h2 + 2) flat, embedding included;
    bias_variance (h1 + h2 + 2,); rates (steps, 3) keep, gain, spread; keys (6,): two words each for start, diffusion,
    read noise. `ahead`: rows from a Heun step's beginning to its end. `draws`: normal numbers whose scaled sum is one
    step's, so that coarse steps can follow a fine path. `first` is the number of the first trajectory. Where start is
    empty, points of deviation `prior` are drawn.
    """
    x, slope, v, a, b, n, square, variance, state = scratch
    count, per_step = out.shape[1], h1 + h2 + 2
    drawn = start.shape[0] == 0
    at_2, at_3 = 2 * h1, 2 * h1 + h1 * h2
    low, high, zero = splat(clamp[0]), splat(clamp[1]), splat(np.float32(0.0))
    lowest, highest = splat(-_HUGE), splat(_HUGE)
    shift_0, shift_1, half = splat(shift[0]), splat(shift[1]), splat(np.float32(0.5))
    share = np.float32(1.0 / np.sqrt(draws))
    k0, k1, k2, k3, k4, k5 = keys[0], keys[1], keys[2], keys[3], keys[4], keys[5]
    for base in range(0, count, BLOCK):
        if drawn:
            for t in range(_T):
                who = lane_numbers() + splat_bits(_U(first + base + t * _L))
                word, other = threefry(who, splat_bits(_U(0)), k0, k1)
                r2, c, s = polar(word, other)
                store(x, t * _L, splat(prior) * root(r2) * c)
                store(x, BLOCK + t * _L, splat(prior) * root(r2) * s)
        else:
            for lane in range(BLOCK):
                point = min(base + lane, count - 1)
                x[lane], x[BLOCK + lane] = start[point, 0], start[point, 1]
        record = 0
        for k in range(steps):
            for stage in range(2 if heun else 1):
                row = k + stage * ahead
                for i in range(2 * _T):
                    z = load(x, i * _L)
                    z = z + load(slope, i * _L) if stage == 1 else z
                    store(v, i * _L, lower_of(higher_of(z, low), high))
                at = row * per_step
                if reading:
                    for t in range(_T):
                        who = lane_numbers() + splat_bits(_U(first + base + t * _L))
                        s0, s1 = threefry(who, splat_bits(_U(k)), k4, k5)
                        store(state, t * _L, from_bits(s0))
                        store(state, BLOCK + t * _L, from_bits(s1))
                    for i in range(2 * _T):
                        z = load(v, i * _L)
                        store(square, i * _L, z * z)
                    _layer(a, weights, 0, v, bias, at, 2, h1, rows, lowest, highest)
                    _layer(variance, variances, 0, square, bias_variance, 0, 2, h1, rows, zero, highest)
                    _disturb(a, variance, square, state, live, zero, high)
                    _layer(b, weights, at_2, a, bias, at + h1, h1, h2, rows, lowest, highest)
                    _layer(variance, variances, at_2, square, bias_variance, h1, h1, h2, rows, zero, highest)
                    _disturb(b, variance, square, state, live, zero, high)
                    _tile_2(n, 0, weights, at_3, b, 0, bias, at + h1 + h2, h2, lowest, highest)
                    _tile_2(variance, 0, variances, at_3, square, 0, bias_variance, h1 + h2, h2, zero, highest)
                    _disturb(n, variance, square, state, 2, lowest, highest)
                else:
                    _layer(a, weights, 0, v, bias, at, 2, h1, rows, zero, high)
                    _layer(b, weights, at_2, a, bias, at + h1, h1, h2, rows, zero, high)
                    _tile_2(n, 0, weights, at_3, b, 0, bias, at + h1 + h2, h2, lowest, highest)
                if heun:
                    # The increment itself is kept: at the second end it is averaged with the first.
                    keep, gain = splat(rates[row, 0] - np.float32(1.0)), splat(rates[row, 1])
                    for i in range(2 * _T):
                        z = load(x, i * _L)
                        if stage == 1:
                            z = z + load(slope, i * _L)
                        z = fma(gain, load(n, i * _L), fma(keep, z, shift_0 if i < _T else shift_1))
                        store(slope, i * _L, half * (load(slope, i * _L) + z) if stage == 1 else z)
            keep, gain, spread = splat(rates[k, 0]), splat(rates[k, 1]), splat(rates[k, 2] * share)
            for t in range(_T):
                p, q = t * _L, BLOCK + t * _L
                x0, x1 = load(x, p), load(x, q)
                if heun:
                    x0, x1 = x0 + load(slope, p), x1 + load(slope, q)
                else:
                    x0 = fma(gain, load(n, p), fma(keep, x0, shift_0))
                    x1 = fma(gain, load(n, q), fma(keep, x1, shift_1))
                if noisy:
                    who = lane_numbers() + splat_bits(_U(first + base + p))
                    for draw in range(draws):
                        word, other = threefry(who, splat_bits(_U(k * draws + draw)), k2, k3)
                        r2, c, s = polar(word, other)
                        r = root(r2) * spread
                        x0, x1 = fma(r, c, x0), fma(r, s, x1)
                store(x, p, x0)
                store(x, q, x1)
            if (k + 1) % every == 0 or k == steps - 1:
                for lane in range(min(BLOCK, count - base)):
                    out[record, base + lane, 0] = x[lane]
                    out[record, base + lane, 1] = x[BLOCK + lane]
                record += 1
