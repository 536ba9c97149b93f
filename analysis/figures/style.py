"""One look for every figure: legible when printed, and for colour-blind readers."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

CONDUCTANCE = "viridis"
"""Perceptually even, reads in grey and without red-green vision."""
DIVERGING = "PuOr_r"
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"
"""Okabe-Ito colours."""

_RC: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "figure.dpi": 110,
    "savefig.dpi": 160,
    "legend.frameon": False,
}


@contextlib.contextmanager
def figure(width: float, height: float, **kwargs: Any) -> Iterator[Figure]:
    """A figure of `width` x `height` inches that needs no display and no global state."""
    with mpl.rc_context(_RC):
        fig = Figure(figsize=(width, height), layout="constrained", **kwargs)
        yield fig


def save(fig: Figure, path: Path) -> Path:
    """Write a PNG without a date in it, so that equal figures are equal files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_RC):
        fig.savefig(path, metadata={"Software": None})
    return path


def caption(fig: Figure, text: str) -> None:
    """A line at the bottom: which run, which world."""
    fig.supxlabel(text, fontsize=8, color=GREY, x=0.01, ha="left")
