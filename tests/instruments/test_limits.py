"""The limits, and the gate that reads every message to the analyzer: what it refuses is never sent."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymeasure.instruments.agilent.agilentB1500 import ADCMode, ADCType, ControlMode, MeasMode, MeasOpMode, SweepMode
from twin.fakes_b1500a import FakeBench, PanelAdapter, make_panel

from instruments.b1500a import B1500A
from instruments.errors import ConfigError, LimitError
from instruments.limits import FlexGate, Limits, Range
from instruments.twin.panels.b1500a import B1500APanel

CHANNELS = {1: "bit_line", 601: "bit_line", 2: "word_line", 3: "source_line", 602: "source_line"}
HIGH_Z = "SER 601,1000000;SER 602,1000000"


def gate(*messages: str) -> FlexGate:
    """A gate for the station's usual wiring, default limits, that has let `messages` pass."""
    made = FlexGate(Limits(), CHANNELS)
    for message in messages:
        made(message)
    return made


def analyzer() -> tuple[B1500A, PanelAdapter, FakeBench]:
    """Our driver behind the gate, on a simulated front panel with a resistor."""
    bench, panel = make_panel()
    adapter = PanelAdapter(panel)
    return B1500A(adapter, clock=bench.clock, gate=gate()), adapter, bench


# Limits


def test_a_range_is_closed_and_forgives_rounding() -> None:
    volts = Range(-0.2, 0.4)
    for value in (-0.2, 0.0, 0.4, 0.1 + 0.3, 0.4 * (1 + 1e-12)):
        volts.check(value, "read")
    for value in (-0.2001, 0.4001, float("nan"), float("inf"), float("-inf")):
        with pytest.raises(LimitError, match=r"read: .* is outside -200 mV..400 mV; nothing was sent"):
            volts.check(value, "read")


