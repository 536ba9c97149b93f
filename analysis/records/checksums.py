"""Checksums over a run file's content: a value, a unit or a name that changes later is found, and where.

`/entry/checksums` lists every group and dataset with the SHA-256 of its kind, type, shape, attributes and values, as a
reader sees them: writing the file anew with other chunks or another compression changes none of them. The codes of
oscilloscopes, which may be gigabytes, are covered by the CRC-32 that each capture has carried since it was taken; the
column of these is in the list.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any, Final

import h5py
import numpy as np

from analysis.records import nexus

GROUP: Final = "checksums"
_BLOCK: Final = 4 << 20


def seal(file: h5py.File) -> None:
    """Write the list over all that the file holds; nothing may be changed after it."""
    found = dict(_digests(file))
    group = nexus.collection(file["entry"], GROUP)
    nexus.put(group, "path", list(found))
    nexus.put(group, "sha256", list(found.values()))
    nexus.put(group, "seal", _sealed(found))


def differences(file: h5py.File) -> Iterator[tuple[str, str]]:
    """(place, what) of each difference between the file and its list; nothing where all is as it was written.

    The codes of captures are not looked at: see `waveforms.has_codes`.
    """
    group = file["entry"].get(GROUP)
    try:
        listed = dict(zip(nexus.text(group["path"]), nexus.text(group["sha256"]), strict=True))
        sealed = nexus.text(group["seal"])
    except (TypeError, KeyError, AttributeError, ValueError):
        yield f"/entry/{GROUP}", "is missing or damaged: nobody can tell whether something was changed"
        return
    if _sealed(listed) != sealed:
        yield f"/entry/{GROUP}", "the list of checksums was changed after it was written"
    found = dict(_digests(file))
    for path in sorted({*listed, *found}):
        if path not in found:
            yield path, "is gone, though the list of checksums has it"
        elif path not in listed:
            yield path, "was added after the run's end: the list of checksums does not have it"
        elif listed[path] != found[path]:
            yield path, "was changed after it was written: its checksum is another"


def _sealed(digests: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(sorted(digests.items())).encode()).hexdigest()


def _digests(file: h5py.File) -> Iterator[tuple[str, str]]:
    waiting: list[h5py.Group] = [file["/"]]
    while waiting:
        group = waiting.pop()
        yield group.name, _digest(group)
        for name in group:
            item = group[name]
            if item.name == f"/entry/{GROUP}":
                continue
            if isinstance(item, h5py.Group):
                waiting.append(item)
            else:
                yield item.name, _digest(item)


def _digest(item: h5py.Group | h5py.Dataset) -> str:
    attributes = {name: _plain(item.attrs[name]) for name in sorted(item.attrs)}
    about: list[Any] = ["group", attributes]
    if isinstance(item, h5py.Dataset):
        text = h5py.check_string_dtype(item.dtype) is not None
        about = ["dataset", "text" if text else item.dtype.str, list(item.shape), attributes]
        about.append(h5py.check_enum_dtype(item.dtype))
    found = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    if isinstance(item, h5py.Dataset) and not is_codes(item):
        for block in _blocks(item):
            found.update(block)
    return found.hexdigest()


def is_codes(item: h5py.Dataset) -> bool:
    """Whether the dataset holds the codes of captures, each of which has a checksum of its own."""
    name = str(item.name)
    return name.startswith("/entry/waveforms/") and name.endswith("/raw") and name.count("/") == 4


def _blocks(item: h5py.Dataset) -> Iterator[bytes]:
    """The values in C order, some megabytes at a time."""
    if h5py.check_string_dtype(item.dtype) is not None:
        texts = [item.asstr()[()]] if item.ndim == 0 else item.asstr()[()].ravel().tolist()
        yield json.dumps(texts).encode()
        return
    if item.ndim == 0 or item.size == 0:
        yield np.asarray(item[()]).tobytes()
        return
    chunk = item.chunks[0] if item.chunks else 1
    row = item.dtype.itemsize * int(np.prod(item.shape[1:], dtype=np.int64))
    step = max(_BLOCK // max(row, 1) // chunk, 1) * chunk
    for start in range(0, len(item), step):
        yield np.ascontiguousarray(item[start : start + step]).tobytes()


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value
