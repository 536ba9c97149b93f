"""What a run that solved the loop's equation has to report: quality, figures and costs, each computed once.

Judging samples and decoding letters takes seconds; a report needs it in its outcome, its figures, its cost tables and
its comparison with other runs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.circle import CircleSummary, summarise_circle
from analysis.circle_cost import CircleCost, circle_cost
from analysis.claims import CLAIMS, Claim
from analysis.cost import si
from analysis.errors import AnalysisError
from analysis.figures.circle import draw_circle
from analysis.figures.cost import draw_cost
from analysis.figures.programming import draw, label
from analysis.letters import report as letters
from analysis.letters.summary import LettersSummary, has_letters, summarise_letters
from analysis.metrics import Metric
from analysis.page import Rows
from analysis.records import Measure, RunFile
from analysis.report import quality_rows

_DIGITAL = ("digital, torch", "digital, numpy")
"""Rows of the closing table that the cost table has in full."""


@dataclass(frozen=True)
class Solution:
    """A run with solutions, judged.

    Attributes:
        headline: what was achieved, in one or two sentences.
        outcome: the rows of its quality.
        measures: numbers with 95 % intervals, by name.
        cost: of programming and of a sample.
        claims: the paper's, for the same task.
        letter: rows of a whole letter's cost; empty of a circle.
    """

    headline: str
    outcome: Rows
    measures: Mapping[str, Measure]
    cost: CircleCost
    claims: tuple[Claim, ...]
    letter: Rows
    _summary: CircleSummary | LettersSummary

    def draw(self, run: RunFile, folder: Path) -> list[Path]:
        """Draw the figures into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(self._summary, CircleSummary):
            made = [*draw_circle(run, self._summary, folder), *draw(run, folder)]
        else:
            made = letters.draw_letters(run, self._summary, folder)
        if self.cost.comparison is not None:
            made.append(draw_cost(self.cost.comparison, folder, label=label(run), projections=self.cost.projections))
        return made


def solved(run: RunFile) -> Solution | None:
    """Judge a circle or a letters run; None if it ended before it had solutions, or is of another kind."""
    if run.header.procedure == "generate":
        return _letters(run) if has_letters(run) else None
    try:
        return _circle(run)
    except AnalysisError:  # asking first whether it has samples would read every capture once more
        return None


def _circle(run: RunFile) -> Solution:
    summary = summarise_circle(run)
    cost = circle_cost(run, summary)
    q = summary.calibrated
    kl, radius = q.metrics["kl_2d"], q.metrics["radius_mean"]
    said = (
        f"{q.samples} solutions of {summary.run_seconds:g} s draw a circle of mean radius {radius.value:.3f} "
        f"(95 %: {radius.low:.3f} to {radius.high:.3f}; the true circle has 0.7), KL2 {kl.value:.3f} "
        f"(95 %: {kl.low:.3f} to {kl.high:.3f}; as many points of the true circle give {kl.floor:.3f})."
    )
    measures = {name: _measure(m) for name, m in q.metrics.items()}
    return Solution(f"{said} {_cost_said(cost)}", quality_rows(summary), measures, cost, _claims("circle"), [], summary)


def _letters(run: RunFile) -> Solution:
    summary = summarise_letters(run)
    cost = circle_cost(run, summary)
    count = sum(q.samples for q in summary.classes)
    said = (
        f"{summary.accuracy:.1%} of {count} letters are read as what they should be, by a classifier trained on "
        f"{summary.judge}; the network was trained on {summary.source}."
    )
    measures = {f"kl_{q.name.lower()}": _measure(q.kl) for q in summary.classes}
    measures |= {f"read_{q.name.lower()}": Measure(q.accuracy) for q in summary.classes}
    measures["read"] = Measure(summary.accuracy)
    return Solution(
        f"{said} {_cost_said(cost)}", letters.quality_rows(summary), measures, cost, _claims("letters"),
        letters.letter_cost_rows(run, summary, cost), summary,
    )  # fmt: skip


def _claims(task: str) -> tuple[Claim, ...]:
    return tuple(claim for claim in CLAIMS if claim.task == task)


def _measure(m: Metric) -> Measure:
    return Measure(m.value, m.low, m.high)


def _cost_said(cost: CircleCost) -> str:
    projected = cost.projections[0].entry
    board, joules = si(cost.board.seconds, "s"), si(projected.energies[0].joules, "J")
    said = (
        f"A sample took {board} on the board ({cost.board.how}); an integrated design is projected, not shown, to need "
        f"{si(projected.seconds, 's')} and {joules}."
    )
    return said.replace(" u", " µ")


def shortened(rows: Sequence[tuple[str, str]]) -> Rows:
    """Rows without the digital ones that only the cost table needs."""
    return [row for row in rows if not row[0].startswith(_DIGITAL)]
