"""Opening the file of a run under way, or what a kill left of one.

While a run writes it, `run.partial.h5` is read in HDF5's single-writer/multiple-readers mode. In that mode HDF5 takes a
damaged block for one that is just being written and tries again, the next wait twice as long as the last, for ever. So
as soon as nobody writes the file any more it is read as an ordinary one, where damage is told at once. HDF5 itself
refuses that, since the file's first block still says that a writer has it: it is handed that block without the mark.
"""

import io
import struct
from pathlib import Path
from typing import Any, Final

import h5py

from analysis.records import layout
from analysis.records.journal import is_being_written

_SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"
_VERSION, _OFFSET_SIZE, _FLAGS, _LENGTH = 8, 9, 11, 44
"""Places in the superblock of version 3 with offsets of 8 bytes (HDF5 file format specification, II.A)."""
_IN_USE: Final = 0x05
_MASK: Final = 0xFFFFFFFF


def open_partial(path: Path) -> h5py.File:
    """Open a partial file for reading, in the way that suits whether a process writes it.

    Raises:
        OSError, RuntimeError, ValueError: it is no HDF5 file, or damaged.
    """
    if is_being_written(path.with_name(layout.JOURNAL)):
        return h5py.File(path, "r", libver="latest", swmr=True)
    return h5py.File(_Unmarked(path), "r")


class _Unmarked(io.RawIOBase):
    """A file, read-only, whose HDF5 superblock says that no writer has it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self._head = _released(self._file.read(_LENGTH + 4))
        self._place = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go elsewhere."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place}.get(whence)
        self._place = self._file.seek(0, io.SEEK_END) + offset if start is None else start + offset
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer; fewer bytes at the end of the file."""
        view = memoryview(buffer).cast("B")
        self._file.seek(self._place)
        count, more = 0, -1
        while count < len(view) and more:
            more = self._file.readinto(view[count:]) or 0
            count += more
        head = self._head[self._place : self._place + count]
        view[: len(head)] = head
        self._place += count
        return count

    def close(self) -> None:
        """Close the file; twice is once."""
        self._file.close()
        super().close()


def _released(head: bytes) -> bytes:
    """A superblock without the marks of a writer; what is no sound superblock of ours stays as it is."""
    sound = len(head) == _LENGTH + 4 and head.startswith(_SIGNATURE) and (head[_VERSION], head[_OFFSET_SIZE]) == (3, 8)
    if not sound or head[_LENGTH:] != struct.pack("<I", lookup3(head[:_LENGTH])):
        return head
    freed = head[:_FLAGS] + bytes([head[_FLAGS] & ~_IN_USE]) + head[_FLAGS + 1 : _LENGTH]
    return freed + struct.pack("<I", lookup3(freed))


def lookup3(data: bytes) -> int:
    """Bob Jenkins's hash lookup3 (`hashlittle` with an initial value of 0), HDF5's checksum of metadata."""
    a: int
    b: int
    c: int
    a = b = c = (0xDEADBEEF + len(data)) & _MASK
    while len(data) > 12:
        words = struct.unpack_from("<III", data)
        data = data[12:]
        a, b, c = ((x + y) & _MASK for x, y in zip((a, b, c), words, strict=True))
        for turn in (4, 6, 8, 16, 19, 4):
            a = ((a - c) & _MASK) ^ _turned(c, turn)
            c = (c + b) & _MASK
            a, b, c = b, c, a
    if not data:
        return c
    words = struct.unpack("<III", data.ljust(12, b"\0"))
    a, b, c = ((x + y) & _MASK for x, y in zip((a, b, c), words, strict=True))
    for turn in (14, 11, 25, 16, 4, 14, 24):
        c = ((c ^ b) - _turned(b, turn)) & _MASK
        a, b, c = b, c, a
    # Seven turns leave the third word where the second was.
    return b


def _turned(value: int, places: int) -> int:
    return (value << places | value >> (32 - places)) & _MASK
