"""The sampling kernel: its paths agree with each other and with the reference loop, in every setting."""

import logging
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from analysis.diffusion.hardware import N_HIDDEN, N_TICKS, AnalogNetwork, Drive
from analysis.diffusion.samplers import SAMPLERS, Sampler, run_drive, sample
from analysis.diffusion.sde import VPSDE, Prior
from analysis.errors import AnalysisError
from analysis.kernel.counter import draw_keys
from analysis.kernel.equation import CellNoise, Equation, device, diffusing, quantised
from analysis.kernel.solve import default_path, solve, trajectories


def _network() -> AnalogNetwork:
    rng = np.random.default_rng(1)
    shapes = ((14, 3), (14, 15), (2, 15))
    return AnalogNetwork(tuple(rng.uniform(20e-6, 100e-6, s) for s in shapes), (4e4, 1.2e4, 1.2e4))


def _drive(ticks: int = N_TICKS) -> Drive:
    t = 1.0 - (np.arange(ticks) + 0.5) / ticks
    rng = np.random.default_rng(2)
    embedding = np.sin(2.0 * np.pi * t[:, None] * rng.standard_normal(N_HIDDEN))
    half = 0.5 * VPSDE().beta(t)
    return Drive.from_coefficients(half, half / VPSDE().std(t), embedding, Prior(0.642), trim=np.array([0.01, -0.02]))


NETWORK, DRIVE = _network(), _drive()
KEYS = draw_keys(np.random.default_rng(3))


def _wide(hidden: int) -> Equation:
    rng = np.random.default_rng(hidden)
    shapes = ((hidden, 3), (hidden, hidden + 1), (2, hidden + 1))
    weights = tuple(rng.standard_normal(s) / np.sqrt(s[1]) for s in shapes)
    rates = np.tile([1.002, 0.01, 0.05], (20, 1))
    equation = Equation(weights, 0.3 * rng.standard_normal((20, hidden)), rates, 0.7, (0.001, 0.002))
    return equation.with_weight_noise(0.05)


@pytest.mark.parametrize("heun", [False, True])
@pytest.mark.parametrize("stochastic", [False, True])
@pytest.mark.parametrize("reading", [False, True])
def test_compiled_and_numpy_paths_give_the_same_trajectories(heun: bool, stochastic: bool, reading: bool) -> None:
    equation = Equation.of_drive(
        NETWORK,
        diffusing(DRIVE) if stochastic else DRIVE,
        heun=heun,
        converters=True,
        read_noise=CellNoise(memory=0.03) if reading else None,
    )
    ours, plain = (trajectories(equation, 333, KEYS, every=60, path=path) for path in ("compiled", "numpy"))
    assert ours.shape == (4, 333, 2)
    assert np.abs(ours - plain).max() < 1e-4


@pytest.mark.parametrize("hidden", [1, 9, 15, 21, 64])
def test_any_width_is_solved(hidden: int) -> None:
    equation = _wide(hidden)
    ours, plain = (trajectories(equation, 50, KEYS, path=path) for path in ("compiled", "numpy"))
    # Rows are filled up differently on the two paths only beyond the last node: the numbers are the same.
    assert np.abs(ours - plain).max() < 1e-4


@pytest.mark.parametrize("clamp", [None, (-0.3, np.inf), (-np.inf, 0.4), (-0.2, 0.4)])
@pytest.mark.parametrize("reading", [False, True])
def test_any_clamp_is_kept(clamp: tuple[float, float] | None, reading: bool) -> None:
    equation = replace(_wide(9), clamp=clamp)
    equation = equation if reading else replace(equation, variances=None)
    ours, plain = (trajectories(equation, 50, KEYS, path=path) for path in ("compiled", "numpy"))
    assert np.abs(ours - plain).max() < 1e-4


def test_result_depends_neither_on_threads_nor_on_parts() -> None:
    equation = Equation.of_drive(NETWORK, diffusing(DRIVE), read_noise=CellNoise(weight=0.05))
    whole = trajectories(equation, 1000, KEYS)
    assert np.array_equal(whole, trajectories(equation, 1000, KEYS, threads=3))
    parts = [trajectories(equation, n, KEYS, first=first) for first, n in ((0, 77), (77, 400), (477, 523))]
    assert np.array_equal(whole, np.concatenate(parts, axis=1))
    assert not np.array_equal(whole, trajectories(equation, 1000, draw_keys(np.random.default_rng(99))))


