"""Weights to conductances and back, and the place of every weight on the arrays.

A weight w of layer l becomes the memory conductance G = g_fixed + w * scale_l. The row's shared negative weight takes
g_fixed away again, and the layer's transimpedance amplifier, whose gain is 1 / scale_l in units per siemens, gives the
weight back. `scale_l` is free for each layer, because each layer has its own amplifiers. Rows of an array are outputs
(source lines), columns are inputs (bit lines); the last input of a layer is its bias, driven by a constant unit.

Sources: shared negative weight of 50 uS, more than 64 linear states between 20 and 100 uS and arrays of 32 x 32 from
the paper (Fig. 2 and Methods). The paper gives no map; this one is the project's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from analysis.errors import AnalysisError

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

ARRAY_SHAPE = (32, 32)


class MappingError(AnalysisError):
    """A weight does not fit into the conductance window, or a layer not onto its array."""


@dataclass(frozen=True)
class ConductanceWindow:
    """The conductances a cell may be given, in siemens, in `n_levels` equal steps, and the shared negative weight."""

    g_min: float = 20e-6
    g_max: float = 100e-6
    g_fixed: float = 50e-6
    n_levels: int = 64

    def __post_init__(self) -> None:
        """Refuse a window that holds no weight of either sign."""
        if not 0.0 <= self.g_min < self.g_fixed < self.g_max:
            raise ValueError(f"need 0 <= g_min < g_fixed < g_max, got {self.g_min}, {self.g_fixed}, {self.g_max} S")
        if self.n_levels < 2:
            raise ValueError(f"need at least 2 levels, got {self.n_levels}")

    @property
    def step(self) -> float:
        """Distance of neighbouring levels, S (1.27 uS by default)."""
        return (self.g_max - self.g_min) / (self.n_levels - 1)

    def quantise(self, conductance: Array) -> Array:
        """Return the nearest level of each conductance, S; what lies outside the window goes to its edge."""
        index = np.rint((np.asarray(conductance, dtype=np.float64) - self.g_min) / self.step)
        return self.g_min + np.clip(index, 0, self.n_levels - 1) * self.step

    def largest_scale(self, weights: Array) -> float:
        """Return the largest scale, S per unit, at which all of `weights` fit; g_fixed - g_min if all are 0."""
        up, down = float(np.max(weights, initial=0.0)), float(-np.min(weights, initial=0.0))
        room = [(self.g_max - self.g_fixed) / up] if up > 0.0 else []
        room += [(self.g_fixed - self.g_min) / down] if down > 0.0 else []
        return min(room, default=self.g_fixed - self.g_min)

    def conductance(self, weights: Array, scale: float, layer: int = 0) -> Array:
        """Return g_fixed + weights * scale, S; raise MappingError naming the worst weight if one does not fit."""
        weights = np.asarray(weights, dtype=np.float64)
        if not np.isfinite(weights).all():
            row, column = (int(i) for i in np.argwhere(~np.isfinite(weights))[0])
            raise MappingError(f"layer {layer}, row {row}, column {column}: weight is {weights[row, column]}")
        g = self.g_fixed + weights * scale
        excess = np.maximum(g - self.g_max, self.g_min - g)
        # A scale that was computed to fit exactly may miss the edge by rounding.
        if excess.max() > 1e-9 * self.g_max:
            row, column = (int(i) for i in np.unravel_index(int(excess.argmax()), excess.shape))
            edge, side = (self.g_max, "above") if g[row, column] > self.g_fixed else (self.g_min, "below")
            raise MappingError(
                f"layer {layer}, row {row}, column {column}: weight {weights[row, column]:.4g} needs "
                f"{g[row, column] * 1e6:.4g} uS, {excess[row, column] * 1e6:.4g} uS {side} the window's edge of "
                f"{edge * 1e6:.4g} uS at {scale * 1e6:.4g} uS per unit; "
                f"{self.largest_scale(weights) * 1e6:.4g} uS per unit would fit"
            )
        return np.clip(g, self.g_min, self.g_max)

    def weights(self, conductance: Array, scale: float) -> Array:
        """Return (conductance - g_fixed) / scale, the weights that conductances stand for."""
        return (np.asarray(conductance, dtype=np.float64) - self.g_fixed) / scale


@dataclass(frozen=True)
class LayerMap:
    """One layer on one array: weight [i, j] is the cell at `rows[i]`, `columns[j]` of array `array`.

    `target` (n_out, n_in + 1) is in siemens, `scale` in siemens per unit weight.
    """

    array: int
    rows: Indices
    columns: Indices
    scale: float
    target: Array

    @property
    def gain(self) -> float:
        """Gain of the layer's amplifiers, units per siemens."""
        return 1.0 / self.scale


