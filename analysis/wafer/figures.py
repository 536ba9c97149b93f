"""Maps of chips and arrays side by side, and profiles over rows and columns."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from analysis.cost import si
from analysis.figures.style import BLUE, CONDUCTANCE, DIVERGING, GREY, ORANGE, caption, figure, save
from analysis.wafer.collect import CellMap
from analysis.wafer.permutation import Floats
from analysis.wafer.statistics import Stat, View

_ACROSS = 3
_SHEET = 12
"""Maps of one picture."""
_UNKNOWN = "#e6e6e6"


def draw_view(view: View, folder: Path, note: str) -> list[Path]:
    """Draw a quantity's maps into `folder`, and its profiles over rows and columns if it was found, not done."""
    made = []
    for k in range(0, len(view.maps), _SHEET):
        number = f"-{k // _SHEET + 1}" if len(view.maps) > _SHEET else ""
        made.append(_maps(view, view.maps[k : k + _SHEET], folder / f"{view.quantity.name}{number}.png", note))
    if not view.quantity.stress:
        made.append(_profiles(view, folder / f"{view.quantity.name}-profiles.png", note))
    return made


def prefix(values: Floats, unit: str) -> tuple[float, str]:
    """Factor and unit by which a quantity's numbers are easy to read."""
    known = np.abs(values[np.isfinite(values)])
    top = float(np.percentile(known, 90)) if known.size else 0.0
    if not unit or top == 0:
        return 1.0, unit
    said = si(top, unit).split()[1]
    named = said.removesuffix(unit)
    factor = {"f": 1e15, "p": 1e12, "n": 1e9, "u": 1e6, "m": 1e3, "": 1.0, "k": 1e-3, "M": 1e-6}[named]
    return factor, f"{named.replace('u', 'µ')}{unit}"


def _maps(view: View, maps: Sequence[CellMap], path: Path, note: str) -> Path:
    across = min(_ACROSS, max(len(maps), 2))
    down = -(-len(maps) // across)
    everything = np.concatenate([m.values.ravel() for m in view.maps])
    factor, unit = prefix(everything, view.quantity.unit)
    low, high = _span(everything * factor, view)
    with figure(10.5, 1.2 + 3.5 * down) as fig:
        axes = np.atleast_1d(fig.subplots(down, across)).ravel()
        for ax in axes[len(maps) :]:
            ax.set_visible(False)
        shown = None
        for ax, one in zip(axes, maps, strict=False):
            colours = ListedColormap([ORANGE, BLUE]) if view.quantity.verdict else _colours(view)
            ax.set_facecolor(_UNKNOWN)
            shown = ax.imshow(one.values * factor, cmap=colours, vmin=low, vmax=high, interpolation="nearest")
            if view.quantity.verdict:
                row, col = np.nonzero(one.values == 0)
                ax.plot(col, row, "x", color="black", markersize=5, markeredgewidth=1.4)
            ax.set_title(_map_title(one, view, factor, unit), fontsize=9.5)
            ax.set_xlabel("column", fontsize=9)
            ax.set_ylabel("row", fontsize=9)
            ax.tick_params(labelsize=8)
            for spine in ("top", "right"):
                ax.spines[spine].set_visible(True)
        if shown is not None and not view.quantity.verdict:
            label = f"{view.quantity.title}{f' ({unit})' if unit else ''}"
            bar = fig.colorbar(
                shown, ax=list(axes), label=label, shrink=min(1.0, 0.9 if down == 1 else 0.6), extend="both"
            )
            bar.ax.tick_params(labelsize=8)
        key = "bad cells are orange with a cross; grey: not known" if view.quantity.verdict else "grey: not known"
        title = f"{view.quantity.title[:1].upper()}{view.quantity.title[1:]}, {key}"
        fig.suptitle(title, x=0.01, ha="left", fontsize=12)
        caption(fig, note)
        return save(fig, path)


def _colours(view: View) -> str:
    return DIVERGING if view.quantity.about_zero else CONDUCTANCE


def _span(values: Floats, view: View) -> tuple[float, float]:
    """The scale that all maps share; a few cells far off don't make the others look alike."""
    known = values[np.isfinite(values)]
    if view.quantity.verdict:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(known, [1, 99])) if known.size else (0.0, 1.0)
    if view.quantity.about_zero:
        reach = max(abs(low), abs(high)) or 1.0
        return -reach, reach
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _map_title(one: CellMap, view: View, factor: float, unit: str) -> str:
    found = {s.name: s for s in view.arrays}[f"chip {one.chip or 'not named'}, array {one.array}"]
    chip = one.chip if len(one.chip) <= 24 else one.chip[:23] + "…"
    if view.quantity.verdict:
        said = f"{found.mean:.1%} of {found.count} good"
    else:
        said = f"mean {found.mean * factor:.3g}{f' {unit}' if unit else ''}, {found.count} cells".replace("-", "−")
    return f"{chip or 'not named'}, array {one.array}\n{said}"


def _profiles(view: View, path: Path, note: str) -> Path:
    everything = np.concatenate([m.values.ravel() for m in view.maps])
    factor, unit = prefix(everything, view.quantity.unit)
    if view.quantity.verdict:
        factor, unit = 100.0, "%"
    with figure(10.5, 3.4) as fig:
        left, right = fig.subplots(1, 2, sharey=True)
        for ax, lines, name in ((left, view.rows, "row"), (right, view.columns, "column")):
            _profile(ax, lines, view.whole, factor)
            ax.set_xlabel(name)
        left.set_ylabel(f"mean ({unit})" if unit else "mean")
        fig.suptitle(
            f"{view.quantity.title[:1].upper()}{view.quantity.title[1:]} by row and by column, 95 % intervals",
            x=0.01, ha="left", fontsize=12,
        )  # fmt: skip
        caption(fig, note)
        return save(fig, path)


def _profile(ax: Axes, lines: Sequence[Stat], whole: Stat, factor: float) -> None:
    known = [(k, s) for k, s in enumerate(lines) if s.count]
    at = [k for k, _ in known]
    mean = np.array([s.mean for _, s in known]) * factor
    low, high = (
        np.nan_to_num(np.array([getattr(s, end) for _, s in known]) * factor, nan=np.nan) for end in ("low", "high")
    )
    reach = np.abs(np.nan_to_num(np.stack([mean - low, high - mean])))
    ax.axhline(whole.mean * factor, color=GREY, linewidth=1, linestyle="--")
    ax.errorbar(at, mean, yerr=reach, fmt="o", color=BLUE, markersize=3.5, linewidth=1, capsize=0)
