"""The reverse equation for blocks of trajectories side by side, all steps in one call, everything in cache.

x <- keep x + gain n(x) + shift + spread z, where n is the network with its clamps, rectifiers and read noise, is
`loop.rate` with a step's length in its coefficients. Heun's method takes the mean of the increments at both ends.

A block of trajectories goes from layer to layer in tiles, what the registers hold: while one waits for the sums of a
layer, the processor works on another. Without read noise the last hidden layer's nodes are never stored.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.kernel.counter import READ_SEGMENT, SEGMENT
from analysis.kernel.loop import disturbed, limited, mean_of_ends, rate
from analysis.kernel.normals import compiled, polar, root, threefry, xoroshiro
from analysis.kernel.simd import (
    TILE,
    bits_of,
    fma,
    from_bits,
    lane_numbers,
    load,
    splat,
    splat_bits,
    store,
    tile_of,
)

Floats = npt.NDArray[np.float32]
Words = npt.NDArray[np.uint32]

TILES = 2  # measured: one tile waits a third of the time, three do not wait less
BLOCK = TILES * TILE
"""Trajectories that go through the network together."""
HUGE = np.float32(3.0e38)
"""A limit that nothing reaches."""
_open_7, _open_8 = (tile_of(rows, "none") for rows in (7, 8))
_cut_7, _cut_8 = (tile_of(rows, "low") for rows in (7, 8))
_held_7, _held_8 = (tile_of(rows, "both") for rows in (7, 8))
_cut_into_2_7, _cut_into_2_8 = (tile_of(rows, "low", fold=2) for rows in (7, 8))
_held_into_2_7, _held_into_2_8 = (tile_of(rows, "both", fold=2) for rows in (7, 8))
_U, _PAIR = np.uint32, 2 * TILE
_LAST, _LAST_READ = SEGMENT - 1, READ_SEGMENT - 1


@compiled(inline=True)
def _layer(
    out: Floats, o: int, weights: Floats, w: int, values: Floats, v: int, bias: Floats, b: int, n_in: int, parts: int,
    rows: int, limits: int, high: np.float32,
) -> None:  # fmt: skip
    """Biases and weights from `b` and `w` on, times values (n_in, TILE), with 0 to 2 limits: (parts rows, TILE)."""
    low = np.float32(0.0)
    for _ in range(parts):
        if rows == 7:
            if limits == 0:
                _open_7(out, o, weights, w, values, v, bias, b, n_in, low, high, 0)
            elif limits == 1:
                _cut_7(out, o, weights, w, values, v, bias, b, n_in, low, high, 0)
            else:
                _held_7(out, o, weights, w, values, v, bias, b, n_in, low, high, 0)
        elif limits == 0:
            _open_8(out, o, weights, w, values, v, bias, b, n_in, low, high, 0)
        elif limits == 1:
            _cut_8(out, o, weights, w, values, v, bias, b, n_in, low, high, 0)
        else:
            _held_8(out, o, weights, w, values, v, bias, b, n_in, low, high, 0)
        o, w, b = o + rows * TILE, w + rows * n_in, b + rows


@compiled(inline=True)
def _last_layers(
    out: Floats, o: int, weights: Floats, w: int, values: Floats, v: int, bias: Floats, b: int, n_in: int, parts: int,
    rows: int, limits: int, high: np.float32,
) -> None:  # fmt: skip
    """The same as two layers, the hidden one's nodes going straight into the sums of the last one's two."""
    low, last, last_bias = np.float32(0.0), w + n_in * parts * rows, b + parts * rows
    store(out, o, splat(bias[last_bias]))
    store(out, o + TILE, splat(bias[last_bias + 1]))
    for _ in range(parts):
        if rows == 7:
            if limits == 1:
                _cut_into_2_7(out, o, weights, w, values, v, bias, b, n_in, low, high, last)
            else:
                _held_into_2_7(out, o, weights, w, values, v, bias, b, n_in, low, high, last)
        elif limits == 1:
            _cut_into_2_8(out, o, weights, w, values, v, bias, b, n_in, low, high, last)
        else:
            _held_into_2_8(out, o, weights, w, values, v, bias, b, n_in, low, high, last)
        w, b, last = w + rows * n_in, b + rows, last + 2 * rows


@compiled(inline=True)
def _disturb(
    out: Floats, o: int, variance: Floats, v: int, square: Floats, q: int, state: Floats, s: int, n: int,
    limits: int, high: Any, weights: Floats, variances: Floats, w: int, into: Floats, p: int,
) -> None:  # fmt: skip
    """Add a normal number of each node's variance, limit the sum as `_layer` does, and note its square.

    Where `w` is a place of the last layer's weights, sums and squares go into that layer's two sums and variances
    instead, which begin in `into` and `square`.
    """
    low = splat(np.float32(0.0))
    s0, s1 = bits_of(load(state, s)), bits_of(load(state, s + TILE))
    r2, c, d = load(state, s + 2 * TILE), load(state, s + 3 * TILE), load(state, s + 4 * TILE)
    n0, n1, v0, v1 = low, low, low, low
    if w:
        n0, n1, v0, v1 = load(into, p), load(into, p + TILE), load(square, q), load(square, q + TILE)
    for _ in range(0, n, 2):
        # The next pair is begun before this one is used, which has to wait long for its roots.
        sign = s1
        word, s0, s1 = xoroshiro(s0, s1)
        next_r2, next_c, next_d = polar(word, sign)
        y = disturbed(load(out, o), root(load(variance, v) * r2), c)
        # The processor's own root for every other number: the divider works beside the arithmetic.
        z = disturbed(load(out, o + TILE), math.sqrt(load(variance, v + TILE) * r2), d)
        if limits == 2:
            y, z = limited(y, low, high), limited(z, low, high)
        elif limits == 1:
            y, z = max(y, low), max(z, low)
        if w:
            n0, n1 = fma(splat(weights[w]), y, n0), fma(splat(weights[w + 1]), y, n1)
            n0, n1 = fma(splat(weights[w + 2]), z, n0), fma(splat(weights[w + 3]), z, n1)
            y, z = y * y, z * z
            v0, v1 = fma(splat(variances[w]), y, v0), fma(splat(variances[w + 1]), y, v1)
            v0, v1 = fma(splat(variances[w + 2]), z, v0), fma(splat(variances[w + 3]), z, v1)
            w += 4
        else:
            store(out, o, y)
            store(out, o + TILE, z)
            store(square, q, y * y)
            store(square, q + TILE, z * z)
            q += _PAIR
        o, v = o + _PAIR, v + _PAIR
        r2, c, d = next_r2, next_c, next_d
    if w:
        store(into, p, n0)
        store(into, p + TILE, n1)
        store(square, q, v0)
        store(square, q + TILE, v1)
    store(state, s, from_bits(s0))
    store(state, s + TILE, from_bits(s1))
    store(state, s + 2 * TILE, r2)
    store(state, s + 3 * TILE, c)
    store(state, s + 4 * TILE, d)


@compiled(inline=True)
def _seed(state: Floats, s: int, first: int, place: int, k0: np.uint32, k1: np.uint32) -> None:
    """States of a tile's generators for the trajectories from `first` on and one place."""
    s0, s1 = threefry(lane_numbers() + splat_bits(_U(first)), splat_bits(_U(place)), k0, k1)
    store(state, s, from_bits(s0))
    store(state, s + TILE, from_bits(s1))


