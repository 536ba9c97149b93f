"""Every run of a folder tree in an SQLite database, to be searched; the files stay the truth.

    with Catalogue.open(database, runs) as catalogue:
        catalogue.refresh()
        catalogue.search(Query(chip="7", where=(Condition.parse("window=1e-6"),)))

The database can be thrown away at any time: the next `refresh` makes it again. Metrics, which take opening the files
and judging them, are computed when `measure` is called and kept until the run's files change.
"""

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import orjson

from analysis.errors import AnalysisError
from analysis.records.catalogue_query import Query
from analysis.records.guard import damage_told
from analysis.records.reader import RunFile, open_run
from analysis.records.skim import Skimmed, State, is_running, skim, state_of_files

VERSION: Final = 1
"""Of the database; one of another version is made anew."""
_APPLICATION: Final = 0x6F686D66
_MOST_DEPTH: Final = 32
_PATIENCE: Final = 30.0
"""Seconds to wait for another process that writes the same catalogue."""
_UNSETTLED: Final = ("running", "killed")
_TABLES: Final = (
    "CREATE TABLE runs (id INTEGER PRIMARY KEY, folder TEXT UNIQUE NOT NULL, state TEXT NOT NULL, run_id TEXT, "
    "procedure TEXT, chip TEXT, world TEXT, status TEXT, reason TEXT, started TEXT, epoch REAL, operator TEXT, "
    "duration REAL, parameters TEXT, problem TEXT NOT NULL, measured INTEGER NOT NULL DEFAULT 0)",
    "CREATE INDEX runs_by_time ON runs (epoch)",
    "CREATE TABLE parameters (run INTEGER NOT NULL, name TEXT NOT NULL, leaf TEXT NOT NULL, number REAL, text TEXT)",
    "CREATE INDEX parameters_by_leaf ON parameters (leaf, number)",
    "CREATE INDEX parameters_by_name ON parameters (name, number)",
    "CREATE INDEX parameters_by_run ON parameters (run)",
    "CREATE TABLE metrics (run INTEGER NOT NULL, name TEXT NOT NULL, value REAL, low REAL, high REAL)",
    "CREATE INDEX metrics_by_name ON metrics (name, value)",
    "CREATE INDEX metrics_by_run ON metrics (run)",
)
_COLUMNS: Final = (
    "id, folder, run_id, procedure, chip, world, status, reason, started, operator, duration, parameters, problem"
)
_NAMES: Final = tuple(_COLUMNS.split(", "))


class Measure(NamedTuple):
    """A metric in SI units with its 95 % interval; NaN where it has none."""

    value: float
    low: float = float("nan")
    high: float = float("nan")


Measuring = Callable[[RunFile], Mapping[str, Measure]]
"""Gives a run's metrics by name; may raise AnalysisError where the run has none."""


@dataclass(frozen=True)
class Entry:
    """A run as the catalogue knows it; of a damaged one only folder and problem.

    Attributes:
        folder: where it is.
        run_id, procedure, chip, world, status, reason, started, operator: as in its header and its end.
        duration: seconds on the laboratory's clock.
        parameters: of the procedure.
        metrics: those that were measured so far.
        problem: why it can't be read; empty if it can.
    """

    folder: Path
    run_id: str
    procedure: str = ""
    chip: str = ""
    world: str = ""
    status: str = "damaged"
    reason: str = ""
    started: str = ""
    operator: str = ""
    duration: float = float("nan")
    parameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Measure] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True)
class Refreshed:
    """How many runs are known now, how many were read anew, dropped because they are gone, or can't be read."""

    runs: int
    read: int
    dropped: int
    damaged: int


