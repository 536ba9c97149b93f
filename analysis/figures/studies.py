"""Figures of studies, one look for each kind: `draw` takes what the study's file asks for.

Means with 95 % intervals; the grey line is what as many draws of the truth itself score.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import studies_devices
from analysis.figures.style import BLUE, CONDUCTANCE, GREEN, GREY, ORANGE, caption, figure, save
from analysis.sweeps.measurement import Value
from analysis.sweeps.result import StudyResult
from analysis.sweeps.shapes import check_figure

Array = npt.NDArray[np.float64]

COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Okabe-Ito colours."""
NAMES = {
    "kl_2d": "KL divergence (nat)", "sliced_wasserstein": "sliced Wasserstein distance (unit)",
    "kl_authors": "published KL (nat)", "write_noise": "write noise", "read_noise": "read noise", "ode": "ODE",
    "sde": "SDE", "steps": "steps",
    "weight": "of the weight", "memory": "of G_mem", "layer": "layer", "all": "all layers",
}  # fmt: skip


def draw(result: StudyResult, folder: Path) -> list[Path]:
    """Draw a study's figures into `folder`; return the files.

    Raises:
        StudyError: the study does not fit the figure that it asks for.
    """
    kind = str(result.about["figure"])
    check_figure(kind, str(result.about["measure"]), list(result.axes), result.metrics)
    return [KINDS[kind](result, folder)]


def said(name: Value) -> str:
    """A name or value for people."""
    return NAMES.get(str(name), str(name))


def label(result: StudyResult) -> str:
    """Which study, which network, how many samples."""
    parts = [f"study {result.about['study']}"]
    if "model" in result.about:
        parts += [
            f"network {Path(str(result.about['model'])).stem}",
            f"{int(result.about['trajectories']):,} samples a seed",
        ]
    counts = result.table("seeds")
    low, high = int(counts.min()), int(counts.max())
    parts.append(f"{low} seeds a point" if low == high else f"{low} to {high} seeds a point")
    return " · ".join(parts) + " · intervals: 95 % of the mean"


def line(
    ax: Axes, x: Sequence[float], triple: tuple[Array, Array, Array], colour: str, name: str, fmt: str = "o-"
) -> None:
    """A metric against x with its interval."""
    mean, low, high = triple
    error = np.nan_to_num(np.stack([mean - low, high - mean]))
    ax.errorbar(x, mean, yerr=error, fmt=fmt, color=colour, label=name, markersize=4, linewidth=1.2, capsize=2)


def floor(ax: Axes, result: StudyResult, metric: str) -> None:
    """What draws of the truth score."""
    value = result.note(metric, "floor")
    if value is not None:
        ax.axhline(float(value), color=GREY, linewidth=0.9, linestyle=":", label="draws of the truth")


def noise_axis(ax: Axes, values: Sequence[float], title: str) -> None:
    """Fractions of noise as percent, zero included."""
    positive = [v for v in values if v > 0]
    ax.set_xscale("symlog", linthresh=min(positive, default=1.0), linscale=0.4)
    ax.set_xticks(list(values), [f"{100 * v:g}" for v in values])
    ax.minorticks_off()
    ax.set_xlabel(title)


def title(fig: Figure, result: StudyResult) -> None:
    """The study's own title and the caption."""
    fig.suptitle(str(result.about["title"] or result.about["study"]), x=0.01, ha="left", fontsize=13)
    caption(fig, label(result))


def lines(result: StudyResult, folder: Path) -> Path:
    """Any study: its longest axis of numbers along x, the next one in colours, a panel for each point of the others."""
    metric = result.metrics[0]
    numeric = [n for n, v in result.axes.items() if all(isinstance(x, int | float) for x in v)]
    along = max(numeric, key=lambda n: len(result.axes[n]), default=next(iter(result.axes)))
    others = [n for n in result.axes if n != along]
    colour = max(others, key=lambda n: len(result.axes[n]), default="")
    panels = [n for n in others if n != colour]
    shown = list(itertools.product(*(result.axes[n] for n in panels)))[:12]
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    with figure(3.6 * columns + 1.2, 3.2 * rows + 0.6) as fig:
        grid = np.atleast_1d(fig.subplots(rows, columns, sharey=True)).ravel()
        x = [float(v) for v in result.axes[along]] if along in numeric else list(range(len(result.axes[along])))
        for ax, at in itertools.zip_longest(grid, shown):
            if at is None:
                ax.set_visible(False)
                continue
            held = dict(zip(panels, at, strict=True))
            for k, value in enumerate(result.axes[colour] if colour else ("",)):
                chosen = {**held, colour: value} if colour else held
                triple = _scalars(result, metric, chosen)
                line(
                    ax,
                    x,
                    triple,
                    COLOURS[k % len(COLOURS)],
                    f"{said(colour)} {said(value)}" if colour else said(metric),
                )
            floor(ax, result, metric)
            ax.set_title(", ".join(f"{said(n)} {said(v)}" for n, v in held.items()), fontsize=9.5)
            ax.set_xlabel(said(along))
            if along not in numeric:
                ax.set_xticks(x, [said(v) for v in result.axes[along]])
        grid[0].set_ylabel(said(metric))
        grid[0].legend(fontsize=8)
        title(fig, result)
        return save(fig, folder / "lines.png")


