"""Laws that differ in form behind one interface: what all of them promise, and what sets each apart."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instruments.errors import ConfigError
from instruments.station import Station
from instruments.station_file import StationFile
from instruments.twin.bench import Bench, load_law, open_bench
from instruments.twin.cell import CellArray, fresh
from instruments.twin.fixture import PulseShape
from instruments.twin.laws import gap_kernel
from instruments.twin.laws.gap import GapLaw
from instruments.twin.laws.increments import IncrementLaw
from instruments.twin.laws.parts import (
    COMMON,
    Defects,
    Forming,
    Jumps,
    ReadNoise,
    Relaxation,
    build,
    constants,
    missing,
    units,
)
from workflows.procedures.write_verify import IncrementalReversal, Pulse, Window

PRESETS = ("cmo-hfox", "stanford-gap", "soft-bounds")
NEW = PRESETS[1:]
LAWS = {name: load_law(name, Path(".")) for name in PRESETS}
CALM = {"noise": ReadNoise(0.0, rtn_share=0.0), "defects": Defects(0.0, 0.0), "jumps": Jumps(0.0)}
STILL = {**CALM, "relaxation": Relaxation(0.0, 0.0, 0.0)}
ALIKE = {"v_t_spread": 0.0, "g_min_spread": 0.0, "g_max_spread": 0.0, "c2c": 0.0}
GAP = GapLaw(k_n_spread=0.0, gamma_spread=0.0, gap_walk=0.0, **ALIKE, **STILL)  # type: ignore[arg-type]
STEPS = IncrementLaw(dw_dtod=0.0, gamma_dtod=0.0, dw_std=0.0, v_on_spread=0.0, **ALIKE, **STILL)  # type: ignore[arg-type]
EVERY = slice(None)
SECOND = 1_000_000_000
US, MS = 1e-6, 1e-3


def chip(law: Any, number: int, seed: int = 7) -> tuple[CellArray, np.random.Generator]:
    rng = np.random.default_rng(seed)
    return CellArray(law, fresh(law, (number,), rng)), rng


def at(array: CellArray, conductance: float) -> CellArray:
    """Put all cells at a conductance, at rest."""
    array.cells["g"], array.cells["drift"], array.cells["spread"] = conductance, 0.0, 0.0
    return array


def after_set(law: Any, volts: float, gate: float, width: float = US, start: float = 15e-6, times: int = 1) -> float:
    array, rng = chip(law, 1)
    at(array, start)
    for _ in range(times):
        array.set_pulse(EVERY, volts, gate, width, 0, rng)
    return float(array.cells["g"][0])


def after_reset(law: Any, volts: float, gate: float = 3.0, width: float = US, start: float = 80e-6) -> float:
    array, rng = chip(law, 1)
    at(array, start).reset_pulse(EVERY, volts, gate, width, 0, rng)
    return float(array.cells["g"][0])


# What every law promises


@pytest.mark.parametrize("name", PRESETS)
def test_a_chip_depends_on_its_seed_alone_and_has_the_common_fields(name: str) -> None:
    law = LAWS[name]
    assert not list(missing(law.record))
    assert np.array_equal(chip(law, 50, 3)[0].cells, chip(law, 50, 3)[0].cells)
    assert not np.array_equal(chip(law, 50, 3)[0].cells, chip(law, 50, 4)[0].cells)


@pytest.mark.parametrize("name", PRESETS)
def test_stuck_and_telegraph_cells_come_in_the_presets_shares(name: str) -> None:
    cells = chip(LAWS[name], 20_000)[0].cells
    for share, wanted in ((cells["stuck"] == 1, 0.005), (cells["stuck"] == -1, 0.005), (cells["rtn"] > 0, 0.15)):
        assert np.mean(share) == pytest.approx(wanted, abs=4 * np.sqrt(wanted * (1 - wanted) / 20_000))


@pytest.mark.parametrize("name", PRESETS)
def test_pulses_move_cells_the_right_way_over_the_whole_range(name: str) -> None:
    array, rng = chip(LAWS[name], 200)
    healthy = array.cells["stuck"] == 0
    for _ in range(20):
        array.set_pulse(EVERY, 2.5, 1.8, US, 0, rng)
    high = array.conductance(EVERY, 0)[healthy]
    assert np.percentile(high, 2) > 100e-6
    for _ in range(20):
        array.reset_pulse(EVERY, 2.5, 3.0, US, 0, rng)
    assert np.percentile(array.conductance(EVERY, 0)[healthy], 98) < 20e-6


@pytest.mark.parametrize("name", PRESETS)
def test_a_closed_transistor_protects_and_stuck_cells_never_move(name: str) -> None:
    array, rng = chip(LAWS[name], 400)
    array.cells["stuck"][:200] = 1
    before = array.conductance(EVERY, 0)
    for pulse in (array.set_pulse, array.reset_pulse):
        energy = pulse(EVERY, 2.5, 0.2, US, 0, rng)
        assert np.all(energy < 1e-15)
    assert np.array_equal(array.conductance(EVERY, 0), before)
    for pulse in (array.set_pulse, array.reset_pulse):
        assert np.all(pulse(EVERY, 2.5, 2.0, US, 0, rng) > 0)
    assert np.array_equal(array.conductance(slice(0, 200), 0), before[:200])
    assert np.array_equal(array.cells["pulses"], np.full(400, 4))


@pytest.mark.parametrize("name", PRESETS)
def test_voltages_up_to_the_quiet_one_move_nobody_however_long(name: str) -> None:
    law = LAWS[name]
    assert 0.4 <= law.v_quiet < 0.8  # reads and computing lie below, programming above
    array, rng = chip(law, 500)
    at(array, 60e-6)
    if name in NEW:
        for pulse in (array.set_pulse, array.reset_pulse):
            pulse(EVERY, law.v_quiet, 3.0, 1e6, 0, rng)
        assert np.all(array.cells["g"] == 60e-6)
        assert not law.disturbs(law.v_quiet)
    assert law.disturbs(1.2)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("seconds", [1, 1000])
def test_moves_relax_alike_under_every_law(name: str, seconds: int) -> None:
    law = LAWS[name]
    array, rng = chip(law, 4_000)
    free = (array.cells["stuck"] == 0) & (array.cells["g"] < 40e-6)
    for _ in range(6):
        array.set_pulse(EVERY, 2.5, 1.5, US, 0, rng)
    full = free & (np.abs(array.cells["drift"]) == np.max(np.abs(array.cells["drift"])))
    assert full.sum() > 50
    shift = (array.conductance(EVERY, seconds * SECOND) - array.conductance(EVERY, 0))[full]
    sigma = 0.412e-6 + 0.042e-6 * np.log(seconds)
    assert np.mean(shift) == pytest.approx(-0.089e-6 * np.log(1 + seconds), abs=5 * sigma / np.sqrt(full.sum()))
    assert np.std(shift) == pytest.approx(sigma, rel=5 / np.sqrt(2 * full.sum()))


@pytest.mark.parametrize("name", NEW)
def test_a_pristine_cell_waits_for_its_forming_voltage(name: str) -> None:
    law = replace(GAP if name == "stanford-gap" else STEPS, forming=Forming(formed=False, v_form_spread=0.0))
    array, rng = chip(law, 3)
    for volts, gate in ((2.9, 1.5), (3.3, 0.3)):
        array.set_pulse(EVERY, volts, gate, US, 0, rng)
    array.reset_pulse(EVERY, 3.5, 3.0, US, 0, rng)
    assert np.all(array.conductance(EVERY, 0) == 1e-8)
    array.set_pulse(slice(0, 2), 3.0, 1.5, US, 0, rng)
    array.set_pulse(slice(2, 3), 2.5, 1.5, 1 * MS, 0, rng)  # weaker and longer
    assert array.cells["formed"].tolist() == [1, 1, 1]
    assert np.all(array.conductance(EVERY, 0) > 50e-6)
    for _ in range(10):
        array.reset_pulse(EVERY, 2.5, 3.0, US, 0, rng)
    assert np.all(array.conductance(EVERY, 0) < 20e-6)


pulses = st.tuples(
    st.sampled_from(["set", "reset"]), st.floats(0, 5), st.floats(0, 5), st.sampled_from([1e-8, 1e-6, 1.0, 1e7])
)


@settings(max_examples=40)
@given(st.lists(pulses, max_size=8), st.sampled_from(NEW), st.booleans())
def test_no_sequence_of_pulses_leaves_the_cells_range(
    sequence: list[tuple[str, float, float, float]], name: str, formed: bool
) -> None:
    law = replace(LAWS[name], forming=Forming(formed=formed))
    array, rng = chip(law, 20)
    array.cells["stuck"][0], array.cells["v_t"][1] = 1, 1e3
    fixed = array.conductance(EVERY, 0)[:2]
    for now, (kind, volts, gate, width) in enumerate(sequence):
        energy = (array.set_pulse if kind == "set" else array.reset_pulse)(EVERY, volts, gate, width, now, rng)
        assert np.all(energy >= 0)
        assert np.all(np.isfinite(energy))
        assert np.all(array.cells["g"] <= 1.11 * array.cells["g_max"])
    assert np.all(array.conductance(EVERY, 10**6 * SECOND) > 0)
    assert np.array_equal(array.conductance(slice(0, 2), 0), fixed)


@pytest.mark.parametrize("name", PRESETS)
def test_cells_of_an_index_may_have_drives_of_their_own(name: str) -> None:
    law = LAWS[name]
    rng = np.random.default_rng(2)
    array = CellArray(law, fresh(law, (2, 6, 5), rng))
    before = array.cells.copy()
    rows = np.array([0, 3, 4])
    energy = array.set_pulse((1, rows, 2), 2.2, np.array([0.0, 1.2, 1.8]), US, 0, rng)
    assert energy.shape == (3,)
    assert np.argwhere(array.cells["pulses"] > 0).tolist() == [[1, 0, 2], [1, 3, 2], [1, 4, 2]]
    assert array.cells["g"][1, 0, 2] == before["g"][1, 0, 2]
    assert array.reset_pulse((0, rows[:, None], np.array([[0, 1]])), 1.5, np.full((3, 1), 3.0), US, 0, rng).shape == (
        3,
        2,
    )
    assert array.conductance((0, 1, 1), 0).shape == ()


@pytest.mark.parametrize("name", NEW)
def test_incremental_reversal_programs_a_law_that_it_was_not_made_for(name: str) -> None:
    law, algorithm = LAWS[name], IncrementalReversal()
    array, rng = chip(law, 150)
    levels = np.linspace(20e-6, 100e-6, 64)[rng.integers(0, 64, 150)]
    counts, arrived, now = [], 0, 0
    for cell in np.flatnonzero(array.cells["stuck"] == 0):
        where, window = slice(cell, cell + 1), Window(float(levels[cell]))
        state = algorithm.start(window)
        while True:
            now += SECOND // 50
            state, answer = algorithm.decide(window, state, float(array.sense(where, now, 0.02, rng)[0]))
            if not isinstance(answer, Pulse):
                break
            apply = array.set_pulse if answer.kind == "set" else array.reset_pulse
            apply(where, answer.volts, answer.gate, answer.width, now, rng)
        counts.append(state.pulses)
        arrived += answer == "ok" and abs(array.conductance(where, now)[0] - levels[cell]) <= 1e-6
    assert arrived >= 0.95 * len(counts)
    assert 8 < np.mean(counts) < 30


# What sets them apart


def test_where_a_set_settles_grows_with_another_power_of_the_gate_in_each_form() -> None:
    over = np.array([0.5, 0.7, 0.9])
    gated = [after_set(load_law("ideal", Path(".")), 2.5, 0.6 + v) for v in over]
    gap = [after_set(GAP, 2.5, 0.45 + v, 100 * US) for v in over]
    assert np.polyfit(np.log(over), np.log(gated), 1)[0] == pytest.approx(1.0, abs=0.01)
    assert np.polyfit(np.log(over), np.log(gap), 1)[0] > 1.5
    # No gate bounds the incremental law: the same pulse goes on to the cell's own bound.
    assert after_set(STEPS, 2.5, 0.8, times=100) == pytest.approx(STEPS.g_max, rel=0.01)


def test_the_cell_and_its_transistor_share_one_current() -> None:
    for setting in (True, False):
        for gap in (0.7e-9, 1.2e-9):
            for volts, over in ((0.5, 0.3), (1.5, 0.7), (2.5, 2.5)):
                filament = 4e-3 * np.exp(-gap / 0.25e-9)
                u = gap_kernel.divide(0.5 * volts, volts, over, 250e-6, setting, filament, 1e-6, 1.0)
                assert 0 < u < volts
                through = gap_kernel.channel_current(volts, u, over, 250e-6, setting)
                assert gap_kernel.cell_current(u, filament, 1e-6, 1.0) == pytest.approx(through, rel=1e-4)
                if setting:
                    assert through <= 0.5 * 250e-6 * over**2 * (1 + 1e-9)
                else:
                    assert u <= over  # a source follower


def test_the_gap_moves_as_its_equation_says() -> None:
    """Against a plain integration in steps of time that are four times finer than the kernel's longest."""
    law = replace(GAP, g_max=150e-6)
    for setting, volts, gate, g in ((True, 1.5, 1.3, 20e-6), (False, 1.3, 3.0, 90e-6)):
        over, thermal_0 = gate - law.v_t, gap_kernel.KELVIN
        on = law.k_n * (law.v_read_gate - law.v_t)
        x = law.gap_scale * np.log(4e-3 / (1 / (1 / g - 1 / on) - law.g_parallel))
        t = 0.0
        while t < US:
            filament = 4e-3 * np.exp(-x / law.gap_scale)
            u = gap_kernel.divide(0.5 * volts, volts, over, law.k_n, setting, filament, law.g_parallel, law.v_sinh)
            current = gap_kernel.cell_current(u, filament, law.g_parallel, law.v_sinh)
            kt = thermal_0 * (law.ambient + law.thermal_resistance * u * current)
            field = (law.gamma - law.beta * (x * 1e9) ** 3) * u / law.thickness
            rate = law.velocity * np.exp(-law.barrier / kt) * np.sinh(law.hop * field / kt) * (field >= law.field_min)
            dt = min(US - t, gap_kernel.STEP / 4 / max(rate, 1e-12))
            x, t = x + (-rate if setting else rate) * dt, t + dt
        expected = 1 / (1 / (4e-3 * np.exp(-x / law.gap_scale) + law.g_parallel) + 1 / on)
        reached = after_set(law, volts, gate, start=g) if setting else after_reset(law, volts, gate, start=g)
        assert abs(expected - g) > 5e-6
        assert reached == pytest.approx(expected, rel=0.02)


