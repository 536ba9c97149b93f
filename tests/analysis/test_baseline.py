"""The digital baseline: solvers that agree, enough steps, times from a stopwatch handed in, a file's round trip."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis import baseline
from analysis.baseline import (
    Baseline,
    EnergyModel,
    Rapl,
    Settings,
    cpu_name,
    find_steps,
    measure_baseline,
)
from analysis.baseline_solvers import (
    FLOP_PER_EVALUATION,
    Method,
    digital_flow,
    solve_batch,
    solve_numpy,
    solve_singly,
    torch_solver,
)
from analysis.cost import compare
from analysis.diffusion.data import Ring
from analysis.diffusion.hardware import LAYER_SHAPES, AnalogNetwork, Drive
from analysis.diffusion.samplers import run_drive
from analysis.diffusion.sde import Prior
from analysis.errors import AnalysisError
from analysis.metrics import Metric, Truth
from analysis.projection import Integrated, project

TINY = Settings(points=200, sets=2, steps=(2, 5, 20), reference_steps=40, batches=(8, 33), repeats=3, block=0.0)


class _Watch:
    """Seconds that grow by a millisecond at each look."""

    def __init__(self) -> None:
        self._looks = count()

    def __call__(self) -> float:
        return next(self._looks) * 1e-3


@pytest.fixture(scope="module")
def network() -> AnalogNetwork:
    rng = np.random.default_rng(0)
    conductances = tuple(rng.uniform(20e-6, 100e-6, shape) for shape in LAYER_SHAPES)
    offsets = tuple(rng.normal(0.0, 0.05, shape[0]) for shape in LAYER_SHAPES)
    return AnalogNetwork(conductances, (20e3, 8e3, 8e3), offsets=offsets)


@pytest.fixture(scope="module")
def drive() -> Drive:
    rng = np.random.default_rng(1)
    tau = (np.arange(200) + 0.5) / 200
    embedding = np.sin(np.outer(2.0 * np.pi * tau, rng.normal(size=14)))
    return Drive.from_coefficients(0.3 + tau, 0.5 + tau, embedding, Prior(1.5), trim=np.array([0.1, -0.2]))


@pytest.fixture(scope="module")
def truth() -> Truth:
    return Truth.from_points(Ring().draw(20_000, np.random.default_rng(2)), Ring().density, subdivisions=8)


@pytest.mark.parametrize("method", ["euler", "heun"])
def test_kernels_numpy_and_torch_compute_the_same(network: AnalogNetwork, drive: Drive, method: Method) -> None:
    flow = digital_flow(network, drive, method, 17)
    # 45 points: a whole group of the batched kernel and part of another; some beyond both clamps.
    start = (3.0 * np.random.default_rng(3).standard_normal((45, 2))).astype(np.float32)
    assert np.abs(start).max() > 4.0
    expected = torch_solver(flow)(torch.tensor(start)).numpy()
    assert np.abs(expected - start).max() > 0.1
    for solve in (solve_singly, solve_batch):
        out = np.full_like(start, np.nan)
        solve(flow, start, out)
        np.testing.assert_allclose(out, expected, atol=1e-4)
    np.testing.assert_allclose(solve_numpy(flow, start), expected, atol=1e-4)


def test_heun_with_a_step_a_tick_is_the_projects_own_sampler(network: AnalogNetwork, drive: Drive) -> None:
    start = drive.prior.draw(40, np.random.default_rng(4))
    flow = digital_flow(network, drive, "heun", drive.ticks)
    out = np.empty((40, 2), np.float32)
    solve_batch(flow, start.astype(np.float32), out)
    expected = run_drive(network, drive, 40, np.random.default_rng(0), start=start)
    np.testing.assert_allclose(out, expected, atol=1e-4)


def test_tables_are_averaged_over_each_step(network: AnalogNetwork, drive: Drive) -> None:
    coarse = digital_flow(network, drive, "euler", 8)
    np.testing.assert_allclose(coarse.rates[:, 0], drive.a.reshape(8, -1).mean(1), rtol=1e-5)
    np.testing.assert_allclose(coarse.embedding[:, :14], drive.embedding.reshape(8, -1, 14).mean(1), atol=1e-6)
    uneven = digital_flow(network, drive, "euler", 7)
    np.testing.assert_allclose(uneven.rates.mean(0), [drive.a.mean(), drive.b.mean()], rtol=1e-5)
    fine = digital_flow(network, drive, "euler", 400)
    np.testing.assert_allclose(fine.rates[:, 1], np.repeat(drive.b, 2), rtol=1e-5)
    assert (coarse.evaluations, digital_flow(network, drive, "heun", 8).evaluations) == (8, 16)


def test_noise_and_no_steps_are_refused(network: AnalogNetwork, drive: Drive) -> None:
    with pytest.raises(AnalysisError, match="noise"):
        digital_flow(network, replace(drive, noise=np.full(200, 0.1)), "euler", 10)
    digital_flow(network, replace(drive, noise=np.zeros(200)), "euler", 10)
    with pytest.raises(AnalysisError, match="at least one"):
        digital_flow(network, drive, "euler", 0)


def test_fewest_evaluations_that_reach_the_target_are_chosen(
    network: AnalogNetwork, drive: Drive, truth: Truth
) -> None:
    def find(target: Metric | None) -> tuple[float, baseline.Quality, tuple[baseline.Quality, ...]]:
        return find_steps(network, drive, truth, np.random.default_rng(5), target, TINY)

    limit, chosen, tried = find(None)
    assert {(q.method, q.steps) for q in tried} == {
        ("euler", 2), ("euler", 5), ("euler", 20), ("heun", 2), ("heun", 5), ("heun", 20), ("heun", 40),
    }  # fmt: skip
    reference = tried[-1]
    assert limit == pytest.approx(reference.kl_2d + 1.96 * reference.deviation)
    assert chosen.kl_2d <= limit
    assert find(Metric(50.0, 40.0, 60.0, 0.0))[1].evaluations == 2
    limit, chosen, tried = find(Metric(0.0, 0.0, 1e-9, 0.0))
    assert chosen.kl_2d > limit
    assert chosen.kl_2d == min(q.kl_2d for q in tried)


def test_lucky_coarse_solver_does_not_count_when_finer_ones_fail(
    network: AnalogNetwork, drive: Drive, truth: Truth, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In order: the reference, Euler with 2, 5 and 20 steps, Heun with as many.
    scripted = iter([0.1, 0.1, 0.9, 0.1, 0.9, 0.9, 0.1])
    monkeypatch.setattr(baseline, "kl_2d", lambda *_: next(scripted))
    one_set = replace(TINY, sets=1)
    _, chosen, _ = find_steps(network, drive, truth, np.random.default_rng(5), Metric(0.2, 0.1, 0.3, 0.0), one_set)
    assert (chosen.method, chosen.steps) == ("euler", 20)


@pytest.fixture(scope="module")
def measured(network: AnalogNetwork, drive: Drive, truth: Truth, tmp_path_factory: pytest.TempPathFactory) -> Baseline:
    folder = tmp_path_factory.mktemp("machine")
    (folder / "cpuinfo").write_text(
        "processor\t: 0\ncpu family\t: 6\nmodel\t\t: 85\nmodel name\t: Chip 9\n\nprocessor\t: 1\n"
    )
    return measure_baseline(
        network, drive, truth, rng=np.random.default_rng(6), stopwatch=_Watch(), settings=TINY,
        rapl=Rapl(folder / "none"), cpuinfo=folder / "cpuinfo",
    )  # fmt: skip


def test_every_implementation_is_timed_by_the_stopwatch_or_skipped_with_a_reason(measured: Baseline) -> None:
    found = {(m.name, m.batch): m for m in measured.measurements}
    for key, samples in {
        ("compiled loop", 1): 33, ("compiled loop, vectorised", 33): 33, ("torch, eager", 1): 1,
        ("torch, eager", 8): 8, ("torch, eager", 33): 33, ("numpy", 8): 8, ("numpy", 33): 33,
    }.items():  # fmt: skip
        m = found[key]
        assert m.seconds == pytest.approx(1e-3 / samples)
        assert m.repeats == 3
        assert m.quartiles == pytest.approx((m.seconds, m.seconds))
    for batch in (1, 8):
        m = found["torch, compiled", batch]
        assert m.seconds is None
        assert "may take 40 s" in m.skipped
    assert measured.cpu == "Chip 9 (family 6, model 85)"
    assert measured.threads == 1
    assert {name for name, _ in measured.packages} == {"numpy", "numba", "torch"}


def test_energies_are_labelled_as_estimates_and_follow_the_model(measured: Baseline) -> None:
    model = EnergyModel()
    m = measured.measurements[0]
    assert m.seconds is not None
    share, arithmetic, scaled = m.energies
    assert {e.how for e in m.energies} == {"estimated"}
    assert share.joules == pytest.approx(330 / 48 * m.seconds)
    assert share.source.startswith("assumed")
    assert FLOP_PER_EVALUATION == 2 * (14 * 2 + 14 * 14 + 2 * 14) + 8
    assert arithmetic.joules == pytest.approx(FLOP_PER_EVALUATION * measured.chosen.evaluations * 2.3e-12)
    assert scaled.joules == pytest.approx(16 * arithmetic.joules)
    assert model.estimates(1.0, 1, gpu=True)[0].joules == pytest.approx(700.0)


def test_baseline_comes_back_from_text_and_bytes_exactly(measured: Baseline) -> None:
    assert Baseline.from_json(measured.to_json()) == measured
    values = measured.to_bytes()
    assert values.dtype == np.uint8
    assert Baseline.from_bytes(values) == measured
    for text in ("", "{}", "[1]", '{"cpu": 3}'):
        with pytest.raises(AnalysisError, match="no digital baseline"):
            Baseline.from_json(text)


def test_entries_enter_a_comparison_unless_the_quality_is_missed(measured: Baseline) -> None:
    ours = [project(Integrated(array_power=1e-4)).entry]
    result = compare(ours, measured.entries())
    assert len(result.baselines) == sum(not m.skipped for m in measured.measurements)
    missed = replace(measured, limit=-1.0)
    assert not missed.reached
    with pytest.raises(AnalysisError, match="quality"):
        compare(ours, missed.entries())


def test_no_time_left_skips_everything_with_a_reason(network: AnalogNetwork, drive: Drive, truth: Truth) -> None:
    none = measure_baseline(
        network, drive, truth, rng=np.random.default_rng(6), stopwatch=_Watch(), settings=replace(TINY, total_time=0.0)
    )
    assert all(m.seconds is None and m.skipped.startswith("time is up") for m in none.measurements)
    assert none.entries() == ()


def test_implementation_that_fails_is_skipped_with_what_it_said(
    network: AnalogNetwork, drive: Drive, truth: Truth, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no compiler here\nand a long tale")

    monkeypatch.setattr(baseline, "solve_numpy", broken)
    found = measure_baseline(
        network, drive, truth, rng=np.random.default_rng(6), stopwatch=_Watch(), settings=TINY
    )  # fmt: skip
    skipped = [m for m in found.measurements if m.name == "numpy"]
    assert [m.skipped for m in skipped] == ["RuntimeError: no compiler here"] * 2


def _zone(folder: Path, name: str, energy: int) -> None:
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "energy_uj").write_text(f"{energy}\n")
    (folder / name / "max_energy_range_uj").write_text("1000000\n")


def test_packages_counters_add_up_and_may_wrap(tmp_path: Path) -> None:
    _zone(tmp_path, "intel-rapl:0", 999_000)
    _zone(tmp_path, "intel-rapl:1", 100)
    _zone(tmp_path, "intel-rapl:0:0", 5)  # a core domain, part of package 0
    (tmp_path / "intel-rapl:2").mkdir()  # not readable
    rapl = Rapl(tmp_path)
    before = rapl.read()
    _zone(tmp_path, "intel-rapl:0", 1_000)
    _zone(tmp_path, "intel-rapl:1", 600)
    assert rapl.joules(before, rapl.read()) == pytest.approx((2_000 + 500) * 1e-6)
    assert Rapl(tmp_path / "nowhere").read() == []


def test_readable_counters_give_a_measured_energy(
    network: AnalogNetwork, drive: Drive, truth: Truth, tmp_path: Path
) -> None:
    _zone(tmp_path, "intel-rapl:0", 7)
    found = measure_baseline(
        network, drive, truth, rng=np.random.default_rng(6), stopwatch=_Watch(), settings=TINY, rapl=Rapl(tmp_path)
    )
    for entry in found.entries():
        assert [e.how for e in entry.energies] == ["measured", "estimated", "estimated", "estimated"]
        assert entry.energies[0].joules == 0.0


def test_machine_without_cpuinfo_still_has_some_name(tmp_path: Path) -> None:
    assert cpu_name(tmp_path / "none")
