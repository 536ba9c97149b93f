"""The cell's law by its statistics. Tolerances are 4 to 6 standard errors of the sample unless said otherwise."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruments.twin.bench import load_law
from instruments.twin.cell import CELL, CellArray, CellLaw, fresh

IDEAL = load_law("ideal", Path("."))
CMO = load_law("cmo-hfox", Path("."))
CALM = replace(CMO, jump_probability=0.0, stuck_on=0.0, stuck_off=0.0, rtn_share=0.0)
MANY = 20_000
EVERY = slice(None)
SECOND = 1_000_000_000
US = 1e-6


def chip(law: CellLaw, number: int = MANY, seed: int = 7) -> tuple[CellArray, np.random.Generator]:
    rng = np.random.default_rng(seed)
    return CellArray(law, fresh(law, (number,), rng)), rng


def at(array: CellArray, conductance: float) -> CellArray:
    """Put all cells at a conductance, at rest."""
    array.cells["g"], array.cells["drift"], array.cells["spread"] = conductance, 0.0, 0.0
    return array


# A new chip


@pytest.mark.parametrize("name", ["v_t", "v_s", "v_r", "v_form", "g_min", "g_max"])
def test_devices_differ_by_the_laws_spread(name: str) -> None:
    values = chip(CMO)[0].cells[name]
    mean, sigma = getattr(CMO, name), getattr(CMO, f"{name}_spread")
    assert np.mean(values) == pytest.approx(mean, abs=5 * sigma / np.sqrt(MANY))
    assert np.std(values) == pytest.approx(sigma, rel=0.03)


def test_gate_slope_differs_by_a_share_of_itself() -> None:
    slopes = chip(replace(CMO, k_g_spread=0.05))[0].cells["k_g"]
    assert np.mean(slopes) == pytest.approx(CMO.k_g, rel=5 * 0.05 / np.sqrt(MANY))
    assert np.std(slopes) / CMO.k_g == pytest.approx(0.05, rel=0.03)


def test_stuck_and_telegraph_cells_come_in_their_shares() -> None:
    cells = chip(CMO)[0].cells
    for share, wanted in (
        (np.mean(cells["stuck"] == 1), CMO.stuck_on),
        (np.mean(cells["stuck"] == -1), CMO.stuck_off),
        (np.mean(cells["rtn"] > 0), CMO.rtn_share),
    ):
        assert share == pytest.approx(wanted, abs=4 * np.sqrt(wanted * (1 - wanted) / MANY))


def test_a_fresh_chip_depends_on_its_seed_alone() -> None:
    assert np.array_equal(chip(CMO, 100, seed=3)[0].cells, chip(CMO, 100, seed=3)[0].cells)
    assert not np.array_equal(chip(CMO, 100, seed=3)[0].cells, chip(CMO, 100, seed=4)[0].cells)


def test_only_cell_records_are_taken() -> None:
    with pytest.raises(ValueError, match="dtype"):
        CellArray(CMO, np.zeros(3))
    assert CELL["g"] == np.float64


# SET


def test_the_gate_bounds_what_a_set_reaches_with_the_laws_slope() -> None:
    gates = np.linspace(0.8, 1.5, 8)
    reached = []
    for gate in gates:
        array, rng = chip(IDEAL, 4)
        for _ in range(3):
            array.set_pulse(EVERY, 2.5, gate, US, 0, rng)
        reached.append(array.conductance(EVERY, 0)[0])
    assert np.allclose(reached, IDEAL.k_g * (gates - IDEAL.v_t), rtol=1e-6)
    assert np.polyfit(gates, reached, 1)[0] == pytest.approx(125e-6, rel=1e-6)


def test_spread_cells_keep_the_gate_slope_on_average() -> None:
    means = []
    for gate in (1.0, 1.3):
        array, rng = chip(CALM)
        array.set_pulse(EVERY, 2.5, gate, US, 0, rng)
        means.append(np.mean(array.conductance(EVERY, 0)))
    # V_t spread and its jitter scatter a single cell by 5.3 uS.
    assert (means[1] - means[0]) / 0.3 == pytest.approx(125e-6, abs=5 * 5.3e-6 * np.sqrt(2 / MANY) / 0.3)


def test_weak_pulses_move_little_and_strong_ones_all_the_way() -> None:
    moved = []
    for volts in (0.9, 1.35, 1.6, 2.5):
        array, rng = chip(IDEAL, 1)
        at(array, 20e-6).set_pulse(EVERY, volts, 1.2, US, 0, rng)
        moved.append((array.conductance(EVERY, 0)[0] - 20e-6) / (75e-6 - 20e-6))
    weak, threshold, above, strong = moved
    assert weak == pytest.approx(1 - np.exp(-np.exp(-0.45 / IDEAL.v0)), rel=1e-3)
    assert threshold == pytest.approx(1 - np.exp(-1), rel=1e-6)
    assert threshold < above < strong
    assert strong == pytest.approx(1.0, rel=1e-6)


def test_a_longer_pulse_acts_like_a_stronger_one() -> None:
    short, rng = chip(IDEAL, 1)
    at(short, 20e-6).set_pulse(EVERY, 1.2 + IDEAL.v0 * np.log(10), 1.2, US, 0, rng)
    long, rng = chip(IDEAL, 1)
    at(long, 20e-6).set_pulse(EVERY, 1.2, 1.2, 10 * US, 0, rng)
    assert long.conductance(EVERY, 0) == pytest.approx(short.conductance(EVERY, 0), rel=1e-9)


def test_a_set_never_lowers_and_never_passes_its_ceiling() -> None:
    array, rng = chip(replace(CALM, c2c=0.0), 2000)
    at(array, 40e-6).set_pulse(EVERY, 2.0, 1.1, US, 0, rng)
    after = array.conductance(EVERY, 0)
    ceiling = array.cells["k_g"] * (1.1 - array.cells["v_t"])
    assert np.all(after >= 40e-6)
    assert np.all(after <= np.maximum(ceiling, 40e-6) * (1 + 1e-12))


def test_cycles_differ_by_the_laws_jitter() -> None:
    array, rng = chip(replace(CALM, v_t_spread=0.0, k_g_spread=0.0, v_s_spread=0.0))
    at(array, 10e-6).set_pulse(EVERY, 2.5, 1.2, US, 0, rng)
    # At full strength only V_t's jitter shows, through the gate slope.
    assert np.std(array.conductance(EVERY, 0)) == pytest.approx(CMO.k_g * CMO.c2c, rel=0.03)


def test_a_rare_pulse_jumps() -> None:
    law = replace(CALM, c2c=0.0, v_t_spread=0.0, k_g_spread=0.0, v_s_spread=0.0, jump_probability=0.01)
    array, rng = chip(law)
    at(array, 40e-6).set_pulse(EVERY, 2.5, 1.2, US, 0, rng)
    away = array.conductance(EVERY, 0) - 75e-6
    share = np.mean(np.abs(away) > 1e-9)
    assert share == pytest.approx(0.01, abs=4 * np.sqrt(0.01 / MANY))
    assert np.std(away[np.abs(away) > 1e-9]) == pytest.approx(law.jump_sigma, rel=0.25)


# RESET


def test_reset_is_driven_by_amplitude_down_to_the_floor() -> None:
    left = []
    for volts in (0.8, 1.0, 1.25, 1.5, 2.0):
        array, rng = chip(IDEAL, 1)
        at(array, 80e-6).reset_pulse(EVERY, volts, 3.0, US, 0, rng)
        left.append(array.conductance(EVERY, 0)[0])
    assert left == sorted(left, reverse=True)
    assert left[2] == pytest.approx(80e-6 - (80e-6 - IDEAL.g_min) * (1 - np.exp(-1)), rel=1e-6)
    assert left[-1] == pytest.approx(IDEAL.g_min, rel=1e-3)


def test_reset_does_not_care_how_far_the_gate_is_open() -> None:
    reached = []
    for gate in (1.0, 3.0):
        array, rng = chip(CALM, 500)
        at(array, 80e-6).reset_pulse(EVERY, 1.3, gate, US, 0, rng)
        reached.append(array.conductance(EVERY, 0))
    assert np.array_equal(*reached)


def test_reset_steps_scatter_lognormally() -> None:
    law = replace(CALM, c2c=0.0, v_r_spread=0.0, g_min_spread=0.0)
    array, rng = chip(law)
    at(array, 80e-6).reset_pulse(EVERY, 1.0, 3.0, US, 0, rng)
    steps = np.log(80e-6 - array.conductance(EVERY, 0))
    assert np.std(steps) == pytest.approx(law.reset_sigma, rel=0.03)


# Gate, forming, stuck cells


def test_a_closed_transistor_protects_the_cell_and_takes_no_energy() -> None:
    array, rng = chip(CALM, 200)
    before = at(array, 60e-6).conductance(EVERY, 0)
    for pulse in (array.set_pulse, array.reset_pulse):
        energy = pulse(EVERY, 2.5, 0.2, US, 0, rng)
        assert np.all(energy < 1e-3 * 2.5**2 * 60e-6 * US)
    assert np.array_equal(array.conductance(EVERY, 0), before)


def test_a_pristine_cell_is_formed_only_by_its_forming_voltage() -> None:
    array, rng = chip(replace(IDEAL, formed=False), 3)
    assert np.all(array.conductance(EVERY, 0) == IDEAL.g_pristine)
    array.set_pulse(EVERY, 2.8, 1.4, US, 0, rng)
    array.reset_pulse(EVERY, 3.5, 3.0, US, 0, rng)
    array.set_pulse(EVERY, 3.3, 0.3, US, 0, rng)  # gate closed
    assert np.all(array.conductance(EVERY, 0) == IDEAL.g_pristine)
    assert not array.cells["formed"].any()
    array.set_pulse(slice(0, 1), 3.3, 1.4, US, 0, rng)
    assert array.cells["formed"].tolist() == [1, 0, 0]
    assert array.conductance(EVERY, 0) == pytest.approx([100e-6, IDEAL.g_pristine, IDEAL.g_pristine])
    array.reset_pulse(EVERY, 2.0, 3.0, US, 0, rng)
    assert array.conductance(EVERY, 0)[0] == pytest.approx(IDEAL.g_min, rel=1e-3)
    array.set_pulse(EVERY, 2.0, 1.0, US, 0, rng)  # far below forming, and yet
    assert array.conductance(EVERY, 0)[0] == pytest.approx(50e-6, rel=1e-3)


def test_forming_voltages_differ_between_cells() -> None:
    array, rng = chip(replace(CALM, formed=False), 4000)
    array.set_pulse(EVERY, CMO.v_form, 1.4, US, 0, rng)
    # A 1 us pulse at V forms cells up to V + v0 ln(1/ln 2) = V + 33 mV.
    share = 0.5 * (1 + np.tanh(0.5 * 1.702 * 0.033 / CMO.v_form_spread))
    assert np.mean(array.cells["formed"]) == pytest.approx(share, abs=0.04)


@pytest.mark.parametrize("formed", [True, False])
def test_stuck_cells_never_move(formed: bool) -> None:
    array, rng = chip(replace(CMO, stuck_on=0.5, stuck_off=0.5, formed=formed), 200)
    before = array.conductance(EVERY, 0)
    assert np.all((before > 100e-6) == (array.cells["stuck"] > 0))
    for volts in (1.0, 2.5, 3.5):
        array.set_pulse(EVERY, volts, 3.0, US, 0, rng)
        array.reset_pulse(EVERY, volts, 3.0, US, 0, rng)
    assert np.array_equal(array.conductance(EVERY, 10**6 * SECOND), before)
    assert np.all(array.cells["formed"] == formed)


def test_only_the_pulsed_cells_change() -> None:
    array, rng = chip(CMO, 10)
    before = array.cells.copy()
    array.set_pulse(slice(3, 5), 2.5, 1.2, US, 0, rng)
    changed = [i for i in range(10) if array.cells[i] != before[i]]
    assert changed == [3, 4]
    assert array.cells["pulses"].tolist() == [0, 0, 0, 1, 1, 0, 0, 0, 0, 0]


# Relaxation


@pytest.mark.parametrize("seconds", [1, 10, 1000, 100_000])
def test_relaxation_follows_the_fitted_law_after_a_full_move(seconds: int) -> None:
    array, rng = chip(CALM)
    at(array, 15e-6).set_pulse(EVERY, 2.5, 1.2, US, 0, rng)
    shift = array.conductance(EVERY, seconds * SECOND) - array.conductance(EVERY, 0)
    sigma = CMO.relax_a + CMO.relax_b * np.log(seconds)
    assert np.mean(shift) == pytest.approx(CMO.relax_c * np.log(1 + seconds), abs=5 * sigma / np.sqrt(MANY))
    assert np.std(shift) == pytest.approx(sigma, rel=0.03)
    # Gaussian: the share beyond two sigma.
    beyond = np.mean(np.abs(shift - np.mean(shift)) > 2 * sigma)
    assert beyond == pytest.approx(0.0455, abs=4 * np.sqrt(0.0455 / MANY))


def test_small_moves_relax_less_and_unmoved_cells_not_at_all() -> None:
    law = replace(CALM, c2c=0.0, v_t_spread=0.0, k_g_spread=0.0)
    spreads = {}
    for start in (15e-6, 74.5e-6, 75e-6):
        array, rng = chip(law)
        at(array, start).set_pulse(EVERY, 2.5, 1.2, US, 0, rng)
        spreads[start] = np.std(array.conductance(EVERY, 1000 * SECOND))
    assert spreads[74.5e-6] / spreads[15e-6] == pytest.approx(0.3 + 0.7 * 0.05, rel=0.05)
    assert spreads[75e-6] == 0.0


def test_a_move_restarts_relaxation_from_where_the_cell_is() -> None:
    array, rng = chip(CALM, 500)
    at(array, 15e-6).set_pulse(EVERY, 2.5, 1.2, US, 0, rng)
    later = 1000 * SECOND
    relaxed = array.conductance(EVERY, later)
    array.reset_pulse(EVERY, 2.0, 3.0, US, later, rng)
    assert np.all(array.conductance(EVERY, later) < relaxed)
    assert np.array_equal(array.conductance(EVERY, later), array.cells["g"])
    assert np.all(array.cells["moved_ns"] == later)


# Reading


@pytest.mark.parametrize("integration", [16e-6, 1e-3, 20e-3, 0.2])
def test_read_noise_falls_with_integration_as_stated(integration: float) -> None:
    array, rng = chip(CALM)
    at(array, 50e-6)
    seen = array.sense(EVERY, 0, integration, rng)
    sigma = 0.0277e-6 * np.log10(50) * np.sqrt(np.log((1 + integration) / (2 * integration)))
    assert np.std(seen) == pytest.approx(sigma, rel=0.03)
    assert np.mean(seen) == pytest.approx(50e-6, abs=5 * sigma / np.sqrt(MANY))


def test_a_long_enough_read_is_free_of_noise() -> None:
    array, rng = chip(CALM, 100)
    assert np.all(at(array, 50e-6).sense(EVERY, 0, 1.0, rng) == 50e-6)


def test_reading_changes_no_conductance() -> None:
    array, rng = chip(CMO, 500)
    before = array.conductance(EVERY, SECOND)
    for _ in range(20):
        array.sense(EVERY, SECOND, 1e-3, rng)
    assert np.array_equal(array.conductance(EVERY, SECOND), before)


def test_telegraph_noise_is_two_levels_in_some_cells_and_none_in_the_others() -> None:
    law = replace(CMO, read_sigma=0.0, rtn_tau_min=0.1, rtn_tau_max=10.0, stuck_on=0.0, stuck_off=0.0)
    array, rng = chip(law, 1000)
    at(array, 50e-6)
    seen = np.array([array.sense(EVERY, k * SECOND, 1e-4, rng) for k in range(200)])
    noisy = np.ptp(seen, axis=0) > 0
    assert np.array_equal(noisy, array.cells["rtn"] > 0)
    assert np.all(seen[:, ~noisy] == 50e-6)
    steps = np.ptp(seen[:, noisy], axis=0) / 50e-6
    assert np.allclose(steps, array.cells["rtn"][noisy], rtol=1e-9)
    assert all(len(np.unique(column.round(12))) == 2 for column in seen[:, noisy].T)
    assert np.median(steps) == pytest.approx(law.rtn_amplitude, rel=0.2)


def test_a_telegraph_stays_for_its_dwell_time() -> None:
    law = replace(CMO, read_sigma=0.0, rtn_share=1.0, rtn_tau_min=1.0, rtn_tau_max=1.0 + 1e-9)
    array, rng = chip(law)
    first = array.sense(EVERY, 0, 1e-4, rng)
    second = array.sense(EVERY, SECOND // 2, 1e-4, rng)
    stayed = 0.5 * (1 + np.exp(-2 * 0.5))
    assert np.mean(first == second) == pytest.approx(stayed, abs=4 * np.sqrt(stayed * (1 - stayed) / MANY))


def test_a_long_read_averages_a_fast_telegraph_away() -> None:
    law = replace(CMO, read_sigma=0.0, rtn_share=1.0, rtn_tau_min=1e-3, rtn_tau_max=1.001e-3)
    array, rng = chip(law, 4000)
    at(array, 50e-6)
    spread = [np.std(array.sense(EVERY, k, integration, rng)) for k, integration in enumerate((1e-4, 1e-2, 1.0))]
    assert spread[0] > 3 * spread[1] > 9 * spread[2]


# Energy, determinism, bounds


def test_a_pulse_dissipates_v_squared_g_t() -> None:
    array, rng = chip(IDEAL, 2)
    at(array, 75e-6)
    assert array.set_pulse(EVERY, 2.0, 1.2, US, 0, rng) == pytest.approx(4.0 * 75e-6 * US)
    before = array.conductance(EVERY, 0)
    energy = array.reset_pulse(EVERY, 1.3, 3.0, US, 0, rng)
    after = array.conductance(EVERY, 0)
    assert energy == pytest.approx(1.69 * 0.5 * (before + after) * US)
    assert array.cells["energy"] == pytest.approx(4.0 * 75e-6 * US + energy)
    assert array.cells["pulses"].tolist() == [2, 2]


def test_ideal_cells_do_not_depend_on_chance() -> None:
    ends = []
    for seed in (1, 2):
        array, rng = chip(IDEAL, 5, seed)
        at(array, 15e-6)
        for volts in (1.3, 1.5, 2.0):
            array.set_pulse(EVERY, volts, 1.25, US, 0, rng)
            array.reset_pulse(EVERY, 1.1, 3.0, US, 0, rng)
        ends.append((array.conductance(EVERY, 10**5 * SECOND), array.sense(EVERY, SECOND, 1e-4, rng)))
    assert np.array_equal(ends[0], ends[1])
    assert np.ptp(ends[0][0]) == 0.0
    assert np.array_equal(ends[0][0], ends[0][1])


pulses = st.tuples(
    st.sampled_from(["set", "reset"]), st.floats(0, 5), st.floats(0, 5), st.sampled_from([1e-8, 1e-6, 1.0])
)


@given(st.lists(pulses, max_size=12), st.sampled_from([IDEAL, CMO, load_law("wan2022-hfox", Path("."))]))
def test_no_sequence_of_pulses_leaves_the_cells_range(
    sequence: list[tuple[str, float, float, float]], law: CellLaw
) -> None:
    array, rng = chip(law, 20)
    stuck = array.cells["stuck"] != 0
    fixed = array.conductance(EVERY, 0)[stuck]
    for now, (kind, volts, gate, width) in enumerate(sequence):
        energy = (array.set_pulse if kind == "set" else array.reset_pulse)(EVERY, volts, gate, width, now, rng)
        assert np.all(energy >= 0)
        assert np.all(array.cells["g"] <= 1.11 * array.cells["g_max"])
        assert np.all(array.conductance(EVERY, now) > 0)
    assert np.all(np.isfinite(array.conductance(EVERY, 10**6 * SECOND)))
    assert np.array_equal(array.conductance(EVERY, 0)[stuck], fixed)


# Presets


def test_a_law_is_read_from_a_preset() -> None:
    law = CellLaw.from_mapping({"v_t": 0.7, "formed": False, "stuck_on": 0})
    assert (law.v_t, law.formed, law.stuck_on) == (0.7, False, 0.0)
    assert CellLaw(k_g_spread=0.03) == CMO
    assert {f.name for f in fields(CellLaw)} >= {"relax_a", "relax_b", "relax_c"}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"v_tt": 1.0}, "unknown cell constant 'v_tt'"),
        ({"v_t": "much"}, "'v_t' must be"),
        ({"v_t": True}, "'v_t' must be"),
        ({"formed": 1}, "'formed' must be"),
        ({"v_t": -0.1}, "not negative"),
        ({"v_t": float("nan")}, "finite"),
        ({"v_t": [1]}, "finite"),
        ({"v0": 0}, "'v0' must be more than 0"),
        ({"stuck_on": 0.6, "stuck_off": 0.6}, "must not pass 1"),
        ({"relax_a": 1e-6, "relax_b": 1e-12}, "relax_a"),
    ],
)
def test_a_wrong_constant_is_refused_by_name(values: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CellLaw.from_mapping(values)
