"""Following a run: what its file shows now, while it is written or ever after.

follower = Follower(folder)
follower.look()                     # raises AnalysisError with one sentence while there is nothing to see
follower.grid("conductance_after", 0), follower.trace(None), follower.outline("scope1", None)

The file of a run under way is read in HDF5's single-writer/multiple-readers mode; the phases and notes, which it can't
hold before the end, come from the journal's new lines. Nothing is locked or written, so the run never waits.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from analysis.errors import AnalysisError
from analysis.records import layout, slices
from analysis.records.guard import UNREADABLE
from analysis.records.header import RunHeader
from analysis.records.journal import LARGEST_LINE, decode_record, is_being_written
from analysis.records.reader import RunFile, open_run
from analysis.records.skim import State, state_of_files
from analysis.records.slices import Finder, Grid, Outline
from analysis.records.tables import Cell

_TELLING: Final = re.compile(rb'"kind":"(?:phase|note)"')
_BLOCK: Final = 1 << 22
_MOST_TEXTS: Final = 200
_REMEMBERED: Final = 8
MOST_EVENTS: Final = 300
"""Events of a cell's trace; the last ones."""


@dataclass(frozen=True)
class Trace:
    """What was done to one cell, and what it then was.

    Attributes:
        cell: (array, row, col).
        columns: time (s), kind and outcome (codes), amplitude and gate (V), width (s), conductance (S), [event].
        whole: whether these are all of its events; else the last ones.
    """

    cell: Cell
    columns: dict[str, npt.NDArray[Any]]
    whole: bool


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        verdicts: cells by verdict, in the order of `layout.CELL_STATUSES`.
        wanted: cells with a target.
        pulsed: those of them that were pulsed or have a verdict.
        inside: those of them whose last conductance is within the tolerance.
        judged: those of them that have a verdict.
        events: so far.
        seconds: on the laboratory's clock, of the last event; NaN before it.
        captures: by oscilloscope.
    """

    verdicts: dict[str, int]
    wanted: int
    pulsed: int
    inside: int
    judged: int
    events: int
    seconds: float
    captures: dict[str, int]


@dataclass(frozen=True)
class Texts:
    """Phases and notes, the last ones: (laboratory time in s, text)."""

    phases: tuple[tuple[float, str], ...]
    notes: tuple[tuple[float, str], ...]


def marks(folder: Path) -> tuple[State | None, bool]:
    """What is different when there is something new to see: the files' states, and whether a process writes them.

    Cheap. The journal's growth alone is nothing new: its events are seen once they are in the HDF5 file.
    """
    state = state_of_files(folder)
    if state is not None and state[5] >= 0:
        state = (*state[:2], 0, 0, *state[4:])
    return state, is_being_written(folder / layout.JOURNAL)


class Follower:
    """A run that is looked at again and again; a context manager, for one thread at a time.

    Args:
        folder: the run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._run: RunFile | None = None
        self._opened: object = None
        self._rows = 0
        self._finders: dict[Cell, Finder] = {}
        self._lines: _Lines | None = None
        self._texts = Texts((), ())
        self._cells: dict[str, npt.NDArray[Any]] | None = None

    def look(self) -> None:
        """Have what the following calls give be of now.

        Raises:
            AnalysisError: there is no run yet, or its file is damaged; says which.
        """
        try:
            identity = _identity(self.folder)
            if self._run is None or identity != self._opened:
                self.close()
                self._run, self._opened = open_run(self.folder), identity
                self._finders.clear()
                self._cells = None
                self._lines = _Lines(self.folder / layout.JOURNAL) if self._run.is_partial else None
                self._texts = _texts_of(self._run) if self._lines is None else Texts((), ())
            self._rows = slices.rows_of(self._run.entry, live=self._run.is_partial)
            if self._lines is not None:
                self._cells = None
                self._texts = self._lines.read()
        except (AnalysisError, *UNREADABLE) as error:
            self.close()
            if isinstance(error, AnalysisError):
                raise
            raise AnalysisError(f"can't read the run in {self.folder}: {' '.join(str(error).split())}") from error

    @property
    def run(self) -> RunFile:
        """The open file.

        Raises:
            AnalysisError: `look` found none.
        """
        if self._run is None:
            raise AnalysisError(f"there is no run open in {self.folder}")
        return self._run

    @property
    def header(self) -> RunHeader:
        """Who, what, when, with what."""
        return self.run.header

    @property
    def maps(self) -> dict[str, str]:
        """Units by map, those that every run has first."""
        found = self.run.maps
        order = [*layout.MAPS, *sorted(set(found) - set(layout.MAPS))]
        return {name: self.run.map_units(name) for name in order if name in found}

    @property
    def texts(self) -> Texts:
        """Phases and notes."""
        return self._texts

    def grid(self, name: str, number: int) -> Grid:
        """A map of an array; errors as of `slices.grid`."""
        return slices.grid(self.run.entry, name, self.header.shape, number, live=self.run.is_partial)

    def progress(self) -> Progress:
        """How far the run is."""
        entry, live, found = self.run.entry, self.run.is_partial, self.cells
        wanted = np.isfinite(found["target"])
        within = np.abs(found["conductance"] - found["target"]) <= self.tolerance
        # Cells of an earlier mapping have verdicts, too, but nothing is wanted of them any more.
        statuses = found["status"][wanted] if wanted.any() else found["status"].ravel()
        counts = np.bincount(statuses, minlength=len(layout.CELL_STATUSES))
        # The chip's clock has gone on since it was made; what counts is since the run's first event.
        times = entry["events/time"]
        return Progress(
            verdicts=dict(zip(layout.CELL_STATUSES, map(int, counts), strict=True)),
            wanted=int(np.count_nonzero(wanted)),
            pulsed=int(np.count_nonzero(wanted & self._touched)),
            inside=int(np.count_nonzero(wanted & within)),
            judged=int(np.count_nonzero(wanted & (found["status"] > 0))),
            events=self._rows,
            seconds=float(times[self._rows - 1] - times[0]) if self._rows else float("nan"),
            captures={scope: slices.captures(entry, scope, live=live) for scope in self.run.scopes},
        )

    @property
    def cells(self) -> dict[str, npt.NDArray[Any]]:
        """Verdict, pulses, last conductance and target of every cell; see `slices.cells`. Once a look."""
        if self._cells is None:
            self._cells = slices.cells(self.run.entry, self.header.shape, live=self.run.is_partial)
        return self._cells

    @property
    def tolerance(self) -> float:
        """Half width of the programming window, S; NaN where the run has none."""
        found = self.header.parameters.get("tolerance")
        return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else float("nan")

    @property
    def _touched(self) -> npt.NDArray[np.bool_]:
        return np.asarray((self.cells["pulses"] > 0) | (self.cells["status"] > 0))

    def marks(self, number: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Verdicts of an array's cells (codes) and whether they were pulsed or have one, as many as `grid` gives."""
        step = -(-max(self.header.rows, self.header.cols) // slices.MOST_CELLS)
        return self.cells["status"][number, ::step, ::step], self._touched[number, ::step, ::step]

    def trace(self, cell: Cell | None) -> Trace | None:
        """The last events of a cell, by default of the one that was touched last; None before any was.

        Raises:
            AnalysisError: there is no such cell.
        """
        entry = self.run.entry
        chosen = slices.latest_cell(entry, self._rows) if cell is None else cell
        if chosen is None:
            return None
        if not all(0 <= place < size for place, size in zip(chosen, self.header.shape, strict=True)):
            raise AnalysisError(f"there is no cell {chosen[1]},{chosen[2]} in array {chosen[0]}")
        finder = self._finders.pop(chosen, None) or Finder(chosen)
        self._finders[chosen] = finder
        while len(self._finders) > _REMEMBERED:
            self._finders.pop(next(iter(self._finders)))
        places = finder.look(entry, self._rows, MOST_EVENTS)
        return Trace(chosen, slices.events_at(entry, places), finder.whole and len(finder.found) <= MOST_EVENTS)

    def outline(self, scope: str, number: int | None) -> Outline | None:
        """A capture, by default the last one; None before there is one. Errors as of `slices.outline`."""
        if number is None:
            if scope not in self.run.scopes:
                raise AnalysisError(f"the run has no oscilloscope {scope!r}")
            number = slices.captures(self.run.entry, scope, live=self.run.is_partial) - 1
            if number < 0:
                return None
        return slices.outline(self.run.entry, scope, number, live=self.run.is_partial)

    def close(self) -> None:
        """Close the file; `look` opens it again."""
        run, self._run, self._opened = self._run, None, None
        if run is not None:
            run.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _identity(folder: Path) -> tuple[tuple[int, int, int], ...]:
    """Which files are there: a finished file of other time or size is another one, a partial one grows."""
    found = []
    for name in (layout.FINAL, layout.PARTIAL):
        try:
            stat = os.lstat(folder / name)
        except OSError:
            found.append((-1, -1, -1))
        else:
            settled = name == layout.FINAL
            found.append((stat.st_ino, stat.st_mtime_ns if settled else 0, stat.st_size if settled else 0))
    return tuple(found)


def _texts_of(run: RunFile) -> Texts:
    def last(group: str, name: str) -> tuple[tuple[float, str], ...]:
        if group not in run.entry:
            return ()
        times, texts = run.entry[group]["time"], run.entry[group][name]
        start = max(min(len(times), len(texts)) - _MOST_TEXTS, 0)
        found = [str(item) for item in texts.asstr()[start:]] if len(texts) else []
        return tuple(zip(map(float, times[start:]), found, strict=False))

    return Texts(last("phases", "name"), last("notes", "text"))


class _Lines:
    """A journal's phases and notes; only what is new is read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place = 0
        self._found: dict[str, list[tuple[float, str]]] = {"phase": [], "note": []}

    def read(self) -> Texts:
        """What the journal says so far, its unfinished last line left out."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._place)
                rest = b""
                while block := file.read(_BLOCK):
                    text = rest + block
                    end = text.rfind(b"\n") + 1
                    self._take(text[:end])
                    self._place += end
                    rest = text[end:]
                    if len(rest) > LARGEST_LINE:
                        break
        except OSError:
            pass  # the HDF5 file alone is enough to see how the run stands
        return Texts(tuple(self._found["phase"]), tuple(self._found["note"]))

    def _take(self, lines: bytes) -> None:
        for match in _TELLING.finditer(lines):
            start, end = lines.rfind(b"\n", 0, match.start()) + 1, lines.find(b"\n", match.end())
            record = decode_record(lines[start:end])
            if record is None or record["kind"] not in self._found:
                continue
            texts = self._found[record["kind"]]
            texts.append((record["t"], str(record.get("name" if record["kind"] == "phase" else "text", ""))))
            del texts[:-_MOST_TEXTS]
