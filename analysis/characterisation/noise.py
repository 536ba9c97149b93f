"""Read noise: its size against integration time, its spectrum, and the share of cells with telegraph noise."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.signal import welch

from analysis.characterisation.common import Estimate, Floats, Place, kept_by_cell, mean_of, require, share_of
from analysis.characterisation.telegraph import Telegraph, find_telegraphs
from analysis.errors import AnalysisError
from analysis.records import RunFile

SEGMENT = 128
"""Reads in one piece of a spectrum (Welch's method, half overlapping)."""
LEAST = 1e-6
"""S below which a cell is not looked at for telegraph noise: it conducts nothing."""


@dataclass(frozen=True)
class TimeNoise:
    """Noise at one integration time.

    Attributes:
        seconds: integration time; interval: from read to read, s.
        places: the cells; mean: their mean conductance, S; sigmas: their standard deviation, S.
        traces: [cell, read], S.
        telegraph: what was found in them.
        sigma: of quiet cells, S; relative: the same over their conductance.
        frequency, quiet, noisy: Hz, and spectra of relative conductance (1/Hz), means of quiet and of telegraph cells;
            NaN where there are none.
        share: of cells with telegraph noise; jumped: cells seen on two levels, but too seldom to tell.
        amplitude: mean step over conductance.
        dwell: mean dwell times of both levels of each such cell, s, [cell, 2].
    """

    seconds: float
    interval: float
    places: tuple[Place, ...]
    mean: Floats
    sigmas: Floats
    traces: Floats
    telegraph: Telegraph
    sigma: Estimate
    relative: Estimate
    frequency: Floats
    quiet: Floats
    noisy: Floats
    share: Estimate
    jumped: int
    amplitude: Estimate
    dwell: Floats

    @property
    def dwell_text(self) -> str:
        """Range of the dwell times, for people."""
        if not self.dwell.size:
            return "none"
        return f"{self.dwell.min():.2g}..{self.dwell.max():.2g} s"


@dataclass(frozen=True)
class NoiseSummary:
    """A noise run: what was found at each integration time, shortest first."""

    times: tuple[TimeNoise, ...]

    @property
    def best(self) -> TimeNoise | None:
        """The integration time at which most telegraphs show."""
        return max(self.times, key=lambda t: (t.share.value, t.seconds)) if self.times else None


def summarise_noise(run: RunFile) -> NoiseSummary:
    """Summarise a noise run, also one that was interrupted.

    Raises:
        AnalysisError: it is of another procedure, or has no trace.
    """
    require(run, "noise")
    kept = kept_by_cell(run, "noise")
    found = []
    for k, reading in enumerate(run.header.parameters["readings"]):
        traces = {place: run.data(names[f"t{k}"]) for place, names in kept.items() if f"t{k}" in names}
        if traces:
            found.append(_at(float(reading["seconds"]), traces))
    if not found:
        raise AnalysisError(f"run {run.header.run_id} ended before its first trace was kept")
    return NoiseSummary(tuple(sorted(found, key=lambda t: t.seconds)))


def _at(seconds: float, traces: dict[Place, npt.NDArray[np.float64]]) -> TimeNoise:
    interval = float(np.median([np.median(np.diff(t[0])) for t in traces.values()]))
    g = np.stack([t[1] for t in traces.values()])
    mean = g.mean(axis=1)
    telegraph = find_telegraphs(g)
    alive = mean > LEAST
    has = telegraph.found & alive
    jumped = telegraph.jumped & alive
    quiet = alive & ~has & ~jumped
    sigmas = g.std(axis=1, ddof=1)
    relative = g / np.where(alive, mean, 1.0)[:, None]
    frequency, density = welch(relative, fs=1 / interval, nperseg=min(SEGMENT, g.shape[1]), detrend="linear", axis=1)
    nothing = np.full(len(frequency), np.nan)
    step = (telegraph.high - telegraph.low)[has] / mean[has]
    dwell = np.stack([telegraph.dwell_low[has], telegraph.dwell_high[has]], axis=1) * interval
    return TimeNoise(
        seconds=seconds, interval=interval, places=tuple(traces), mean=mean, sigmas=sigmas, traces=g,
        telegraph=telegraph, sigma=mean_of(sigmas[quiet]), relative=mean_of((sigmas / mean)[quiet]),
        frequency=frequency[1:], quiet=(density[quiet].mean(axis=0) if quiet.any() else nothing)[1:],
        noisy=(density[has].mean(axis=0) if has.any() else nothing)[1:],
        share=share_of(int(has.sum()), int(alive.sum())), jumped=int(jumped.sum()),
        amplitude=mean_of(step), dwell=dwell,
    )  # fmt: skip
