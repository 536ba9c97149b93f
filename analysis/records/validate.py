"""Whether a run's file is what the layout says, and says what its journal says."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from analysis.errors import AnalysisError
from analysis.records import layout
from analysis.records.checksums import differences
from analysis.records.guard import UNREADABLE
from analysis.records.journal import JournalContents, read_journal
from analysis.records.reader import RunFile, open_run
from analysis.records.tables import Tables
from analysis.records.waveforms import has_codes, is_intact

REQUIRED: Final = ("title", "procedure", "run_id", "start_time", "status", "reason", "end_time", "duration")
"""Datasets of the entry of a finished file; one under way has the first four."""
GROUPS: Final = {
    "segments": "NXcollection",
    "phases": "NXcollection",
    "notes": "NXcollection",
    "journal": "NXcollection",
}
"""Groups that a finished file has beside those of one under way, and their classes."""

# A killed run of version 1 may lack these; nothing reads it otherwise for it.
_NESTED: Final = re.compile(r"entry/(data|twin)/")
_INTACT: Final = re.compile(r"entry/waveforms/\w+/intact")


@dataclass(frozen=True)
class Finding:
    """Something about a file.

    Attributes:
        place: in the file, or the name of another file.
        text: what about it.
        fault: whether the file is invalid because of it.
    """

    place: str
    text: str
    fault: bool = True

    def __str__(self) -> str:
        """One line."""
        return f"{'' if self.fault else 'remark: '}{self.place}: {self.text}"


def validate(path: str | Path) -> list[Finding]:
    """Check a run's folder or file: structure, units, NeXus attributes, values, checksums, and the journal beside it.

    Everything is read once, the codes of oscilloscopes too.

    Returns:
        What was found; the file is valid if nothing of it is a fault.
    """
    try:
        with open_run(path) as run:
            return [*_look(run)]
    except AnalysisError as error:
        return [Finding(str(path), str(error))]
    except UNREADABLE as error:
        return [Finding(str(path), f"it is damaged: {' '.join(str(error).split())}")]


def _look(run: RunFile) -> Iterator[Finding]:
    entry = run.entry
    file = entry.file
    yield from _structure(entry, run)
    yield from _tables(entry)
    yield from _attributes(file)
    yield from _pictures(entry)
    yield from _values(run)
    yield from _checksums(file, run)
    yield from _journal(run, entry)


def _structure(entry: h5py.Group, run: RunFile) -> Iterator[Finding]:
    for name in REQUIRED[:4] if run.is_partial else REQUIRED:
        if not isinstance(entry.get(name), h5py.Dataset):
            yield Finding(f"/entry/{name}", "is missing")
    groups = {"events": "NXdata", "cells": "NXcollection", "provenance": "NXcollection"}
    groups |= dict.fromkeys(layout.MAPS, "NXdata") | ({} if run.is_partial else dict.fromkeys(GROUPS, "NXcollection"))
    for name, kind in groups.items():
        item = entry.get(name)
        if not isinstance(item, h5py.Group):
            yield Finding(f"/entry/{name}", "is missing")
        elif item.attrs.get("NX_class") != kind:
            yield Finding(f"/entry/{name}", f"has NX_class {item.attrs.get('NX_class')!r}, not {kind!r}")
    if not run.is_partial and "status" in entry and run.status not in layout.STATUSES:
        yield Finding("/entry/status", f"{run.status!r} is none of {', '.join(layout.STATUSES)}")


def _tables(entry: h5py.Group) -> Iterator[Finding]:
    for group, columns in (("events", layout.EVENT_COLUMNS), ("cells", layout.CELL_COLUMNS)):
        for column in columns:
            place = f"/entry/{group}/{column.name}"
            item = entry.get(f"{group}/{column.name}")
            if not isinstance(item, h5py.Dataset):
                yield Finding(place, "is missing")
                continue
            if item.ndim != 1 or item.dtype != column.dtype:
                yield Finding(place, f"is {item.ndim}-dimensional of {item.dtype}, not a column of {column.dtype}")
            if item.attrs.get("units") != (column.units or ""):
                yield Finding(place, f"has units {item.attrs.get('units')!r}, not {column.units or ''!r}")
            expected = None if column.names is None else {name: code for code, name in enumerate(column.names)}
            if expected is not None and h5py.check_enum_dtype(item.dtype) != expected:
                yield Finding(place, "does not name its codes as the layout does")


def _checksums(file: h5py.File, run: RunFile) -> Iterator[Finding]:
    """Nothing was changed since the file was written."""
    if run.is_partial:
        return
    if run.version < layout.FORMAT:
        said = f"is of layout version {run.version}, which had no checksums; it was migrated to read it"
        yield Finding("/", said, fault=False)
        return
    for place, said in differences(file):
        yield Finding(place, said)
    for scope in run.scopes:
        group = file["entry/waveforms"][scope]
        captures = zip(group["length"][()].tolist(), group["crc32"][()].tolist(), group["intact"][()], strict=True)
        spoilt = sum(
            bool(intact) and not has_codes(group["raw"], number, length, crc)
            for number, (length, crc, intact) in enumerate(captures)
        )
        if spoilt:
            yield Finding(f"/entry/waveforms/{scope}", f"{spoilt} captures fail their checksum")


def _attributes(file: h5py.File) -> Iterator[Finding]:
    """A class for every group, a unit for every array of numbers and every single quantity that is no count."""
    bare: list[Finding] = []

    def look(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Group):
            if "NX_class" not in item.attrs:
                bare.append(Finding(f"/{name}", "has no NX_class", fault=not _NESTED.match(name)))
        elif (item.ndim or item.dtype.kind == "f") and item.dtype.kind in "biuf" and "units" not in item.attrs:
            bare.append(Finding(f"/{name}", "has no units", fault=not _INTACT.fullmatch(name)))

    file.visititems(look)
    if file.attrs.get("NX_class") != "NXroot":
        yield Finding("/", "is no NXroot")
    yield from bare


def _pictures(entry: h5py.Group) -> Iterator[Finding]:
    """The default plot can be found, and every NXdata says what to draw over what."""
    default = entry.attrs.get("default")
    if entry.file.attrs.get("default") != "entry" or not isinstance(entry.get(str(default)), h5py.Group):
        yield Finding("/entry", f"its default plot {default!r} is not there")
    pictures = [item for item in entry.values() if isinstance(item, h5py.Group)]
    pictures += [item for item in entry.get("waveforms", {}).values() if isinstance(item, h5py.Group)]
    for group in pictures:
        if group.attrs.get("NX_class") != "NXdata":
            continue
        name = group.name.removeprefix("/entry/")
        signal = group.get(str(group.attrs.get("signal")))
        if not isinstance(signal, h5py.Dataset):
            yield Finding(f"/entry/{name}", f"its signal {group.attrs.get('signal')!r} is not there")
            continue
        axes = [str(axis) for axis in group.attrs.get("axes", ())]
        if len(axes) != signal.ndim:
            yield Finding(f"/entry/{name}", f"names {len(axes)} axes for {signal.ndim} dimensions")
            continue
        for axis, length in zip(axes, signal.shape, strict=True):
            if not isinstance(group.get(axis), h5py.Dataset) or group[axis].shape[:1] != (length,):
                yield Finding(f"/entry/{name}/{axis}", f"is not an axis of {length} values")


def _values(run: RunFile) -> Iterator[Finding]:
    for name, read in (
        ("provenance", lambda: run.header),
        ("events", lambda: [run.events[column] for column in run.events]),
        ("cells", lambda: run.cells),
        ("maps", lambda: [run.map(one) for one in run.maps]),
        ("segments", lambda: (run.segments, run.phases, run.notes)),
    ):
        try:
            read()
        except AnalysisError as error:
            yield Finding(f"/entry/{name}", str(error))


def _journal(run: RunFile, entry: h5py.Group) -> Iterator[Finding]:
    """The journal is sound, it is the one that the file was made from, and both tell the same."""
    path = run.path.parent / layout.JOURNAL
    if not path.is_file():
        yield Finding(layout.JOURNAL, "is not beside the file: it could not be compared", fault=False)
        return
    try:
        contents = read_journal(path)
        tables = Tables.from_records(contents.records)
    except AnalysisError as error:
        yield Finding(layout.JOURNAL, str(error))
        return
    if contents.torn:
        yield Finding(layout.JOURNAL, f"ends with {contents.torn} bytes of an unfinished line", fault=False)
    if tables.broken:
        yield Finding(layout.JOURNAL, f"{tables.broken} results were never announced")
    if tables.header != run.header:
        yield Finding("/entry/provenance", "is not the journal's header")
        return
    if run.is_partial:
        yield Finding("/entry", f"the run is {run.status}: its journal was not compared", fault=False)
        return
    yield from _mark(run, contents)
    yield from _same(run, tables)
    for spec in tables.specs:
        group = entry.get(f"waveforms/{spec.scope}")
        records = tables.waveforms[spec.scope]
        if group is None or len(group["seq"]) != len(records):
            yield Finding(f"/entry/waveforms/{spec.scope}", f"does not have the journal's {len(records)} captures")
            continue
        kept = group["intact"][()] if "intact" in group else np.ones(len(records), bool)
        lost = int(np.count_nonzero(kept == 0))
        if "crc32" in group:  # the codes were compared with these already
            stored = group["crc32"][()].tolist()
            spoilt = sum(int(record["codes"], 16) != crc for record, crc in zip(records, stored, strict=True))
        else:
            spoilt = sum(not is_intact(group, record) for record, good in zip(records, kept, strict=True) if good)
        if lost:
            yield Finding(f"/entry/waveforms/{spec.scope}", f"{lost} captures were lost, as it says", fault=False)
        if spoilt:
            yield Finding(
                f"/entry/waveforms/{spec.scope}", f"{spoilt} captures have another checksum than in the journal"
            )


def _mark(run: RunFile, contents: JournalContents) -> Iterator[Finding]:
    records, crc = run.journal_mark
    if (records, crc) != (len(contents.records), contents.crc32):
        yield Finding(
            "/entry/journal",
            f"the file was made from {records} records with CRC {crc:08x}, the journal has {len(contents.records)} "
            f"with {contents.crc32:08x}",
        )


def _same(run: RunFile, tables: Tables) -> Iterator[Finding]:
    if (run.status, run.reason) != tables.outcome:
        yield Finding("/entry/status", f"is {run.status}, the journal says {tables.outcome[0]}")
    stored: dict[str, tuple[Mapping[str, Any], dict[str, Any]]] = {}
    try:
        stored = {"events": (run.events, tables.event_columns()), "cells": (run.cells, tables.cells())}
        stored["maps"] = ({n: run.map(n) for n in layout.MAPS}, {n: _shaped(run, tables.map(n)) for n in layout.MAPS})
    except AnalysisError:
        pass  # told already
    for group, (file, journal) in stored.items():
        for name, values in journal.items():
            floating = values.dtype.kind == "f"
            if not np.array_equal(file[name], values, equal_nan=floating):
                where = f"/entry/{name}" if group == "maps" else f"/entry/{group}/{name}"
                yield Finding(where, "has other values than the journal")


def _shaped(run: RunFile, values: Any) -> Any:
    return values.reshape(layout.shape_of(*run.header.shape))
