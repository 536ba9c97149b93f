"""The run's journal: one record a line, each with a checksum; the authority on what happened.

A line is ``{"seq":n,"t":seconds,"kind":...,...,"crc":"xxxxxxxx"}``: `seq` counts from 0 without a gap, `t` is
the laboratory's clock, `crc` is the CRC-32 of the line's text without the crc itself. Nothing is ever changed or
removed; the one exception is a last line that a crash tore, which nobody was told of.
"""

import fcntl
import math
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from analysis.errors import AnalysisError

Record = dict[str, Any]

_TAIL = len(',"crc":"xxxxxxxx"}')
# A reader that asks whether the journal is locked holds a shared lock for microseconds; a writer that meets it
# there tries again rather than claim that another process is at work.
_LOCK_ATTEMPTS = 1000

LARGEST: Final = 4 << 30
"""Bytes of a journal, which is read as a whole; a day of pulses is some 300 MB."""
LARGEST_LINE: Final = 400 << 20
"""Bytes of a record: an array of 256 MiB that can't be compressed, in base 64."""


@dataclass(frozen=True)
class JournalContents:
    """What a journal says.

    Args:
        records: the good records, oldest first.
        size: length of the good part, bytes.
        crc32: checksum of that part.
        torn: bytes after it that a crash left of an unfinished last line; 0 in a sound journal.
        damaged: numbers of the lines (from 1) that failed their checksum, only where damage is tolerated.
    """

    records: list[Record]
    size: int
    crc32: int
    torn: int = 0
    damaged: tuple[int, ...] = field(default=())


def encode_record(record: Record) -> bytes:
    """The journal's line for a record, newline included."""
    # orjson for its speed: 0.3 us a record against the standard library's 4 us, and a third when reading.
    body = orjson.dumps(record)
    return body[:-1] + b',"crc":"%08x"}\n' % zlib.crc32(body)


def decode_record(line: bytes) -> Record | None:
    """The record of a line without its newline, or None if its checksum or form is wrong; `encode_record`'s inverse."""
    if len(line) > LARGEST_LINE:
        return None
    body, tail = line[:-_TAIL] + b"}", line[-_TAIL:]
    if tail != b',"crc":"%08x"}' % zlib.crc32(body):
        return None
    try:
        record = orjson.loads(body)
    except ValueError:
        return None
    if type(record) is not dict or type(record.get("seq")) is not int or type(record.get("kind")) is not str:
        return None
    return record if type(record.get("t")) is float and 0 <= record["seq"] < 1 << 62 else None


def read_journal(path: Path, *, strict: bool = True) -> JournalContents:
    """Read and check a whole journal.

    A torn last line is tolerated (the process died before anyone was told of it) and reported as `torn` bytes.

    Args:
        path: the journal.
        strict: refuse a journal with a damaged line before the last; else leave such lines out and name them.

    Raises:
        AnalysisError: no such file, or a line is damaged, or a record is missing.
    """
    try:
        if not path.is_file():
            raise AnalysisError(f"can't read the journal {path}: No such file or directory")
        if path.stat().st_size > LARGEST:
            raise AnalysisError(f"can't read the journal {path}: it is larger than {LARGEST >> 30} GiB")
        text = path.read_bytes()
    except OSError as error:
        raise AnalysisError(f"can't read the journal {path}: {error.strerror}") from error
    lines = text.split(b"\n")
    # An acknowledged line always has its newline, so what follows the last newline was never acknowledged.
    size = len(text) - len(lines.pop())
    parsed = [decode_record(line) for line in lines]
    # A power cut may also spoil the end of what was not yet synchronised: that, too, is the torn end.
    while parsed and parsed[-1] is None:
        parsed.pop()
        size -= len(lines[len(parsed)]) + 1
    records: list[Record] = []
    damaged: list[int] = []
    for number, record in enumerate(parsed, start=1):
        if record is None:
            if strict:
                raise AnalysisError(f"line {number} of {path} is damaged: its checksum is wrong")
            damaged.append(number)
        elif strict and record.get("seq") != len(records):
            raise AnalysisError(
                f"line {number} of {path} is record {record.get('seq')} where {len(records)} was due: "
                "records are missing or doubled"
            )
        else:
            records.append(record)
    return JournalContents(records, size, zlib.crc32(text[:size]), len(text) - size, tuple(damaged))


