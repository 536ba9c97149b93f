"""A run as one xarray Dataset."""

from pathlib import Path
from typing import Any

import numpy as np

from analysis.records import layout
from analysis.records.notebook import library
from analysis.records.reader import RunFile, open_run


def to_xarray(run: RunFile | str | Path) -> Any:
    """Maps, cells and events of a run, read into an `xarray.Dataset` with names, axes and units.

    Maps are variables over (array, row, col), `array` only where the run has several; columns of the cells' table are
    `cell_...` over the same; columns of the events are `event_...` over `event`, with their time as coordinate. Codes
    are names. Every variable has `units` and `long_name`; the dataset says run, procedure, world, chip, start, status.

    Args:
        run: open, or where it is.

    Raises:
        AnalysisError: xarray is not installed, or the file is damaged.
    """
    xarray = library("xarray")
    if not isinstance(run, RunFile):
        with open_run(run) as opened:
            return to_xarray(opened)
    header = run.header
    shape = layout.shape_of(*header.shape)
    axes = ("array", "row", "col")[-len(shape) :]
    variables: dict[str, Any] = {}
    for name in run.maps:
        attributes = {"units": run.map_units(name), "long_name": layout.MAPS.get(name, name)}
        variables[name] = (axes, run.map(name), attributes)
    for prefix, table, columns, dims in (
        ("cell", run.cells, layout.CELL_COLUMNS, axes),
        ("event", run.events, layout.EVENT_COLUMNS, ("event",)),
    ):
        for column in columns:
            if prefix == "cell" and column.name in ("array", "row", "col"):
                continue
            values = table[column.name]
            named = values if column.names is None else layout.names_of(values, column.names)
            reshaped = named.reshape(shape) if prefix == "cell" else named
            attributes = {"units": column.units or "", "long_name": column.meaning}
            variables[f"{prefix}_{column.name}"] = (dims, reshaped, attributes)
    coordinates: dict[str, Any] = {
        axis: (axis, np.arange(length), {"units": ""}) for axis, length in zip(axes, shape, strict=True)
    }
    coordinates["event_time"] = variables.pop("event_time")
    about = {
        "run_id": header.run_id,
        "procedure": header.procedure,
        "world": run.world,
        "chip": header.chip,
        "started": header.started,
        "status": run.status,
        "title": header.title,
    }
    return xarray.Dataset(variables, coordinates, about)
