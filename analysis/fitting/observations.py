"""What run files say about a chip's cells, sorted by what it teaches: pulses between two reads, series of reads, rests.

Nothing is judged here. A pulse counts where the event before it and the event after it on the same cell are reads; what
the run did to other cells in between does not matter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.errors import AnalysisError
from analysis.records import RunFile, open_run
from analysis.records.layout import EVENT_CODE, OUTCOME_CODE

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Table = Mapping[str, npt.NDArray[Any]]

READ_VOLTS = 0.31
"""A read at more than this is a sweep's step, which may move the cell, V."""
SERIES = 16
"""Reads in a row, with one integration time, that make a series to see noise in."""
STILL = 1.6
"""Ratio of a series' last age to its first up to which relaxation within it stays below the read noise."""
RESTS = 30.0
"""Ratio of ages that makes a rest worth looking at."""


@dataclass(frozen=True)
class Steps:
    """Pulses with a read before and after, sorted by cell; every column has shape (n,).

    Attributes:
        cell: index into `Observations.cells`.
        reset: whether it was a RESET.
        before, after: reads, S.
        volts, gate, width: the pulse, V, V, s.
        t_before, t_after: integration times, s.
        age: from the pulse to the end of the read after it, s.
        waning: ln of the ratio of the two reads' ages since the move before, what an idle pulse leaves going on.
    """

    cell: Integers
    reset: npt.NDArray[np.bool_]
    before: Floats
    after: Floats
    volts: Floats
    gate: Floats
    width: Floats
    t_before: Floats
    t_after: Floats
    age: Floats
    waning: Floats

    def __len__(self) -> int:
        return len(self.cell)

    def only(self, chosen: npt.NDArray[np.bool_]) -> "Steps":
        """Those of a mask."""
        return Steps(**{name: getattr(self, name)[chosen] for name in self.__dataclass_fields__})


@dataclass(frozen=True)
class Series:
    """Reads of one cell in a row, without a pulse between them.

    Attributes:
        cell: index into `Observations.cells`.
        times, age: ends of the reads, s: on the lab's clock, and since the last pulse (infinite if none is known).
        integration: s, one a read.
        values: S.
        move: change of conductance by the last pulse, S; NaN if not known.
    """

    cell: int
    times: Floats
    age: Floats
    integration: Floats
    values: Floats
    move: float


@dataclass(frozen=True)
class Observations:
    """All that a fit looks at.

    Attributes:
        chip: which, as the runs name it.
        runs: their names.
        cells: (n, 3) array, row, col.
        steps: of every cell.
        noise: series for read noise: one integration time each, old enough to be still.
        rests: series that follow a pulse over a wide range of ages.
        unused: pulses that had no read on both sides.
    """

    chip: str
    runs: tuple[str, ...]
    cells: Integers
    steps: Steps
    noise: tuple[Series, ...]
    rests: tuple[Series, ...]
    unused: int


def gather(runs: Sequence[Path]) -> Observations:
    """Read runs of one chip.

    Raises:
        AnalysisError: no run, an unreadable one, two chips, or a run that recorded no read.
    """
    if not runs:
        raise AnalysisError("a fit needs at least one run; name run folders")
    tables, names, chips = [], [], []
    for path in runs:
        with open_run(path) as run:
            tables.append(_physical(run))
            names.append(run.header.run_id)
            chips.append(run.header.chip)
    if len(set(chips)) > 1:
        raise AnalysisError(
            f"the runs are of {len(set(chips))} chips ({', '.join(sorted(set(chips)))}); fit one chip at a time"
        )
    return observe(tables, chip=chips[0], runs=tuple(names))


def _physical(run: RunFile) -> dict[str, npt.NDArray[Any]]:
    """The events, with the chip's own array numbers instead of the run's."""
    events = dict(run.events)
    arrays = run.header.parameters.get("arrays")
    if isinstance(arrays, list) and len(arrays) == run.header.arrays:
        known = events["array"] >= 0
        numbers = events["array"].copy()
        numbers[known] = np.asarray(arrays, numbers.dtype)[events["array"][known]]
        events["array"] = numbers
    return events