def test_a_filaments_reset_is_abrupt_and_then_gradual() -> None:
    array, rng = chip(GAP, 1)
    at(array, 90e-6)
    left = [90e-6]
    for _ in range(6):
        array.reset_pulse(EVERY, 1.25, 3.0, US, 0, rng)
        left.append(float(array.cells["g"][0]))
    lost = -np.diff(left)
    assert lost[0] > 3 * lost[2] > 3 * lost[5] > 0
    # The follower gives at most V_g - V_t: beyond it, more volts change nothing.
    assert after_reset(GAP, 2.0, gate=1.5) == pytest.approx(after_reset(GAP, 3.5, gate=1.5), rel=1e-6)


def test_a_filament_stops_later_and_further_with_time() -> None:
    settled = [after_set(GAP, 2.0, 1.0, width) for width in (US, 3 * US, 9 * US, 27 * US)]
    steps = np.diff(settled)
    assert np.all(steps > 0.5e-6)
    assert steps == pytest.approx(np.full(3, np.mean(steps)), rel=0.35)  # the logarithm of time
    assert after_set(GAP, 2.0, 1.0, MS) == after_set(GAP, 2.0, 1.0, 100 * MS) > settled[-1]  # until the field is F_min


def test_increments_follow_their_closed_form() -> None:
    width = STEPS.g_max - STEPS.g_min
    for g0, way, gamma, dw in ((15e-6, "set", STEPS.gamma_up, STEPS.dw_up), (120e-6, "reset", 1.6, STEPS.dw_down)):
        volts, gate = 1.8, 3.0
        n = np.tanh((gate - STEPS.v_t) / STEPS.v_sat) * ((volts - STEPS.v_on) / STEPS.v_ref) ** 3
        omega = (STEPS.g_max - g0 if way == "set" else g0 - STEPS.g_min) / width
        for _ in range(1000):
            omega -= n / 1000 * dw / width * omega**gamma
        expected = STEPS.g_max - omega * width if way == "set" else STEPS.g_min + omega * width
        reached = after_set(STEPS, volts, gate, start=g0) if way == "set" else after_reset(STEPS, volts, start=g0)
        assert reached == pytest.approx(expected, rel=2e-4)


