"""Write-verify algorithms compared on the same simulated chips: what each achieved and what it cost.

A trial is one algorithm on one fresh chip. Cells that can't move are left out everywhere: no algorithm could help them.
Shares are pooled over the chips, with Wilson's 95 % interval; a mean has the normal 95 % interval of its cells.
"""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from analysis.errors import AnalysisError

Z95 = 1.959963984540054
AGES = (0.0, 1.0, 1e3, 1e6)
"""Seconds after the last verify at which true conductances are looked at."""


@dataclass(frozen=True)
class Trial:
    """One algorithm on one chip.

    Attributes:
        preset: device preset of the chip.
        algorithm: name.
        verify: share of the tolerance that verify reads had to lie within.
        seed: of the chip.
        pulses: taken by each cell that can move, those of later passes included, shape (cells,).
        converged: whether it was given the verdict "ok", shape (cells,).
        inside: whether its true conductance lies within its tolerance at `AGES`, shape (4, cells).
        read_inside: whether the lab's own read-back does, shape (cells,).
        reads: reads in all, those before and after programming left out.
        pulse_energy, read_energy: the lab's own estimates, J.
        seconds: of programming on the lab's clock, waits between passes included.
    """

    preset: str
    algorithm: str
    verify: float
    seed: int
    pulses: npt.NDArray[np.int64]
    converged: npt.NDArray[np.bool_]
    inside: npt.NDArray[np.bool_]
    read_inside: npt.NDArray[np.bool_]
    reads: int
    pulse_energy: float
    read_energy: float
    seconds: float


