"""The trade-off of write-verify algorithms: pulses against yield, with intervals."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from analysis.figures.style import BLUE, GREEN, GREY, ORANGE, caption, figure, save
from analysis.verify_bench import Line, Table

_COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", GREY)
_MARKERS = "osD^vP*X"
_LEAST = 2e-4
"""Shares outside below this are drawn on the axis' edge."""


def draw(table: Table, path: Path) -> Path:
    """Draw mean pulses against the share truly outside at 1e3 s, a panel a device; lower left is better."""
    presets = list(dict.fromkeys(line.preset for line in table.lines))
    names = list(dict.fromkeys(line.algorithm for line in table.lines))
    with figure(2.6 + 4.6 * len(presets), 4.8) as fig:
        axes = fig.subplots(1, len(presets), squeeze=False, sharey=True)[0]
        for ax, preset in zip(axes, presets, strict=True):
            for i, name in enumerate(names):
                lines = sorted(
                    (x for x in table.lines if (x.preset, x.algorithm) == (preset, name)), key=lambda x: x.pulses
                )
                _algorithm(ax, lines, name, _COLOURS[i % len(_COLOURS)], _MARKERS[i % len(_MARKERS)])
            ax.set(xscale="log", yscale="log", xlabel="pulses a cell, re-verify included", title=preset)
            plain = FuncFormatter(lambda value, _: f"{value:g}")
            ax.xaxis.set_major_formatter(plain)
            ax.xaxis.set_minor_formatter(FuncFormatter(lambda v, _: f"{v:g}" if f"{v:e}"[0] in "235" else ""))
            ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
            ax.yaxis.set_minor_formatter(NullFormatter())
            ax.grid(True, which="major", color="0.92")
        axes[0].set_ylim(_LEAST / 2, 1.0)
        axes[0].set_ylabel(f"outside ±{table.tolerance * 1e6:g} µS after 1000 s")
        axes[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        first = table.lines[0]
        caption(
            fig,
            f"SIMULATED (twin) · {first.chips} chips, {first.cells} cells that can move, {table.levels} levels · "
            "bars: 95 % intervals;\nthin line: to the 95th percentile of cells",
        )
        return save(fig, path)


def _algorithm(ax: Axes, lines: list[Line], name: str, colour: str, marker: str) -> None:
    x = [line.pulses for line in lines]
    y = [max(1 - line.inside[2].value, _LEAST) for line in lines]
    low = [max(1 - line.inside[2].high, _LEAST) for line in lines]
    high = [max(1 - line.inside[2].low, _LEAST) for line in lines]
    ax.errorbar(
        x, y, yerr=([a - b for a, b in zip(y, low, strict=True)], [b - a for a, b in zip(y, high, strict=True)]),
        xerr=[line.pulses_error for line in lines], color=colour, marker=marker, label=name, capsize=2, lw=1.2,
    )  # fmt: skip
    for line, height in zip(lines, y, strict=True):
        ax.plot([line.pulses, max(line.pulses_p95, line.pulses)], [height, height], color=colour, lw=0.6, alpha=0.6)
