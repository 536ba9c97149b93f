"""The equation in numpy: slow, readable, and on any machine; the same random bits as the compiled kernel."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from analysis.kernel.counter import Words, pair, pair_of_word, threefry, xoroshiro
from analysis.kernel.equation import Equation

Floats = npt.NDArray[np.float32]

_GROUP = 8192  # trajectories at a time: their layers stay in the cache


def start_points(prior: float, keys: Words, first: int, n: int) -> Floats:
    """Return the starting points (n, 2) of trajectories `first` and following."""
    who = (np.arange(n, dtype=np.uint64) + np.uint64(first)).astype(np.uint32)
    return np.asarray(np.float32(prior) * pair(*threefry(who, np.uint32(0), keys[:2])).T, dtype=np.float32)


def solve_plain(
    equation: Equation, start: Floats, keys: Words, first: int, draws: int, every: int, out: Floats
) -> None:
    """Take points start (n, 2) through the equation; out (records, n, 2) gets every `every`-th and the last point."""
    for base in range(0, len(start), _GROUP):
        part = slice(base, min(base + _GROUP, len(start)))
        _solve_group(equation, start[part], keys, first + base, draws, every, out[:, part])


def _solve_group(
    equation: Equation, start: Floats, keys: Words, first: int, draws: int, every: int, out: Floats
) -> None:
    low, high = (np.float32(limit) for limit in equation.clamp or (-np.inf, np.inf))
    weights = [np.ascontiguousarray(w.T, dtype=np.float32) for w in equation.weights]
    variances = [np.ascontiguousarray(s.T, dtype=np.float32) for s in equation.variances or ()]
    rates, embedding = equation.rates.astype(np.float32), equation.embedding.astype(np.float32)
    shift = np.array(equation.shift, dtype=np.float32)
    who = (np.arange(len(start), dtype=np.uint64) + np.uint64(first)).astype(np.uint32)
    stochastic = equation.stochastic

    def network(x: Floats, step: int, row: int) -> Floats:
        s0, s1 = threefry(who, np.uint32(step), keys[4:]) if variances else (who, who)
        v = np.clip(x, low, high)
        for layer, w in enumerate(weights):
            z = v @ w[:-1] + w[-1]
            if layer < 2:
                z += embedding[row]
            if variances:
                sigma = np.sqrt((v * v) @ variances[layer][:-1] + variances[layer][-1])
                for i in range(0, z.shape[1], 2):
                    word, s0, s1 = xoroshiro(s0, s1)
                    normal = pair_of_word(word).T
                    wide = min(2, z.shape[1] - i)
                    z[:, i : i + wide] += sigma[:, i : i + wide] * normal[:, :wide]
            v = np.clip(z, np.float32(0.0), high) if layer < 2 else z
        return v

    def increment(x: Floats, step: int, row: int) -> Floats:
        keep, gain = rates[row, 0] - np.float32(1.0), rates[row, 1]
        return np.asarray(keep * x + gain * network(x, step, row) + shift, dtype=np.float32)

    x, record = start, 0
    for k in range(equation.steps):
        change = increment(x, k, k)
        if equation.heun:
            change = np.float32(0.5) * (change + increment(x + change, k, k + equation.ahead))
        x = x + change
        if stochastic:
            spread = rates[k, 2] * np.float32(1.0 / np.sqrt(draws))
            for draw in range(draws):
                x = x + spread * pair(*threefry(who, np.uint32(k * draws + draw), keys[2:4])).T
        if (k + 1) % every == 0 or k == equation.steps - 1:
            out[record] = x
            record += 1
