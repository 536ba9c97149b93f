"""Offsets that were put into a loop are found from its waveforms, and taken away."""

import numpy as np
import pytest

from analysis.calibration import LoopTables, fit_loop, fit_network
from analysis.diffusion.hardware import LAYER_SHAPES, AnalogNetwork

TICKS = 200


def tables() -> LoopTables:
    t = np.linspace(0, 1, TICKS)
    return LoopTables(-0.9 * (1 - t), 0.8 * (1 - 0.7 * t), 5e-3, 0.4, 0.2, 5.0)


def waves(
    loop: LoopTables, errors: np.ndarray, noise: float, runs: int = 24
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A loop whose network is a rotation, solved in small steps with errors added; seen at 1 kHz with noise."""
    rng = np.random.default_rng(1)
    steps = 10
    dt = loop.tick / steps
    x = rng.normal(0, 0.07, (runs, 2))
    seen_x, seen_n = [], []
    for k in range(TICKS * steps):
        n = 0.3 * np.stack([-x[:, 1], x[:, 0]], axis=1) + 0.02
        if k % 2 == 0:
            seen_x.append(x)
            seen_n.append(n)
        fx, g2 = loop.fx[k // steps], loop.g2[k // steps]
        slope = -loop.kx * fx * x + loop.kn * loop.output_gain * g2 * n
        slope = slope + errors[0] + errors[1] * fx + errors[2] * g2 + errors[3] * x + errors[4] * n
        x = x + dt * slope
    times = np.arange(len(seen_x)) * 2 * dt
    scope = noise * rng.standard_normal((2, runs, len(times), 2))
    return times, np.stack(seen_x, axis=1) + scope[0], np.stack(seen_n, axis=1) + scope[1]


def test_loop_errors_are_found_within_their_standard_errors() -> None:
    loop = tables()
    truth = np.array([[0.02, -0.03], [0.004, 0.002], [-0.003, 0.005], [0.01, -0.02], [0.03, 0.01]])
    found = fit_loop(*waves(loop, truth, 0.3e-3), loop)
    assert np.abs(found.coefficients - truth) == pytest.approx(0, abs=max(5 * found.sigma.max(), 0.02))
    # What matters is the slope they add along the tables, not how it is shared out among the terms.
    basis = np.stack([np.ones(TICKS), loop.fx, loop.g2])
    left = (found.coefficients[:3] - truth[:3]).T @ basis
    assert np.sqrt((left**2).mean()) < 2e-3


def test_a_trim_takes_the_tables_part_away() -> None:
    loop = tables()
    truth = np.zeros((5, 2))
    truth[:3] = [[0.02, -0.03], [0.004, 0.002], [-0.003, 0.005]]
    found = fit_loop(*waves(loop, truth, 0.2e-3), loop)
    trim = found.trim(loop, 2.0)
    added = truth[0] + np.outer(loop.fx, truth[1]) + np.outer(loop.g2, truth[2])
    assert np.abs(2.0 * trim + added).max() < 3e-3


def test_a_meant_slope_is_no_error() -> None:
    loop = tables()
    meant = np.array([0.01, -0.02])
    truth = np.zeros((5, 2))
    truth[0] = meant
    found = fit_loop(*waves(loop, truth, 0.0), loop, meant)
    assert np.abs(found.trim(loop, 1.0)).max() < 1e-3


def test_offsets_inside_the_network_are_found_as_far_as_they_matter() -> None:
    rng = np.random.default_rng(3)
    conductances = tuple(rng.uniform(20e-6, 100e-6, shape) for shape in LAYER_SHAPES)
    gains = (1 / 30e-6, 1 / 120e-6, 1 / 80e-6)
    offsets = tuple(rng.normal(0, 0.05, shape[0]) for shape in LAYER_SHAPES)
    ideal = AnalogNetwork(conductances, gains)
    real = AnalogNetwork(conductances, gains, offsets=offsets)
    x = rng.normal(0, 0.6, (600, 2))
    embedding = rng.normal(0, 0.5, (600, 14))
    n = real(x, embedding) + 0.005 * rng.standard_normal((600, 2))
    _, before, after = fit_network(ideal, 0.1 * x, 0.1 * n, embedding)
    assert before > 3e-3
    assert after < 0.25 * before