@dataclass(frozen=True)
class StuckWeight:
    """A weight that had to go onto a stuck cell: where it is, what it should be and what the cell makes of it."""

    layer: int
    row: int
    column: int
    array_row: int
    array_column: int
    weight: float
    stuck_weight: float

    def __str__(self) -> str:
        """Return one line for a log."""
        return (
            f"layer {self.layer}, row {self.row}, column {self.column}: weight {self.weight:.3g} becomes "
            f"{self.stuck_weight:.3g} on the stuck cell ({self.array_row}, {self.array_column})"
        )


@dataclass(frozen=True)
class NetworkMap:
    """All layers of a network on their arrays, one array a layer."""

    window: ConductanceWindow
    layers: tuple[LayerMap, ...]
    stuck: tuple[StuckWeight, ...] = ()
    shape: tuple[int, int] = field(default=ARRAY_SHAPE)

    @property
    def target(self) -> Array:
        """Target conductances (n_arrays, 32, 32) in S, NaN where a cell is not used."""
        full = np.full((len(self.layers), *self.shape), np.nan)
        for layer in self.layers:
            full[layer.array][np.ix_(layer.rows, layer.columns)] = layer.target
        return full

    def layer_conductances(self, measured: Array) -> tuple[Array, ...]:
        """Return each layer's (n_out, n_in + 1) conductances out of measured arrays (n_arrays, 32, 32), S."""
        expected = (len(self.layers), *self.shape)
        if measured.shape != expected:
            raise MappingError(f"measured conductances have shape {measured.shape}, the map needs {expected}")
        parts = tuple(measured[layer.array][np.ix_(layer.rows, layer.columns)] for layer in self.layers)
        for index, part in enumerate(parts):
            missing = int((~np.isfinite(part)).sum())
            if missing:
                raise MappingError(f"layer {index}: {missing} of {part.size} cells have no measured conductance")
        return parts

    def measured_weights(self, measured: Array) -> tuple[Array, ...]:
        """Return the weights that measured arrays (n_arrays, 32, 32), S, stand for: the inverse of the map."""
        parts = self.layer_conductances(measured)
        return tuple(self.window.weights(g, layer.scale) for g, layer in zip(parts, self.layers, strict=True))


