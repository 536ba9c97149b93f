"""A run's arrays as matplotlib pictures with axes and units, for notebooks; `RunFile.plot` leads here."""

import importlib
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from analysis.errors import AnalysisError
from analysis.records import layout
from analysis.records.reader import RunFile

_PREFIXES: Final = ((1e-12, "p"), (1e-9, "n"), (1e-6, "µ"), (1e-3, "m"), (1.0, ""), (1e3, "k"), (1e6, "M"))
_SCALED: Final = frozenset({"S", "V", "A", "s", "J", "W", "ohm", "Hz"})
_MOST_POINTS: Final = 200_000
"""Points of a line; of longer ones evenly spread values are drawn."""
_MOST_LINES: Final = 24


def plot(run: RunFile, what: str = "", *, axes: Any = None, array: int = 0) -> Any:
    """Draw something of a run.

    Args:
        run: open.
        what: a map ("conductance_after"), a column of the events ("conductance", "energy", ...), a capture
            ("waveforms/scope1/3"), what a procedure kept ("data/iv/volts") or the twin knows ("twin/..."); empty: the
            run's default picture.
        axes: matplotlib axes to draw into; else new ones.
        array: of a map with several.

    Returns:
        The matplotlib axes.

    Raises:
        AnalysisError: there is nothing so named; says what there is.
    """
    what = what.strip("/") or str(run.entry.attrs.get("default", "events"))
    if what == "events":
        what = str(run.entry["events"].attrs.get("signal", "conductance"))
    head, _, rest = what.partition("/")
    if what in run.maps:
        return _map(run, what, _axes(axes), array)
    if what in run.events:
        return _events(run, what, _axes(axes))
    if head == "waveforms" and rest:
        scope, _, number = rest.partition("/")
        return _capture(run, scope, number, axes)
    if head in ("data", "twin") and rest in run.names(head):
        return _stored(run, head, rest, _axes(axes))
    there = [*run.maps, *run.events, *(f"waveforms/{scope}/0" for scope in run.scopes)]
    there += [f"{where}/{name}" for where in ("data", "twin") for name in run.names(where)]
    raise AnalysisError(f"{run.path} has nothing named {what!r} to plot, only {', '.join(there)}")


def _axes(axes: Any) -> Any:
    return axes if axes is not None else importlib.import_module("matplotlib.pyplot").subplots()[1]


def _titled(axes: Any, run: RunFile, text: str) -> Any:
    axes.set_title(f"{text}\n{run.header.run_id} ({run.world})", loc="left", fontsize="medium")
    return axes


def _map(run: RunFile, name: str, axes: Any, array: int) -> Any:
    values = run.map(name)
    if values.ndim == 3:
        if not 0 <= array < len(values):
            raise AnalysisError(f"{run.path} has arrays 0 to {len(values) - 1}, not {array}")
        values = values[array]
    factor, unit = scale(values, run.map_units(name))
    picture = axes.imshow(values / factor, cmap="viridis", interpolation="nearest", origin="upper")
    axes.set_xlabel("col")
    axes.set_ylabel("row")
    heading = layout.MAPS.get(name, name.replace("_", " "))
    axes.figure.colorbar(picture, ax=axes, label=f"{heading}{f' ({unit})' if unit else ''}")
    return _titled(axes, run, heading if run.header.arrays == 1 else f"{heading}, array {array}")


def _events(run: RunFile, name: str, axes: Any) -> Any:
    column = next(column for column in layout.EVENT_COLUMNS if column.name == name)
    times, kinds, values = run.events["time"], run.events["kind"], run.events[name].astype(np.float64)
    factor, unit = scale(values, column.units or "")
    across, across_unit = scale(times, "s")
    for code, kind in enumerate(layout.EVENT_KINDS):
        chosen = np.flatnonzero((kinds == code) & np.isfinite(values))
        if len(chosen):
            few = chosen[:: -(-len(chosen) // _MOST_POINTS)]
            axes.plot(times[few] / across, values[few] / factor, ".", markersize=3, label=kind)
    axes.set_xlabel(f"time ({across_unit})")
    axes.set_ylabel(f"{name}{f' ({unit})' if unit else ''}")
    if axes.lines:
        axes.legend(frameon=False)
    return _titled(axes, run, column.meaning)


def _capture(run: RunFile, scope: str, number: str, axes: Any) -> Any:
    if not number.isdecimal():
        raise AnalysisError(f"name a capture by its number: waveforms/{scope}/0, not waveforms/{scope}/{number}")
    captures = run.waveforms(scope)
    volts, times = captures.volts(int(number)), captures.times(int(number))
    axes = _axes(axes)
    factor, unit = scale(volts, "V")
    across, across_unit = scale(times, "s")
    step = -(-len(times) // _MOST_POINTS)
    for channel, values in zip(captures.spec.channels, volts, strict=True):
        axes.plot(times[::step] / across, values[::step] / factor, linewidth=1, label=channel)
    axes.set_xlabel(f"time from the trigger ({across_unit})")
    axes.set_ylabel(f"voltage ({unit})")
    axes.legend(frameon=False)
    return _titled(axes, run, f"{scope}, capture {number}")


def _stored(run: RunFile, where: str, name: str, axes: Any) -> Any:
    values, dataset = run.data(name) if where == "data" else run.twin(name), run.entry[where][name]
    units = str(dataset.attrs.get("units", ""))
    meaning = str(dataset.attrs.get("long_name", name)).removesuffix(f" ({units})")
    factor, unit = scale(values, units)
    shown = np.asarray(values, dtype=np.float64) / factor
    if shown.ndim > 1:
        shown = shown.reshape(-1, shown.shape[-1])
    named = f"{name.rsplit('/', 1)[-1]}{f' ({unit})' if unit else ''}"
    if shown.ndim == 2 and len(shown) > _MOST_LINES:
        picture = axes.imshow(shown, aspect="auto", cmap="viridis", interpolation="nearest")
        axes.figure.colorbar(picture, ax=axes, label=named)
        axes.set_ylabel("row")
    else:
        for line in np.atleast_2d(shown):
            axes.plot(line[:: -(-len(line) // _MOST_POINTS)], linewidth=1)
        axes.set_ylabel(named)
    axes.set_xlabel("index")
    return _titled(axes, run, meaning)


def scale(values: npt.ArrayLike, units: str) -> tuple[float, str]:
    """(divisor, unit with its prefix) that make the values readable: 5e-5 S is shown as 50 µS."""
    numbers = np.abs(np.asarray(values, dtype=np.float64))
    numbers = numbers[np.isfinite(numbers)]
    largest = float(numbers.max()) if numbers.size else 0.0
    if units not in _SCALED or largest == 0:
        return 1.0, units
    factor, prefix = next((pair for pair in reversed(_PREFIXES) if largest >= pair[0]), _PREFIXES[0])
    return factor, prefix + ("Ω" if units == "ohm" else units)
