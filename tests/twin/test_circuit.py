"""The closed-loop circuit through its front door: equation, parts, noise, probes, errors."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twin import score_network

from instruments.twin.circuit import (
    Circuit,
    CircuitParams,
    Crossbar,
    Drives,
    Integrator,
    LoopGains,
    Multiplier,
    Offsets,
    OpAmp,
    ReadNoise,
    Rectifier,
    effective_conductance,
)
from instruments.twin.circuit_random import compiled

IDEAL = CircuitParams(rectifier=Rectifier(0.0), op_amp=OpAmp.ideal())
WEIGHTS = score_network.network()
CELLS = score_network.conductances(WEIGHTS)
VOLTS = score_network.drive_volts()
START = np.random.default_rng(11).normal(0, 0.1, (20, 2))


def float_network(x, row, params=IDEAL):
    """The same network in plain numpy, volts in and out."""
    v = x
    for layer, g in enumerate(CELLS):
        v = np.clip(v, params.clamp.low, params.clamp.high)
        z = params.feedback[layer] * (v @ (g[:, :-1] - 50e-6).T + 0.1 * (g[:, -1] - 50e-6))
        v = np.maximum(z + 0.2 * row[2:16], 0) if layer < 2 else z
    return v


def constant(row, ticks=200):
    return Drives(np.tile(row, (ticks, 1)))


def quiet_row(**channels):
    row = np.zeros(18)
    for index, value in channels.items():
        row[{"g2": 0, "fx": 1, "noise1": 16, "noise2": 17}[index]] = value
    return row


def test_ideal_circuit_is_the_network_in_floating_point():
    row = VOLTS[100]
    static = Circuit(IDEAL, CELLS).static(START, row)
    expected = float_network(START, row)
    np.testing.assert_allclose(static.n, expected, atol=1e-12)
    np.testing.assert_allclose(static.slope, -4 * row[1] * START + 4 * row[0] * 5 * expected, atol=1e-12)


def test_trajectory_follows_heuns_method_on_the_float_network():
    result = Circuit(IDEAL, CELLS).run(START, Drives(VOLTS))
    x = START.copy()
    for row in VOLTS:
        for _ in range(5):

            def slope(y, row=row):
                return -4 * row[1] * y + 20 * row[0] * float_network(y, row)

            first = slope(x)
            x = x + 0.5e-3 * (first + slope(x + 1e-3 * first))
    np.testing.assert_allclose(result.final, x, atol=1e-12)


@pytest.mark.parametrize("params", [IDEAL, CircuitParams()])
def test_default_step_is_converged(params):
    times = np.linspace(0, 1, 101)
    drives = Drives.from_volts(VOLTS)
    coarse = Circuit(params, CELLS).run(START, drives, sample_times=times)
    fine = Circuit(replace(params, max_step=params.max_step / 8), CELLS).run(START, drives, sample_times=times)
    assert np.abs(coarse.x - fine.x).max() < 0.02e-3


def test_compressed_run_solves_the_same_equation():
    slow = Circuit(IDEAL, CELLS).run(START, Drives(VOLTS))
    fast = Circuit(IDEAL.compressed(1e-3), CELLS).run(START, Drives(VOLTS, tick=5e-6))
    np.testing.assert_allclose(fast.final, slow.final, atol=1e-12)


def test_lagged_network_deviates_more_the_faster_the_run():
    gaps = []
    for duration in (10e-3, 0.3e-3):
        params = replace(CircuitParams().compressed(duration), dynamics="static")
        drives = Drives(VOLTS, tick=5e-3 * duration)
        static = Circuit(params, CELLS).run(START[:3], drives).final
        lagged = Circuit(replace(params, dynamics="lagged"), CELLS).run(START[:3], drives).final
        gaps.append(np.abs(static - lagged).max())
    assert gaps[0] < 0.5e-3
    assert gaps[1] > 5 * gaps[0]


def test_auto_dynamics_follow_the_duration():
    circuit = Circuit(CircuitParams(), CELLS)
    assert not circuit.lagged(1.0)
    assert circuit.lagged(20e-6)
    assert not Circuit(IDEAL, CELLS).lagged(20e-6)


def test_arrays_never_see_more_than_the_clamps_allow():
    result = Circuit(IDEAL, CELLS).run(
        [[0.9, -0.9]], Drives(VOLTS), sample_times=np.linspace(0, 1, 50), probes=("x", "inputs")
    )
    assert result.probes["inputs"].min() == -0.2
    assert result.probes["inputs"].max() == 0.4
    assert result.x[0, 0].tolist() == [0.9, -0.9]


def test_diode_leakage_shifts_an_active_rectifier_and_not_the_others():
    leak = 2e-9
    real = replace(IDEAL, rectifier=Rectifier(saturation_current=leak))
    ideal_h = Circuit(IDEAL, CELLS).static(START, VOLTS[50], probes=("hidden1",)).probes["hidden1"]
    real_h = Circuit(real, CELLS).static(START, VOLTS[50], probes=("hidden1",)).probes["hidden1"]
    active, off = ideal_h > 0.05, ideal_h == 0
    assert active.any()
    assert off.any()
    np.testing.assert_allclose((real_h - ideal_h)[active], -leak * 100e3, rtol=0.02)
    # An output that is cut off carries the other diode's leakage into two 100 kOhm resistors.
    assert real_h[off].min() >= -leak * 50e3 - 1e-12
    assert real_h[off].max() < 0.0 + 1e-9


def test_finite_open_loop_gain_follows_kirchhoffs_law_at_the_node():
    gain, row = 1e4, VOLTS[50]
    params = replace(IDEAL, op_amp=replace(OpAmp.ideal(), open_loop_gain=gain))
    seen = Circuit(params, CELLS).static([0.1, 0.05], row, probes=("hidden1",)).probes["hidden1"][0]
    line = np.array([0.1, 0.05, 0.1])
    # Four equal resistors meet at the summing amplifier's input, which is -out/gain.
    negative = -line.sum() / (1 + 4 / gain)
    entry = 0.2 / 100e3
    source = CELLS[0] @ line + 50e-6 * negative + entry * row[2:16]
    load = CELLS[0].sum(axis=1) + 50e-6 + entry + 1 / 100e3
    # Node voltage u: source = load * u - out / R_f with out = -gain * u.
    u = source / (load + gain / 100e3)
    np.testing.assert_allclose(seen, np.maximum(gain * u, 0), atol=1e-12)


def test_multiplier_offset_drifts_and_the_noise_channel_trims_it():
    offsets = replace(Offsets.zero(CELLS), product_z=np.array([0.0, 0.0, 1e-3, 0.0]))
    circuit = Circuit(IDEAL, CELLS, offsets)
    drift = circuit.run([0.0, 0.0], constant(quiet_row())).final[0]
    np.testing.assert_allclose(drift, [4 * 10 * 1e-3, 0.0], atol=1e-12)
    trimmed = circuit.run([0.0, 0.0], constant(quiet_row(noise1=-drift[0]))).final[0]
    np.testing.assert_allclose(trimmed, 0.0, atol=1e-12)


def test_amplifier_offset_appears_times_the_noise_gain():
    zero = Offsets.zero(CELLS)
    offset = 0.25e-3
    shifted = replace(zero, tia=(zero.tia[0], zero.tia[1], np.array([offset, 0.0])))
    before = Circuit(IDEAL, CELLS, zero).static(START, VOLTS[0]).n
    after = Circuit(IDEAL, CELLS, shifted).static(START, VOLTS[0]).n
    noise_gain = 1 + 100e3 * (CELLS[2][0].sum() + 50e-6)
    np.testing.assert_allclose(after - before, np.tile([-offset * noise_gain, 0.0], (len(START), 1)), atol=1e-12)


def test_offsets_are_one_board_for_one_seed():
    boards = [Offsets.sample(CELLS, OpAmp(), Multiplier(), np.random.default_rng(s)) for s in (5, 5, 6)]
    finals = [Circuit(CircuitParams(), CELLS, b).run(START, Drives(VOLTS)).final for b in boards]
    np.testing.assert_array_equal(finals[0], finals[1])
    assert np.abs(finals[0] - finals[2]).max() > 1e-3


def test_injected_currents_act_like_biases():
    injection = (np.zeros(14), np.zeros(14), np.array([1e-6, -2e-6]))
    plain = Circuit(IDEAL, CELLS).static(START, VOLTS[0]).n
    pushed = Circuit(IDEAL, CELLS, injection=injection).static(START, VOLTS[0]).n
    np.testing.assert_allclose(pushed - plain, np.tile([0.1, -0.2], (len(START), 1)), atol=1e-12)


def test_wire_resistance_of_one_cell_is_in_series():
    cell = np.array([[80e-6]])
    np.testing.assert_allclose(effective_conductance(cell, 100.0), 1 / (1 / 80e-6 + 200.0))


def test_wires_weaken_far_cells_most_and_none_at_zero():
    cells = np.full((14, 15), 50e-6)
    np.testing.assert_array_equal(effective_conductance(cells, 0.0), cells)
    seen = effective_conductance(cells, 2.0)
    assert (seen < cells).all()
    assert seen[0, 0] == seen.max()
    assert seen[-1, -1] == seen.min()
    wired = Circuit(replace(IDEAL, crossbar=Crossbar(wire_resistance=2.0)), CELLS)
    assert 1e-4 < np.abs(wired.static(START, VOLTS[0]).n - float_network(START, VOLTS[0])).max() < 0.1


def test_a_leak_discharges_during_the_run_and_the_hold():
    params = replace(IDEAL, integrator=Integrator(leak_resistance=1e6))
    times = [-0.5, 0.0, 1.0, 2.0]
    result = Circuit(params, CELLS).run([0.1, -0.1], constant(quiet_row()), sample_times=times)
    np.testing.assert_allclose(result.x[0, :, 0], 0.1 * np.exp([0, 0, -1, -2]), rtol=1e-6)


def test_integrators_hold_before_and_after_the_run():
    result = Circuit(IDEAL, CELLS).run(
        START, Drives(VOLTS), duration=0.5, sample_times=[-1.0, 0.0, 0.5, 0.7025], probes=("x", "n", "drives")
    )
    np.testing.assert_array_equal(result.x[:, 0], START)
    np.testing.assert_array_equal(result.x[:, 1], START)
    np.testing.assert_array_equal(result.x[:, 2], result.final)
    np.testing.assert_array_equal(result.x[:, 3], result.final)
    # The network goes on: its embedding still changes.
    np.testing.assert_array_equal(result.probes["drives"][0, 3], VOLTS[140])
    np.testing.assert_allclose(result.probes["n"][:, 3], float_network(result.final, VOLTS[140]), atol=1e-12)


def test_probes_agree_with_the_static_network():
    circuit = Circuit(CircuitParams(), CELLS)
    names = ("x", "n", "score", "products", "hidden1", "hidden2", "embedding")
    result = circuit.run(START, Drives(VOLTS), sample_times=[0.2512], probes=names)
    static = circuit.static(result.x[:, 0], VOLTS[50], probes=names)
    for name in names:
        np.testing.assert_allclose(result.probes[name][:, 0], static.probes[name], atol=1e-12)
    assert result.probes["hidden1"].shape == (20, 1, 14)


def test_sampling_changes_nothing():
    noisy = replace(CircuitParams(), read_noise=ReadNoise(white_relative=0.02, slow_relative=0.01))
    circuit = Circuit(noisy, CELLS)
    bare = circuit.run(START, Drives(VOLTS), rng=np.random.default_rng(3))
    times = np.sort(np.random.default_rng(4).uniform(-0.1, 1.2, 500))
    watched = circuit.run(
        START, Drives(VOLTS), sample_times=times, rng=np.random.default_rng(3), probes=("x", "n", "hidden2")
    )
    np.testing.assert_array_equal(bare.final, watched.final)


@settings(max_examples=10, deadline=None)
@given(cut=st.integers(1, 19), seed=st.integers(0, 2**32))
def test_a_batch_may_be_split_anywhere(cut, seed):
    read_noise = ReadNoise(white_relative=0.02, slow_relative=0.01, telegraph_fraction=0.2)
    telegraph = read_noise.sample_telegraph(CELLS, np.random.default_rng(1))
    circuit = Circuit(replace(CircuitParams(), read_noise=read_noise), CELLS, telegraph=telegraph)
    drives = Drives(VOLTS[:20])
    whole = circuit.run(START, drives, rng=np.random.default_rng(seed))
    rng = np.random.default_rng(seed)
    parts = [circuit.run(START[:cut], drives, rng=rng), circuit.run(START[cut:], drives, rng=rng)]
    np.testing.assert_array_equal(whole.final, np.concatenate([p.final for p in parts]))


@pytest.mark.parametrize("step", [1e-3, 0.25e-3])
def test_white_read_noise_reaches_the_integrators_with_its_stated_density(step):
    # Noise in proportion to the weight, and weights in the last layer only: its inputs are steady.
    cells = (np.full((14, 3), 50e-6), np.full((14, 15), 50e-6), CELLS[2])
    read_noise = ReadNoise(white_relative=0.3, white_bandwidth=400.0, reference="weight")
    params = replace(IDEAL, read_noise=read_noise, max_step=step)
    row = quiet_row(g2=0.2)
    row[2:16] = 0.5
    result = Circuit(params, cells).run(np.zeros((800, 2)), constant(row, 40), rng=np.random.default_rng(8))
    line = np.append(np.full(14, 0.1), 0.1)
    density = 100e3**2 * ((0.3 * (cells[2] - 50e-6)) ** 2 @ line**2) / 400.0
    expected = 4 * 0.2 * 5 * np.sqrt(density / 2 * 0.2)
    # 800 runs: the deviation's standard error is 2.5 %.
    np.testing.assert_allclose(result.final.std(axis=0), expected, rtol=0.09)


def test_slow_read_noise_is_steady_within_a_run_and_differs_between_runs():
    params = replace(IDEAL, read_noise=ReadNoise(slow_absolute=0.2e-6))
    row = np.zeros(18)
    row[2:16] = 0.5
    cells = (np.full((14, 3), 50e-6), np.full((14, 15), 50e-6), CELLS[2])
    result = Circuit(params, cells).run(
        np.zeros((600, 2)), constant(row), sample_times=[0.1, 0.9], rng=np.random.default_rng(8), probes=("n",)
    )
    n = result.probes["n"]
    np.testing.assert_allclose(n[:, 0], n[:, 1], atol=1e-12)
    # Last layer: 15 lines of 0.1 V; the hidden layers' noise, attenuated by the weights, adds to it.
    own = 100e3 * 0.2e-6 * np.sqrt(15) * 0.1
    passed_on = 100e3 * 0.2e-6 * np.sqrt(15) * 0.1 * np.linalg.norm(WEIGHTS[2][:, :-1], axis=1)
    np.testing.assert_allclose(n[:, 0].std(axis=0), np.hypot(own, passed_on), rtol=0.12)


def test_telegraph_noise_switches_between_two_levels_at_its_rate():
    read_noise = ReadNoise(telegraph_rate=10.0)
    telegraph = (np.zeros((14, 3)), np.zeros((14, 15)), np.zeros((2, 15)))
    telegraph[2][0, -1] = 2e-6
    circuit = Circuit(replace(IDEAL, read_noise=read_noise), CELLS, telegraph=telegraph)
    times = (np.arange(200) + 0.5) * 5e-3
    result = circuit.run(
        np.zeros((100, 2)), constant(np.zeros(18)), sample_times=times, rng=np.random.default_rng(2), probes=("n",)
    )
    n = result.probes["n"]
    levels = np.unique(np.round(n[:, :, 0], 9))
    assert len(levels) == 2
    np.testing.assert_allclose(levels[1] - levels[0], 100e3 * 2e-6 * 0.1, rtol=1e-6)
    switches = (np.abs(np.diff(n[:, :, 0], axis=1)) > 1e-3).sum(axis=1)
    # Expected 199 * (1 - exp(-2 * 10 * 5e-3))/2 = 9.47 in a run, sigma 0.3 in the mean of 100.
    assert abs(switches.mean() - 9.47) < 1.2
    assert len(np.unique(np.round(n[:, :, 1], 9))) == 1


def test_normal_numbers_have_normal_moments_and_tails():
    noise = ReadNoise(slow_absolute=1e-6)
    cells = tuple(np.full(g.shape, 50e-6) for g in CELLS)
    row = np.zeros(18)
    drives = Drives(row[None])
    circuit = Circuit(replace(IDEAL, read_noise=noise), cells)
    n = circuit.run(np.zeros((40000, 2)), drives, sample_times=[0.001], rng=np.random.default_rng(1), probes=("n",))
    # Without embedding only the last layer's bias cell and its noisy inputs remain; channel 2 is hardly correlated.
    x = n.probes["n"][:, 0, :].ravel()
    x = (x - x.mean()) / x.std()
    assert abs((x**3).mean()) < 0.06
    assert abs((x**4).mean() - 3) < 0.15
    assert abs((np.abs(x) > 3).mean() - 0.0027) < 0.0008


def test_tables_may_differ_between_runs():
    tables = np.stack([VOLTS, 0.5 * VOLTS])
    both = Circuit(IDEAL, CELLS).run(START[:2], Drives(tables))
    for k in range(2):
        alone = Circuit(IDEAL, CELLS).run(START[k], Drives(tables[k]))
        np.testing.assert_array_equal(both.final[k], alone.final[0])


def test_energy_is_the_integral_of_v2_g():
    result = Circuit(IDEAL, CELLS).run([0.3, -0.1], constant(np.zeros(18)))
    drives = np.zeros(18)
    probes = Circuit(IDEAL, CELLS).static([0.3, -0.1], drives, probes=("inputs", "hidden1", "hidden2")).probes
    cells = fixed = 0.0
    for g, name in zip(CELLS, ("inputs", "hidden1", "hidden2"), strict=True):
        line = np.append(np.clip(probes[name][0], -0.2, 0.4), 0.1)
        cells += (g @ line**2).sum()
        fixed += len(g) * 50e-6 * line.sum() ** 2
    np.testing.assert_allclose(result.cell_energy, cells, rtol=1e-12)
    np.testing.assert_allclose(result.fixed_energy, fixed, rtol=1e-12)


@given(code=st.integers(0, 4095), part=st.floats(0.001, 0.999))
def test_dac_truncates_to_its_codes(code, part):
    seen = Drives.from_volts(np.full((1, 18), (code + part) / 2048 - 1)).volts
    assert (seen == code / 2048 - 1).all()
    np.testing.assert_array_equal(seen, Drives.from_codes(np.full((1, 18), code)).volts)


def test_dac_limits_what_is_out_of_range():
    assert Drives.from_volts(np.full((1, 18), 1.7)).volts.max() == 2047 / 2048
    assert Drives.from_volts(np.full((1, 18), -1.7)).volts.min() == -1
    assert Drives.from_volts(np.full((1, 18), 1.7), quantise=False).volts.max() == 1.7


def test_written_channels_come_one_after_the_other():
    rows = np.array([np.full(18, 0.25), np.full(18, 0.5)])
    drives = Drives(rows, write_time=64e-6)
    times = np.array([0.0, 65e-6, 1.14e-3, 1.16e-3, 5e-3, 5e-3 + 65e-6, 9e-3])
    result = Circuit(IDEAL, CELLS).run([0.0, 0.0], drives, sample_times=times, probes=("drives",))
    seen = result.probes["drives"][0]
    assert seen[:, 0].tolist() == [0.0, 0.25, 0.25, 0.25, 0.25, 0.5, 0.5]
    assert seen[:, 17].tolist() == [0.0, 0.0, 0.0, 0.25, 0.25, 0.25, 0.5]


def test_gains_scale_their_terms():
    row = quiet_row(fx=-0.2, noise1=0.1)
    params = replace(IDEAL, gains=LoopGains(drift=3.0, score=0.0, noise=2.0))
    slope = Circuit(params, CELLS).static([0.1, 0.2], row).slope[0]
    np.testing.assert_allclose(slope, [3 * 0.2 * 0.1 + 2 * 0.1, 3 * 0.2 * 0.2], atol=1e-12)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: Circuit(IDEAL, (CELLS[0], CELLS[1], CELLS[1])), "conductances must be"),
        (lambda: Circuit(IDEAL, (-CELLS[0], CELLS[1], CELLS[2])), "not negative"),
        (lambda: Circuit(IDEAL, CELLS, injection=(np.zeros(3),) * 3), "injection"),
        (lambda: Circuit(IDEAL, CELLS).run(np.zeros(3), Drives(VOLTS)), "initial state is"),
        (lambda: Circuit(IDEAL, CELLS).run([np.nan, 0], Drives(VOLTS)), "finite"),
        (lambda: Circuit(IDEAL, CELLS).run(START, Drives(VOLTS), sample_times=[1, 0]), "not decrease"),
        (lambda: Circuit(IDEAL, CELLS).run(START, Drives(VOLTS), probes=("y",)), "no probe 'y'"),
        (lambda: Circuit(IDEAL, CELLS).run(START, Drives(VOLTS[:, :10])), "18 drive channels"),
        (lambda: Circuit(IDEAL, CELLS).run(START, Drives(np.stack([VOLTS] * 3))), "3 drive tables for 20"),
        (
            lambda: Circuit(replace(IDEAL, read_noise=ReadNoise(white_relative=0.1)), CELLS).run(START, Drives(VOLTS)),
            "random generator",
        ),
        (lambda: Circuit(IDEAL, CELLS).static(START, np.zeros(5)), "drives are"),
        (lambda: Drives(np.zeros(18)), "drives are"),
        (lambda: Drives(VOLTS, write_time=1e-3), "longer than all its writes"),
        (lambda: Drives.from_codes(np.full((1, 18), 4096)), "0 to 4095"),
        (lambda: ReadNoise(reference="cell"), "'memory' or 'weight'"),
        (lambda: replace(IDEAL, dynamics="fast"), "dynamics is"),
    ],
)
def test_what_has_no_meaning_is_refused(action, message):
    with pytest.raises(ValueError, match=message):
        action()


def test_kernel_compiles_where_no_cache_can_be_written():
    scope = {}
    # A function without a file has nowhere to be cached, like one of a read-only installation.
    exec("def double(x):\n    return 2 * x", scope)
    assert compiled(scope["double"])(21) == 42
