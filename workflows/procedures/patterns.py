"""Conductance patterns: the paper's moon and star, and files."""

import math
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from workflows.errors import RequestError

Floats = npt.NDArray[np.float64]

WINDOW = (20e-6, 100e-6)
"""The device's linear window, S (paper, Fig. 2d: 0.02-0.10 mS)."""
LEVELS = 64
_MAX_BYTES = 64 << 20
_FEW_BYTES, _BYTES_A_CELL = 1 << 16, 64


def moon_star(rows: int = 32, cols: int = 32, levels: int = LEVELS) -> Floats:
    """A crescent moon and a five-pointed star in graded conductances, after the paper's Fig. 2f.

    The background, the crescent and the star each carry a slow gradient, so that the pattern spreads over `levels`
    (>= 2) equally spaced conductances of `WINDOW`, both ends included, as an analog array must (54 of 64 occur in
    32x32 cells).

    Returns:
        Targets in S, shape (rows, cols).
    """
    y, x = np.mgrid[0:rows, 0:cols]
    u, v = (x + 0.5) / cols, (y + 0.5) / rows
    shade = 0.42 * (0.5 * u + 0.5 * v)  # night sky, darker at the top left
    moon = (np.hypot(u - 0.36, v - 0.55) < 0.31) & (np.hypot(u - 0.50, v - 0.46) > 0.27)
    shade = np.where(moon, 0.5 + 0.5 * (v - 0.24) / 0.62, shade)
    angle = np.arctan2(u - 0.72, -(v - 0.30))
    # Radius of a five-pointed star's outline at a given angle: a straight edge between tip and notch.
    tip, notch = 0.21, 0.085
    phase = np.abs((angle / (2 * np.pi / 5) + 0.5) % 1 - 0.5) * 2 * np.pi / 5
    edge = tip * notch * np.sin(np.pi / 5) / (notch * np.sin(np.pi / 5 - phase) + tip * np.sin(phase))
    distance = np.hypot(u - 0.72, v - 0.30)
    shade = np.where(distance < edge, 0.5 + 0.5 * (1 - distance / tip), shade)
    steps = np.round(np.clip(shade, 0, 1) * (levels - 1))
    low, high = WINDOW
    return np.asarray(low + steps / (levels - 1) * (high - low), dtype=np.float64)


def load_pattern(name: str, rows: int, cols: int) -> Floats:
    """A named pattern, or targets in S from a .npy or .csv file of shape (rows, cols); NaN leaves a cell alone.

    Raises:
        RequestError: unknown name, missing or unreadable file, wrong shape, or values that are no conductances.
    """
    if name == "moon-star":
        return moon_star(rows, cols)
    try:
        path = Path(name).expanduser()
        if path.suffix not in (".npy", ".csv"):
            raise RequestError(
                f"pattern {name!r} is unknown; give moon-star, or a .npy or .csv file of conductances in S"
            )
        if not path.is_file():
            raise RequestError(f"pattern file {name} not found")
        size, most = path.stat().st_size, min(_MAX_BYTES, _FEW_BYTES + rows * cols * _BYTES_A_CELL)
        if size > most:
            raise RequestError(
                f"pattern file {name} is larger than the {most} bytes that a pattern of {rows}x{cols} cells can need"
            )
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an empty file is told of by its shape
            if path.suffix == ".npy":
                raw = _array(file, size)
            else:  # a spreadsheet's CSV may begin with a byte-order mark
                raw = np.loadtxt(file, delimiter=",", ndmin=2, encoding="utf-8-sig")
        if not isinstance(raw, np.ndarray) or raw.dtype.kind not in "iuf":
            raise ValueError(f"it holds {getattr(raw, 'dtype', 'an archive')}, not real numbers")
        values = np.asarray(raw, dtype=np.float64)
    except (ValueError, TypeError, OSError, EOFError, MemoryError, RuntimeError, OverflowError) as error:
        raise RequestError(f"pattern file {name} can't be read as numbers: {' '.join(str(error).split())}") from error
    if values.shape != (rows, cols):
        raise RequestError(f"pattern file {name} has shape {values.shape}; this array needs {(rows, cols)}")
    if np.isinf(values).any() or not np.isfinite(values).any():
        raise RequestError(f"pattern file {name} must hold finite conductances in S (NaN leaves a cell alone)")
    return values


def _array(file: BinaryIO, size: int) -> npt.NDArray[Any]:
    """The array of an open .npy file, which may not claim more than the file holds, nor be a pickle."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"version {version} of the format is unknown")
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, _, dtype = header(file)
    except Exception as error:  # numpy reads it as Python: besides its ValueError there are tokenize's and the parser's
        raise ValueError(f"its header can't be read: {error}") from error
    if dtype.hasobject or math.prod(shape) * dtype.itemsize > size:
        raise ValueError(f"it claims {shape} of {dtype}, which it can't hold")
    file.seek(0)
    return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def check_targets(target: Floats, low: float, high: float) -> None:
    """Refuse targets outside the device's window.

    Raises:
        RequestError: naming the first such cell and, where the values look like microsiemens, saying so.
    """
    bad = np.argwhere((target < low) | (target > high))
    if not len(bad):
        return
    row, col = (int(i) for i in bad[0])
    value = float(target[row, col])
    hint = "; the file must be in siemens (20 uS is 2e-5)" if value > 1e-3 else ""
    raise RequestError(
        f"target of cell ({row}, {col}) is {value * 1e6:g} uS, outside the device's window of "
        f"{low * 1e6:g}..{high * 1e6:g} uS ({len(bad)} such cells){hint}; nothing was pulsed"
    )
