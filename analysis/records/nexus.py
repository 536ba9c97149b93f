"""Writing the parts that live and final file share: NeXus classes, units, marks, and the header as datasets."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from analysis.errors import AnalysisError
from analysis.records import layout
from analysis.records.header import InstrumentId, RunHeader

_SMALL = 1024
_SHOWN = ("conductance", "current", "energy", "amplitude", "duration")
"""Columns of the events that can be their picture, best first."""
_MOST_TEXT = 1 << 28


def collection(parent: h5py.Group, name: str, nx_class: str = "NXcollection") -> h5py.Group:
    """A group of a NeXus class."""
    group = parent.create_group(name)
    group.attrs["NX_class"] = nx_class
    return group


def put(
    group: h5py.Group, name: str, values: Any, units: str | None = None, meaning: str | None = None
) -> h5py.Dataset:
    """A dataset with units; a long one is chunked and compressed so that every reader can open it.

    A name with slashes puts it into collections, made if need be.
    """
    *parents, name = name.split("/")
    for parent in parents:
        group = group[parent] if parent in group else collection(group, parent)
    if isinstance(values, np.ndarray) and values.size > _SMALL:
        chunks = tuple(min(n, 16384) for n in values.shape) if values.ndim == 1 else True
        options = {
            "chunks": chunks, "compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True,
        }  # fmt: skip
        dataset = group.create_dataset(name, data=values, **options)
    elif isinstance(values, list | tuple) and not values:
        dataset = group.create_dataset(name, (0,), h5py.string_dtype())
    else:
        dataset = group.create_dataset(name, data=values)
    if units is not None:
        dataset.attrs["units"] = units
    if meaning is not None:
        dataset.attrs["long_name"] = labelled(meaning, units)
    return dataset


def labelled(text: str, units: str | None) -> str:
    """What stands at an axis: H5Web and NeXpy take `long_name` for it and leave out the unit if it is not in there."""
    return f"{text} ({units})" if units and not text.endswith(f"({units})") else text


def put_table(group: h5py.Group, columns: Iterable[layout.Column], values: Mapping[str, npt.NDArray[Any]]) -> None:
    """A table's columns as 1-D datasets."""
    for column in columns:
        label = f"{column.name}: {column.meaning}"
        put(group, column.name, values[column.name].astype(column.dtype), column.units or "", label)


def dress_events(events: h5py.Group, world: str) -> None:
    """Make the finished table of events a picture: over time, the first of its quantities that was measured."""
    # A run that measured no conductance (sweeps, solutions) shows what it did measure.
    known = (name for name in _SHOWN if np.isfinite(events[name][()]).any())
    events.attrs["signal"], events.attrs["axes"] = next(known, _SHOWN[0]), ["time"]
    events.attrs["time_indices"] = 0
    if "title" not in events:
        put(events, "title", f"Events ({world})")


def begin(file: h5py.File, header: RunHeader) -> h5py.Group:
    """Root attributes, entry and provenance of a run file; gives the entry."""
    file.attrs["NX_class"] = "NXroot"
    file.attrs["default"] = "entry"
    file.attrs["creator"] = "ohmflow"
    file.attrs["format"] = layout.FORMAT
    file.attrs["world"] = header.world
    entry = collection(file, "entry", "NXentry")
    entry.attrs["world"] = header.world
    entry.attrs["default"] = "conductance_after"
    put(entry, "title", header.title)
    put(entry, "procedure", header.procedure)
    put(entry, "run_id", header.run_id)
    put(entry, "start_time", header.started)
    provenance = collection(entry, "provenance")
    for name in ("procedure", "world", "run_id", "started", "command_line", "station", "git_commit"):
        put(provenance, name, getattr(header, name))
    for name in ("operator", "chip", "arrays", "rows", "cols"):
        put(provenance, name, getattr(header, name))
    if header.seed is not None:
        # A seed may be as wide as 128 bits: as text it keeps every one.
        put(provenance, "seed", str(header.seed))
    put(provenance, "parameters", json.dumps(dict(header.parameters), allow_nan=False)).attrs["format"] = "JSON"
    put(provenance, "paths", json.dumps(dict(header.paths))).attrs["format"] = "JSON"
    packages = collection(provenance, "packages")
    put(packages, "name", list(header.packages))
    put(packages, "version", list(header.packages.values()))
    instruments = collection(provenance, "instruments")
    for name in ("role", "resource", "idn"):
        put(instruments, name, [getattr(instrument, name) for instrument in header.instruments])
    return entry


