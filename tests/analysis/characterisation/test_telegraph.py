"""Telegraph noise is found where it is, with its levels and dwell times, and not in drifts, jumps and plain noise."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.characterisation.common import line_fit, share_of, sigma_of, spread_of
from analysis.characterisation.telegraph import find_telegraphs

Floats = npt.NDArray[np.float64]


def telegraph(rng: np.random.Generator, count: int, n: int, stay: float) -> Floats:
    """0 and 1 with a mean dwell of 1 / (1 - stay) samples."""
    flips = rng.random((count, n)) > stay
    return (np.cumsum(flips, axis=1) % 2).astype(np.float64)


def test_plain_noise_is_no_telegraph() -> None:
    rng = np.random.default_rng(1)
    found = find_telegraphs(50e-6 + 0.1e-6 * rng.standard_normal((150, 120)))
    assert found.found.mean() <= 0.01
    assert found.jumped.mean() <= 0.01


@pytest.mark.parametrize("stay", [0.7, 0.9, 0.97])
def test_a_telegraph_is_found_with_its_levels_and_dwell_times(stay: float) -> None:
    rng = np.random.default_rng(2)
    traces = 50e-6 + 0.5e-6 * telegraph(rng, 60, 400, stay) + 0.1e-6 * rng.standard_normal((60, 400))
    t = find_telegraphs(traces)
    assert t.found.mean() > 0.95
    assert np.median(t.high - t.low) == pytest.approx(0.5e-6, rel=0.05)
    assert np.median(t.sigma) == pytest.approx(0.1e-6, rel=0.1)
    assert np.median(t.dwell_low) == pytest.approx(1 / (1 - stay), rel=0.3)
    assert np.median(t.dwell_high) == pytest.approx(1 / (1 - stay), rel=0.3)


def test_a_single_jump_is_called_so() -> None:
    rng = np.random.default_rng(3)
    traces = 50e-6 + 0.1e-6 * rng.standard_normal((40, 200))
    traces[:, 120:] += 1e-6
    t = find_telegraphs(traces)
    assert not t.found.any()
    assert t.jumped.all()


def test_a_trace_that_stands_still_is_neither() -> None:
    t = find_telegraphs(np.full((2, 50), 3e-5))
    assert not t.found.any()
    assert not t.jumped.any()


@settings(max_examples=8)
@given(st.integers(0, 2**31), st.floats(-7, -4), st.floats(-3, 3))
def test_the_answer_does_not_depend_on_unit_or_offset(seed: int, power: float, offset: float) -> None:
    rng = np.random.default_rng(seed)
    traces = telegraph(rng, 3, 120, 0.9) * 4 + rng.standard_normal((3, 120))
    plain, scaled = find_telegraphs(traces), find_telegraphs((traces + offset) * 10**power)
    assert np.array_equal(plain.found, scaled.found)
    assert plain.gain == pytest.approx(scaled.gain, abs=0.5)


def test_uncertainties_hold_what_they_say() -> None:
    rng = np.random.default_rng(4)
    sigmas = [sigma_of(rng.standard_normal(50)) for _ in range(400)]
    assert np.std([s.value for s in sigmas]) == pytest.approx(np.mean([s.error for s in sigmas]), rel=0.15)
    spreads = [spread_of(rng.standard_normal(200)) for _ in range(400)]
    assert np.mean([s.value for s in spreads]) == pytest.approx(1.0, abs=0.03)
    assert np.std([s.value for s in spreads]) == pytest.approx(np.mean([s.error for s in spreads]), rel=0.2)
    x = np.linspace(0, 1, 30)
    fits = [line_fit(x, 2 * x + 1 + 0.1 * rng.standard_normal(30)) for _ in range(400)]
    assert np.mean([f[0].value for f in fits]) == pytest.approx(2, abs=0.02)
    assert np.std([f[0].value for f in fits]) == pytest.approx(np.mean([f[0].error for f in fits]), rel=0.15)
    assert share_of(0, 10).value == 0
    assert 0 < share_of(0, 10).error < 0.1
