"""What a sample of a given number of steps costs: an integrated analog design, and arithmetic on a digital one.

Nothing is measured: the analog numbers are `analysis.projection` with all its assumptions and ranges, the digital ones
the operation count of `analysis.baseline`. A step is a tick of the converters there and an evaluation of the network
here. The analog amplifiers burn what the tick's settling asks of them, so that fewer ticks are cheaper there too.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from analysis.diffusion.hardware import UNIT_VOLT
from analysis.diffusion.model import TrainedModel
from analysis.projection import RANGES, Integrated, noise_gain_of, project
from analysis.sweeps.measurement import Output

Array = npt.NDArray[np.float64]

ENERGIES = {
    "analog_energy": Output("energy of a sample in an integrated analog design (projected)", "J"),
    "analog_energy_best": Output("the same, every assumption at its better bound", "J"),
    "analog_energy_worst": Output("the same, every assumption at its worse bound", "J"),
    "digital_energy": Output("arithmetic alone of a digital sample at 180 nm, no memory, no control (estimated)", "J"),
}
_POINTS = 256


def energies(model: TrainedModel, steps: int) -> dict[str, float]:
    """Return `ENERGIES` of one sample in `steps` steps, J."""
    from analysis.baseline import EnergyModel  # brings torch along

    network = model.ideal_network()
    design = Integrated(
        array_power=array_power(model), noise_gain=noise_gain_of(network), ticks=float(steps),
        amplifiers_for_bandwidth=True,
    )  # fmt: skip
    # The number of ticks is what the study varies: here it is no assumption.
    band = project(design, {name: span for name, span in RANGES.items() if name != "ticks"}).energy
    digital = EnergyModel().estimates(0.0, steps, gpu=False)
    return {
        "analog_energy": band.nominal, "analog_energy_best": band.low, "analog_energy_worst": band.high,
        "digital_energy": next(e.joules for e in digital if "180 nm" in e.label),
    }  # fmt: skip


def array_power(model: TrainedModel) -> float:
    """Return the mean power in cells and shared negative weights during a solution, W: V^2 G at the clamped voltages.

    A row's negative weight carries the sum of its inputs' voltages (paper, Fig. 2h).
    """
    network, drive = model.ideal_network(), model.drive
    x = drive.prior.draw(_POINTS, np.random.default_rng(11))
    total = 0.0
    for a, b, embedding in zip(drive.a, drive.b, drive.embedding, strict=True):
        first, second, out = network.layer_voltages(x, embedding)
        for g, inputs in zip(network.conductances, (x, first, second), strict=True):
            volts = np.column_stack([np.clip(inputs, *network.clamp), np.ones(len(x))]) * UNIT_VOLT
            total += float((volts**2 @ g.sum(axis=0)).mean())
            total += len(g) * network.window.g_fixed * float((volts.sum(axis=1) ** 2).mean())
        x = x + (a * x + b * out + drive.trim) / drive.ticks
    return total / drive.ticks
