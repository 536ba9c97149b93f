"""The equation in numpy: slow, readable, and on any machine; the same random bits as the compiled kernel."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from analysis.kernel.counter import READ_SEGMENT, SEGMENT, Words, pair, polar, root, threefry, xoroshiro
from analysis.kernel.equation import Equation

Floats = npt.NDArray[np.float32]

State = tuple[Words, Words]

_GROUP = 8192  # trajectories at a time: their layers stay in the cache


def start_points(prior: float, keys: Words, first: int, n: int) -> Floats:
    """Return the starting points (n, 2) of trajectories `first` and following."""
    who = (np.arange(n, dtype=np.uint64) + np.uint64(first)).astype(np.uint32)
    return np.asarray(np.float32(prior) * pair(*_drawn(threefry(who, np.uint32(0), keys[:2]))[0]).T, dtype=np.float32)


def _drawn(state: State) -> tuple[State, State]:
    """Return the words of a pair of normal numbers, and the generator's next state."""
    word, *following = xoroshiro(*state)
    return (word, state[1]), (following[0], following[1])


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

    def network(x: Floats, state: State, row: int) -> tuple[Floats, State]:
        v = np.clip(x, low, high)
        for layer, w in enumerate(weights):
            z = v @ w[:-1] + w[-1]
            if layer < 2:
                z += embedding[row]
            if variances:
                variance = (v * v) @ variances[layer][:-1] + variances[layer][-1]
                for i in range(0, z.shape[1], 2):
                    words, state = _drawn(state)
                    square, *turned = polar(*words)
                    for j, part in zip(range(i, z.shape[1]), turned, strict=False):
                        z[:, j] += root(variance[:, j] * square) * part
            v = np.clip(z, np.float32(0.0), high) if layer < 2 else z
        return v, state

    def increment(x: Floats, state: State, row: int) -> tuple[Floats, State]:
        keep, gain = rates[row, 0] - np.float32(1.0), rates[row, 1]
        n, state = network(x, state, row)
        return np.asarray(keep * x + gain * n + shift, dtype=np.float32), state

    x, record = start, 0
    state = stream = (who, who)
    for k in range(equation.steps):
        if variances and k % READ_SEGMENT == 0:
            state = threefry(who, np.uint32(k // READ_SEGMENT), keys[4:])
        change, after = increment(x, state, k)
        if equation.heun:
            # Both ends of a step see the same cells.
            change = np.float32(0.5) * (change + increment(x + change, state, k + equation.ahead)[0])
        x, state = x + change, after
        if stochastic:
            spread = rates[k, 2] * np.float32(1.0 / np.sqrt(draws))
            for draw in range(k * draws, (k + 1) * draws):
                if draw % SEGMENT == 0:
                    stream = threefry(who, np.uint32(draw // SEGMENT), keys[2:4])
                words, stream = _drawn(stream)
                x = x + spread * pair(*words).T
        if (k + 1) % every == 0 or k == equation.steps - 1:
            out[record] = x
            record += 1
