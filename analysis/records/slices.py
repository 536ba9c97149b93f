"""Pieces of a run's file for a screen: a map made small, one cell's events, one capture's outline.

Nothing is read but what is shown, in blocks of bounded size, so that a file of any size costs about the same memory.
Of a file that is being written the datasets are refreshed before they are read.
"""

from dataclasses import dataclass
from typing import Any, Final

import h5py
import numpy as np
import numpy.typing as npt

from analysis.errors import AnalysisError
from analysis.records import layout, nexus
from analysis.records.tables import Cell
from analysis.records.waveforms import PER_CHANNEL

Floats = npt.NDArray[np.float64]

MOST_CELLS: Final = 128
"""Cells along an axis of a map on the screen; of larger arrays every 2nd, 3rd, ... is shown."""
MOST_POINTS: Final = 600
"""Columns of a capture's outline."""
_BLOCK: Final = 1 << 16
"""Events that are read at once; a multiple of the file's chunks."""
_MOST_SAMPLES: Final = 1 << 23
"""Samples of a channel that are read for its outline; of longer captures, stretches spread evenly."""
_STRETCHES: Final = 64
_COLUMNS: Final = ("time", "kind", "outcome", "amplitude", "gate", "width", "conductance")


@dataclass(frozen=True)
class Grid:
    """A map of one array.

    Attributes:
        values: [row, col], in the file's unit; NaN where not known.
        step: every how many-th row and column is shown; 1: all.
    """

    values: Floats
    step: int


def fresh(entry: h5py.Group, path: str, live: bool) -> h5py.Dataset:
    """A dataset as it is now, `live` if its file may be being written.

    Raises:
        AnalysisError: there is none of that name.
    """
    item = entry.get(path)
    if not isinstance(item, h5py.Dataset):
        raise AnalysisError(f"the run's file has no {path}")
    if live:
        item.refresh()
    return item