def _scalars(result: StudyResult, metric: str, at: dict[str, Value]) -> tuple[Array, Array, Array]:
    """A metric's interval; of a series its last point."""
    mean, low, high = result.interval(metric, **at)
    return (mean, low, high) if mean.ndim == 1 else (mean[..., -1], low[..., -1], high[..., -1])


def grid(result: StudyResult, folder: Path) -> Path:
    """Write x read noise as a map for each definition of the noise (paper, Fig. 5e)."""
    metric = result.metrics[0]
    kinds = result.axes["relative_to"]
    writes, reads = ([float(v) for v in result.axes[n]] for n in ("write_noise", "read_noise"))
    tables = [result.interval(metric, relative_to=kind) for kind in kinds]
    order = [n for n in result.axes if n != "relative_to"]
    flip = order.index("write_noise") == 1
    logs = np.log10(np.stack([t[0].T if flip else t[0] for t in tables]))
    with figure(5.4 * len(kinds) + 0.8, 4.6) as fig:
        axes = np.atleast_1d(fig.subplots(1, len(kinds)))
        for ax, kind, table, (mean, low, high) in zip(axes, kinds, logs, tables, strict=True):
            image = ax.imshow(
                table.T, origin="lower", cmap=CONDUCTANCE, vmin=logs.min(), vmax=logs.max(), aspect="auto"
            )
            for i, j in np.ndindex(*table.shape):
                at = (j, i) if flip else (i, j)
                half = 0.5 * (high[at] - low[at])
                light = table[i, j] < 0.5 * (logs.min() + logs.max())
                ax.text(i, j, f"{mean[at]:.2g}\n±{half:.1g}", ha="center", va="center", fontsize=7.5,
                        color="white" if light else "black")  # fmt: skip
            ax.set_xticks(range(len(writes)), [f"{100 * v:g}" for v in writes])
            ax.set_yticks(range(len(reads)), [f"{100 * v:g}" for v in reads])
            ax.set_xlabel(f"write noise (% {said(kind)})")
            ax.set_ylabel(f"read noise (% {said(kind)})")
            ax.set_title(f"noise relative to {'the weight' if kind == 'weight' else 'G_mem'}")
        bar = fig.colorbar(image, ax=axes.tolist(), label=said(metric), shrink=0.9)
        ticks = np.log10([v for v in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10) if logs.min() <= np.log10(v) <= logs.max()])
        bar.set_ticks(ticks.tolist(), labels=[f"{10**t:g}" for t in ticks])
        title(fig, result)
        return save(fig, folder / "grid.png")


def solvers(result: StudyResult, folder: Path) -> Path:
    """Write noise alone and read noise alone, for both solvers and both definitions (paper, Fig. 5f)."""
    return _alone(result, folder / "solvers.png", "method")


def layers(result: StudyResult, folder: Path) -> Path:
    """Write noise alone and read noise alone, layer by layer and for both definitions."""
    return _alone(result, folder / "layers.png", "layer")


def _alone(result: StudyResult, path: Path, colour: str) -> Path:
    metric = result.metrics[0]
    kinds = result.axes["relative_to"]
    with figure(4.6 * len(kinds) + 0.6, 6.8) as fig:
        rows = fig.subplots(2, len(kinds), sharey=True, squeeze=False)
        for axes, noise, other in zip(rows, ("write_noise", "read_noise"), ("read_noise", "write_noise"), strict=True):
            values = [float(v) for v in result.axes[noise]]
            for ax, kind in zip(axes, kinds, strict=True):
                for k, value in enumerate(result.axes[colour]):
                    held: dict[str, Value] = {"relative_to": kind, other: result.axes[other][0], colour: value}
                    name = f"layer {int(value) + 1}" if colour == "layer" and value != "all" else said(value)
                    line(ax, values, result.interval(metric, **held), COLOURS[k], name)
                floor(ax, result, metric)
                ax.set_yscale("log")
                noise_axis(ax, values, f"{said(noise)} (% {said(kind)})")
            axes[0].set_ylabel(said(metric))
        rows[0][0].legend(fontsize=8.5)
        title(fig, result)
        return save(fig, path)


