"""A study as one file declares it: axes, what is fixed, metric, seeds, precision, budget.

    name: write-and-read
    model: networks/hardware-0.npz
    metric: kl_2d
    seed: 1
    trajectories: 5000
    fixed: {method: ode}
    axes:
      write_memory: [0, 0.01, 0.02, 0.05]
      read_weight: [0, 0.05]
    seeds: {least: 4, most: 32}
    until: {relative: 0.1}
    budget: 1.0e+10

Every point of the grid is measured for `least` seeds, then for more until the 95 % interval of the mean is narrow
enough (`relative` to the mean, or `absolute`), `most` at the most. `budget` bounds the whole study in steps of
trajectories: `most` is lowered until all points fit, so that the bound does not depend on the order of the work.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from analysis.errors import AnalysisError
from analysis.sweeps.quality import DEFAULTS, METRICS, check_setting, cost

Value = float | int | str | bool
Setting = dict[str, Value]

# Raise this when a point's meaning changes, so that no folder keeps what older code measured.
_VERSION = 1


class StudyError(AnalysisError):
    """A study file does not say what a study needs."""


@dataclass(frozen=True)
class Study:
    """A declared grid. `axes` in the file's order: the dimensions of the result."""

    name: str
    model: Path
    metric: str
    axes: dict[str, tuple[Value, ...]]
    fixed: Setting = field(default_factory=dict)
    seed: int = 0
    trajectories: int = 5000
    least: int = 4
    most: int = 4
    relative: float = 0.0
    absolute: float = 0.0
    model_digest: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return tuple(len(values) for values in self.axes.values())

    @property
    def points(self) -> list[Setting]:
        """Settings of all points, the last axis fastest."""
        return [
            {**DEFAULTS, **self.fixed, **dict(zip(self.axes, values, strict=True))}
            for values in itertools.product(*self.axes.values())
        ]

    def key(self, setting: Setting) -> str:
        """Name of a point, from all that decides its numbers: a larger grid finds the points of a smaller one."""
        said = [
            _VERSION, self.model_digest, self.metric, self.seed, self.trajectories, self.least, self.most,
            self.relative, self.absolute, sorted(setting.items()),
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:24]

    def rng(self, setting: Setting, replicate: int) -> np.random.Generator:
        """Return the generator of one seed at one point: it depends on neither order nor number of points."""
        words = [int(self.key(setting)[i : i + 8], 16) for i in (0, 8, 16)]
        return np.random.default_rng([self.seed, replicate, *words])


def load_study(path: Path) -> Study:
    """Read and check a study file; raise StudyError with what is wrong, where, and what is allowed."""
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StudyError(f"{path}: cannot be read as a study: {error}") from error
    if not isinstance(said, dict):
        raise StudyError(f"{path}: a study is a table of name, model, metric, axes and more")
    try:
        return study_of(said, path.parent)
    except StudyError as error:
        raise StudyError(f"{path}: {error}") from error


_KEYS = {"name", "model", "metric", "seed", "trajectories", "fixed", "axes", "seeds", "until", "budget"}


def study_of(said: Mapping[str, Any], folder: Path) -> Study:
    """Return the study that a parsed file declares; the model's path is relative to `folder`."""
    unknown = sorted(str(key) for key in set(said) - _KEYS)
    if unknown:
        raise StudyError(f"unknown entry {unknown[0]!r}; there are {', '.join(sorted(_KEYS))}")
    missing = [key for key in ("name", "model", "metric", "axes") if key not in said]
    if missing:
        raise StudyError(f"entry {missing[0]!r} is missing")
    model = (folder / str(said["model"])).expanduser()
    if not model.is_file():
        raise StudyError(f"model {model} is not there; train one or name its file")
    if said["metric"] not in METRICS:
        raise StudyError(f"unknown metric {said['metric']!r}; choose from {', '.join(METRICS)}")
    axes, fixed = _table(said, "axes"), _table(said, "fixed")
    if not axes or not all(isinstance(v, list) and v for v in axes.values()):
        raise StudyError("axes are names, each with a list of at least one value")
    twice = sorted(set(axes) & set(fixed))
    if twice:
        raise StudyError(f"{twice[0]!r} is an axis and fixed too")
    for name, values in axes.items():
        if len({repr(v) for v in values}) < len(values):
            raise StudyError(f"axis {name!r} has a value twice")
    seeds, until = _table(said, "seeds"), _table(said, "until")
    least = _whole(seeds, "least", 4, 2 if until else 1)
    most = _whole(seeds, "most", least, least)
    for table, known in ((seeds, {"least", "most"}), (until, {"relative", "absolute"})):
        odd = sorted(set(table) - known)
        if odd:
            raise StudyError(f"unknown entry {odd[0]!r}; there are {', '.join(sorted(known))}")
    precision = {name: _number(until, name) for name in ("relative", "absolute")}
    study = Study(
        name=str(said["name"]),
        model=model,
        metric=str(said["metric"]),
        axes={str(name): tuple(values) for name, values in axes.items()},
        fixed=fixed,
        seed=_whole(said, "seed", 0, 0),
        trajectories=_whole(said, "trajectories", 5000, 1),
        least=least,
        most=most,
        model_digest=hashlib.sha256(model.read_bytes()).hexdigest(),
        **precision,
    )
    for setting in study.points:
        try:
            check_setting(setting)
        except AnalysisError as error:
            raise StudyError(str(error)) from error
    return study if "budget" not in said else _within(study, _number(said, "budget"))


def _within(study: Study, budget: float) -> Study:
    once = sum(cost(setting, study.trajectories) for setting in study.points)
    most = min(study.most, math.floor(budget / once))
    if most < study.least:
        raise StudyError(
            f"{len(study.points)} points of {study.least} seeds take {once * study.least:.3g} steps of trajectories, "
            f"the budget is {budget:.3g}: raise it, or take fewer points, seeds or trajectories"
        )
    return Study(**{**study.__dict__, "most": most})


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
