"""What a chip's cells have been through: pulses, charge, energy and highest voltage, cell by cell, over all its runs.

Endurance is spent by pulses and by what they carry. The ledger adds up the run files of one chip; limits say how much a
cell may have, and a procedure can ask which cells have had it before it drives them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.errors import AnalysisError
from analysis.records import RunFile, open_run
from analysis.records.layout import EVENT_CODE, OUTCOME_CODE

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

KINDS = ("set", "reset", "form")
QUANTITIES = ("pulses", *KINDS, "in_doubt", "charge", "energy", "volts")


@dataclass(frozen=True)
class StressLimits:
    """What a cell may have had over its life; None: no limit. Pulses, C, J, V."""

    pulses: int | None = None
    charge: float | None = None
    energy: float | None = None
    volts: float | None = None

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise AnalysisError(f"a stress limit on {name} must be more than 0, not {value}")


@dataclass(frozen=True)
class Excess:
    """A cell that has reached a limit: (array, row, col), which quantity, what it had, what it may have."""

    cell: tuple[int, int, int]
    quantity: str
    value: float
    limit: float

    def explain(self) -> str:
        """One line."""
        unit = {"charge": " C", "energy": " J", "volts": " V"}.get(self.quantity, "")
        return (
            f"cell {self.cell} has had {self.value:.4g}{unit} of {self.quantity}; its limit is {self.limit:.4g}{unit}"
        )


@dataclass(frozen=True)
class StressLedger:
    """Sums over a chip's runs. Maps have shape (arrays, rows, cols), physical array numbers.

    Attributes:
        chip: which.
        runs: names of the runs that count, in the order of their starts.
        set, reset, form: pulses of each kind, those in doubt included: a cell may have had them.
        in_doubt: how many of them nobody saw arrive.
        charge: C through the cell during pulses, by the lab's estimates.
        energy: J likewise. A pulse without an estimate counts with the conductance last read.
        volts: highest voltage across the cell, V; 0 where there was no pulse.
        unpriced: pulses whose charge and energy nobody knows (sweeps, and pulses on cells that were never read).
    """

    chip: str
    runs: tuple[str, ...]
    set: Counts
    reset: Counts
    form: Counts
    in_doubt: Counts
    charge: Floats
    energy: Floats
    volts: Floats
    unpriced: Counts

    @property
    def pulses(self) -> Counts:
        """Pulses of all kinds, (arrays, rows, cols)."""
        return np.asarray(self.set + self.reset + self.form)

    def map(self, quantity: str) -> Floats:
        """A map by name (`QUANTITIES`), as floats.

        Raises:
            AnalysisError: there is no such quantity.
        """
        if quantity not in QUANTITIES:
            raise AnalysisError(f"the stress ledger has no {quantity!r}; it has {', '.join(QUANTITIES)}")
        return np.asarray(getattr(self, quantity), dtype=np.float64)

    def reached(self, limits: StressLimits) -> tuple[Excess, ...]:
        """Cells that have had as much as they may, or more: they should get no further pulse."""
        found: list[Excess] = []
        for name in ("pulses", "charge", "energy", "volts"):
            limit = getattr(limits, name)
            if limit is None:
                continue
            values = self.map(name)
            # A voltage that was allowed may be given again; the sums may not grow beyond their limit.
            over = values > limit if name == "volts" else values >= limit
            found += [Excess(_cell(i), name, float(values[tuple(i)]), float(limit)) for i in np.argwhere(over)]
        return tuple(found)

    def left(self, limits: StressLimits) -> Floats:
        """Pulses that each cell may still get, by count and by its mean pulse, (arrays, rows, cols); inf: any."""
        out = np.full(self.pulses.shape, np.inf)
        if limits.pulses is not None:
            out = np.minimum(out, limits.pulses - self.pulses)
        count = np.maximum(self.pulses, 1)
        for name in ("energy", "charge"):
            limit, spent = getattr(limits, name), self.map(name)
            if limit is not None:
                each = np.where(spent > 0, spent / count, 0.0)
                room = np.divide(limit - spent, each, out=np.full(each.shape, np.inf), where=each > 0)
                out = np.minimum(out, np.floor(room))
        return np.asarray(np.maximum(out, 0.0))


def stress(runs: Sequence[Path], chip: str) -> StressLedger:
    """Add up what runs did to a chip's cells.

    Args:
        runs: run folders or files, of any chips; those of other chips are left out. A run named twice counts once.
        chip: as the runs' headers have it.

    Raises:
        AnalysisError: a run can't be read, none is of this chip, or runs disagree on its rows and columns.
    """
    parts: dict[str, tuple[str, RunFile]] = {}
    others: set[str] = set()
    try:
        for path in runs:
            run = open_run(path)
            if run.header.chip != chip or run.header.run_id in parts:
                others |= {run.header.chip} - {chip}
                run.close()
                continue
            parts[run.header.run_id] = run.header.started, run
        if not parts:
            seen = f"; they are of {', '.join(sorted(others))}" if others else ""
            raise AnalysisError(f"none of {len(runs)} runs is of chip {chip!r}{seen}")
        ordered = [run for _, run in sorted(parts.values(), key=lambda pair: (pair[0], pair[1].header.run_id))]
        return _summed(ordered, chip)
    finally:
        for _, run in parts.values():
            run.close()


def _summed(runs: Sequence[RunFile], chip: str) -> StressLedger:
    sizes = {run.header.shape[1:] for run in runs}
    if len(sizes) > 1:
        raise AnalysisError(f"runs of chip {chip!r} disagree on its rows and columns: {sorted(sizes)}")
    numbers = [physical(run) for run in runs]
    shape = (1 + max(max(n) for n in numbers), *sizes.pop())
    counts: dict[str, Counts] = {name: np.zeros(shape, np.int64) for name in (*KINDS, "in_doubt", "unpriced")}
    sums: dict[str, Floats] = {name: np.zeros(shape) for name in ("charge", "energy", "volts")}
    for run, number in zip(runs, numbers, strict=True):
        _add(run, np.asarray(number), counts, sums)
    return StressLedger(
        chip, tuple(run.header.run_id for run in runs), counts["set"], counts["reset"], counts["form"],
        counts["in_doubt"], sums["charge"], sums["energy"], sums["volts"], counts["unpriced"],
    )  # fmt: skip


def physical(run: RunFile) -> list[int]:
    """The chip's own number of each array of a run."""
    numbers = run.header.parameters.get("arrays")
    if isinstance(numbers, list) and len(numbers) == run.header.arrays and all(isinstance(n, int) for n in numbers):
        return numbers
    return list(range(run.header.arrays))


