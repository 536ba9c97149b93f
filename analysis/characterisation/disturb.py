"""Disturb: the shift of neighbours that share a line with a pulsed cell, net of what cells that share none show."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.characterisation.common import Estimate, Floats, kept_by_cell, mean_of, require
from analysis.errors import AnalysisError
from analysis.records import RunFile

GROUPS = ("same row", "same column", "neither")
SURE = 3.0
"""Standard errors from which a shift is called an effect."""
OUTLIER = 10e-6
"""S; neighbours that start further than this from their level could not be programmed and are left out."""


@dataclass(frozen=True)
class Test:
    """One test of one group of neighbours.

    Attributes:
        kind: "reset", "set" or "read".
        group: of `GROUPS`; of reads: "the cell read".
        counts: pulses or reads at each look; mean, error: shift since the first look and its standard error, S.
        count: the last of them.
        shift: at the end, net of the group that shares nothing, S; of that group itself and of reads: as it is.
        per_pulse: the same over the count, S.
        significant: whether it is `SURE` standard errors from zero.
    """

    kind: str
    group: str
    counts: Floats
    mean: Floats
    error: Floats
    count: int
    shift: Estimate
    per_pulse: Estimate
    significant: bool


@dataclass(frozen=True)
class Disturb:
    """A disturb run: its tests."""

    tests: tuple[Test, ...]


def summarise_disturb(run: RunFile) -> Disturb:
    """Summarise a disturb run, also one that was interrupted.

    Raises:
        AnalysisError: it is of another procedure, or no test was finished.
    """
    require(run, "disturb")
    level = float(run.header.parameters["level"])
    around = {tuple(n["aggressor"]): [int(g) for g, _ in n["victims"]] for n in run.header.parameters["cells"]}
    kept = kept_by_cell(run, "disturb")
    tests: list[Test] = []
    for kind in ("reset", "set"):
        tables = [(np.array(around[place]), run.data(names[kind])) for place, names in kept.items() if kind in names]
        if tables:
            tests += _pulse_tests(kind, tables, level)
    reads = [run.data(names["read"]) for names in kept.values() if "read" in names]
    if reads:
        shifts = np.stack([table[:, 1] - table[0, 1] for table in reads])
        tests.append(_test("read", "the cell read", reads[0][:, 0], shifts, None))
    if not tests:
        raise AnalysisError(f"run {run.header.run_id} ended before its first test was finished")
    return Disturb(tuple(tests))


def _pulse_tests(kind: str, tables: list[tuple[npt.NDArray[np.int64], Floats]], level: float) -> list[Test]:
    counts = tables[0][1][:, 0]
    shifts: dict[int, Floats] = {}
    for k in range(len(GROUPS)):
        chosen = [
            column - column[0]
            for groups, table in tables
            for group, column in zip(groups, table[:, 1:].T, strict=True)
            if group == k and abs(column[0] - level) < OUTLIER
        ]
        shifts[k] = np.array(chosen).reshape(len(chosen), len(counts))
    control = shifts[2]
    return [_test(kind, GROUPS[k], counts, shifts[k], None if k == 2 else control) for k in shifts if len(shifts[k])]


def _test(kind: str, group: str, counts: Floats, shifts: Floats, control: Floats | None) -> Test:
    ends = [mean_of(column) for column in shifts.T]
    shift = ends[-1]
    if control is not None and len(control):
        other = mean_of(control[:, -1])
        shift = Estimate(shift.value - other.value, float(np.hypot(shift.error, other.error)), shift.count)
    count = int(counts[-1])
    return Test(
        kind=kind, group=group, counts=counts, mean=np.array([e.value for e in ends]),
        error=np.array([e.error for e in ends]), count=count, shift=shift,
        per_pulse=Estimate(shift.value / count, shift.error / count, shift.count),
        significant=bool(abs(shift.value) > SURE * shift.error),
    )  # fmt: skip
