"""ArC TWO: the HDF5 files of ArC Instruments' control panel (its `H5DataStore`, format 0.x).

`/crosspoints/W05B07/timeseries` is what was done to a cell: current (A), voltage (V), pulse_width (s), read_voltage
(V) and op_type (1 read, 2 pulse, 3 pulse and read), of which the first `NROWS` rows count. `/synthetics` and
`/crosspoints/W05B07/experiments` hold tables whose fields each module chooses. `/crossbar` has the last voltage and
current of every cell, [bit, word]. A word line is our row, a bit line our column. The file has neither times of single
operations nor a sign convention for currents: conductance is the magnitude of I / V, as the control panel shows it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import numpy.typing as npt

from analysis.errors import AnalysisError
from analysis.imports.foreign import NAN, UNITS, Foreign, Kept, Step, dataset_name, plain
from analysis.records.guard import UNREADABLE
from analysis.records.heaps import check_heaps

READ: Final = 1
PULSE: Final = 2
PULSE_READ: Final = 3
MOST_STEPS: Final = 5_000_000
_MOST_BYTES: Final = 1 << 28
_MOST_KEPT: Final = 1 << 30
"""Bytes of all tables together: compressed, kilobytes can stand for them."""
_MOST_TABLES: Final = 5000
_CELL: Final = re.compile(r"W(\d{2,5})B(\d{2,5})")
_FIELDS: Final = ("current", "voltage", "pulse_width", "read_voltage", "op_type")


def is_arc2(path: Path) -> bool:
    """Whether the file is an HDF5 file that names the version of ArC TWO's format."""
    try:
        with h5py.File(path, "r") as file:
            return "H5DS_VERSION_MAJOR" in file.attrs
    except UNREADABLE:
        return False


def read_arc2(path: Path) -> Foreign:
    """Read an ArC TWO file.

    Raises:
        AnalysisError: it is damaged, of a later major version, or something that the format requires is missing.
    """
    try:
        check_heaps(path)
        with h5py.File(path, "r") as file:
            return _read(file, path)
    except UNREADABLE as error:
        raise AnalysisError(f"can't read {path} as an ArC TWO file: {' '.join(str(error).split())}") from error


def _read(file: h5py.File, path: Path) -> Foreign:
    major, minor = (int(file.attrs.get(f"H5DS_VERSION_{part}", -1)) for part in ("MAJOR", "MINOR"))
    if major != 0:
        raise AnalysisError(f"{path} has version {major}.{minor} of ArC TWO's format, known is 0.x: save it as that")
    for name in ("crossbar", "crosspoints", "synthetics"):
        if not isinstance(_own(file, name), h5py.Group):
            raise AnalysisError(f"{path} is no whole ArC TWO file: its group /{name} is missing")
    words, bits = _shape(file, path)
    steps: list[Step] = []
    data: dict[str, Kept] = {}
    experiments: dict[str, Any] = {}
    room = _Room(path)
    for name in sorted(file["crosspoints"]):
        match = _CELL.fullmatch(name)
        if match is None:
            continue
        word, bit = int(match[1]), int(match[2])
        if word >= words or bit >= bits:
            raise AnalysisError(f"{path} has a cell {name}, but its crossbar has {words} words and {bits} bits")
        group = _own(file["crosspoints"], name)
        if not isinstance(group, h5py.Group):
            raise AnalysisError(f"{path} has a cell {name} that is no group of its own: it leads elsewhere")
        history = _own(group, "timeseries")
        if isinstance(history, h5py.Dataset):
            steps += _steps(history, word, bit, path, room)
        for label, table in _tables(group, "timeseries"):
            place = f"experiments/{dataset_name(f'r{word}_c{bit}')}/{dataset_name(label)}"
            _keep(table, place, data, experiments, room)
    for label, table in _tables(file["synthetics"]):
        _keep(table, f"synthetics/{dataset_name(label)}", data, experiments, room)
    if not steps and not data:
        raise AnalysisError(f"{path} has no measurement: no cell's timeseries has a row, and there is no experiment")
    stamps = [int(one["TSTAMP"]) for one in experiments.values() if isinstance(one.get("TSTAMP"), int)]
    title = plain(file.attrs.get("TITLE", path.name))
    return Foreign(
        form=f"ArC TWO HDF5 {major}.{minor}",
        title=str(title),
        started=datetime.fromtimestamp(min(stamps) / 1e9, UTC).isoformat() if stamps and min(stamps) > 0 else "",
        instrument="ArC Instruments ArC TWO",
        rows=words,
        cols=bits,
        steps=tuple(steps),
        data=data,
        maps=_crossbar(file["crossbar"], words, bits),
        about={"title": str(title), "words": words, "bits": bits, "experiments": experiments},
        remarks=(
            "rows are word lines, columns bit lines; conductance is the magnitude of current over voltage",
            "the file does not say when single operations took place, nor in which order different cells took turns: "
            "their times here are the pulses' widths added up, cell by cell",
        ),
    )