def _add(run: RunFile, number: Counts, counts: dict[str, Counts], sums: dict[str, Floats]) -> None:
    events = run.events
    kind = np.asarray(events["kind"])
    here = (np.asarray(events["row"]) >= 0) & (np.asarray(events["col"]) >= 0) & (np.asarray(events["array"]) >= 0)
    pulse = here & np.isin(kind, [EVENT_CODE[k] for k in KINDS])
    where = (number[events["array"][pulse]], events["row"][pulse], events["col"][pulse])
    for name in KINDS:
        np.add.at(counts[name], where, (kind[pulse] == EVENT_CODE[name]).astype(np.int64))
    doubt = np.asarray(events["outcome"])[pulse] == OUTCOME_CODE["doubt"]
    np.add.at(counts["in_doubt"], where, doubt.astype(np.int64))
    volts = np.abs(np.asarray(events["amplitude"], float)[pulse])
    width = np.asarray(events["width"], float)[pulse]
    energy = np.asarray(events["energy"], float)[pulse]
    # A pulse in doubt has no estimate of its own: the cell's last read prices it, as the lab prices the others.
    priced = np.where(doubt & ~np.isfinite(energy), volts**2 * _last_read(events, here)[pulse] * width, energy)
    unknown = ~np.isfinite(priced)
    np.add.at(counts["unpriced"], where, unknown.astype(np.int64))
    priced = np.where(unknown, 0.0, priced)
    np.add.at(sums["energy"], where, priced)
    charge = np.divide(priced, volts, out=np.zeros_like(priced), where=np.isfinite(volts) & (volts > 0))
    np.add.at(sums["charge"], where, charge)
    np.maximum.at(sums["volts"], where, np.nan_to_num(volts))


def _last_read(events: Mapping[str, npt.NDArray[Any]], here: npt.NDArray[np.bool_]) -> Floats:
    """For each event, the conductance that its cell last showed before, S; NaN where there was no read."""
    array, row, col = (np.asarray(events[name], np.int64) for name in ("array", "row", "col"))
    n = len(row)
    key = np.where(here, (array * 40_000 + row) * 40_000 + col, -1)
    order = np.lexsort((np.arange(n), np.asarray(events["seq"]), key))
    g = np.asarray(events["conductance"], float)[order]
    read = (np.asarray(events["kind"])[order] == EVENT_CODE["read"]) & np.isfinite(g)
    first = np.r_[True, np.diff(key[order]) != 0] if n else np.zeros(0, bool)
    start = np.maximum.accumulate(np.where(first, np.arange(n), 0))
    latest = np.maximum.accumulate(np.where(read, np.arange(n), -1)) if n else np.zeros(0, np.int64)
    out = np.empty(n)
    out[order] = np.where(latest >= start, np.maximum(g[np.maximum(latest, 0)], 0.0), np.nan) if n else g
    return out


def _cell(index: npt.NDArray[np.intp]) -> tuple[int, int, int]:
    a, r, c = (int(i) for i in index)
    return a, r, c