def observe(tables: Sequence[Table], *, chip: str = "", runs: tuple[str, ...] = ()) -> Observations:
    """Sort event tables (columns as in `analysis.records.layout.EVENT_COLUMNS`) of one chip, one table a run.

    Raises:
        AnalysisError: no table has a read of a cell.
    """
    parts = [_one_run(table, number) for number, table in enumerate(tables)]
    events = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]} if parts else {}
    if not events or not (events["role"] == _READ).any():
        raise AnalysisError("the runs have no reads of cells: nothing to fit")
    where = np.stack([events["array"], events["row"], events["col"]], axis=1).astype(np.int64)
    cells, index = np.unique(where, axis=0, return_inverse=True)
    index = index.reshape(-1)
    order = np.lexsort((np.arange(len(index)), events["seq"], events["run"], index))
    events = {name: column[order] for name, column in events.items()}
    events["cell"] = index[order]
    steps, unused = _steps(events)
    noise, rests = _series(events)
    return Observations(chip, runs, cells, steps, noise, rests, unused)


_READ, _SET, _RESET, _OTHER = range(4)


def _one_run(table: Table, number: int) -> dict[str, npt.NDArray[Any]]:
    kind, done = np.asarray(table["kind"]), np.asarray(table["outcome"]) == OUTCOME_CODE["done"]
    conductance = np.asarray(table["conductance"], float)
    is_read = (kind == EVENT_CODE["read"]) & (np.abs(table["amplitude"]) <= READ_VOLTS) & np.isfinite(conductance)
    role = np.full(len(kind), _OTHER)
    role[is_read & done] = _READ
    # A sweep is recorded as one event of its polarity, without an energy: it is no pulse.
    pulse = done & np.isfinite(np.asarray(table["energy"], float))
    role[(kind == EVENT_CODE["set"]) & pulse] = _SET
    role[(kind == EVENT_CODE["reset"]) & pulse] = _RESET
    harmless = np.isin(kind, [EVENT_CODE["select"], EVENT_CODE["calibrate"]])
    here = (np.asarray(table["row"]) >= 0) & (np.asarray(table["col"]) >= 0) & ~harmless
    names = ("seq", "array", "row", "col", "amplitude", "gate", "width", "conductance")
    out: dict[str, npt.NDArray[Any]] = {name: np.asarray(table[name])[here] for name in names}
    out["array"] = np.maximum(out["array"], 0)
    start = np.asarray(table["time"], float)[here]
    out["end"] = start + np.nan_to_num(np.asarray(table["duration"], float)[here])
    out["role"] = role[here]
    out["run"] = np.full(len(start), number)
    return out


def _steps(e: dict[str, npt.NDArray[Any]]) -> tuple[Steps, int]:
    role, cell, run = e["role"], e["cell"], e["run"]
    pulse = (role == _SET) | (role == _RESET)
    middle = np.flatnonzero(pulse[1:-1]) + 1
    same = (
        (cell[middle - 1] == cell[middle + 1])
        & (run[middle - 1] == run[middle + 1])
        & (cell[middle] == cell[middle - 1])
    )
    good = middle[same & (role[middle - 1] == _READ) & (role[middle + 1] == _READ)]
    last = _last_pulse(e)
    age_before = e["end"][good - 1] - last[good - 1]
    age_after = e["end"][good + 1] - last[good - 1]
    known = np.isfinite(age_before) & (age_before > 0)
    waning = np.log(np.where(known, age_after, 1.0) / np.where(known, age_before, 1.0))
    steps = Steps(
        cell[good].astype(np.int64), role[good] == _RESET, e["conductance"][good - 1], e["conductance"][good + 1],
        np.abs(e["amplitude"][good]), e["gate"][good], e["width"][good], e["width"][good - 1], e["width"][good + 1],
        np.maximum(e["end"][good + 1] - e["end"][good], 1e-6), np.maximum(waning, 0.0),
    )  # fmt: skip
    return steps, int(pulse.sum() - len(good))


