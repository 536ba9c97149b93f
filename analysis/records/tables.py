"""What a journal amounts to: events, cells, maps and the rest, rebuilt record by record.

The writer feeds its records through the same class while the run is under way, so that the live file, the
final file, a salvaged file and the state to resume from can't tell different stories.
"""

import base64
import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.errors import AnalysisError
from analysis.records import layout
from analysis.records.header import RunHeader, WaveformSpec, as_text, spec_from_json
from analysis.records.journal import Record

Cell = tuple[int, int, int]
"""(array, row, col), each from 0."""

NAN = float("nan")
_DONE, _DOUBT = layout.OUTCOME_CODE["done"], layout.OUTCOME_CODE["doubt"]
_READ = layout.EVENT_CODE["read"]
_PULSES = frozenset(layout.EVENT_CODE[kind] for kind in layout.PULSE_KINDS)
_LARGEST = 1 << 28
_MOST_STORED = 1 << 31
_PACKING = struct.error, zlib.error
_ROW = struct.Struct("=" + "".join(column.typecode for column in layout.EVENT_COLUMNS))
_ROW_TYPE = np.dtype([(column.name, column.typecode) for column in layout.EVENT_COLUMNS])


@dataclass(frozen=True)
class Doubt:
    """Something announced whose result nobody saw: read the cell before anything else is done to it.

    Args:
        seq: the record that announced it.
        kind: what was to be done (`layout.EVENT_KINDS`).
        cell: where; (-1, -1, -1) parts where it was about no one cell.
        amplitude, gate: volts, NaN if none.
        width: seconds, NaN if none.
    """

    seq: int
    kind: str
    cell: Cell
    amplitude: float
    gate: float
    width: float


@dataclass
class Segment:
    """One process's part of a run; a resumed run has several."""

    started: str
    command_line: str
    first_seq: int
    first_time: float
    last_seq: int
    last_time: float
    status: str = "killed"
    reason: str = "the process ended without saying so"
    ended: str = ""


@dataclass(frozen=True)
class StoredArray:
    """An array that the run keeps: a map, the twin's knowledge, or other data."""

    values: npt.NDArray[Any]
    units: str
    title: str