@dataclass(frozen=True)
class Share:
    """A share of cells with its 95 % interval (Wilson)."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, hits: int, total: int) -> "Share":
        """`hits` of `total`; NaN of none."""
        if total <= 0:
            return cls(math.nan, math.nan, math.nan)
        p, z2 = hits / total, Z95**2 / total
        middle = (p + z2 / 2) / (1 + z2)
        half = Z95 / (1 + z2) * math.sqrt(p * (1 - p) / total + z2 / (4 * total))
        # At the ends rounding must not push the interval off its own value.
        return cls(p, min(max(middle - half, 0.0), p), max(min(middle + half, 1.0), p))


@dataclass(frozen=True)
class Line:
    """An algorithm at one verify share on one kind of device, all chips together.

    Attributes:
        preset, algorithm, verify: which.
        chips, cells: how many; cells that can move.
        converged: share with the verdict "ok".
        inside: shares truly inside at `AGES`.
        read_inside: share inside by the lab's own read-back.
        pulses, pulses_error: mean a cell, half width of its 95 % interval.
        pulses_p95: 95th percentile.
        reads: mean a cell.
        pulse_energy, read_energy: J a cell, the lab's own estimates.
        seconds: mean a chip on the lab's clock.
    """

    preset: str
    algorithm: str
    verify: float
    chips: int
    cells: int
    converged: Share
    inside: tuple[Share, ...]
    read_inside: Share
    pulses: float
    pulses_error: float
    pulses_p95: float
    reads: float
    pulse_energy: float
    read_energy: float
    seconds: float

    @classmethod
    def of(cls, trials: Sequence[Trial]) -> "Line":
        """Pool trials of one algorithm, verify share and preset."""
        first, pulses = trials[0], np.concatenate([t.pulses for t in trials])
        n = pulses.size
        inside = np.concatenate([t.inside for t in trials], axis=1)
        return cls(
            first.preset, first.algorithm, first.verify, len(trials), n,
            Share.of(sum(int(t.converged.sum()) for t in trials), n),
            tuple(Share.of(int(row.sum()), n) for row in inside),
            Share.of(sum(int(t.read_inside.sum()) for t in trials), n),
            float(pulses.mean()) if n else math.nan,
            float(Z95 * pulses.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan,
            float(np.percentile(pulses, 95)) if n else math.nan,
            sum(t.reads for t in trials) / max(n, 1), sum(t.pulse_energy for t in trials) / max(n, 1),
            sum(t.read_energy for t in trials) / max(n, 1), sum(t.seconds for t in trials) / len(trials),
        )  # fmt: skip


@dataclass(frozen=True)
class Table:
    """The comparison.

    Attributes:
        tolerance: half width of the window, S.
        levels: distinct targets, drawn evenly.
        lines: in the order of the trials.
    """

    tolerance: float
    levels: int
    lines: tuple[Line, ...]

    @classmethod
    def of(cls, trials: Sequence[Trial], tolerance: float, levels: int) -> "Table":
        """Pool trials by preset, algorithm and verify share."""
        groups: dict[tuple[str, str, float], list[Trial]] = {}
        for trial in trials:
            groups.setdefault((trial.preset, trial.algorithm, trial.verify), []).append(trial)
        return cls(tolerance, levels, tuple(Line.of(group) for group in groups.values()))

    def cells(self) -> list[list[str]]:
        """The table for people, its heading first."""
        heading = [
            "device", "algorithm", "verify", "converged %", "inside % at end", "1 s", "1e3 s", "1e6 s", "read back %",
            "pulses mean", "p95", "reads", "pulses pJ", "reads nJ", "lab time s",
        ]  # fmt: skip
        rows = [
            [
                line.preset, line.algorithm, f"{line.verify:g}", _percent(line.converged),
                *(_percent(share) for share in line.inside), _percent(line.read_inside),
                f"{line.pulses:.2f} ±{line.pulses_error:.2f}", f"{line.pulses_p95:.0f}", f"{line.reads:.1f}",
                f"{line.pulse_energy * 1e12:.0f}", f"{line.read_energy * 1e9:.0f}", f"{line.seconds:.0f}",
            ]
            for line in self.lines
        ]  # fmt: skip
        return [heading, *rows]

    def text(self) -> str:
        """The table in columns, and what the first algorithm saves at equal yield."""
        rows = self.cells()
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = ["  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, *self.savings()])

    def savings(self) -> list[str]:
        """How many times the pulses of the first algorithm each other one takes for the same yield at 1e3 s."""
        said = []
        for preset in dict.fromkeys(line.preset for line in self.lines):
            lines = [line for line in self.lines if line.preset == preset]
            best = [line for line in lines if line.algorithm == lines[0].algorithm]
            for other in dict.fromkeys(line.algorithm for line in lines if line.algorithm != lines[0].algorithm):
                ratio, share, equal = equal_yield(best, [line for line in lines if line.algorithm == other])
                how = f"at equal yield ({share:.2%} at 1e3 s)" if equal else f"and reaches {share:.2%} at 1e3 s at most"
                said.append(f"{preset}: {other} takes {ratio:.2f} x the pulses of {lines[0].algorithm} {how}")
        return said

    def to_json(self) -> str:
        """All of it, for programs."""
        return json.dumps({"ages": AGES, **asdict(self)}, indent=1)

    def to_csv(self) -> str:
        """The table as CSV."""
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows(self.cells())
        return out.getvalue()


def equal_yield(ours: Sequence[Line], theirs: Sequence[Line]) -> tuple[float, float, bool]:
    """Pulses of one algorithm over those of another where both have the same share inside at 1e3 s.

    Each algorithm's lines (verify shares) are its trade-off between pulses and yield, straight between neighbours. They
    are compared at the highest yield that both reach. An algorithm that never comes down to it is taken at its lowest
    yield, where it is cheapest.

    Returns:
        Ratio of the pulses (theirs over ours), the yield compared at, and whether both have it; if not, `theirs` at its
        highest yield is compared with `ours` at its lowest.

    Raises:
        AnalysisError: one of them has no lines.
    """
    if not ours or not theirs:
        raise AnalysisError("a comparison at equal yield needs lines of both algorithms")
    a, b = (sorted((line.inside[2].value, line.pulses) for line in lines) for lines in (ours, theirs))
    share = min(a[-1][0], b[-1][0])
    equal = share >= max(a[0][0], b[0][0]) - _ALIKE
    return _pulses_at(b, share) / _pulses_at(a, share), share, equal


_ALIKE = 0.005
"""Yields this close are called equal."""


def _pulses_at(points: list[tuple[float, float]], share: float) -> float:
    return float(np.interp(share, [p[0] for p in points], [p[1] for p in points]))


def _percent(share: Share) -> str:
    return f"{100 * share.value:.2f} [{100 * share.low:.1f}, {100 * share.high:.1f}]"
