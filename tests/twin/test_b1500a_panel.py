"""The simulated B1500A: grammar, errors, timing, and pymeasure's own driver against it."""

import contextlib
import io
import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymeasure.instruments.agilent.agilentB1500 import (
    AgilentB1500,
    ControlMode,
    PgSelectorConnectionStatus,
    PgSelectorPort,
)
from twin.fakes_b1500a import PanelAdapter, make_panel

from instruments.b1500a import B1500A
from instruments.errors import ConfigError, InstrumentError
from instruments.twin.fixture import PulseShape
from instruments.twin.panels.b1500a_smu import SmuTiming
from instruments.twin.panels.flex import OutputData

NO_ERROR = '+0,"No Error."'


def ask(panel, text):
    (reply,) = panel.handle(text.encode())
    return reply.decode()


def error(panel):
    return int(ask(panel, "ERRX? 1"))


def quiet(panel, text):
    assert panel.handle(text.encode()) == []
    assert ask(panel, "ERRX?") == NO_ERROR


# Grammar


def test_headers_take_any_case_and_parameters_any_separator():
    _, panel = make_panel()
    quiet(panel, "cn 1;DV1,0 0.2,  1e-3 ; ;")
    assert ask(panel, "*LRN? 1") == "DV1,5,+200.000E-03,+1.00000E-03,0,17"


def test_modules_and_identity_come_from_the_options():
    _, panel = make_panel(modules="B1517A,0,B1511B", idn="Agilent Technologies,B1500A,7,X")
    assert ask(panel, "UNT?") == "B1517A,0;0,0;B1511B,0;" + ";".join(["0,0"] * 7)
    assert ask(panel, "*IDN?") == "Agilent Technologies,B1500A,7,X"


@pytest.mark.parametrize("modules", ["B1520A", ",".join(["0"] * 11)])
def test_a_frame_that_cannot_be_is_refused(modules):
    with pytest.raises(ConfigError, match="B1500A modules"):
        make_panel(modules=modules)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("*CLS", 100),
        ("FOO 1", 100),
        ("CN 1,2,x", 102),
        ("DV 1,0,zero", 102),
        ("DV 1,0", 103),
        ("FMT 1,0,0", 103),
        ("MT 0,0.01,0", 120),
        ("DV 1,11,2.5", 120),
        ("AIT 0,2,101", 120),
        ("AIT 1,3,0.001", 120),
        ("SPV 601,1,0,40.1", 120),
        ("SPT 601,1,0,5E-9,2E-8", 120),
        ("SER 601,2E6", 120),
        ("SPPER 11", 120),
        ("SPRM 1,1000001", 120),
        ("SIM 1", 120),
        ("ERSSP 0,1", 120),
        ("*LRN? 99", 120),
        ("CN 5", 121),
        ("TI 6", 121),
        ("SPV 1,1,0,1", 121),
        ("CN 603", 121),
        ("MM 3,1,2", 122),
        ("XE", 122),
        ("DV 1,0,1,0.2", 123),
        ("DI 1,0,1E-6", 123),
        ("DV 1,3,1", 124),
        ("TI 1", 200),
        ("DV 1,0,1", 200),
        ("SRP", 200),
        ("RZ", 205),
        ("MM 2,1;CN 1;XE", 220),
        ("MM 4,1;CN 1;XE", 221),
        ("MM 3,1;CN 1;XE", 222),
    ],
)
def test_what_is_wrong_goes_to_the_error_queue_and_drives_nothing(message, code):
    bench, panel = make_panel()
    panel.handle(message.encode())
    assert error(panel) == code
    assert all(volts in (0.0, None) for _, volts in bench.fixture.forced)
    assert bench.fixture.pulses == []
    assert panel.pull() is None


