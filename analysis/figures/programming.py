"""Figures of a programming run, from its file alone: maps, error histogram, pulse traces (paper, Fig. 2f, 2g, 5b)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis.figures.style import BLUE, CONDUCTANCE, DIVERGING, GREEN, GREY, ORANGE, caption, figure, save
from analysis.programming import ProgramSummary, responsive_cells, summarise
from analysis.records import RunFile
from analysis.records.layout import CELL_CODE, EVENT_CODE


def draw(run: RunFile, folder: Path) -> list[Path]:
    """Draw every figure of a programming run into `folder`.

    Returns:
        The files: one overview an array, and one of pulse traces.
    """
    summary = summarise(run)
    paths = [_overview(run, summary, a, folder) for a in range(run.header.arrays)]
    traces = _traces(run, summary, folder)
    return [*paths, *([traces] if traces else [])]


def label(run: RunFile) -> str:
    """Which run, and which world it is of."""
    world = "SIMULATED (twin)" if run.world == "simulated" else "real instruments"
    return f"{run.header.run_id} · {world} · chip {run.header.chip or 'unnamed'}"


def _overview(run: RunFile, summary: ProgramSummary, number: int, folder: Path) -> Path:
    shape = run.header.shape
    target, after = (run.map(f"conductance_{n}").reshape(shape)[number] * 1e6 for n in ("target", "after"))
    physical = int(run.header.parameters["arrays"][number])
    with figure(10.5, 8.2) as fig:
        (ax_target, ax_after), (ax_error, ax_hist) = fig.subplots(2, 2)
        known = target[np.isfinite(target)]
        low, high = (known.min(), known.max()) if known.size else (0.0, 0.0)
        if high - low < 1:
            low, high = low - 1, high + 1
        read_back = "programmed, read back" if run.status == "completed" else f"run {run.status}: as last read"
        for ax, values, title, extend in (
            (ax_target, target, "target", "neither"),
            (ax_after, after, read_back, "both"),
        ):
            image = ax.imshow(values, cmap=CONDUCTANCE, vmin=low, vmax=high, interpolation="nearest")
            _axes_of_cells(ax, title)
            fig.colorbar(image, ax=ax, label="conductance (µS)", shrink=0.85, extend=extend)
        error = after - target
        span = 3 * summary.tolerance * 1e6
        image = ax_error.imshow(error, cmap=DIVERGING, vmin=-span, vmax=span, interpolation="nearest")
        _axes_of_cells(ax_error, "error; crosses: cells given up")
        fig.colorbar(image, ax=ax_error, label="read back − target (µS)", shrink=0.85, extend="both")
        for (a, row, col), _ in summary.failed:
            if a == number:
                ax_error.plot(col, row, "x", color=ORANGE, markersize=6, markeredgewidth=1.6)
        judged = error[responsive_cells(run)[number] & np.isfinite(error)]
        pending = np.asarray(run.cells["status"]).reshape(shape)[number] == CELL_CODE["pending"]
        unfinished = int((pending & np.isfinite(target)).sum())
        _histogram(ax_hist, summary, judged)
        outcome = _outcome(judged, summary.tolerance * 1e6, unfinished)
        fig.suptitle(f"Array {physical} programmed: {outcome}", x=0.01, ha="left", fontsize=13)
        caption(fig, label(run))
        return save(fig, folder / ("programming.png" if shape[0] == 1 else f"programming-array{physical}.png"))


def _outcome(error: npt.NDArray[np.float64], tolerance: float, pending: int) -> str:
    """What came of one array: errors of its responsive cells, in microsiemens, and how many cells are left."""
    unfinished = f", {pending} not finished" if pending else ""
    if not error.size:
        return f"no responsive cell{unfinished}"
    inside = float(np.mean(np.abs(error) <= tolerance))
    return f"{inside:.1%} of {error.size} responsive cells within ±{tolerance:g} µS{unfinished}"


def _axes_of_cells(ax: Axes, title: str) -> None:
    ax.set_title(title)
    ax.set_xlabel("column (bit line)")
    ax.set_ylabel("row (word and source line)")
    for spine in ("top", "right"):
        ax.spines[spine].set_visible(True)


def _histogram(ax: Axes, s: ProgramSummary, values: npt.NDArray[np.float64]) -> None:
    ax.set_title("error of responsive cells")
    ax.set_xlabel("read back − target (µS)")
    ax.set_ylabel("cells")
    if not values.size:
        ax.text(0.5, 0.5, "no responsive cell", transform=ax.transAxes, ha="center", color=GREY)
        return
    tolerance = s.tolerance * 1e6
    reach = max(3 * tolerance, min(1.2 * float(np.abs(values).max()), 10 * tolerance))
    edges = np.linspace(-reach, reach, 61)
    ax.hist(values, edges.tolist(), color=BLUE, alpha=0.75, label=f"{values.size} cells as read back")
    mean, sigma = float(values.mean()), float(values.std())
    if sigma > 0 and values.size >= 10:
        x = np.linspace(-reach, reach, 400)
        bell = np.exp(-0.5 * ((x - mean) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
        ax.plot(
            x,
            bell * values.size * (edges[1] - edges[0]),
            color=ORANGE,
            label=f"Gaussian, σ = {sigma:.2f} µS, mean {mean:+.2f} µS".replace("-", "−"),
        )
    for edge in (-tolerance, tolerance):
        ax.axvline(edge, color=GREEN, linestyle="--", linewidth=1.2, label="window" if edge > 0 else None)
    ax.set_ylim(top=ax.get_ylim()[1] * 1.3)
    ax.legend(loc="upper left", fontsize=8.5, frameon=True, framealpha=1.0, edgecolor="none", borderpad=0.1)


def _traces(run: RunFile, summary: ProgramSummary, folder: Path) -> Path | None:
    """Reads and pulses of a few cells over their pulse count: one easy, one typical, one hard, one that failed."""
    events = run.events
    chosen = _exemplars(run, summary)
    if not chosen:
        return None
    with figure(10.5, 2.6 + 2.1 * ((len(chosen) - 1) // 2)) as fig:
        axes = np.atleast_1d(fig.subplots((len(chosen) + 1) // 2, 2 if len(chosen) > 1 else 1)).ravel()
        for ax in axes[len(chosen) :]:
            ax.set_visible(False)
        for ax, (name, cell) in zip(axes, chosen, strict=False):
            _trace(ax, run, events, name, cell, summary.tolerance)
        handles, labels = axes[0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside upper right", ncols=4, fontsize=8.5)
        fig.suptitle("Write and verify, cell by cell", x=0.01, ha="left", fontsize=13)
        caption(fig, label(run))
        return save(fig, folder / "traces.png")


def _exemplars(run: RunFile, summary: ProgramSummary) -> list[tuple[str, tuple[int, int, int]]]:
    shape = run.header.shape
    pulses = np.asarray(run.cells["pulses"], dtype=float).reshape(shape)
    wanted = np.isfinite(run.map("conductance_target").reshape(shape))
    failed = [cell for cell, _ in summary.failed]
    for cell in failed:
        wanted[cell] = False
    touched = wanted & (pulses > 0)
    if not touched.any():
        return [("given up", failed[0])] if failed else []
    order = np.argsort(np.where(touched, pulses, np.inf), axis=None, kind="stable")[: int(touched.sum())]
    picks = [
        ("typical", order[len(order) // 2]),
        ("slow (95 %)", order[int(0.95 * (len(order) - 1))]),
        ("slowest", order[-1]),
    ]
    found = {_unravel(int(i), shape): name for name, i in reversed(picks)}  # of few cells, one may be several of these
    return [(name, cell) for cell, name in reversed(found.items())] + ([("given up", failed[0])] if failed else [])


def _unravel(index: int, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    a, r, c = (int(i) for i in np.unravel_index(index, shape))
    return a, r, c


def _trace(
    ax: Axes,
    run: RunFile,
    events: Mapping[str, npt.NDArray[Any]],
    name: str,
    cell: tuple[int, int, int],
    tolerance: float,
) -> None:
    here = (events["array"] == cell[0]) & (events["row"] == cell[1]) & (events["col"] == cell[2])
    kind = events["kind"][here]
    pulse = np.isin(kind, [EVENT_CODE[k] for k in ("set", "reset", "form")])
    count = np.cumsum(pulse)
    read = kind == EVENT_CODE["read"]
    target = float(run.map("conductance_target").reshape(run.header.shape)[cell]) * 1e6
    g = events["conductance"][here] * 1e6
    ax.axhspan(target - tolerance * 1e6, target + tolerance * 1e6, color=GREEN, alpha=0.3, label="window")
    ax.plot(count[read], g[read], ".-", color=GREY, markersize=4, linewidth=0.8, label="reads")
    amplitude = events["amplitude"][here]
    volts = ax.twinx()
    for code, colour, marker, text in (("set", BLUE, "^", "SET pulse"), ("reset", ORANGE, "v", "RESET pulse")):
        mine = kind == EVENT_CODE[code]
        volts.plot(count[mine] - 0.5, amplitude[mine], marker, color=colour, markersize=4)
        ax.plot([], [], marker, color=colour, markersize=4, label=text)
    volts.set_ylim(0, 3.2)
    volts.set_ylabel("pulse (V)")
    volts.spines["right"].set_visible(True)
    ax.set_title(f"{name}: row {cell[1]}, column {cell[2]}, target {target:.1f} µS", fontsize=9.5)
    ax.set_xlabel("pulses given")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_ylabel("G (µS)")