def test_flow_is_the_reference_loop_s() -> None:
    start = 0.6 * np.random.default_rng(7).standard_normal((500, 2))
    reference = run_drive(NETWORK, DRIVE, 500, np.random.default_rng(0), start=start)
    ours = solve(Equation.of_drive(NETWORK, DRIVE, heun=True), 500, np.random.default_rng(0), start=start)
    assert np.abs(ours - reference).max() < 2e-5


def test_diffusion_has_the_reference_loop_s_moments() -> None:
    n = 40_000
    drive = diffusing(_drive(40))
    reference = run_drive(NETWORK, drive, n, np.random.default_rng(11))
    ours = solve(Equation.of_drive(NETWORK, drive, heun=True), n, np.random.default_rng(12)).astype(float)
    for power in ((1, 0), (0, 1), (2, 0), (0, 2), (1, 1), (4, 0)):
        a, b = (x[:, 0] ** power[0] * x[:, 1] ** power[1] for x in (reference, ours))
        assert abs(a.mean() - b.mean()) < 4.5 * np.sqrt((a.var() + b.var()) / n), power


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_digital_samplers_are_the_reference_loop_s(name: str) -> None:
    sampler = replace(SAMPLERS[name], points=60)
    rng = np.random.default_rng(21)
    weights = tuple(rng.standard_normal(s) / np.sqrt(s[1]) for s in ((14, 3), (14, 15), (2, 15)))
    times = np.linspace(1.0, sampler.t_end, sampler.points)
    embedding = np.sin(5.0 * times[:, None] * rng.standard_normal(14))
    scale = 0.5 / np.sqrt(times + 0.01)
    rows = {float(t): k for k, t in enumerate(times)}

    def score(x: np.ndarray, t: float) -> np.ndarray:
        k = rows[float(t)]
        v = np.maximum(x @ weights[0][:, :-1].T + weights[0][:, -1] + embedding[k], 0.0)
        v = np.maximum(v @ weights[1][:, :-1].T + weights[1][:, -1] + embedding[k], 0.0)
        return scale[k] * (v @ weights[2][:, :-1].T + weights[2][:, -1])

    n = 20_000
    start = 0.7 * rng.standard_normal((n, 2))
    reference = sample(score, n, np.random.default_rng(1), sampler=sampler, start=start)
    equation = Equation.of_score(weights, embedding, scale, sampler, 0.7)
    ours = solve(equation, n, np.random.default_rng(2), start=start)
    if sampler.method == "euler-maruyama":
        difference = ours.mean(axis=0) - reference.mean(axis=0)
        assert np.all(np.abs(difference) < 4.5 * np.sqrt(2.0 / n) * reference.std(axis=0))
        assert np.all(np.abs(ours.std(axis=0) / reference.std(axis=0) - 1.0) < 4.5 / np.sqrt(n))
    else:
        assert np.abs(ours - reference).max() < 1e-4


def test_read_noise_has_the_law_of_noisy_cells() -> None:
    """One step from one point, against drawing every cell anew for every trajectory."""
    noise, n = CellNoise(memory=0.04, weight=0.1), 40_000
    equation = Equation.of_drive(NETWORK, _drive(1), read_noise=noise)
    start = np.tile([0.4, -0.3], (n, 1))
    ours = solve(equation, n, np.random.default_rng(5), start=start).astype(float)
    rng, window = np.random.default_rng(6), NETWORK.window
    v = np.clip(start, -2.0, 4.0)
    for layer, (g, gain) in enumerate(zip(NETWORK.conductances, NETWORK.gains, strict=True)):
        z = np.empty((n, len(g)))
        for i, row in enumerate(g):
            cells = row + noise.sigma(row, window.g_fixed) * rng.standard_normal((n, len(row)))
            z[:, i] = ((cells[:, :-1] * v).sum(axis=1) + cells[:, -1]) * gain - window.g_fixed * gain * (
                v.sum(axis=1) + 1.0
            )
        v = np.clip(z + _drive(1).embedding[0], 0.0, 4.0) if layer < 2 else z
    drive = _drive(1)
    reference = start + drive.a[0] * start + drive.b[0] * v + drive.trim
    error = reference.std(axis=0) / np.sqrt(n)
    assert np.all(np.abs(ours.mean(axis=0) - reference.mean(axis=0)) < 4.5 * np.sqrt(2.0) * error)
    assert np.all(np.abs(ours.std(axis=0) / reference.std(axis=0) - 1.0) < 4.5 / np.sqrt(n))
    for q in (0.05, 0.5, 0.95):
        assert np.abs(np.quantile(ours, q, axis=0) - np.quantile(reference, q, axis=0)).max() < 15 * error.max()