def map_network(
    weights: Sequence[Array],
    *,
    scales: Sequence[float] | None = None,
    stuck: Array | None = None,
    window: ConductanceWindow | None = None,
    quantised: bool = True,
    shape: tuple[int, int] = ARRAY_SHAPE,
) -> NetworkMap:
    """Map layers of weights, each (n_out, n_in + 1) with the bias last, onto one array each.

    `scales` in S per unit weight; None takes for each layer the largest that fits. `stuck` (n_arrays, 32, 32) holds
    the conductance, S, of each stuck cell and NaN elsewhere. Where no assignment of rows and columns avoids them, the
    one is taken that makes the squared error of the conductances small, and `stuck` of the result lists what remains.
    Raise MappingError if a weight or a layer does not fit.
    """
    window = window or ConductanceWindow()
    if scales is not None and len(scales) != len(weights):
        raise MappingError(f"{len(weights)} layers but {len(scales)} scales")
    if stuck is None:
        stuck = np.full((len(weights), *shape), np.nan)
    if stuck.shape != (len(weights), *shape):
        raise MappingError(f"stuck cells have shape {stuck.shape}, the map needs {(len(weights), *shape)}")
    layers: list[LayerMap] = []
    left: list[StuckWeight] = []
    for index, w in enumerate(weights):
        w = np.asarray(w, dtype=np.float64)
        if w.ndim != 2 or w.shape[0] > shape[0] or w.shape[1] > shape[1]:
            raise MappingError(f"layer {index} has shape {w.shape}, which does not fit onto an array of {shape}")
        scale = window.largest_scale(w) if scales is None else float(scales[index])
        target = window.conductance(w, scale, index)
        target = window.quantise(target) if quantised else target
        rows, columns = place(target, stuck[index])
        layers.append(LayerMap(index, rows, columns, scale, target))
        held = stuck[index][np.ix_(rows, columns)]
        for i, j in np.argwhere(np.isfinite(held)):
            left.append(
                StuckWeight(
                    index,
                    int(i),
                    int(j),
                    int(rows[i]),
                    int(columns[j]),
                    float(w[i, j]),
                    float(window.weights(held[i, j], scale)),
                )
            )
    return NetworkMap(window, tuple(layers), tuple(left), shape)


def place(target: Array, stuck: Array) -> tuple[Indices, Indices]:
    """Return rows (n_out,) and columns (n_in,) of the array for a layer's `target` (n_out, n_in), S.

    `stuck` has the array's shape, S, NaN where a cell is healthy. Starting from a few different sets of columns, rows
    and columns are improved in turn, one exchange at a time, until no exchange lowers the summed squared error at
    stuck cells; the first set that meets no stuck cell wins. The search is deterministic.
    """
    n_out, n_in = target.shape
    n_columns = stuck.shape[1]
    bad = np.isfinite(stuck)
    if not bad[:n_out, :n_in].any():
        return np.arange(n_out), np.arange(n_in)
    clean_first = np.argsort(bad.sum(axis=0), kind="stable")
    starts = [np.arange(n_columns), clean_first, *(np.roll(clean_first, -shift) for shift in range(1, n_columns))]
    best: tuple[float, Indices, Indices] | None = None
    for columns in starts:
        rows = np.argsort(bad[:, columns[:n_in]].sum(axis=1), kind="stable")
        cost = np.inf
        while True:
            rows = _improve(rows, _costs(target, stuck[:, columns[:n_in]]), n_out)
            columns = _improve(columns, _costs(target.T, stuck[rows[:n_out]].T), n_in)
            error = stuck[np.ix_(rows[:n_out], columns[:n_in])] - target
            now = float(np.nansum(error**2))
            if now >= cost:
                break
            cost = now
        if best is None or cost < best[0]:
            best = cost, rows[:n_out].copy(), columns[:n_in].copy()
        if not bad[np.ix_(rows[:n_out], columns[:n_in])].any():
            break
    assert best is not None
    return best[1], best[2]


def _costs(target: Array, stuck: Array) -> Array:
    """Squared error (n, m) of putting line i of `target` (n, k) onto line r of `stuck` (m, k)."""
    return np.asarray(np.nansum((target[:, None, :] - stuck[None, :, :]) ** 2, axis=2), dtype=np.float64)


def _improve(order: Indices, cost: Array, n: int) -> Indices:
    """Exchange entries of `order` while that lowers sum_i cost[i, order[i]] over the first `n`; the rest are spare."""
    order = order.copy()
    padded = np.zeros((len(order), cost.shape[1]))
    padded[:n] = cost
    least = 1e-9 * float(cost.max())
    while True:
        current = padded[:, order]
        own = np.diag(current)
        gain = own[:, None] + own[None, :] - current - current.T
        i, j = np.unravel_index(int(gain.argmax()), gain.shape)
        if gain[i, j] <= least:
            return order
        order[[i, j]] = order[[j, i]]
