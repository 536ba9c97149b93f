"""Runs side by side, for notebooks: a pandas table of a folder's runs, and maps of many runs in one xarray array."""

import importlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis.errors import AnalysisError
from analysis.records import layout
from analysis.records.catalogue import Catalogue, Measuring, flat
from analysis.records.catalogue_query import Query
from analysis.records.reader import RunFile, open_run


def library(name: str) -> Any:
    """A package that only notebooks need.

    Raises:
        AnalysisError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise AnalysisError(f"this needs the package {name}: pip install 'ohmflow[notebook]'") from error


def runs_table(
    folder: str | Path, query: Query | None = None, *, metrics: Callable[[str], Measuring] | None = None
) -> Any:
    """The runs below a folder as a `pandas.DataFrame`, one row a run, the latest first, indexed by `run_id`.

    Columns are `folder`, `procedure`, `chip`, `world`, `status`, `started`, `operator`, `duration_s`, a `parameters.`
    one for each parameter that any of them has, and, where `metrics` is given, a `metrics.` one for each metric.

    Args:
        folder: root of the tree of runs.
        query: which of them; by default all that can be read.
        metrics: gives what measures a procedure's runs, for example `workflows.measures.measures`.

    Raises:
        AnalysisError: pandas is not installed, or there is no such folder.
    """
    pandas = library("pandas")
    query = query or Query()
    with Catalogue.open(":memory:", Path(folder)) as catalogue:
        catalogue.refresh()
        if metrics is not None:
            # Conditions on metrics can't be asked before these are measured.
            catalogue.measure(catalogue.search(replace(query, metric=(), limit=0)), metrics)
        found = [entry for entry in catalogue.search(query) if not entry.problem]
    rows = []
    for entry in found:
        row: dict[str, Any] = {"run_id": entry.run_id, "folder": str(entry.folder), "procedure": entry.procedure}
        row |= {name: getattr(entry, name) for name in ("chip", "world", "status", "started", "operator")}
        row["duration_s"] = entry.duration
        row |= {
            f"parameters.{name}": text if number is None else number
            for name, _, number, text in flat("", entry.parameters)
        }
        row |= {f"metrics.{name}": measure.value for name, measure in entry.metrics.items()}
        rows.append(row)
    table = pandas.DataFrame(rows, columns=None if rows else ["run_id"])
    return table.set_index("run_id")


def stack(runs: Iterable[str | Path | RunFile], name: str = "conductance_after") -> Any:
    """One map of several runs as an `xarray.DataArray` over (run, array, row, col); no `array` where there is one.

    Raises:
        AnalysisError: xarray is not installed, a run has no such map, or the runs' cells are not alike.
    """
    xarray = library("xarray")
    names, values, units, shape = [], [], "", None
    for item in runs:
        run = item if isinstance(item, RunFile) else open_run(item)
        try:
            names.append(run.header.run_id)
            values.append(run.map(name))
            units = run.map_units(name)
        finally:
            if run is not item:
                run.close()
        if shape not in (None, values[-1].shape):
            raise AnalysisError(
                f"run {names[-1]} has {values[-1].shape} cells, run {names[0]} {shape}: can't be stacked"
            )
        shape = values[-1].shape
    if shape is None:
        raise AnalysisError("there is no run to stack")
    axes = ("array", "row", "col")[-len(shape) :]
    coordinates = {axis: np.arange(length) for axis, length in zip(axes, shape, strict=True)}
    attributes = {"units": units, "long_name": layout.MAPS.get(name, name)}
    return xarray.DataArray(np.stack(values), {"run": names, **coordinates}, ("run", *axes), name, attributes)
