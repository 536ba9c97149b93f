"""How far cells are from their targets, counted into classes for a picture."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_PER_TOLERANCE: Final = 4
_REACH: Final = 5
"""Tolerances to either side that the classes span; fixed, so that the picture of a run under way stands still."""
_CLASSES: Final = 40


@dataclass(frozen=True)
class Spread:
    """Errors of cells, after less target, in siemens.

    Attributes:
        edges: of the classes, [class + 1].
        touched: cells in each class that were pulsed or have a verdict, [class].
        untouched: the other ones, [class].
        below, above: cells beyond the first and the last edge; they are in none of the classes.
        inside: cells within the tolerance; -1 where there is no tolerance.
        mean, sigma: of the touched cells within the edges, S; NaN without any.
    """

    edges: Floats
    touched: npt.NDArray[np.int64]
    untouched: npt.NDArray[np.int64]
    below: int
    above: int
    inside: int
    mean: float
    sigma: float


def spread(now: Floats, target: Floats, touched: npt.NDArray[np.bool_], tolerance: float) -> Spread | None:
    """Count the errors of one array's cells; None where no cell has both a conductance and a target.

    Args:
        now: last measured conductances, S, any shape; NaN: not known.
        target: of the same shape, S; NaN: none.
        touched: of the same shape.
        tolerance: half width of the window, S; NaN: none, the classes then span what there is.
    """
    errors = now - target
    known = np.isfinite(errors)
    if not known.any():
        return None
    reach = _REACH * tolerance if tolerance > 0 else float(np.quantile(np.abs(errors[known]), 0.99)) or 1e-6
    classes = 2 * _REACH * _PER_TOLERANCE if tolerance > 0 else _CLASSES
    edges = np.linspace(-reach, reach, classes + 1)
    old, new = errors[known & touched], errors[known & ~touched]
    shown = old[np.abs(old) <= reach]
    return Spread(
        edges=edges,
        touched=np.histogram(old, edges)[0].astype(np.int64),
        untouched=np.histogram(new, edges)[0].astype(np.int64),
        below=int(np.count_nonzero(errors[known] < -reach)),
        above=int(np.count_nonzero(errors[known] > reach)),
        inside=int(np.count_nonzero(np.abs(errors[known]) <= tolerance)) if tolerance > 0 else -1,
        mean=float(shown.mean()) if shown.size else math.nan,
        sigma=float(shown.std()) if shown.size else math.nan,
    )
