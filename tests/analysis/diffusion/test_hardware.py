"""The analog model, its drive, and the loop around it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis.diffusion.hardware import LAYER_SHAPES, N_CELLS, AnalogNetwork, Drive, WriteNoise
from analysis.diffusion.network import forward, tensor, time_features
from analysis.diffusion.paper_recipe import PaperRecipe, published_drive
from analysis.diffusion.samplers import run_drive
from analysis.diffusion.sde import VPSDE, Prior


def _network(seed: int = 0) -> AnalogNetwork:
    rng = np.random.default_rng(seed)
    return AnalogNetwork(tuple(rng.uniform(20e-6, 100e-6, shape) for shape in LAYER_SHAPES), (40e3, 20e3, 25e3))


def _dead_network() -> AnalogNetwork:
    return AnalogNetwork(tuple(np.full(shape, 50e-6) for shape in LAYER_SHAPES), (20e3, 20e3, 20e3))


def _drive(a: float, b: float, **others: np.ndarray) -> Drive:
    return Drive.from_coefficients(np.full(200, a), np.full(200, b), np.zeros((200, 14)), Prior(0.642), **others)


def test_network_has_282_cells() -> None:
    assert N_CELLS == 282


def test_one_cell_does_what_ohms_law_and_the_gain_say() -> None:
    conductances = [np.full(shape, 50e-6) for shape in LAYER_SHAPES]
    conductances[0][0] = [70e-6, 50e-6, 55e-6]
    conductances[1][5, 0] = 80e-6
    conductances[2][1, 5] = 40e-6
    network = AnalogNetwork(tuple(conductances), (50e3, 20e3, 100e3))
    embedding = np.zeros(14)
    embedding[5] = 0.1
    first, second, n = network.layer_voltages(np.array([[1.5, 9.0]]), embedding)
    assert first[0, 0] == pytest.approx(50e3 * (20e-6 * 1.5 + 5e-6))
    assert second[0, 5] == pytest.approx(20e3 * 30e-6 * 1.75 + 0.1)
    np.testing.assert_allclose(n, [[0.0, 100e3 * -10e-6 * 1.15]])
    assert first[0, 5] == pytest.approx(0.1), "the embedding enters both hidden layers"


def test_voltages_are_clamped_before_each_array() -> None:
    network = _network()
    embedding = np.zeros(14)
    far, edge = network(np.array([[-7.0, 9.0]]), embedding), network(np.array([[-2.0, 4.0]]), embedding)
    np.testing.assert_allclose(far, edge)
    loud = np.full(14, 50.0)
    np.testing.assert_allclose(
        network(np.array([[0.3, 0.1]]), loud), network(np.array([[-0.2, 0.9]]), loud), atol=1e-12
    )


def test_measured_offsets_enter_each_layer() -> None:
    offsets = (np.full(14, 0.2), np.full(14, 0.2), np.array([0.3, -0.4]))
    network, embedding = replace(_network(), offsets=offsets), np.full(14, 0.5)
    x = np.random.default_rng(0).normal(size=(20, 2))
    expected = _network()(x, embedding + 0.2) + np.array([0.3, -0.4])
    np.testing.assert_allclose(network(x, embedding), expected, atol=1e-12)


def test_torch_and_numpy_networks_agree() -> None:
    network = _network(1)
    rng = np.random.default_rng(2)
    x, embedding = rng.normal(0.0, 1.5, (50, 2)), rng.normal(size=14)
    weights = [tensor(w)[None] for w in network.weights]
    n, hidden = forward(weights, tensor(embedding), tensor(x)[None], network.clamp)
    expected = network.layer_voltages(x, embedding)
    for got, want in zip([*hidden, n], expected, strict=True):
        assert isinstance(got, torch.Tensor)
        np.testing.assert_allclose(got[0].numpy(), want, rtol=1e-4, atol=1e-4)


def test_write_noise_has_the_stated_standard_deviation() -> None:
    g = np.array([20e-6, 50e-6, 100e-6])
    noise = WriteNoise(relative=0.02, absolute=0.6e-6)
    np.testing.assert_allclose(noise.sigma(g), [0.7211e-6, 1.1662e-6, 2.0881e-6], rtol=1e-4)
    (drawn,) = noise.apply([np.tile(g, (20_000, 1))], np.random.default_rng(3))
    # The standard error of a deviation at n = 20,000 is 0.5 %.
    np.testing.assert_allclose(drawn.std(axis=0), noise.sigma(g), rtol=0.025)
    np.testing.assert_allclose(drawn.mean(axis=0), g, atol=6e-8)


def test_write_noise_never_makes_a_conductance_negative() -> None:
    (drawn,) = WriteNoise(absolute=50e-6).apply([np.full((50, 50), 20e-6)], np.random.default_rng(4))
    assert drawn.min() == 0.0


def test_drive_scales_its_tables_to_the_converters() -> None:
    a, b = np.linspace(0.1, 0.4, 200), np.linspace(3.0, -6.0, 200)
    drive = Drive.from_coefficients(a, b, np.zeros((200, 14)), Prior(), full_scale=0.9)
    np.testing.assert_allclose(drive.a, a)
    np.testing.assert_allclose(drive.b, b)
    assert np.abs(drive.fx).max() == pytest.approx(0.9)
    assert np.abs(drive.g2).max() == pytest.approx(0.9)


def test_drive_for_other_loop_gains_is_the_same_equation() -> None:
    drive = _drive(0.4, 3.0)
    other = drive.with_loop_gains(0.5, 6.0)
    np.testing.assert_allclose(other.a, drive.a)
    np.testing.assert_allclose(other.b, drive.b)
    assert other.g2[0] == pytest.approx(0.5)
    with pytest.raises(ValueError, match=r"coefficient of 1\.5 V"):
        drive.with_loop_gains(0.5, 2.0)


def test_drive_refuses_what_the_converters_cannot_put_out() -> None:
    with pytest.raises(ValueError, match=r"coefficient of 1\.2 V"):
        Drive(np.full(200, 1.2), np.zeros(200), np.zeros((200, 14)), 1.0, 1.0, Prior())
    with pytest.raises(ValueError, match="do not fit together"):
        Drive(np.zeros(200), np.zeros(200), np.zeros((100, 14)), 1.0, 1.0, Prior())
    with pytest.raises(ValueError, match="noise table"):
        _drive(0.1, 0.1, noise=np.zeros(3))


def test_published_drive_is_the_firmwares_and_doubles_beta() -> None:
    frequencies = np.random.default_rng(5).normal(size=7)
    drive = published_drive(PaperRecipe(), frequencies, VPSDE())
    beta = 0.001 + 0.499 * (1.0 - 0.005 * np.arange(200))
    np.testing.assert_allclose(drive.fx, -0.25 * beta)
    np.testing.assert_allclose(drive.g2, 0.5 * beta * 0.5)
    np.testing.assert_allclose(drive.a, beta)
    np.testing.assert_allclose(drive.b, 5.0 * beta)
    assert drive.embedding[40] == pytest.approx(time_features(frequencies, 0.8))


def test_loop_without_network_grows_as_its_coefficient_says() -> None:
    start = np.array([[0.3, -0.2], [1.0, 0.5]])
    drive = _drive(0.7, 1.0, trim=np.array([0.05, 0.0]))
    end = run_drive(_dead_network(), drive, 2, np.random.default_rng(0), start=start)
    growth = np.exp(0.7)
    expected = start * growth + np.array([0.05, 0.0]) * (growth - 1.0) / 0.7
    np.testing.assert_allclose(end, expected, rtol=1e-5)


def test_loops_noise_diffuses() -> None:
    drive = _drive(0.001, 1.0, noise=np.full(200, 0.3))
    end = run_drive(_dead_network(), drive, 4_000, np.random.default_rng(1), start=np.zeros((4_000, 2)))
    assert end.std() == pytest.approx(0.3, rel=0.04)


def test_trajectory_starts_in_the_prior_and_ends_at_the_result() -> None:
    network, drive = _network(6), _drive(0.2, 0.5)
    path = run_drive(network, drive, 500, np.random.default_rng(2), trajectory=True)
    assert path.shape == (201, 500, 2)
    assert path[0].std() == pytest.approx(0.642, rel=0.08)
    end = run_drive(network, drive, 500, np.random.default_rng(2))
    np.testing.assert_array_equal(path[-1], end)


def test_network_of_other_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="layers need shapes"):
        AnalogNetwork((np.zeros((14, 2)),) * 3, (1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="3 layers but 2 gains"):
        replace(_network(), gains=(1.0, 2.0))
