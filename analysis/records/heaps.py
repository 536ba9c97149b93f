"""Whether HDF5's heaps of texts are sound: in a damaged one HDF5 looks for the end of its objects for ever.

A global heap (HDF5 file format specification, III.E) is the signature, its size, and objects one after another: a
number (0: what is free), 6 bytes, a length, the bytes. Zeros in it are an object of length nothing, which HDF5 never
gets past, and nothing can interrupt it. So heaps are looked at before HDF5 reads them.
"""

import mmap
import struct
from pathlib import Path
from typing import Final

from analysis.errors import AnalysisError

_START: Final = b"GCOL\x01\0\0\0"
_HEAD: Final = 16
_LARGEST: Final = 1 << 26
_ENDS: Final = 1 << 23
"""Bytes at either end of a file that are looked through: texts are written first and last, captures in between."""


def check_heaps(path: Path) -> None:
    """Look through a file's heaps.

    Raises:
        AnalysisError: one is damaged.
        OSError: the file can't be read.
    """
    with path.open("rb") as file:
        if not path.stat().st_size:
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            middle = max(len(content) - _ENDS, _ENDS)
            for start, stop in ((0, _ENDS), (middle, len(content))):
                place = content.find(_START, start, stop)
                while place >= 0:
                    if not _is_sound(content, place):
                        raise AnalysisError(f"{path} is damaged: its texts at byte {place} can't be read")
                    place = content.find(_START, place + 1, stop)


def _is_sound(content: mmap.mmap, start: int) -> bool:
    """Whether the objects of a heap end where it does."""
    if start + _HEAD > len(content):
        return True  # HDF5 tells of a file that is cut off
    (size,) = struct.unpack_from("<Q", content, start + 8)
    end = start + size
    if not _HEAD < size <= _LARGEST:
        return False
    if end > len(content):
        return True
    place = start + _HEAD
    while place + _HEAD <= end:
        number, _, _, length = struct.unpack_from("<HHIQ", content, place)
        # The length of what is free counts its own head; other lengths are rounded up to 8 bytes.
        taken = length if number == 0 else _HEAD + (length + 7) // 8 * 8
        if taken < _HEAD or place + taken > end:
            return False
        place += taken
    return True
