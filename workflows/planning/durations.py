"""How long things take: as given, from a dry run's quantiles, or from what earlier runs took."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.errors import AnalysisError
from analysis.records import open_run
from instruments.errors import ConfigError
from instruments.quantity import to_si

Floats = npt.NDArray[np.float64]

Z90 = 1.2815515655446004
"""The 90 % quantile of the standard normal distribution."""
LONGEST = 366 * 86400.0
"""A longer step is a mistake, s."""

# A spread is poorly known from a few runs: this stands for the knowledge that a procedure's durations usually
# differ by 7 % (programming runs on twins: 3 to 9 %), worth as much as two runs more. Whatever was drawn for it,
# a spread by more than a factor of e is not believed.
_USUAL_SPREAD, _USUAL_WEIGHT, _MOST_SPREAD = 0.07, 2, 1.0
# Runs that weigh as much as the lognormal shape does: with fewer the shape is mostly lognormal, with more empirical.
_SHAPE_WEIGHT = 8
_ENOUGH_RUNS = 5
_MOST_RUNS = 1000


@dataclass(frozen=True)
class Given:
    """A lognormal duration whose lower and upper half may be spread differently.

    Attributes:
        median: s.
        below, above: standard deviations of the logarithm below and above the median.
    """

    median: float
    below: float = 0.0
    above: float = 0.0


@dataclass(frozen=True)
class History:
    """What earlier runs took: natural logarithms of seconds, at least one."""

    logs: tuple[float, ...]

    @property
    def median(self) -> float:
        """Typical duration, s."""
        return math.exp(sum(self.logs) / len(self.logs))


Duration = Given | History


@dataclass(frozen=True)
class PastRun:
    """What a run file says about how long its run took.

    Attributes:
        procedure: of the run.
        world: "simulated" or "real".
        cells: cells with a target, or all where it had none.
        parameters: of the run's header.
        seconds: on the laboratory's clock, without the time between two segments.
    """

    procedure: str
    world: str
    cells: int
    seconds: float
    parameters: Mapping[str, Any]


def past_runs(folder: Path) -> list[PastRun]:
    """The completed runs in `folder`, the newest thousand by name; files that can't be read are passed over."""
    found = []
    paths = sorted((p for p in folder.glob("*/run.h5")), key=lambda p: p.parent.name) if folder.is_dir() else []
    for path in paths[-_MOST_RUNS:]:
        try:
            with open_run(path) as run:
                seconds = sum(float(part["last_time"]) - float(part["first_time"]) for part in run.segments)
                if run.status != "completed" or not seconds > 0:
                    continue
                header = run.header
                targets = int(np.isfinite(run.map("conductance_target")).sum())
                cells = targets or math.prod(header.shape)
                found.append(PastRun(header.procedure, run.world, cells, seconds, header.parameters))
        except AnalysisError:
            continue
    return found


def parse_duration(value: object, what: str, past: Sequence[PastRun]) -> Duration:
    """A duration of a plan file.

    Args:
        value: "25 min" (exact), "25 min +- 10 %" or "25 min +- 3 min" (one standard deviation), a mapping of p10, p50
            and p90, or a mapping `history` (with `procedure`, and perhaps `cells`, `world`, `parameters`) and perhaps
            `else`, the duration to take when there is no such run.
        what: place in the file, for the error.
        past: runs to learn from.
    """
    if not isinstance(value, dict):
        return _given(value, what)
    keys = set(value)
    if keys == {"p10", "p50", "p90"}:
        p10, p50, p90 = (_seconds(value[k], f"{what}.{k}") for k in ("p10", "p50", "p90"))
        if not 0 < p10 <= p50 <= p90:
            raise ConfigError(f"{what}: p10, p50 and p90 must be more than 0 s and in order")
        return Given(p50, math.log(p50 / p10) / Z90, math.log(p90 / p50) / Z90)
    if "history" in keys and keys <= {"history", "else"}:
        return _history(value, what, past)
    raise ConfigError(
        f"{what}: keys {', '.join(sorted(map(str, keys))) or '(none)'} are not understood; allowed: p10, p50 and p90 "
        "together, or history with else"
    )


def _given(value: object, what: str) -> Given:
    if not isinstance(value, str):
        return Given(_seconds(value, what))
    parts = re.split(r"\+-|\+/-|±", value)
    if len(parts) > 2:
        raise ConfigError(f"{what}: {value!r} is not understood; write for example '25 min +- 10 %'")
    median = _seconds(parts[0].strip(), what)
    if len(parts) == 1:
        return Given(median)
    spread = parts[1].strip()
    unit = "dimensionless" if spread.endswith("%") else "s"
    relative = to_si(spread, unit, what=what) / (1.0 if unit == "dimensionless" else max(median, 1e-9))
    if not 0 <= relative <= 2:
        raise ConfigError(f"{what}: a spread of {spread} makes no sense; allowed: 0 to 200 %")
    sigma = math.sqrt(math.log1p(relative**2))
    return Given(median, sigma, sigma)


