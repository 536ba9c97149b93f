"""A run's numbers beside the publication's, where it has any; what is the paper's is marked as such."""

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.characterisation import paper
from analysis.cost import si
from analysis.page import Rows, grid, paragraph
from analysis.records import RunFile
from analysis.reporting.costs import micro
from analysis.reporting.solved import Solution

_ARRAY = "paper, Fig. 2f: a 32x32 array shows a moon and a star; no yield is stated"

_MOST = 4
"""Rows alike, such as of cells, that the table takes; the outcome has them all."""


@dataclass(frozen=True)
class Beside:
    """A quantity: this run's value, and what the publication says."""

    quantity: str
    ours: str
    paper: str


_SAID: dict[str, tuple[tuple[str, str], ...]] = {
    "program": (("inside the window", _ARRAY), ("error", "paper, Fig. 2g: Gaussian relative errors")),
    "iv": (("cycles", f"paper, Fig. 2c: {paper.CYCLES} cycles"), ("cell", paper.IV)),
    "levels": (("levels", paper.LEVELS), ("cell", paper.LEVELS)),
    "retention": (("watched", "paper, Fig. 2e: retention of several states"), ("drift", paper.RETENTION)),
    "array-errors": (("after", paper.ERRORS), ("spread", paper.ERRORS)),
}
"""By procedure: the beginning of a row's name in its outcome, and the publication's word on it."""


def beside_rows(run: RunFile, outcome: Rows, solution: Solution | None) -> list[Beside]:
    """What can be laid beside the publication; empty where it says nothing."""
    if solution is not None:
        return _solved(solution)
    found = []
    for start, said in _SAID.get(run.header.procedure, ()):
        rows = [Beside(name, value, said) for name, value in outcome if name.startswith(start)]
        found += rows[:_MOST]
    return found


def _solved(s: Solution) -> list[Beside]:
    """A sample's time and energy as projected and as run, and against the digital baseline, one by one and batched."""
    c, claims = s.cost, s.claims
    projected = c.projections[0].entry
    board = micro(si(c.board.seconds, "s"))
    rows = [
        Beside(
            "time a sample", f"{micro(si(projected.seconds, 's'))} projected; {board} on the board as run",
            _claimed([(k.source, k.seconds and micro(si(k.seconds, "s"))) for k in claims]),
        ),
        Beside(
            "energy a sample", f"{micro(si(projected.energies[0].joules, 'J'))} projected",
            _claimed([(k.source, k.joules and micro(si(k.joules, "J"))) for k in claims]),
        ),
    ]  # fmt: skip
    ratios = [] if c.comparison is None else [r for r in c.comparison.ratios if r.ours == projected.name]
    batches = {} if c.comparison is None else {b.name: b.batch for b in c.comparison.baselines}
    alone = min((r for r in ratios if batches[r.baseline] == 1), key=lambda r: r.speed, default=None)
    batched = min((r for r in ratios if batches[r.baseline] > 1), key=lambda r: r.speed, default=None)
    speeds, savings = [], []
    for r, how in ((alone, "one sample at a time"), (batched, "in batches")):
        if r is not None:
            speeds.append(f"projection {_times(r.speed, 'faster', 'slower')} than {r.baseline}, {how}")
            savings += [
                f"projection {_times(ratio, 'less', 'more')} than {label}, {how}" for label, ratio in r.energies
            ]
    none = "no digital baseline of equal quality was measured"
    rows += [
        Beside("speed against digital", "\n".join(speeds) or none,
               _claimed([(k.source, f"{k.speedup:g} times faster") for k in claims])),
        Beside("energy against digital", "\n".join(savings) or none,
               _claimed([(k.source, f"{k.saving:.1%} less: {1 / (1 - k.saving):.2g} times") for k in claims])),
    ]  # fmt: skip
    return rows


def _times(ratio: float, better: str, worse: str) -> str:
    return f"{ratio:.3g} times {better}" if ratio >= 1 else f"{1 / ratio:.3g} times {worse}"


def _claimed(said: Sequence[tuple[str, str | float | None]]) -> str:
    known = [f"{source}: {value}" for source, value in said if value]
    return f"paper, {'; '.join(known)}" if known else "the paper does not say"


def beside_parts(rows: Sequence[Beside]) -> tuple[str, ...]:
    """The table."""
    if not rows:
        return (paragraph("The paper states no number for what this run measured.", "paper"),)
    return (
        grid(("quantity", "this run", "the paper"), [(row.quantity, row.ours, row.paper) for row in rows]),
        paragraph("The last column is the publication's, for comparison; nothing in this report is computed from it.",
                  "paper"),
    )  # fmt: skip
