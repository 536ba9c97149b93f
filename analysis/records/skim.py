"""What a catalogue keeps of a run, out of its folder and without reading the measurements.

The journal's few telling lines (header, resumptions, phases, notes, ends) are found by their kind, so that a journal of
300 MB is skimmed as fast as it can be read; the HDF5 file is only opened, which shows that it is whole.
"""

import mmap
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import h5py

from analysis.errors import AnalysisError
from analysis.records import layout
from analysis.records.guard import UNREADABLE, check_folder
from analysis.records.header import RunHeader
from analysis.records.heaps import check_heaps
from analysis.records.journal import LARGEST, Record, decode_record, is_being_written
from analysis.records.reader import RunFile, open_run
from analysis.records.tables import check_format

_TELLING: Final = re.compile(rb'"kind":"(?:resume|phase|note|end)"')
_MOST_TEXT: Final = 1 << 20
_WINDOW: Final = 1 << 25
"""Bytes of a journal that are in memory at a time; a multiple of any page."""
_MARK: Final = 64
"""Bytes that `_TELLING` can be long, and more."""

State = tuple[int, int, int, int, int, int]
"""Time of change (ns) and size (bytes) of `run.h5`, journal and partial file; -1 where there is none."""


@dataclass(frozen=True)
class Skimmed:
    """A run as the catalogue keeps it.

    Attributes:
        header: who, what, when.
        status: one of `layout.STATUSES`.
        reason: why it ended so.
        duration: seconds on the laboratory's clock, all parts together.
        texts: notes and phases' names.
    """

    header: RunHeader
    status: str
    reason: str = ""
    duration: float = 0.0
    texts: tuple[str, ...] = field(default=())

    @property
    def started(self) -> float:
        """Start as seconds since 1970 (UTC); NaN where the header's text is no date."""
        return epoch(self.header.started)


def epoch(text: str) -> float:
    """An ISO 8601 date and time as seconds since 1970; without a zone it is taken as UTC; NaN for anything else."""
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else datetime.fromisoformat(f"{found.isoformat()}+00:00")).timestamp()
    except (ValueError, OverflowError):
        return float("nan")


def state_of_files(folder: str | Path) -> State | None:
    """What changes when the run's files do; None of a folder that holds no run."""
    found: list[int] = []
    for name in (layout.FINAL, layout.JOURNAL, layout.PARTIAL):
        try:
            stat = os.lstat(f"{folder}/{name}")
        except OSError:
            found += (-1, -1)
        else:
            found += (stat.st_mtime_ns, stat.st_size)
    return (found[0], found[1], found[2], found[3], found[4], found[5]) if max(found) >= 0 else None


def skim(folder: Path) -> Skimmed:
    """Skim a run.

    Raises:
        AnalysisError: it is damaged, from a later version, or hidden behind a symbolic link; says which and where.
    """
    check_folder(folder)
    journal, final = folder / layout.JOURNAL, folder / layout.FINAL
    if not journal.is_file():
        with open_run(folder) as run:
            return _of_file(run)
    try:
        found = _of_journal(journal)
        if final.is_file():
            _check_is_whole(final, found.header.run_id)
    except (OSError, RuntimeError, TypeError, ValueError, LookupError, OverflowError) as error:
        raise AnalysisError(f"can't read the run in {folder}: {error}") from error
    return found


def is_running(folder: Path) -> bool:
    """Whether a process writes the run now."""
    return is_being_written(folder / layout.JOURNAL)


def _of_file(run: RunFile) -> Skimmed:
    texts = [*(row["text"] for row in run.notes), *(row["name"] for row in run.phases)]
    duration = sum(float(part["last_time"] - part["first_time"]) for part in run.segments)
    return Skimmed(run.header, run.status, run.reason, duration, _limited(texts))


def _of_journal(path: Path) -> Skimmed:
    size = path.stat().st_size
    if not 0 < size <= LARGEST:
        raise AnalysisError(f"the journal {path} is {'empty' if not size else f'larger than {LARGEST >> 30} GiB'}")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        first = _line_at(text, 0)
        if first is None or first["kind"] != "header":
            raise AnalysisError(f"the journal {path} does not begin with a run's header, or its first line is damaged")
        check_format(first.get("format"), "journal")
        header = RunHeader.from_json(first["header"])
        last = _last(text, len(text))
        status, reason = "", ""
        began, duration, texts = first["t"], 0.0, []
        for place, record in _telling(text):
            if record["kind"] == "resume":
                duration += _last(text, place)["t"] - began
                began = record["t"]
            elif record["kind"] == "end":
                status, reason = str(record["status"]), str(record["reason"])
            else:
                texts.append(str(record["text"] if record["kind"] == "note" else record["name"]))
        duration += last["t"] - began
    if last["kind"] != "end" or status not in layout.ENDINGS:
        running = is_being_written(path)
        status, reason = ("running", "") if running else ("killed", "the process ended without saying so")
    return Skimmed(header, status, reason, float(duration), _limited(texts))


def _telling(text: mmap.mmap) -> Iterator[tuple[int, Record]]:
    for window in range(0, len(text), _WINDOW):
        end = window + _WINDOW
        for match in _TELLING.finditer(text, window, min(end + _MARK, len(text))):
            if match.start() >= end:  # the next window's
                break
            start = text.rfind(b"\n", 0, match.start()) + 1
            record = _line_at(text, start)
            # A damaged line is the business of whoever reads or validates the run.
            if record is not None:
                yield start, record
        # What was looked at may leave the memory again: a journal can be larger than it.
        if hasattr(mmap, "MADV_DONTNEED"):
            text.madvise(mmap.MADV_DONTNEED, window, min(_WINDOW, len(text) - window))


def _line_at(text: mmap.mmap, start: int) -> Record | None:
    end = text.find(b"\n", start)
    return decode_record(text[start:end]) if end >= 0 else None


def _last(text: mmap.mmap, stop: int) -> Record:
    """The last good record before `stop`; the end may be torn."""
    end = text.rfind(b"\n", 0, stop)
    while end > 0:
        start = text.rfind(b"\n", 0, end) + 1
        record = decode_record(text[start:end])
        if record is not None:
            return record
        end = start - 1
    raise ValueError("its journal has no whole line")


def _limited(texts: list[str]) -> tuple[str, ...]:
    kept, room = [], _MOST_TEXT
    for one in texts:
        room -= len(one)
        if room < 0:
            break
        kept.append(one)
    return tuple(kept)


def _check_is_whole(path: Path, run_id: str) -> None:
    """Open the HDF5 file (which finds a cut-off one) and see that it is this run's; nothing else of it is read."""
    try:
        check_heaps(path)
        with h5py.File(path, "r") as file:
            check_format(_plain(file.attrs.get("format")), "file")
            if not isinstance(file.get("entry", getlink=True), h5py.HardLink):
                raise AnalysisError(f"{path} has no entry: it is not a run's file")
            entry = file["entry"]
            if not isinstance(entry.get("run_id", getlink=True), h5py.HardLink):
                raise AnalysisError(f"{path} names no run")
            named = entry["run_id"]
            if named.is_virtual or named.external or named.ndim or str(named.asstr()[()]) != run_id:
                raise AnalysisError(f"{path} is of another run than the journal beside it, {run_id}")
    except UNREADABLE as error:
        raise AnalysisError(
            f"{path} can't be read as HDF5 ({' '.join(str(error).split())}): it is damaged; salvage the run"
        ) from error


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