@compiled(inline=True)
def _begin(state: Floats, s: int) -> None:
    """Draw the first pair of normal numbers."""
    s0, s1 = bits_of(load(state, s)), bits_of(load(state, s + TILE))
    sign = s1
    word, s0, s1 = xoroshiro(s0, s1)
    r2, c, d = polar(word, sign)
    store(state, s, from_bits(s0))
    store(state, s + TILE, from_bits(s1))
    store(state, s + 2 * TILE, r2)
    store(state, s + 3 * TILE, c)
    store(state, s + 4 * TILE, d)


@compiled(inline=True)
def _diffuse(x: Floats, state: Floats, p: int, spread: Any) -> None:
    """Add `spread` times the next pair of normal numbers to each of a tile's points."""
    q = p + TILE
    s0, s1 = bits_of(load(state, p)), bits_of(load(state, q))
    sign = s1
    word, s0, s1 = xoroshiro(s0, s1)
    r2, c, s = polar(word, sign)
    r = root(r2) * spread
    store(x, p, load(x, p) + r * c)
    store(x, q, load(x, q) + r * s)
    store(state, p, from_bits(s0))
    store(state, q, from_bits(s1))


@compiled(inline=False)
def advance(
    weights: Floats, bias: Floats, variances: Floats, bias_variance: Floats, width: int, live: int, rows: int,
    rates: Floats, shift: Floats, clamp: Floats, keys: Words, steps: int, heun: bool, ahead: int,
    noisy: bool, draws: int, reading: bool, every: int, first: int, start: Floats, prior: np.float32, scratch: Any,
    out: Floats,
) -> None:  # fmt: skip
    """Take points start (n, 2) through all steps; out (records, n, 2) gets every `every`-th and the last point.

    weights, variances: the three layers one after another, each in tiles of `rows` (the last: 2) outputs by n_in;
    of a hidden layer's `width` nodes `live` are real, the others dead; bias (steps, 2 width + 2) flat, embedding
    included; bias_variance (2 width + 2,); rates (steps, 3) keep, gain, spread; clamp (2,), open from `HUGE` on; keys
    (6,): two words each for start, diffusion, read noise. `ahead`: rows from a Heun step's beginning to its end.
    `draws`: normal numbers whose scaled sum is one step's, so that coarse steps can follow a fine path. `first` is the
    number of the first trajectory. Where start is empty, points of deviation `prior` are drawn.
    """
    x, slope, v, a, b, n, square, variance, state, before, stream = scratch
    count, per_step, parts = out.shape[1], 2 * width + 2, width // rows
    drawn, unlimited = start.shape[0] == 0, clamp[0] <= -HUGE and clamp[1] >= HUGE
    at_2, at_3 = 2 * width, 2 * width + width * width
    top = clamp[1]
    low, high, zero = splat(clamp[0]), splat(top), splat(np.float32(0.0))
    half = splat(np.float32(0.5))
    limits = 1 if unlimited else 2
    sums = 0 if reading else limits
    last_stage = 1 if heun else 0
    share = np.float32(1.0 / np.sqrt(draws))
    k0, k1, k2, k3, k4, k5 = keys[0], keys[1], keys[2], keys[3], keys[4], keys[5]
    points, layer = TILES * _PAIR, (width + 1) * TILE
    for base in range(0, count, BLOCK):
        if drawn:
            for g in range(TILES):
                p = g * _PAIR
                store(x, p, zero)
                store(x, p + TILE, zero)
                _seed(stream, p, first + base + g * TILE, 0, k0, k1)
                _diffuse(x, stream, p, splat(prior))
        else:
            for lane in range(BLOCK):
                point, at = min(base + lane, count - 1), lane + lane // TILE * TILE
                x[at], x[at + TILE] = start[point, 0], start[point, 1]
        record = 0
        for k in range(steps):
            for stage in range(last_stage + 1):
                row = k + stage * ahead
                at = row * per_step
                source = v
                if stage == 1:
                    for i in range(0, points, TILE):
                        store(v, i, limited(load(x, i) + load(slope, i), low, high))
                elif unlimited:
                    source = x
                else:
                    for i in range(0, points, TILE):
                        store(v, i, limited(load(x, i), low, high))
                for g in range(TILES):
                    p, h, s = g * _PAIR, g * layer, 5 * g * TILE
                    _layer(a, h, weights, 0, source, p, bias, at, 2, parts, rows, sums, top)
                    if reading:
                        for i in range(0, _PAIR, TILE):
                            z = load(source, p + i)
                            store(square, h + i, z * z)
                        _layer(variance, h, variances, 0, square, h, bias_variance, 0, 2, parts, rows, 0, top)
                        if stage == 1:
                            # Both ends of a step see the same cells.
                            for i in range(s, s + 5 * TILE, TILE):
                                store(state, i, load(before, i))
                        elif k & _LAST_READ == 0:
                            _seed(state, s, first + base + g * TILE, k // READ_SEGMENT, k4, k5)
                            _begin(state, s)
                        if heun and stage == 0:
                            for i in range(s, s + 5 * TILE, TILE):
                                store(before, i, load(state, i))
                        _disturb(
                            a, h, variance, h, square, h, state, s, live, limits, high, weights, variances, 0, n, p
                        )
                keep, gain, spread = splat(rates[row, 0]), splat(rates[row, 1]), splat(rates[k, 2] * share)
                for g in range(TILES):
                    p, h, s = g * _PAIR, g * layer, 5 * g * TILE
                    if reading:
                        _layer(b, h, weights, at_2, a, h, bias, at + width, width, parts, rows, 0, top)
                        _layer(
                            variance, h, variances, at_2, square, h, bias_variance, width, width, parts, rows, 0, top
                        )
                        # Rows 0 and 1 of `square`, which the layer has used, become the last layer's variances.
                        for i in range(2):
                            store(n, p + i * TILE, splat(bias[at + 2 * width + i]))
                            store(square, h + i * TILE, splat(bias_variance[2 * width + i]))
                        _disturb(
                            b, h, variance, h, square, h, state, s, live, limits, high, weights, variances, at_3, n, p
                        )
                        _disturb(n, p, square, h, variance, h, state, s, 2, 0, high, weights, variances, 0, n, p)
                    else:
                        _last_layers(n, p, weights, at_2, a, h, bias, at + width, width, parts, rows, limits, top)
                    for i in range(0, _PAIR, TILE):
                        where = load(x, p + i)
                        if stage == 1:
                            where = where + load(slope, p + i)
                        after = rate(where, load(n, p + i), keep, gain, splat(shift[1] if i else shift[0]))
                        if stage == 1:
                            # With both increments: x + (first + second) / 2, and they lead to x + first + second.
                            store(x, p + i, mean_of_ends(load(x, p + i), after, half))
                        elif heun:
                            store(slope, p + i, after - where)
                        else:
                            store(x, p + i, after)
                    if noisy and stage == last_stage:
                        for draw in range(k * draws, (k + 1) * draws):
                            if draw & _LAST == 0:
                                _seed(stream, p, first + base + g * TILE, draw // SEGMENT, k2, k3)
                            _diffuse(x, stream, p, spread)
            if (k + 1) % every == 0 or k == steps - 1:
                for lane in range(min(BLOCK, count - base)):
                    at = lane + lane // TILE * TILE
                    out[record, base + lane, 0], out[record, base + lane, 1] = x[at], x[at + TILE]
                record += 1
