"""Costs: what a run file adds up to, the board's budget, the projection's arithmetic, and who is compared with whom."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.claims import CLAIMS
from analysis.cost import (
    BoardBudget,
    Energy,
    Entry,
    amplifier_count,
    board_sample,
    break_even,
    compare,
    programming_cost,
    si,
)
from analysis.diffusion.hardware import LAYER_SHAPES, AnalogNetwork
from analysis.errors import AnalysisError
from analysis.figures.cost import draw_cost
from analysis.projection import RANGES, Integrated, noise_gain_of, project
from analysis.records import RunHeader, RunWriter, open_run

DESIGN = Integrated(array_power=154e-6)


def _entry(name: str, seconds: float, joules: float, *, batch: int = 1, equal: bool = True) -> Entry:
    return Entry(name, "measured", seconds, (Energy(joules, "estimated", "share"),), batch, equal)


OURS = project(DESIGN).entry
FAST = _entry("fast loop", 3e-6, 20e-6)
SLOW = _entry("slow framework", 300e-6, 2e-3)
WIDE = _entry("wide loop", 0.2e-6, 1e-6, batch=1000)
POOR = _entry("poor loop", 1e-9, 1e-9, equal=False)


def test_events_add_up_by_kind_and_span_reaches_to_the_end_of_the_last(tmp_path: Path) -> None:
    header = RunHeader(
        procedure="program", world="simulated", run_id="r", started="2031-05-07T08:00:00+00:00", rows=2, cols=2,
        seed=1, command_line="", parameters={}, station="", instruments=(), packages={}, git_commit="",
    )  # fmt: skip
    with RunWriter.create(tmp_path / "r", header, now=lambda: 0.0) as writer:
        writer.event("read", 0, 0, energy=2e-12, duration=0.5, t=10.0)
        writer.event("read", 0, 1, energy=3e-12, duration=0.25, t=11.0)
        writer.event("select", 0, 1, t=12.0)
        writer.event("calibrate", -1, -1, duration=2.0, t=13.0)
    with open_run(tmp_path / "r") as run:
        cost = programming_cost(run)
    found = dict(cost.by_kind)
    assert set(found) == {"read", "select", "calibrate"}
    assert (found["read"].count, found["read"].seconds) == (2, 0.75)
    assert found["read"].energy == pytest.approx(5e-12)
    assert (found["select"].energy, found["select"].seconds) == (0.0, 0.0)
    assert cost.energy == pytest.approx(5e-12)
    assert cost.busy == pytest.approx(2.75)
    assert cost.span == pytest.approx(5.0)
    assert cost.share(1000) == pytest.approx(5e-15)
    with pytest.raises(AnalysisError, match="0 samples"):
        cost.share(0)


def test_programming_is_paid_back_after_as_many_samples_as_the_savings_need() -> None:
    assert break_even(1e-6, 0.4e-6, 0.6e-6) == pytest.approx(5.0)
    assert break_even(1e-6, 0.6e-6, 0.4e-6) == float("inf")


def test_amplifiers_follow_from_the_networks_structure() -> None:
    count = amplifier_count()
    assert count["tia"] == count["inverter"] == count["clamp"] == 30
    assert sum(count.values()) == 117
    assert sum(amplifier_count(channels=0).values()) == 99


def test_board_burns_two_watts_and_a_sample_some_joules() -> None:
    budget = BoardBudget()
    assert budget.parts()["amplifiers"] == pytest.approx(117 * 475e-6 * 24)
    assert budget.power == pytest.approx(2.02, abs=0.01)
    entry = board_sample(1.0, 0.05, 154e-6, how="simulated")
    assert entry.how == "simulated"
    assert entry.seconds == pytest.approx(1.05)
    assert entry.energies[0].joules == pytest.approx(budget.power * 1.05 + 154e-6)
    assert entry.energies[0].how == "estimated"


def test_parts_of_the_projection_by_hand() -> None:
    parts = DESIGN.parts()
    assert parts["amplifiers"] == pytest.approx(117 * 100e-6 * 21e-6 / 0.85)
    assert parts["arrays"] == pytest.approx(154e-6 * 20e-6 / 0.85)
    assert parts["converters"] == pytest.approx(18 * 200 * 20e-12 / 0.85)
    assert parts["multipliers"] == pytest.approx(4 * 200e-6 * 21e-6 / 0.85)
    assert parts["control"] == pytest.approx(0.5e-3 * 21e-6 / 0.85)
    assert parts["readout"] == pytest.approx(2 * 100e-12 / 0.85)
    assert DESIGN.energy == pytest.approx(sum(parts.values()))
    assert DESIGN.latency == pytest.approx(21e-6)


def test_three_layers_settle_within_a_tick_at_the_bandwidth_asked_for() -> None:
    tick = DESIGN.solution_time / DESIGN.ticks
    tau = 1.0 / (2.0 * np.pi * DESIGN.closed_loop_bandwidth)
    x = tick / tau
    remainder = np.exp(-x) * (1.0 + x + x**2 / 2.0)  # step response of three equal poles
    assert remainder == pytest.approx(DESIGN.settling_error, rel=1e-6)
    assert DESIGN.gain_bandwidth == pytest.approx(214e6, rel=0.01)
    # The board's 3 MHz amplifiers need milliseconds.
    assert replace(DESIGN, solution_time=1e-3).gain_bandwidth > 3e6
    assert replace(DESIGN, solution_time=2e-3).gain_bandwidth < 3e6


def test_power_that_the_bandwidth_needs_is_inverse_to_the_solution_time_and_counts_only_above_the_assumed() -> None:
    fast = replace(DESIGN, solution_time=2e-6, amplifiers_for_bandwidth=True)
    assert fast.power_for_bandwidth == pytest.approx(10 * DESIGN.power_for_bandwidth)
    assert fast.parts()["amplifiers"] == pytest.approx(117 * fast.power_for_bandwidth * 3e-6 / 0.85)
    slow = replace(DESIGN, solution_time=1e-3, amplifiers_for_bandwidth=True)
    assert slow.energy == replace(slow, amplifiers_for_bandwidth=False).energy


@pytest.mark.parametrize("physical", [False, True])
def test_every_assumption_moves_the_energy_one_way_and_the_corners_hold_all_of_them(physical: bool) -> None:
    projection = project(replace(DESIGN, amplifiers_for_bandwidth=physical))
    energy, latency = projection.energy, projection.latency
    assert energy.low < energy.nominal < energy.high
    assert latency.low < latency.nominal < latency.high
    for row in projection.sensitivities:
        assert min(row.energy) <= energy.nominal <= max(row.energy)
        assert energy.low <= min(row.energy)
        assert max(row.energy) <= energy.high
        falls = row.name in ("supply_efficiency", "gm_per_current", "settling_error")
        assert (row.energy[0] >= row.energy[1]) == falls
        assert row.energy_elasticity <= 0 if falls else row.energy_elasticity >= 0
        assert row.source
    swings = [abs(row.energy[1] - row.energy[0]) for row in projection.sensitivities]
    assert swings == sorted(swings, reverse=True)
    if physical:
        assert {row.name for row in projection.sensitivities} == set(RANGES)


def test_corners_take_the_better_and_the_worse_bound_whichever_way_a_parameter_works() -> None:
    ranges = {name: RANGES[name] for name in ("amplifier_power", "supply_efficiency")}
    energy = project(DESIGN, ranges).energy
    assert energy.low == pytest.approx(replace(DESIGN, amplifier_power=50e-6, supply_efficiency=0.95).energy)
    assert energy.high == pytest.approx(replace(DESIGN, amplifier_power=200e-6, supply_efficiency=0.7).energy)


def test_elasticities_of_the_parts_are_their_shares() -> None:
    rows = {row.name: row for row in project(DESIGN).sensitivities}
    parts = DESIGN.parts()
    assert rows["amplifier_power"].energy_elasticity == pytest.approx(parts["amplifiers"] / DESIGN.energy, rel=1e-4)
    assert rows["array_power"].energy_elasticity == pytest.approx(parts["arrays"] / DESIGN.energy, rel=1e-4)
    assert rows["supply_efficiency"].energy_elasticity == pytest.approx(-1.0, rel=1e-4)
    assert rows["solution_time"].latency_elasticity == pytest.approx(20 / 21, rel=1e-4)
    assert "noise_gain" not in rows


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(sorted(RANGES)), st.floats(0.0, 1.0))
def test_no_single_parameter_within_its_range_leaves_the_corners(name: str, share: float) -> None:
    projection = project(DESIGN)
    low, high = RANGES[name].bounds(getattr(DESIGN, name))
    changed = replace(DESIGN, **{name: low + share * (high - low)})
    assert projection.energy.low <= changed.energy <= projection.energy.high
    assert projection.latency.low <= changed.latency <= projection.latency.high


def test_noise_gain_is_that_of_the_layer_with_the_most_conductance_times_gain() -> None:
    conductances = tuple(np.full(shape, 50e-6) for shape in LAYER_SHAPES)
    network = AnalogNetwork(conductances, (100e3, 20e3, 10e3))
    assert noise_gain_of(network) == pytest.approx(1 + 100e3 * 4 * 50e-6)
    assert noise_gain_of(replace(network, gains=(10e3, 20e3, 100e3))) == pytest.approx(1 + 100e3 * 16 * 50e-6)


def test_comparison_says_plainly_that_a_faster_processor_beats_the_projection() -> None:
    result = compare([OURS], [SLOW, FAST, WIDE, POOR])
    assert result.beaten == (OURS.name,)
    assert "beats the projection" in result.verdict
    assert "7 times slower" in result.verdict
    ratios = {r.baseline: r for r in result.ratios}
    assert set(ratios) == {"fast loop", "slow framework", "wide loop"}
    assert ratios["fast loop"].speed == pytest.approx(3 / 21)
    assert ratios["fast loop"].energies == (("share", pytest.approx(20e-6 / DESIGN.energy)),)


def test_comparison_with_a_slow_baseline_alone_is_won_and_batches_do_not_count_against_latency() -> None:
    result = compare([OURS], [SLOW, WIDE])
    assert result.beaten == ()
    assert "beats" not in result.verdict
    assert "14.3 times faster" in result.verdict


def test_nothing_of_equal_quality_is_no_comparison() -> None:
    with pytest.raises(AnalysisError, match="quality"):
        compare([OURS], [POOR, WIDE])


def test_paper_claims_imply_a_baseline_that_is_no_gpu_and_stay_out_of_the_comparison() -> None:
    circle, letters, published, _ = CLAIMS
    assert circle.baseline_seconds == pytest.approx(1.296e-3)
    assert circle.baseline_joules == pytest.approx(37.5e-6)
    assert circle.baseline_power == pytest.approx(29e-3, rel=0.01)
    assert published.baseline_seconds == pytest.approx(1.380e-3)
    assert letters.baseline_seconds is None
    assert letters.baseline_power is None
    for text in ("1.296 ms", "37.5 uJ", "28.9 mW", "paper"):
        assert text in circle.explain()
    assert "W" not in letters.explain()
    verdict = compare([OURS], [FAST]).verdict
    for number in ("64.8", "69", "80.8", "7.2", "1.296"):
        assert number not in verdict


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (20e-6, "20 us"),
        (1e-3, "1 ms"),
        (0.0, "0 s"),
        (1.05, "1.05 s"),
        (3e-9, "3 ns"),
        (2.5e4, "25 ks"),
        (-2e-6, "-2 us"),
    ],
)
def test_prefixes(value: float, text: str) -> None:
    assert si(value, "s") == text


def test_figure_is_drawn_without_a_display(tmp_path: Path) -> None:
    projection = project(DESIGN)
    comparison = compare([board_sample(1.0, 0.05, 154e-6), projection.entry], [SLOW, FAST, WIDE])
    path = draw_cost(comparison, tmp_path, label="run-1 · SIMULATED (twin)", projections=[projection])
    assert path.read_bytes()[:4] == b"\x89PNG"
    without = draw_cost(comparison, tmp_path / "ours", label="run-1", projections=[projection], claims=())
    assert without.read_bytes() != path.read_bytes()
