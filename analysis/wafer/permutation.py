"""Tests by permutation that stop when they know enough (Besag and Clifford, Biometrika 78, 1991).

Under the hypothesis that the permuted values could as well have been where the others are, a p-value says how often
chance alone gives a statistic as large as the one seen. Once `ENOUGH` permutations did, k of l, the p-value is k / l;
after `MOST` permutations it is (k + 1) / (MOST + 1). Either is valid: it is at most p in a share p of the cases.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

ENOUGH = 20
MOST = 1999
_BATCH = 200
_NUMBERS = 4_000_000
"""Values that a batch of permutations may have, for memory's sake."""


def p_value(seen: float, drawn: Callable[[int], Floats], size: int) -> float:
    """The p-value of a statistic that is large where there is something.

    Args:
        seen: the statistic.
        drawn: gives the statistics (n,) of n permutations.
        size: values that a permutation has.
    """
    if not np.isfinite(seen):
        return float("nan")
    batch = max(1, min(_BATCH, _NUMBERS // max(size, 1)))
    exceeded, done = 0, 0
    # Sums of the same numbers in another order differ in their last digits: that is a tie, and ties count.
    border = seen - 1e-9 * abs(seen)
    while done < MOST:
        count = min(batch, MOST - done)
        hits = np.flatnonzero(drawn(count) >= border)
        if exceeded + len(hits) >= ENOUGH:
            return ENOUGH / float(done + hits[ENOUGH - exceeded - 1] + 1)
        exceeded, done = exceeded + len(hits), done + count
    return (exceeded + 1) / (done + 1)


def shuffled(values: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Finite values of a map (rows, cols) put in each other's places, (count, rows, cols); NaN stays where it is."""
    known = np.isfinite(values)
    out = np.full((count, *values.shape), np.nan)
    out[:, known] = rng.permuted(np.broadcast_to(values[known], (count, int(known.sum()))), axis=1)
    return out


def shuffled_within_columns(values: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Finite values put in each other's places within their column only, (count, rows, cols)."""
    known = np.isfinite(values)
    # The known ones of each column on top, in chance's order; then back to where the known ones are.
    keys = np.where(known, rng.random((count, *values.shape)), 2.0)
    order = np.argsort(keys, axis=1)
    places = np.argsort(~known, axis=0, kind="stable")
    out = np.full(keys.shape, np.nan)
    mixed = np.take_along_axis(np.broadcast_to(values, keys.shape), order, axis=1)
    np.put_along_axis(out, np.broadcast_to(places, keys.shape), mixed, axis=1)
    return out


def found_at(p_values: npt.ArrayLike, rate: float = 0.05) -> npt.NDArray[np.bool_]:
    """Which of several tests found something, at a false discovery rate (Benjamini and Hochberg, 1995).

    Where there is nothing at all anywhere, a share `rate` of such pages shows a finding. NaN is no test.
    """
    p = np.asarray(p_values, dtype=np.float64)
    out = np.zeros(p.shape, dtype=np.bool_)
    tested = np.flatnonzero(np.isfinite(p))
    if not len(tested):
        return out
    order = tested[np.argsort(p[tested], kind="stable")]
    good = np.flatnonzero(p[order] <= rate * np.arange(1, len(order) + 1) / len(order))
    if len(good):
        out[order[: good[-1] + 1]] = True
    return out
