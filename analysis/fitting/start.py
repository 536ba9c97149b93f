"""Where the sampling of pulses begins: the observations by polarity, and the constants that suit all cells at once."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from analysis.fitting import kernel
from analysis.fitting.model import MICRO, RESETS, SETS, Floats
from analysis.fitting.observations import Steps


class Side:
    """The observations of one polarity, for cells 0..n-1."""

    def __init__(
        self, obs: Floats, cell: npt.NDArray[np.int64], count: int, is_set: bool, base: Mapping[str, float]
    ) -> None:
        self.obs = obs
        self.first = np.searchsorted(cell, np.arange(count + 1)).astype(np.int64)
        self.seen = np.diff(self.first) > 0
        self._run: Any = kernel.set_likelihood if is_set else kernel.reset_likelihood
        self._floor, self._full = base["relax_floor"], base["relax_full"] * MICRO

    def each(self, latent: Floats, shared: Floats) -> Floats:
        """Likelihood of each pulse, 1/uS, (n,), as `likelihood` takes it."""
        out = np.zeros(len(self.obs))
        if len(self.obs):
            every = np.repeat(latent, np.diff(self.first), axis=0)
            first = np.arange(len(self.obs) + 1)
            self._run(self.obs, first, np.ascontiguousarray(every), shared, self._floor, self._full, out)
        return np.asarray(np.exp(out))

    def by_cell(self, each: Floats) -> Floats:
        """Sums of pulses' values by cell, (cells,)."""
        cell = np.repeat(np.arange(len(self.seen)), np.diff(self.first))
        return np.asarray(np.bincount(cell, each, minlength=len(self.seen)), dtype=np.float64)

    def bottoms(self, g_min: Floats) -> None:
        """Tell each cell's G_min, uS, (cells,): where downward jumps end."""
        self.obs[:, 12] = np.minimum(self.obs[:, 0], np.repeat(g_min, np.diff(self.first)))

    def likelihood(self, latent: Floats, shared: Floats) -> Floats:
        """Log likelihood of each cell's pulses, (cells,), given its own constants and the common ones."""
        out = np.zeros(len(self.first) - 1)
        if len(self.obs):
            self._run(self.obs, self.first, np.ascontiguousarray(latent), shared, self._floor, self._full, out)
        return out


def start(sides: tuple[Side, ...], base: Mapping[str, float], relax_b: float) -> tuple[Floats, Floats]:
    """Means and common constants from which to sample: the best ones without spread between cells."""
    means = np.array(
        [base["k_g"] * MICRO, base["v_t"], base["v_s"], base["g_max"] * MICRO, base["v_r"], base["g_min"] * MICRO]
    )
    shared = np.array([
        base["v0"], max(base["c2c"], 5e-3), max(base["reset_sigma"], 0.03), max(base["jump_probability"], 2e-3),
        max(base["jump_sigma"] * MICRO, 0.5), max(base["relax_a"] * MICRO, 1e-3), max(relax_b, 1e-3),
    ])  # fmt: skip
    count = len(sides[0].seen)
    few = np.arange(0, count, max(1, count // 48))

    def cut(side: Side, is_set: bool) -> Side:
        rows = np.concatenate([np.arange(side.first[c], side.first[c + 1]) for c in few])
        cell = np.repeat(np.arange(len(few)), np.diff(side.first)[few])
        if is_set and len(rows):
            # Where cells stop at their own G_max the gate's law doesn't show, and one G_max for all would bend it.
            after = side.obs[rows, 1]
            free = after < 0.75 * min(means[3], float(np.quantile(after, 0.98)))
            rows, cell = rows[free], cell[free]
        return Side(np.ascontiguousarray(side.obs[rows]), cell, len(few), is_set, base)

    small = cut(sides[0], True), cut(sides[1], False)

    def unpack(x: Floats) -> tuple[Floats, Floats]:
        m, s = means.copy(), shared.copy()
        m[[0, 5]] *= np.exp(np.clip(x[[0, 5]], -1.5, 1.5))
        m[[1, 2, 4]] += x[[1, 2, 4]]
        s[0] *= float(np.exp(np.clip(x[3], -1.5, 1.5)))
        # Spread between cells passes for jitter here.
        s[1] = max(s[1], 0.06) * float(np.exp(np.clip(x[6], -2, 2)))
        return m, s

    def cost(x: Floats) -> float:
        m, s = unpack(x)
        every = np.tile(m, (len(few), 1))
        fitted = small[0].likelihood(every[:, SETS], s).sum() + small[1].likelihood(every[:, RESETS], s).sum()
        return float(-fitted + 0.5 * np.sum((x / 0.7) ** 2))

    first = np.vstack([np.zeros(7), np.diag([0.1, 0.05, 0.1, 0.2, 0.1, 0.2, 0.3])])
    found = minimize(
        cost,
        np.zeros(7),
        method="Nelder-Mead",
        options={"initial_simplex": first, "maxfev": 260, "xatol": 1e-3, "fatol": 0.5},
    )
    m, s = unpack(found.x)
    s[1] = max(0.5 * s[1], 5e-3)
    return m, s


def begin_at(values: Floats, cell: npt.NDArray[np.int64], seen: Floats, quantile: float) -> None:
    """Start cells at a quantile of what they showed, in place."""
    for one in np.unique(cell):
        values[one] = max(float(np.quantile(seen[cell == one], quantile)), 0.1)


def gate_line(sets: Steps, g_max: float) -> tuple[float, float, npt.NDArray[np.bool_]] | None:
    """The gate's law from the strongest SETs alone: medians by gate, a line through those below any G_max.

    Args:
        sets: SETs of all cells.
        g_max: what G_max is about, S.

    Returns:
        k_g (S/V), V_t (V), and which pulses ended well below the line, (n,); None without two gates.
    """
    if not len(sets):
        return None
    strong = (sets.volts > sets.volts.max() - 0.15) & (sets.after > 1.3 * sets.before)
    gates, which = np.unique(np.round(sets.gate, 2), return_inverse=True)
    count = np.bincount(which[strong], minlength=len(gates))
    median = np.array(
        [np.median(sets.after[strong & (which == i)]) if count[i] >= 8 else np.nan for i in range(len(gates))]
    )
    known = np.isfinite(median)
    if known.sum() < 2:
        return None
    straight = known & (median < 0.75 * min(g_max, float(np.nanmax(median))))
    if straight.sum() < 2:
        straight = known
    slope, offset = np.polyfit(gates[straight], median[straight], 1)
    if not slope > 0:
        return None
    threshold = -offset / slope
    short = known & (slope * (gates - threshold) > 1.06 * np.where(known, median, np.inf))
    return float(slope), float(threshold), np.asarray(strong & short[which])