class Catalogue:
    """A catalogue of the runs in a folder tree, made by `open`; a context manager. One thread at a time.

    Attributes:
        folder: the tree's root.
        full_text: whether SQLite has its index of words (FTS5); else text is searched word by word, slower.
    """

    def __init__(self, database: sqlite3.Connection, path: str, folder: Path, *, full_text: bool) -> None:
        self._database = database
        self._path = path
        self.folder = folder
        self.full_text = full_text

    @classmethod
    def open(cls, database: Path | str, folder: Path, *, full_text: bool = True) -> Self:
        """Open a catalogue, made anew if there is none, an older one, one of another folder, or a spoilt one.

        Args:
            database: its file; ":memory:" keeps it for the moment only.
            folder: root of the tree of runs.
            full_text: use SQLite's index of words if it has one.

        Raises:
            AnalysisError: there is no such folder, the database can't be written, or the file is another program's.
        """
        root = Path(os.path.abspath(folder))
        if not root.is_dir():
            raise AnalysisError(f"there is no folder {folder} to look for runs in")
        where = str(database)
        try:
            if where != ":memory:":
                Path(where).parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(where, timeout=_PATIENCE)
            try:
                words = _is_current(connection, str(root), full_text)
            except sqlite3.DatabaseError as error:
                connection.close()
                _remove_own(Path(where), error)
                connection, words = sqlite3.connect(where, timeout=_PATIENCE), None
            if words is None:
                words = _make(connection, str(root), full_text)
            # It can be made again: waiting for the disk would cost more than it is worth.
            connection.execute("PRAGMA synchronous = OFF")
        except (sqlite3.Error, OSError) as error:
            raise AnalysisError(f"can't use the catalogue's database {database}: {error}") from error
        return cls(connection, where, root, full_text=words)

    def refresh(self) -> Refreshed:
        """Read what is new or changed, drop what is gone; symbolic links are not followed.

        Raises:
            AnalysisError: the database can't be written.
        """
        known = {
            str(folder): (int(number), str(state), str(status))
            for number, folder, state, status in self._ask("SELECT id, folder, state, status FROM runs")
        }
        read, seen = 0, set()
        try:
            with self._database:
                for folder, state in _runs_below(self.folder):
                    seen.add(folder)
                    number, before, status = known.get(folder, (None, "", ""))
                    mark = json.dumps(state)
                    unsettled = status in _UNSETTLED and (status == "running") != is_running(Path(folder))
                    if before != mark or unsettled:
                        self._read(number, folder, mark)
                        read += 1
                gone = [known[folder][0] for folder in known.keys() - seen]
                for number in gone:
                    self._forget(number)
                    self._database.execute("DELETE FROM runs WHERE id = ?", (number,))
        except sqlite3.Error as error:
            raise AnalysisError(f"the catalogue {self._path} can't be written ({error}); it may be removed") from error
        runs, damaged = self._ask("SELECT count(*), coalesce(sum(problem <> ''), 0) FROM runs")[0]
        return Refreshed(int(runs), read, len(gone), int(damaged))

    def search(self, query: Query) -> list[Entry]:
        """The runs that match, the latest first.

        Raises:
            AnalysisError: a condition makes no sense.
        """
        select, values = query.sql(full_text=self.full_text)
        rows = self._ask(f"SELECT {_COLUMNS} FROM runs WHERE id IN ({select}) ORDER BY epoch DESC, folder DESC", values)
        metrics: dict[int, dict[str, Measure]] = {}
        chosen = f"SELECT run, name, value, low, high FROM metrics WHERE run IN ({select}) ORDER BY rowid"
        for number, name, *value in self._ask(chosen, values):
            nan = float("nan")
            metrics.setdefault(number, {})[name] = Measure(*(nan if item is None else item for item in value))
        return [_entry(row, metrics.get(row[0], {})) for row in rows]

    def measure(self, entries: Iterable[Entry], metrics: Callable[[str], Measuring]) -> int:
        """Compute the metrics of those runs that have none yet; gives how many were measured.

        A run that can't be measured has no metrics. A run under way is not measured: it would differ the next moment.

        Args:
            entries: the runs.
            metrics: gives what measures a procedure's runs, by the procedure's name.
        """
        done = 0
        for entry in entries:
            found = self._ask("SELECT id, measured FROM runs WHERE folder = ?", [str(entry.folder)])
            if entry.problem or entry.status == "running" or not found or found[0][1]:
                continue
            values: Mapping[str, Measure] = {}
            with suppress(AnalysisError), open_run(entry.folder) as run, damage_told(run.path):
                values = metrics(entry.procedure)(run)
            with self._database:
                self._database.executemany(
                    "INSERT INTO metrics VALUES (?, ?, ?, ?, ?)",
                    [(found[0][0], name, *map(float, value)) for name, value in values.items()],
                )
                self._database.execute("UPDATE runs SET measured = 1 WHERE id = ?", (found[0][0],))
            done += 1
        return done

    def close(self) -> None:
        """Let the database go."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, statement: str, values: Iterable[Any] = ()) -> list[Any]:
        try:
            return self._database.execute(statement, tuple(values)).fetchall()
        except sqlite3.Error as error:
            raise AnalysisError(f"the catalogue {self._path} can't be asked ({error}); it may be removed") from error

    def _forget(self, number: int) -> None:
        for table in ("parameters", "metrics"):
            self._database.execute(f"DELETE FROM {table} WHERE run = ?", (number,))
        self._database.execute(f"DELETE FROM words WHERE {'rowid' if self.full_text else 'id'} = ?", (number,))

    def _read(self, number: int | None, folder: str, state: str) -> None:
        if number is not None:
            self._forget(number)
        try:
            run, problem = skim(Path(folder)), ""
        except AnalysisError as error:
            run, problem = None, str(error)
        row = _row(folder, state, run, problem)
        names = ", ".join(row)
        marks = ", ".join("?" * (len(row) + 1))
        cursor = self._database.execute(
            f"INSERT OR REPLACE INTO runs (id, {names}) VALUES ({marks})", (number, *row.values())
        )
        number = cursor.lastrowid
        if run is not None:
            self._database.executemany(
                "INSERT INTO parameters VALUES (?, ?, ?, ?, ?)",
                [(number, *item) for item in flat("", run.header.parameters)],
            )
        parts = [Path(folder).name, problem]
        if run is not None:
            h = run.header
            parts += [h.run_id, h.procedure, h.chip, h.operator, h.command_line, run.reason, *run.texts]
        column = "rowid" if self.full_text else "id"
        self._database.execute(f"INSERT INTO words ({column}, content) VALUES (?, ?)", (number, "\n".join(parts)))


def _is_current(database: sqlite3.Connection, root: str, full_text: bool) -> bool | None:
    """Whether words are indexed in a database of this version and folder; None if it must be made anew.

    Raises:
        sqlite3.DatabaseError: the file is no database, or is spoilt.
    """
    if database.execute("PRAGMA user_version").fetchone()[0] != VERSION:
        if database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] and not _is_ours(database):
            raise sqlite3.OperationalError("it belongs to another program; name another file")
        return None
    found, words = database.execute("SELECT root, full_text FROM about").fetchone()
    return bool(words) if found == root and (full_text or not words) else None


def _is_ours(database: sqlite3.Connection) -> bool:
    return bool(database.execute("PRAGMA application_id").fetchone()[0] == _APPLICATION)


def _remove_own(path: Path, error: sqlite3.DatabaseError) -> None:
    """Remove a spoilt catalogue; never another program's file.

    Raises:
        sqlite3.DatabaseError: it is locked, or not ours.
    """
    with path.open("rb") as file:
        head = file.read(72)
    if isinstance(error, sqlite3.OperationalError) or head[68:72] != _APPLICATION.to_bytes(4, "big"):
        raise error
    for suffix in ("", "-journal", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _make(database: sqlite3.Connection, root: str, full_text: bool) -> bool:
    """Make the tables; gives whether SQLite indexes words."""
    with database:
        for name in ("runs", "parameters", "metrics", "words", "about"):
            database.execute(f"DROP TABLE IF EXISTS {name}")
        for statement in _TABLES:
            database.execute(statement)
        words = False
        if full_text:
            with suppress(sqlite3.OperationalError):
                database.execute("CREATE VIRTUAL TABLE words USING fts5 (content)")
                words = True
        if not words:
            database.execute("CREATE TABLE words (id INTEGER PRIMARY KEY, content TEXT)")
        database.execute("CREATE TABLE about (root TEXT, full_text INTEGER)")
        database.execute("INSERT INTO about VALUES (?, ?)", (root, words))
        database.execute(f"PRAGMA application_id = {_APPLICATION}")
        database.execute(f"PRAGMA user_version = {VERSION}")
    return words


def _runs_below(root: Path) -> Iterator[tuple[str, State]]:
    """Folders with a run and the state of their files; a run's own folders are not looked into."""
    waiting = [(str(root), 0)]
    while waiting:
        folder, depth = waiting.pop()
        state = state_of_files(folder)
        if state is not None:
            yield folder, state
            continue
        if depth >= _MOST_DEPTH:
            continue
        with suppress(OSError), os.scandir(folder) as entries:
            below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
            # A name that is no text could not be typed again, nor kept in the database.
            waiting += [(path, depth + 1) for path in below if os.fsencode(path) == path.encode("utf-8", "replace")]