@dataclass
class Tables:
    """Everything that a journal says, as columns and arrays.

    Attributes:
        header: the run's header.
        specs: the oscilloscopes' waveforms that it may have.
        status, pulses, reads, last, first: one item a cell in (array, row, col) order: code of the verdict,
            counts, last measured conductance and the first one before any pulse (S, NaN if none).
        pulses_before: of those, the pulses that an earlier target of the cell took, in the same order.
        arrays: ("map" | "twin" | "data", name) -> array.
        waveforms: scope -> records of its captures.
        doubts: cells announced to be touched, result unseen, and not read since.
        broken: results whose announcement is missing; 0 in a sound journal.
    """

    header: RunHeader
    specs: tuple[WaveformSpec, ...]
    segments: list[Segment] = field(default_factory=list)
    arrays: dict[tuple[str, str], StoredArray] = field(default_factory=dict)
    waveforms: dict[str, list[Record]] = field(default_factory=dict)
    phases: list[tuple[float, str]] = field(default_factory=list)
    notes: list[tuple[float, str]] = field(default_factory=list)
    doubts: dict[Cell, Doubt] = field(default_factory=dict)
    broken: int = 0

    def __post_init__(self) -> None:
        cells = self.header.arrays * self.header.rows * self.header.cols
        # One packed row an event: a tenth of the time of a list a column.
        self._rows = bytearray()
        self.status, self.pulses, self.reads = [0] * cells, [0] * cells, [0] * cells
        self.pulses_before = [0] * cells
        self.last, self.first = [NAN] * cells, [NAN] * cells
        self._open: dict[int, Record] = {}
        self._stored = 0
        self._strides = self.header.rows * self.header.cols, self.header.cols
        for spec in self.specs:
            self.waveforms[spec.scope] = []

    @classmethod
    def from_records(cls, records: Iterable[Record]) -> "Tables":
        """Replay a journal's records; what is still open at the end is in doubt.

        Raises:
            AnalysisError: the first record is not a header, or a record lacks what its kind must have.
        """
        iterator = iter(records)
        first = next(iterator, None)
        if first is None:
            raise AnalysisError("the journal is empty: nothing was recorded")
        if first.get("kind") != "header":
            raise AnalysisError("the journal does not begin with a run's header: it is not a run's journal")
        check_format(first.get("format"), "journal")
        try:
            specs = tuple(spec_from_json(spec) for spec in first.get("waveforms", ()))
            tables = cls(RunHeader.from_json(first["header"]), specs)
            tables.apply(first)
            for record in iterator:
                tables.apply(record)
            tables.settle()
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError, *_PACKING) as error:
            raise AnalysisError(f"a record of the journal is not as it should be: {error!r}") from error
        return tables

    def apply(self, record: Record) -> None:
        """Take in the journal's next record; kinds of later versions are passed over."""
        kind = record["kind"]
        if kind == "header" or kind == "resume":
            self._begin_segment(record)
            return
        segment = self.segments[-1]
        segment.last_seq, segment.last_time = record["seq"], record["t"]
        if kind == "intent":
            self._open[record["seq"]] = record
        elif kind == "result":
            self._apply_result(record)
        elif kind == "event":
            self._add(record, record, record.get("duration", NAN), _DONE)
        elif kind == "cell":
            self._apply_cell(record)
        elif kind == "array":
            self._apply_array(record)
        elif kind == "waveform":
            self.waveforms[record["scope"]].append(record)
        elif kind == "phase":
            self.phases.append((record["t"], as_text(record["name"])))
        elif kind == "note":
            self.notes.append((record["t"], as_text(record["text"])))
        elif kind == "end":
            self.settle()
            segment.status, segment.reason = as_text(record["status"]), as_text(record["reason"])
            segment.ended = as_text(record["ended"])

    def settle(self) -> None:
        """Put what was announced and never reported into the events, in doubt."""
        for intent in self._open.values():
            self._add(intent, {}, NAN, _DOUBT)
            cell = intent["array"], intent["row"], intent["col"]
            self.doubts[cell] = Doubt(
                intent["seq"],
                intent["op"],
                cell,
                intent.get("amplitude", NAN),
                intent.get("gate", NAN),
                intent.get("width", NAN),
            )
        self._open.clear()

    def _begin_segment(self, record: Record) -> None:
        self.settle()
        seq, t = record["seq"], record["t"]
        started, command_line = as_text(record["started"]), as_text(record["command_line"])
        self.segments.append(Segment(started, command_line, seq, t, seq, t))

    def _apply_result(self, record: Record) -> None:
        intent = self._open.pop(record["of"], None)
        if intent is None:
            self.broken += 1
            return
        self._add(intent, record, record["t"] - intent["t"], _DONE)

    def _apply_cell(self, record: Record) -> None:
        index = self.index(record["array"], record["row"], record["col"])
        self.status[index] = layout.CELL_CODE[record["status"]]
        if "conductance" in record:
            self.last[index] = record["conductance"]
        if self.doubts:
            self.doubts.pop((record["array"], record["row"], record["col"]), None)

    def _apply_array(self, record: Record) -> None:
        where, name = as_text(record["where"]), as_text(record["name"])
        if where not in ("map", "twin", "data") or not layout.is_name(name):
            raise ValueError(f"an array {where} {name!r}")
        values = unpack(record["packed"])
        if where == "map" and values.size != len(self.status):
            raise ValueError(f"a map of {values.size} values")
        earlier = self.arrays.get((where, name))
        self._stored += values.nbytes - (earlier.values.nbytes if earlier is not None else 0)
        if self._stored > _MOST_STORED:
            raise ValueError(f"arrays of more than {_MOST_STORED} bytes in all")
        if (where, name) == ("map", "conductance_target") and earlier is not None:
            self._retarget(earlier.values.ravel(), values.ravel())
        self.arrays[where, name] = StoredArray(values, as_text(record["units"]), as_text(record["title"]))

    def _retarget(self, before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]) -> None:
        """A verdict is on a target: a cell that is given another one is pending again."""
        for index in np.flatnonzero(np.isfinite(after) & (after != before)):
            self.status[index] = 0
            self.pulses_before[index] = self.pulses[index]

    def _add(self, intent: Mapping[str, Any], result: Mapping[str, Any], duration: float, outcome: int) -> None:
        code = layout.EVENT_CODE[intent["op"]]
        cell = number, row, col = intent["array"], intent["row"], intent["col"]
        conductance = result.get("conductance", NAN)
        values = (
            intent["seq"],
            intent["t"],
            duration,
            number,
            row,
            col,
            code,
            outcome,
            intent.get("amplitude", NAN),
            intent.get("gate", NAN),
            intent.get("width", NAN),
            conductance,
            result.get("current", NAN),
            result.get("energy", NAN),
        )
        self._rows += _ROW.pack(*values)
        if row < 0:
            return
        index = self.index(number, row, col)
        if code == _READ:
            self.reads[index] += 1
        elif code in _PULSES:
            self.pulses[index] += 1
        if conductance == conductance:
            self.last[index] = conductance
            if not self.pulses[index] and self.first[index] != self.first[index]:
                self.first[index] = conductance
            if self.doubts:
                self.doubts.pop(cell, None)

    def is_open(self, seq: int) -> bool:
        """Whether the record announced something whose result is still to come."""
        return seq in self._open

    def index(self, number: int, row: int, col: int) -> int:
        """Place of a cell in the cells' lists."""
        return number * self._strides[0] + row * self._strides[1] + col

    @property
    def events(self) -> int:
        """How many events there are."""
        return len(self._rows) // _ROW.size

    def event_columns(self, start: int = 0) -> dict[str, npt.NDArray[Any]]:
        """The events from the `start`-th on, a 1-D array a column of `layout.EVENT_COLUMNS`."""
        rows: npt.NDArray[Any] = np.frombuffer(bytes(self._rows[start * _ROW.size :]), _ROW_TYPE)
        return {column.name: np.ascontiguousarray(rows[column.name]) for column in layout.EVENT_COLUMNS}

    @property
    def outcome(self) -> tuple[str, str]:
        """(status, reason) of the run as its journal tells it."""
        return self.segments[-1].status, self.segments[-1].reason

    def map(self, name: str) -> npt.NDArray[Any]:
        """A map, (arrays, rows, cols): as it was stored, or else as the events give it (NaN: not known)."""
        stored = self.arrays.get(("map", name))
        if stored is not None:
            return np.asarray(stored.values.reshape(self.header.shape))
        if name == "conductance_after":
            return np.array(self.last).reshape(self.header.shape)
        if name == "conductance_before":
            return np.array(self.first).reshape(self.header.shape)
        if name == "conductance_error":
            return np.asarray(self.map("conductance_after") - self.map("conductance_target"))
        return np.full(self.header.shape, NAN)

    def cells(self) -> dict[str, npt.NDArray[Any]]:
        """The cells' table: `layout.CELL_COLUMNS`, one row a cell in (array, row, col) order."""
        numbers, rows, cols = np.indices(self.header.shape).reshape(3, -1)
        target = self.map("conductance_target").ravel()
        values = (numbers, rows, cols, self.status, self.pulses, self.reads, self.last, target)
        return {
            column.name: np.asarray(value, dtype=column.typecode)
            for column, value in zip(layout.CELL_COLUMNS, values, strict=True)
        }


