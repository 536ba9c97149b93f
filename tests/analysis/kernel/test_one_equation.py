"""The bench's circuit and the sweeps' kernel solve one equation: the same device gives the same trajectories."""

from dataclasses import replace

import numpy as np
from scipy import stats
from twin import score_network

from analysis.diffusion.hardware import AnalogNetwork, Drive
from analysis.diffusion.sde import Prior
from analysis.kernel import compiled, loop
from analysis.kernel.equation import CellNoise, Equation
from analysis.kernel.solve import solve
from instruments.twin import circuit_kernel
from instruments.twin.circuit import Circuit, CircuitParams, Drives, OpAmp, ReadNoise, Rectifier

UNIT = 0.1  # V
PARAMS = CircuitParams(rectifier=Rectifier(0.0), op_amp=OpAmp.ideal())
CELLS = score_network.conductances(score_network.network())


def _equation(volts: np.ndarray, noise: CellNoise | None = None, trim: float = 0.0) -> Equation:
    """The circuit's schematic in units: gains as its parameters say, five steps a tick."""
    network = AnalogNetwork(CELLS, PARAMS.feedback)
    drive = Drive(
        volts[:, 1], volts[:, 0], volts[:, 2:16] / 0.5, PARAMS.gains.drift,
        PARAMS.gains.score * PARAMS.output_gain, Prior(0.7), np.array([trim, 0.0]),
    )  # fmt: skip
    return Equation.of_drive(network, drive, substeps=5, heun=True, read_noise=noise)


def test_without_noise_both_paths_give_the_same_trajectories() -> None:
    """300 runs of 1 s: single precision with 1000 steps is within 2e-5 of a unit (2 uV) of the circuit's doubles."""
    volts = score_network.drive_volts()
    volts[:, 16] = 0.02  # a trim: 20 mV on a noise channel move x by 20 mV in 1 s
    start = np.random.default_rng(1).normal(0.0, 0.9, (300, 2))
    bench = Circuit(PARAMS, CELLS).run(start * UNIT, Drives(volts)).final / UNIT
    equation = _equation(volts, trim=0.2)
    for path in ("compiled", "numpy"):
        sweep = solve(equation, 300, np.random.default_rng(0), start=start, path=path)
        assert np.abs(sweep - bench).max() < 2e-5
    # Clamps and rectifiers took part.
    assert np.abs(start).max() > 2.0


def test_with_read_noise_both_paths_give_the_same_distribution() -> None:
    """Cells that err by 10 % from step to step: means, deviations and shapes of the ends from one starting point."""
    n, relative, ticks = 3000, 0.1, 30
    step = 1.0 / (5 * ticks)
    volts = score_network.drive_volts(ticks, 1.0 / ticks)
    start = np.tile([0.4, -0.5], (n, 1))
    # A step averages the noise over its bandwidth 1 / (2 step).
    noise = ReadNoise(white_relative=relative, white_bandwidth=0.5 / step)
    circuit = Circuit(replace(PARAMS, read_noise=noise, max_step=step), CELLS)
    bench = circuit.run(start * UNIT, Drives(volts, 1.0 / ticks), rng=np.random.default_rng(2)).final / UNIT
    sweep = solve(_equation(volts, CellNoise(memory=relative)), n, np.random.default_rng(3), start=start).astype(float)
    spread = bench.std(axis=0)
    assert np.all(spread > 0.02)
    assert np.all(np.abs(bench.mean(axis=0) - sweep.mean(axis=0)) < 4.5 * np.sqrt(2.0 / n) * spread)
    assert np.all(np.abs(sweep.std(axis=0) / spread - 1.0) < 4.5 / np.sqrt(n))
    for k in range(2):
        assert stats.ks_2samp(bench[:, k], sweep[:, k]).pvalue > 1e-3


def test_both_kernels_are_written_in_the_one_equation() -> None:
    for name in ("limited", "disturbed", "rate", "mean_of_ends"):
        assert getattr(compiled, name) is getattr(circuit_kernel, name) is getattr(loop, name)
    assert loop.rate(2.0, 3.0, 5.0, 7.0, 11.0) == 42.0
    assert [loop.limited(v, -2.0, 4.0) for v in (-3.0, 1.0, 5.0)] == [-2.0, 1.0, 4.0]
    assert loop.disturbed(1.0, 0.5, -4.0) == -1.0
    assert loop.mean_of_ends(1.0, 4.0, 0.5) == 2.5
