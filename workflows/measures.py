"""A run's numbers by name, for the catalogue and for comparing runs; SI units, 95 % intervals where they are known."""

import math
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np

from analysis.records import Measure, RunFile
from analysis.records.catalogue import Measuring

if TYPE_CHECKING:  # brings scipy along
    from analysis.metrics import Truth

_NORMAL_95: Final = 1.959964
_JUDGED: Final = ("kl_2d", "sliced_wasserstein", "radius_mean", "radius_std", "angular_coverage")


def measures(procedure: str) -> Measuring:
    """What measures runs of a procedure; every run has costs, those that programmed cells or sampled have more."""
    return _circle if procedure == "circle" else _any


def _any(run: RunFile) -> dict[str, Measure]:
    return {**_costs(run), **_programming(run)}


def _circle(run: RunFile) -> dict[str, Measure]:
    from analysis.circle import final_states
    from analysis.metrics import judge

    found = _any(run)
    ends = final_states(run)
    ends = ends[np.isfinite(ends).all(axis=1)]
    if len(ends) >= 2:
        # Seeded as the run's own report is, so that both say the same.
        judged = judge(ends, _truth(), np.random.default_rng(0))
        found |= {name: Measure(judged[name].value, judged[name].low, judged[name].high) for name in _JUDGED}
    return found


@cache
def _truth() -> "Truth":
    from analysis.circle import reference

    return reference()


def _costs(run: RunFile) -> dict[str, Measure]:
    events = run.events
    ended = events["time"] + np.nan_to_num(events["duration"])
    pulses, reads = (int(np.count_nonzero(run.where(*kinds))) for kinds in (("set", "reset", "form"), ("read",)))
    seconds = float(ended.max() - events["time"].min()) if len(ended) else 0.0
    return {
        "pulses": Measure(pulses),
        "reads": Measure(reads),
        "energy": Measure(float(np.nansum(events["energy"]))),
        "seconds": Measure(seconds),
    }


def _programming(run: RunFile) -> dict[str, Measure]:
    """Yield, error and effort; nothing of a run that programmed nothing."""
    from analysis.programming import summarise

    if "tolerance" not in run.header.parameters:
        return {}
    summary = summarise(run)
    if not summary.responsive:
        return {"given_up": Measure(len(summary.failed))}
    return {
        "inside": share(summary.inside, summary.responsive),
        "sigma": spread(summary.sigma, summary.responsive),
        "mean_error": mean(summary.mean_error, summary.sigma, summary.responsive),
        "pulses_mean": Measure(summary.pulses_mean),
        "given_up": Measure(len(summary.failed)),
    }


def share(value: float, total: int) -> Measure:
    """A share of `total` with Wilson's interval."""
    z2 = _NORMAL_95**2
    middle = (value + z2 / (2 * total)) / (1 + z2 / total)
    half = _NORMAL_95 / (1 + z2 / total) * math.sqrt(value * (1 - value) / total + z2 / (4 * total**2))
    return Measure(value, max(middle - half, 0.0), min(middle + half, 1.0))


def spread(sigma: float, count: int) -> Measure:
    """A standard deviation of `count` values about their mean, with the interval of a Gaussian's."""
    from scipy.stats import chi2

    if count < 2:
        return Measure(sigma)
    low, high = (sigma * math.sqrt(count / float(chi2.ppf(q, count - 1))) for q in (0.975, 0.025))
    return Measure(sigma, low, high)


def mean(value: float, sigma: float, count: int) -> Measure:
    """A mean of `count` values of standard deviation `sigma`."""
    if count < 2:
        return Measure(value)
    half = _NORMAL_95 * sigma / math.sqrt(count - 1)
    return Measure(value, value - half, value + half)


def apart(first: Measure, second: Measure) -> str:
    """What the intervals of two runs say of a metric: "apart", "overlap", or "" where one has none."""
    bounds = (first.low, first.high, second.low, second.high)
    if not all(map(math.isfinite, bounds)):
        return ""
    return "apart" if first.high < second.low or second.high < first.low else "overlap"


def both(first: Mapping[str, Measure], second: Mapping[str, Measure]) -> list[tuple[str, Measure, Measure]]:
    """Metrics that both runs have."""
    return [(name, value, second[name]) for name, value in first.items() if name in second]
