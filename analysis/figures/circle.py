"""The panels of the paper's Fig. 3 that a run file holds: a to e; f and g are `analysis.figures.cost`'s."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from analysis.circle import (
    CLAMP_VOLTS,
    CircleSummary,
    final_states,
    node_voltages,
    node_waveforms,
    slices,
    trajectories,
)
from analysis.figures.programming import label
from analysis.figures.style import BLUE, GREEN, GREY, ORANGE, caption, figure, save
from analysis.records import RunFile


def draw_circle(run: RunFile, summary: CircleSummary, folder: Path) -> list[Path]:
    """Draw Fig. 3a-3e into `folder`; panels whose data a run does not hold are left out."""
    names = run.names("data")
    paths = [_samples(run, summary, folder), _weights(run, folder)]
    if "waveforms/time" in names:
        paths += [_waveforms(run, folder), _voltages(run, folder)]
    if "field/points" in names:
        paths.append(_field(run, folder))
    return paths


def _waveforms(run: RunFile, folder: Path) -> Path:
    time, traces = node_waveforms(run)
    with figure(10.5, 6.2) as fig:
        halves: Any = fig.subfigures(2, 1)
        top, bottom = halves
        ax_in, ax_out = top.subplots(1, 2)
        axes = bottom.subplots(1, 3)
        for node, colour in (("x", BLUE), ("y", ORANGE)):
            ax_in.plot(time, traces[node], color=colour, linewidth=1, label=node)
            ax_out.plot(time, traces[f"n{node}"], color=colour, linewidth=1, label=f"n{node}")
        plots = [(ax_in, "input of the network"), (ax_out, "output of the network")]
        for ax, (layer, title) in zip(axes, ((1, "first hidden layer"), (2, "second hidden layer")), strict=False):
            for i in range(1, 15):
                if f"h{layer}_{i}" in traces:
                    ax.plot(time, traces[f"h{layer}_{i}"], linewidth=0.8)
            plots.append((ax, title))
        for node in ("t1", "t2", "t8", "t9"):
            if node in traces:
                axes[2].plot(time, traces[node], linewidth=0.9, label=node)
        plots.append((axes[2], "time embedding"))
        for ax, title in plots:
            ax.set_title(title)
            ax.set_xlabel("time (s)")
            ax.set_ylabel("V")
            ax.axvspan(0, 1, color=GREY, alpha=0.08)
        for ax in (ax_in, ax_out, axes[2]):
            ax.legend(fontsize=8, ncols=2)
        title = "One solution on the oscilloscope, from (0.1 V, -0.1 V)  [Fig. 3a]"
        fig.suptitle(title, x=0.01, ha="left", fontsize=13)
        caption(fig, label(run))
        return save(fig, folder / "fig3a-waveforms.png")


def _weights(run: RunFile, folder: Path) -> Path:
    target = run.map("conductance_target")
    after = run.map("conductance_after")
    used = np.isfinite(target) & np.isfinite(after)
    t, a = target[used] * 1e6, after[used] * 1e6
    with figure(9, 3.8) as fig:
        left, right = fig.subplots(1, 2)
        edges = np.linspace(min(t.min(), a.min()) - 1, max(t.max(), a.max()) + 1, 42)
        left.hist(t, edges.tolist(), color=GREY, alpha=0.6, label="target")
        left.hist(a, edges.tolist(), histtype="step", color=BLUE, linewidth=1.5, label="programmed, as read")
        left.axvline(50, color=GREEN, linestyle="--", linewidth=1, label="shared negative weight")
        left.set_xlabel("conductance (µS)")
        left.set_ylabel("cells")
        left.legend(fontsize=8.5)
        right.plot(t, a - t, ".", color=BLUE, markersize=4)
        right.axhline(0, color=GREY, linewidth=0.8)
        right.set_xlabel("target (µS)")
        right.set_ylabel("programmed − target (µS)")
        sigma = float((a - t).std())
        right.set_title(f"{used.sum()} cells, error σ {sigma:.2f} µS")
        fig.suptitle("Weights on the arrays  [Fig. 3b]", x=0.01, ha="left", fontsize=13)
        caption(fig, label(run))
        return save(fig, folder / "fig3b-weights.png")


def _voltages(run: RunFile, folder: Path) -> Path:
    seen: dict[str, list[float]] = {"first layer": [], "second layer": [], "third layer": []}
    where = {"x": "first layer", "y": "first layer", "h1": "second layer", "h2": "third layer"}
    for node, volts in node_voltages(run).items():
        layer = where.get(node.split("_")[0])
        if layer:
            seen[layer] += np.clip(volts, *CLAMP_VOLTS).tolist()
    with figure(9, 3.2) as fig:
        for ax, (layer, values) in zip(fig.subplots(1, 3), seen.items(), strict=True):
            ax.hist(values, np.linspace(-0.25, 0.45, 57).tolist(), color=BLUE, alpha=0.8)
            ax.set_yscale("log")
            for edge in CLAMP_VOLTS:
                ax.axvline(edge, color=ORANGE, linestyle="--", linewidth=1)
            ax.set_title(layer)
            ax.set_xlabel("input voltage (V)")
        fig.suptitle("Voltages at the arrays; dashed: clamps  [Fig. 3c]", x=0.01, ha="left", fontsize=13)
        caption(fig, label(run))
        return save(fig, folder / "fig3c-voltages.png")


def _field(run: RunFile, folder: Path) -> Path:
    points, outputs = run.data("field/points"), run.data("field/outputs")
    side = round(np.sqrt(len(points)))
    grid = points.reshape(side, side, 2)
    n = outputs.reshape(side, side, 2)
    with figure(5.6, 5) as fig:
        ax = fig.subplots()
        # Lines along which the measured field's potential is constant: its line integral on the grid.
        step = grid[0, 1, 0] - grid[0, 0, 0]
        first = np.cumsum(np.concatenate([[0], 0.5 * (n[1:, 0, 1] + n[:-1, 0, 1])])) * step
        along = np.cumsum(np.concatenate([np.zeros((side, 1)), 0.5 * (n[:, 1:, 0] + n[:, :-1, 0])], axis=1), axis=1)
        ax.contour(grid[..., 0], grid[..., 1], first[:, None] + along * step, 9, colors=ORANGE, linewidths=0.8)
        ax.quiver(grid[..., 0], grid[..., 1], n[..., 0], n[..., 1], color=BLUE, width=0.004)
        ax.set_aspect("equal")
        ax.set_xlabel("x (V)")
        ax.set_ylabel("y (V)")
        fig.suptitle("Measured output of the network at t = 0.5 s  [Fig. 3d]", x=0.01, ha="left", fontsize=12)
        caption(fig, label(run))
        return save(fig, folder / "fig3d-field.png")


def _samples(run: RunFile, summary: CircleSummary, folder: Path) -> Path:
    instants = (0.0, 0.25, 0.5, 0.75, 0.995)
    clouds = slices(run, instants)
    time, paths = trajectories(run, 12)
    with figure(12, 6.6) as fig:
        halves: Any = fig.subfigures(2, 1, height_ratios=[1, 1.15])
        top, bottom = halves
        for ax, t, cloud in zip(top.subplots(1, 5, sharey=True), instants, clouds, strict=True):
            _cloud(ax, cloud, f"t = {t:.2f} s")
        ax_paths, ax_before, ax_after = bottom.subplots(1, 3, width_ratios=[1.5, 1, 1])
        inside = (time > -0.03) & (time < 1.04)
        for path in paths:
            ax_paths.plot(time[inside], path[0, inside], color=BLUE, linewidth=0.7, alpha=0.8)
            ax_paths.plot(time[inside], path[1, inside], color=ORANGE, linewidth=0.7, alpha=0.8)
        ax_paths.set_xlabel("time (s)")
        ax_paths.set_ylabel("x (blue), y (orange), units of 0.1 V")
        ax_paths.set_title(f"{len(paths)} of the trajectories")
        if summary.uncalibrated is not None:
            kl = summary.uncalibrated.metrics["kl_2d"]
            title = f"before calibration:\nKL2 {kl.value:.2f} (floor {kl.floor:.2f})"
            _cloud(ax_before, run.data("uncalibrated/end"), title)
        else:
            ax_before.set_visible(False)
        kl, r = summary.calibrated.metrics["kl_2d"], summary.calibrated.metrics["radius_mean"]
        title = f"calibrated: KL2 {kl.value:.3f} (floor {kl.floor:.3f})\nmean radius {r.value:.3f}"
        _cloud(ax_after, final_states(run), title)
        count = summary.calibrated.samples
        fig.suptitle(f"A circle out of noise: {count} solutions  [Fig. 3e]", x=0.01, ha="left", fontsize=13)
        caption(fig, label(run))
        return save(fig, folder / "fig3e-samples.png")


def _cloud(ax: Axes, cloud: np.ndarray, title: str) -> None:
    turn = np.linspace(0, 2 * np.pi, 200)
    ax.plot(0.7 * np.cos(turn), 0.7 * np.sin(turn), color=ORANGE, linewidth=0.8)
    ax.plot(cloud[:, 0], cloud[:, 1], ".", color=BLUE, markersize=2, alpha=0.6)
    ax.set_xlim(-2, 2)
    ax.set_ylim(-2, 2)
    ax.set_aspect("equal")
    ax.set_title(title, fontsize=9)
