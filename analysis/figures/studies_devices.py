"""Figures of studies on chips: write noise (paper, Fig. 5b), read noise by time scale (Fig. 5c), quality with age."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.style import BLUE, GREEN, GREY, ORANGE, caption, figure, save
from analysis.sweeps.result import StudyResult

Array = npt.NDArray[np.float64]

_TRACES = 4
_PURPLE = "#CC79A7"
_COLOURS = (BLUE, ORANGE, GREEN, _PURPLE)
G_FIXED = 50e-6


def _title(fig: Figure, result: StudyResult) -> None:
    fig.suptitle(str(result.about["title"]), x=0.01, ha="left", fontsize=13)
    counts = result.table("seeds")
    text = f"study {result.about['study']} · SIMULATED (twin), device preset {result.fixed['preset']} · "
    chips = f"{int(counts.min())} chips a point · intervals: 95 % of the mean"
    caption(fig, text + chips)


def writing(result: StudyResult, folder: Path) -> Path:
    """Courses of cells into their target range, where they end, how long it takes, and the noise that this leaves."""
    targets, windows = ([float(v) for v in result.axes[n]] for n in ("target", "window"))
    middle = windows[len(windows) // 2]
    with figure(11.0, 7.4) as fig:
        (course, ends), (effort, noise) = fig.subplots(2, 2)
        _courses(course, result, targets, middle)
        _ends(ends, result, windows)
        _effort(effort, result, windows)
        _relative(noise, result, "target", targets, "window", windows, lambda w: f"±{w * 1e6:g} µS range")
        noise.set_title("write noise by both definitions")
        _title(fig, result)
        return save(fig, folder / "write-noise.png")


def _courses(ax: Axes, result: StudyResult, targets: list[float], window: float) -> None:
    chosen = [targets[i] for i in np.linspace(0, len(targets) - 1, _TRACES).round().astype(int)]
    for k, target in enumerate(chosen):
        ax.axhspan((target - window) * 1e6, (target + window) * 1e6, color=GREEN, alpha=0.3,
                   label="target range" if k == 0 else None)  # fmt: skip
        traces = result.table("trace_values", target=target, window=window)
        for seed, trace in enumerate(traces[:2]):
            known = trace[np.isfinite(trace)]
            ax.plot(np.arange(len(known)), known * 1e6, ".-", color=_COLOURS[k], alpha=1.0 - 0.5 * seed, markersize=4,
                    linewidth=0.8)  # fmt: skip
    ax.set_xlabel("reads (a pulse between two)")
    ax.set_ylabel("G (µS)")
    ax.set_title("SET-RESET cycles until the target range")
    ax.legend(fontsize=8.5)


def _ends(ax: Axes, result: StudyResult, windows: list[float]) -> None:
    edges = np.linspace(-1.6, 1.6, 65) * windows[-1] * 1e6
    for k, window in enumerate(windows):
        error = result.table("error_values", window=window).ravel() * 1e6
        known = error[np.isfinite(error)]
        name = f"±{window * 1e6:g} µS: σ = {known.std():.2f} µS"
        ax.hist(known, edges.tolist(), density=True, histtype="step", linewidth=1.4, color=_COLOURS[k], label=name)
    ax.set_xlabel("reached − target (µS), read once more")
    ax.set_ylabel("density (1/µS)")
    ax.set_title("where in the range cells end")
    ax.legend(fontsize=8.5)


def _effort(ax: Axes, result: StudyResult, windows: list[float]) -> None:
    for k, window in enumerate(windows):
        pulses = result.table("pulses_values", window=window).ravel()
        known = np.sort(pulses[np.isfinite(pulses)])
        name = f"±{window * 1e6:g} µS: median {np.median(known):g}, 95 % {np.quantile(known, 0.95):g}"
        ax.step(known, np.arange(1, len(known) + 1) / len(known), color=_COLOURS[k], label=name)
    ax.set_xscale("log")
    ax.set_xlabel("pulses of a cell")
    ax.set_ylabel("share of cells")
    ax.set_title("how long it takes")
    ax.legend(fontsize=8.5)


def _relative(
    ax: Axes, result: StudyResult, x: str, values: list[float], other: str, others: list[float], name: object
) -> None:
    assert callable(name)
    for k, value in enumerate(others):
        for metric, style, of in (("sigma_of_memory", "o-", "G_mem"), ("sigma_of_weight", "s--", "weight")):
            mean, low, high = (100 * part for part in result.interval(metric, **{other: value}))
            ax.errorbar(np.array(values) * 1e6, mean, yerr=np.stack([mean - low, high - mean]), fmt=style, markersize=4,
                        linewidth=1.0, color=_COLOURS[k], mfc="white" if style == "s--" else None,
                        label=f"{name(value)}, of {of}")  # fmt: skip
    ax.axvline(G_FIXED * 1e6, color=GREY, linewidth=0.8, linestyle=":")
    ax.set_yscale("log")
    ax.set_xlabel(f"{x} (µS); dotted: a weight of 0")
    ax.set_ylabel("standard deviation (%)")
    ax.set_ylim(bottom=ax.get_ylim()[0] / 4)  # room for the legend
    ax.legend(fontsize=7.5, ncols=2, loc="lower left")


def violins(result: StudyResult, folder: Path) -> Path:
    """Distributions of a cell's reads over each period, level by level, and how their width goes with both."""
    targets, periods = ([float(v) for v in result.axes[n]] for n in ("target", "period"))
    with figure(11.5, 5.0) as fig:
        left, right = fig.subplots(1, 2, width_ratios=(1.25, 1))
        for k, period in enumerate(periods):
            sets = []
            for target in targets:
                reads = result.table("conductance_values", target=target, period=period)
                # A cell's own deviation from its target is no read noise: each about its mean, shown at the target.
                reads = reads[np.isfinite(reads).all(axis=1)]
                sets.append(((reads - reads.mean(axis=1, keepdims=True)).ravel()) * 1e6)
            at = np.arange(len(targets)) + (k - 0.5 * (len(periods) - 1)) * 0.26
            drawn = left.violinplot(sets, at, widths=0.24, showextrema=False, showmedians=True)
            for body in drawn["bodies"]:
                body.set_facecolor(_COLOURS[k])
                body.set_alpha(0.7)
            drawn["cmedians"].set_color("black")
            left.plot([], [], color=_COLOURS[k], linewidth=6, alpha=0.7, label=f"over {_time(period)}")
        left.set_xticks(range(len(targets)), [f"{t * 1e6:g}" for t in targets])
        left.set_xlabel("level (µS)")
        left.set_ylabel("G − its mean over the period (µS)")
        left.set_title("reads of a cell by period")
        left.legend(fontsize=8.5, ncols=3, loc="upper left")
        _relative(right, result, "target", targets, "period", periods, _time)
        right.set_title("read noise by both definitions")
        _title(fig, result)
        return save(fig, folder / "read-noise.png")