def grid(entry: h5py.Group, name: str, shape: Cell, number: int, *, live: bool) -> Grid:
    """One array of a map.

    Args:
        entry: of the run's file.
        name: of the map.
        shape: (arrays, rows, cols) by the run's header.
        number: array, from 0.
        live: see `fresh`.

    Raises:
        AnalysisError: there is no such map or array, or the map is not of the run's shape.
    """
    arrays, rows, cols = shape
    if not 0 <= number < arrays:
        raise AnalysisError(f"there is no array {number}: the run has {arrays}")
    group = entry.get(name)
    if group is None or not nexus.is_map(group):
        raise AnalysisError(f"the run's file has no map {name!r}")
    values = fresh(entry, f"{name}/{group.attrs['signal']}", live)
    if values.shape != layout.shape_of(*shape) or values.dtype.kind not in "biuf":
        raise AnalysisError(f"its map {name} is {values.shape} of {values.dtype}, not as its header says")
    step = -(-max(rows, cols) // MOST_CELLS)
    where = (slice(None, None, step), slice(None, None, step))
    found = values[where] if arrays == 1 else values[(number, *where)]
    return Grid(np.asarray(found, dtype=np.float64), step)


def cells(entry: h5py.Group, shape: Cell, *, live: bool) -> dict[str, npt.NDArray[Any]]:
    """Verdict (code), pulses, last conductance and target (S) of every cell, each (arrays, rows, cols).

    Raises:
        AnalysisError: the file's cells are not those of the shape.
    """
    found = {}
    for name, kinds in (("status", "iu"), ("pulses", "iu"), ("conductance", "f"), ("target", "f")):
        values = fresh(entry, f"cells/{name}", live)
        if values.shape != (shape[0] * shape[1] * shape[2],) or values.dtype.kind not in kinds:
            raise AnalysisError("its cells are not those of its header")
        found[name] = np.asarray(values[()]).reshape(shape)
    if found["status"].max(initial=0) >= len(layout.CELL_STATUSES):
        raise AnalysisError("its cells have verdicts that it doesn't know")
    return found


def rows_of(entry: h5py.Group, *, live: bool) -> int:
    """Events that can be read whole: while a run writes, later columns may be ahead of earlier ones."""
    names = ("seq", "array", "row", "col", *_COLUMNS)
    return min(len(fresh(entry, f"events/{name}", live)) for name in names)


def latest_cell(entry: h5py.Group, rows: int) -> Cell | None:
    """The cell that the last event with a cell was about, of the last `_BLOCK` events; None without any."""
    stop = rows
    for size in (64, _BLOCK):
        start = max(rows - size, 0)
        row = entry["events/row"][start:stop]
        found = np.flatnonzero(row >= 0)
        if found.size:
            at = start + int(found[-1])
            return int(entry["events/array"][at]), int(row[found[-1]]), int(entry["events/col"][at])
        stop = start
    return None


class Finder:
    """Where a file's events of a cell are; remembers what it has looked through.

    Args:
        cell: (array, row, col).
        block: events that are read at once.
    """

    def __init__(self, cell: Cell, block: int = _BLOCK) -> None:
        self.cell = cell
        self._block = block
        self.found: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._low = self._high = -1

    def look(self, entry: h5py.Group, rows: int, most: int) -> npt.NDArray[np.int64]:
        """The last `most` events of the cell among the first `rows`, oldest first."""
        if self._high < 0:
            self._low = self._high = rows
        for start in range(self._high, rows, self._block):
            self.found = np.concatenate([self.found, self._among(entry, start, min(start + self._block, rows))])
        self._high = max(rows, self._high)
        while self._low > 0 and len(self.found) < most:
            # Backwards from block to block, for what happened last is what is shown.
            start = (self._low - 1) // self._block * self._block
            self.found = np.concatenate([self._among(entry, start, self._low), self.found])
            self._low = start
        self.found = self.found[-4 * most :]
        return self.found[-most:]

    @property
    def whole(self) -> bool:
        """Whether every event of the cell was found."""
        return self._low == 0

    def _among(self, entry: h5py.Group, start: int, stop: int) -> npt.NDArray[np.int64]:
        same = np.ones(stop - start, np.bool_)
        array, row, col = self.cell
        for name, number in (("col", col), ("row", row), ("array", array)):
            same &= entry[f"events/{name}"][start:stop] == number
            if not same.any():
                break
        return (np.flatnonzero(same) + start).astype(np.int64)


def events_at(entry: h5py.Group, places: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[Any]]:
    """Some events' columns (time, kind, outcome, amplitude, gate, width, conductance), by their places, ascending."""
    columns: dict[str, npt.NDArray[Any]] = {}
    blocks = np.split(places, np.flatnonzero(np.diff(places // _BLOCK)) + 1) if places.size else []
    for name in _COLUMNS:
        dataset = entry[f"events/{name}"]
        parts = [dataset[int(block[0]) : int(block[-1]) + 1][block - block[0]] for block in blocks]
        columns[name] = np.concatenate(parts) if parts else np.empty(0, dataset.dtype)
    return columns


@dataclass(frozen=True)
class Outline:
    """A capture as it looks on a screen.

    Attributes:
        scope: the oscilloscope.
        number: of the capture, from 0.
        channels: names.
        time: s from the trigger, [point].
        low, high: V, [channel][point]; extremes of the samples that a point stands for.
        samples: of the capture.
        read: of them, those that were read; fewer where the capture is too long.
    """

    scope: str
    number: int
    channels: tuple[str, ...]
    time: Floats
    low: Floats
    high: Floats
    samples: int
    read: int


def captures(entry: h5py.Group, scope: str, *, live: bool) -> int:
    """How many captures of an oscilloscope there are."""
    return len(fresh(entry, f"waveforms/{scope}/seq", live))


def outline(entry: h5py.Group, scope: str, number: int, *, live: bool) -> Outline:
    """A capture's outline.

    Raises:
        AnalysisError: there is no such oscilloscope or capture, or its codes were lost.
    """
    if "waveforms" not in entry or scope not in entry["waveforms"]:
        raise AnalysisError(f"the run has no oscilloscope {scope!r}")
    group = entry["waveforms"][scope]
    count = captures(entry, scope, live=live)
    if not 0 <= number < count:
        raise AnalysisError(f"there is no capture {number} of {scope}: it has {count}")
    if "intact" in group and not group["intact"][number]:
        raise AnalysisError(f"the codes of capture {number} of {scope} were lost")
    names = ("length", "x_origin", "x_increment", *(name for name, _ in PER_CHANNEL))
    at = {name: fresh(entry, f"waveforms/{scope}/{name}", live)[number] for name in names}
    raw = fresh(entry, f"waveforms/{scope}/raw", live)
    length = min(int(at["length"]), raw.shape[2])
    channels = tuple(str(name) for name in group["channels"].asstr()[()])
    if length < 1 or len(channels) != raw.shape[1]:
        raise AnalysisError(f"capture {number} of {scope} is not as it was declared")
    points, low, high, read = _extremes(raw, number, length)
    reference, increment, origin = (
        np.asarray(at[name])[:, None] for name in ("y_reference", "y_increment", "y_origin")
    )
    ends = np.stack([(codes - reference) * increment + origin for codes in (low, high)])
    time = float(at["x_origin"]) + points * float(at["x_increment"])
    return Outline(scope, number, channels, time, ends.min(axis=0), ends.max(axis=0), length, read)


def _extremes(raw: h5py.Dataset, number: int, length: int) -> tuple[Floats, Floats, Floats, int]:
    """Sample numbers [point], lowest and highest codes [channel, point], and how many samples were looked at."""
    each = _MOST_SAMPLES // _STRETCHES
    if length <= _MOST_SAMPLES:
        starts, size = np.arange(0, length, each), each
    else:
        starts, size = np.linspace(0, length - each, _STRETCHES).astype(np.int64), each
    per_point = max(1, -(-min(length, _MOST_SAMPLES) // MOST_POINTS))
    points, lows, highs, read = [], [], [], 0
    for start in map(int, starts):
        codes = raw[number, :, start : min(start + size, length)].astype(np.float64)
        edges = np.arange(0, codes.shape[1], per_point)
        points.append(start + edges)
        lows.append(np.minimum.reduceat(codes, edges, axis=1))
        highs.append(np.maximum.reduceat(codes, edges, axis=1))
        read += codes.shape[1]
    return (
        np.concatenate(points).astype(np.float64),
        np.concatenate(lows, axis=1),
        np.concatenate(highs, axis=1),
        read,
    )