def test_increments_grow_as_a_power_of_the_amplitude_and_the_channel_saturates() -> None:
    beyond = np.array([0.2, 0.4, 0.6])
    steps = [after_set(STEPS, STEPS.v_on + v, 3.0, start=20e-6) - 20e-6 for v in beyond]
    assert np.polyfit(np.log(beyond), np.log(steps), 1)[0] == pytest.approx(STEPS.power, abs=0.1)
    gained = [after_set(STEPS, 1.3, gate, start=20e-6) - 20e-6 for gate in (0.6, 0.8, 2.5, 3.0)]
    assert gained[1] / gained[0] == pytest.approx(np.tanh(0.35 / 0.8) / np.tanh(0.15 / 0.8), rel=0.02)
    assert gained[3] / gained[2] < 1.03
    down = 140e-6 - after_reset(STEPS, 1.3, start=140e-6)
    up = after_set(STEPS, 1.3, 3.0, start=28e-6) - 28e-6  # equally far from its bound
    assert down / up > 1.15


def test_step_noise_grows_as_the_root_of_the_step() -> None:
    law = replace(STEPS, dw_std=0.3)
    deviations = []
    for volts in (1.25, 2.0):
        array, rng = chip(law, 4000)
        at(array, 20e-6).set_pulse(EVERY, volts, 3.0, US, 0, rng)
        steps = array.cells["g"] - 20e-6
        deviations.append(np.std(steps) / np.sqrt(np.mean(steps) * law.dw_up))
    assert deviations == pytest.approx([0.3, 0.3], rel=0.05)


