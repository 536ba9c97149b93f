"""Oscilloscope captures in HDF5: raw codes, chunked and compressed, with the exact scale factors.

The codes of a capture are volts after ``(code - y_reference) * y_increment + y_origin``, its instants seconds
after ``x_origin + sample * x_increment``; the factors are the oscilloscope's own, to the last bit.
"""

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from analysis.errors import AnalysisError
from analysis.records.header import WaveformSpec
from analysis.records.journal import Record

PER_CHANNEL = (("y_increment", "V"), ("y_origin", "V"), ("y_reference", None))
PER_CAPTURE = (
    ("seq", "i8", None),
    ("time", "f8", "s"),
    ("index", "i8", None),
    ("length", "i8", None),
    ("x_increment", "f8", "s"),
    ("x_origin", "f8", "s"),
    ("crc32", "u4", None),
)
_CHUNK_BYTES = 1 << 20
_LONG = 1024
INTACT = "1: codes present and as captured"
"""What the column `intact` says."""


def chunk_shape(spec: WaveformSpec) -> tuple[int, int, int]:
    """One capture a chunk, or less of it where that is more than 1 MiB: a chunk never spans two captures."""
    channels, size = len(spec.channels), np.dtype(spec.dtype).itemsize
    if channels * spec.samples * size <= _CHUNK_BYTES:
        return 1, channels, spec.samples
    return 1, 1, min(spec.samples, _CHUNK_BYTES // size)


def declare(parent: h5py.Group, spec: WaveformSpec, captures: int) -> h5py.Group:
    """Make the group of one oscilloscope with room for `captures` captures; it can grow."""
    group = parent.create_group(spec.scope)
    group.attrs["NX_class"] = "NXcollection"
    group.attrs["compression"] = spec.compression or "none"
    group.attrs["volts"] = "(raw - y_reference) * y_increment + y_origin"
    channels = len(spec.channels)
    options: dict[str, Any] = {}
    if spec.compression is not None:
        options = {"compression": spec.compression, "shuffle": True}
    if spec.compression == "gzip":
        options["compression_opts"] = 1
    raw = group.create_dataset(
        "raw",
        (captures, channels, spec.samples),
        spec.dtype,
        chunks=chunk_shape(spec),
        maxshape=(None, channels, spec.samples),
        **options,
    )
    raw.attrs["long_name"] = "raw codes [capture, channel, sample]"
    raw.attrs["units"] = ""
    raw.attrs["interpretation"] = "spectrum"
    group["channels"] = list(spec.channels)
    for name, dtype, units in PER_CAPTURE:
        column = group.create_dataset(name, (captures,), dtype, chunks=(1024,), maxshape=(None,))
        column.attrs["units"] = units or ""
    for name, units in PER_CHANNEL:
        shape = (captures, channels)
        column = group.create_dataset(name, shape, "f8", chunks=(1024, channels), maxshape=(None, channels))
        column.attrs["units"] = units or ""
    return group


def spec_of(group: h5py.Group) -> WaveformSpec:
    """What `declare` was given."""
    raw, compression = group["raw"], str(group.attrs["compression"])
    names = tuple(str(name) for name in group["channels"].asstr()[()])
    kept: Any = None if compression == "none" else compression
    return WaveformSpec(group.name.rsplit("/", 1)[-1], names, raw.shape[2], raw.dtype.name, kept)


def make_record(
    spec: WaveformSpec,
    codes: npt.NDArray[Any],
    *,
    number: int,
    index: int,
    y_increment: Sequence[float],
    y_origin: Sequence[float],
    y_reference: Sequence[float],
    x_increment: float,
    x_origin: float,
) -> Record:
    """The journal's fields for a capture.

    Args:
        spec: what was declared.
        codes: [channel, sample], of the declared type, at most `spec.samples` samples.
        number: how many captures of this oscilloscope came before.
        index: what the capture belongs to, for example the number of the sample.
        y_increment: volts a code, one a channel.
        y_origin: volts, one a channel.
        y_reference: codes, one a channel.
        x_increment: seconds a sample.
        x_origin: seconds from the trigger to the first sample.

    Raises:
        AnalysisError: the capture isn't what was declared.
    """
    channels = len(spec.channels)
    if codes.ndim != 2 or len(codes) != channels or not 1 <= codes.shape[1] <= spec.samples:
        raise AnalysisError(
            f"a capture of {spec.scope} has shape {codes.shape}, declared were {channels} channels of up to "
            f"{spec.samples} samples"
        )
    if codes.dtype != np.dtype(spec.dtype):
        raise AnalysisError(f"a capture of {spec.scope} has codes of type {codes.dtype}, declared was {spec.dtype}")
    factors = {"y_increment": y_increment, "y_origin": y_origin, "y_reference": y_reference}
    if any(len(values) != channels for values in factors.values()):
        raise AnalysisError(f"a capture of {spec.scope} needs scale factors for each of its {channels} channels")
    if not np.isfinite([*y_increment, *y_origin, *y_reference, x_increment, x_origin]).all():
        raise AnalysisError(f"a capture of {spec.scope} has a scale factor that is no finite number")
    return {
        "scope": spec.scope,
        "n": number,
        "index": int(index),
        "length": int(codes.shape[1]),
        "codes": f"{zlib.crc32(codes.tobytes()):08x}",
        **{name: [float(value) for value in values] for name, values in factors.items()},
        "x_increment": float(x_increment),
        "x_origin": float(x_origin),
    }


def put_codes(raw: h5py.Dataset, number: int, codes: npt.NDArray[Any]) -> None:
    """Write a capture's codes as the `number`-th of `raw` and hand them to the operating system."""
    raw.resize(number + 1, axis=0)
    raw[number, :, : codes.shape[1]] = codes
    raw.flush()


def put_index(group: h5py.Group, start: int, records: Sequence[Record]) -> None:
    """Write scale factors and index of the captures from the `start`-th on."""
    if not records:
        return
    stop = start + len(records)
    for name, _, _ in PER_CAPTURE:
        column = group[name]
        column.resize(stop, axis=0)
        column[start:stop] = [_field(record, name) for record in records]
    for name, _ in PER_CHANNEL:
        column = group[name]
        column.resize(stop, axis=0)
        column[start:stop] = [record[name] for record in records]


def _field(record: Record, name: str) -> Any:
    """What the journal's record of a capture says for a column."""
    if name == "crc32":
        return int(record["codes"], 16)
    return record["t" if name == "time" else name]


def dress(group: h5py.Group, shape: tuple[int, int, int], world: str) -> None:
    """Make the finished group of an oscilloscope a picture: NXdata of codes over capture, channel and time.

    The axis of time is from the trigger where all captures share it, else the number of the sample.

    Args:
        group: of the oscilloscope, with its index.
        shape: of its codes, (captures, channels, samples).
        world: of the run.
    """
    captures, channels, samples = shape
    steps = {(float(a), float(b)) for a, b in zip(group["x_increment"][()], group["x_origin"][()], strict=True)}
    last = "sample_time" if len(steps) == 1 else "sample"
    along: npt.NDArray[Any] = np.arange(samples)
    if last == "sample_time":
        increment, origin = steps.pop()
        along = origin + along * increment
    axes = (("capture", np.arange(captures), ""), ("channel", np.arange(channels), ""))
    for dimension, (name, values, units) in enumerate((*axes, (last, along, "s" if last == "sample_time" else ""))):
        options = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if values.size > _LONG else {}
        axis = group.create_dataset(name, data=values, **options)
        axis.attrs["units"] = units
        axis.attrs["long_name"] = "time from the trigger (s)" if name == "sample_time" else name
        group.attrs[f"{name}_indices"] = dimension
    group.attrs["NX_class"] = "NXdata"
    group.attrs["signal"], group.attrs["axes"] = "raw", ["capture", "channel", last]
    group["title"] = f"Captures of {group.name.rsplit('/', 1)[-1]} ({world})"


def is_intact(group: h5py.Group, record: Record) -> bool:
    """Whether the group holds the codes that the journal's record speaks of."""
    return has_codes(group["raw"], record["n"], record["length"], int(record["codes"], 16))


def has_codes(raw: h5py.Dataset, number: int, length: int, crc: int) -> bool:
    """Whether the `number`-th capture has codes of this CRC-32 in its first `length` samples."""
    if not 0 <= number < raw.shape[0]:
        return False
    try:
        codes = raw[number, :, :length]
    except OSError:
        return False
    return zlib.crc32(codes.tobytes()) == crc


def _corners(spec: WaveformSpec, number: int) -> Iterator[tuple[int, int, int]]:
    _, channels, samples = chunk_shape(spec)
    for channel in range(0, len(spec.channels), channels):
        for sample in range(0, spec.samples, samples):
            yield number, channel, sample


def copy_codes(source: h5py.Group, target: h5py.Group, spec: WaveformSpec, number: int) -> None:
    """Copy a capture's codes, still compressed; both groups must be of the specification."""
    for corner in _corners(spec, number):
        mask, chunk = source["raw"].id.read_direct_chunk(corner)
        target["raw"].id.write_direct_chunk(corner, chunk, mask)


def checksum(group: h5py.Group, spec: WaveformSpec, numbers: Sequence[int]) -> int:
    """CRC-32 over the compressed codes of some captures."""
    crc = 0
    for number in numbers:
        for corner in _corners(spec, number):
            crc = zlib.crc32(group["raw"].id.read_direct_chunk(corner)[1], crc)
    return crc


def put_checksums(group: h5py.Group) -> None:
    """Give the captures of an older file, which has none, the CRC-32 of the codes that it holds."""
    crcs = [
        zlib.crc32(group["raw"][number, :, :length].tobytes()) if intact else 0
        for number, (length, intact) in enumerate(zip(group["length"][()].tolist(), group["intact"][()], strict=True))
    ]
    group.create_dataset("crc32", data=np.array(crcs, np.uint32)).attrs["units"] = ""
