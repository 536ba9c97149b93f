"""The distances against distributions whose distance is known."""

from __future__ import annotations

import numpy as np
import pytest

from analysis import metrics
from analysis.diffusion.data import Ring
from analysis.metrics import Truth


@pytest.fixture(scope="module")
def ring() -> Ring:
    return Ring()


@pytest.fixture(scope="module")
def truth(ring: Ring) -> Truth:
    return Truth.from_points(ring.draw(100_000, np.random.default_rng(0)), ring.density)


def test_counted_and_integrated_truth_agree(ring: Ring, truth: Truth) -> None:
    counted = Truth.from_points(ring.draw(200_000, np.random.default_rng(1)))
    assert abs(counted.mass_2d.sum() - 1.0) < 1e-12
    assert abs(truth.mass_2d.sum() - 1.0) < 1e-12
    # Each bin's count is binomial: 6 standard deviations.
    sigma = np.sqrt(np.maximum(truth.mass_2d, 1e-6) / 200_000)
    assert (np.abs(counted.mass_2d - truth.mass_2d) < 6.0 * sigma).all()


@pytest.mark.parametrize(
    ("n", "floor", "tolerance"), [(1_000, 0.071, 0.012), (5_000, 0.0174, 0.003), (10_000, 0.0103, 0.003)]
)
def test_true_draws_score_the_known_floor(ring: Ring, truth: Truth, n: int, floor: float, tolerance: float) -> None:
    rng = np.random.default_rng(n)
    mean = np.mean([metrics.kl_2d(ring.draw(n, rng), truth) for _ in range(8)])
    assert abs(mean - floor) < tolerance


def test_kl_2d_of_half_a_ring_is_log_two(ring: Ring, truth: Truth) -> None:
    points = ring.draw(100_000, np.random.default_rng(2))
    points[:, 0] = np.abs(points[:, 0])
    assert metrics.kl_2d(points, truth) == pytest.approx(np.log(2.0), abs=0.02)


def test_authors_kl_is_blind_to_half_a_ring(ring: Ring, truth: Truth) -> None:
    points = ring.draw(50_000, np.random.default_rng(3))
    angle = np.abs(np.arctan2(points[:, 1], points[:, 0])) / 2.0 + np.pi / 4.0
    r = metrics.radius(points)
    half = np.stack([r * np.cos(angle), np.where(np.arange(len(r)) % 2, 1.0, -1.0) * r * np.sin(angle)], axis=1)
    assert metrics.kl_authors(half, truth) < 0.2 * metrics.kl_2d(half, truth)


def test_points_outside_the_square_count_against_the_sampler(ring: Ring, truth: Truth) -> None:
    points = ring.draw(10_000, np.random.default_rng(4))
    good = metrics.kl_2d(points, truth)
    points[:100] = [50.0, -70.0]
    # One percent where the truth has nothing: .01 ln(.01 / 1e-10) = .184.
    assert metrics.kl_2d(points, truth) - good == pytest.approx(0.184, abs=0.02)


def test_sliced_wasserstein_of_a_shift_is_its_mean_projection(ring: Ring, truth: Truth) -> None:
    shifted = ring.draw(50_000, np.random.default_rng(5)) + np.array([1.0, 0.0])
    assert metrics.sliced_wasserstein(shifted, truth) == pytest.approx(2.0 / np.pi, abs=0.01)


def test_angular_coverage_counts_filled_sectors(ring: Ring) -> None:
    points = ring.draw(20_000, np.random.default_rng(6))
    assert metrics.angular_coverage(points) == 1.0
    quarter = np.abs(points)
    assert metrics.angular_coverage(quarter) == pytest.approx(0.25)


def test_judge_puts_values_into_their_intervals_and_states_floors(ring: Ring, truth: Truth) -> None:
    points = 1.1 * ring.draw(2_000, np.random.default_rng(7))
    report = metrics.judge(points, truth, np.random.default_rng(8), resamples=60)
    assert set(report) == {"kl_authors", "kl_2d", "sliced_wasserstein", "radius_mean", "radius_std", "angular_coverage"}
    for metric in report.values():
        assert metric.low <= metric.value <= metric.high
    assert report["radius_mean"].value == pytest.approx(0.77, abs=0.004)
    assert report["radius_mean"].floor == pytest.approx(0.70, abs=0.004)
    # The standard error of a mean radius is .044 / sqrt(2000) = .00098; the interval is 3.92 of them.
    assert report["radius_mean"].high - report["radius_mean"].low == pytest.approx(0.00386, rel=0.35)
    assert report["angular_coverage"].high == 1.0
    assert report["kl_2d"].low > 5.0 * report["kl_2d"].floor


def test_interval_of_kl_covers_the_value_of_a_large_sample(ring: Ring, truth: Truth) -> None:
    rng = np.random.default_rng(9)
    wide = Ring(width=0.05)
    n = 2_000
    at_infinity = metrics.kl_2d(wide.draw(200_000, rng), truth)
    hits = 0
    for _ in range(12):
        kl = metrics.judge(wide.draw(n, rng), truth, rng, resamples=40, floor_draws=4)["kl_2d"]
        hits += kl.low <= at_infinity + kl.floor <= kl.high
    assert hits >= 9


def test_judge_is_repeatable_by_seed(ring: Ring, truth: Truth) -> None:
    points = ring.draw(500, np.random.default_rng(10))
    first, second = (
        metrics.judge(points, truth, np.random.default_rng(11), resamples=10, floor_draws=2) for _ in range(2)
    )
    assert first == second


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((3, 3)), r"shape \(n, 2\)"),
        (np.zeros((0, 2)), r"n > 0"),
        (np.array([[0.0, np.inf], [0.0, 0.0]]), "1 of 2 points are not finite"),
    ],
)
def test_bad_points_are_refused(truth: Truth, points: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.kl_2d(points, truth)