# Through the bench


def bench(preset: str, folder: Path | None = None, **section: Any) -> Bench:
    given_ = {"preset": preset, "rows": "4", "cols": "8", **section}
    return open_bench(given_, base=Path("."), params={"seed": "1", **({"dir": str(folder)} if folder else {})})


def wired(preset: str) -> Bench:
    opened = bench(preset)
    opened.chip.cells["stuck"] = 0
    wires = opened.fixture
    wires.connect("program", 0, 1, 2)
    wires.select_source(0, 1)
    wires.select_source(1, 2)
    wires.force(601, 0.0)
    wires.force(602, 0.0)
    return opened


@pytest.mark.parametrize("name", NEW)
def test_a_smus_compliance_bounds_a_dc_set(name: str) -> None:
    reached = []
    for amps in (20e-6, 60e-6, 1.0):
        opened = wired(name)
        opened.fixture.force(2, 1.5)
        opened.fixture.force(1, 1.5, amps)
        opened.fixture.dwell(0.001)
        reached.append(float(opened.true_conductance()[0, 1, 2]))
    assert reached[0] + 1e-6 < reached[1] < reached[2]


@pytest.mark.parametrize("name", PRESETS)
def test_quasi_static_sweeps_switch_and_reads_do_not(name: str) -> None:
    opened = wired(name)
    opened.fixture.force(2, 1.4)
    start = float(opened.true_conductance()[0, 1, 2])
    opened.fixture.force(1, 0.3)
    opened.fixture.dwell(1000.0)
    assert opened.chip.cells["pulses"].sum() == 0
    for polarity in (1, -1):
        opened.fixture.force(2, 1.4 if polarity > 0 else 3.0)
        for volts in np.linspace(0.2, 2.0, 10):
            opened.fixture.force(1, polarity * float(volts), 1.0)
            opened.fixture.measure(1, 0.001)
        g = float(opened.true_conductance()[0, 1, 2])
        assert g > 2 * start if polarity > 0 else g < 25e-6


