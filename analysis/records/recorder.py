"""Putting what happens into a run's journal, tables and live file."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.errors import AnalysisError
from analysis.records import layout, waveforms
from analysis.records.journal import Journal
from analysis.records.live import LiveFile
from analysis.records.masking import masked
from analysis.records.tables import NAN, Tables, pack

_LIVE_SECONDS = 0.4


class Recorder:
    """A run's records while it happens: what a procedure needs of a `RunWriter`.

    Each method puts a record in the journal before it returns, so that no death of the process loses it, and
    takes the laboratory's time from `now` unless it is handed in as `t` (seconds). Arguments that are left out
    or NaN are not known. For one thread.

    Args:
        journal: the run's journal, open.
        tables: what it holds so far.
        live: the file for those who watch.
        now: the laboratory's clock, seconds.
        stopwatch: the machine's, seconds; None if nobody watches closely.
        flush_every: records after which those who watch see them in any case.
    """

    def __init__(
        self,
        journal: Journal,
        tables: Tables,
        live: LiveFile,
        *,
        now: Callable[[], float],
        stopwatch: Callable[[], float] | None,
        flush_every: int,
    ) -> None:
        self._journal = journal
        self._tables = tables
        self._live = live
        self._now = now
        self._stopwatch = stopwatch
        self._flush_every = flush_every
        self._shape = tables.header.shape
        self._specs = {spec.scope: spec for spec in tables.specs}
        self._unseen = 0
        self._flushed_at = stopwatch() if stopwatch else 0.0

    def intent(
        self,
        kind: str,
        row: int,
        col: int,
        *,
        array: int = 0,
        amplitude: float = NAN,
        gate: float = NAN,
        width: float = NAN,
        t: float | None = None,
        sync: bool = True,
    ) -> int:
        """Announce what is about to be done to a cell; on the disk before this returns if the run is durable.

        Args:
            kind: one of `layout.EVENT_KINDS`.
            row: from 0; -1, like `col`, where the event is about no cell in particular.
            col: from 0, or -1.
            array: from 0.
            amplitude: volts across the cell.
            gate: volts on the word line.
            width: seconds.
            t: laboratory time, seconds.
            sync: False where another intent of the same pulse follows, which takes this one to the disk.

        Returns:
            The record's number, for `result`.

        Raises:
            AnalysisError: no such kind or cell, a number that is infinite, or the journal can't be written.
        """
        fields = self._place(kind, array, row, col)
        _known(fields, ("amplitude", amplitude), ("gate", gate), ("width", width))
        record = self._journal.append("intent", self._now() if t is None else t, fields, sync=sync)
        self._tables.apply(record)
        return int(record["seq"])

    def result(
        self,
        intent: int,
        *,
        conductance: float = NAN,
        current: float = NAN,
        energy: float = NAN,
        t: float | None = None,
    ) -> None:
        """Report what came of an intent; the event is then in the tables. Goes to the disk with the next intent.

        Args:
            intent: what `intent` gave.
            conductance: siemens, as measured.
            current: amperes, as measured.
            energy: joules, the laboratory's own estimate.
            t: laboratory time, seconds; what has passed since the intent is the event's duration.

        Raises:
            AnalysisError: there is no such intent open, or the journal can't be written.
        """
        if not self._tables.is_open(intent):
            raise AnalysisError(f"there is no intent {intent} whose result is still to come")
        fields: dict[str, Any] = {"of": intent}
        _known(fields, ("conductance", conductance), ("current", current), ("energy", energy))
        self._tables.apply(self._journal.append("result", self._now() if t is None else t, fields))
        self._flush_if_due()

    def event(
        self,
        kind: str,
        row: int,
        col: int,
        *,
        array: int = 0,
        amplitude: float = NAN,
        gate: float = NAN,
        width: float = NAN,
        conductance: float = NAN,
        current: float = NAN,
        energy: float = NAN,
        duration: float = NAN,
        t: float | None = None,
    ) -> int:
        """Record in one go what changes no cell: a read, a selection, ...; gives the record's number.

        Args:
            kind: one of `layout.EVENT_KINDS`, but for the pulses: those need an intent.
            row: from 0; -1, like `col`, where the event is about no cell in particular.
            col: from 0, or -1.
            array: from 0.
            amplitude: volts across the cell.
            gate: volts on the word line.
            width: seconds; a read's integration time.
            conductance: siemens, as measured.
            current: amperes, as measured.
            energy: joules, the laboratory's own estimate.
            duration: seconds that it all took on the laboratory's clock.
            t: laboratory time of the start, seconds.

        Raises:
            AnalysisError: a pulse, no such kind or cell, an infinite number, or the journal can't be written.
        """
        if kind in layout.PULSE_KINDS:
            raise AnalysisError(f"a {kind} pulse changes the cell: announce it with intent(), then report result()")
        fields = self._place(kind, array, row, col)
        _known(fields, ("amplitude", amplitude), ("gate", gate), ("width", width), ("duration", duration))
        _known(fields, ("conductance", conductance), ("current", current), ("energy", energy))
        record = self._journal.append("event", self._now() if t is None else t, fields)
        self._tables.apply(record)
        self._flush_if_due()
        return int(record["seq"])

    def cell(
        self,
        row: int,
        col: int,
        status: str,
        *,
        array: int = 0,
        conductance: float = NAN,
        t: float | None = None,
    ) -> None:
        """Record a cell's verdict, one of `layout.CELL_STATUSES`; a later one replaces it.

        Raises:
            AnalysisError: no such status or cell, or the journal can't be written.
        """
        if status not in layout.CELL_CODE:
            raise AnalysisError(f"a cell can't be {status!r}, only {', '.join(layout.CELL_STATUSES)}")
        self._check_cell(array, row, col)
        fields = {"array": int(array), "row": int(row), "col": int(col), "status": status}
        _known(fields, ("conductance", conductance))
        self._tables.apply(self._journal.append("cell", self._now() if t is None else t, fields))

    def map(
        self,
        name: str,
        values: npt.ArrayLike,
        *,
        units: str = "S",
        title: str = "",
        t: float | None = None,
    ) -> None:
        """Keep a map over the cells, [array?, row, col]; a later one of the same name replaces it.

        The maps of `layout.MAPS` are always there. Unless given, `conductance_after` is what each cell last
        measured, `conductance_before` what it first measured if no pulse came before, and `conductance_error`
        the difference to `conductance_target`.

        Raises:
            AnalysisError: wrong shape or name, or the journal can't be written.
        """
        array = np.asarray(values, dtype=np.float64)
        header = self._tables.header
        if array.shape not in (header.shape, layout.shape_of(*header.shape)):
            raise AnalysisError(f"map {name!r} has shape {array.shape}, the run's cells {header.shape}")
        if name in layout.MAPS and units != "S":
            raise AnalysisError(f"map {name!r} is in S, not {units!r}")
        self._store("map", name, array, units, title, t)

    def data(
        self, name: str, values: npt.ArrayLike, *, units: str = "", title: str = "", t: float | None = None
    ) -> None:
        """Keep any other array of numbers under /entry/data; a later one of the same name replaces it.

        Args:
            name: small letters, digits and underscores; `/` between groups.
            values: numbers, at most 256 MiB.
            units: NeXus units.
            title: one line.
            t: laboratory time, seconds.

        Raises:
            AnalysisError: no numbers, wrong name, or the journal can't be written.
        """
        self._store("data", name, np.asarray(values), units, title, t)

    def twin(
        self, name: str, values: npt.ArrayLike, *, units: str = "", title: str = "", t: float | None = None
    ) -> None:
        """Keep what only the twin can know, under /entry/twin; arguments and errors as in `data`.

        Raises:
            AnalysisError: also where the run is real.
        """
        if self._tables.header.world != "simulated":
            raise AnalysisError(f"a real run can't know {name!r}: only a twin does")
        self._store("twin", name, np.asarray(values), units, title, t)

    def waveform(
        self,
        scope: str,
        codes: npt.NDArray[Any],
        *,
        y_increment: Sequence[float],
        y_origin: Sequence[float],
        y_reference: Sequence[float],
        x_increment: float,
        x_origin: float,
        index: int = -1,
        t: float | None = None,
    ) -> int:
        """Keep one capture of a declared oscilloscope; gives its number, from 0.

        Args:
            scope: name of the oscilloscope.
            codes: raw codes [channel, sample], of the declared type.
            y_increment: volts a code, one a channel (see `waveforms` for the formula).
            y_origin: volts, one a channel.
            y_reference: codes, one a channel.
            x_increment: seconds a sample.
            x_origin: seconds from the trigger to the first sample.
            index: what the capture belongs to, for example the number of a sample.
            t: laboratory time, seconds.

        Raises:
            AnalysisError: not declared, or not as declared, or it can't be written.
        """
        spec = self._specs.get(scope)
        if spec is None:
            raise AnalysisError(f"no waveforms of {scope!r} were declared when the run began")
        number = len(self._tables.waveforms[scope])
        fields = waveforms.make_record(
            spec,
            codes,
            number=number,
            index=index,
            y_increment=y_increment,
            y_origin=y_origin,
            y_reference=y_reference,
            x_increment=x_increment,
            x_origin=x_origin,
        )
        # The codes first: what the journal speaks of must be there.
        self._live.put_codes(scope, number, codes)
        self._tables.apply(self._journal.append("waveform", self._now() if t is None else t, fields))
        self._flush_if_due()
        return number

    def phase(self, name: str, *, t: float | None = None) -> None:
        """Record that a phase of the procedure begins."""
        self._tables.apply(self._journal.append("phase", self._now() if t is None else t, {"name": name}))

    def note(self, text: str, *, t: float | None = None) -> None:
        """Record a remark, of a person or of the procedure."""
        self._tables.apply(self._journal.append("note", self._now() if t is None else t, {"text": masked(text)}))

    def sync(self) -> None:
        """Put what there is on the disk (if durable) and before live readers."""
        self._journal.sync()
        self._live.flush()

    def _place(self, kind: str, array: int, row: int, col: int) -> dict[str, Any]:
        if kind not in layout.EVENT_CODE:
            raise AnalysisError(f"there is no event {kind!r}, only {', '.join(layout.EVENT_KINDS)}")
        if row >= 0 or col >= 0:
            self._check_cell(array, row, col)
        return {"op": kind, "array": int(array), "row": int(row), "col": int(col)}

    def _check_cell(self, array: int, row: int, col: int) -> None:
        arrays, rows, cols = self._shape
        if not (0 <= array < arrays and 0 <= row < rows and 0 <= col < cols):
            raise AnalysisError(
                f"there is no cell {row},{col} of array {array}: the run has {arrays} arrays of {rows}x{cols}"
            )

    def _store(self, where: str, name: str, values: npt.NDArray[Any], units: str, title: str, t: float | None) -> None:
        if not layout.is_name(name) or (where == "map" and "/" in name):
            raise AnalysisError(f"{name!r} can't name a dataset: use a-z, 0-9 and _")
        if values.dtype.kind not in "biuf" or values.nbytes > 1 << 28:
            raise AnalysisError(f"{name!r} can't be kept: it must be numbers, at most 256 MiB of them")
        fields = {"where": where, "name": name, "units": units, "title": title, "packed": pack(values)}
        self._tables.apply(self._journal.append("array", self._now() if t is None else t, fields))

    def _flush_if_due(self) -> None:
        self._unseen += 1
        due = self._unseen >= self._flush_every
        if self._stopwatch is not None:
            elapsed = self._stopwatch()
            due = due or elapsed - self._flushed_at >= _LIVE_SECONDS
            if due:
                self._flushed_at = elapsed
        if due:
            self._live.flush()
            self._unseen = 0


def _known(fields: dict[str, Any], *items: tuple[str, float]) -> None:
    """Add the numbers that are known; what is unknown (NaN) has no place in JSON.

    Raises:
        AnalysisError: a number is infinite.
    """
    for name, value in items:
        if value - value == 0.0:
            fields[name] = float(value)
        elif value == value:
            raise AnalysisError(f"{name} can't be {value}")
