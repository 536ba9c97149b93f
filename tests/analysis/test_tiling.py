"""Layers on arrays: every cut and placement computes the same layer, and counts what it takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.mapping import MappingError
from analysis.tiling import SCHEMES, Patch, Tiling, linear, tile, transposed_convolution


def apply(tiling: Tiling, weights: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Compute a tiled layer from its cells; g_fixed is 1."""
    parts = tiling.patch_conductances(tiling.spread([weights + 1.0], 1.0))
    lines = np.concatenate([v, [1.0, 0.0]])
    out = np.full(tiling.outputs[0], np.nan)
    for patch, g in zip(tiling.patches, parts, strict=True):
        w = np.where(np.isfinite(g), g - 1.0, 0.0)
        for inputs, outputs in zip(patch.inputs, patch.outputs, strict=True):
            assert np.isnan(out[outputs]).all()
            out[outputs] = w @ lines[inputs]
    return out


@settings(max_examples=25, deadline=None)
@given(
    c_in=st.integers(1, 17),
    c_out=st.integers(1, 9),
    side=st.integers(1, 5),
    scheme=st.sampled_from(SCHEMES),
    seed=st.integers(0, 99),
)
def test_a_tiled_transposed_convolution_is_the_convolution(
    c_in: int, c_out: int, side: int, scheme: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    weights, v = rng.normal(size=(c_out, 9 * c_in + 1)), rng.normal(size=(c_in, side, side))
    patches = transposed_convolution(0, c_out, c_in, side, scheme)
    tiling = tile(patches, [c_out * 4 * side * side], scheme)
    kernel = torch.tensor(weights[:, :-1].reshape(c_out, c_in, 3, 3).transpose(1, 0, 2, 3))
    expected = torch.nn.functional.conv_transpose2d(
        torch.tensor(v)[None], kernel, torch.tensor(weights[:, -1]), stride=2, padding=1, output_padding=1
    )
    np.testing.assert_allclose(apply(tiling, weights, v.ravel()), expected.numpy().ravel(), atol=1e-9)
    check_places(tiling)


@settings(max_examples=25, deadline=None)
@given(n_out=st.integers(1, 150), n_in=st.integers(1, 70), scheme=st.sampled_from(SCHEMES))
def test_a_tiled_linear_layer_is_the_layer(n_out: int, n_in: int, scheme: str) -> None:
    rng = np.random.default_rng(n_out * 1000 + n_in)
    weights, v = rng.normal(size=(n_out, n_in + 1)), rng.normal(size=n_in)
    tiling = tile(linear(0, n_out, n_in), [n_out], scheme)
    np.testing.assert_allclose(apply(tiling, weights, v), weights[:, :-1] @ v + weights[:, -1], atol=1e-9)
    assert tiling.cells == weights.size
    assert tiling.zeros == 0
    check_places(tiling)


def check_places(tiling: Tiling) -> None:
    """No two pieces share a cell; pieces of one row of a patch lie on different arrays."""
    taken = np.zeros((tiling.arrays, *tiling.shape), dtype=int)
    seen = set()
    for piece in tiling.pieces:
        array, rows, columns = piece.place
        assert rows.stop <= tiling.shape[0]
        assert columns.stop <= tiling.shape[1]
        taken[array, rows, columns] += 1
        assert (piece.patch, piece.rows.start, array) not in seen
        seen.add((piece.patch, piece.rows.start, array))
    assert taken.max() == 1
    assert taken.sum() == tiling.cells
    assert taken.any(axis=(1, 2)).all()


def test_reused_kernels_take_few_cells_and_many_passes_and_unrolled_ones_the_reverse() -> None:
    few = tile(transposed_convolution(0, 8, 16, 3, "reused"), [288], "reused")
    many = tile(transposed_convolution(0, 8, 16, 3, "unrolled"), [288], "unrolled")
    # Four phases see 1, 2, 2 and 4 of 9 taps of 16 channels, each with its own bias.
    assert few.cells == 8 * (9 * 16 + 4)
    # Nine positions of four phases; two arrays that don't need the same pieces work at the same time.
    assert 18 <= few.passes(0) <= 36
    assert few.driven_lines(0) == 9 * (9 * 16 + 4)
    assert few.read_lines(0) == many.read_lines(0) == 288
    assert many.passes(0) == 1
    # 64 pairs of an input and an output pixel have a tap, times 16 x 8 channels, and every output a bias.
    assert many.cells - many.zeros == 64 * 128 + 288
    assert many.arrays > 10 * few.arrays / 2
    assert 0.0 < few.utilisation <= 1.0


def test_a_cell_that_was_not_measured_is_named() -> None:
    tiling = tile(linear(0, 40, 2), [40], "reused")
    g = tiling.spread([np.ones((40, 3))], 1.0)
    assert np.isnan(g).sum() == g.size - 120
    g[0, 3, 1] = np.nan
    with pytest.raises(MappingError, match="array 0: 1 of 60 cells of a piece"):
        tiling.patch_conductances(g)
    with pytest.raises(MappingError, match=r"needs \(1, 32, 32\)"):
        tiling.patch_conductances(g[:, :4])
    with pytest.raises(MappingError, match="reused, unrolled"):
        tile([Patch(0, np.zeros((1, 1), int), np.zeros((1, 1), int), np.zeros((1, 1), int))], [1], "folded")


def test_lines_are_exchanged_around_stuck_cells_and_the_layer_stays_the_same() -> None:
    rng = np.random.default_rng(0)
    weights, v = rng.normal(size=(8, 9 * 16 + 1)), rng.normal(size=144)
    tiling = tile(transposed_convolution(0, 8, 16, 3, "reused"), [288], "reused")
    target = tiling.spread([weights], 1.0)
    stuck = np.where(rng.random(target.shape) < 0.01, 3.0, np.nan)
    moved = tiling.around(target, stuck)
    np.testing.assert_allclose(apply(moved, weights, v), apply(tiling, weights, v), atol=1e-9)

    def harm(t: Tiling) -> float:
        return float(np.nansum((stuck - t.spread([weights], 1.0)) ** 2))

    assert harm(moved) < 0.2 * harm(tiling)
    # Nothing moves where no cell is stuck.
    still = tiling.around(target, np.full_like(stuck, np.nan))
    np.testing.assert_array_equal(still.spread([weights], 1.0), target)
    with pytest.raises(MappingError, match="tiling's shape"):
        tiling.around(target, stuck[:1])