def ageing(result: StudyResult, folder: Path) -> Path:
    """Quality, and share of cells in the window, against the time since programming and since re-programming."""
    ages = np.asarray(result.tables["age"], dtype=np.float64)
    windows = [float(v) for v in result.axes["window"]]
    with figure(11.0, 4.8) as fig:
        quality, spread = fig.subplots(1, 2)
        for k, window in enumerate(windows):
            for suffix, style, name in (("", "o-", ""), ("_again", "s--", ", re-programmed")):
                for ax, metric, factor in ((quality, "kl_2d", 1.0), (spread, "sigma", 1e6)):
                    mean, low, high = (factor * part for part in result.interval(f"{metric}{suffix}", window=window))
                    error = np.nan_to_num(np.stack([mean - low, high - mean]))
                    ax.errorbar(ages * (1 + 0.06 * (k - 1)), mean, yerr=error, fmt=style, color=_COLOURS[k],
                                mfc="white" if suffix else None, markersize=4, linewidth=1.1, capsize=2,
                                label=f"±{window * 1e6:g} µS{name}")  # fmt: skip
        targets = float(np.nanmean(result.table("kl_2d_targets")))
        quality.axhline(targets, color=GREY, linewidth=0.9, linestyle=":", label="levels without a chip")
        quality.set_ylabel("KL divergence (nat)")
        spread.set_ylabel("σ of G − target (µS)")
        for ax in (quality, spread):
            ax.set_xscale("log")
            ax.set_xlabel("time since programming (s)")
        quality.legend(fontsize=8)
        _title(fig, result)
        return save(fig, folder / "ageing.png")


def _time(seconds: float) -> str:
    for size, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:g} s"
