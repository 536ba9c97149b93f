"""The equation, the exact score, and the samplers that solve it."""

from __future__ import annotations

import numpy as np
import pytest

from analysis import metrics
from analysis.diffusion.data import Ring, ring_training_set
from analysis.diffusion.ring import ring_score
from analysis.diffusion.samplers import SAMPLERS, Sampler, sample
from analysis.diffusion.sde import VPSDE, Prior, named_prior
from analysis.metrics import Truth


@pytest.fixture(scope="module")
def truth() -> Truth:
    ring = Ring()
    return Truth.from_points(ring.draw(100_000, np.random.default_rng(0)), ring.density)


def test_published_schedule_ends_at_mean_882_std_470() -> None:
    sde = VPSDE()
    assert float(sde.mean(1.0)) == pytest.approx(0.882, abs=5e-4)
    assert float(sde.std(1.0)) == pytest.approx(0.470, abs=1e-3)
    assert float(sde.mean(0.0)) == 1.0
    assert float(sde.std(0.0)) == 0.0


def test_integral_is_the_integral_of_beta() -> None:
    sde = VPSDE(0.3, 2.0, horizon=1.7)
    t = np.linspace(0.0, 1.7, 20_001)
    assert float(sde.integral(1.7)) == pytest.approx(np.trapezoid(sde.beta(t), t), rel=1e-7)
    np.testing.assert_allclose(sde.mean(t) ** 2 + sde.std(t) ** 2, 1.0, atol=1e-12)


def test_matched_prior_is_642_for_the_circle() -> None:
    assert named_prior("matched", VPSDE(), Ring()).std == pytest.approx(0.642, abs=1e-3)
    assert named_prior("standard", VPSDE(), Ring()) == Prior(1.0)
    with pytest.raises(ValueError, match="unknown prior 'flat'; choose from matched, standard"):
        named_prior("flat", VPSDE(), Ring())


def test_schedule_that_runs_backwards_is_refused() -> None:
    with pytest.raises(ValueError, match="beta_min"):
        VPSDE(1.0, 0.5)


def test_training_set_is_repeatable_and_on_the_circle() -> None:
    first, second = (ring_training_set(np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    r = np.hypot(first[:, 0], first[:, 1])
    # Four standard errors of mean and deviation at n = 10,000.
    assert abs(r.mean() - 0.7) < 0.0016
    assert abs(r.std() - 0.04) < 0.0012
    assert first.shape == (10_000, 2)


@pytest.mark.parametrize("t", [0.05, 0.2, 0.6, 1.0])
def test_exact_score_is_the_gradient_of_the_noised_density(t: float) -> None:
    ring, sde = Ring(), VPSDE()
    middle = (np.arange(720) + 0.5) * 2.0 * np.pi / 720
    r = 0.7 + 0.04 * np.linspace(-17.0, 17.0, 681)
    weight = np.exp(-0.5 * ((r - 0.7) / 0.04) ** 2)
    points = np.stack([np.outer(r, np.cos(middle)).ravel(), np.outer(r, np.sin(middle)).ravel()], axis=1)
    weights = np.repeat(weight, 720)
    at = np.array([[0.61, 0.2], [0.05, -0.02], [-0.3, 0.95], [1.1, -0.6]])
    m, s = float(sde.mean(t)), float(sde.std(t))
    expected = []
    for x in at:
        exponent = -((x - m * points) ** 2).sum(1) / (2.0 * s * s)
        share = weights * np.exp(exponent - exponent.max())
        expected.append(((m * points - x) / s**2 * share[:, None]).sum(0) / share.sum())
    np.testing.assert_allclose(ring_score(ring, sde)(at, t), expected, rtol=2e-3, atol=2e-2)


def test_interpolated_score_equals_the_direct_one() -> None:
    score = ring_score(Ring(), VPSDE())
    x = np.random.default_rng(1).normal(0.0, 0.6, (1_500, 2))
    together = score(x, 0.3)
    apart = np.concatenate([score(part, 0.3) for part in np.array_split(x, 6)])
    np.testing.assert_allclose(together, apart, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("sampler", "low", "high"),
    [
        (SAMPLERS["ode"], 0.0, 0.015),
        (Sampler(method="euler", points=300), 0.0, 0.016),
        (Sampler(method="euler-maruyama", points=300), 0.0, 0.016),
        (Sampler(method="euler", points=300, prior="standard"), 0.3, 0.7),
        (SAMPLERS["paper"], 0.15, 0.3),
    ],
)
def test_exact_score_solves_to_the_circle_from_the_right_prior_only(
    truth: Truth, sampler: Sampler, low: float, high: float
) -> None:
    x = sample(ring_score(Ring(), VPSDE()), 10_000, np.random.default_rng(2), sampler=sampler)
    assert low <= metrics.kl_2d(x, truth) <= high


def test_heun_needs_fewer_steps_than_euler(truth: Truth) -> None:
    score = ring_score(Ring(), VPSDE())
    start = Prior.matched(VPSDE(), Ring().coordinate_variance).draw(200, np.random.default_rng(3))

    def end(method: str, points: int) -> np.ndarray:
        sampler = Sampler(method=method, points=points)
        return sample(score, 200, np.random.default_rng(4), sampler=sampler, start=start)

    fine = end("heun", 400)
    coarse = {method: np.abs(end(method, 50) - fine).mean() for method in ("euler", "heun")}
    assert coarse["heun"] < 0.3 * coarse["euler"]


def test_samplers_that_cannot_run_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown method 'rk4'; choose from euler, heun, euler-maruyama"):
        Sampler(method="rk4")
    with pytest.raises(ValueError, match="at least 2 points"):
        Sampler(points=1)
