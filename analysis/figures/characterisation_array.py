"""Figures of whole arrays: the programmed pattern and its errors over time (Fig. 2f, 2g), and an array's health."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from analysis.characterisation import paper
from analysis.characterisation.array_errors import ArrayErrors, summarise_errors
from analysis.characterisation.health import Health, summarise_health
from analysis.cost import si
from analysis.figures.programming import label
from analysis.figures.style import BLUE, CONDUCTANCE, DIVERGING, GREEN, GREY, ORANGE, caption, figure, save
from analysis.records import RunFile

Floats = npt.NDArray[np.float64]


def draw_errors(run: RunFile, folder: Path) -> list[Path]:
    """The pattern as read last and its error; the relative errors' distribution at each time."""
    s = summarise_errors(run)
    shape = run.header.shape
    target = run.map("conductance_target").reshape(shape)[0] * 1e6
    last = run.map(f"conductance_time_{len(s.times) - 1}").reshape(shape)[0] * 1e6
    with figure(10.5, 8.0) as fig:
        (pattern, error), (hist, trend) = fig.subplots(2, 2)
        low, high = float(np.nanmin(target)), float(np.nanmax(target))
        image = pattern.imshow(last, cmap=CONDUCTANCE, vmin=low, vmax=max(high, low + 1), interpolation="nearest")
        fig.colorbar(image, ax=pattern, label="conductance (µS)", shrink=0.85, extend="both")
        _cells(pattern, f"programmed, read after {_time(s.times[-1].age)}")
        span = 3 * s.tolerance * 1e6
        image = error.imshow(last - target, cmap=DIVERGING, vmin=-span, vmax=span, interpolation="nearest")
        fig.colorbar(image, ax=error, label="read − target (µS)", shrink=0.85, extend="both")
        _cells(error, "its error")
        _histograms(hist, s)
        _trend(trend, s)
        fig.suptitle("Array errors over time", x=0.01, ha="left", fontsize=13)
        caption(fig, f"{label(run)} · {paper.ERRORS}")
        return [save(fig, folder / "array-errors.png")]


def _time(seconds: float) -> str:
    return si(seconds, "s") if seconds < 1e3 else f"{seconds:.2g} s"


def _cells(ax: Axes, title: str) -> None:
    ax.set_title(title)
    ax.set_xlabel("column (bit line)")
    ax.set_ylabel("row (word and source line)")


def _histograms(ax: Axes, s: ArrayErrors) -> None:
    colours = mpl.colormaps["cividis"](np.linspace(0, 0.9, len(s.times)))
    reach = max(4 * max(t.relative_sigma.value for t in s.times) * 100, 0.5)
    edges = np.linspace(-reach, reach, 49)
    for t, colour in zip(s.times, colours, strict=True):
        name = f"{_time(t.age)}: σ {t.relative_sigma.value:.2%}"
        ax.hist(t.relative * 100, edges.tolist(), histtype="step", color=colour, linewidth=1.5, label=name)
    first = s.times[0]
    x = np.linspace(-reach, reach, 300)
    width, mean = first.relative_sigma.value * 100, first.relative_mean.value * 100
    bell = np.exp(-0.5 * ((x - mean) / width) ** 2) / (width * np.sqrt(2 * np.pi))
    ax.plot(x, bell * first.relative.size * (edges[1] - edges[0]), "--", color=GREY, label="Gaussian of the first")
    ax.set_xlabel("relative error (%)")
    ax.set_ylabel("cells")
    ax.set_title("distribution at each time")
    ax.set_ylim(top=ax.get_ylim()[1] * 1.35)
    ax.legend(fontsize=8, loc="upper left")


def _trend(ax: Axes, s: ArrayErrors) -> None:
    ages = np.maximum([t.age for t in s.times], 1.0)
    for values, errors, colour, name in (
        ([t.relative_sigma.value for t in s.times], [t.relative_sigma.error for t in s.times], BLUE, "σ"),
        ([t.relative_mean.value for t in s.times], [t.relative_mean.error for t in s.times], ORANGE, "mean"),
    ):
        ax.errorbar(
            ages, np.array(values) * 100, yerr=np.array(errors) * 100, fmt="o-", color=colour, capsize=2, label=name
        )
    ax.axhline(0, color=GREY, linewidth=0.6)
    ax.set_xscale("log")
    ax.set_xlabel("time since the last cell was programmed (s)")
    ax.set_ylabel("relative error (%)")
    ratio = "" if s.growth is None else f"; σ grew {s.growth.value:.2f} ± {s.growth.error:.2f} fold"
    ax.set_title(f"over time{ratio}")
    ax.legend(fontsize=9)


def draw_health(run: RunFile, folder: Path) -> list[Path]:
    """Errors as found, which cells drifted, and errors after mending."""
    s = summarise_health(run)
    shape = run.header.shape
    target, before, after = (
        run.map(f"conductance_{name}").reshape(shape)[0] * 1e6 for name in ("target", "before", "after")
    )
    with figure(10.5, 4.6 if s.after is None else 8.0) as fig:
        axes = fig.subplots(1 if s.after is None else 2, 2, squeeze=False)
        _health_row(axes[0], s, before - target, "as found", s.drifted, s.before.outside)
        if s.after is not None:
            still = np.abs(after - target) > s.tolerance * 1e6
            _health_row(axes[1], s, after - target, "after mending", still & s.drifted, s.after.outside)
        fig.suptitle(
            f"Health: {s.before.outside} of {s.able} cells outside ±{s.tolerance * 1e6:g} µS"
            + ("" if s.after is None else f", {s.after.outside} after mending"), x=0.01, ha="left", fontsize=13,
        )  # fmt: skip
        caption(fig, label(run))
        return [save(fig, folder / "health.png")]


def _health_row(
    axes: npt.NDArray[np.object_], s: Health, error: Floats, when: str, marked: npt.NDArray[np.bool_], outside: int
) -> None:
    map_, hist = axes
    span = 3 * s.tolerance * 1e6
    image = map_.imshow(error, cmap=DIVERGING, vmin=-span, vmax=span, interpolation="nearest")
    map_.figure.colorbar(image, ax=map_, label="read − target (µS)", shrink=0.85, extend="both")
    rows, cols = np.nonzero(marked)
    map_.plot(cols, rows, "s", markerfacecolor="none", markeredgecolor=GREEN, markersize=6)
    _cells(map_, f"{when}; squares: drifted")
    known = error[np.isfinite(error)]
    hist.hist(np.clip(known, -span, span), np.linspace(-span, span, 49).tolist(), color=BLUE, alpha=0.8)
    for edge in (-s.tolerance * 1e6, s.tolerance * 1e6):
        hist.axvline(edge, color=GREEN, linestyle="--", linewidth=1.2)
    hist.set_xlabel("read − target (µS), ends: beyond")
    hist.set_ylabel("cells")
    hist.set_title(f"{when}: {outside} outside the window")
