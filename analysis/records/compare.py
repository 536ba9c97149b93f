"""Whether two run files say the same."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from analysis.errors import AnalysisError
from analysis.records import layout


def same_data(a: str | Path, b: str | Path) -> list[str]:
    """Compare every dataset and attribute of two HDF5 files but wall times and identities (`layout.VOLATILE`).

    Args:
        a: a run file.
        b: another.

    Returns:
        A line for each difference; empty if the files say the same, to the last bit.

    Raises:
        AnalysisError: a file can't be read.
    """
    try:
        with h5py.File(a, "r") as left, h5py.File(b, "r") as right:
            return [*_attributes("/", left, right), *_groups(left, right)]
    except OSError as error:
        raise AnalysisError(f"can't compare {a} and {b}: {error}") from error


def _groups(left: h5py.Group, right: h5py.Group) -> list[str]:
    differences = []
    for name in sorted(set(left) | set(right)):
        path = f"{left.name.rstrip('/')}/{name}"
        if name not in left or name not in right:
            differences.append(f"{path}: only in the {'first' if name in left else 'second'}")
            continue
        one, other = left[name], right[name]
        if type(one) is not type(other):
            differences.append(f"{path}: a group in one, a dataset in the other")
            continue
        differences += _attributes(path, one, other)
        if isinstance(one, h5py.Group):
            differences += _groups(one, other)
        elif path not in layout.VOLATILE:
            said = _values(one, other)
            if said:
                differences.append(f"{path}: {said}")
    return differences


def _values(one: h5py.Dataset, other: h5py.Dataset) -> str:
    """What differs between two datasets, or nothing."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return f"{one.dtype} {one.shape} against {other.dtype} {other.shape}"
    if one.ndim == 0 or one.chunks is None or one.dtype.kind == "O":
        return _unlike(one[()], other[()])
    for block in one.iter_chunks():
        said = _unlike(one[block], other[block])
        if said:
            return said
    return ""


def _unlike(one: Any, other: Any) -> str:
    first, second = np.asarray(one), np.asarray(other)
    if first.shape != second.shape:
        return f"shape {first.shape} against {second.shape}"
    unequal = first != second
    if first.dtype.kind == "f" and second.dtype.kind == "f":
        unequal &= ~(np.isnan(first) & np.isnan(second))
    count = int(np.count_nonzero(unequal))
    if not count:
        return ""
    return f"{count} of {first.size} values differ, first {first[unequal][0]!r} against {second[unequal][0]!r}"


def _attributes(path: str, one: Any, other: Any) -> list[str]:
    differences = []
    for name in sorted(set(one.attrs) | set(other.attrs)):
        if name not in one.attrs or name not in other.attrs:
            differences.append(f"{path}@{name}: only in the {'first' if name in one.attrs else 'second'}")
        elif said := _unlike(one.attrs[name], other.attrs[name]):
            differences.append(f"{path}@{name}: {said}")
    return differences
