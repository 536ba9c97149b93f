"""Chip in the loop for all classes: with a chip's conductances frozen, tables, class embeddings and trims learn again.

The same idea as `compensation`, for the tables of one mode. Digital are the embedding of each class, the common
coefficient tables, and one trim for each integrator and class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from analysis.diffusion.class_flow import ClassKnobs
from analysis.diffusion.conditional_model import ConditionalModel
from analysis.diffusion.descent import Descent, one_thread
from analysis.diffusion.hardware import AnalogNetwork
from analysis.diffusion.network import tensor
from analysis.diffusion.objective import matching_loss

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ClassCompensation:
    """How a chip is compensated; the default takes about 15 s of one core a mode. `steps` must divide the ticks."""

    iterations: int = 300
    batch: int = 256
    rate: float = 1e-2
    steps: int = 40
    knots: int = 17
    widths: tuple[float, float] = (0.03, 0.15)
    references: int = 512
    clip: float = 0.3


def compensate_conditional(
    network: AnalogNetwork,
    model: ConditionalModel,
    targets: Sequence[Array],
    rng: np.random.Generator,
    mode: str = "ode",
    settings: ClassCompensation | None = None,
) -> ConditionalModel:
    """Return the model with drives of `mode` under which this chip ends in `targets`, points (n, 2) of each class.

    `network` has the conductances, and the offsets if they are known, that were measured; all its gains stay.
    """
    settings = settings or ClassCompensation()
    before = [model.drive(k, mode) for k in range(model.classes)]
    if before[0].ticks % settings.steps:
        raise ValueError(f"{settings.steps} steps do not divide the drive's {before[0].ticks} ticks")
    knobs = ClassKnobs.of_drives(before, settings.knots)
    frozen = [tensor(w)[None] for w in network.weights]
    offsets = None if network.offsets is None else [tensor(o) for o in network.offsets]
    points = [tensor(t) for t in targets]
    step = Descent(knobs.parameters(trim=True), settings.rate, settings.iterations, (0.9, 0.99), settings.clip)
    prior = before[0].prior
    with one_thread():
        for _ in range(settings.iterations):
            start = tensor(prior.draw(settings.batch * len(points), rng))[None]
            ends = knobs.run(frozen, start, settings.steps, network.clamp, rng, offsets)
            losses = [
                matching_loss(x, own, rng, settings.widths, settings.references)
                for x, own in zip(ends, points, strict=True)
            ]
            step(sum(losses[1:], losses[0]) / len(losses))
    return replace(model, drives={**model.drives, mode: knobs.drives(prior)})
