"""The kernel's random numbers: published test vectors, and the law of the normal numbers made of them."""

import numpy as np
import pytest
from scipy import stats

from analysis.kernel.counter import draw_keys, pair, polar, root, threefry, xoroshiro

N = 1_000_000


def _words(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.uint32)


@pytest.mark.parametrize(
    ("rounds", "key", "counter", "expected"),
    [
        (20, (0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        (20, (0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        (20, (0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
        (13, (0, 0), (0, 0), (0x9D1C5EC6, 0x8BD50731)),
    ],
)
def test_threefry_gives_the_published_words(
    rounds: int, key: tuple[int, int], counter: tuple[int, int], expected: tuple[int, int]
) -> None:
    found = threefry(_words(counter[0]), _words(counter[1]), _words(*key), rounds)
    assert tuple(int(word[0]) for word in found) == expected


def _normals(kind: str) -> np.ndarray:
    who = np.arange(N // 2, dtype=np.uint32)
    first, second = threefry(who, np.uint32(3), _words(11, 12))
    word, *state = xoroshiro(first, second)
    if kind == "second":
        second, (word, *_) = state[1], xoroshiro(*state)
    return pair(word, second).astype(float)


@pytest.mark.parametrize("kind", ["first", "second"])
def test_numbers_are_standard_normal_and_independent(kind: str) -> None:
    z = _normals(kind)
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-3
    error = 1.0 / np.sqrt(N)
    assert abs(z.mean()) < 4 * error
    assert abs((z**2).mean() - 1.0) < 4 * np.sqrt(2.0) * error
    assert abs((z**4).mean() - 3.0) < 4 * np.sqrt(96.0) * error
    assert abs((z[0] * z[1]).mean()) < 4 * np.sqrt(2.0) * error
    # Neighbouring trajectories, and the pair's squares.
    assert abs((z[0, 1:] * z[0, :-1]).mean()) < 4 * np.sqrt(2.0) * error
    assert abs(((z[0] ** 2 - 1) * (z[1] ** 2 - 1)).mean()) < 4 * 2.0 * np.sqrt(2.0) * error


def test_keys_come_from_the_generator_alone() -> None:
    first, again = (draw_keys(np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, draw_keys(np.random.default_rng(5)))


def test_every_radius_is_a_number_and_the_variance_is_one() -> None:
    """All 2^20 radii, and a fine comb of angles, against exact arithmetic on the same bits."""
    words = np.arange(2**20, dtype=np.uint32) << np.uint32(1)
    square = polar(words, words)[0].astype(float)
    exact = -2.0 * np.log((words.astype(float) + 1.0) * 2.0**-21)
    assert square.min() > 0.0
    assert np.abs(square - exact).max() < 1.3e-4
    assert abs(square.mean() - 2.0) < 1e-5
    assert root(square.astype(np.float32)) == pytest.approx(np.sqrt(square), rel=2.6e-5)
    angles = np.arange(2**16, dtype=np.uint32) << np.uint32(16)
    for sign in (0, 2**31):
        _, cosine, sine = polar(angles, np.full_like(angles, sign))
        turn = 0.5 * np.pi * angles.view(np.int32) * 2.0**-31
        assert np.abs(cosine * (-1.0 if sign else 1.0) - np.cos(turn)).max() < 1e-5
        assert np.abs(sine - np.sin(turn)).max() < 8e-5
        assert abs((cosine.astype(float) ** 2).mean() - 0.5) < 1e-5
        assert abs((sine.astype(float) ** 2).mean() - 0.5) < 1e-5