def _own(group: h5py.Group, name: str) -> Any:
    """An item that is in the file itself; None if it is missing or leads elsewhere."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        return None
    item = group[name]
    return None if isinstance(item, h5py.Dataset) and (item.is_virtual or item.external) else item


def _shape(file: h5py.File, path: Path) -> tuple[int, int]:
    crossbar = file["crossbar"].attrs
    found = [int(crossbar.get(name, file.attrs.get(name, 0))) for name in ("words", "bits")]
    if not all(1 <= n <= 32767 for n in found) or found[0] * found[1] > 1 << 24:
        raise AnalysisError(f"{path} says that its crossbar has {found[0]} words and {found[1]} bits: 1 to 32767 each")
    return found[0], found[1]


@dataclass
class _Room:
    """What may still be read of a file."""

    path: Path
    steps: int = MOST_STEPS
    bytes: int = _MOST_KEPT
    tables: int = _MOST_TABLES

    def take(self, *, steps: int = 0, bytes: int = 0, tables: int = 0) -> None:
        """Raise AnalysisError if there is no room for so much more."""
        self.steps, self.bytes, self.tables = self.steps - steps, self.bytes - bytes, self.tables - tables
        if self.steps < 0:
            raise AnalysisError(f"{self.path} has more than {MOST_STEPS} operations: split it")
        if self.bytes < 0:
            raise AnalysisError(f"{self.path} has tables of more than {_MOST_KEPT >> 20} MiB: split it")
        if self.tables < 0:
            raise AnalysisError(f"{self.path} has more than {_MOST_TABLES} tables: split it")


def _rows(table: h5py.Dataset, path: str) -> npt.NDArray[Any]:
    if int(table.size or 0) * table.dtype.itemsize > _MOST_BYTES:
        raise AnalysisError(f"{path} of {table.file.filename} is larger than {_MOST_BYTES >> 20} MiB")
    return np.asarray(table[()])


def _steps(history: h5py.Dataset, word: int, bit: int, path: Path, room: _Room) -> Iterator[Step]:
    missing = [name for name in _FIELDS if name not in (history.dtype.names or ())]
    if missing:
        raise AnalysisError(f"{history.name} of {path} lacks the field {missing[0]}")
    count = int(history.attrs.get("NROWS", len(history)))
    if not 0 <= count <= len(history):
        raise AnalysisError(f"{history.name} of {path} says that it has {count} rows, there are {len(history)}")
    room.take(steps=count)
    table = _rows(history, history.name)[:count]
    unknown = np.flatnonzero(~np.isin(table["op_type"], (READ, PULSE, PULSE_READ)))
    if len(unknown):
        code = int(table["op_type"][unknown[0]])
        raise AnalysisError(f"{history.name} of {path} has an operation {code} in row {unknown[0]}; known are 1, 2, 3")
    for current, volts, width, read_at, code in table[list(_FIELDS)].tolist():
        stepped = code == PULSE_READ and (read_at == volts or width <= 0)
        if code != READ and not stepped:
            yield Step(
                "set" if volts >= 0 else "reset", word, bit, _known(volts), width=_known(width) if width > 0 else NAN
            )
        if code != PULSE:
            at = _known(read_at if code == PULSE_READ or read_at else volts)
            amps = _known(current)
            yield Step("read", word, bit, at, conductance=abs(amps / at) if at else NAN, current=amps)


def _known(value: float) -> float:
    return float(value) if np.isfinite(value) else NAN


def _tables(group: h5py.Group, *without: str) -> Iterator[tuple[str, h5py.Dataset]]:
    """Datasets below a group, by their path in it; `experiments/` is left out of the path."""
    waiting = [("", group)]
    seen = 0
    while waiting:
        prefix, parent = waiting.pop()
        for name in sorted(parent):
            seen += 1
            if seen > _MOST_TABLES or prefix.count("/") > 8:
                raise AnalysisError(f"{group.name} of {group.file.filename} holds more than a measurement would")
            item = _own(parent, name)
            if isinstance(item, h5py.Group):
                waiting.append((f"{prefix}{'' if name == 'experiments' and not prefix else f'{name}/'}", item))
            elif isinstance(item, h5py.Dataset) and name not in without:
                yield prefix + name, item


def _keep(table: h5py.Dataset, name: str, data: dict[str, Kept], about: dict[str, Any], room: _Room) -> None:
    room.take(bytes=int(table.size or 0) * table.dtype.itemsize, tables=1)
    values = _rows(table, table.name)
    count = int(table.attrs.get("NROWS", 0))
    # A table that was filled in one go says that it has no rows.
    if values.ndim and 0 < count < len(values):
        values = values[:count]
    fields = values.dtype.names
    columns = {f"{name}/{dataset_name(one)}": (one, values[one]) for one in fields} if fields else {name: ("", values)}
    for place, (label, column) in columns.items():
        if column.dtype.kind in "biuf" and column.size:
            data[place] = Kept(column, UNITS.get(label, ""), f"{label or 'values'} of {table.name}")
    about[name] = {key: plain(value) for key, value in table.attrs.items() if value is not None}


def _crossbar(group: h5py.Group, words: int, bits: int) -> dict[str, Kept]:
    """The last conductance of every cell that was read; the file's arrays are [bit, word]."""
    volts, amps = (_own(group, name) for name in ("voltage", "current"))
    if not all(isinstance(one, h5py.Dataset) and one.ndim == 2 for one in (volts, amps)) or volts.shape != amps.shape:
        return {}
    v, i = (np.asarray(_rows(one, one.name), dtype=np.float64) for one in (volts, amps))
    found = np.full((words, bits), np.nan)
    high, wide = min(bits, v.shape[0]), min(words, v.shape[1])
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = np.abs(i / v)[:high, :wide]
    ratio[~np.isfinite(ratio) | (v[:high, :wide] == 0)] = np.nan
    found[:wide, :high] = ratio.T
    if not np.isfinite(found).any():
        return {}
    return {"crossbar_conductance": Kept(found, "S", "Conductance when the file was saved")}
