"""Yield and statistics over cells, rows, columns, arrays and chips, with 95 % intervals; whether arrays differ."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from analysis.errors import AnalysisError
from analysis.wafer.collect import QUANTITIES, CellMap, Quantity, Wafer
from analysis.wafer.patterns import Pattern, patterns
from analysis.wafer.permutation import MOST, Floats, found_at
from analysis.wafer.shares import wilson

_SEED = 20250
"""Of the permutations: a page made again from the same runs says the same."""


@dataclass(frozen=True)
class Stat:
    """Cells summed up.

    Attributes:
        name: of what: a chip, an array, a row, ...
        count: cells with a value.
        mean: with its 95 % interval `low`, `high` (of a verdict the share of good cells, Wilson's interval).
        sigma, median: standard deviation and median; NaN of a verdict.
        least, most: the extremes.
    """

    name: str
    count: int
    mean: float
    low: float
    high: float
    sigma: float
    median: float
    least: float
    most: float


@dataclass(frozen=True)
class Looked:
    """A pattern in one array's map, and whether it counts among all that were looked for on the page."""

    chip: str
    array: int
    pattern: Pattern
    found: bool


@dataclass(frozen=True)
class View:
    """A quantity over everything that is known.

    Attributes:
        quantity: which.
        maps: by chip and array.
        whole: all cells.
        chips, arrays, rows, columns: parts of it; rows and columns over all arrays together.
        differ: probability that arrays which are alike would differ so much; NaN of fewer than two arrays.
        looked: patterns, array by array.
        worst: cells furthest off (bad ones of a verdict): (chip, array, row, col, value).
    """

    quantity: Quantity
    maps: tuple[CellMap, ...]
    whole: Stat
    chips: tuple[Stat, ...]
    arrays: tuple[Stat, ...]
    rows: tuple[Stat, ...]
    columns: tuple[Stat, ...]
    differ: float
    looked: tuple[Looked, ...]
    worst: tuple[tuple[str, int, int, int, float], ...]


def views(wafer: Wafer, *, rate: float = 0.05, worst: int = 12) -> tuple[View, ...]:
    """Every quantity that the wafer has, with its patterns.

    Args:
        wafer: gathered maps.
        rate: false discovery rate of all patterns that are looked for together; 0 .. 1.
        worst: how many cells are named.

    Raises:
        AnalysisError: no run says anything of cells, or a rate that is none.
    """
    if not 0 < rate < 1:
        raise AnalysisError(f"the rate of false findings must lie between 0 and 1, not {rate}")
    if not wafer.maps:
        raise AnalysisError("these runs say nothing of single cells: give runs that program, form, read or pulse cells")
    rng = np.random.default_rng(_SEED)
    names = [name for name in QUANTITIES if wafer.of(name)]
    seen: dict[str, list[tuple[CellMap, Pattern]]] = {
        # A ledger shows what was asked of cells; a pattern in it is the experimenter's.
        name: [] if QUANTITIES[name].stress else [(m, p) for m in wafer.of(name) for p in patterns(m.values, rng)]
        for name in names
    }
    found = iter(found_at([p.p for name in names for _, p in seen[name]], rate))
    out = []
    for name in names:
        maps, quantity = wafer.of(name), QUANTITIES[name]
        looked = tuple(Looked(m.chip, m.array, p, bool(next(found))) for m, p in seen[name])
        out.append(
            View(
                quantity, maps, stat("all cells", [m.values for m in maps], quantity),
                tuple(stat(f"chip {chip or 'not named'}", [m.values for m in maps if m.chip == chip], quantity)
                      for chip in dict.fromkeys(m.chip for m in maps)),
                tuple(stat(f"chip {m.chip or 'not named'}, array {m.array}", [m.values], quantity) for m in maps),
                _lines("row", maps, quantity, 0), _lines("column", maps, quantity, 1),
                arrays_differ(maps, quantity, rng), looked, _worst(maps, quantity, worst),
            )
        )  # fmt: skip
    return tuple(out)


def stat(name: str, maps: Sequence[Floats], quantity: Quantity) -> Stat:
    """Sum up the known cells of maps (or of lines of them)."""
    parts = [np.asarray(one, dtype=np.float64).ravel() for one in maps]
    values = np.concatenate(parts) if parts else np.zeros(0)
    values = values[np.isfinite(values)]
    nan, n = float("nan"), len(values)
    if not n:
        return Stat(name, 0, nan, nan, nan, nan, nan, nan, nan)
    mean, least, most = float(values.mean()), float(values.min()), float(values.max())
    if quantity.verdict:
        return Stat(name, n, mean, *wilson(round(mean * n), n), nan, nan, least, most)
    sigma = float(values.std(ddof=1)) if n > 1 else nan
    half = float(stats.t.ppf(0.975, n - 1)) * sigma / n**0.5 if n > 1 else nan
    return Stat(name, n, mean, mean - half, mean + half, sigma, float(np.median(values)), least, most)


def _lines(kind: str, maps: Sequence[CellMap], quantity: Quantity, axis: int) -> tuple[Stat, ...]:
    most = max(m.values.shape[axis] for m in maps)
    return tuple(
        stat(
            f"{kind} {k}", [np.asarray(m.values.take(k, axis=axis)) for m in maps if k < m.values.shape[axis]], quantity
        )
        for k in range(most)
    )


def arrays_differ(maps: Sequence[CellMap], quantity: Quantity, rng: np.random.Generator) -> float:
    """Probability that arrays whose cells are alike would differ as much as these do; NaN of fewer than two.

    Verdicts: good and bad cells dealt out to arrays of these sizes by chance, the G statistic. Else: Welch's test of
    the means, which lets arrays have spreads of their own.
    """
    groups = [m.values[np.isfinite(m.values)] for m in maps]
    groups = [g for g in groups if len(g) >= 2]
    if len(groups) < 2:
        return float("nan")
    if quantity.verdict:
        sizes = np.array([len(g) for g in groups])
        bad = np.array([int((g == 0).sum()) for g in groups])
        if not 0 < bad.sum() < sizes.sum():
            return 1.0
        drawn = rng.multivariate_hypergeometric(sizes, int(bad.sum()), size=MOST)
        seen, chance = _g_statistic(bad[None], sizes)[0], _g_statistic(drawn, sizes)
        return float((np.sum(chance >= seen - 1e-9) + 1) / (MOST + 1))
    groups = [g for g in groups if g.var() > 0]
    if len(groups) < 2:
        return float("nan")
    n = np.array([len(g) for g in groups], dtype=np.float64)
    mean, var = np.array([g.mean() for g in groups]), np.array([g.var(ddof=1) for g in groups])
    weight = n / var
    k, total = len(groups), weight.sum()
    middle = (weight * mean).sum() / total
    slack = (((1 - weight / total) ** 2) / (n - 1)).sum()
    f = (weight * (mean - middle) ** 2).sum() / (k - 1) / (1 + 2 * (k - 2) / (k**2 - 1) * slack)
    return float(stats.f.sf(f, k - 1, (k**2 - 1) / (3 * slack)))


def _g_statistic(bad: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> Floats:
    """The G statistic of each row of `bad`, (n, arrays), against equal shares of bad cells."""
    good = sizes - bad
    share = bad.sum(axis=1, keepdims=True) / sizes.sum()
    terms = np.zeros(bad.shape)
    for seen, expected in ((bad, sizes * share), (good, sizes * (1 - share))):
        terms += np.where(seen > 0, seen * np.log(np.maximum(seen, 1) / expected), 0.0)
    return np.asarray(2 * terms.sum(axis=1))


def _worst(maps: Sequence[CellMap], quantity: Quantity, most: int) -> tuple[tuple[str, int, int, int, float], ...]:
    """Bad cells of a verdict; those with most stress; those furthest from 0 or from the median otherwise."""
    known = np.concatenate([m.values[np.isfinite(m.values)] for m in maps])
    middle = 1.0 if quantity.verdict else 0.0 if quantity.about_zero or quantity.stress else float(np.median(known))
    found = []
    for m in maps:
        off = np.abs(np.nan_to_num(m.values - middle))
        order = np.argsort(-off, axis=None, kind="stable")[:most]
        for row, col in zip(*np.unravel_index(order, off.shape), strict=True):
            if off[row, col] > 0:
                found.append((float(off[row, col]), (m.chip, m.array, int(row), int(col), float(m.values[row, col]))))
    found.sort(key=lambda one: (-one[0], one[1]))
    return tuple(cell for _, cell in found[:most])