def test_torch_path_has_the_same_law() -> None:
    n = 40_000
    equation = Equation.of_drive(NETWORK, diffusing(_drive(20)), heun=True, read_noise=CellNoise(memory=0.05))
    ours = solve(equation, n, np.random.default_rng(1)).astype(float)
    theirs = solve(equation, n, np.random.default_rng(2), path="torch", device="cpu").astype(float)
    again = solve(equation, n, np.random.default_rng(2), path="torch", device="cpu")
    assert np.array_equal(theirs.astype(np.float32), again)
    assert np.all(np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) < 4.5 * np.sqrt(2.0 / n) * ours.std(axis=0))
    assert np.all(np.abs(ours.std(axis=0) / theirs.std(axis=0) - 1.0) < 4.5 / np.sqrt(n))


def test_coarse_steps_follow_a_fine_path_at_order_one() -> None:
    """Halving the step halves the distance from the path that has sixteen times as many."""
    ends = {}
    for steps in (40, 80, 1280):
        t = 1.0 - np.arange(steps) / steps
        half = 0.5 * VPSDE(beta_max=2.0).beta(t)
        embedding = np.sin(3.0 * t[:, None] * np.arange(N_HIDDEN))
        drive = Drive.from_coefficients(half, 0.4 * half, embedding, Prior(0.7))
        equation = Equation.of_drive(NETWORK, diffusing(drive))
        ends[steps] = trajectories(equation, 4000, KEYS, draws=1280 // steps)[-1].astype(float)
    coarse, fine = (np.sqrt(((ends[s] - ends[1280]) ** 2).sum(axis=1).mean()) for s in (40, 80))
    assert 1.7 < coarse / fine < 2.6


def test_device_lies_on_levels_and_errs_by_the_noise_asked_for() -> None:
    window = NETWORK.window
    ideal = device(NETWORK, CellNoise(), np.random.default_rng(0))
    assert all(np.array_equal(g, window.quantise(g)) for g in ideal.conductances)
    errors = []
    for seed in range(200):
        made = device(NETWORK, CellNoise(memory=0.05), np.random.default_rng(seed))
        errors += [((a - b) / b).ravel() for a, b in zip(made.conductances, ideal.conductances, strict=True)]
    assert np.concatenate(errors).std() == pytest.approx(0.05, rel=0.02)
    weight = CellNoise(weight=0.1).sigma(np.array([50e-6, 70e-6]), window.g_fixed)
    assert weight == pytest.approx([0.0, 2e-6])


def test_converters_hold_whole_codes() -> None:
    volts = np.array([-1.0, -0.5, 0.0, 1e-4, 0.99999, 1.0, 2.0])
    assert quantised(volts) == pytest.approx([-1.0, -0.5, 0.0, 0.0, 2047 / 2048, 2047 / 2048, 2047 / 2048])


def test_bad_requests_say_what_is_allowed() -> None:
    equation = Equation.of_drive(NETWORK, DRIVE)
    rng = np.random.default_rng(0)
    with pytest.raises(AnalysisError, match="need \\(5, 2\\)"):
        solve(equation, 5, rng, start=np.zeros((4, 2)))
    with pytest.raises(AnalysisError, match="at least 1"):
        solve(equation, 5, rng, threads=0)
    with pytest.raises(AnalysisError, match="one is the least"):
        solve(equation, 0, rng)
    with pytest.raises(AnalysisError, match="give 0 or more"):
        CellNoise(memory=-0.1)
    with pytest.raises(AnalysisError, match="needs"):
        replace(equation, weights=equation.weights[:2])
    with pytest.raises(AnalysisError, match="200 times"):
        Equation.of_score(equation.weights, np.zeros((200, 14)), np.zeros(3), Sampler(), 0.6)


def test_machine_without_the_compiler_solves_and_says_so() -> None:
    code = """
import sys, logging
sys.modules["numba"] = None
logging.basicConfig(level=logging.WARNING)
import numpy as np
from analysis.kernel.equation import Equation
from analysis.kernel.solve import default_path, solve
w = (np.ones((3, 3)), np.ones((3, 4)), np.ones((2, 4)))
e = Equation(w, np.zeros((4, 3)), np.tile([1.0, 0.01, 0.1], (4, 1)), 0.5)
assert default_path().name == "numpy", default_path()
assert solve(e, 10, np.random.default_rng(0)).shape == (10, 2)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "the compiled kernel is not available" in done.stderr


def test_this_machine_has_the_compiled_path(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert default_path().name == "compiled"
    assert not caplog.records
