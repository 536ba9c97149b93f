"""A run's tables and maps as CSV or Parquet, for programs that don't read HDF5; names of columns end in their unit."""

import csv
import importlib
import importlib.util
import json
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from analysis.errors import AnalysisError
from analysis.records import layout
from analysis.records.layout import Column
from analysis.records.reader import RunFile

Format = Literal["csv", "parquet"]
Table = dict[str, npt.NDArray[Any]]
Blocks = Callable[[], Iterator[Table]]
"""A table piece by piece: a run may have more events than memory holds."""
FORMATS: Final = ("csv", "parquet")
_BLOCK: Final = 1 << 16
"""Rows that are in memory at a time."""


def export(run: RunFile, folder: Path, form: str = "csv") -> list[Path]:
    """Write `events`, `cells`, a `map_...` for every map (one row a cell), and `header.json`.

    Codes are written as names; what is not known is empty (NaN in Parquet).

    Args:
        run: open.
        folder: made if need be.
        form: "csv" or "parquet"; the latter needs the package pyarrow.

    Returns:
        The files.

    Raises:
        AnalysisError: no such format, pyarrow is missing, a file is there already, or it can't be written. A file is
            there whole or not at all.
    """
    if form not in FORMATS:
        raise AnalysisError(f"a run can be exported as {' or '.join(FORMATS)}, not {form!r}")
    if form == "parquet" and importlib.util.find_spec("pyarrow") is None:
        raise AnalysisError("Parquet needs the package pyarrow, which is not installed: install it, or take csv")
    tables = tables_of(run)
    write: Callable[[Blocks, Path], None] = _write_csv if form == "csv" else _write_parquet
    work: dict[Path, Callable[[Path], None]] = {
        folder / f"{name}.{form}": partial(write, table) for name, table in tables.items()
    }
    about = {**run.header.to_json(), "status": run.status, "reason": run.reason, "notes": run.notes}
    work[folder / "header.json"] = partial(_write_json, {**about, "phases": run.phases})
    there = [path for path in work if path.exists()]
    if there:
        raise AnalysisError(f"{there[0]} is there already: choose another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, action in work.items():
            unfinished = path.with_name(path.name + layout.UNFINISHED)
            try:
                action(unfinished)
                os.replace(unfinished, path)
            finally:
                unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise AnalysisError(f"can't export to {folder}: {error}") from error
    return list(work)


def tables_of(run: RunFile) -> dict[str, Blocks]:
    """Everything that is exported, as columns whose names end in their unit: `time_s`, `conductance_S`."""
    found: dict[str, Blocks] = {
        "events": lambda: (_named(block, layout.EVENT_COLUMNS) for block in run.event_blocks(_BLOCK)),
        "cells": lambda: _pieces(run.cells, layout.CELL_COLUMNS),
    }
    return found | {f"map_{name}": partial(_map, run, name) for name in run.maps}


def _pieces(table: Mapping[str, npt.NDArray[Any]], columns: tuple[Column, ...]) -> Iterator[Table]:
    for start in range(0, len(next(iter(table.values()))), _BLOCK):
        yield _named({name: values[start : start + _BLOCK] for name, values in table.items()}, columns)


def _map(run: RunFile, name: str) -> Iterator[Table]:
    units, values, shape = run.map_units(name), run.map(name).ravel(), run.header.shape
    for start in range(0, len(values), _BLOCK):
        piece = values[start : start + _BLOCK]
        places = np.unravel_index(np.arange(start, start + len(piece)), shape)
        table = {axis: place.astype(np.int16) for axis, place in zip(("array", "row", "col"), places, strict=True)}
        yield {**table, f"value_{units}" if units else "value": piece}


def _named(table: Mapping[str, npt.NDArray[Any]], columns: tuple[Column, ...]) -> Table:
    return {
        f"{c.name}_{c.units}" if c.units else c.name: layout.names_of(table[c.name], c.names)
        if c.names is not None
        else table[c.name]
        for c in columns
    }


def _write_csv(blocks: Blocks, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        for number, table in enumerate(blocks()):
            if not number:
                writer.writerow(table)
            # A float is written with as many digits as it takes to read it back the same.
            writer.writerows(zip(*(_cells(column) for column in table.values()), strict=True))


def _cells(column: npt.NDArray[Any]) -> list[Any]:
    values = column.tolist()
    return ["" if value != value else value for value in values] if column.dtype.kind == "f" else values


def _write_parquet(blocks: Blocks, path: Path) -> None:
    arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    writer = None
    try:
        for table in blocks():
            text = {name for name, column in table.items() if column.dtype.kind == "U"}
            columns = {
                name: arrow.array(
                    column.astype(object) if name in text else column, arrow.string() if name in text else None
                )
                for name, column in table.items()
            }
            piece = arrow.table(columns)
            writer = writer or parquet.ParquetWriter(path, piece.schema)
            writer.write_table(piece)
    finally:
        if writer is not None:
            writer.close()


def _write_json(about: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
