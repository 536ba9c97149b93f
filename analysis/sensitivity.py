"""How much each cell of a trained network matters, and what tolerance its programming may have for it.

The measure is the Fisher information of the network's output, taken as Gaussian with unit variance: the mean, over the
points that solutions come by, of the squared gradient of both outputs with respect to the cell's conductance. A point
counts with (b dtau)^2, which is how far an error of the output there moves the solution. Independent errors of standard
deviation s_i then move a solution by a variance of sum h_i s_i^2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from analysis.diffusion.hardware import AnalogNetwork, Drive
from analysis.errors import AnalysisError
from analysis.mapping import NetworkMap

Array = npt.NDArray[np.float64]

NARROWEST, WIDEST = 0.5, 2.5
"""Bounds of a cell's tolerance, in mean tolerances: reads can't tell much less, and more would be visible."""


def sensitivity(network: AnalogNetwork, drive: Drive, rng: np.random.Generator, points: int = 256) -> tuple[Array, ...]:
    """Mean information on the solution in each conductance, 1/S^2 (units of the solution), in the layers' shapes.

    Args:
        network: with its target conductances.
        drive: of the run; its equation is solved without noise from draws of its prior.
        rng: draws the initial states.
        points: how many.
    """
    x = np.asarray(drive.prior.draw(points, rng), dtype=np.float64)
    total = [np.zeros_like(w) for w in network.weights]
    step = 1.0 / drive.ticks
    for tick in range(drive.ticks):
        a, b = float(drive.a[tick]), float(drive.b[tick])
        squares, n = _squares(network, x, drive.embedding[tick])
        for part, square in zip(total, squares, strict=True):
            part += (b * step) ** 2 * square
        x = x + step * (a * x + b * n + drive.trim)
    # z = gain (G - g_fixed) v: a conductance's gradient is its weight's, times the layer's gain.
    return tuple(gain**2 * part for gain, part in zip(network.gains, total, strict=True))


def _squares(network: AnalogNetwork, x: Array, embedding: Array) -> tuple[list[Array], Array]:
    """Mean squared gradients of the outputs with respect to the weights, summed over outputs; and the outputs."""
    low, high = network.clamp
    weights, inputs, passes = network.weights, [], []
    seen = network.layer_voltages(x, embedding)
    for v in (x, seen[0], seen[1]):
        clamped = np.clip(v, low, high)
        inputs.append(np.column_stack([clamped, np.ones(len(x))]))
        passes.append((v > low) & (v < high))
    squares = [np.zeros_like(w) for w in weights]
    for output in range(len(weights[-1])):
        back = np.zeros((len(x), len(weights[-1])))
        back[:, output] = 1.0
        for layer in (2, 1, 0):
            squares[layer] += (back**2).T @ (inputs[layer] ** 2) / len(x)
            if layer:
                # Behind a clamp or below the rectifier nothing passes back (a rectified voltage is 0: not within).
                back = (back @ weights[layer][:, :-1]) * passes[layer] * (seen[layer - 1] > 0)
    return squares, seen[2]


def tolerances(
    information: Sequence[Array], mean: float, narrowest: float = NARROWEST, widest: float = WIDEST
) -> tuple[Array, ...]:
    """Each cell's tolerance, S: narrow where it matters, wide where it does not, with `mean` over all cells.

    Halving any cell's window costs about the same number of pulses, so that the best use of a budget lets every cell
    contribute alike: tolerance proportional to information^(-1/2), within `narrowest`..`widest` times the mean.

    Args:
        information: of `sensitivity`, one array a layer.
        mean: tolerance, S, that all cells have on average.
        narrowest: lower bound, in means, 0..1.
        widest: upper bound, in means, 1 or more.

    Raises:
        AnalysisError: bounds or mean make no sense, or no cell matters.
    """
    if not (0 < narrowest <= 1 <= widest and mean > 0):
        raise AnalysisError(
            f"tolerances need a mean of more than 0 S and bounds around 1, not {mean:g} S, {narrowest:g}..{widest:g}"
        )
    flat = np.concatenate([part.ravel() for part in information])
    if not (np.isfinite(flat).all() and (flat >= 0).all() and (flat > 0).any()):
        raise AnalysisError("information must be finite and not negative, and some cell must matter")
    shape = 1 / np.sqrt(np.maximum(flat, flat.max() * 1e-12))
    low, high = 0.0, widest / float(shape.min())
    for _ in range(200):  # the mean grows with the scale, from narrowest to widest
        middle = 0.5 * (low + high)
        if np.clip(middle * shape, narrowest, widest).mean() < 1:
            low = middle
        else:
            high = middle
    chosen = mean * np.clip(high * shape, narrowest, widest)
    ends = np.cumsum([part.size for part in information])[:-1]
    return tuple(part.reshape(like.shape) for part, like in zip(np.split(chosen, ends), information, strict=True))


def network_tolerances(network_map: NetworkMap, layers: Sequence[Array], arrays: int = 0) -> Array:
    """Tolerances of the layers' cells at their places, S, (arrays, rows, cols) like `NetworkMap.target`; NaN elsewhere.

    Args:
        network_map: where the layers are.
        layers: of `tolerances`.
        arrays: arrays of the station if they are more than the layers, which come first.
    """
    full = np.full((max(arrays, len(network_map.layers)), *network_map.shape), np.nan)
    for layer, own in zip(network_map.layers, layers, strict=True):
        full[layer.array][np.ix_(layer.rows, layer.columns)] = own
    return full
