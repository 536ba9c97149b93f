"""Spatial patterns in a map of cells: rows, columns, gradient, edge, neighbours; each with a size, interval, p-value.

Every p-value is by permutation (`analysis.wafer.permutation`), so that it needs no Gaussian cells. Rows are tested by
permuting within columns, columns within rows: what the one does can't be taken for the other. Intervals are 95 %.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from analysis.wafer.permutation import Floats, p_value, shuffled, shuffled_within_columns
from analysis.wafer.shares import wilson

Kind = Literal["rows", "columns", "gradient", "edge", "neighbours"]

KINDS: tuple[Kind, ...] = ("rows", "columns", "gradient", "edge", "neighbours")
LEAST = 24
"""Known cells that a map must have to be tested."""
_BLOCKS = 6
"""Blocks along each side that the interval of the neighbours' correlation leaves out in turn."""
_CENTRE = 200
"""Permutations that say what Moran's I is by chance."""


@dataclass(frozen=True)
class Pattern:
    """A pattern that was looked for in a map.

    Attributes:
        kind: which.
        size: "rows", "columns": their share of the variance; "gradient": the change over the array in the direction
            of its steepest rise, in the map's unit; "edge": mean of the outermost cells less that of the others;
            "neighbours": Moran's I of cells side by side, rows and columns taken out, less what it is by chance.
        low, high: ends of its 95 % interval; NaN where it can't be known.
        p: chance alone gives so much, or more, with this probability; NaN if the map is too small.
        angle: of a gradient, degrees from along the columns' numbers towards the rows'; else NaN.
    """

    kind: Kind
    size: float
    low: float
    high: float
    p: float
    angle: float = float("nan")


def patterns(values: Floats, rng: np.random.Generator) -> tuple[Pattern, ...]:
    """Look for every kind of pattern in a map.

    Args:
        values: (rows, cols), NaN where not known.
        rng: of the permutations.

    Returns:
        One `Pattern` a kind; none of a map with fewer than `LEAST` known cells or without any spread.
    """
    known = np.isfinite(values)
    if known.sum() < LEAST or np.ptp(values[known]) == 0:
        return ()
    looks: dict[Kind, Callable[[], Pattern]] = {
        "rows": lambda: _lines("rows", values, rng),
        "columns": lambda: _lines("columns", values.T, rng),
        "gradient": lambda: _gradient(values, rng),
        "edge": lambda: _edge(values, rng),
        "neighbours": lambda: _neighbours(values, rng),
    }
    return tuple(looks[kind]() for kind in KINDS)


# --- rows and columns -------------------------------------------------------------------------------------------------


def _lines(kind: Kind, values: Floats, rng: np.random.Generator) -> Pattern:
    """Lines along the first axis, columns along the second taken out."""
    flat = values - _mean(values, 0)

    def statistic(maps: Floats) -> Floats:
        count = np.isfinite(maps).sum(axis=-1)
        sums = np.nansum(maps, axis=-1)
        return np.asarray((sums**2 / np.maximum(count, 1)).sum(axis=-1))

    seen = float(statistic(flat))
    p = p_value(seen, lambda n: statistic(shuffled_within_columns(flat, n, rng)), values.size)
    share, low, high = _share_of_variance(values)
    return Pattern(kind, share, low, high, p)


def _share_of_variance(values: Floats) -> tuple[float, float, float]:
    """Share of the variance that lies between lines, columns taken out, with its interval from the F distribution."""
    known = np.isfinite(values)
    lines, columns = known.any(axis=1).sum(), known.any(axis=0).sum()
    each = known.sum(axis=1)[known.any(axis=1)]
    n = len(each) / float((1.0 / each).sum())  # the harmonic mean, for maps with holes
    freedom = int(known.sum()) - int(lines) - int(columns) + 1
    if lines < 2 or columns < 2 or freedom < 1 or n <= 1:
        return float("nan"), float("nan"), float("nan")
    line, _ = _effects(values)
    rest = _rest(values)
    within = float(np.nansum(rest**2)) / freedom
    offset = line[known.any(axis=1), 0]
    between = n * float(offset.var(ddof=1))
    if within == 0:
        return 1.0, 1.0, 1.0
    f = between / within
    upper, lower = stats.f.ppf([0.975, 0.025], int(lines) - 1, freedom)

    def share(ratio: float) -> float:
        return float(np.clip((ratio - 1.0) / (ratio - 1.0 + n), 0.0, 1.0)) if ratio > 1.0 else 0.0

    return share(f), share(f / float(upper)), share(f / float(lower))


