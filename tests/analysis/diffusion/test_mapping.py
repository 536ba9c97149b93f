"""Weights to conductances, their place on the arrays, and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from analysis.errors import AnalysisError
from analysis.mapping import ConductanceWindow, MappingError, map_network

SHAPES = ((14, 3), (14, 15), (2, 15))


def _weights(seed: int = 0, size: float = 2.0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.uniform(-size, size, shape) for shape in SHAPES]


def _stuck(seed: int, share: float, conductance: float = 10e-6) -> np.ndarray:
    rng = np.random.default_rng(seed)
    stuck = np.full((3, 32, 32), np.nan)
    stuck[rng.random(stuck.shape) < share] = conductance
    return stuck


weights_of_a_layer = hnp.arrays(
    np.float64, (4, 5), elements=st.floats(-50.0, 50.0, allow_subnormal=False).map(lambda v: round(v, 6))
)


@given(weights_of_a_layer)
def test_unquantised_map_returns_the_weights(weights: np.ndarray) -> None:
    mapped = map_network([weights], quantised=False)
    np.testing.assert_allclose(mapped.measured_weights(mapped.target)[0], weights, atol=1e-9, rtol=1e-9)


@given(weights_of_a_layer)
def test_quantised_map_is_within_half_a_level(weights: np.ndarray) -> None:
    mapped = map_network([weights])
    half = 0.5 * mapped.window.step / mapped.layers[0].scale
    error = np.abs(mapped.measured_weights(mapped.target)[0] - weights)
    assert error.max() <= half * (1.0 + 1e-9)


@given(weights_of_a_layer.filter(lambda w: np.abs(w).max() > 1e-3))
def test_largest_scale_fits_and_one_percent_more_does_not(weights: np.ndarray) -> None:
    window = ConductanceWindow()
    scale = window.largest_scale(weights)
    g = window.conductance(weights, scale)
    assert g.min() >= window.g_min
    assert g.max() <= window.g_max
    with pytest.raises(MappingError):
        window.conductance(weights, 1.01 * scale)


def test_published_window_has_64_levels_from_20_to_100_microsiemens() -> None:
    window = ConductanceWindow()
    levels = np.unique(window.quantise(np.linspace(0.0, 120e-6, 100_001)))
    assert len(levels) == 64
    np.testing.assert_allclose([levels[0], levels[-1]], [20e-6, 100e-6])


def test_network_takes_282_cells_one_array_a_layer() -> None:
    target = map_network(_weights()).target
    assert target.shape == (3, 32, 32)
    assert np.isfinite(target).sum(axis=(1, 2)).tolist() == [42, 210, 30]


def test_weight_that_does_not_fit_is_named_with_its_excess() -> None:
    weights = _weights(size=0.5)
    weights[1][3, 7] = 3.2
    with pytest.raises(MappingError) as caught:
        map_network(weights, scales=[20e-6, 20e-6, 20e-6])
    text = str(caught.value)
    assert "layer 1, row 3, column 7: weight 3.2 needs 114 uS, 14 uS above the window's edge of 100 uS" in text
    assert "15.62 uS per unit would fit" in text
    assert isinstance(caught.value, AnalysisError)


def test_weight_below_the_window_and_a_nan_are_named() -> None:
    window = ConductanceWindow()
    with pytest.raises(MappingError, match=r"weight -2 needs 10 uS, 10 uS below the window's edge of 20 uS"):
        window.conductance(np.array([[0.0, -2.0]]), 20e-6)
    with pytest.raises(MappingError, match=r"layer 2, row 0, column 1: weight is nan"):
        window.conductance(np.array([[0.0, np.nan]]), 20e-6, layer=2)


def test_layer_larger_than_the_array_is_refused() -> None:
    with pytest.raises(MappingError, match=r"layer 0 has shape \(33, 3\)"):
        map_network([np.zeros((33, 3))])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_one_percent_of_stuck_cells_is_always_avoided(seed: int) -> None:
    weights, stuck = _weights(seed), _stuck(seed, 0.01)
    mapped = map_network(weights, stuck=stuck)
    used = np.isfinite(mapped.target)
    assert not (used & np.isfinite(stuck)).any()
    assert mapped.stuck == ()
    reference = map_network(weights)
    for layer, same in zip(mapped.layers, reference.layers, strict=True):
        assert len(set(layer.rows.tolist())) == len(layer.rows)
        assert len(set(layer.columns.tolist())) == len(layer.columns)
        np.testing.assert_array_equal(layer.target, same.target)
    for back, same in zip(mapped.layer_conductances(mapped.target), reference.layers, strict=True):
        np.testing.assert_array_equal(back, same.target)


def test_healthy_array_is_used_from_its_corner() -> None:
    layer = map_network(_weights()).layers[1]
    assert layer.rows.tolist() == list(range(14))
    assert layer.columns.tolist() == list(range(15))


def test_unavoidable_stuck_cells_are_reported_and_better_than_the_corner() -> None:
    weights, stuck = _weights(3), _stuck(3, 0.35, 100e-6)
    mapped = map_network(weights, stuck=stuck)
    assert mapped.stuck
    held = np.where(np.isfinite(stuck), stuck, mapped.target)
    found = mapped.layer_conductances(np.where(np.isnan(held), 0.0, held))
    cost = sum(((g - layer.target) ** 2).sum() for g, layer in zip(found, mapped.layers, strict=True))
    corner = map_network(weights)
    at_corner = 0.0
    for index, layer in enumerate(corner.layers):
        there = stuck[index][np.ix_(layer.rows, layer.columns)]
        at_corner += float(np.nansum((there - layer.target) ** 2))
    assert cost < 0.3 * at_corner
    first = mapped.stuck[0]
    assert f"layer {first.layer}, row {first.row}, column {first.column}" in str(first)
    assert np.isfinite(stuck[first.layer, first.array_row, first.array_column])
    assert first.weight == weights[first.layer][first.row, first.column]


def test_measured_arrays_of_wrong_shape_or_with_holes_are_refused() -> None:
    mapped = map_network(_weights())
    with pytest.raises(MappingError, match=r"shape \(2, 32, 32\)"):
        mapped.layer_conductances(np.zeros((2, 32, 32)))
    measured = mapped.target
    measured[1][int(mapped.layers[1].rows[2]), int(mapped.layers[1].columns[4])] = np.nan
    with pytest.raises(MappingError, match="layer 1: 1 of 210 cells have no measured conductance"):
        mapped.layer_conductances(measured)


def test_impossible_windows_are_refused() -> None:
    with pytest.raises(ValueError, match="g_min < g_fixed < g_max"):
        ConductanceWindow(g_fixed=10e-6)
    with pytest.raises(ValueError, match="levels"):
        ConductanceWindow(n_levels=1)
