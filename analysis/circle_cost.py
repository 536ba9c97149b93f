"""What a circle run cost, and what its samples would cost elsewhere, from the run file alone."""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from analysis.baseline import Baseline
from analysis.cost import Comparison, Entry, ProgrammingCost, board_sample, compare, programming_cost
from analysis.diffusion.hardware import AnalogNetwork
from analysis.errors import AnalysisError
from analysis.projection import Integrated, Projection, noise_gain_of, project
from analysis.records import RunFile


class Solved(Protocol):
    """What a summary of solutions knows, whatever was solved."""

    @property
    def array_power(self) -> float:
        """W in the arrays during a solution; NaN: not known."""
        ...

    @property
    def run_seconds(self) -> float:
        """One solution on the board, s."""
        ...

    @property
    def sample_seconds(self) -> float:
        """One solution with set-up and capture, s."""
        ...

    @property
    def true_array_energy(self) -> float | None:
        """J of a solution in the arrays; known to the twin only, else None."""
        ...


@dataclass(frozen=True)
class CircleCost:
    """Cost of a run that solved the loop's equation.

    Attributes:
        programming: of the arrays.
        board: a sample on the board as run.
        projections: of an integrated design, as assumed and with amplifiers powered for their bandwidth.
        baseline: digital, on the computer that made the run; None if it was not measured.
        comparison: ours against it, None without it.
    """

    programming: ProgrammingCost
    board: Entry
    projections: tuple[Projection, ...]
    baseline: Baseline | None
    comparison: Comparison | None


def circle_cost(run: RunFile, summary: Solved) -> CircleCost:
    """Put the costs of a run together that solved the loop's equation."""
    power = summary.array_power if np.isfinite(summary.array_power) else 1e-3
    setup = summary.sample_seconds - summary.run_seconds
    board = board_sample(summary.run_seconds, setup, power, how="simulated" if run.world == "simulated" else "measured")
    design = Integrated(array_power=power, noise_gain=_noise_gain(run))
    projections = (project(design), project(_for_bandwidth(design)))
    baseline = None
    if "baseline" in run.names("data"):
        baseline = Baseline.from_bytes(run.data("baseline"))
    comparison = None
    if baseline is not None:
        try:
            comparison = compare([board, *(p.entry for p in projections)], baseline.entries())
        except AnalysisError:
            comparison = None  # no digital sampler reached the quality, or none was timed
    return CircleCost(_programming(run), board, projections, baseline, comparison)


def _programming(run: RunFile) -> ProgrammingCost:
    """Without the solutions, which are events of the same run."""
    cost = programming_cost(run)
    return ProgrammingCost(tuple(row for row in cost.by_kind if row[0] != "compute"), cost.span)


def _for_bandwidth(design: Integrated) -> Integrated:
    return replace(design, amplifiers_for_bandwidth=True)


def _noise_gain(run: RunFile) -> float:
    names = run.names("data")
    if "network/gains" not in names:
        return Integrated.noise_gain
    g = run.map("conductance_after")
    parts = tuple(
        g[layer][np.ix_(run.data(f"network/rows_{layer + 1}"), run.data(f"network/columns_{layer + 1}"))]
        for layer in range(3)
    )
    return noise_gain_of(AnalogNetwork(parts, tuple(float(v) for v in run.data("network/gains"))))