def _last_pulse(e: dict[str, npt.NDArray[Any]]) -> Floats:
    """For each event, when the last pulse on its cell (within its run) ended; -inf where there was none."""
    pulse = (e["role"] == _SET) | (e["role"] == _RESET)
    first = np.r_[True, (np.diff(e["cell"]) != 0) | (np.diff(e["run"]) != 0)]
    marks = np.where(pulse, np.arange(len(pulse)), -1)
    start = np.maximum.accumulate(np.where(first, np.arange(len(pulse)), 0))
    latest = np.maximum.accumulate(marks)
    return np.where(latest >= start, e["end"][np.maximum(latest, 0)], -np.inf)


def _series(e: dict[str, npt.NDArray[Any]]) -> tuple[tuple[Series, ...], tuple[Series, ...]]:
    role, last = e["role"], _last_pulse(e)
    is_read = role == _READ
    borders = np.r_[True, (np.diff(e["cell"]) != 0) | (np.diff(e["run"]) != 0) | ~is_read[1:] | ~is_read[:-1], True]
    edges = np.flatnonzero(borders)
    noise: list[Series] = []
    rests: list[Series] = []
    for a, b in pairwise(edges):
        if b - a < 4 or not is_read[a]:
            continue
        pulsed = a >= 2 and is_read[a - 2] and e["cell"][a - 2] == e["cell"][a] and np.isfinite(last[a])
        move = float(e["conductance"][a] - e["conductance"][a - 2]) if pulsed else float("nan")
        age = e["end"][a:b] - last[a:b]
        whole = Series(int(e["cell"][a]), e["end"][a:b], age, e["width"][a:b], e["conductance"][a:b], move)
        if np.isfinite(move) and age[0] > 0 and age[-1] / age[0] >= RESTS:
            rests.append(whole)
        changes = np.flatnonzero(np.r_[True, np.abs(np.diff(np.log(whole.integration))) > 0.05, True])
        for c, d in pairwise(changes.tolist()):
            # A young series is cut where it begins to be still.
            young = int(np.searchsorted(age, age[d - 1] / STILL)) if np.isfinite(age[d - 1]) else c
            c = max(c, young)
            if d - c >= SERIES:
                part = slice(c, d)
                noise.append(
                    Series(whole.cell, whole.times[part], age[part], whole.integration[part], whole.values[part], move)
                )
    return tuple(noise), tuple(rests)


def exercised(steps: Steps, cells: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], Floats]:
    """Which cells got pulses that move others, which of them never moved, and each cell's mean conductance, S.

    A pulse counts as one that moves if over the chip its like (same kind, height, gate and width, to 50 mV) moved the
    median cell by more than 5 uS. A cell is stuck if three such pulses or more left it where it was.

    Returns:
        (tested, stuck, mean), each of shape (cells,).
    """
    move = np.abs(steps.after - steps.before)
    keys = np.stack(
        [steps.reset, np.round(steps.volts / 0.05), np.round(steps.gate / 0.05), np.round(np.log2(steps.width))]
    )
    _, kind = np.unique(keys, axis=1, return_inverse=True)
    kind = kind.reshape(-1)
    median = np.array([np.median(move[kind == k]) for k in range(int(kind.max()) + 1)]) if len(steps) else np.zeros(0)
    strong = median[kind] > 5e-6 if len(steps) else np.zeros(0, bool)
    count = np.bincount(steps.cell[strong], minlength=cells)
    moved = strong & (move > 2e-6 + 0.05 * steps.before)
    movers = np.bincount(steps.cell[moved], minlength=cells)
    total = np.bincount(steps.cell, steps.after, minlength=cells)
    mean = total / np.maximum(np.bincount(steps.cell, minlength=cells), 1)
    tested = count >= 3
    return tested, tested & (movers == 0), mean
