"""The door to the kernel: `solve` draws trajectories of an equation on the fastest path that the machine has.

Pinned choice: numba with explicit vectors (`simd.py`), because it needs no compiler where the wheel is installed,
spends nine tenths of the processor's measured peak in the matrix products and above 60 % in the whole loop with
diffusion. Where numba is missing or cannot compile, numpy solves the same equation from the same random bits, some
fifty times slower, and says so once; a GPU takes the torch path when asked.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from analysis.errors import AnalysisError
from analysis.kernel.counter import Words, draw_keys
from analysis.kernel.equation import Equation
from analysis.kernel.plain import solve_plain, start_points

Floats = npt.NDArray[np.float32]
PathName = Literal["auto", "compiled", "numpy", "torch"]

_log = logging.getLogger(__name__)
MOST_TRAJECTORIES = 2**32
"""A trajectory's number is one word of the random numbers' counter."""


@dataclass(frozen=True)
class DefaultPath:
    """Which path a machine takes by default, and why not the compiled one."""

    name: Literal["compiled", "numpy"]
    reason: str


@cache
def default_path() -> DefaultPath:
    """Return the machine's path; the first call says it in the log if that is not the compiled one."""
    try:
        import analysis.kernel.compiled  # noqa: F401  # the import is the question
    except Exception as error:
        path = DefaultPath("numpy", f"{type(error).__name__}: {error}")
        _log.warning("the compiled kernel is not available (%s); numpy takes its place, far slower", path.reason)
        return path
    return DefaultPath("compiled", "numba with vectors of the processor's width")


def solve(
    equation: Equation,
    n: int,
    rng: np.random.Generator,
    *,
    start: npt.ArrayLike | None = None,
    threads: int = 1,
    path: PathName = "auto",
    device: str = "cuda",
) -> Floats:
    """Return the end points (n, 2) of `n` trajectories, in units; `start` (n, 2) instead of draws of the prior.

    The result depends on the equation and the generator alone: not on `threads`, and on `path` only by rounding
    (torch: only in distribution).
    """
    ends = trajectories(equation, n, draw_keys(rng), start=start, threads=threads, path=path, device=device)
    return np.asarray(ends[-1])


def trajectories(
    equation: Equation,
    n: int,
    keys: Words,
    *,
    start: npt.ArrayLike | None = None,
    every: int | None = None,
    draws: int = 1,
    first: int = 0,
    threads: int = 1,
    path: PathName = "auto",
    device: str = "cuda",
) -> Floats:
    """Return (records, n, 2): each trajectory after every `every`-th step and at its end (None: at its end alone).

    Args:
        equation: What is solved.
        n: Number of trajectories.
        keys: Six words, from `counter.draw_keys`; with the numbers of trajectories and steps they fix every number.
        start: Starting points (n, 2), or None for draws of the prior.
        every: Steps between records.
        draws: Normal numbers whose scaled sum is one step's. A path of 2 m steps and one of m steps with twice the
            draws follow the same Wiener process.
        first: Number of the first trajectory: parts of a large run can be solved apart.
        threads: Threads of the compiled path.
        path: The path; "auto" is `default_path`.
        device: Device of the torch path.
    """
    if n < 1 or first < 0 or first + n > MOST_TRAJECTORIES:
        raise AnalysisError(f"trajectories {first} to {first + n}: numbers go from 0 to 2^32, and one is the least")
    if draws < 1 or threads < 1 or (every is not None and every < 1):
        raise AnalysisError(f"draws, threads and every are at least 1, not {draws}, {threads}, {every}")
    points = None if start is None else np.ascontiguousarray(start, dtype=np.float32)
    if points is not None and points.shape != (n, 2):
        raise AnalysisError(f"starting points have shape {points.shape}, {n} trajectories need ({n}, 2)")
    every = equation.steps if every is None else every
    out = np.empty((-(-equation.steps // every), n, 2), dtype=np.float32)
    name = default_path().name if path == "auto" else path
    if name == "torch":
        if draws != 1:
            raise AnalysisError("the torch path has no fine draws; use the compiled or the numpy path")
        from analysis.kernel.accelerated import solve_torch

        solve_torch(equation, points, n, keys, every, out, device)
    elif name == "compiled":
        _solve_compiled(equation, points, keys, first, draws, every, threads, out)
    else:
        points = start_points(equation.prior, keys, first, n) if points is None else points
        solve_plain(equation, points, keys, first, draws, every, out)
    return out


def _solve_compiled(
    equation: Equation,
    start: Floats | None,
    keys: Words,
    first: int,
    draws: int,
    every: int,
    threads: int,
    out: Floats,
) -> None:
    from analysis.kernel.compiled import BLOCK, advance
    from analysis.kernel.packing import pack, working_memory

    packed = pack(equation)
    n = out.shape[1]
    none = np.empty((0, 2), dtype=np.float32)

    def part(begin: int, end: int) -> None:
        advance(
            packed.weights, packed.bias, packed.variances, packed.bias_variance, packed.width,
            equation.hidden, packed.rows, packed.rates, packed.shift, packed.clamp, keys, equation.steps,
            equation.heun, equation.ahead, equation.stochastic, draws, equation.variances is not None, every,
            first + begin, none if start is None else start[begin:end], np.float32(equation.prior),
            working_memory(packed.width), out[:, begin:end],
        )  # fmt: skip

    blocks = -(-n // BLOCK)
    threads = min(threads, blocks)
    if threads == 1:
        part(0, n)
        return
    # More parts than threads: one that the machine holds up does not hold up the others.
    edges = sorted({min(n, BLOCK * (blocks * i // (4 * threads))) for i in range(4 * threads)} | {n})
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(part, begin, end) for begin, end in pairwise(edges)]:
            done.result()
