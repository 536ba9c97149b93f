"""What the characterisation procedures share: which cells, ranges of options, what a resumed run has already."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.records import RunFile, open_run
from analysis.records.tables import Tables
from instruments.quantity import si
from instruments.station_file import StationFile
from workflows.errors import RequestError
from workflows.procedures.characterise.probe import Place
from workflows.procedures.options import RunOptions, option
from workflows.tables import Row, clock_text

Floats = npt.NDArray[np.float64]
_CELL = re.compile(r"\s*(\d{1,4})\s*,\s*(\d{1,4})\s*")
_GOLDEN = 0.6180339887


@dataclass(frozen=True, kw_only=True)
class CellOptions(RunOptions):
    """What every characterisation has: where on the board."""

    array: int = option(0, "Number of the array on the board.")
    cells: int = option(8, "How many cells, spread over the array.")
    at: str = option("", "Exactly which cells instead: 'row,col row,col ...'.")


def check_array(number: int, station: StationFile) -> None:
    """Raise RequestError unless the station has that array."""
    if not 0 <= number < station.shape[0]:
        raise RequestError(
            f"array {number} does not exist; station {station.name} has arrays 0..{station.shape[0] - 1}"
        )


def chosen_cells(o: CellOptions, station: StationFile) -> tuple[Place, ...]:
    """The cells asked for, (row, col).

    Spread ones follow a golden-ratio walk over the array, so that no few of them share rows or columns.

    Raises:
        RequestError: no such array or cell, or more cells than there are.
    """
    check_array(o.array, station)
    _, rows, cols = station.shape
    if o.at.strip():
        return _listed(o.at, rows, cols)
    total = rows * cols
    if not 1 <= o.cells <= total:
        raise RequestError(f"cells must be 1..{total} on arrays of {rows}x{cols}, not {o.cells}")
    stride = max(1, round(_GOLDEN * total))
    while math.gcd(stride, total) > 1:
        stride += 1
    numbers = [(total // 7 + k * stride) % total for k in range(o.cells)]
    return tuple((n // cols, n % cols) for n in numbers)


def _listed(text: str, rows: int, cols: int) -> tuple[Place, ...]:
    found: list[Place] = []
    for part in re.split(r"[;\s]+", re.sub(r"\s*,\s*", ",", text.strip())):
        match = _CELL.fullmatch(part)
        if match is None:
            raise RequestError(
                f"cells {text!r}: {part!r} is no cell; write row,col and blanks between, such as '3,4 5,6'"
            )
        place = int(match[1]), int(match[2])
        if place[0] >= rows or place[1] >= cols:
            raise RequestError(f"cell {place} does not exist; arrays are {rows}x{cols}, counted from 0")
        if place in found:
            raise RequestError(f"cell {place} is named twice")
        found.append(place)
    return tuple(found)


def in_range(o: Any, **ranges: tuple[float, float]) -> None:
    """Raise RequestError unless each named option lies within its range (both ends allowed)."""
    for name, (low, high) in ranges.items():
        value = getattr(o, name)
        if not low <= value <= high:
            raise RequestError(f"{name.replace('_', ' ')} must be {low:g}..{high:g}, not {value:g}")


def ordered(low: float, high: float, what: str, unit: str) -> None:
    """Raise RequestError unless low < high."""
    if not low < high:
        raise RequestError(f"{what}: {si(low, unit)} must be less than {si(high, unit)}")


def ladder(low: float, high: float, steps: int) -> tuple[float, ...]:
    """Evenly spaced levels, both ends included; one level only if `steps` is 1."""
    return tuple(round(float(v), 9) for v in np.linspace(low, high, steps))


def log_ladder(low: float, high: float, steps: int) -> tuple[float, ...]:
    """Levels evenly spaced in their logarithm, both ends included, to 3 digits."""
    return tuple(float(f"{v:.3g}") for v in np.geomspace(low, high, steps))


def log_counts(first: int, last: int, per_decade: int) -> tuple[int, ...]:
    """Whole numbers about evenly spaced in their logarithm, from `first` to `last`, both included, rising."""
    decades = math.log10(last / first) if last > first else 0.0
    raw = np.geomspace(first, last, max(2, round(decades * per_decade) + 1)) if last > first else [float(first)]
    return tuple(sorted({first, last, *(round(float(v)) for v in raw)}))


def recorded(tables: Tables) -> frozenset[str]:
    """Names of the data that a run has kept so far: its finished pieces of work."""
    return frozenset(name for where, name in tables.arrays if where == "data")


def instants(tables: Tables, prefix: str) -> dict[str, float]:
    """Single instants that a run has kept so far under names with a prefix, s."""
    found = {name: kept.values for (where, name), kept in tables.arrays.items() if where == "data"}
    return {name: float(v.flat[0]) for name, v in found.items() if name.startswith(prefix) and v.size}


def cell_name(place: Place) -> str:
    """How a cell is named in a dataset's name."""
    return f"r{place[0]}_c{place[1]}"


NOT_KEPT = frozenset({"array", "done", "instants", "target", "programmed", "before"})
"""Fields of requests that the header leaves out: what a resumed run finds in its records, and maps."""


def parameters(request: Any) -> dict[str, Any]:
    """What the run's header keeps of a request: its fields as JSON, but for `NOT_KEPT`."""
    kept = {k: v for k, v in asdict(request).items() if k not in NOT_KEPT}
    return {"arrays": [request.array], **_plain(kept)}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    return value


def drawn(draw: Callable[[RunFile, Path], Any]) -> Callable[[Path], None]:
    """A report that draws figures into the run's folder, from its file alone."""

    def report(folder: Path) -> None:
        with open_run(folder) as run:
            draw(run, folder / "figures")

    return report


def effort_rows(run: RunFile) -> list[Row]:
    """How many pulses and reads it took, and how long on the laboratory's clock."""
    pulses, reads = run.where("set", "reset", "form"), run.where("read")
    energy = run.events["energy"]
    time, duration = run.events["time"], np.nan_to_num(run.events["duration"])
    seconds = float((time + duration).max() - time.min()) if len(time) else 0.0
    spent = f"{int(pulses.sum())} pulses {si(float(np.nansum(energy[pulses])), 'J')}, {int(reads.sum())} reads "
    return [
        Row("effort", spent + si(float(np.nansum(energy[reads])), "J")),
        Row("time on the lab's clock", clock_text(seconds)),
    ]


def between(value: float, error: float, unit: str, digits: int = 3) -> str:
    """A value with its uncertainty, for people: "1.23 ± 0.04 V"."""
    return f"{si(value, unit, digits)} ± {si(error, unit, 2)}"
