"""An equation as the flat arrays that the compiled loop reads, and its working memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.kernel.compiled import BLOCK, HUGE
from analysis.kernel.equation import Equation

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]

_LINE = 64  # bytes of a cache line; a vector that crosses one is read twice


@dataclass(frozen=True)
class Packed:
    """Arrays of `compiled.advance`; hidden layers filled up with dead nodes to whole tiles of `rows`."""

    weights: Floats
    bias: Floats
    variances: Floats
    bias_variance: Floats
    width: int
    rows: int
    rates: Floats
    shift: Floats
    clamp: Floats


def pack(equation: Equation) -> Packed:
    """Return the equation for the compiled loop."""
    hidden = equation.hidden
    rows = min((7, 8), key=lambda rows: -(-hidden // rows) * rows)
    width = -(-hidden // rows) * rows
    layers = _padded(equation.weights, width)
    biases = np.concatenate([w[:, -1] for w in layers])
    bias = np.tile(biases, (len(equation.rates), 1))
    bias[:, :hidden] += equation.embedding
    bias[:, width : width + hidden] += equation.embedding
    noisy = _padded(equation.variances, width) if equation.variances else [np.zeros((1, 2))] * 3
    low, high = equation.clamp or (-HUGE, HUGE)
    return Packed(
        _tiled(layers, rows),
        _aligned(bias.ravel()),
        _tiled(noisy, rows),
        _aligned(np.concatenate([s[:, -1] for s in noisy])),
        width,
        rows,
        equation.rates.astype(np.float32),
        np.array(equation.shift, dtype=np.float32),
        np.array([low, high], dtype=np.float32),
    )


def working_memory(width: int) -> tuple[Floats, ...]:
    """Return one thread's arrays: x, slope, v, two layers, n, squares, variances, states of the generators."""
    # A layer of odd width gets its last number in a pair, whose other half needs a place.
    pair, layer, state = 2 * BLOCK, (width + 1) * BLOCK, 5 * BLOCK
    sizes = (pair, pair, pair, layer, layer, pair, layer, layer, state, state, pair)
    return tuple(_aligned(np.zeros(size)) for size in sizes)


def _padded(layers: Sequence[Array], width: int) -> list[Array]:
    first, second, last = (np.asarray(w, dtype=np.float64) for w in layers)
    n = len(first)
    out = [np.zeros((width, 3)), np.zeros((width, width + 1)), np.zeros((2, width + 1))]
    out[0][:n] = first
    out[1][:n, :n], out[1][:n, -1] = second[:, :-1], second[:, -1]
    out[2][:, :n], out[2][:, -1] = last[:, :-1], last[:, -1]
    return out


def _tiled(layers: Sequence[Array], rows: int) -> Floats:
    parts = []
    for w, high in zip(layers, (rows, rows, 2), strict=True):
        parts += [w[i : i + high, :-1].T.ravel() for i in range(0, len(w), high)]
    # A last node without a partner is paired with one that counts for nothing.
    return _aligned(np.concatenate([*parts, np.zeros(2)]))


def _aligned(values: Array) -> Floats:
    """Return a float32 copy that starts on a cache line."""
    memory = np.empty(values.size + _LINE // 4, dtype=np.float32)
    skip = -memory.ctypes.data % _LINE // 4
    out = memory[skip : skip + values.size]
    out[:] = values
    return out