@pytest.mark.parametrize("name", PRESETS)
def test_what_half_selected_cells_take_is_in_the_ledger(name: str) -> None:
    opened = wired(name)
    opened.chip.cells["g"], opened.chip.cells["rtn"] = 80e-6, 0.0
    opened.fixture.force(1, 0.0)
    opened.fixture.force(2, 3.0)
    opened.fixture.pulse({602: PulseShape(0.0, 2.0, 0.0, US, 20e-9, 20e-9)}, 1, 2 * US)
    half = (0.15 * 2.0) ** 2 * 7 * 80e-6 * US  # seven others on the row
    assert opened.ledger.energy["half"] == pytest.approx(half, rel=0.1)
    assert len(opened.ledger) == 1


@pytest.mark.parametrize("name", NEW)
def test_a_station_runs_on_any_law(name: str) -> None:
    with Station.open(StationFile.load("station-twin.yaml"), preset=name, seed="3") as station:
        array = station.array
        array.prepare()
        array.select(0, 4, 5)
        before = array.read().conductance
        for _ in range(3):
            array.pulse("set", 2.2, 1.5, 1e-6)
        assert array.read().conductance > before + 10e-6
        for _ in range(5):
            array.pulse("reset", 2.0, 3.0, 1e-6)
        assert array.read().conductance < 40e-6