def steps(result: StudyResult, folder: Path) -> Path:
    """Quality against the number of steps, with and without read noise."""
    metric = result.metrics[0]
    x = [float(v) for v in result.axes["steps"]]
    with figure(7.2, 4.6) as fig:
        ax = fig.subplots()
        for k, method in enumerate(result.axes["method"]):
            for style, noise in zip(("o-", "s--", "^:"), result.axes.get("read_noise", (None,)), strict=False):
                held = {"method": method} if noise is None else {"method": method, "read_noise": noise}
                extra = f", read noise {100 * float(noise):g} % {said(result.fixed['relative_to'])}" if noise else ""
                line(ax, x, result.interval(metric, **held), COLOURS[k], said(method) + extra, style)
        floor(ax, result, metric)
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xticks(x, [f"{v:g}" for v in x])
        ax.minorticks_off()
        ax.set_xlabel("steps of a solution")
        ax.set_ylabel(said(metric))
        ax.legend(fontsize=8.5)
        title(fig, result)
        return save(fig, folder / "steps.png")


def energy(result: StudyResult, folder: Path) -> Path:
    """Quality against the energy of a sample, analog (projected, with its range) and digital (arithmetic alone)."""
    metric = result.metrics[0]
    with figure(7.6, 4.8) as fig:
        ax = fig.subplots()
        for k, method in enumerate(result.axes["method"]):
            mean, low, high = result.interval(metric, method=method)
            quality = np.nan_to_num(np.stack([mean - low, high - mean]))
            analog, best, worst = (result.table(f"analog_energy{s}", method=method) for s in ("", "_best", "_worst"))
            name = f"{said(method)}, integrated analog (projected; shaded: its assumptions' range)"
            ax.errorbar(analog, mean, yerr=quality, fmt="o-", color=COLOURS[k], label=name, markersize=4)
            ax.fill_betweenx(mean, best, worst, color=COLOURS[k], alpha=0.13, linewidth=0)
            digital = result.table("digital_energy", method=method)
            ax.errorbar(digital, mean, yerr=quality, fmt="s--", color=COLOURS[k], mfc="white", markersize=4,
                        label=f"{said(method)}, digital arithmetic alone at 180 nm (estimated)")  # fmt: skip
            if k == 0:
                for x, y, n in zip(digital, mean, result.axes["steps"], strict=True):
                    ax.annotate(
                        f"{n}", (float(x), float(y)), (3, 4), textcoords="offset points", fontsize=7, color=GREY
                    )
        ax.axvline(7.2e-6, color=GREY, linestyle="-.", linewidth=0.9, label="paper: 7.2 µJ (projected)")
        floor(ax, result, metric)
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel("energy of a sample (J); numbers: steps")
        ax.set_ylabel(said(metric))
        ax.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0.0, 0.06))
        title(fig, result)
        return save(fig, folder / "energy.png")


def paths(result: StudyResult, folder: Path) -> Path:
    """Trajectories over time for both solvers and growing read noise (paper, Fig. 5d)."""
    noises, methods = result.axes["read_noise"], result.axes["method"]
    time = result.tables["path_time"]
    with figure(3.3 * len(noises) + 0.4, 2.6 * len(methods) + 0.8) as fig:
        axes = fig.subplots(len(methods), len(noises), sharex=True, sharey=True, squeeze=False)
        for row, method in zip(axes, methods, strict=True):
            for ax, noise in zip(row, noises, strict=True):
                held = {"method": method, "read_noise": noise}
                for k, path in enumerate(result.table("path_x_values", **held)[:8]):
                    ax.plot(time, path, color=COLOURS[k % len(COLOURS)], linewidth=0.9)
                kl, low, high = (float(v) for v in result.interval("kl_2d", **held))
                ax.set_title(f"{said(method)}, read noise {100 * float(noise):g} %", fontsize=9.5)
                text = f"KL {kl:.3f} ± {0.5 * (high - low):.3f}"
                if "wander" in result.tables:
                    text += f", noise moves the end by {float(result.table('wander', **held)):.2g}"
                ax.text(0.98, 0.03, text, transform=ax.transAxes, ha="right", fontsize=7.5, color=GREY)
            row[0].set_ylabel("x (unit of 0.1 V)")
        for ax in axes[-1]:
            ax.set_xlabel("time (of a solution)")
        title(fig, result)
        return save(fig, folder / "paths.png")


KINDS: dict[str, Callable[[StudyResult, Path], Path]] = {
    "lines": lines, "grid": grid, "solvers": solvers, "layers": layers, "steps": steps, "energy": energy,
    "paths": paths, "writing": studies_devices.writing, "violins": studies_devices.violins,
    "ageing": studies_devices.ageing,
}  # fmt: skip
"""How a study may be drawn; `analysis.sweeps.shapes` has what each asks of a study."""