def text(dataset: h5py.Dataset) -> Any:
    """A string dataset as str, or list of str."""
    if dataset.ndim == 0:
        return str(dataset.asstr()[()])
    # Any number of a file's texts may be one and the same piece of it: read so few at a time that they fit.
    step = min(max(_MOST_TEXT // max(dataset.file.id.get_filesize(), 1), 1), 4096)
    found: list[str] = []
    total = 0
    for start in range(0, len(dataset), step):
        found += [str(item) for item in dataset.asstr()[start : start + step]]
        total += sum(map(len, found[start:]))
        if total > _MOST_TEXT:
            raise ValueError(f"{dataset.name} has more than {_MOST_TEXT >> 20} MiB of text")
    return found


def header_of(entry: h5py.Group) -> RunHeader:
    """The header that `begin` wrote.

    Raises:
        AnalysisError: something of it is missing.
    """
    try:
        provenance = entry["provenance"]
        fields: dict[str, Any] = {
            name: text(provenance[name])
            for name in ("procedure", "world", "run_id", "started", "command_line", "station", "git_commit")
        }
        fields |= {name: text(provenance[name]) for name in ("operator", "chip")}
        fields |= {name: int(provenance[name][()]) for name in ("arrays", "rows", "cols")}
        fields["seed"] = int(text(provenance["seed"])) if "seed" in provenance else None
        fields["parameters"] = json.loads(text(provenance["parameters"]))
        fields["paths"] = json.loads(text(provenance["paths"])) if "paths" in provenance else {}
        packages, instruments = provenance["packages"], provenance["instruments"]
        fields["packages"] = dict(zip(text(packages["name"]), text(packages["version"]), strict=True))
        columns: list[Sequence[str]] = [text(instruments[name]) for name in ("role", "resource", "idn")]
        fields["instruments"] = tuple(InstrumentId(*row) for row in zip(*columns, strict=True))
        return RunHeader(**fields)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise AnalysisError(f"its provenance is incomplete: {error}") from error


def put_map(
    entry: h5py.Group,
    name: str,
    values: npt.NDArray[Any],
    header: RunHeader,
    *,
    units: str = "S",
    title: str | None = None,
) -> h5py.Group:
    """A map over the cells as NXdata that plots itself, marked with its world."""
    group = collection(entry, name, "NXdata")
    signal = "conductance" if units == "S" else "value"
    heading = title or layout.MAPS.get(name, name)
    axes = ["row", "col"] if header.arrays == 1 else ["array", "row", "col"]
    group.attrs["world"] = header.world
    group.attrs["signal"] = signal
    group.attrs["axes"] = axes
    # H5Web shows the title, but no label at the colours: the unit has to be here.
    put(group, "title", f"{heading}{f' in {units}' if units else ''} ({header.world})")
    shape = layout.shape_of(*header.shape)
    dataset = group.create_dataset(signal, data=values.reshape(shape))
    dataset.attrs["units"] = units
    dataset.attrs["long_name"] = labelled(f"{heading}, {header.world}", units)
    dataset.attrs["world"] = header.world
    for dimension, (axis, length) in enumerate(zip(axes, shape, strict=True)):
        group.attrs[f"{axis}_indices"] = dimension
        put(group, axis, np.arange(length, dtype=np.int16), "", axis)
    return group


def is_map(item: h5py.Group | h5py.Dataset) -> bool:
    """Whether an item of the entry is a map over the cells."""
    return isinstance(item, h5py.Group) and "row" in list(item.attrs.get("axes", ()))
