"""Names, units and codes of the run file, in one place; what a version of the format means.

A finished run file (`run.h5`, HDF5 in its default format, NeXus classes)::

    /                       default="entry", creator, format, world
    /entry                  NXentry; default="conductance_after"; world
        title, procedure, run_id, status, reason, start_time, end_time, duration
        events/             NXdata, one 1-D column a quantity (`EVENT_COLUMNS`); one row a read, pulse, ...
        cells/              NXcollection, one 1-D column a quantity (`CELL_COLUMNS`); one row a cell
        conductance_before/ conductance_after/ conductance_target/ conductance_error/
                            NXdata; conductance[array?, row, col] with its axes; other maps likewise
        waveforms/<scope>/  NXdata, raw[capture, channel, sample] codes, exact scale factors, a CRC-32 a capture
        data/               NXcollection, whatever else a procedure keeps
        twin/               NXcollection, simulated runs only: what no laboratory could know
        segments/ phases/ notes/    NXcollection, columns
        provenance/         NXcollection, the run's header as datasets
        journal/            NXcollection, which journal the file was made from
        checksums/          NXcollection, SHA-256 of every group and dataset, and of the list itself

The array axis is left out where the run has one array. Every quantity has `units`. `run.partial.h5`, which a
run keeps while it is under way, has the same events, cells, maps, waveforms and provenance.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

import h5py
import numpy as np
import numpy.typing as npt

FORMAT: Final = 2
"""Version of journal and run file; a reader refuses newer ones and migrates older ones (`migration`)."""

JOURNAL: Final = "journal.jsonl"
PARTIAL: Final = "run.partial.h5"
FINAL: Final = "run.h5"
STATION: Final = "station.yaml"
FIGURES: Final = "figures"
UNFINISHED: Final = ".new"
"""Suffix of a file that is still being made; never a record."""

WORLDS: Final = ("simulated", "real")

ENDINGS: Final = ("completed", "interrupted", "failed", "aborted")
"""How a run can say that it ended."""

STATUSES: Final = (*ENDINGS, "killed", "running")
"""What a run file can be: `killed` ended without saying so, `running` is being written now."""

EVENT_KINDS: Final = ("read", "set", "reset", "form", "select", "compute", "calibrate", "other")
PULSE_KINDS: Final = frozenset({"set", "reset", "form"})
"""Kinds that change a cell: not idempotent, never to be repeated blindly."""

OUTCOMES: Final = ("done", "doubt")
"""`doubt`: announced, but nobody saw the result; the pulse may or may not have reached the cell."""

CELL_STATUSES: Final = ("pending", "ok", "unresponsive", "stuck", "budget", "skipped")

EVENT_CODE: Final = {name: code for code, name in enumerate(EVENT_KINDS)}
OUTCOME_CODE: Final = {name: code for code, name in enumerate(OUTCOMES)}
CELL_CODE: Final = {name: code for code, name in enumerate(CELL_STATUSES)}


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Args:
        name: dataset name.
        typecode: `array.array` type code, which is also a numpy one.
        units: NeXus units; None for counts and codes.
        names: names of the codes where the column is an enumeration.
        meaning: one line for whoever opens the file in ten years.
    """

    name: str
    typecode: str
    units: str | None
    meaning: str
    names: tuple[str, ...] | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the column in HDF5, little-endian on every machine that we know of; an enumeration where named."""
        if self.names is None:
            return np.dtype(self.typecode)
        kind: np.dtype[Any] = h5py.enum_dtype({name: code for code, name in enumerate(self.names)}, basetype="u1")
        return kind


EVENT_COLUMNS: Final = (
    Column("seq", "q", None, "journal record that announced or reported the event"),
    Column("time", "d", "s", "start, laboratory clock"),
    Column("duration", "d", "s", "time taken on the laboratory clock"),
    Column("array", "h", None, "array, from 0; -1: none in particular"),
    Column("row", "h", None, "row (word line), from 0; -1: none in particular"),
    Column("col", "h", None, "column (bit line), from 0; -1: none in particular"),
    Column("kind", "B", None, "what was done", EVENT_KINDS),
    Column("outcome", "B", None, "whether its result was seen", OUTCOMES),
    Column("amplitude", "d", "V", "voltage across the cell"),
    Column("gate", "d", "V", "word-line voltage"),
    Column("width", "d", "s", "pulse width or integration time"),
    Column("conductance", "d", "S", "as the laboratory measured it"),
    Column("current", "d", "A", "as the laboratory measured it"),
    Column("energy", "d", "J", "the laboratory's own estimate"),
)

CELL_COLUMNS: Final = (
    Column("array", "h", None, "array, from 0"),
    Column("row", "h", None, "row (word line), from 0"),
    Column("col", "h", None, "column (bit line), from 0"),
    Column("status", "B", None, "verdict; pending: none yet", CELL_STATUSES),
    Column("pulses", "q", None, "SET, RESET and FORM pulses, those in doubt included"),
    Column("reads", "q", None, "read events"),
    Column("conductance", "d", "S", "last measured"),
    Column("target", "d", "S", "asked for"),
)

MAPS: Final = {
    "conductance_before": "Conductance before programming",
    "conductance_after": "Conductance after programming",
    "conductance_target": "Target conductance",
    "conductance_error": "Conductance error (after - target)",
}
"""Maps that every run file declares, and their titles."""

TWIN_NOTE: Final = "known only to the twin: no laboratory could measure this"

VOLATILE: Final = frozenset(
    {
        "/entry/run_id",
        "/entry/start_time",
        "/entry/end_time",
        "/entry/provenance/run_id",
        "/entry/provenance/started",
        "/entry/provenance/command_line",
        "/entry/provenance/paths",
        "/entry/segments/started",
        "/entry/segments/ended",
        "/entry/segments/command_line",
        "/entry/journal/crc32",
        "/entry/checksums/sha256",
        "/entry/checksums/seal",
    }
)
"""Wall times and identities: all that may differ between two runs of one seed. The command line and the paths are
among them because they say where the run was put; the checksums because they cover the others."""

_NAME = re.compile(r"[a-z][a-z0-9_]*(/[a-z][a-z0-9_]*)*")


def is_name(name: str) -> bool:
    """Whether `name` may name a dataset: small letters, digits, underscores; `/` between groups."""
    return len(name) <= 200 and _NAME.fullmatch(name) is not None


def shape_of(arrays: int, rows: int, cols: int) -> tuple[int, ...]:
    """Shape of a map in files and to users: the array axis only where there are several."""
    return (rows, cols) if arrays == 1 else (arrays, rows, cols)


def names_of(codes: npt.NDArray[np.integer[Any]], names: tuple[str, ...]) -> npt.NDArray[np.str_]:
    """Names of an enumeration's codes, same shape."""
    return np.asarray(np.array(names, dtype=np.str_)[codes])