# Presets and chips


def preset(folder: Path, text: str) -> str:
    (folder / "mine.yaml").write_text(text)
    return str(folder / "mine.yaml")


def test_a_law_from_elsewhere_is_named_in_a_preset(tmp_path: Path) -> None:
    named = preset(tmp_path, "law: twin.ramp_law:RampLaw\ncell: {slope: 30 uS/V, v_on: 0.9 V, relax_a: 0.3 uS}")
    opened = bench(named, tmp_path / "chips")
    assert (opened.law.slope, opened.law.v_on, opened.law.relaxation.relax_a) == (30e-6, 0.9, 0.3e-6)
    where = (slice(0, 1), 1, 2)
    opened.chip.cells["stuck"] = 0
    opened.chip.set_pulse(where, 1.9, 1.2, US, 0, opened.rng("set"))
    assert opened.true_conductance()[0, 1, 2] == pytest.approx(50e-6)
    left = opened.chip.cells.copy()
    opened.close()
    found = bench(named, tmp_path / "chips")
    assert np.array_equal(found.chip.cells, left)
    found.close()
    with Station.open(StationFile.load("station-twin.yaml"), preset=named, seed="1") as station:
        station.array.prepare()
        station.array.select(0, 1, 2)
        before = station.array.read().conductance
        station.array.pulse("set", 2.0, 1.2, 1e-6)
        assert station.array.read().conductance == pytest.approx(before + 33e-6, abs=2e-6)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("law: os:path\ncell: {}", "names code outside instruments.twin.laws"),
        ("law: ramp\ncell: {}", "must be package.module:Class"),
        ("law: twin.ramp_law:NoLaw\ncell: {}", "no such package.module:Class"),
        ("law: twin.ramp_law:Unfinished\ncell: {}", "lacks noise, g_leak, v_quiet, disturbs"),
        ("law: twin.ramp_law:Homeless\ncell: {}", "lacks the fields drift, spread"),
        ("law: twin.ramp_law:RampLaw\ncell: {slop: 3}", "unknown cell constant 'slop'; known: g_leak, read_sigma"),
        ("law: twin.ramp_law:RampLaw\ncell: {slope: 0 S/V}", "'slope' must be more than 0"),
        ("law: twin.ramp_law:RampLaw\ncell: {slope: 3 V}", "is not a quantity in S/V"),
        ("law: twin.ramp_law:RampLaw\ncell: {stuck_on: 0.7, stuck_off: 0.7}", "must not pass 1"),
        ("law: twin.ramp_law:RampLaw\ncell: {g_leak: 1 nS}", "'g_leak' must be a float"),
        ("laws: twin.ramp_law:RampLaw\ncell: {}", "unknown section 'laws'; allowed: law, source, cell"),
        ("law: instruments.twin.laws.gap:GapLaw\ncell: {field_min: 1e8 V/m}", "or reads would move cells"),
        ("law: instruments.twin.laws.gap:GapLaw\ncell: {k_n: 10 uA/V/V}", "g_max must lie well below"),
        ("law: instruments.twin.laws.increments:IncrementLaw\ncell: {v_on: 0.4 V}", "or reads would move cells"),
    ],
)
def test_a_preset_that_is_wrong_about_its_law_gets_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_law(preset(tmp_path, text), Path("."))
    assert words in str(caught.value)
    assert "mine.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_law_that_draws_another_shape_is_refused(tmp_path: Path) -> None:
    named = preset(tmp_path, "law: twin.ramp_law:Careless\ncell: {}")
    for folder in (None, tmp_path / "chips"):
        with pytest.raises(ConfigError, match=r"Careless: fresh\(\) must give"):
            bench(named, folder)


