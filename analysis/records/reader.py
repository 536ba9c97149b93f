"""Reading a run, finished or under way.

run = open_run("runs/2031-05-07-a")
run.world, run.status, run.header.parameters
run.map("conductance_after"), run.events["energy"].sum()
run.plot("conductance_after")
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
import numpy.typing as npt

from analysis.errors import AnalysisError
from analysis.records import layout, nexus
from analysis.records.captures import Columns, Waveforms, told
from analysis.records.guard import UNREADABLE, check_folder, check_hdf5
from analysis.records.header import RunHeader
from analysis.records.heaps import check_heaps
from analysis.records.journal import is_being_written
from analysis.records.leftover import open_partial
from analysis.records.migration import migrated
from analysis.records.tables import check_format


class RunFile:
    """A run's file, open for reading; made by `open_run`; a context manager. Nothing is read before it is asked for.

    Attributes:
        path: the HDF5 file.
        is_partial: whether it is the file of a run under way (or killed) rather than a finished one.
        world: "simulated" or "real".
        version: of the layout that the file was written in; an older one is migrated as it is opened.
    """

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path = path
        self.is_partial = path.name.startswith(layout.PARTIAL)
        self._file = file
        try:
            check_hdf5(file)
            self.version = check_format(_plain(file.attrs.get("format")), "file")
            self.world = _world_of(file)
            if self.version < layout.FORMAT and not self.is_partial:
                self._file = migrated(file, self.version)
                file.close()
            self._entry: h5py.Group = self._file["entry"]
        except KeyError as error:
            raise AnalysisError("it is not a run's file") from error

    @property
    def entry(self) -> h5py.Group:
        """The file's entry, for whoever reads slices of it."""
        return self._entry

    @cached_property
    @told
    def header(self) -> RunHeader:
        """Who, what, when, with what."""
        return nexus.header_of(self._entry)

    @property
    @told
    def status(self) -> str:
        """One of `layout.STATUSES`; of a partial file: whether a process is writing it."""
        if not self.is_partial:
            return str(nexus.text(self._entry["status"]))
        return "running" if is_being_written(self.path.parent / layout.JOURNAL) else "killed"

    @property
    @told
    def reason(self) -> str:
        """Why the run ended so; often empty."""
        return "" if self.is_partial else str(nexus.text(self._entry["reason"]))

    @cached_property
    @told
    def events(self) -> Mapping[str, npt.NDArray[Any]]:
        """The events, a 1-D array a column (`layout.EVENT_COLUMNS`), in order; a column is read when asked for."""
        datasets, rows = self._datasets("events", layout.EVENT_COLUMNS)
        return self._sound(Columns(self.path, datasets, layout.EVENT_COLUMNS, rows))

    def event_blocks(self, size: int = 1 << 16) -> Iterator[Mapping[str, npt.NDArray[Any]]]:
        """The events as in `events`, `size` at a time, without keeping them; one empty block where there are none."""
        start, rows = 0, self._event_count()
        while start == 0 or start < rows:
            yield self._block(start, min(start + size, rows))
            start += size

    @told
    def _event_count(self) -> int:
        return self._datasets("events", layout.EVENT_COLUMNS)[1]

    @told
    def _block(self, start: int, stop: int) -> Mapping[str, npt.NDArray[Any]]:
        datasets, _ = self._datasets("events", layout.EVENT_COLUMNS)
        block = Columns(self.path, datasets, layout.EVENT_COLUMNS, stop, start)
        return self._sound({name: block[name] for name in block})

    def _sound(self, table: Mapping[str, npt.NDArray[Any]]) -> Mapping[str, npt.NDArray[Any]]:
        """The events, if they are of cells and kinds that the run has."""
        arrays, rows, cols = self.header.shape
        sound = all(
            table[name].size == 0 or (table[name].min() >= -1 and table[name].max() < most)
            for name, most in (("array", arrays), ("row", rows), ("col", cols))
        )
        codes = {"kind": len(layout.EVENT_KINDS), "outcome": len(layout.OUTCOMES)}
        if not sound or any(table[name].max(initial=0) >= most for name, most in codes.items()):
            raise AnalysisError("its events are of cells or kinds that it doesn't have")
        return table

    @cached_property
    @told
    def cells(self) -> dict[str, npt.NDArray[Any]]:
        """The cells, a 1-D array a column (`layout.CELL_COLUMNS`), in (array, row, col) order."""
        datasets, length = self._datasets("cells", layout.CELL_COLUMNS)
        columns = Columns(self.path, datasets, layout.CELL_COLUMNS, length)
        table = {name: columns[name] for name in columns}
        arrays, rows, cols = self.header.shape
        if len(table["row"]) != arrays * rows * cols or table["status"].max(initial=0) >= len(layout.CELL_STATUSES):
            raise AnalysisError("its cells are not those of its header")
        return table

    def _datasets(self, group: str, columns: tuple[layout.Column, ...]) -> tuple[dict[str, h5py.Dataset], int]:
        """A table's datasets by name, and how many rows all of them have."""
        table = {column.name: self._entry[group][column.name] for column in columns}
        if any(dataset.ndim != 1 or dataset.dtype.kind not in "biuf" for dataset in table.values()):
            raise AnalysisError(f"a column of its {group} is no column of numbers")
        # While a run goes on, the later columns may be ahead of the earlier ones.
        rows = min(len(dataset) for dataset in table.values())
        if not self.is_partial and rows != max(len(dataset) for dataset in table.values()):
            raise AnalysisError(f"the columns of its {group} are not of one length")
        return table, rows

    def where(self, *kinds: str) -> npt.NDArray[np.bool_]:
        """Which events are of these kinds (`layout.EVENT_KINDS`), as a mask.

        Raises:
            AnalysisError: there is no such kind.
        """
        unknown = set(kinds) - set(layout.EVENT_KINDS)
        if unknown:
            raise AnalysisError(f"there are no events {', '.join(sorted(unknown))}")
        return np.isin(self.events["kind"], [layout.EVENT_CODE[kind] for kind in kinds])

    @property
    @told
    def maps(self) -> list[str]:
        """Names of the maps."""
        return [name for name, group in self._entry.items() if nexus.is_map(group)]

    @told
    def map(self, name: str) -> npt.NDArray[np.float64]:
        """A map, [array?, row, col], in the unit of its dataset (S); NaN where not known.

        Raises:
            AnalysisError: there is no such map.
        """
        if name not in self.maps:
            raise AnalysisError(f"{self.path} has no map {name!r}, only {', '.join(self.maps)}")
        group = self._entry[name]
        values = np.asarray(group[group.attrs["signal"]][()])
        if values.shape != layout.shape_of(*self.header.shape) or values.dtype.kind not in "biuf":
            raise AnalysisError(f"its map {name} is {values.shape} of {values.dtype}, not as its header says")
        return values

    @told
    def map_units(self, name: str) -> str:
        """Unit of a map; "" of plain numbers. Errors as in `map`."""
        if name not in self.maps:
            raise AnalysisError(f"{self.path} has no map {name!r}, only {', '.join(self.maps)}")
        group = self._entry[name]
        return str(group[group.attrs["signal"]].attrs.get("units", ""))

    def plot(self, what: str = "", *, axes: Any = None, array: int = 0) -> Any:
        """Draw a map, a column of the events, a capture or kept data by matplotlib; see `picture.plot`."""
        from analysis.records.picture import plot  # matplotlib is slow to import, and few need it

        return plot(self, what, axes=axes, array=array)

    def data(self, name: str) -> npt.NDArray[Any]:
        """What the procedure kept under this name.

        Raises:
            AnalysisError: it kept nothing so named.
        """
        return self._stored("data", name)

    def twin(self, name: str) -> npt.NDArray[Any]:
        """What only the twin knows: never to be mixed with what the laboratory measured.

        Raises:
            AnalysisError: nothing so named is known; nothing at all is in a real run.
        """
        return self._stored("twin", name)

    @told
    def names(self, where: str) -> list[str]:
        """Names of what "data" or "twin" hold."""
        found: list[str] = []
        if where in self._entry:
            self._entry[where].visititems(lambda name, item: found.append(name) if hasattr(item, "shape") else None)
        return found

    @told
    def _stored(self, where: str, name: str) -> npt.NDArray[Any]:
        if name not in self.names(where):
            raise AnalysisError(f"{self.path} has no {where} {name!r}")
        return np.asarray(self._entry[where][name][()])

    @property
    @told
    def scopes(self) -> list[str]:
        """Names of the oscilloscopes that the run could capture with."""
        return list(self._entry["waveforms"]) if "waveforms" in self._entry else []

    @told
    def waveforms(self, scope: str) -> Waveforms:
        """The captures of an oscilloscope.

        Raises:
            AnalysisError: none was so named.
        """
        if scope not in self.scopes:
            raise AnalysisError(f"{self.path} has no waveforms of {scope!r}")
        return Waveforms(self.path, self._entry["waveforms"][scope])

    @property
    def segments(self) -> list[dict[str, Any]]:
        """The run's parts, one a process, in order; empty while it is under way."""
        return self._rows("segments")

    @property
    def phases(self) -> list[dict[str, Any]]:
        """The procedure's phases: time (s) and name."""
        return self._rows("phases")

    @property
    def notes(self) -> list[dict[str, Any]]:
        """Remarks: time (s) and text."""
        return self._rows("notes")

    @told
    def _rows(self, group: str) -> list[dict[str, Any]]:
        if group not in self._entry:
            return []
        columns = {
            name: nexus.text(item) if h5py.check_string_dtype(item.dtype) else item[()].tolist()
            for name, item in self._entry[group].items()
        }
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    @property
    @told
    def journal_mark(self) -> tuple[int, int]:
        """(records, CRC-32) of the journal that the file was made from; (-1, 0) of a partial file."""
        if self.is_partial:
            return -1, 0
        journal = self._entry["journal"]
        return int(journal["records"][()]), int(journal["crc32"][()])

    @property
    @told
    def segment_count(self) -> int:
        """How many processes have written the run."""
        return int(self._entry.attrs["segments"])

    @told
    def refresh(self) -> None:
        """Forget what was read, so that the next look shows how far a run under way has come."""
        for name in ("events", "cells"):
            self.__dict__.pop(name, None)
        if self.is_partial:
            self._entry.visititems(lambda _, item: item.refresh() if hasattr(item, "refresh") else None)

    def close(self) -> None:
        """Close the file; what was read stays, and columns of the events can still be asked for."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_run(path: str | Path) -> RunFile:
    """Open a run.

    Args:
        path: the run's folder, its `run.h5` or its `run.partial.h5`. Of a folder, the file that tells more.

    Raises:
        AnalysisError: there is nothing, it is not a run, a newer version wrote it, it is damaged, or it says of
            itself both that it is simulated and that it is real.
    """
    path = Path(path)
    if path.is_dir():
        return _open_folder(path)
    if not path.is_file():
        raise AnalysisError(f"there is no run {path}")
    return _open_file(path)


def _open_folder(folder: Path) -> RunFile:
    check_folder(folder)
    final, partial = folder / layout.FINAL, folder / layout.PARTIAL
    if not partial.is_file():
        if final.is_file():
            return _open_file(final)
        if (folder / layout.JOURNAL).is_file():
            raise AnalysisError(f"{folder} has a journal but no HDF5 file: salvage it")
        raise AnalysisError(f"{folder} is not a run's folder: it has no {layout.FINAL}")
    if not final.is_file():
        return _open_file(partial)
    # Both are there when a resumed run is under way, or when a process died between the last two steps.
    finished = _open_file(final)
    try:
        going = _open_file(partial)
    except AnalysisError:
        return finished
    newer = going.segment_count > finished.segment_count
    (finished if newer else going).close()
    return going if newer else finished


def _open_file(path: Path) -> RunFile:
    try:
        check_heaps(path)
        file = open_partial(path) if path.name == layout.PARTIAL else h5py.File(path, "r")
    except (OSError, RuntimeError, ValueError) as error:
        raise AnalysisError(
            f"{path} can't be read as HDF5 ({error}): it is damaged or something else; "
            f"if a {layout.JOURNAL} is beside it, salvage the run"
        ) from error
    try:
        return RunFile(path, file)
    except (AnalysisError, *UNREADABLE) as error:
        file.close()
        raise AnalysisError(f"can't use {path}: {error}") from error


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _world_of(file: h5py.File) -> str:
    """The one world that every mark in the file names.

    Raises:
        AnalysisError: a mark is missing or they disagree.
    """
    entry = file["entry"]
    marks = [file.attrs.get("world"), entry.attrs.get("world"), nexus.text(entry["provenance/world"])]
    for group in entry.values():
        if nexus.is_map(group):
            marks += [group.attrs.get("world"), group[group.attrs["signal"]].attrs.get("world")]
    if len(set(marks)) != 1 or marks[0] not in layout.WORLDS:
        raise AnalysisError("its marks disagree on whether it is simulated or real: something changed the file")
    if marks[0] == "real" and "twin" in entry:
        raise AnalysisError("it is marked real but holds what only a twin knows: something changed the file")
    return str(marks[0])
