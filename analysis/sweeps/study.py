"""A study as one file declares it: axes, what is fixed, metrics, seeds, precision, budget.

    name: write-and-read
    title: Quality against write and read noise
    model: hardware               # a recipe, trained once and kept, or a model's file
    measure: samples              # what a point is; samples of the network where nothing is said
    metrics: [kl_2d, kl_authors]  # the first one decides when there are seeds enough
    seed: 1
    trajectories: 5000
    fixed: {method: ode, relative_to: memory}
    axes:
      write_noise: [0, 0.01, 0.02, 0.05]
      read_noise: [0, 0.05]
    seeds: {least: 4, most: 32}
    until: {relative: 0.1}
    budget: 1.0e+10
    figure: grid                  # how it is drawn; lines where nothing is said
    about: What is asked, in a sentence or two.
    paper: What a publication says of it, beside which the result is shown.

Every point of the grid is measured for `least` seeds, then for more until the 95 % interval of the mean is narrow
enough (`relative` to the mean, or `absolute`), `most` at the most. `budget` bounds the whole study in steps of
trajectories: `most` is lowered until all points fit, so that the bound does not depend on the order of the work.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis.errors import AnalysisError
from analysis.sweeps import models
from analysis.sweeps.declared import read_declared
from analysis.sweeps.measurement import Measurement, Output, Setting, StudyError, Value
from analysis.sweeps.models import Network
from analysis.sweeps.quality import Samples
from analysis.sweeps.shapes import check_figure

# Raise this when a point's meaning changes, so that no folder keeps what older code measured.
_VERSION = 2

MEASUREMENTS: dict[str, Measurement] = {"samples": Samples()}
"""What needs no station."""


@dataclass(frozen=True)
class Study:
    """A declared grid. `axes` in the file's order: the dimensions of the result."""

    name: str
    measurement: Measurement
    metrics: tuple[str, ...]
    axes: dict[str, tuple[Value, ...]]
    fixed: Setting = field(default_factory=dict)
    network: Network | None = None
    seed: int = 0
    trajectories: int = 5000
    least: int = 4
    most: int = 4
    relative: float = 0.0
    absolute: float = 0.0
    title: str = ""
    about: str = ""
    paper: str = ""
    figure: str = "lines"

    @property
    def metric(self) -> str:
        """The metric that decides when there are seeds enough."""
        return self.metrics[0]

    @property
    def outputs(self) -> dict[str, Output]:
        """What each of `metrics` is."""
        return {name: self.measurement.outputs[name] for name in self.metrics}

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return tuple(len(values) for values in self.axes.values())

    @property
    def points(self) -> list[Setting]:
        """Settings of all points, the last axis fastest."""
        return [
            {**self.measurement.defaults, **self.fixed, **dict(zip(self.axes, values, strict=True))}
            for values in itertools.product(*self.axes.values())
        ]

    def cost(self, setting: Setting) -> float:
        """Steps of trajectories that one seed of a point takes."""
        return self.measurement.cost(setting, self.trajectories)

    def key(self, setting: Setting) -> str:
        """Name of a point, from all that decides its numbers: a larger grid finds the points of a smaller one."""
        said = [
            _VERSION, self.measurement.name, self.network.digest if self.network else "", self.metrics, self.seed,
            self.trajectories, self.least, self.most, self.relative, self.absolute, sorted(setting.items()),
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:24]

    def rng(self, setting: Setting, replicate: int) -> np.random.Generator:
        """Return the generator of one seed at one point: it depends on neither order nor number of points."""
        words = [int(self.key(setting)[i : i + 8], 16) for i in (0, 8, 16)]
        return np.random.default_rng([self.seed, replicate, *words])


def load_study(
    path: Path,
    *,
    measurements: Mapping[str, Measurement] = MEASUREMENTS,
    cache: Path | None = None,
    model: str = "",
    told: Callable[[str], object] = lambda text: None,
) -> Study:
    """Read and check a study file, then find its network; raise StudyError with what is wrong and what is allowed.

    Args:
        path: the file.
        measurements: what a point may be.
        cache: folder of trained networks.
        model: network instead of the file's own.
        told: called with a line before a network is trained.
    """
    said = read_declared(path)
    # A network that the command line names lies relative to where the command is given.
    folder = Path() if model else path.parent
    try:
        return study_of(
            {**said, "model": model} if model else said, folder, measurements=measurements, cache=cache, told=told
        )
    except StudyError as error:
        raise StudyError(f"{path}: {error}") from error


MOST_ROWS = 1_000_000
"""Points times seeds of a study; what it finds has to be in memory at its end."""
_TEXTS = ("name", "title", "about", "paper", "figure", "measure", "model")
_KEYS = {*_TEXTS, "metrics", "seed", "trajectories", "fixed", "axes", "seeds", "until", "budget"}