@given(st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_no_message_raises_and_only_errors_are_remembered(message):
    _, panel = make_panel()
    assert panel.handle(message) is not None
    assert re.fullmatch(r'\+\d+,"[^"]*"', ask(panel, "ERRX?"))


@given(st.text("WVSPTMDICN?*0123456789.,;+-E ", max_size=50))
@settings(max_examples=300, deadline=None)
def test_near_misses_of_commands_never_raise(message):
    _, panel = make_panel()
    panel.handle(message.encode())


def test_error_queries_take_from_one_queue():
    _, panel = make_panel()
    panel.handle(b"FOO;CN 5;TI 1")
    assert ask(panel, "ERRX?") == '+100,"Undefined GPIB command.; FOO"'
    assert ask(panel, "ERR?") == "121,200,0,0"
    assert ask(panel, "ERRX?") == NO_ERROR
    assert ask(panel, "EMG? 200") == "Channel output switch must be ON."


def test_queue_keeps_the_first_thirty_errors():
    _, panel = make_panel()
    panel.handle(b"FOO;" * 29 + b"CN 5;TI 1;TI 1")
    codes = [error(panel) for _ in range(31)]
    assert codes == [100] * 29 + [121, 0]


def test_rest_of_a_message_is_executed_after_an_error():
    _, panel = make_panel()
    panel.handle(b"FOO;CN 1")
    assert ask(panel, "*LRN? 0") == "CN1"


def test_status_byte_tells_ready_error_and_service_request():
    _, panel = make_panel()
    assert panel.status_byte() == 16
    panel.handle(b"*SRE 32")
    panel.handle(b"FOO")
    assert ask(panel, "*STB?") == str(64 + 32)  # busy with this very message
    assert panel.status_byte() == 16 + 32 + 64
    assert panel.status_byte() == 16
    panel.handle(b"CN 1;TI 1")
    assert panel.status_byte() == 16 + 1
    panel.clear()
    assert panel.status_byte() == 16


# SMUs


def test_spot_current_reads_the_resistor_in_every_format():
    _, panel = make_panel()
    quiet(panel, "AIT 1,2,1;AAD 1,1;CN 1;DV 1,0,0.2,1E-3;TI 1,0")
    line = panel.pull().decode()
    assert re.fullmatch(r"NAI\+\d\d\.\d{4}E-06|NAI\+\d{3}\.\d{3}E-06", line)
    assert float(line[3:]) == pytest.approx(20e-6, rel=1e-4)
    for style, width in ((11, 16), (21, 18)):
        quiet(panel, f"FMT {style};TI 1,0")
        line = panel.pull().decode()
        assert len(line) == width
        assert float(line[5 if style == 21 else 3 :]) == pytest.approx(20e-6, rel=1e-4)


def test_query_replies_pass_data_that_wait():
    _, panel = make_panel()
    panel.handle(b"CN 1;MM 1,1;XE")
    assert ask(panel, "*OPC?") == "1"
    assert panel.pull().startswith(b"NAI")
    assert panel.pull() is None


@pytest.mark.parametrize(("style", "status"), [(1, "C"), (11, "C"), (21, "008")])
def test_compliance_is_flagged_and_limits_the_current(style, status):
    _, panel = make_panel()
    quiet(panel, f"FMT {style};CN 1;DV 1,0,2,50E-6;TI 1,0")
    line = panel.pull().decode()
    assert line.startswith(status + "AI")
    assert float(line[len(status) + 2 :]) == pytest.approx(50e-6, rel=1e-3)


def test_another_channels_compliance_is_flagged():
    _, panel = make_panel()
    quiet(panel, "CN 1,2;DV 1,0,2,50E-6;TI 1,0;TI 2,0")
    assert panel.pull().startswith(b"CAI")
    assert panel.pull().startswith(b"TBI")


@pytest.mark.parametrize(("style", "expected"), [(1, "VAI+199.999E+99"), (21, "001AI+199.9990E+99")])
def test_a_fixed_range_overflows(style, expected):
    _, panel = make_panel()
    quiet(panel, f"FMT {style};CN 1;DV 1,0,0.2,1E-3;TI 1,-14")
    assert panel.pull().decode() == expected


def test_readings_lie_on_the_converters_steps_and_scatter_by_its_noise():
    _, panel = make_panel()
    quiet(panel, "FMT 21;CN 1;DV 1,0,0.2,1E-3")
    values = []
    for _ in range(400):
        panel.handle(b"TI 1,-16")
        values.append(float(panel.pull()[5:]))
    steps = [v / 5e-9 for v in values]
    assert all(abs(s - round(s)) < 1e-4 for s in steps)
    mean = sum(values) / len(values)
    sigma = math.sqrt(sum((v - mean) ** 2 for v in values) / len(values))
    # One 5 nA step rms of noise plus rounding: sqrt(1 + 1/12) steps; 400 samples give 3.5 % of it, five sigma allowed.
    assert sigma == pytest.approx(5e-9 * math.sqrt(1 + 1 / 12), rel=0.18)
    assert mean == pytest.approx(20e-6, abs=5 * 5.2e-9 / 20)


def test_current_source_measures_voltage_and_flags_its_limit():
    _, panel = make_panel()
    quiet(panel, "CN 1,2;DI 1,0,50E-6,2;TV 1,0;DI 1,0,500E-6,2;TV 1,0")
    regulating, limited = panel.pull().decode(), panel.pull().decode()
    assert regulating.startswith("NAV")
    assert float(regulating[3:]) == pytest.approx(0.5, abs=1e-3)  # 50 uA through 10 kohm
    assert limited.startswith("CAV")
    assert float(limited[3:]) == pytest.approx(2.0, abs=1e-3)


def test_integration_times_are_spent_on_the_clock():
    bench, panel = make_panel()
    quiet(panel, "CN 1;TI 1,-16")

    def cost(setup):
        panel.handle(setup.encode())
        before = bench.clock.now()
        panel.handle(b"TI 1,-16")
        return bench.clock.now() - before

    t = SmuTiming()
    assert cost("AIT 0,1,100") == pytest.approx(100 * t.sample)
    assert cost("AIT 0,2,2") == pytest.approx(2 * 20e-3)
    assert cost("AV -3") == pytest.approx(3 * 20e-3)
    assert cost("AIT 0,3,2E-3") == pytest.approx(2e-3, rel=0.01)
    assert cost("AAD 1,1;AIT 1,2,1") == pytest.approx(20e-3)
    assert cost("AZ 1") == pytest.approx(40e-3)


def test_zero_and_restore():
    bench, panel = make_panel()
    quiet(panel, "CN 1;DV 1,0,0.3,1E-3;DZ")
    assert bench.fixture.voltage(1) == 0.0
    quiet(panel, "RZ")
    assert bench.fixture.sources[1] == (0.3, 1e-3)
    quiet(panel, "CL")
    assert bench.fixture.sources == {}


def test_reset_opens_every_output_and_forgets():
    bench, panel = make_panel()
    quiet(panel, "CN;DV 1,0,1,1E-3;FMT 21,1;MM 2,1;SER 601,1E6;*RST")
    assert bench.fixture.sources == {}
    assert ask(panel, "SER? 601") == "50"
    assert ask(panel, "*LRN? 31") == "TM1;AV1,0;CM0;FMT1,0"


# Measurements


def test_staircase_gives_one_line_with_the_source_last():
    bench, panel = make_panel()
    quiet(panel, "CN 1;FMT 21,1;MM 2,1;WT 0.1,0.01;WM 1,1;WV 1,1,0,0,0.2,3,1E-3;AIT 0,1,1")
    before = bench.clock.now()
    quiet(panel, "XE")
    assert bench.clock.now() - before == pytest.approx(0.1 + 3 * 0.01, abs=3e-3)
    items = panel.pull().decode().split(",")
    assert [i[:5] for i in items] == ["000AI", "001Av"] * 2 + ["000AI", "002Av"]
    assert [float(i[5:]) for i in items[1::2]] == [0.0, 0.1, 0.2]
    assert bench.fixture.voltage(1) == 0.0


def test_double_and_logarithmic_sweeps():
    bench, panel = make_panel()
    quiet(panel, "CN 1;FMT 1,1;MM 2,1;WM 1,2;WV 1,4,0,0.01,1,3,1E-3;XE")
    levels = [float(i[3:]) for i in panel.pull().decode().split(",")[1::2]]
    assert levels == pytest.approx([0.01, 0.1, 1, 1, 0.1, 0.01])
    assert bench.fixture.voltage(1) == pytest.approx(0.01)


def test_automatic_abort_marks_what_was_not_measured():
    _, panel = make_panel()
    quiet(panel, "CN 1;MM 2,1;WM 2,1;WV 1,1,0,0,2,5,60E-6;XE")
    assert [i[0] for i in panel.pull().decode().split(",")] == ["N", "N", "C", "V", "V"]


def test_synchronous_sweep_follows():
    _, panel = make_panel()
    quiet(panel, "CN 1,2;FMT 1,2;MM 2,1;WV 1,1,0,0,1,3,1E-3;WSV 2,0,0,2,1E-3;XE")
    items = panel.pull().decode().split(",")
    assert [float(i[3:]) for i in items[1::2]] == [0.0, 1.0, 2.0]
    assert items[1][1] == "B"


def test_pulsed_spot_reads_at_the_top_and_takes_its_period():
    bench, panel = make_panel()
    quiet(panel, "CN 1;MM 3,1;PT 0,1E-3,10E-3;PV 1,0,0.1,0.5,1E-3")
    before = bench.clock.now()
    quiet(panel, "XE")
    assert float(panel.pull()[3:]) == pytest.approx(50e-6, rel=1e-3)
    assert bench.clock.now() - before == pytest.approx(10e-3, rel=0.05)
    assert bench.fixture.voltage(1) == 0.1


def test_pulsed_sweep_returns_to_its_base_after_every_pulse():
    bench, panel = make_panel()
    quiet(panel, "CN 1;FMT 1,1;MM 4,1;PT 0,1E-3,10E-3;PWV 1,1,0,0.1,0.2,0.4,3,1E-3;XE")
    items = panel.pull().decode().split(",")
    assert [float(i[3:]) for i in items[::2]] == pytest.approx([20e-6, 30e-6, 40e-6], rel=1e-3)
    assert [v for _, v in bench.fixture.forced[-9:]] == pytest.approx([0.1, 0.2, 0.1, 0.1, 0.3, 0.1, 0.1, 0.4, 0.1])


def test_sampling_takes_its_interval_and_counts():
    bench, panel = make_panel()
    quiet(panel, "CN 1;FMT 1,1;MM 10,1;MT 0,0.01,5;MV 1,0,0,0.2,1E-3;MSC 1,1")
    before = bench.clock.now()
    quiet(panel, "XE")
    assert bench.clock.now() - before == pytest.approx(0.04, abs=2e-3)
    items = panel.pull().decode().split(",")
    assert [int(float(i[3:])) for i in items[::2]] == [1, 2, 3, 4, 5]
    assert bench.fixture.voltage(1) == 0.0


# SPGU


def pulse(panel, volts=2.0, load="1E6", count=1):
    quiet(panel, f"SIM 0;SPRM 1,{count};SPPER 2E-6;CN 601;SER 601,{load};SPM 601,1")
    quiet(panel, f"SPT 601,1,0,1E-6,2E-8;SPV 601,1,0,{volts};SPUPD 601;SRP")


def test_a_pulse_reaches_the_fixture_as_it_was_set():
    bench, panel = make_panel()
    pulse(panel, count=3)
    ((shapes, count, period),) = bench.fixture.pulses
    assert (count, period) == (3, 2e-6)
    assert shapes[601] == pytest.approx(PulseShape(0.0, 2.0, 0.0, 1e-6, 2e-8, 2e-8), rel=1e-4)
    assert ask(panel, "SPST?") == "0"


def test_a_cell_gets_twice_the_voltage_at_the_initial_load_setting():
    bench, panel = make_panel()
    pulse(panel, load="50")
    assert bench.fixture.pulses[0][0][601].peak == pytest.approx(4.0)


def test_a_voltage_the_source_lacks_for_its_load_is_refused_before_a_pulse():
    bench, panel = make_panel()
    panel.handle(b"SPRM 1,1;SPV 601,1,0,21;SPM 601,1;CN 601;SPUPD 601")
    assert error(panel) == 120
    panel.handle(b"SRP")
    assert bench.fixture.pulses == []


def test_settings_wait_for_the_update():
    bench, panel = make_panel()
    pulse(panel)
    quiet(panel, "SPV 601,1,0,3;SRP;SPUPD 601;SRP")
    assert [round(p[0][601].peak, 3) for p in bench.fixture.pulses] == [2.0, 2.0, 3.0]


def test_only_channels_that_are_on_and_pulse_take_part():
    bench, panel = make_panel()
    pulse(panel)
    quiet(panel, "SPM 602,1;SPUPD 602;SRP;CN 602;SRP;SPM 601,0;SPUPD 601;SRP")
    assert [sorted(p[0]) for p in bench.fixture.pulses] == [[601], [601], [601, 602], [602]]


def test_a_free_run_delivers_what_fits_when_it_is_stopped():
    bench, panel = make_panel()
    quiet(panel, "SPPER 1E-3;CN 601;SER 601,1E6;SPM 601,1;SPV 601,1,0,1;SPUPD 601;SPRM 0;SRP")
    assert ask(panel, "SPST?") == "1"
    bench.clock.sleep(0.1)
    quiet(panel, "SPP")
    assert ask(panel, "SPST?") == "0"
    assert bench.fixture.pulses[0][1] == 100


def test_three_levels_come_as_two_pulses_a_period():
    bench, panel = make_panel()
    quiet(panel, "SPRM 1,2;SPPER 10E-6;CN 601;SER 601,1E6;SPM 601,3;SPV 601,1,0,1;SPV 601,2,0,-1")
    quiet(panel, "SPT 601,1,0,2E-6,2E-8;SPT 601,2,5E-6,2E-6,2E-8;SPUPD 601;SRP")
    assert [round(p[0][601].peak) for p in bench.fixture.pulses] == [1, -1, 1, -1]
    assert sum(p[2] for p in bench.fixture.pulses) == pytest.approx(20e-6)


def test_query_forms_return_what_was_set():
    _, panel = make_panel()
    quiet(panel, "SPPER 1E-7;SPRM 2,0.5;SPV 602,2,-1,1.5;SPT 602,2,0,5E-8,1E-8,2E-8;SPM 602,2;SER 602,1E6")
    quiet(panel, "ODSW 602,1,0,0,5E-8;STGP 602,1;ERMOD 1;ERSSP 1,2")
    queries = ("SPPER?", "SPRM?", "SPV? 602,2", "SPT? 602,2", "SPM? 602", "SER? 602", "SIM?", "ERMOD?", "ERSSP? 1")
    replies = [[float(x) for x in ask(panel, q).split(",")] for q in queries]
    assert replies == [[1e-7], [2, 0.5], [-1, 1.5], [0, 5e-8, 1e-8, 2e-8], [2], [1e6], [0], [1], [2]]
    assert ask(panel, "STGP? 602") == "1"


def test_load_correction_finds_an_open_end():
    bench, panel = make_panel()
    quiet(panel, "CN 601")
    assert ask(panel, "CORRSER? 601,1,0.01,0.001,10").startswith("1000000,")
    assert ask(panel, "SER? 601") == "1000000"
    assert bench.fixture.pulses == []


def test_relays_take_a_tenth_of_a_millisecond():
    bench, panel = make_panel()
    before = bench.clock.now()
    quiet(panel, "CN 601;ERMOD 1;ERSSP 0,2")
    assert bench.clock.now() - before == pytest.approx(200e-6)
    assert bench.fixture.selectors == [(0, 2)]


# Numbers


@given(
    st.sampled_from([1e-9, 1e-7, 1e-5, 1e-4, 0.1, 2.0, 20.0, 100.0]), st.floats(-1.1, 1.1), st.sampled_from([1, 11, 21])
)
def test_items_keep_their_width_and_value(scale, fraction, style):
    data = OutputData(style)
    item = data.measured(0, 3, "I", scale * fraction, scale)
    assert len(item) == {1: 15, 11: 16, 21: 18}[style]
    assert float(item[5 if style == 21 else 3 :]) == pytest.approx(scale * fraction, abs=scale * 1e-4)


def test_exponent_follows_the_range():
    assert OutputData().measured(0, 1, "I", 5e-12, 1e-7) == "NAI+000.005E-09"
    assert OutputData(21).measured(0, 1, "I", 119.09e-9, 1e-7) == "000AI+119.0900E-09"


# Through pymeasure


def connect(ohms=10e3):
    bench, panel = make_panel(ohms)
    adapter = PanelAdapter(panel)
    stock = AgilentB1500(adapter)
    stock.initialize_all_smus()
    stock.initialize_all_spgus()
    with contextlib.redirect_stdout(io.StringIO()):
        stock.data_format(21, mode=1)
    return bench, adapter, stock


def test_stock_driver_forces_and_learns():
    bench, _, stock = connect()
    smu = stock.smu1
    smu.enable()
    smu.force("Voltage", 0, 0.25, 1e-3, 1, 0)
    smu.adc_type = "HRADC"
    smu.meas_op_mode = "COMPLIANCE_SIDE"
    smu.series_resistor = False
    smu.filter = True
    stock.adc_setup("HRADC", "PLC", 1)
    stock.adc_averaging(4, "Manual")
    stock.adc_auto_zero = True
    stock.time_stamp = False
    stock.parallel_meas = True
    stock.wait_time("SMU_SOURCE", 1)
    assert bench.fixture.sources[1] == (0.25, 1e-3)
    assert smu.adc_type.name == "HRADC"
    assert smu.filter is True
    assert stock.parallel_meas is True
    assert stock.adc_auto_zero is True
    assert stock.auto_calibration is False
    assert smu.status["SMU1"]["Voltage Output (V)"] == "+250.000E-03"
    assert stock.smu2.status == {"SMU2": "OFF"}
    for query in (
        stock.query_meas_ranges,
        stock.query_meas_op_mode,
        stock.query_series_resistor,
        stock.query_meas_range_current_auto,
        stock.query_time_stamp_setting,
        stock.query_staircase_sweep_settings,
        stock.query_sampling_settings,
    ):
        assert query()
    assert stock.query_adc_setup()["HRADC Mode"] == "Plc"


def test_stock_driver_sweeps_and_reads_point_by_point():
    _, _, stock = connect()
    smu = stock.smu1
    smu.enable()
    stock.meas_mode("STAIRCASE_SWEEP", smu)
    stock.sweep_timing(0, 0.001)
    stock.sweep_auto_abort(False, post="STOP")
    smu.staircase_sweep_source("Voltage", "LINEAR_SINGLE", "Auto Ranging", 0, 0.3, 4, 1e-3)
    stock.send_trigger()
    assert stock.check_idle()
    points = [stock.read_channels(2) for _ in range(4)]
    assert [p[1][3] for p in points] == pytest.approx([0, 0.1, 0.2, 0.3])
    assert [p[0][3] for p in points] == pytest.approx([0, 10e-6, 20e-6, 30e-6], abs=30e-9)
    assert points[0][0][1:3] == ("SMU1", "Current Measurement (A)")


def test_stock_driver_samples():
    _, _, stock = connect()
    smu = stock.smu1
    smu.enable()
    stock.meas_mode("SAMPLING", smu)
    stock.sampling_mode = "LINEAR"
    stock.sampling_timing(0, 0.01, 3)
    smu.sampling_source("Voltage", 0, 0, 0.2, 1e-3)
    stock.sampling_auto_abort(False, post="BASE")
    stock.send_trigger()
    indices, currents = zip(*(stock.read_channels(2) for _ in range(3)), strict=True)
    assert [i[3] for i in indices] == [1, 2, 3]
    assert [c[3] for c in currents] == pytest.approx([20e-6] * 3, rel=1e-3)


def test_stock_driver_pulses():
    bench, _, stock = connect()
    stock.io_control_mode = ControlMode.SMU_PGU_SELECTOR
    assert stock.io_control_mode is ControlMode.SMU_PGU_SELECTOR
    stock.set_port_connection(PgSelectorPort.OUTPUT_1_FIRST, PgSelectorConnectionStatus.PGU_ON)
    spgu, channel = stock.spgu6, stock.spgu6.ch1
    spgu.operation_mode = 0
    assert spgu.operation_mode == 0
    spgu.period = 1e-3
    spgu.set_output_mode("COUNT", 5)
    assert spgu.get_output_mode() == (1, 5.0)
    channel.enabled = True
    channel.load_impedance = 1e6
    channel.output_mode = 1
    channel.set_output_voltage(1, 0, 1.5)
    channel.set_pulse_timings(1, 0, 1e-6, 20e-9, 30e-9)
    assert channel.get_output_voltage(1) == (0, 1.5)
    assert channel.get_pulse_timings(1) == (0, 1e-6, 20e-9, 30e-9)
    channel.apply_setup()
    spgu.output = True
    assert spgu.complete
    spgu.output = False
    channel.enabled = False
    stock.check_errors()
    ((shapes, count, period),) = bench.fixture.pulses
    assert (count, period) == (5, 1e-3)
    assert shapes[601].peak == pytest.approx(1.5, rel=1e-4)
    assert bench.fixture.selectors == [(0, 2)]


# Our driver against the panel


def ours(ohms=10e3, **kwargs):
    bench, panel = make_panel(ohms)
    adapter = PanelAdapter(panel)
    return bench, adapter, B1500A(adapter, clock=bench.clock, **kwargs)


def test_a_programming_loop_needs_one_message_and_one_error_query_a_pulse():
    bench, adapter, driver = ours()
    for volts in (1.0, 1.1, 1.2):
        driver.pulse_setup(601, 0.0, volts, 1e-6)
        adapter.sent.clear()
        driver.fire([601])
    assert adapter.sent == ["SPV 601,1,0,1.2;SPUPD 601;SRP", "ERRX?"]
    assert [round(p[0][601].peak, 3) for p in bench.fixture.pulses] == [1.0, 1.1, 1.2]


def test_widths_may_grow_and_shrink_between_pulses():
    bench, _, driver = ours()
    for width in (1e-6, 1e-3, 50e-9, 2e-4):
        driver.pulse_setup(601, 0.0, 1.0, width)
        driver.fire([601], count=2)
    assert [p[0][601].width for p in bench.fixture.pulses] == pytest.approx([1e-6, 1e-3, 50e-9, 2e-4])


def test_a_channel_that_is_not_fired_does_not_pulse():
    bench, _, driver = ours()
    driver.pulse_setup(601, 0.0, 1.0, 1e-6)
    driver.pulse_setup(602, 0.0, 2.0, 1e-6)
    driver.fire([601, 602])
    driver.fire([602])
    driver.fire([601])
    assert [sorted(p[0]) for p in bench.fixture.pulses] == [[601, 602], [602], [601]]


def test_readings_follow_the_resistor():
    _, adapter, driver = ours()
    driver.use_high_resolution_adc([1], plc=1)
    driver.force_voltage(1, 0.2, 1e-3)
    first = driver.spot_current(1)
    adapter.sent.clear()
    second = driver.spot_current(1)
    assert adapter.sent == ["TI 1,0"]
    assert (first.current, second.current) == pytest.approx((20e-6, 20e-6), rel=1e-4)
    assert not second.in_compliance
    assert driver.spot_voltage(1).voltage == pytest.approx(0.2, abs=1e-3)
    driver.force_voltage(1, 2.0, 30e-6)
    limited = driver.spot_current(1)
    assert limited.in_compliance
    assert limited.current == pytest.approx(30e-6, rel=1e-3)
    over = driver.spot_current(1, -13)
    assert math.isnan(over.current)
    assert over.status & 1


def test_a_refused_spot_measurement_says_why():
    _, _, driver = ours()
    with pytest.raises(InstrumentError, match="Channel output switch must be ON"):
        driver.spot_current(1)


def test_ramp_starts_where_the_output_is_and_waits_on_the_bench_clock():
    bench, _, driver = ours()
    driver.initialize_all_smus()
    driver.force_voltage(1, 0.2, 1e-3)
    bench.fixture.forced.clear()
    before = bench.clock.now()
    driver.smu1.ramp_source("Voltage", 0, 0.3, 1e-3, stepsize=0.025, pause=1.0)
    assert [v for _, v in bench.fixture.forced] == pytest.approx([0.225, 0.25, 0.275, 0.3])
    assert bench.clock.now() - before == pytest.approx(3.0, abs=0.01)


def test_safe_leaves_every_output_open_and_may_be_repeated():
    bench, _, driver = ours()
    driver.connect_selector(0, "pgu")
    driver.force_voltage(1, 1.0, 1e-3)
    driver.pulse_setup(601, 0.0, 1.0, 1e-6)
    driver.fire([601])
    assert driver.safe() == []
    assert bench.fixture.sources == {}
    assert bench.fixture.selectors[-2:] == [(0, 0), (1, 0)]
    assert driver.safe() == []


def test_settings_are_told_anew_after_safe():
    bench, adapter, driver = ours()
    driver.force_voltage(1, 1.0, 1e-3)
    driver.safe()
    driver.force_voltage(1, 1.0, 1e-3)
    assert bench.fixture.sources[1] == (1.0, 1e-3)
    adapter.sent.clear()
    driver.force_voltage(1, 1.0, 1e-3)
    assert adapter.sent == []


def test_point_reads_leave_nothing_of_the_terminator():
    _, adapter, driver = ours()
    driver.initialize_all_smus()
    driver.data_format(1, mode=1)
    driver.smu1.enable()
    driver.meas_mode("SPOT", driver.smu1)
    driver.send_trigger()
    driver.read_channels(1)
    assert adapter.unread == b""


def test_stock_point_reads_leave_half_a_terminator():
    _, adapter, stock = connect()
    stock.data_format(1)
    stock.smu1.enable()
    stock.meas_mode("SPOT", stock.smu1)
    stock.send_trigger()
    stock.read_channels(1)
    assert adapter.unread == b"\n"


# The frame, and measurements beside the common ones


def test_lop_tells_what_each_channel_does():
    _, panel = make_panel()
    quiet(panel, "CN 1,2,3;DV 1,0,2,50E-6;DI 2,0,1E-6,2;DV 3,0,0.1,1E-3;TI 1,0;TV 2,0")
    # 1 at its positive current limit, 2 a current source into an open end, 3 a voltage source
    assert ask(panel, "LOP?") == "LOP12,11,01,00,00,00,00,00,00,00"


@pytest.mark.parametrize(("level", "expected"), [("1.9", "0"), ("-2.1", "1")])
def test_wz_tells_of_voltages_beyond_two_volts(level, expected):
    _, panel = make_panel()
    quiet(panel, f"CN 2;DV 2,0,{level},1E-3")
    assert ask(panel, "WZ?") == expected


def test_formats_without_header_are_numbers_alone():
    _, panel = make_panel()
    for style, width in ((2, 12), (12, 13), (22, 13)):
        quiet(panel, f"FMT {style};CN 1;DV 1,0,0.2,1E-3;TI 1,0")
        line = panel.pull().decode()
        assert len(line) == width
        assert float(line) == pytest.approx(20e-6, rel=0.01)
    for style in (3, 4, 5, 13, 14, 15, 25):
        panel.handle(f"FMT {style}".encode())
        assert error(panel) == 120


def test_multi_channel_sweep_moves_all_sources_together():
    bench, panel = make_panel()
    quiet(panel, "FMT 1,2;CN 1,2,3;AV -1;WV 1,1,0,0,1,3,1E-3;WNX 2,2,1,0,0,-2,1E-3;WNX 3,3,1,0,5,5,1E-3;MM 16,1,2;XE")
    items = panel.pull().decode().split(",")
    assert [item[:3] for item in items] == ["NAI", "NBI", "WBV"] * 2 + ["NAI", "NBI", "EBV"]
    assert [float(item[3:]) for item in items[2::3]] == [0.0, -1.0, -2.0]
    assert [float(item[3:]) for item in items[0::3]] == pytest.approx([0.0, 50e-6, 100e-6], abs=1e-7)
    assert bench.fixture.voltage(3) == 5.0
    assert ask(panel, "WNU?") == "3"
    assert ask(panel, "*LRN? 59") == "WNX2,2,1,0,0,-2,0.001;WNX3,3,1,0,5,5,0.001"
    panel.handle(b"WNCC")
    assert ask(panel, "*LRN? 59") == ""


def test_stamped_commands_put_the_time_first():
    bench, panel = make_panel()
    quiet(panel, "CN 1;TSR")
    bench.clock.sleep(0.5)
    quiet(panel, "TDV 1,0,0.2,1E-3")
    assert float(panel.pull()[3:]) == pytest.approx(0.5, abs=2e-3)
    quiet(panel, "TTIV 1,0,0")
    stamp, current, volts = panel.pull().decode().split(",")
    assert stamp[:3] == "NAT"
    assert float(current[3:]) == pytest.approx(20e-6, rel=0.01)
    assert float(volts[3:]) == pytest.approx(0.2, abs=1e-3)


def test_initialize_and_clearing_of_sources():
    bench, panel = make_panel()
    quiet(panel, "CN 1;DV 1,0,0.2,1E-3;RI 1,-14;CMM 1,2;FL 1,1;MV 1,0,0,0.1,1E-3;MV 2,0,0,0.1,1E-3;MCC 2;IN 1")
    assert bench.fixture.sources[1] == (0.0, 100e-6)
    assert ask(panel, "*LRN? 32").startswith("RI1,0;RV1,0")
    assert ask(panel, "*LRN? 46").startswith("CMM1,0")
    assert "MV1," in ask(panel, "*LRN? 47")
    assert "MV2," not in ask(panel, "*LRN? 47")


def test_triggers_and_digital_port_are_remembered():
    _, panel = make_panel()
    quiet(panel, "TGP -1,1,2,3;TGP 5,2,1;TGXO 2;WAT 2,0.5,0.01;ERM 255;ERC 2,5;OSX -2;WSX -1;PAX -1,0.1;RCV 1;CA")
    assert ask(panel, "*LRN? 58") == "TGXO2;TGSI1;TGSO1;TGMO1;TGP-1,1,2,3;TGP5,2,1,0"
    assert ask(panel, "*LRN? 57") == "WAT1,1.0,0.0000;WAT2,0.5,0.0100"
    assert int(ask(panel, "ERS?")) == 0xFF00 | 5  # what isn't driven reads high
    quiet(panel, "TGPC")
    assert ask(panel, "*LRN? 58") == "TGXO2;TGSI1;TGSO1;TGMO1"
    assert [ask(panel, q) for q in ("*TST?", "*CAL? 1", "DIAG? 1", "AITM?", "UNT? 0")][:4] == ["0"] * 4
    for message in ("TGP 0,1,1", "TGP -1,2,1", "*CAL? 9", "DIAG? 2", "ACH 1,2"):
        panel.handle(message.encode())
        assert error(panel) == 120


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("DV 1,0,0", "DV1,5,+000.000E-03,+100.000E-06,0,16"),
        ("DV 1,12,0.2,1E-3", "DV1,200,+00.2000E+00,+1.00000E-03,0,17"),
        ("DV 1,0,3,100E-6,0,19", "DV1,50,+3.00000E+00,+000.100E-03,0,19"),
        ("DI 1,0,5E-6,20", "DI1,15,+05.0000E-06,+20.0000E+00,0,200"),
    ],
)
def test_learn_tells_the_ranges_in_use(message, told):
    _, panel = make_panel()
    quiet(panel, "CN 1;" + message)
    assert ask(panel, "*LRN? 1") == told
