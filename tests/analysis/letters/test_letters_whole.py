"""From no data to judged letters and pictures, with the quick recipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from analysis.diffusion.model import circuit_of
from analysis.diffusion.samplers import run_drive
from analysis.figures import letters as figures
from analysis.letters.data import CLASSES
from analysis.letters.decoder_arrays import on_arrays, tile_decoder
from analysis.letters.emnist import EmnistError
from analysis.letters.judge import LetterJudge, guidance_curve, mean_distance
from analysis.letters.models import RECIPES, LetterModels, prepare, prepare_judge, training_letters

QUICK = RECIPES["quick"]
RECIPE = replace(
    QUICK,
    per_class=300,
    vae=replace(QUICK.vae, iterations=450),
    latent=replace(QUICK.latent, score_iterations=500, flow_iterations=40, flow_steps=20, digital_iterations=600),
    reader=replace(QUICK.reader, iterations=120),
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def models(cache: Path) -> LetterModels:
    return prepare(cache, training_letters(RECIPE, 0), RECIPE, 0)


@pytest.fixture(scope="module")
def against(cache: Path, models: LetterModels) -> LetterJudge:
    return prepare_judge(cache, models, RECIPE, 0)


def test_letters_are_generated_decoded_judged_and_drawn(
    models: LetterModels, against: LetterJudge, tmp_path: Path
) -> None:
    network = circuit_of(models.network.map())
    decoder = on_arrays(models.vae.decoder, tile_decoder(models.vae.decoder))
    rng = np.random.default_rng(0)
    paths = [run_drive(network, models.network.drive(k), 200, rng, trajectory=True) for k in range(3)]
    points = [path[-1] for path in paths]
    images = [decoder.decode(p) for p in points]
    qualities = [against.judge(k, points[k], images[k], rng) for k in range(3)]
    assert [q.name for q in qualities] == list(CLASSES)
    assert np.mean([q.accuracy for q in qualities]) > 0.8
    for q in qualities:
        assert 0.0 < q.kl.floor < q.kl.value < 1.5
        # Varied, though less than the data: two coordinates hold only so much.
        assert 0.03 < q.diversity < q.diversity_data
    instants = (0.0, 0.5, 1.0)
    letters = np.stack([images[k][0] for k in range(3)])
    drawn = [
        figures.latent_clouds(points, models.latents, qualities, tmp_path / "d.png", "note"),
        figures.latent_evolution([[p[int(200 * t)] for p in paths] for t in instants], instants, tmp_path / "e.png"),
        figures.one_start_three_letters(
            np.linspace(0, 1, 201), [p[:, 0].T for p in paths], letters, tmp_path / "f.png"
        ),
        figures.contact_sheet(images, tmp_path / "sheet.png"),
        figures.latent_grid(
            decoder.decode(figures.grid_points(6)).reshape(6, 6, 12, 12), points, tmp_path / "grid.png"
        ),
        figures.feature_maps(models.vae.decoder.feature_maps(points[0][0]), points[0][0], tmp_path / "c.png"),
        figures.decoder_error(models.vae.decode(points[0]), images[0], tmp_path / "decoder.png"),
    ]
    for path in drawn:
        assert matplotlib.image.imread(path).std() > 0.02


def test_guidance_is_drawn_over_its_strength(models: LetterModels, against: LetterJudge, tmp_path: Path) -> None:
    curve = guidance_curve(models.score, models.vae, against, np.random.default_rng(1), (0.0, 3.0), n=150)
    assert [(p.mode, p.guidance) for p in curve] == [("sde", 0.0), ("sde", 3.0), ("ode", 0.0), ("ode", 3.0)]
    for weak, strong in (curve[:2], curve[2:]):
        assert strong.kl > weak.kl
        assert strong.accuracy >= weak.accuracy - 0.02
    assert figures.guidance_figure(curve, tmp_path / "guidance.png").stat().st_size > 5_000


def test_everything_comes_out_of_the_cache_and_says_its_data(cache: Path, models: LetterModels) -> None:
    heard: list[str] = []
    again = prepare(cache, models.letters, RECIPE, 0, told=heard.append)
    assert again.from_cache == ("autoencoder", "score network", "network for the board") == tuple(heard)
    np.testing.assert_array_equal(again.latents[1], models.latents[1])
    assert models.letters.source == models.vae.trained_on == "synthetic strokes, 300 a class, seed 0"


def test_the_judge_says_what_its_reader_knows(against: LetterJudge) -> None:
    assert against.reader.trained_on == "synthetic strokes, 300 a class, held out, seed 0"


def test_drawn_letters_never_stand_in_for_a_named_folder(tmp_path: Path) -> None:
    with pytest.raises(EmnistError, match="no EMNIST files"):
        training_letters(RECIPE, 0, tmp_path)


def test_one_letter_five_hundred_times_has_no_diversity() -> None:
    rng = np.random.default_rng(0)
    one = np.repeat(rng.random((1, 12, 12)), 500, axis=0)
    assert mean_distance(one, rng) == 0.0
    assert mean_distance(one[:1], rng) == 0.0
    two = np.concatenate([np.zeros((1, 12, 12)), np.ones((1, 12, 12))])
    assert mean_distance(two, rng) == 1.0