def study_of(
    said: Mapping[str, Any],
    folder: Path,
    *,
    measurements: Mapping[str, Measurement] = MEASUREMENTS,
    cache: Path | None = None,
    told: Callable[[str], object] = lambda text: None,
) -> Study:
    """Return the study that a parsed file declares; the path of a model's file is relative to `folder`."""
    _known(said, _KEYS)
    missing = [key for key in ("name", "metrics", "axes") if key not in said]
    if missing:
        raise StudyError(f"entry {missing[0]!r} is missing")
    texts = {key: " ".join(str(said[key]).split()) for key in _TEXTS if key in said}
    asked = texts.get("measure", "samples")
    if asked not in measurements:
        raise StudyError(f"unknown measure {asked!r}; choose from {', '.join(measurements)}")
    measurement = measurements[asked]
    model = texts.get("model", "")
    if model:
        models.check_name(model, folder)
    elif measurement.needs_network:
        raise StudyError("entry 'model' is missing: " + asked + " need a network")
    metrics = said["metrics"]
    if not isinstance(metrics, list) or not metrics or len(set(map(str, metrics))) < len(metrics):
        raise StudyError("metrics are a list of different names, the one that decides first")
    for name in metrics:
        if name not in measurement.outputs:
            raise StudyError(f"unknown metric {name!r}; choose from {', '.join(measurement.outputs)}")
    axes, fixed = _table(said, "axes"), _table(said, "fixed")
    if not axes or not all(isinstance(v, list) and v for v in axes.values()):
        raise StudyError("axes are names, each with a list of at least one value")
    twice = sorted(set(axes) & set(fixed))
    if twice:
        raise StudyError(f"{twice[0]!r} is an axis and fixed too")
    for name, values in axes.items():
        if len({repr(v) for v in values}) < len(values):
            raise StudyError(f"axis {name!r} has a value twice")
    check_figure(texts.get("figure", "lines"), asked, list(axes), metrics)
    seeds, until = _table(said, "seeds"), _table(said, "until")
    _known(seeds, {"least", "most"})
    _known(until, {"relative", "absolute"})
    if until and measurement.outputs[metrics[0]].along:
        raise StudyError(f"until needs a first metric that is one number; {metrics[0]!r} is a series")
    least = _whole(seeds, "least", 4, 2 if until else 1)
    study = Study(
        name=texts["name"],
        title=texts.get("title", ""),
        about=texts.get("about", ""),
        paper=texts.get("paper", ""),
        figure=texts.get("figure", "lines"),
        measurement=measurement,
        metrics=tuple(metrics),
        axes={str(name): tuple(values) for name, values in axes.items()},
        fixed=fixed,
        seed=_whole(said, "seed", 0, 0),
        trajectories=_whole(said, "trajectories", 5000, 1),
        least=least,
        most=_whole(seeds, "most", least, least),
        relative=_number(until, "relative"),
        absolute=_number(until, "absolute"),
    )
    most = math.prod(study.shape) * study.most
    if most > MOST_ROWS:
        raise StudyError(
            f"{math.prod(study.shape)} points of up to {study.most} seeds are more than {MOST_ROWS} measurements: "
            "take fewer values, fewer seeds, or several studies"
        )
    for setting in study.points:
        try:
            measurement.check(setting)
        except AnalysisError as error:
            raise StudyError(str(error)) from error
    study = study if "budget" not in said else _within(study, _number(said, "budget"))
    return replace(study, network=models.find(model, folder, cache, told)) if model else study


def _within(study: Study, budget: float) -> Study:
    once = sum(study.cost(setting) for setting in study.points)
    most = min(study.most, math.floor(budget / once))
    if most < study.least:
        raise StudyError(
            f"{len(study.points)} points of {study.least} seeds take {once * study.least:.3g} steps of trajectories, "
            f"the budget is {budget:.3g}: raise it, or take fewer points, seeds or trajectories"
        )
    return replace(study, most=most)


def _known(table: Mapping[str, Any], names: set[str]) -> None:
    odd = sorted(str(name) for name in set(table) - names)
    if odd:
        raise StudyError(f"unknown entry {odd[0]!r}; there are {', '.join(sorted(names))}")


def _table(said: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = said.get(name) or {}
    if not isinstance(found, dict):
        raise StudyError(f"{name!r} is a table of names and values, not {found!r}")
    return found


def _number(said: Mapping[str, Any], name: str) -> float:
    value = said.get(name, 0.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value < math.inf:
        raise StudyError(f"{name} is a number of at least 0, not {value!r}")
    return float(value)


def _whole(said: Mapping[str, Any], name: str, default: int, least: int) -> int:
    value = said.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise StudyError(f"{name} is a whole number of at least {least}, not {value!r}")
    return int(value)