def _row(folder: str, state: str, run: Skimmed | None, problem: str) -> dict[str, Any]:
    row: dict[str, Any] = {"folder": folder, "state": state, "problem": problem, "measured": 0}
    if run is None:
        return {**row, "run_id": Path(folder).name, "status": "damaged"}
    h = run.header
    return {
        **row,
        **{name: getattr(h, name) for name in ("run_id", "procedure", "chip", "world", "started", "operator")},
        "status": run.status,
        "reason": run.reason,
        "epoch": run.started,  # SQLite keeps NaN as NULL
        "duration": run.duration,
        "parameters": json.dumps(dict(h.parameters)),
    }


def _entry(row: tuple[Any, ...], metrics: Mapping[str, Measure]) -> Entry:
    values = {name: value for name, value in zip(_NAMES, row, strict=True) if value is not None}
    del values["id"]
    values["parameters"] = orjson.loads(values.get("parameters", "{}"))
    values["folder"] = Path(values["folder"])
    return Entry(**values, metrics=metrics)


def flat(prefix: str, value: Any) -> Iterator[tuple[str, str, float | None, str]]:
    """Parameters as (name with dots, its last part, number if it is one, text); a list's items under its name."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from flat(f"{prefix}.{key}" if prefix else str(key), item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from flat(prefix, item)
    elif prefix:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        text = value if isinstance(value, str) else json.dumps(value)
        yield prefix, prefix.rsplit(".", 1)[-1], float(value) if is_number else None, text