def test_limits_come_from_a_file_with_units() -> None:
    limits = Limits.from_mapping(
        {"bit_line": ["-0.4 V", "3 V"], "compliance": [0, "500 uA"], "pulse_width": ("20 ns", 1e-3)}
    )
    assert (limits.bit_line, limits.compliance) == (Range(-0.4, 3.0), Range(0.0, 500e-6, "A"))
    assert limits.pulse_width.low == pytest.approx(20e-9)
    assert limits.word_line == Limits().word_line
    assert Limits.from_mapping(None) == Limits.from_mapping({}) == Limits()
    assert Limits().compute == Range(-0.2, 0.4)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"gate": [0, 1]}, "unknown limit 'gate'; known: bit_line, board"),
        ({"read": 5}, "read needs two values"),
        ({"read": [0.1]}, "read needs two values"),
        ({"read": "-0.2 V, 0.2 V"}, "read needs two values"),
        ({"read": {"low": 0, "high": 1}}, "read needs two values"),
        ({"read": ["0 S", "1 V"]}, "limits.read: '0 S'"),
        ({"read": [[0], 1]}, "limits.read: [0]"),
        ({"read": ["0,2 V", "0,3 V"]}, "limits.read: '0,2 V'"),
        ({"word_line": [2, 1]}, "word_line is empty"),
        ({"word_line": [1, 2]}, "word_line 1..2 V must include 0 V"),
        ({"bit_line": [-3, -1]}, "bit_line -3..-1 V must include 0 V"),
        ({"board": ["0.1 V", "1 V"]}, "board 0.1..1 V must include 0 V"),
        ({"read": [-1, 0.2]}, "contradict each other: read -1..0.2 V does not lie within bit_line"),
        ({"bit_line": [-0.5, 0.3]}, "contradict each other: compute"),
    ],
)
def test_limits_that_make_no_sense_get_one_sentence(data: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Limits.from_mapping(data)
    assert words in str(caught.value)


def test_replaced_limits_are_checked_anew() -> None:
    assert Limits().with_ranges(read=Range(-0.1, 0.1)).read.high == 0.1
    with pytest.raises(ConfigError, match="contradict"):
        Limits().with_ranges(read=Range(-0.1, 5.0))


# What the gate refuses. Bit line -0.5..3.5 V, source line -0.5..2.5 V, word line 0..4 V, 1 mA, 10 ns..10 ms.

REFUSED = [
    # Voltages of every kind of source, in every place where one can stand
    "DV 1,0,3.6", "DV 1,0,-0.6", "DV 2,0,-0.1", "DV 2,0,4.1,1E-3", "DV 3,0,2.6", "TDV 1,0,3.6",
    "WV 1,1,0,0,3.6,11,1E-3", "WV 1,1,0,-0.6,1,11,1E-3", "WV 2,3,0,0,5,11,1E-3", "WSV 3,0,0,2.6,1E-3",
    "WSV 3,0,-1,1,1E-3", "PV 1,0,0,3.6,1E-3", "PV 1,0,-1,1,1E-3", "PWV 1,1,0,0,0,3.6,11,1E-3",
    "PWV 1,1,0,0,4,1,11,1E-3", "PWV 1,1,0,-1,0,1,11,1E-3", "MV 1,0,0,3.6,1E-3", "MV 1,0,-0.6,1,1E-3",
    # Compliances
    "DV 1,0,0.2,2E-3", "DV 1,0,0.2,-2E-3", "WV 1,1,0,0,1,11,2E-3", "WSV 3,0,0,1,2E-3", "PV 1,0,0,1,2E-3",
    "PWV 1,1,0,0,0,1,11,2E-3", "MV 1,0,0,1,2E-3", "TDV 1,0,0.1,2E-3",
    # Current sources: the current, and the voltage that they go to at an open end
    "DI 1,0,2E-3,1", "DI 1,0,-2E-3,0.1", "DI 1,0,1E-6,4", "DI 1,0,-1E-6,1", "DI 1,0,1E-6", "DI 1,0,0,9",
    "DI 1,0,1E-6,-4", "DI 1,0,1E-6,1,1", "TDI 1,0,1E-6,4", "WI 1,1,0,0,1E-6,11,4", "WI 1,1,0,-1E-6,1E-6,11,1",
    "WI 1,1,0,0,2E-3,11,1", "WI 1,1,0,0,1E-6,11", "WSI 3,0,0,1E-6,3", "PI 1,0,0,1E-6,4", "PI 1,0,0,1E-6",
    "PWI 1,1,0,0,0,1E-6,11,4", "MI 1,0,0,1E-6,4", "MI 1,0,0,2E-3,1",
    # Channels that aren't wired
    "DV 4,0,0.1", "DV 401,0,0.1", "DI 4,0,1E-6,1", "WV 4,1,0,0,1,11,1E-3", "SPV 501,1,0,1", "SPV 603,1,0,0.1",
    "SER 701,50;SPV 701,0,0.2",
    # Pulse widths and edges
    "SPT 601,1,0,5E-9,2E-8", "SPT 601,1,0,0.1,2E-8", "SPT 601,1,0,1E-6,0.1", "SPT 601,1,0,1E-6,2E-8,0.1",
    "PT 0,0.5", "SPT 601,1,0", "SPT 601,1,0,1E-6", "PT 0",
    # The SPGU's load
    "SPV 601,1,0,1", "SPV 601,0,0.2", "*RST;SPV 601,1,0,1.8", "*RST;SPV 601,1,-0.3,1", "*RST;SPV 602,2,0,1.3",
    "SER 601,10;SPV 601,1,0,0.6", "SER 601,0.1;SPV 601,1,0,0.008", "SER 601,1000000;SPV 601,1,0,3.6",
    "SER 601,1000000;SPV 601,1,0,3;SER 601,50", "SER 601,1000000;SPV 601,0,3;SER 601,50",
    "SER 601,1000000;SPV 601,1,0,3;SER 6,50", "SER 601,1000000;SPV 601,1,0,3;*RST;SPV 601,2,0,3",
    "SER 601,0;SPV 601,1,0,1", "SER 601,0.05", "SER 601,2E6;SPV 601,1,0,3", "SER 601", "SER 601,high",
    # Spellings
    "dv 1,0,9", "Dv1,0,9", "DV1,0,9", "  DV   1 , 0 ,  9  ", "DV 1,0,9;", ";;DV 1,0,9", "*IDN?;DV 1,0,9",
    "DV 1,0,0;DV 1,0,9", "DV 1,0,0\nDV 1,0,9", "DV 1,0,0\r\nDV 1,0,9", "\nDV 1,0,9", "DV 101,0,9", "DV 01,0,9",
    "DV 0001,0,9", "DV 1,0,9E0", "DV 1,0,.9E1", "DV 1,0,+9.", "DV 1,0,90e-1", "DV 1,0,009", "DV 1,0,5000E-3",
    # What can't be understood
    "DV", "DV 1", "DV 1,0", "DV 1,0,", "DV 1,,5", "DV 1,5", "DV 1,0,,1E-3", "DV ,0,1", "DV X,0,1", "DV 1.5,0,1",
    "DV 1.0,0,1", "DV -1,0,1", "DV 1E0,0,1", "DV 99999,0,1", "DV 1,0,nan", "DV 1,0,inf", "DV 1,0,-inf",
    "DV 1,0,0x1", "DV 1,0,1_0", "DV 1,0,%R1", "DV 1,0,1V", "DV 1,0,1 5", "DV 1 0 1", "DV 1,0,٣", "DV 1,0,1E",
    "DV 1\t,0,1", "DV 1,0,1\0", "D V 1,0,1", ":DV 1,0,1", "@DV 1,0,1", "\"DV 1,0,1\"", "'", "9", "?", "DV? 1",
    "*DV 1,0,1", "DV*1,0,1", "SPV 601,1", "SPV 601,,0,1", "SPV 601,1,0,", "WV 1,1,0,0", "é",
    # Commands that drive and that the gate can't check, or that could do so later
    "LSV 1,0,0,1,0.1", "LSI 1,0,0,1E-6,1E-7,1", "LSSV 3,1,0.1", "LSSI 3,1,1E-7", "BSV 1,0,0,1", "BSI 1,0,0,1E-6,1",
    "BSSV 3,1,1", "BDV 1,0,0,1", "QSV 1,1,0,0,1,0.1,11", "QSZ 1", "WNX 2,1,1,0,0,1", "MCPNX 1,1,1,0,0,1",
    "MCPWNX 1,1,1,0,0,0,1", "MCPT 0", "MSP 1,9", "PDCV 1,0,1", "PWDCV 1,1,0,0,1,11", "DCV 1,1", "ACV 1,0.1",
    "WDCV 1,1,0,1,11", "WACV 1,1,0,1,11", "TDCV 1,1", "TACV 1,0.1", "SSP 9,4", "SIM 1", "SIM 1,0", "ALW 601,4,abcd",
    "ALS 601,4 abcd", "ST 1;DV 1,0,1;END", "DO 1", "RU 1,2", "VAR 1,1,9", "SCR", "ACH 1,4", "ACH", "ERC 2,1",
    "SAP 1,1", "HVSMUOP 1", "LIM 1,30", "TST?", "*TST?", "*CAL?", "DIAG? 1", "CORR? 9,1",
    "CORRSER? 601,1,0.01,0.001,10", "CORRSER? 601,0,0.01,0.001,10", "ADJ? 9", "XYZ 1", "DVX 1,0,1",
]  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_a_message_that_could_pass_a_limit_is_not_sent(message: str) -> None:
    driver, adapter, bench = analyzer()
    with pytest.raises(LimitError) as caught:
        driver.write(message)
    assert adapter.sent == []
    assert bench.fixture.forced == []
    assert "sent" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("message", REFUSED)
def test_raw_bytes_pass_the_same_gate(message: str) -> None:
    driver, adapter, _ = analyzer()
    with pytest.raises(LimitError):
        driver.write_bytes(message.encode())
    assert adapter.sent == []


ALLOWED = [
    "DV 1,0,3.5,1E-3", "dv 1,0,0.2", "DV101,0,-0.5", "DV 2, 0, 4.0, 0.001, 0, 0", "DV 3,12,2.5,1E-4", "DV 4,0,0",
    "TDV 1,0,0.2,1E-3", "WV 1,1,0,-0.5,3.5,101,1E-3", "WV1, 3, 0, 0, 1, 11, 0.001, 2", "WSV 3,0,0,2.5,1E-3",
    "PV 1,0,0,3,1E-3", "PWV 1,1,0,0,0,3.5,11", "MV 2,0,0,4,1E-3", "DI 1,0,1E-6,3.5", "DI 1,0,-1E-6,0.5",
    "DI 1,0,1E-6,-3", "DI 1,0,1E-6,0.4,1", "WI 1,1,0,0,1E-6,11,3", "MI 1,0,0,1E-6,1", "PT 0,0.001,0.01",
    "SPT 601,1,0,1E-8,8E-9", "SPT 602,1,0,0.01,2E-8,2E-8", "SIM 0", "SIM0", "SER 601,1000000;SPV 601,1,0,3.5",
    "*RST;SPV 601,1,0,1.7", "SER 6,1E6;SPV 601,1,0,3", "SPV 601,1,0,0", "SPV 601,0,0", "SPV 501,1,0,0",
    "SER 501,50", "SER 601,1000000;SPV 601,1,0,1;SER 601,50", "SER 602,1E6;SPV 602,1,-0.4,2.4;SPV 602,0,0",
    "CN 1,2,3,601", "CNX 1", "CL", "DZ", "DZ 1", "RZ", "IN", "AB", "*RST", "*IDN?", "*LRN? 31", "*LRN?31", "*OPC?",
    "ERRX?", "ERR? 1", "UNT?", "FMT 21,0", "MM 2, 1, 2", "XE", "TI 1,0", "TI1", "TV 2", "TIV 1,0,0", "TSR", "TSQ",
    "AAD 1,1", "AIT 0, 3, 0.02", "AV -5", "AZ 0", "CMM 1, 0", "RI 1,-16", "RV 1,11", "RM 1, 2, 50", "SSR 1, 0",
    "FL 0, 1", "PAD 1", "CM 0", "TM 1", "TSC 1", "WAT 1, 1.0, 0", "PA 0.1", "WT 0,0,0,0,0", "WM 1, 2",
    "MT 0,0.1,10", "ML 1", "MSC 1,1", "BC", "SPRM 1,100", "SPPER 1E-6", "SPM 601,1", "SPUPD 601,602", "SRP", "SPP",
    "SPST?", "SPV? 601,1", "SPT? 601,1", "SER? 601", "ODSW 601,1", "STGP 601,1", "ERMOD 1;ERSSP 0,2", "ERSSP? 0",
    "LOP?", "NUB?", "*STB?", "*SRE 32", "", " ", ";", "\r\n",
]  # fmt: skip


@pytest.mark.parametrize("message", ALLOWED)
def test_what_lies_within_the_limits_passes(message: str) -> None:
    driver, adapter, _ = analyzer()
    driver.write(message)
    assert adapter.sent == [message]


def test_a_refused_message_changes_nothing_of_what_the_gate_knows() -> None:
    checked = gate("*RST")
    with pytest.raises(LimitError):
        checked("SER 601,1000000;SPV 601,1,0,9")
    with pytest.raises(LimitError):
        checked("SPV 601,1,0,3")  # the load is still 50 ohm
    checked("SPV 601,1,0,1.7")


def test_a_load_counts_from_message_to_message_and_by_channel() -> None:
    checked = gate(HIGH_Z, "SPV 601,1,0,3")
    checked("SPV 602,1,0,2.4")
    with pytest.raises(LimitError, match="bit line: 6 V"):
        checked("SER 601,50")
    checked("SPV 601,1,0,1.7")
    checked("SER 601,50")
    with pytest.raises(LimitError, match=r"bit line: 3\.6 V"):
        checked("SPV 601,1,0,1.8")
    checked("SPV 602,1,0,2.4")


def test_an_unknown_load_is_asked_for() -> None:
    with pytest.raises(LimitError, match="Send SER 601,1000000 first"):
        gate()("SPV 601,1,0,0.1")


def test_a_lab_may_stand_more() -> None:
    checked = FlexGate(Limits().with_ranges(bit_line=Range(-6.0, 6.0)), {1: "bit_line"})
    checked("DV 1,0,6")
    with pytest.raises(LimitError, match=r"6\.1 V is outside"):
        checked("DV 1,0,6.1")


# pymeasure's own methods, on our driver


def smu(driver: B1500A, number: int = 1) -> Any:
    driver.initialize_all_smus()
    return getattr(driver, f"smu{number}")


def spgu(driver: B1500A) -> Any:
    driver.initialize_all_spgus()
    return driver.spgu6


PYMEASURE: list[tuple[str, Callable[[B1500A], Any]]] = [
    ("force volts", lambda d: smu(d).force("voltage", 0, 3.6, 1e-3)),
    ("force volts without compliance", lambda d: smu(d).force("voltage", "Auto Ranging", 40)),
    ("force too much compliance", lambda d: smu(d).force("voltage", 0, 0.1, 0.1)),
    ("force amps", lambda d: smu(d).force("current", 0, 1e-6, 20)),
    ("force amps without compliance", lambda d: smu(d).force("current", 0, 1e-6)),
    ("ramp", lambda d: smu(d).ramp_source("voltage", 0, 5, 1e-3, stepsize=0.5)),
    ("unwired", lambda d: smu(d, 4).force("voltage", 0, 0.1, 1e-3)),
    ("sweep", lambda d: smu(d).staircase_sweep_source("voltage", SweepMode.LINEAR_SINGLE, 0, 0, 4, 11, 1e-3)),
    ("sweep amps", lambda d: smu(d).staircase_sweep_source("current", SweepMode.LINEAR_SINGLE, 0, 0, 1e-5, 11, 10)),
    ("synchronous", lambda d: smu(d, 3).synchronous_sweep_source("voltage", 0, 0, 3, 1e-3)),
    ("sampling", lambda d: smu(d, 2).sampling_source("voltage", 0, 0, -1, 1e-3)),
    ("cv", lambda d: smu(d).set_cv_parameters(SweepMode.LINEAR_SINGLE, 0, 1, 11)),
    ("pulse before its load", lambda d: spgu(d).ch1.set_output_voltage(1, 0, 1.0)),
    ("pulse height", lambda d: (d.write(HIGH_Z), spgu(d).ch1.set_output_voltage(1, 0, 4.0))),
    ("pulse into 50 ohm", lambda d: (d.reset(), spgu(d).ch1.set_output_voltage(1, 0, 2.0))),
    ("pulse width", lambda d: spgu(d).ch1.set_pulse_timings(1, 0, 1.0, 2e-8)),
    ("waveforms", lambda d: setattr(spgu(d), "operation_mode", 1)),
]  # fmt: skip


@pytest.mark.parametrize("call", [c for _, c in PYMEASURE], ids=[n for n, _ in PYMEASURE])
def test_pymeasures_methods_cannot_pass_a_limit(call: Callable[[B1500A], Any]) -> None:
    driver, adapter, bench = analyzer()
    driver.write("CN 1,2,3,4,601,602")
    bench.fixture.forced.clear()
    with pytest.raises(LimitError):
        call(driver)
    assert all(abs(volts or 0) <= 3.5 for _, volts in bench.fixture.forced)
    assert bench.fixture.pulses == []
    assert adapter.unread == b""


def test_pymeasures_methods_work_within_the_limits() -> None:
    driver, _, bench = analyzer()
    driver.reset()
    one = smu(driver)
    one.enable()
    driver.check_errors()
    driver.data_format(21, mode=1)
    driver.meas_mode(MeasMode.STAIRCASE_SWEEP, one)
    one.meas_op_mode = MeasOpMode.COMPLIANCE_SIDE
    one.adc_type = ADCType.HSADC
    driver.adc_setup(ADCType.HSADC, ADCMode.AUTO, 1)
    driver.adc_averaging(2, "Auto")
    driver.adc_auto_zero = False
    driver.time_stamp = False
    driver.auto_calibration = False
    driver.parallel_meas = False
    driver.wait_time("SMU_SOURCE", 1, 0)
    driver.control_mode = ControlMode.SMU_PGU_SELECTOR
    one.filter = True
    one.series_resistor = False
    one.meas_range_current_auto(2, 50)
    one.staircase_sweep_source("voltage", SweepMode.LINEAR_SINGLE, 0, 0, 1, 5, 1e-3)
    driver.sweep_timing(0, 0)
    driver.sweep_auto_abort(False)
    driver.send_trigger()
    data = driver.read_data(5)
    assert data.iloc[-1, 0] == pytest.approx(1e-4, rel=0.01)  # 1 V at the panel's 10 kohm
    one.ramp_source("voltage", 0, 0.5, 1e-3, stepsize=0.1, pause=0.01)
    assert bench.fixture.sources[1] == (0.5, 1e-3)
    pulser = spgu(driver)
    pulser.period = 1e-5
    pulser.set_output_mode(1, 2)
    channel = pulser.ch1
    channel.enabled = True
    channel.load_impedance = 1e6
    channel.output_mode = 1
    channel.set_pulse_timings(1, 0, 1e-6, 2e-8)
    channel.set_output_voltage(1, 0, 2.5)
    channel.apply_setup()
    pulser.output = True
    assert bench.fixture.pulses[-1][0][601].peak == pytest.approx(2.5, rel=1e-3)
    one.force_gnd()
    driver.force_gnd()
    one.disable()
    driver.check_errors()


def test_the_drivers_own_drives_pass_the_gate_and_are_stopped_by_it() -> None:
    driver, _, bench = analyzer()
    driver.force_voltage(1, 0.2, 1e-4)
    assert driver.spot_current(1).current == pytest.approx(20e-6, rel=0.01)
    driver.pulse_setup(601, 0.0, 2.5, 1e-6)
    driver.fire([601])
    assert len(bench.fixture.pulses) == 1
    driver.pulse_setup(601, 0.0, 3.6, 1e-6)
    with pytest.raises(LimitError, match=r"bit line: 3\.6 V"):
        driver.fire([601])
    driver.pulse_setup(601, 0.0, 1.0, 0.02)
    with pytest.raises(LimitError, match="pulse width"):
        driver.fire([601])
    with pytest.raises(LimitError, match="bit line"):
        driver.force_voltage(1, 4.0, 1e-4)
    assert len(bench.fixture.pulses) == 1
    assert driver.safe() == []
    assert bench.fixture.sources == {}


# Whatever is thrown at it

SMUS, PGUS = st.sampled_from([1, 2, 3, 4]), st.sampled_from([601, 602])
NOTATIONS = ("{:.9G}", "{:.9f}", "{:e}", "{:+.6f}", "{}")
VOLTS = st.sampled_from([n.format(v) for v in (0.0, 0.2, 1.0, 1.8, 2.6, 3.4, 3.6, 4.1, -0.4, -0.6) for n in NOTATIONS])
AMPS = st.sampled_from([n.format(v) for v in (0.0, 1e-6, -1e-6, 5e-4, 2e-3) for n in NOTATIONS])


WORK = [
    "CN", "CN", "SPUPD 601", "SPUPD 602", "SRP", "XE", "MM 2,1", "MM 3,1", "MM 10,2", "SPM 601,1", "SPM 602,1", "DZ",
    "RZ", "*RST", "SIM 0",
]  # fmt: skip
SMU_SOURCES = [
    ("D", "0", 1),
    ("TD", "0", 1),
    ("W", "1,0", 2),
    ("WS", "0", 2),
    ("P", "0", 2),
    ("PW", "1,0", 3),
    ("M", "0", 2),
]
"""Header without its V or I, what stands before the levels, and how many levels there are."""


@st.composite
def sources(draw: st.DrawFn) -> str:
    """A command that tells a channel what to put out, with numbers of its kind in any notation."""
    volts, amps = lambda: draw(VOLTS), lambda: draw(AMPS)
    if draw(st.booleans()):
        pgu = draw(PGUS)
        kind = draw(st.sampled_from(["both", "both", "back", "SPV", "DC", "SPT"]))
        load = f"SER {pgu},{draw(st.sampled_from(['1000000', '1E6', '50', '10', '2E6', '0.01']))}"
        pulse = f"SPV {pgu},1,{volts()},{volts()}"
        if kind in ("both", "back", "SPV"):
            return {"both": f"{load};{pulse}", "back": f"{pulse};{load}", "SPV": pulse}[kind]
        if kind == "DC":
            return f"SPV {pgu},0,{volts()};SPM {pgu},0"
        return f"SPT {pgu},1,0,{draw(st.sampled_from(['1E-6', '5E-4', '0.02', '2E-8']))},2E-8"
    smu, kind = draw(SMUS), draw(st.sampled_from("VVI"))
    level, limit = (volts, amps) if kind == "V" else (amps, volts)
    name, prefix, levels = draw(st.sampled_from(SMU_SOURCES))
    values = [level() for _ in range(levels)]
    steps = ["3"] if name in ("W", "PW") else []
    tail = draw(st.sampled_from([[limit()], [limit()], [limit()], [], [limit(), "1"]]))
    return ",".join([f"{name}{kind} {smu}", prefix, *values, *steps, *tail])


@st.composite
def messages(draw: st.DrawFn) -> str:
    """Sources and what sets them to work, joined and spelled as people and programs do."""
    work = st.sampled_from(WORK)
    parts = draw(st.lists(st.one_of(sources(), sources(), work), min_size=1, max_size=3))
    text = draw(st.sampled_from([";", ";", " ; ", "\r\n", "\n"])).join(parts)
    slip = draw(st.sampled_from(["", "", "", "lower", "spaces", "short", "subchannel", "slot", "gap"]))
    return {
        "lower": text.lower(),
        "spaces": text.replace(",", " , "),
        "short": text.rpartition(",")[0] or text,
        "subchannel": text.replace("V 1,", "V 101,").replace("V 2,", "V 02,"),
        "slot": text.replace(" 601,", " 6,"),
        "gap": text.replace(",0,", ",,", 1),
    }.get(slip, text)


@settings(max_examples=250)
@given(st.lists(messages(), min_size=3, max_size=8))
def test_no_message_that_passes_drives_a_line_beyond_its_limits(sequence: list[str]) -> None:
    bench = FakeBench()
    panel = B1500APanel(bench, {})  # type: ignore[arg-type]  # a stand-in
    checked, limits = gate(), Limits()
    panel.handle(b"CN;MM 2,1;MT 0,0.01,2;SPM 601,1;SPM 602,1;SPRM 1,1;SPPER 1E-1")
    for message in sequence:
        try:
            checked(message)
        except LimitError:
            continue
        for line in message.splitlines():  # what ends a message on the bus
            panel.handle(line.encode())
        for work in (b"SPUPD 601", b"SPUPD 602", b"SRP", b"XE"):
            panel.handle(work)
    lines = {**CHANNELS, 4: None}
    for channel, volts in bench.fixture.forced:
        check_level(limits, lines[channel], volts or 0.0)
    for shapes, _, _ in bench.fixture.pulses:
        for channel, shape in shapes.items():
            check_level(limits, lines[channel], shape.base)
            check_level(limits, lines[channel], shape.peak)
            limits.pulse_width.check(shape.width, "width")


def check_level(limits: Limits, line: str | None, volts: float) -> None:
    if line is None:
        assert volts == 0.0
        return
    allowed: Range = getattr(limits, line)
    assert allowed.low * 1.0001 - 1e-6 <= volts <= allowed.high * 1.0001 + 1e-6  # 50 ohm against 1 Mohm


@given(st.text(max_size=40))
def test_no_text_does_anything_but_pass_or_be_refused(text: str) -> None:
    bench = FakeBench()
    panel = B1500APanel(bench, {})  # type: ignore[arg-type]  # a stand-in
    try:
        gate()(text)
    except LimitError:
        return
    panel.handle(text.encode("ascii", "replace"))
    assert all(not volts for _, volts in bench.fixture.forced)


def test_a_slip_of_the_pen_is_no_limit() -> None:
    with pytest.raises(ConfigError, match="no 1T1R cell stands more than 10 V"):
        Limits.from_mapping({"bit_line": ["-0.5 V", 3500]})