def is_begun(path: Path) -> bool:
    """Whether a journal has a record; a process that died before its first leaves none, or a torn one."""
    if not path.exists():
        return False
    with path.open("rb") as file:
        return file.readline().endswith(b"\n")


def is_being_written(path: Path) -> bool:
    """Whether some process (this one included) has the journal open for writing, and so is alive."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def sync_folder(folder: Path) -> None:
    """Make the folder's entries (new, renamed and removed files) survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte: the system may take fewer than it was given."""
    done = os.write(descriptor, data)
    while done < len(data):
        done += os.write(descriptor, data[done:])


class Journal:
    """A journal open for appending; made by `open`. One process at a time, one thread at a time.

    Attributes:
        recovered: what the journal held when it was opened.
        durable: see `open`.
    """

    def __init__(self, path: Path, descriptor: int, durable: bool, recovered: JournalContents) -> None:
        self.path = path
        self.durable = durable
        self.recovered = recovered
        self._descriptor = descriptor
        self._next = len(recovered.records)
        self._size = recovered.size
        self._unsynced = False

    @classmethod
    def open(cls, path: Path, durable: bool) -> "Journal":
        """Open a journal for appending, making it if need be and cutting off a torn last line.

        The operating system's lock on the file says that a live process writes it; it goes when the process does.

        Args:
            path: the journal, in an existing folder.
            durable: whether `append(..., sync=True)` waits for the disk, so that the record survives a power cut.
                For real instruments it must be True: the cell keeps the pulse, so the journal must keep the intent.
                For a simulated bench False serves: each record is handed to the operating system before `append`
                returns, which survives any death of the process, and the bench's own chip is no more durable.

        Raises:
            AnalysisError: another process writes this journal, it is damaged, or it can't be opened.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise AnalysisError(f"can't open the journal {path}: {error.strerror}") from error
        try:
            _lock(descriptor, path)
            recovered = read_journal(path)
            if recovered.torn:
                os.ftruncate(descriptor, recovered.size)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(path, descriptor, durable, recovered)

    def append(self, kind: str, t: float, fields: Mapping[str, Any], *, sync: bool = False) -> Record:
        """Add a record; once this returns, no death of the process loses it.

        Args:
            kind: kind of record.
            t: laboratory time, seconds.
            fields: the rest; JSON's types, integers of at most 64 bits, finite numbers (others would be null).
            sync: also wait for the disk if the journal is durable; takes every earlier record along, so that a
                pulse's result can wait for the next pulse's intent at the cost of one wait a pulse.

        Returns:
            The record as it stands in the journal, without its checksum.

        Raises:
            AnalysisError: the record can't be written or kept as JSON; the journal is as before.
        """
        if not math.isfinite(t):
            raise AnalysisError(f"a record of kind {kind!r} can't be at {t} s")
        record: Record = {"seq": self._next, "t": float(t), "kind": kind, **fields}
        try:
            line = encode_record(record)
        except TypeError as error:
            raise AnalysisError(f"a record of kind {kind!r} can't be kept as JSON: {error}") from error
        try:
            write_all(self._descriptor, line)
            self._next, self._size = self._next + 1, self._size + len(line)
        except BaseException as error:
            self._settle(len(line))
            if isinstance(error, OSError):
                raise AnalysisError(f"can't write the journal {self.path}: {error.strerror}") from error
            raise
        self._unsynced = True
        if sync:
            self.sync()
        return record

    def _settle(self, length: int) -> None:
        """After a failed or interrupted write: the record of `length` bytes is in the file wholly or not at all."""
        if os.fstat(self._descriptor).st_size == self._size + length:
            self._next, self._size = self._next + 1, self._size + length
        elif os.fstat(self._descriptor).st_size != self._size:
            os.ftruncate(self._descriptor, self._size)

    def sync(self) -> None:
        """Wait for the disk if the journal is durable and something is not there yet."""
        if self.durable and self._unsynced:
            try:
                os.fsync(self._descriptor)
            except OSError as error:
                raise AnalysisError(f"the journal {self.path} did not reach the disk: {error.strerror}") from error
        self._unsynced = False

    def close(self) -> None:
        """Let the journal go, and with it the lock; twice is once."""
        if self._descriptor >= 0:
            self.sync()
            os.close(self._descriptor)
            self._descriptor = -1


def _lock(descriptor: int, path: Path) -> None:
    for _ in range(_LOCK_ATTEMPTS):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        return
    raise AnalysisError(f"{path} is being written by another process: wait for it, or stop it first")
