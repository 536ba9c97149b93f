"""Maps of cells out of runs: one a chip, array and quantity, the latest word on each cell.

Runs of any procedure are taken. What only a twin knows is left out: a real wafer has no such maps.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from analysis.errors import AnalysisError
from analysis.records import RunFile, open_run
from analysis.records.guard import damage_told
from analysis.records.layout import CELL_CODE, EVENT_CODE
from analysis.stress import StressLedger, physical, stress

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Quantity:
    """What a map holds.

    Attributes:
        name: short.
        title: for people.
        unit: SI; "" of counts and shares.
        about_zero: whether 0 is the middle, as of an error.
        verdict: whether it is 1 for good and 0 for bad.
        stress: whether it is of the stress ledger, which counts what was done rather than what was found.
    """

    name: str
    title: str
    unit: str = ""
    about_zero: bool = False
    verdict: bool = False
    stress: bool = False


QUANTITIES: dict[str, Quantity] = {
    one.name: one
    for one in (
        Quantity("good", "cells that could be programmed", verdict=True),
        Quantity("formed", "cells that could be formed", verdict=True),
        Quantity("error", "conductance error, read back less target", "S", about_zero=True),
        Quantity("effort", "pulses that programming took"),
        Quantity("drift", "conductance found by a health check, less target", "S", about_zero=True),
        Quantity("gate", "gate voltage at forming", "V"),
        Quantity("levels", "levels told apart"),
        Quantity("nonlinearity", "nonlinearity of the levels"),
        Quantity("pulses", "pulses over the cell's life", stress=True),
        Quantity("charge", "charge through the cell in pulses", "C", stress=True),
        Quantity("energy", "energy of the pulses", "J", stress=True),
        Quantity("volts", "highest voltage across the cell", "V", stress=True),
    )
}
_PROGRAMMED = frozenset({"program", "circle", "generate", "array-errors"})
_GIVEN_UP = tuple(CELL_CODE[name] for name in ("unresponsive", "stuck", "budget"))


@dataclass(frozen=True)
class CellMap:
    """A quantity of the cells of one array of a chip; NaN where not known. `runs` gave it, the latest last."""

    quantity: str
    chip: str
    array: int
    values: Floats
    runs: tuple[str, ...]

    @property
    def known(self) -> int:
        """Cells with a value."""
        return int(np.isfinite(self.values).sum())


@dataclass(frozen=True)
class Wafer:
    """Everything that runs say of the cells of one chip or several.

    Attributes:
        maps: by quantity in `QUANTITIES`' order, then chip and array.
        ledgers: what each chip has been through.
        runs: (run id, procedure, chip, world, started), in the order of their starts.
    """

    maps: tuple[CellMap, ...]
    ledgers: tuple[StressLedger, ...]
    runs: tuple[tuple[str, str, str, str, str], ...]

    @property
    def chips(self) -> tuple[str, ...]:
        """Names of the chips, sorted."""
        return tuple(sorted({chip for _, _, chip, _, _ in self.runs}))

    @property
    def worlds(self) -> tuple[str, ...]:
        """Simulated, real, or both."""
        return tuple(sorted({world for _, _, _, world, _ in self.runs}))

    def of(self, quantity: str) -> tuple[CellMap, ...]:
        """The maps of a quantity."""
        return tuple(one for one in self.maps if one.quantity == quantity)


@dataclass
class _Gathering:
    values: dict[tuple[str, str, int], Floats] = field(default_factory=dict)
    runs: dict[tuple[str, str, int], list[str]] = field(default_factory=dict)

    def add(self, quantity: str, run: RunFile, array: int, values: Floats) -> None:
        """Later words on a cell replace earlier ones."""
        known = np.isfinite(values)
        if not known.any():
            return
        key = quantity, run.header.chip, array
        before = self.values.setdefault(key, np.full(values.shape, np.nan))
        if before.shape != values.shape:
            raise AnalysisError(
                f"runs of chip {run.header.chip!r} disagree on its size, {before.shape} and {values.shape} cells: "
                f"they are of two chips of that name; name the runs of one of them (run {run.header.run_id} differs)"
            )
        before[known] = values[known]
        self.runs.setdefault(key, []).append(run.header.run_id)


def collect(paths: Sequence[Path], chip: str = "") -> Wafer:
    """Gather maps from runs.

    Args:
        paths: run folders or files, in any order.
        chip: only of this chip; "" for all.

    Raises:
        AnalysisError: a run can't be read, there is none (of that chip), or runs of a chip disagree on its size.
    """
    listed: dict[str, tuple[str, Path, tuple[str, str, str, str, str]]] = {}
    for path in paths:
        with open_run(path) as run:
            h = run.header
            if chip and h.chip != chip:
                continue
            listed[f"{h.chip}/{h.run_id}"] = h.started, path, (h.run_id, h.procedure, h.chip, run.world, h.started)
    if not listed:
        raise AnalysisError(f"none of {len(paths)} runs is of chip {chip!r}" if chip else "there are no runs")
    ordered = sorted(listed.values(), key=lambda one: (one[0], one[2]))
    gathering = _Gathering()
    for _, path, _ in ordered:
        with open_run(path) as run, damage_told(path):
            _gather(run, gathering)
    chips = sorted({about[2] for _, _, about in ordered})
    ledgers = tuple(stress([path for _, path, about in ordered if about[2] == name], name) for name in chips)
    maps = [
        CellMap(quantity, name, array, values, tuple(gathering.runs[quantity, name, array]))
        for (quantity, name, array), values in gathering.values.items()
    ]
    maps += [one for ledger in ledgers for one in _stress_maps(ledger)]
    order = list(QUANTITIES)
    maps.sort(key=lambda one: (order.index(one.quantity), one.chip, one.array))
    return Wafer(tuple(maps), ledgers, tuple(about for _, _, about in ordered))


def _stress_maps(ledger: StressLedger) -> list[CellMap]:
    """Arrays that no pulse reached have no map: nothing was done to them."""
    touched = [array for array, pulses in enumerate(ledger.pulses) if pulses.any()]
    names = [name for name, one in QUANTITIES.items() if one.stress]
    return [
        CellMap(name, ledger.chip, array, ledger.map(name)[array], ledger.runs) for name in names for array in touched
    ]


def _gather(run: RunFile, into: _Gathering) -> None:
    shape = run.header.shape
    status = np.asarray(run.cells["status"]).reshape(shape)
    good = np.where(status == CELL_CODE["ok"], 1.0, np.where(np.isin(status, _GIVEN_UP), 0.0, np.nan))
    procedure = run.header.procedure
    further: dict[str, Floats] = {}
    if procedure in _PROGRAMMED:
        error = run.map("conductance_after").reshape(shape) - run.map("conductance_target").reshape(shape)
        able = np.isin(status, [CELL_CODE["ok"], CELL_CODE["budget"]])
        effort = np.asarray(run.cells["pulses"], dtype=np.float64).reshape(shape)
        further = {"good": good, "error": np.where(able, error, np.nan), "effort": np.where(good == 1, effort, np.nan)}
    elif procedure == "forming":
        further = {"formed": good, "gate": np.where(good == 1, _gates(run), np.nan)}
    elif procedure == "health":
        further = _health(run, shape)
    elif procedure == "levels":
        further = _levels(run, shape)
    for quantity, values in further.items():
        for slot, number in enumerate(physical(run)):
            into.add(quantity, run, number, values[slot])


def _gates(run: RunFile) -> Floats:
    """Gate voltage of each cell's last forming pulse, V, (arrays, rows, cols)."""
    out = np.full(run.header.shape, np.nan)
    e = run.events
    forms = np.flatnonzero(np.asarray(e["kind"]) == EVENT_CODE["form"])
    out[e["array"][forms], e["row"][forms], e["col"][forms]] = e["gate"][forms]  # of several, the last one stays
    return out


def _health(run: RunFile, shape: tuple[int, int, int]) -> dict[str, Floats]:
    if "health/read" not in run.names("data"):
        return {}
    given_up = np.asarray(run.header.parameters["given_up"], dtype=np.bool_).reshape(shape)
    drift = run.map("conductance_before").reshape(shape) - run.map("conductance_target").reshape(shape)
    return {"drift": np.where(given_up, np.nan, drift)}


def _levels(run: RunFile, shape: tuple[int, int, int]) -> dict[str, Floats]:
    from analysis.characterisation.levels import summarise_levels

    told, bend = np.full(shape, np.nan), np.full(shape, np.nan)
    try:
        summary = summarise_levels(run)
    except AnalysisError:  # it ended before its first level
        return {}
    for cell in summary.cells:
        place = (0, *cell.place)
        told[place] = cell.discernible
        if cell.responsive:
            bend[place] = cell.nonlinearity.value
    return {"levels": told, "nonlinearity": bend}
