"""What a run's folder and files may hold: they can come from a stranger, or from a damaged disk.

HDF5 lets a file lead into others (external and soft links, virtual datasets, external storage), load filters as
programs from the machine, and claim datasets larger than any memory. No run file of ours has any of these.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from analysis.errors import AnalysisError
from analysis.records import layout

MOST_OBJECTS: Final = 20_000
"""Groups and datasets of a run file; ours have some hundred, and a few for each thing that a procedure keeps."""
MOST_DEPTH: Final = 32
LARGEST: Final = 1 << 30
"""Bytes of a dataset; captures, which are read one by one, may be larger."""
LARGEST_CHUNK: Final = 1 << 26
LARGEST_ATTRIBUTE: Final = 1 << 20
_FILTERS: Final = frozenset(
    {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32, h5py.h5z.FILTER_LZF}
)

UNREADABLE: Final = (
    OSError,
    RuntimeError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    MemoryError,
    OverflowError,
)
"""What HDF5 and h5py, and we ourselves, stumble over in a damaged file."""


def check_folder(folder: Path) -> None:
    """Refuse symbolic links in a run's folder: what is written or read through one is somewhere else.

    The folder itself may be reached through one.

    Raises:
        AnalysisError: there is one, or the folder can't be looked into.
    """
    try:
        for place in (folder, folder / "figures"):
            if not place.is_dir():
                continue
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.is_symlink():
                        raise AnalysisError(
                            f"{entry.path} is a symbolic link, out of the run's folder; put a copy in its place"
                        )
    except OSError as error:
        raise AnalysisError(f"can't look into the run's folder {folder}: {error.strerror}") from error


def check_hdf5(file: h5py.File) -> None:
    """Refuse a file that leads elsewhere, needs other programs to be read, or claims more than it can hold.

    Raises:
        AnalysisError: it does; names the place.
        OSError, RuntimeError, LookupError, TypeError, ValueError: it is damaged.
    """
    waiting: list[tuple[h5py.Group, int]] = [(file["/"], 0)]
    seen = 0
    while waiting:
        group, depth = waiting.pop()
        if depth > MOST_DEPTH:
            raise AnalysisError(f"{group.name} is nested too deeply for a run's file")
        _check_attributes(group)
        for name in group:
            seen += 1
            if seen > MOST_OBJECTS:
                raise AnalysisError(f"it holds more than {MOST_OBJECTS} objects: it is not a run's file")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise AnalysisError(f"{group.name}/{name} is a link to elsewhere, which no run's file has")
            item = group[name]
            if isinstance(item, h5py.Group):
                waiting.append((item, depth + 1))
            elif isinstance(item, h5py.Dataset):
                _check_dataset(item)
                _check_attributes(item)
            else:
                raise AnalysisError(f"{group.name}/{name} is neither group nor dataset")


def _check_dataset(item: h5py.Dataset) -> None:
    if item.is_virtual or item.external:
        raise AnalysisError(f"{item.name} has its values in another file, which no run's file has")
    if not _is_plain(item.dtype):
        raise AnalysisError(f"{item.name} holds {item.dtype}, neither numbers nor text")
    plist = item.id.get_create_plist()
    filters = {plist.get_filter(n)[0] for n in range(plist.get_nfilters())}
    if not filters <= _FILTERS:
        raise AnalysisError(f"{item.name} needs a filter that HDF5 itself doesn't have")
    size, itemsize = int(item.size or 0), item.dtype.itemsize
    captures = "/waveforms/" in item.name and item.chunks is not None
    if size * itemsize > LARGEST and not captures:
        raise AnalysisError(f"{item.name} claims {size * itemsize} bytes, more than the {LARGEST} that are read")
    chunk = itemsize
    for length in item.chunks or ():
        chunk *= int(length)
    if chunk > LARGEST_CHUNK:
        raise AnalysisError(f"{item.name} has chunks of {chunk} bytes, more than {LARGEST_CHUNK}")


def _check_attributes(item: Any) -> None:
    for name in item.attrs:
        attribute = item.attrs.get_id(name)
        size = int(attribute.get_storage_size())
        if size > LARGEST_ATTRIBUTE or not _is_plain(attribute.dtype):
            raise AnalysisError(
                f"attribute {name} of {item.name} is no text or number of up to {LARGEST_ATTRIBUTE} bytes"
            )


def _is_plain(dtype: Any) -> bool:
    return dtype.kind in "biufSU" or h5py.check_string_dtype(dtype) is not None


@contextmanager
def damage_told(path: Path) -> Iterator[None]:
    """Around what makes sense of a run's numbers: whatever it stumbles over in a damaged file is told in a sentence.

    Numbers that no measurement gives may overflow without a warning.

    Raises:
        AnalysisError: something in the file is not as its procedure leaves it.
    """
    try:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            yield
    except OSError as error:
        raise AnalysisError(f"can't report {path}: {error}") from error
    except (ArithmeticError, *UNREADABLE) as error:
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise AnalysisError(
            f"can't make sense of {path} ({said}): it is damaged or was changed; "
            f"if its {layout.JOURNAL} is beside it, remove the file and salvage the run"
        ) from error