def test_a_chip_of_another_form_of_law_is_refused(tmp_path: Path) -> None:
    chips = tmp_path / "chips"
    named = preset(tmp_path, "law: instruments.twin.laws.gap:GapLaw\ncell: {}")
    bench(named, chips).close()
    preset(tmp_path, "law: instruments.twin.laws.increments:IncrementLaw\ncell: {}")
    with pytest.raises(ConfigError, match="another form of law") as caught:
        bench(named, chips)
    assert "gap:GapLaw, asked for instruments.twin.laws.increments:IncrementLaw" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="another preset"):
        bench("soft-bounds", chips)


def test_a_chip_from_before_there_were_forms_is_still_found(tmp_path: Path) -> None:
    bench("cmo-hfox", tmp_path).close()
    about = tmp_path / "chip-1" / "chip.json"
    known = json.loads(about.read_text())
    assert known.pop("form") == "instruments.twin.laws.gated:CellLaw"
    about.write_text(json.dumps(known))
    bench("cmo-hfox", tmp_path).close()


@pytest.mark.parametrize("name", PRESETS)
def test_constants_and_units_are_flat(name: str) -> None:
    law = LAWS[name]
    known = constants(law)
    assert set(known) == set(units(type(law)))
    assert {"relax_a", "read_sigma", "rtn_share", "stuck_on", "jump_sigma", "v_form", "formed"} <= set(known)
    assert build(type(law), known) == law
    assert json.loads(json.dumps(known)) == known
    assert [field for field, _ in COMMON if field not in law.record.names] == []
