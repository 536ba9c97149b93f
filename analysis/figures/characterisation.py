"""Figures of single cells at work: forming, quasi-static I-V (Fig. 2c), pulse response, levels (Fig. 2d)."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from analysis.characterisation import paper
from analysis.characterisation.forming import summarise_forming
from analysis.characterisation.iv import CellCurves, summarise_iv
from analysis.characterisation.levels import CellLevels, LevelSummary, summarise_levels
from analysis.characterisation.pulses import VARIED, PulseSummary, summarise_pulses
from analysis.figures.programming import label
from analysis.figures.style import BLUE, CONDUCTANCE, GREEN, GREY, ORANGE, caption, figure, save
from analysis.records import RunFile

Floats = npt.NDArray[np.float64]
SHOWN = 200
"""Curves drawn of one cell; more would only make the file larger."""


def draw_forming(run: RunFile, folder: Path) -> list[Path]:
    """Gate at which cells were formed, and their conductance before and after."""
    s = summarise_forming(run)
    with figure(10.5, 4.2) as fig:
        left, right = fig.subplots(1, 2)
        left.set_xlabel("gate of the pulse that formed the cell (V)")
        left.set_ylabel("cells")
        left.set_title("where cells form")
        ramp = sorted({p[2] for p in run.header.parameters["pulses"]})
        half = 0.5 * (ramp[1] - ramp[0])
        edges = [ramp[0] - half, *(g + half for g in ramp)]
        left.hist(s.gates, edges, color=BLUE, alpha=0.8)
        low = np.geomspace(1e-9, 3e-4, 60)
        after = np.asarray(run.cells["conductance"])[np.asarray(run.cells["pulses"]) > 0]
        right.hist(np.maximum(s.before, 1e-9) * 1e6, low * 1e6, color=GREY, label="before")
        right.hist(np.maximum(after, 1e-9) * 1e6, low * 1e6, color=ORANGE, alpha=0.8, label="after")
        right.axvline(
            float(run.header.parameters["formed"]) * 1e6, color=GREEN, linestyle="--", label="counts as formed"
        )
        right.set_xscale("log")
        right.set_xlabel("conductance (µS)")
        right.set_ylabel("cells")
        right.set_title("before and after")
        right.legend(loc="upper center")
        fig.suptitle(f"Forming: {s.formed} of {s.cells} cells conduct", x=0.01, ha="left", fontsize=13)
        caption(fig, label(run))
        return [save(fig, folder / "forming.png")]


def draw_iv(run: RunFile, folder: Path) -> list[Path]:
    """A figure a cell: all cycles, their mean, and the cycle-to-cycle spread of what they give."""
    s = summarise_iv(run)
    return [_iv(run, s.volts, c, s.cycles, folder / f"iv-r{c.place[0]}-c{c.place[1]}.png") for c in s.cells]


def _iv(run: RunFile, volts: Floats, c: CellCurves, asked: int, path: Path) -> Path:
    with figure(10.5, 5.6) as fig:
        wide, stack = np.ravel(fig.subfigures(1, 2, width_ratios=[1.6, 1], squeeze=False))
        ax = wide.subplots()
        micro = np.abs(c.amps) * 1e6
        floor = 0.05
        step = max(1, len(micro) // SHOWN)
        for k in (0, 1):
            ax.plot(volts[k], np.maximum(micro[::step, k].T, floor), color=GREY, linewidth=0.4, alpha=0.25)
            with np.errstate(invalid="ignore"):
                mean = np.maximum(np.nanmean(micro[:, k], axis=0), floor)
            ax.plot(volts[k], mean, color=(BLUE, ORANGE)[k], linewidth=2.2, label=f"{('SET', 'RESET')[k]}, mean")
        limit = float(run.header.parameters["set"]["compliance"]) * 1e6
        if c.limited[:, 0].any():
            ax.axhline(limit, color=GREEN, linestyle="--", linewidth=1, label=f"compliance {limit:g} µA")
        ax.set_yscale("log")
        ax.set_ylim(bottom=floor)
        ax.set_xlabel("voltage, bit line against source line (V)")
        ax.set_ylabel("|current| (µA)")
        ax.set_title(f"{len(c.amps)} cycles and their mean")
        ax.legend(loc="lower right", fontsize=9)
        voltages, states = stack.subplots(2, 1)
        _switching(voltages, volts, c)
        cycle = np.arange(1, len(c.amps) + 1)
        low = slice(1, 1 + int((np.abs(volts[0][1 : volts.shape[1] // 2]) <= 0.3).sum()))
        for k, name, colour in ((0, "on", BLUE), (1, "off", ORANGE)):
            v = volts[k][::-1][low]
            g = (c.amps[:, k, ::-1][:, low] * v).sum(axis=1) / (v @ v) * 1e6
            states.plot(cycle, g, ".", markersize=3, color=colour, label=name)
        states.set_yscale("log")
        states.set_xlabel("cycle")
        states.set_ylabel("conductance (µS)")
        states.legend(fontsize=9, loc="center right")
        title = f"Quasi-static I-V of cell ({c.place[0]},{c.place[1]}): on/off {c.ratio:.1f}, {c.switched:.0%} switched"
        fig.suptitle(title, x=0.01, ha="left", fontsize=13)
        caption(fig, f"{label(run)} · {paper.IV}")
        return save(fig, path)


def _switching(ax: Axes, volts: Floats, c: CellCurves) -> None:
    ax.set_title("switching voltages", fontsize=10)
    for estimate, sigma, colour, name in (
        (c.set_volts, c.set_sigma, BLUE, "SET"), (c.reset_volts, c.reset_sigma, ORANGE, "RESET"),
    ):  # fmt: skip
        if not np.isfinite(estimate.value) or not sigma.value > 0:
            continue
        sign = 1 if name == "SET" else -1
        x = np.linspace(-4, 4, 100) * sigma.value + sign * estimate.value
        y = np.exp(-0.5 * ((x - sign * estimate.value) / sigma.value) ** 2)
        ax.fill_between(
            x, y, color=colour, alpha=0.5, label=f"{name} {estimate.value:.2f} V, σ {sigma.value * 1e3:.0f} mV"
        )
    ax.set_xlim(volts[1].min(), volts[0].max())
    ax.set_ylim(0, 1.9)
    ax.set_yticks([])
    ax.set_xlabel("voltage (V)")
    ax.legend(fontsize=8, loc="upper left")


def draw_pulses(run: RunFile, folder: Path) -> list[Path]:
    """Conductance after one pulse against amplitude, gate and width: each cell, and the mean of those that respond."""
    s = summarise_pulses(run)
    names = {
        "set_volts": ("SET against amplitude", "amplitude (V)"), "set_gate": ("SET against gate", "gate (V)"),
        "set_width": ("SET against width", "width (µs)"), "reset_volts": ("RESET against amplitude", "amplitude (V)"),
        "reset_width": ("RESET against width", "width (µs)"),
    }  # fmt: skip
    with figure(10.5, 6.4) as fig:
        axes = fig.subplots(2, 3).ravel()
        for ax, (name, (title, axis)) in zip(axes, names.items(), strict=False):
            _ladder(ax, s, name)
            ax.set_title(title)
            ax.set_xlabel(axis)
            ax.set_ylabel("conductance after (µS)")
        text = axes[5]
        text.axis("off")
        lines = [f"{s.responsive} of {len(s.cells)} cells respond"]
        if s.responsive:
            lines += [
                f"SET half way at {s.set_threshold.value:.2f} ± {s.set_threshold.error:.2f} V",
                f"RESET half way at {s.reset_threshold.value:.2f} ± {s.reset_threshold.error:.2f} V",
                f"gate slope {s.gate_slope.value * 1e6:.0f} ± {s.gate_slope.error * 1e6:.0f} µS/V",
                f"gate threshold {s.gate_threshold.value:.2f} ± {s.gate_threshold.error:.2f} V",
                f"equal SETs: σ {s.set_repeat.value * 1e6:.1f} µS",
            ]
        text.text(0, 0.95, "\n\n".join(lines), va="top", fontsize=11)
        fig.suptitle("One pulse from the same state, each cell and the mean", x=0.01, ha="left", fontsize=13)
        caption(fig, label(run))
        return [save(fig, folder / "pulses.png")]


def _ladder(ax: Axes, s: PulseSummary, name: str) -> None:
    scale = 1e6 if VARIED[name] == 4 else 1.0
    colour = BLUE if name.startswith("set") else ORANGE
    curves = []
    for cell in s.cells:
        x, _, after = cell.ladder(name)
        levels = np.unique(x[np.isfinite(x)])
        mean = np.array([np.nanmean(after[x == v]) for v in levels])
        ax.plot(levels * scale, mean * 1e6, color=colour if cell.responsive else GREY, linewidth=0.8, alpha=0.5)
        if cell.responsive:
            curves.append((levels, mean))
    if curves and all(len(c[0]) == len(curves[0][0]) for c in curves):
        ax.plot(curves[0][0] * scale, np.mean([c[1] for c in curves], axis=0) * 1e6, ".-", color="black", linewidth=1.8)
    if VARIED[name] == 4:
        ax.set_xscale("log")
    ax.set_ylim(bottom=0)


def draw_levels(run: RunFile, folder: Path) -> list[Path]:
    """A figure a responsive cell: the I-V line of every level, and read-back against level."""
    s = summarise_levels(run)
    return [_levels(run, s, c, folder / f"levels-r{c.place[0]}-c{c.place[1]}.png") for c in s.cells]


def _levels(run: RunFile, s: LevelSummary, c: CellLevels, path: Path) -> Path:
    with figure(10.5, 5.4) as fig:
        lines, points = fig.subplots(1, 2)
        norm = Normalize(s.low * 1e6, s.high * 1e6)
        colours = mpl.colormaps[CONDUCTANCE]
        for target, amps in zip(s.targets, c.amps, strict=True):
            lines.plot(s.volts, amps * 1e6, ".-", color=colours(norm(target * 1e6)), linewidth=0.8, markersize=3)
        fig.colorbar(ScalarMappable(norm, CONDUCTANCE), ax=lines, label="level asked for (µS)", shrink=0.85)
        lines.set_xlim(left=0)
        lines.set_ylim(bottom=0)
        lines.set_xlabel("read voltage (V)")
        lines.set_ylabel("current (µA)")
        lines.set_title(f"{len(s.targets)} levels, nonlinearity {c.nonlinearity.value:.2%}")
        points.plot(
            [s.low * 1e6, s.high * 1e6], [s.low * 1e6, s.high * 1e6], color=GREY, linewidth=0.8, label="as asked for"
        )
        points.errorbar(
            s.targets * 1e6, c.conductance * 1e6, yerr=2 * c.read_sigma * 1e6, fmt=".", color=BLUE, markersize=4,
            elinewidth=0.8, label="read back, ±2σ of one read",
        )  # fmt: skip
        points.set_xlabel("level asked for (µS)")
        points.set_ylabel("conductance read back (µS)")
        points.set_title(f"error σ {c.error.value * 1e6:.2f} µS")
        points.legend(loc="upper left", fontsize=9)
        text = f"{c.discernible} of {len(s.targets)} levels told apart" if c.responsive else "can't be programmed"
        fig.suptitle(f"Levels of cell ({c.place[0]},{c.place[1]}): {text}", x=0.01, ha="left", fontsize=13)
        caption(fig, f"{label(run)} · {paper.LEVELS}")
        return save(fig, path)