def _effects(values: Floats, rounds: int = 12) -> tuple[Floats, Floats]:
    """Additive line (..., rows, 1) and column (..., 1, cols) effects by least squares; the mean is in the columns'.

    Alternating means are exact at once where every cell is known, and close to it after a few rounds where some aren't.
    """
    line = np.zeros((*values.shape[:-1], 1))
    column = np.zeros((*values.shape[:-2], 1, values.shape[-1]))
    for _ in range(rounds if np.isnan(values).any() else 1):
        column = np.nan_to_num(_mean(values - line, -2))
        line = np.nan_to_num(_mean(values - column, -1))
    return line, column


def _mean(values: Floats, axis: int) -> Floats:
    known = np.isfinite(values)
    count = known.sum(axis=axis, keepdims=True)
    total = np.where(known, values, 0.0).sum(axis=axis, keepdims=True)
    return np.asarray(np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0))


# --- gradient and edge ------------------------------------------------------------------------------------------------


def _gradient(values: Floats, rng: np.random.Generator) -> Pattern:
    known = np.isfinite(values)
    y, x = _places(values.shape)
    design = np.stack([np.ones(known.sum()), x[known], y[known]], axis=1)
    if np.linalg.matrix_rank(design) < 3:
        nan = float("nan")
        return Pattern("gradient", nan, nan, nan, nan)
    inverse = np.linalg.inv(design.T @ design)
    v = values[known]
    fit = inverse @ design.T @ v
    rest = v - design @ fit
    freedom = len(v) - 3
    sigma2 = float(rest @ rest) / max(freedom, 1)
    slope = fit[1:]
    covariance = sigma2 * inverse[1:, 1:]
    size = float(np.hypot(*slope))
    direction = slope / size if size else np.array([1.0, 0.0])
    # Both slopes lie in an ellipse with 95 %; seen along any direction, chosen afterwards or not (Scheffé).
    reach = float(np.sqrt(2 * stats.f.ppf(0.95, 2, max(freedom, 1)) * direction @ covariance @ direction))
    solve = inverse[1:] @ design.T
    metric = np.linalg.inv(inverse[1:, 1:])

    def statistic(maps: Floats) -> Floats:
        slopes = maps[..., known] @ solve.T
        return np.asarray(np.einsum("...i,ij,...j->...", slopes, metric, slopes))

    p = p_value(float(statistic(values)), lambda n: statistic(shuffled(values, n, rng)), values.size)
    angle = float(np.degrees(np.arctan2(slope[1], slope[0])))
    return Pattern("gradient", size, max(size - reach, 0.0), size + reach, p, angle)