def check_format(version: object, what: str) -> int:
    """Refuse what a later version wrote; gives the version.

    Raises:
        AnalysisError: the version is newer than ours, or none at all.
    """
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise AnalysisError(f"this {what} names no format version: it is not ohmflow's")
    if version > layout.FORMAT:
        raise AnalysisError(
            f"this {what} has format version {version}, this ohmflow reads up to {layout.FORMAT}: use a newer ohmflow"
        )
    return version


def pack(values: npt.NDArray[Any]) -> dict[str, Any]:
    """An array as JSON's types, bit for bit."""
    contiguous = np.ascontiguousarray(values)
    text = base64.b64encode(zlib.compress(contiguous.tobytes(), 1)).decode("ascii")
    return {"dtype": contiguous.dtype.str, "shape": list(values.shape), "zlib": text}


def unpack(packed: Mapping[str, Any]) -> npt.NDArray[Any]:
    """The array out of `pack`'s output.

    Raises:
        ValueError: it is not what `pack` makes, or larger than 256 MiB.
    """
    dtype, shape = np.dtype(packed["dtype"]), tuple(int(n) for n in packed["shape"])
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if dtype.kind not in "biuf" or not 0 <= size <= _LARGEST:
        raise ValueError(f"an array of type {dtype} and shape {shape}")
    inflater = zlib.decompressobj()
    data = inflater.decompress(base64.b64decode(packed["zlib"]), size + 1)
    return np.frombuffer(data, dtype).reshape(shape).copy()
