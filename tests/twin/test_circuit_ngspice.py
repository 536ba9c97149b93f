"""The model against ngspice's solution of the full netlist, same parts and same offsets."""

from dataclasses import replace

import numpy as np
import pytest
from twin import ngspice_netlist, score_network

from instruments.twin.circuit import Circuit, CircuitParams, Drives, Multiplier, Offsets, OpAmp

pytestmark = pytest.mark.skipif(ngspice_netlist.NGSPICE is None, reason="ngspice is not installed")

CELLS = score_network.conductances(score_network.network())
BOARD = Offsets.sample(CELLS, OpAmp(), Multiplier(), np.random.default_rng(21))


@pytest.mark.parametrize(("output_gain", "limit"), [(3.0, 0.3e-3), (5.0, 1.5e-3)])
def test_first_fifth_of_a_run_agrees(tmp_path, output_gain, limit):
    params = CircuitParams(output_gain=output_gain)
    drives = Drives.from_volts(score_network.drive_volts())
    times = np.linspace(0, 0.2, 101)
    start = np.array([0.12, -0.07])
    expected = ngspice_netlist.simulate(params, CELLS, BOARD, drives, start, times, tmp_path)
    seen = Circuit(params, CELLS, BOARD).run(start, drives, 0.2, times).x[0]
    assert np.sqrt(((seen - expected) ** 2).mean()) < limit
    # The trajectory is long against the limit, and the offsets matter in it.
    assert np.abs(expected[-1] - expected[0]).max() > 5e-3
    perfect = Circuit(params, CELLS).run(start, drives, 0.2, times).x[0]
    assert np.abs(perfect - expected).max() > 3e-3


def test_fast_run_needs_the_lags(tmp_path, monkeypatch):
    # The network starts settled: a rectifier takes tens of us to cross its diodes' gap.
    monkeypatch.setattr(ngspice_netlist, "HOLD", 1e-3)
    params = CircuitParams(output_gain=3.0).compressed(1e-3)
    drives = Drives.from_volts(score_network.drive_volts(), tick=5e-6)
    times = np.linspace(0, 1e-3, 101)
    start = np.array([0.12, -0.07])
    expected = ngspice_netlist.simulate(params, CELLS, Offsets.zero(CELLS), drives, start, times, tmp_path)
    error = {}
    for dynamics in ("static", "lagged"):
        seen = Circuit(replace(params, dynamics=dynamics), CELLS).run(start, drives, sample_times=times).x[0]
        error[dynamics] = np.sqrt(((seen - expected) ** 2).mean())
    assert error["lagged"] < 0.8e-3
    assert error["lagged"] < 0.5 * error["static"]


def test_raw_reader_wants_real_numbers(tmp_path):
    path = tmp_path / "x.raw"
    path.write_bytes(
        b"Flags: complex\nNo. Variables: 1\nNo. Points: 1\nVariables:\n\t0\tv\tvoltage\nBinary:\n" + bytes(16)
    )
    with pytest.raises(ValueError, match="real numbers"):
        ngspice_netlist.read_raw(path)