def _seconds(value: object, what: str) -> float:
    seconds = to_si(value, "s", what=what)
    if not 0 <= seconds <= LONGEST:
        raise ConfigError(f"{what}: {value!r} is no duration; allowed: 0 s to 366 days")
    return seconds


def _history(value: Mapping[str, Any], what: str, past: Sequence[PastRun]) -> Duration:
    asked, place = value["history"], f"{what}.history"
    allowed = ("procedure", "cells", "world", "parameters")
    if not isinstance(asked, dict) or not isinstance(asked.get("procedure"), str):
        raise ConfigError(f"{place}: must be a mapping with `procedure`; allowed: {', '.join(allowed)}")
    unknown = sorted(map(str, set(asked) - set(allowed)))
    if unknown:
        raise ConfigError(f"{place}: unknown key {unknown[0]!r}; allowed: {', '.join(allowed)}")
    cells, parameters = asked.get("cells"), asked.get("parameters", {})
    if cells is not None and (not isinstance(cells, int) or isinstance(cells, bool) or cells < 1):
        raise ConfigError(f"{place}.cells: must be a whole number from 1 on, not {cells!r}")
    if asked.get("world") not in (None, "simulated", "real"):
        raise ConfigError(f"{place}.world: {asked['world']!r} is unknown; allowed: simulated, real")
    if not isinstance(parameters, dict) or not all(isinstance(key, str) for key in parameters):
        raise ConfigError(f"{place}.parameters: must be a mapping from parameters of the run to their values")
    chosen = [
        run
        for run in past
        if run.procedure == asked["procedure"]
        and asked.get("world") in (None, run.world)
        and (cells is None or cells / 2 <= run.cells <= cells * 2)
        and all(_parameter(run.parameters, key) == wanted for key, wanted in parameters.items())
    ]
    worlds = {run.world for run in chosen}
    if len(worlds) > 1:
        raise ConfigError(f"{place}: there are both simulated and real such runs; say which with `world:`")
    if not chosen:
        if "else" in value:
            return parse_duration(value["else"], f"{what}.else", past)
        raise ConfigError(f"{place}: no completed run is like this; say with `else:` how long it may take")
    # Programming and characterising take their time cell by cell: a run of another size counts in proportion. But
    # small runs differ more among themselves, so those of the very size are better, if there are a few.
    same = [run for run in chosen if run.cells == cells]
    chosen = same if len(same) >= _ENOUGH_RUNS else chosen
    return History(tuple(math.log(run.seconds * (cells or run.cells) / run.cells) for run in chosen))


def _parameter(parameters: Any, dotted: str) -> Any:
    for key in dotted.split("."):
        parameters = parameters.get(key) if isinstance(parameters, Mapping) else None
    return parameters


def sample(durations: Sequence[Duration], rng: np.random.Generator, repeats: int) -> Floats:
    """Draw every duration, `repeats` times.

    What isn't known of a history (its centre and spread) is drawn once a repeat and shared by all its steps: if the
    procedure has become slower than its few past runs say, all of its runs have.

    Returns:
        Seconds, shape (repeats, len(durations)).
    """
    z = rng.standard_normal((repeats, len(durations)))
    out = np.empty_like(z)
    given = [(i, d) for i, d in enumerate(durations) if isinstance(d, Given)]
    if given:
        columns = [i for i, _ in given]
        median, below, above = np.array([(d.median, d.below, d.above) for _, d in given]).T
        part = z[:, columns]
        out[:, columns] = median * np.exp(np.where(part < 0, below, above) * part)
    groups: dict[History, list[int]] = {}
    for i, duration in enumerate(durations):
        if isinstance(duration, History):
            groups.setdefault(duration, []).append(i)
    for history, columns in groups.items():
        out[:, columns] = _from_history(history, z[:, columns], rng)
    return out


def _from_history(history: History, z: Floats, rng: np.random.Generator) -> Floats:
    logs = np.array(history.logs)
    n, centre = len(logs), float(logs.mean())
    residuals = logs - centre
    freedom = _USUAL_WEIGHT + n - 1
    variance = (_USUAL_WEIGHT * _USUAL_SPREAD**2 + float(residuals @ residuals)) / freedom
    spread = np.minimum(np.sqrt(variance * freedom / rng.chisquare(freedom, len(z))), _MOST_SPREAD)[:, None]
    mean = centre + spread / math.sqrt(n) * rng.standard_normal((len(z), 1))
    scale = math.sqrt(float(residuals @ residuals) / n)
    shape = z
    if scale > 0:
        empirical = rng.random(z.shape) < n / (n + _SHAPE_WEIGHT)
        shape = np.where(empirical, rng.choice(residuals / scale, z.shape), z)
    return np.asarray(np.exp(mean + spread * shape))
