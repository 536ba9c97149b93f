"""Training, hardware-aware and as published, and what a chip can be compensated for. Recipes are cut short here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis import metrics
from analysis.diffusion.compensation import CompensationSettings, compensate
from analysis.diffusion.data import Ring, ring_training_set
from analysis.diffusion.hardware import EMBEDDING_LIMIT, WriteNoise
from analysis.diffusion.hardware_recipe import HardwareRecipe
from analysis.diffusion.model import ModelFileError, TrainedModel, circuit_of
from analysis.diffusion.paper_recipe import PaperRecipe, train_paper
from analysis.diffusion.samplers import run_drive
from analysis.diffusion.training import RECIPES, cache_name, train, train_cached
from analysis.metrics import Truth

SHORT = HardwareRecipe(
    starts=1, score_iterations=1500, flow_iterations=60, flow_batch=256, flow_copies=2, flow_steps=20
)
TINY = HardwareRecipe(starts=2, score_iterations=3, flow_iterations=2, flow_batch=16, flow_copies=2, score_batch=8)
TINY_PAPER = PaperRecipe(iterations=5, batch=32)


@pytest.fixture(scope="module")
def data() -> np.ndarray:
    return ring_training_set(np.random.default_rng(0))


@pytest.fixture(scope="module")
def truth() -> Truth:
    ring = Ring()
    return Truth.from_points(ring.draw(50_000, np.random.default_rng(1)), ring.density)


@pytest.fixture(scope="module")
def model(data: np.ndarray) -> TrainedModel:
    return train(SHORT, 0, data)


def _kl(model: TrainedModel, truth: Truth, noise: WriteNoise | None = None, seed: int = 2) -> float:
    network = circuit_of(model.map())
    if noise is not None:
        chip = noise.apply(network.conductances, np.random.default_rng(seed))
        network = network.with_conductances(chip)
    return metrics.kl_2d(run_drive(network, model.drive, 2_000, np.random.default_rng(3)), truth)


def test_a_few_seconds_of_hardware_training_learn_the_circle(model: TrainedModel, truth: Truth) -> None:
    assert _kl(model, truth) < 0.6
    x = run_drive(model.ideal_network(), model.drive, 2_000, np.random.default_rng(4))
    assert metrics.radius(x).mean() == pytest.approx(0.7, abs=0.03)


def test_hardware_model_lies_on_levels_inside_the_window_and_the_converters(model: TrainedModel) -> None:
    mapped = model.map()
    for back, weights in zip(mapped.measured_weights(mapped.target), model.weights, strict=True):
        np.testing.assert_allclose(back, weights, atol=1e-6)
    assert np.abs(model.drive.embedding).max() <= EMBEDDING_LIMIT + 1e-6
    assert max(np.abs(model.drive.fx).max(), np.abs(model.drive.g2).max()) <= 1.0


def test_compensation_brings_a_badly_written_chip_back(model: TrainedModel, truth: Truth, data: np.ndarray) -> None:
    exact = circuit_of(model.map())
    chip = exact.with_conductances(WriteNoise(relative=0.05).apply(exact.conductances, np.random.default_rng(5)))
    settings = CompensationSettings(iterations=60, batch=256, steps=20)
    tuned, drive = compensate(chip, model.drive, data, np.random.default_rng(6), settings)
    before = metrics.kl_2d(run_drive(chip, model.drive, 2_000, np.random.default_rng(7)), truth)
    after = metrics.kl_2d(run_drive(tuned, drive, 2_000, np.random.default_rng(7)), truth)
    assert after < 0.7 * before
    assert tuned.gains == chip.gains
    for now, then in zip(tuned.conductances, chip.conductances, strict=True):
        np.testing.assert_array_equal(now, then)


def test_compensation_finds_measured_offsets_and_may_adjust_gains(model: TrainedModel, data: np.ndarray) -> None:
    chip = replace(circuit_of(model.map()), offsets=(np.zeros(14), np.zeros(14), np.array([0.3, 0.0])))
    settings = CompensationSettings(iterations=40, batch=128, steps=20, adjust_gains=True)
    tuned, drive = compensate(chip, model.drive, data, np.random.default_rng(8), settings)
    start = model.drive.prior.draw(2_000, np.random.default_rng(9))

    def centre(network, drive) -> float:
        end = run_drive(network, drive, 2_000, np.random.default_rng(10), start=start)
        return float(np.hypot(*end.mean(axis=0)))

    assert centre(tuned, drive) < 0.5 * centre(chip, model.drive)
    assert tuned.gains != chip.gains


def test_steps_that_do_not_divide_the_ticks_are_refused(model: TrainedModel, data: np.ndarray) -> None:
    with pytest.raises(ValueError, match="30 steps do not divide the drive's 200 ticks"):
        compensate(circuit_of(model.map()), model.drive, data, np.random.default_rng(0), CompensationSettings(steps=30))


@pytest.mark.parametrize("recipe", [TINY, TINY_PAPER], ids=["hardware", "paper"])
def test_training_is_repeatable_by_seed(data: np.ndarray, recipe: HardwareRecipe | PaperRecipe) -> None:
    first, again, other = train(recipe, 3, data), train(recipe, 3, data), train(recipe, 4, data)
    for a, b, c in zip(first.weights, again.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)
    np.testing.assert_array_equal(first.drive.embedding, again.drive.embedding)


def test_paper_networks_do_not_depend_on_their_company(data: np.ndarray) -> None:
    alone = train_paper(TINY_PAPER, [7], data)[0]
    together = train_paper(TINY_PAPER, [5, 7], data)[1]
    assert together.seed == 7
    for a, b in zip(alone.weights, together.weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_paper_training_lowers_its_own_loss(data: np.ndarray) -> None:
    from analysis.diffusion.sde import VPSDE

    rng = np.random.default_rng(11)
    sde, ticks = VPSDE(), np.arange(0, 190, 10)
    t = 1.0 - ticks / 200
    z = rng.standard_normal((len(t), 400, 2))
    points = data[rng.integers(0, len(data), (len(t), 400))]

    def loss(iterations: int) -> float:
        recipe = replace(RECIPES["paper-short"], iterations=iterations)
        model = train(recipe, 0, data)
        network = model.ideal_network()
        total = 0.0
        for k, tick in enumerate(ticks):
            s = float(sde.std(t[k]))
            x = float(sde.mean(t[k])) * points[k] + s * z[k]
            total += float(np.mean((5.0 * network(x, model.drive.embedding[tick]) * s + z[k]) ** 2))
        return total / len(ticks)

    assert loss(300) < 0.7 * loss(0)


def test_saved_model_comes_back_the_same(tmp_path: Path, model: TrainedModel) -> None:
    noisy = model.with_drive(replace(model.drive, noise=np.linspace(0.0, 0.1, 200), trim=np.array([0.1, -0.2])))
    noisy.save(tmp_path / "model.npz")
    back = TrainedModel.load(tmp_path / "model.npz")
    assert (back.recipe, back.seed, back.scales) == (noisy.recipe, noisy.seed, noisy.scales)
    for a, b in zip(back.weights, noisy.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    for name in ("fx", "g2", "embedding", "trim", "noise"):
        np.testing.assert_array_equal(getattr(back.drive, name), getattr(noisy.drive, name))
    assert (back.drive.kf, back.drive.kg, back.drive.prior) == (model.drive.kf, model.drive.kg, model.drive.prior)


def test_file_that_is_no_model_says_so(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    path.write_bytes(b"not a zip")
    with pytest.raises(ModelFileError, match=r"model\.npz holds no trained model"):
        TrainedModel.load(path)
    np.savez(path, format=np.array(99))
    with pytest.raises(ModelFileError, match="has format 99, this program reads 1"):
        TrainedModel.load(path)
    np.savez(path, format=np.array(1))
    with pytest.raises(ModelFileError, match="holds no trained model"):
        TrainedModel.load(path)


def test_cache_trains_once_and_replaces_a_broken_file(tmp_path: Path, data: np.ndarray) -> None:
    folder = tmp_path / "cache"
    first, kept = train_cached(folder, TINY, 0, data)
    assert not kept
    second, kept = train_cached(folder, TINY, 0, data)
    assert kept
    np.testing.assert_array_equal(first.weights[1], second.weights[1])
    (path,) = folder.iterdir()
    path.write_bytes(b"half a file")
    _, kept = train_cached(folder, TINY, 0, data)
    assert not kept
    assert [p.name for p in folder.iterdir()] == [cache_name(TINY, 0, data)]


def test_cache_name_changes_with_recipe_seed_and_data(data: np.ndarray) -> None:
    names = {
        cache_name(TINY, 0, data),
        cache_name(TINY, 1, data),
        cache_name(replace(TINY, knots=9), 0, data),
        cache_name(TINY, 0, data[:-1]),
        cache_name(TINY_PAPER, 0, data),
    }
    assert len(names) == 5
    assert all(name.endswith(".npz") for name in names)


def test_paper_recipe_has_the_published_numbers() -> None:
    recipe = RECIPES["paper"]
    assert isinstance(recipe, PaperRecipe)
    assert (recipe.iterations, recipe.batch, recipe.learning_rate, recipe.alpha) == (200_000, 512, 2e-4, 1e-7)
    assert (recipe.weight_decay, recipe.clip, recipe.amp, recipe.speed) == (3e-5, 0.1, 5.0, 2.0)
