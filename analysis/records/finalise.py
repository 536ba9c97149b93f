"""Making the finished run file out of the journal, in a way that no death of the process can spoil.

One way for every run, undisturbed or not: replay the journal, write beside the old file, read back and compare,
wait for the disk, put it in place at once, and only then drop the partial file.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from analysis.errors import AnalysisError
from analysis.records import checksums, layout, nexus, waveforms
from analysis.records.guard import check_folder
from analysis.records.journal import JournalContents, Record, sync_folder
from analysis.records.live import EarlierWaveforms
from analysis.records.tables import Tables

Captures = dict[str, list[Record]]
"""Captures by oscilloscope, as their records in the journal."""


@dataclass(frozen=True)
class Finished:
    """What `finalise` did.

    Args:
        path: the run file.
        tables: what it was made from.
        lost: captures that the journal knows and whose codes are nowhere to be found.
    """

    path: Path
    tables: Tables
    lost: Captures


def finalise(folder: Path, contents: JournalContents, *, check_waveforms: bool) -> Finished:
    """Make `run.h5` from the journal and the captures' codes; drop the partial file.

    Args:
        folder: the run's folder; the caller holds the journal's lock.
        contents: the journal.
        check_waveforms: compare each capture's codes with the journal (after anything but a clean close).

    Raises:
        AnalysisError: the journal makes no sense, or the file can't be written or read back the same; the
            journal, the partial file and an earlier `run.h5` are then as they were.
    """
    tables = Tables.from_records(contents.records)
    path, partial = folder / layout.FINAL, folder / layout.PARTIAL
    unfinished = path.with_name(path.name + layout.UNFINISHED)
    check_folder(folder)
    try:
        unfinished.unlink(missing_ok=True)
        with EarlierWaveforms(folder) as earlier, h5py.File(unfinished, "w") as file:
            entry = _write(file, tables, contents)
            lost, crcs = _write_waveforms(entry, tables, earlier, check_waveforms)
            checksums.seal(file)
        _verify(unfinished, tables, lost, crcs)
        _sync_file(unfinished)
        os.replace(unfinished, path)
        sync_folder(folder)
        for leftover in (partial, partial.with_name(partial.name + layout.UNFINISHED)):
            leftover.unlink(missing_ok=True)
        sync_folder(folder)
    except (OSError, RuntimeError, TypeError, ValueError, LookupError, OverflowError, AttributeError) as error:
        raise AnalysisError(f"can't make {path}: {error}; the journal has everything, salvage it later") from error
    return Finished(path, tables, lost)


def _write(file: h5py.File, tables: Tables, contents: JournalContents) -> h5py.Group:
    header = tables.header
    entry = nexus.begin(file, header)
    entry.attrs["segments"] = len(tables.segments)
    status, reason = tables.outcome
    nexus.put(entry, "status", status)
    nexus.put(entry, "reason", reason)
    nexus.put(entry, "end_time", tables.segments[-1].ended)
    nexus.put(entry, "duration", sum(part.last_time - part.first_time for part in tables.segments), "s")
    events = nexus.collection(entry, "events", "NXdata")
    nexus.put_table(events, layout.EVENT_COLUMNS, tables.event_columns())
    nexus.dress_events(events, header.world)
    nexus.put_table(nexus.collection(entry, "cells"), layout.CELL_COLUMNS, tables.cells())
    for name in layout.MAPS:
        nexus.put_map(entry, name, tables.map(name), header)
    if tables.events and not np.isfinite(tables.map("conductance_after")).any():
        entry.attrs["default"] = "events"
    _write_arrays(entry, tables)
    _write_lists(entry, tables)
    journal = nexus.collection(entry, "journal")
    nexus.put(journal, "records", len(contents.records))
    nexus.put(journal, "crc32", np.uint32(contents.crc32))
    return entry


def _write_arrays(entry: h5py.Group, tables: Tables) -> None:
    for (where, name), stored in sorted(tables.arrays.items()):
        if where == "map":
            if name not in layout.MAPS:
                nexus.put_map(entry, name, stored.values, tables.header, units=stored.units, title=stored.title or None)
            continue
        parent = entry.get(where)
        if parent is None:
            parent = nexus.collection(entry, where)
        if where == "twin":
            parent.attrs["note"] = layout.TWIN_NOTE
        dataset = nexus.put(parent, name, stored.values, stored.units, stored.title or None)
        dataset.attrs["world"] = tables.header.world


def _write_lists(entry: h5py.Group, tables: Tables) -> None:
    segments = nexus.collection(entry, "segments")
    for name in ("started", "ended", "command_line", "status", "reason"):
        nexus.put(segments, name, [getattr(part, name) for part in tables.segments])
    for name in ("first_seq", "last_seq"):
        nexus.put(segments, name, np.array([getattr(part, name) for part in tables.segments], np.int64), "")
    for name in ("first_time", "last_time"):
        nexus.put(segments, name, np.array([getattr(part, name) for part in tables.segments]), "s")
    for group_name, text_name, rows in (("phases", "name", tables.phases), ("notes", "text", tables.notes)):
        group = nexus.collection(entry, group_name)
        nexus.put(group, "time", np.array([time for time, _ in rows]), "s")
        nexus.put(group, text_name, [text for _, text in rows])


def _write_waveforms(
    entry: h5py.Group, tables: Tables, earlier: EarlierWaveforms, check: bool
) -> tuple[Captures, dict[str, int]]:
    """Copy the captures; gives the lost ones and a checksum an oscilloscope of the rest."""
    lost: Captures = {}
    crcs: dict[str, int] = {}
    if not tables.specs:
        return lost, crcs
    scopes = nexus.collection(entry, "waveforms")
    for spec in tables.specs:
        records = tables.waveforms[spec.scope]
        group = waveforms.declare(scopes, spec, len(records))
        waveforms.put_index(group, 0, records)
        found = [earlier.copy(spec, record, group, check=check) for record in records]
        nexus.put(group, "intact", np.array(found, np.uint8), "", waveforms.INTACT)
        lost[spec.scope] = [record for record, good in zip(records, found, strict=True) if not good]
        waveforms.dress(group, group["raw"].shape, tables.header.world)
        crcs[spec.scope] = waveforms.checksum(group, spec, np.flatnonzero(found).tolist())
    return lost, crcs


def _verify(path: Path, tables: Tables, lost: Captures, crcs: dict[str, int]) -> None:
    """Read the new file back, as anyone would, and compare.

    Raises:
        AnalysisError: it isn't what was written.
    """
    with h5py.File(path, "r") as file:
        entry = file["entry"]
        same = nexus.header_of(entry) == tables.header and file.attrs["world"] == tables.header.world
        for name, values in tables.event_columns().items():
            same = same and entry["events"][name][()].tobytes() == values.tobytes()
        for name, values in tables.cells().items():
            same = same and np.array_equal(entry["cells"][name][()], values, equal_nan=values.dtype.kind == "f")
        for spec in tables.specs:
            gone = {record["n"] for record in lost[spec.scope]}
            kept_numbers = [n for n in range(len(tables.waveforms[spec.scope])) if n not in gone]
            group = entry["waveforms"][spec.scope]
            same = same and waveforms.checksum(group, spec, kept_numbers) == crcs[spec.scope]
    if not same:
        raise AnalysisError(f"{path} reads back otherwise than it was written; it is not put in place")


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
