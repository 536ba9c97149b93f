"""Published drivers of source-measure units and switch matrices, as they come, against the twin."""

import warnings

import pytest

import sim_configs

qcodes = pytest.importorskip("qcodes", reason="qcodes is not installed")
keithley = pytest.importorskip("qcodes.instrument_drivers.Keithley")
keysight = pytest.importorskip("qcodes.instrument_drivers.Keysight")


def test_a_keithley_2602b_of_the_twin_is_one_to_qcodes() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        smu = keithley.Keithley2602B(
            "k2602", "GPIB0::26::INSTR", visalib=f"{sim_configs.path('bench-smu-pair.yaml')}@twin"
        )
    try:
        assert smu.get_idn()["model"] == "2602B"
        smu.smua.volt(0.1)
        smu.smua.output("on")
        smu.smua.limiti(1e-4)
        assert smu.smua.volt() == pytest.approx(0.1, abs=1e-4)
        assert (smu.smua.mode(), smu.smua.output(), smu.smua.nplc()) == ("voltage", True, 1.0)
        assert float(smu.ask("errorqueue.count")) == 0
    finally:
        smu.close()


def test_a_b2201a_of_the_twin_is_one_to_qcodes() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        matrix = keysight.KeysightB2201(
            "b2201", "GPIB0::22::INSTR", visalib=f"{sim_configs.path('bench-matrix.yaml')}@twin"
        )
        try:
            matrix.connect(1, 1)
            matrix.connect_paths([(2, 17), (3, 9)])
            assert matrix.connections() == {(1, 1), (2, 17), (3, 9)}
            matrix.disconnect(1, 1)
            assert (matrix.connection_rule(), matrix.connection_sequence()) == ("free", "bbm")
            matrix.gnd_mode(True)
            matrix.gnd_input_port(11)
            matrix.unused_inputs([3, 4])
            assert (matrix.gnd_mode(), matrix.gnd_input_port(), matrix.unused_inputs()) == (True, 11, [3, 4])
            matrix.disconnect_all()
            assert matrix.connections() == set()
            assert matrix.get_error().startswith("+0")
        finally:
            matrix.close()
