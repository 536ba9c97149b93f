"""Compiled functions without allocation, and counter-based random numbers for them.

Draw k of a stream is SplitMix64's output function (Steele, Lea, Flood 2014) applied to key + (k + 1) * golden ratio.
A run's numbers therefore depend on its key alone: not on its place in a batch, nor on what is sampled of it.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
_F = TypeVar("_F", bound=Callable[..., Any])

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def compiled(function: _F) -> _F:
    """Compile with the disk cache, or without it where no cache folder can be written (read-only install)."""
    # Nothing is allocated inside, so numba's reference counting is left out: it costs more than the arithmetic.
    options = {"error_model": "numpy", "fastmath": {"contract", "nsz", "arcp"}, "_nrt": False}
    try:
        return cast(_F, numba.njit(cache=True, **options)(function))
    except RuntimeError:
        return cast(_F, numba.njit(**options)(function))


@compiled
def _mixed(key: np.uint64, counter: np.uint64) -> np.uint64:
    z = key + (counter + np.uint64(1)) * _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))


@compiled
def uniform(key: np.uint64, counter: np.uint64) -> float:
    """In (0, 1), both ends excluded."""
    value: float = ((_mixed(key, counter) >> np.uint64(11)) + 0.5) * (1.0 / 9007199254740992.0)
    return value


def _ziggurat() -> tuple[Array, Array]:
    """Edges x (257,) and densities exp(-x^2/2) (257,) of 256 layers of equal area (Marsaglia & Tsang 2000)."""
    tail, area = 3.6541528853610088, 0.00492867323399
    x = np.empty(257)
    x[0], x[1] = area / np.exp(-0.5 * tail * tail), tail
    for k in range(2, 256):
        x[k] = np.sqrt(-2.0 * np.log(area / x[k - 1] + np.exp(-0.5 * x[k - 1] ** 2)))
    x[256] = 0.0
    return x, np.exp(-0.5 * x * x)


_EDGES, _DENSITIES = _ziggurat()


@compiled
def normal(key: np.uint64, counter: np.uint64) -> float:
    """Standard normal number of one draw; the rare rejections continue on a stream of their own."""
    bits = _mixed(key, counter)
    again = np.uint64(0)
    while True:
        layer = bits & np.uint64(255)
        u = (bits >> np.uint64(11)) * (1.0 / 9007199254740992.0)
        x: float = u * _EDGES[layer]
        sign = 1.0 if bits & np.uint64(256) else -1.0
        if x < _EDGES[layer + np.uint64(1)]:
            return sign * x
        if layer == np.uint64(0):
            tail: float = 0.0
            while True:
                tail = -np.log(uniform(bits, again)) / _EDGES[1]
                if -2.0 * np.log(uniform(bits, again + np.uint64(1))) > tail * tail:
                    break
                again += np.uint64(2)
            x = _EDGES[1] + tail
            return sign * x
        low, high = _DENSITIES[layer], _DENSITIES[layer + np.uint64(1)]
        if low + uniform(bits, again) * (high - low) < np.exp(-0.5 * x * x):
            return sign * x
        bits = _mixed(bits, again + np.uint64(1))
