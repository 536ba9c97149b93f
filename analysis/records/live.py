"""The file that a run keeps while it is under way: `run.partial.h5`, for live views and for waveforms.

It is written in HDF5's single-writer/multiple-readers mode. There nothing can be created once reading is
allowed, so everything is declared first; and after a kill it can only be opened as such a reader, so nobody
needs it afterwards but for the waveforms' codes, which are too large for the journal.
"""

import os
from pathlib import Path
from typing import Any

import h5py
import numpy.typing as npt

from analysis.errors import AnalysisError
from analysis.records import layout, nexus, waveforms
from analysis.records.guard import check_hdf5
from analysis.records.header import WaveformSpec
from analysis.records.tables import Tables

_CHUNK = 4096


class LiveFile:
    """The partial file, open for writing; `flush` brings it up to the tables.

    Args:
        folder: the run's folder.
        tables: what has happened so far; kept, and looked at again at each flush.
        durable: whether a capture's codes must reach the disk before they are acknowledged.

    Raises:
        AnalysisError: the file can't be made.
    """

    def __init__(self, folder: Path, tables: Tables, *, durable: bool) -> None:
        self._tables = tables
        self._durable = durable
        self._events = 0
        self._captures = {spec.scope: 0 for spec in tables.specs}
        path = folder / layout.PARTIAL
        unfinished = path.with_name(path.name + layout.UNFINISHED)
        try:
            unfinished.unlink(missing_ok=True)  # should it be a link, what it leads to stays as it is
            self._file = h5py.File(unfinished, "w", libver="latest")
            self._entry = self._declare()
            self._carry_waveforms(folder)
            self._file.swmr_mode = True
            self.flush()
            # Readers find the file under its name only once they can read it.
            os.replace(unfinished, path)
        except OSError as error:
            raise AnalysisError(f"can't make {path}: {error}") from error

    def _declare(self) -> h5py.Group:
        tables = self._tables
        entry = nexus.begin(self._file, tables.header)
        entry.attrs["segments"] = len(tables.segments)
        self._columns: dict[str, h5py.Dataset] = {}
        self._raw: dict[str, h5py.Dataset] = {}
        events = nexus.collection(entry, "events", "NXdata")
        events.attrs["signal"], events.attrs["axes"] = "conductance", ["time"]
        for column in layout.EVENT_COLUMNS:
            dataset = events.create_dataset(column.name, (0,), column.dtype, chunks=(_CHUNK,), maxshape=(None,))
            self._columns[column.name] = dataset
            dataset.attrs["long_name"] = nexus.labelled(f"{column.name}: {column.meaning}", column.units)
            dataset.attrs["units"] = column.units or ""
        nexus.put_table(nexus.collection(entry, "cells"), layout.CELL_COLUMNS, tables.cells())
        for name in layout.MAPS:
            nexus.put_map(entry, name, tables.map(name), tables.header)
        scopes = nexus.collection(entry, "waveforms")
        for spec in tables.specs:
            self._raw[spec.scope] = waveforms.declare(scopes, spec, 0)["raw"]
        return entry

    def _carry_waveforms(self, folder: Path) -> None:
        """Take over the captures of a run's earlier parts."""
        if not any(self._tables.waveforms.values()):
            return
        with EarlierWaveforms(folder) as earlier:
            for spec in self._tables.specs:
                group = self._entry["waveforms"][spec.scope]
                records = self._tables.waveforms[spec.scope]
                group["raw"].resize(len(records), axis=0)
                for record in records:
                    earlier.copy(spec, record, group)

    def flush(self) -> None:
        """Bring the file up to the tables and hand it to the operating system.

        Raises:
            AnalysisError: it can't be written; the journal still has everything.
        """
        try:
            self._flush_events()
            cells = self._tables.cells()
            for name in ("status", "pulses", "reads", "conductance", "target"):
                self._entry["cells"][name][...] = cells[name]
            for name in layout.MAPS:
                dataset = self._entry[name]["conductance"]
                dataset[...] = self._tables.map(name).reshape(dataset.shape)
            for scope, records in self._tables.waveforms.items():
                start = self._captures[scope]
                if start < len(records):
                    waveforms.put_index(self._entry["waveforms"][scope], start, records[start:])
                    self._captures[scope] = len(records)
            self._file.flush()
        except (OSError, RuntimeError) as error:
            raise AnalysisError(f"can't write {layout.PARTIAL}: {error}") from error

    def _flush_events(self) -> None:
        start, stop = self._events, self._tables.events
        if start == stop:
            return
        for name, values in self._tables.event_columns(start).items():
            dataset = self._columns[name]
            dataset.resize(stop, axis=0)
            dataset[start:stop] = values
        self._events = stop

    def put_codes(self, scope: str, number: int, codes: npt.NDArray[Any]) -> None:
        """Write a capture's codes; once this returns, no death of the process loses them.

        Raises:
            AnalysisError: they can't be written.
        """
        try:
            waveforms.put_codes(self._raw[scope], number, codes)
            if self._durable:
                self._file.flush()
                os.fsync(self._file.id.get_vfd_handle())
        except (OSError, RuntimeError) as error:
            raise AnalysisError(f"can't write a capture of {scope} to {layout.PARTIAL}: {error}") from error

    def close(self) -> None:
        """Close the file; twice is once."""
        self._file.close()


class EarlierWaveforms:
    """The captures that a run's folder holds, in its partial file, its final file, or both; a context manager."""

    def __init__(self, folder: Path) -> None:
        self._files: list[h5py.File] = []
        self._groups: dict[WaveformSpec, list[h5py.Group]] = {}
        for name, swmr in ((layout.PARTIAL, True), (layout.FINAL, False)):
            try:
                file = h5py.File(folder / name, "r", libver="latest" if swmr else None, swmr=swmr)
            except (OSError, RuntimeError):
                # Missing, or not to be read: the captures are then in the other one, or lost and named as such.
                continue
            try:
                check_hdf5(file)
            except (AnalysisError, OSError, RuntimeError, LookupError, TypeError, ValueError):
                file.close()
                continue
            self._files.append(file)

    def copy(self, spec: WaveformSpec, record: dict[str, Any], target: h5py.Group, *, check: bool = True) -> bool:
        """Copy the codes of one capture into `target`.

        Args:
            spec: the oscilloscope's specification.
            record: the journal's record of the capture.
            target: the oscilloscope's group, with room.
            check: compare the codes with the journal's checksum (needless after a clean close).

        Returns:
            Whether sound codes were found.
        """
        if spec not in self._groups:
            found = (file.get(f"entry/waveforms/{spec.scope}") for file in self._files)
            self._groups[spec] = [group for group in found if group is not None and _same(group, spec)]
        for source in self._groups[spec]:
            if record["n"] >= len(source["raw"]) or (check and not waveforms.is_intact(source, record)):
                continue
            try:
                waveforms.copy_codes(source, target, spec, record["n"])
            except (OSError, RuntimeError, ValueError):
                # Lost in an earlier part of the run: room without codes.
                continue
            return True
        return False

    def __enter__(self) -> "EarlierWaveforms":
        return self

    def __exit__(self, *exception: object) -> None:
        for file in self._files:
            file.close()


def _same(group: h5py.Group, spec: WaveformSpec) -> bool:
    return waveforms.spec_of(group) == spec and group["raw"].chunks == waveforms.chunk_shape(spec)
