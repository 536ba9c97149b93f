"""Chip in the loop: with a chip's conductances measured and frozen, what stays digital is trained again.

Digital are the embedding's tables, which reach both hidden layers as currents and so also carry each channel's
constant offset, the coefficient tables fx and g2, and one trim for each integrator. The layers' gains are resistors on
the board; they take part only if asked for. The objective is the one that the flow was trained with, distribution
matching, on the one network that is really there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from analysis.diffusion.descent import Descent, one_thread
from analysis.diffusion.flow import Knobs, run_flow
from analysis.diffusion.hardware import AnalogNetwork, Drive
from analysis.diffusion.network import tensor
from analysis.diffusion.objective import matching_loss

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CompensationSettings:
    """How a chip is compensated; the default takes about 15 s of one core.

    `steps` must divide the drive's ticks.
    """

    iterations: int = 500
    batch: int = 512
    rate: float = 1e-2
    steps: int = 40
    knots: int = 17
    widths: tuple[float, float] = (0.03, 0.15)
    references: int = 512
    clip: float = 0.3
    adjust_gains: bool = False


def compensate(
    network: AnalogNetwork,
    drive: Drive,
    data: Array,
    rng: np.random.Generator,
    settings: CompensationSettings | None = None,
) -> tuple[AnalogNetwork, Drive]:
    """Return the circuit, with other gains if `adjust_gains`, and a drive under which its flow ends in `data` (n, 2).

    `network` has the conductances, and the offsets if they are known, that were measured.
    """
    settings = settings or CompensationSettings()
    if drive.ticks % settings.steps:
        raise ValueError(f"{settings.steps} steps do not divide the drive's {drive.ticks} ticks")
    frozen = [tensor(w)[None] for w in network.weights]
    offsets = None if network.offsets is None else [tensor(o) for o in network.offsets]
    points = tensor(data)
    knobs = Knobs(drive.a, drive.b, drive.embedding, drive.trim, settings.knots)
    parameters = [knobs.embedding, knobs.log_coefficients, knobs.trim]
    if settings.adjust_gains:
        parameters.append(knobs.log_gains)
    descend = Descent(parameters, settings.rate, settings.iterations, (0.9, 0.99), settings.clip)
    with one_thread():
        for _ in range(settings.iterations):
            start = tensor(drive.prior.draw(settings.batch, rng))[None]
            x = run_flow(knobs.gained(frozen), knobs.tables().coarse(settings.steps), start, network.clamp, offsets)
            descend(matching_loss(x, points, rng, settings.widths, settings.references))
    with torch.no_grad():
        gains = np.exp(knobs.log_gains.numpy().astype(np.float64))
    tuned = replace(network, gains=tuple(float(g * f) for g, f in zip(network.gains, gains, strict=True)))
    return tuned, replace(knobs.tables().drive(drive.prior), noise=drive.noise)
