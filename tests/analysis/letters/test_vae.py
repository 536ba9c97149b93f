"""The autoencoder, and its decoder on arrays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.diffusion.hardware import WriteNoise
from analysis.errors import AnalysisError
from analysis.letters.data import LetterSet
from analysis.letters.decoder import DecoderWeights
from analysis.letters.decoder_arrays import (
    DecoderCircuits,
    DecoderOnArrays,
    on_arrays,
    target_conductances,
    tile_decoder,
    tiling_report,
)
from analysis.letters.vae import CENTRES, VAE, VAERecipe, train_vae, train_vae_cached
from analysis.mapping import ConductanceWindow
from analysis.tiling import SCHEMES


@pytest.fixture(scope="module")
def latents() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.concatenate([c + 0.15 * rng.standard_normal((60, 2)) for c in CENTRES])


def test_a_few_seconds_of_training_put_classes_at_their_centres(vae: VAE, drawn: LetterSet) -> None:
    rng = np.random.default_rng(0)
    for k, centre in enumerate(CENTRES):
        z = vae.draw_latents(drawn.of(k), rng, 2)
        assert z.shape == (1200, 2)
        assert np.hypot(*(z.mean(axis=0) - centre)) < 0.12
        # The nominal spread is .125; a collapsed code would lie exactly there, a lost class far off.
        assert 0.1 < z.std() < 0.6
        nearest = np.argmin(((z[:, None] - CENTRES) ** 2).sum(-1), axis=1)
        assert (nearest == k).mean() > 0.9


def test_decoded_letters_resemble_what_was_encoded(vae: VAE, drawn: LetterSet) -> None:
    mean, _ = vae.encode(drawn.images)
    images = vae.decode(mean)
    own = ((images - drawn.images) ** 2).mean()
    other = ((images - np.roll(drawn.images, 1, axis=0)) ** 2).mean()
    assert own < 0.7 * other
    assert images.min() >= 0.0
    assert images.max() <= 1.0


def test_training_is_seeded_and_stays_inside_the_window(drawn: LetterSet) -> None:
    recipe = VAERecipe(iterations=4, hidden=None)
    window = ConductanceWindow(g_min=10e-6, g_max=90e-6, n_levels=16)
    one, two = (train_vae(drawn, 7, recipe, window) for _ in range(2))
    for a, b in zip(one.decoder.u, two.decoder.u, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.min() >= -0.8 - 1e-6
        assert a.max() <= 0.8 + 1e-6
    levels = (np.concatenate([u.ravel() for u in one.decoder.quantised().u]) + 1.0) * 50e-6
    steps = (levels - window.g_min) / window.step
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)
    other = train_vae(drawn, 8, recipe, window)
    assert not np.array_equal(one.decoder.u[0], other.decoder.u[0])


def test_an_autoencoder_survives_its_file(tmp_path: Path, drawn: LetterSet, latents: np.ndarray) -> None:
    recipe = VAERecipe(iterations=3)
    made, known = train_vae_cached(tmp_path, drawn, 0, recipe)
    assert not known
    again, known = train_vae_cached(tmp_path, drawn, 0, recipe)
    assert known
    np.testing.assert_array_equal(again.decode(latents), made.decode(latents))
    np.testing.assert_array_equal(again.encode(drawn.images)[1], made.encode(drawn.images)[1])
    assert again.trained_on == drawn.source
    assert again.decoder.window == made.decoder.window
    # Other data, another file.
    assert not train_vae_cached(tmp_path, drawn.take(np.arange(900)), 0, recipe)[1]


@pytest.mark.parametrize("hidden", [16, None])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_exact_cells_and_circuits_give_the_digital_decoder(
    drawn: LetterSet, latents: np.ndarray, scheme: str, hidden: int | None
) -> None:
    decoder = train_vae(drawn, 0, VAERecipe(iterations=3, hidden=hidden)).decoder
    tiling = tile_decoder(decoder, scheme)
    exact = DecoderOnArrays(
        tiling, target_conductances(decoder, tiling, quantised=False), decoder.gains, circuits=DecoderCircuits(0.0, 0.0)
    )
    np.testing.assert_allclose(exact.decode(latents), decoder.decode(latents), atol=2e-5)


def test_64_levels_and_real_circuits_cost_little_and_noise_costs_more(vae: VAE, latents: np.ndarray) -> None:
    digital = vae.decode(latents)
    tiling = tile_decoder(vae.decoder)
    ideal = on_arrays(vae.decoder, tiling)
    rng = np.random.default_rng(1)

    def error(decoder: DecoderOnArrays) -> float:
        return float(np.abs(decoder.decode(latents, rng) - digital).mean())

    assert error(ideal) <= 0.03
    noisy = [
        error(replace(ideal, conductances=WriteNoise(absolute=s).apply([ideal.conductances], rng)[0]))
        for s in (1e-6, 4e-6)
    ]
    assert error(ideal) < noisy[0] < noisy[1]
    assert error(ideal) < error(replace(ideal, read_noise=0.03))
    assert error(ideal) < error(replace(ideal, circuits=DecoderCircuits(pair_temperature=1.3)))
    # Another draw of the read noise is another image; without noise no generator is needed.
    assert error(replace(ideal, read_noise=0.01)) != error(replace(ideal, read_noise=0.01))
    np.testing.assert_array_equal(ideal.decode(latents), ideal.decode(latents))


def test_the_report_adds_up(vae: VAE, latents: np.ndarray) -> None:
    reused, unrolled = (
        tiling_report(on_arrays(vae.decoder, tile_decoder(vae.decoder, scheme)), latents) for scheme in SCHEMES
    )
    # Linear 2-16-144, then kernels in four phases with a bias each.
    assert reused.cells == 16 * 3 + 144 * 17 + 8 * (9 * 16 + 4) + 9 * 8 + 4
    assert reused.zeros == 0
    assert unrolled.zeros > 0
    assert unrolled.passes == (1, 1, 1, 1)
    assert sum(reused.passes) > 50
    assert reused.arrays < unrolled.arrays
    assert reused.utilisation == reused.cells / (1024 * reused.arrays)
    assert unrolled.seconds < reused.seconds
    assert unrolled.input_conversions == 2
    assert unrolled.output_conversions == 144
    for report in (reused, unrolled):
        assert report.energy == pytest.approx(sum(report.energies.values()))
        assert min(report.energies.values()) > 0.0


def test_array_energy_is_volts_squared_times_conductance(vae: VAE) -> None:
    decoder = on_arrays(vae.decoder, tile_decoder(vae.decoder))
    one, two = (decoder.array_energy(np.zeros((1, 2)), t) for t in (1e-7, 2e-7))
    assert two == pytest.approx(2.0 * one)
    # All conductances lie within 20 to 100 uS, so no more than the sum of all driven lines at 0.4 V.
    assert 0.0 < one < 1e-7 * 0.4**2 * 100e-6 * sum(p.inputs.size * len(p.source) for p in decoder.tiling.patches) * 40


def test_feature_maps_end_in_the_image(vae: VAE) -> None:
    small, middle, image = vae.decoder.feature_maps(CENTRES[1])
    assert (small.shape, middle.shape) == ((16, 3, 3), (8, 6, 6))
    np.testing.assert_allclose(image, vae.decode(CENTRES[1][None])[0], atol=1e-6)


def test_weights_of_other_shapes_are_refused() -> None:
    with pytest.raises(AnalysisError, match="no decoder"):
        DecoderWeights((np.zeros((144, 4)), np.zeros((8, 145)), np.zeros((1, 73))), (1.0, 1.0, 1.0))
    with pytest.raises(AnalysisError, match="gains"):
        DecoderWeights((np.zeros((144, 3)), np.zeros((8, 145)), np.zeros((1, 73))), (1.0,))
