"""Class-conditional networks: classes, guidance, tables, a chip's correction. Recipes are cut short here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.diffusion.conditional import (
    ConditionalRecipe,
    draw_guided,
    train_conditional,
    train_conditional_cached,
    train_score,
)
from analysis.diffusion.conditional_compensation import ClassCompensation, compensate_conditional
from analysis.diffusion.conditional_model import MODES, ConditionalModel, ScoreModel
from analysis.diffusion.hardware import EMBEDDING_LIMIT, WriteNoise
from analysis.diffusion.model import circuit_of
from analysis.diffusion.samplers import Sampler, run_drive, sample
from analysis.errors import AnalysisError
from analysis.letters.vae import CENTRES
from analysis.metrics import Truth, kl_2d

SHORT = ConditionalRecipe(
    starts=1, score_iterations=500, score_copies=2, flow_iterations=60, flow_batch=80, flow_copies=1, flow_steps=20,
    references=192, digital_iterations=700,
)  # fmt: skip
TINY = replace(SHORT, score_iterations=2, flow_iterations=2, digital_iterations=2)
SPREAD = 0.125


@pytest.fixture(scope="module")
def data() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [c + SPREAD * rng.standard_normal((2000, 2)) for c in CENTRES]


@pytest.fixture(scope="module")
def score(data: list[np.ndarray]) -> ScoreModel:
    return train_score(SHORT, 0, data)


@pytest.fixture(scope="module")
def model(data: list[np.ndarray]) -> ConditionalModel:
    return train_conditional(SHORT, 0, data)


def nearest(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.argmin(((x[:, None] - CENTRES) ** 2).sum(-1), axis=1))


def kl(x: np.ndarray, k: int) -> float:
    rng = np.random.default_rng(1)
    return kl_2d(x, Truth.from_points(CENTRES[k] + SPREAD * rng.standard_normal((50_000, 2))))


def test_the_digital_network_draws_the_class_that_was_asked_for(score: ScoreModel) -> None:
    for k, centre in enumerate(CENTRES):
        x = draw_guided(score, k, 1000, np.random.default_rng(2))
        assert (nearest(x) == k).mean() > 0.95
        assert np.hypot(*(x.mean(axis=0) - centre)) < 0.08
        assert kl(x, k) < 0.4


def test_without_a_condition_it_draws_all_classes(score: ScoreModel) -> None:
    rng = np.random.default_rng(3)
    sampler = Sampler("euler-maruyama", speed=2.0, points=100)
    x = sample(score.score(None), 1500, rng, sampler=sampler, sde=score.sde, start=score.prior.draw(1500, rng))
    share = np.bincount(nearest(x), minlength=3) / len(x)
    assert share.min() > 0.2
    # It is a branch of its own: no class gives the same score.
    point = np.zeros((1, 2))
    for k in range(3):
        assert np.abs(score.score(None)(point, 0.5) - score.score(k)(point, 0.5)).max() > 0.05


def test_guidance_is_equation_7_and_trades_variety_for_certainty(score: ScoreModel) -> None:
    x = np.random.default_rng(4).standard_normal((5, 2))
    s, free = score.score(0)(x, 0.3), score.score(None)(x, 0.3)
    np.testing.assert_allclose(score.score(0, 2.0)(x, 0.3), 3.0 * s - 2.0 * free, rtol=1e-6)
    with pytest.raises(AnalysisError, match="needs a class"):
        score.score(None, 1.0)
    plain, strong = (draw_guided(score, 2, 1000, np.random.default_rng(5), g) for g in (0.0, 3.0))
    others = CENTRES[:2].mean(axis=0) - CENTRES[2]
    assert ((strong - plain) @ others).mean() < 0.0  # away from the other classes
    assert kl(strong, 2) > kl(plain, 2)


@pytest.mark.parametrize("mode", MODES)
def test_one_set_of_cells_draws_every_class(model: ConditionalModel, mode: str) -> None:
    network = circuit_of(model.map())
    for k in range(3):
        x = run_drive(network, model.drive(k, mode), 600, np.random.default_rng(6))
        assert (nearest(x) == k).mean() > 0.9
        assert kl(x, k) < 0.6


def test_classes_differ_in_their_tables_only(model: ConditionalModel) -> None:
    for mode in MODES:
        first, *others = (model.drive(k, mode) for k in range(3))
        assert (first.noise is not None) == (mode == "sde")
        for other in others:
            np.testing.assert_array_equal(other.fx, first.fx)
            np.testing.assert_array_equal(other.g2, first.g2)
            assert other.prior == first.prior
            assert np.abs(other.embedding - first.embedding).max() > 0.1
        for drive in (first, *others):
            assert np.abs(drive.embedding).max() <= EMBEDDING_LIMIT + 1e-6
    # The condition is constant in time wherever the converters' limit does not cut it.
    one, two = (model.drive(k, "ode").embedding for k in (0, 1))
    inside = (np.abs(one) < EMBEDDING_LIMIT - 1e-3).all(axis=0) & (np.abs(two) < EMBEDDING_LIMIT - 1e-3).all(axis=0)
    assert inside.any()
    np.testing.assert_allclose((one - two)[:, inside].std(axis=0), 0.0, atol=1e-5)


def test_one_start_gives_three_letters(model: ConditionalModel) -> None:
    network, start = circuit_of(model.map()), np.array([[-0.25, -0.5]])
    rng = np.random.default_rng(7)
    ends = [run_drive(network, model.drive(k), 1, rng, start=start)[0] for k in range(3)]
    assert nearest(np.array(ends)).tolist() == [0, 1, 2]


def test_weights_lie_on_levels(model: ConditionalModel) -> None:
    mapped = model.map()
    for back, weights in zip(mapped.measured_weights(mapped.target), model.weights, strict=True):
        np.testing.assert_allclose(back, weights, atol=1e-6)


def test_a_chip_is_compensated_for_all_classes_at_once(model: ConditionalModel, data: list[np.ndarray]) -> None:
    exact = circuit_of(model.map())
    rng = np.random.default_rng(8)
    chip = exact.with_conductances(WriteNoise(absolute=4e-6).apply(exact.conductances, rng))
    chip = replace(chip, offsets=tuple(0.05 * rng.standard_normal(n) for n in (14, 14, 2)))
    settings = ClassCompensation(iterations=60, batch=96, steps=20, references=192)
    tuned = compensate_conditional(chip, model, data, rng, "ode", settings)

    def mean_kl(which: ConditionalModel) -> float:
        runs = [run_drive(chip, which.drive(k), 800, np.random.default_rng(9)) for k in range(3)]
        return float(np.mean([kl(x, k) for k, x in enumerate(runs)]))

    assert mean_kl(tuned) < 0.8 * mean_kl(model)
    assert tuned.drives["sde"] is model.drives["sde"]
    with pytest.raises(ValueError, match="7 steps"):
        compensate_conditional(chip, model, data, rng, "ode", replace(settings, steps=7))


def test_networks_survive_their_files(tmp_path: Path, data: list[np.ndarray]) -> None:
    made, known = train_conditional_cached(tmp_path, TINY, 0, data, guidance=1.0)
    assert not known
    assert len(list(tmp_path.glob("*.npz"))) == 2  # the network and the digital one that guided it
    again, known = train_conditional_cached(tmp_path, TINY, 0, data, guidance=1.0)
    assert known
    assert again.guidance == 1.0
    for mode in MODES:
        for k in range(3):
            before, after = made.drive(k, mode), again.drive(k, mode)
            np.testing.assert_array_equal(before.embedding, after.embedding)
            assert (before.kf, before.kg, before.prior) == (after.kf, after.kg, after.prior)
            if mode == "sde":
                np.testing.assert_array_equal(before.noise, after.noise)
    assert not train_conditional_cached(tmp_path, TINY, 0, data, guidance=2.0)[1]
    digital = train_score(TINY, 0, data)
    digital.save(tmp_path / "score.npz")
    x = np.ones((2, 2))
    np.testing.assert_array_equal(ScoreModel.load(tmp_path / "score.npz").score(1)(x, 0.4), digital.score(1)(x, 0.4))
    (tmp_path / "score.npz").write_bytes(b"no")
    with pytest.raises(AnalysisError, match="delete it"):
        ScoreModel.load(tmp_path / "score.npz")
    with pytest.raises(AnalysisError, match=r"classes 0\.\.2 in ode, sde"):
        made.drive(3)
