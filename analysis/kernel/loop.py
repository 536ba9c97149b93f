"""The loop's equation, one node or one trajectory at a time: what the twin's circuit and the sweeps' kernel both solve.

    dx/dt = drift x + gain n(x) + rest,    n: layers of  limited or rectified(bias + sum_j w_j v_j + deviation)

Each function takes numbers, or vectors of numbers (`simd.Lanes`) in all arguments, and becomes part of its caller. The
circuit calls them with the volts of one run in double precision, the kernel with vectors of trajectories; how sums over
many cells are laid out in memory, and what amplifiers add to them, is the callers' own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

_C = TypeVar("_C", bound=Callable[..., Any])


def _shared(function: _C) -> _C:
    """Compile for whatever calls; nothing is allocated, so numba's reference counting is left out."""
    options = {"error_model": "numpy", "fastmath": {"contract", "nsz"}, "_nrt": False, "forceinline": True}
    return cast(_C, numba.njit(**options)(function))


@_shared
def limited(value: Any, low: Any, high: Any) -> Any:
    """What a clamp lets through; a rectifier is a clamp at 0."""
    return min(max(value, low), high)


@_shared
def disturbed(value: Any, deviation: Any, normal: Any) -> Any:
    """A node's sum with its read noise.

    Each cell fluctuates by sigma times a normal number of its own. A node sums many of them, so one normal number of
    deviation sqrt(sum sigma^2 v^2) has exactly the same law.
    """
    return deviation * normal + value


@_shared
def rate(x: Any, n: Any, drift: Any, gain: Any, rest: Any) -> Any:
    """Slope of an integrator; with a step's length in all coefficients its increment, with 1 + drift the next x."""
    return gain * n + (drift * x + rest)


@_shared
def mean_of_ends(first: Any, second: Any, half: Any) -> Any:
    """Heun's slope, or increment, from those at a step's beginning and end; `half` is 0.5."""
    return half * (first + second)