def _places(shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Row and column of every cell, from -1/2 at one end of the array to 1/2 at the other."""
    rows, cols = ((np.arange(n) - (n - 1) / 2) / max(n - 1, 1) for n in shape)
    y, x = np.meshgrid(rows, cols, indexing="ij")
    return y, x


def _edge(values: Floats, rng: np.random.Generator) -> Pattern:
    rim = np.ones(values.shape, dtype=np.bool_)
    rim[1:-1, 1:-1] = False
    known = np.isfinite(values)
    out, inner = values[rim & known], values[~rim & known]
    nan = float("nan")
    if len(out) < 2 or len(inner) < 2:
        return Pattern("edge", nan, nan, nan, nan)
    a, b = out.var(ddof=1) / len(out), inner.var(ddof=1) / len(inner)
    size = float(out.mean() - inner.mean())
    spread = a + b
    freedom = spread**2 / (a**2 / (len(out) - 1) + b**2 / (len(inner) - 1)) if spread else 1.0
    half = float(stats.t.ppf(0.975, freedom) * np.sqrt(spread)) if spread else 0.0
    low, high = size - half, size + half
    if np.isin(values[known], (0.0, 1.0)).all():
        low, high = _shares_apart(out, inner)
    weight = np.where(rim[known], 1.0 / len(out), -1.0 / len(inner))

    def statistic(maps: Floats) -> Floats:
        return np.abs(maps[..., known] @ weight)

    p = p_value(float(statistic(values)), lambda n: statistic(shuffled(values, n, rng)), values.size)
    return Pattern("edge", size, low, high, p)


def _shares_apart(first: Floats, second: Floats) -> tuple[float, float]:
    """95 % interval of the difference of two shares, from their score intervals (Newcombe, method 10, 1998)."""
    (a, b), (p, q) = (wilson(int(v.sum()), len(v)) for v in (first, second))
    x, y = float(first.mean()), float(second.mean())
    return x - y - float(np.hypot(x - a, q - y)), x - y + float(np.hypot(b - x, y - p))


# --- neighbours -------------------------------------------------------------------------------------------------------


def _neighbours(values: Floats, rng: np.random.Generator) -> Pattern:
    """Moran's I of what rows and columns leave, less what chance gives, cells side by side counting as neighbours."""
    rest = _rest(values)
    rounds = 3  # of the permuted maps: that close is enough

    def drawn(n: int) -> Floats:
        return moran(_rest(shuffled(rest, n, rng), rounds))

    # Taking out rows and columns makes neighbours a little unlike: in the permuted maps, too.
    chance = float(np.nanmean(drawn(_CENTRE)))
    seen = float(moran(rest))
    p = p_value(abs(seen - chance), lambda n: np.abs(drawn(n) - chance), values.size)
    low, high = _without_blocks(rest, seen)
    return Pattern("neighbours", seen - chance, low - chance, high - chance, p)


def _rest(values: Floats, rounds: int = 12) -> Floats:
    line, column = _effects(values, rounds)
    return np.asarray(values - line - column)


def moran(maps: npt.NDArray[np.float64]) -> Floats:
    """Moran's I of maps (..., rows, cols); cells that share a side are neighbours, those not known have none."""
    known = np.isfinite(maps)
    count = known.sum(axis=(-2, -1), keepdims=True)
    d = np.where(known, maps, 0.0)
    d = np.where(known, d - d.sum(axis=(-2, -1), keepdims=True) / np.maximum(count, 1), 0.0)
    products = (d[..., 1:, :] * d[..., :-1, :]).sum(axis=(-2, -1)) + (d[..., 1:] * d[..., :-1]).sum(axis=(-2, -1))
    pairs = (known[..., 1:, :] & known[..., :-1, :]).sum(axis=(-2, -1)) + (known[..., 1:] & known[..., :-1]).sum(
        axis=(-2, -1)
    )
    square = (d**2).sum(axis=(-2, -1)) / np.maximum(count[..., 0, 0], 1)
    safe = (pairs > 0) & (square > 0)
    return np.asarray(np.divide(products, pairs * square, out=np.full(square.shape, np.nan), where=safe))


def _without_blocks(rest: Floats, seen: float) -> tuple[float, float]:
    """95 % interval by leaving out a block of the array at a time: neighbours alike make cells no independent ones."""
    parts = [np.array_split(np.arange(n), min(_BLOCKS, n)) for n in rest.shape]
    estimates = []
    for rows in parts[0]:
        for cols in parts[1]:
            less = rest.copy()
            less[np.ix_(rows, cols)] = np.nan
            estimates.append(float(moran(less)))
    found = np.array(estimates)[np.isfinite(estimates)]
    count = len(found)
    if count < 4 or not np.isfinite(seen):
        return float("nan"), float("nan")
    error = float(np.sqrt((count - 1) / count * ((found - found.mean()) ** 2).sum()))
    half = float(stats.t.ppf(0.975, count - 1)) * error
    return max(seen - half, -1.0), min(seen + half, 1.0)
