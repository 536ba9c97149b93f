"""Tolerances from what the network is sensitive to: gradients that are right, a budget that is kept, less error."""

import numpy as np
import pytest

from analysis.diffusion.hardware import LAYER_SHAPES, N_HIDDEN, AnalogNetwork, Drive
from analysis.diffusion.sde import Prior
from analysis.errors import AnalysisError
from analysis.mapping import map_network
from analysis.sensitivity import network_tolerances, sensitivity, tolerances


def network(seed: int = 3) -> AnalogNetwork:
    rng = np.random.default_rng(seed)
    return AnalogNetwork(tuple(rng.uniform(25e-6, 95e-6, shape) for shape in LAYER_SHAPES), (3e4, 2e4, 2e4))


def drive(ticks: int = 20) -> Drive:
    rng = np.random.default_rng(5)
    a, b = np.linspace(0.5, 3, ticks), np.linspace(2, 0.2, ticks)
    return Drive.from_coefficients(a, b, 0.3 * rng.standard_normal((ticks, N_HIDDEN)), Prior.standard())


def moved(net: AnalogNetwork, seed: int, sigmas: tuple[np.ndarray, ...]) -> float:
    """Mean square of how much errors of the conductances change the outputs that a solution comes by, weighted."""
    rng = np.random.default_rng(seed)
    noisy = net.with_conductances(
        [g + s * rng.standard_normal(g.shape) for g, s in zip(net.conductances, sigmas, strict=True)]
    )
    d, x, total = drive(), np.random.default_rng(1).standard_normal((64, 2)), 0.0
    for tick in range(d.ticks):
        n = net(x, d.embedding[tick])
        total += float((d.b[tick] / d.ticks) ** 2 * np.mean(np.sum((noisy(x, d.embedding[tick]) - n) ** 2, axis=1)))
        x = x + (d.a[tick] * x + d.b[tick] * n) / d.ticks
    return total


def test_information_is_the_squared_gradient() -> None:
    net = network()
    told = sensitivity(net, drive(1), np.random.default_rng(1), points=40)
    d, x = drive(1), drive(1).prior.draw(40, np.random.default_rng(1))
    rng = np.random.default_rng(0)
    for layer, information in enumerate(told):
        for _ in range(6):
            cell = tuple(rng.integers(0, n) for n in information.shape)
            outputs = []
            for sign in (1, -1):
                g = [part.copy() for part in net.conductances]
                g[layer][cell] += sign * 1e-10
                outputs.append(net.with_conductances(g)(x, d.embedding[0]))
            slope = (outputs[0] - outputs[1]) / 2e-10
            expected = float(d.b[0] ** 2 * np.mean(np.sum(slope**2, axis=1)))
            assert information[cell] == pytest.approx(expected, rel=1e-3, abs=1e-6 * float(information.max()))


def test_the_mean_is_kept_and_no_bound_is_passed() -> None:
    information = sensitivity(network(), drive(), np.random.default_rng(2), points=64)
    chosen = tolerances(information, 1e-6)
    flat = np.concatenate([part.ravel() for part in chosen])
    assert [part.shape for part in chosen] == list(LAYER_SHAPES)
    assert flat.mean() == pytest.approx(1e-6, rel=1e-6)
    assert flat.min() >= 0.5e-6 * (1 - 1e-9)
    assert flat.max() <= 2.5e-6 * (1 + 1e-9)
    order = np.argsort(np.concatenate([part.ravel() for part in information]))
    assert np.all(np.diff(flat[order]) <= 1e-15)  # whoever matters more gets no more


def test_the_same_mean_moves_the_network_less() -> None:
    net = network()
    information = sensitivity(net, drive(), np.random.default_rng(2), points=64)
    own = tolerances(information, 0.3e-6)
    even = tuple(np.full(part.shape, 0.3e-6) for part in information)
    assert np.mean([moved(net, s, own) for s in range(40)]) < 0.85 * np.mean([moved(net, s, even) for s in range(40)])


def test_the_forecast_of_the_error_holds() -> None:
    net = network()
    information = sensitivity(net, drive(), np.random.default_rng(1), points=64)
    sigmas = tuple(np.full(part.shape, 0.02e-6) for part in information)
    expected = sum(float(np.sum(h * s**2)) for h, s in zip(information, sigmas, strict=True))
    assert np.mean([moved(net, s, sigmas) for s in range(60)]) == pytest.approx(expected, rel=0.25)


def test_tolerances_go_where_the_cells_are() -> None:
    rng = np.random.default_rng(4)
    placed = map_network([rng.uniform(-1, 1, shape) for shape in LAYER_SHAPES])
    own = tuple(rng.uniform(0.5e-6, 2e-6, shape) for shape in LAYER_SHAPES)
    full = network_tolerances(placed, own, arrays=4)
    assert full.shape == (4, 32, 32)
    np.testing.assert_array_equal(np.isfinite(full[:3]), np.isfinite(placed.target))
    for part, back in zip(own, placed.layer_conductances(full[:3]), strict=True):
        np.testing.assert_array_equal(part, back)


@pytest.mark.parametrize(("mean", "bounds"), [(0.0, (0.5, 2)), (1e-6, (1.5, 2)), (1e-6, (0.5, 0.9)), (1e-6, (0, 2))])
def test_what_makes_no_sense_is_refused(mean: float, bounds: tuple[float, float]) -> None:
    with pytest.raises(AnalysisError, match="bounds around 1"):
        tolerances([np.ones((2, 2))], mean, *bounds)


def test_a_network_in_which_nothing_matters_is_refused() -> None:
    with pytest.raises(AnalysisError, match="some cell must matter"):
        tolerances([np.zeros((2, 2))], 1e-6)
