"""What a figure asks of a study, so that a study that doesn't fit is refused before it is measured."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from analysis.sweeps.measurement import StudyError


@dataclass(frozen=True)
class Shape:
    """Axes that a figure needs, axes it may have besides, metrics that it needs, and of which measurement.

    `measure` "" is any; `free` takes any axes.
    """

    axes: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    measure: str = "samples"
    free: bool = False


_NOISES = ("relative_to", "write_noise", "read_noise")
FIGURES: dict[str, Shape] = {
    "lines": Shape(measure="", free=True),
    "grid": Shape(_NOISES),
    "solvers": Shape(("method", *_NOISES)),
    "layers": Shape(("layer", *_NOISES)),
    "steps": Shape(("method", "steps"), ("read_noise",)),
    "energy": Shape(
        ("method", "steps"), (), ("analog_energy", "analog_energy_best", "analog_energy_worst", "digital_energy")
    ),
    "paths": Shape(("method", "read_noise"), (), ("kl_2d", "path_x")),
    "writing": Shape(
        ("target", "window"), (),
        ("sigma", "sigma_of_memory", "sigma_of_weight", "inside", "pulses_mean", "error", "pulses", "trace"), "writing",
    ),
    "violins": Shape(
        ("target", "period"), (), ("sigma", "sigma_of_memory", "sigma_of_weight", "conductance"), "reading"
    ),
    "ageing": Shape(
        ("window",), (),
        ("kl_2d", "kl_2d_again", "sigma", "sigma_again", "inside", "inside_again", "pulses", "pulses_again",
         "kl_2d_targets"),
        "ageing",
    ),
}  # fmt: skip
"""By the name that a study file gives under `figure`."""


def check_figure(figure: str, measure: str, axes: Collection[str], metrics: Collection[str]) -> None:
    """Raise StudyError unless the figure exists and a study of these axes and metrics fits it."""
    if figure not in FIGURES:
        raise StudyError(f"there is no figure {figure!r} of a study; choose from {', '.join(FIGURES)}")
    shape = FIGURES[figure]
    if shape.measure and shape.measure != measure:
        raise StudyError(f"figure {figure!r} is one of measure {shape.measure}, not {measure}; take figure lines")
    wrong = [f"needs an axis {name!r}" for name in shape.axes if name not in axes]
    wrong += [f"takes no axis {name!r}" for name in axes if not shape.free and name not in shape.axes + shape.optional]
    wrong += [f"needs the metric {name!r}" for name in shape.metrics if name not in metrics]
    if wrong:
        raise StudyError(f"figure {figure!r} {wrong[0]}; take figure lines")
