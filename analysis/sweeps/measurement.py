"""What a point of a study may be: settings with defaults in, one row of numbers a seed out.

A measurement says which settings it knows, what it can put out, and measures one seed. It holds no state, so that a
point is the same wherever it is measured. `analysis.sweeps.quality` has the samples of a network; measurements that
need a station are the workflows' and are handed in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from analysis.diffusion.model import TrainedModel
from analysis.errors import AnalysisError

Array = npt.NDArray[np.float64]
Value = float | int | str | bool
Setting = dict[str, Value]


class StudyError(AnalysisError):
    """A study file does not say what a study needs, or a study's folder does not hold one."""


@dataclass(frozen=True)
class Output:
    """Something that a seed gives: a number, or a series along a dimension of its own.

    Attributes:
        title: what it is, for people.
        unit: SI, "" for a pure number.
        along: name of the series' dimension; "" for a single number.
        points: coordinates along it.
    """

    title: str
    unit: str = ""
    along: str = ""
    points: tuple[float, ...] = ()

    @property
    def width(self) -> int:
        """How many numbers."""
        return len(self.points) if self.along else 1


class Measurement(Protocol):
    """What a point measures."""

    @property
    def name(self) -> str:
        """What a study file calls it."""
        ...

    @property
    def defaults(self) -> Mapping[str, Value]:
        """Every setting there is, with what it is where a study is silent."""
        ...

    @property
    def outputs(self) -> Mapping[str, Output]:
        """Everything that may be asked for."""
        ...

    @property
    def needs_network(self) -> bool:
        """Whether a study must name a network."""
        ...

    def check(self, setting: Mapping[str, Value]) -> None:
        """Raise AnalysisError unless every entry is known and in its range."""
        ...

    def cost(self, setting: Mapping[str, Value], trajectories: int) -> float:
        """Steps of trajectories that one seed takes, or as many as take the same time."""
        ...

    def measure(
        self,
        network: TrainedModel | None,
        wanted: Sequence[str],
        setting: Mapping[str, Value],
        trajectories: int,
        rng: np.random.Generator,
    ) -> dict[str, float | Array]:
        """Return the outputs `wanted` of one seed: numbers, and series (width,) of float64."""
        ...


def number(setting: Mapping[str, Value], name: str) -> float:
    """Return a setting that is a number."""
    return float(setting[name])


def known(setting: Mapping[str, Value], defaults: Mapping[str, Value]) -> None:
    """Raise AnalysisError if a setting has an entry that nobody knows."""
    odd = [name for name in setting if name not in defaults]
    if odd:
        raise AnalysisError(f"nothing is called {odd[0]!r}; there are {', '.join(defaults)}")


def is_number(value: object, low: float, high: float) -> bool:
    """Whether a value is a finite number within bounds, and no truth value."""
    return not isinstance(value, bool) and isinstance(value, int | float) and low <= value <= high
