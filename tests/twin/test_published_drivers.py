"""Drivers that others published for these instruments, unmodified, against the twin: values right, error paths right.

Beside pymeasure these are QCoDeS (its B1500 driver) and tm_devices (Tektronix's own); they are skipped where they are
not installed. pymeasure's analyzer driver has most of its tests in test_b1500a_panel.py.
"""

import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvisa
from pymeasure.adapters import VISAAdapter
from pymeasure.instruments.agilent import AgilentB1500
from pymeasure.instruments.keysight import KeysightDSOX1102G
from twin.fakes_scope import ADDRESSES, WAVES, open_bench

from instruments.twin.visa import TwinVisaLibrary

GPIB = "GPIB0::17::INSTR"
CELL = (0, 1, 2)
FILE = """
spec: "1.1"
bench:
  {{preset: ideal, arrays: "1", rows: "4", cols: "4",
    wiring: {{bit_line: {{smu: "1"}}, source_line: {{smu: "3"}}, word_line: {{smu: "2"}}}}}}
devices:
  b1500a:
    eom: {{GPIB INSTR: {{q: "\\r\\n", r: "\\r\\n"}}}}
    error: ERROR
    handler: "instruments.twin.panels.b1500a:B1500APanel"
    options: {{modules: "{modules}"}}
    timing: {{message: 5 ms, byte: 1 us}}
resources:
  {address}: {{device: b1500a}}
"""


@pytest.fixture
def analyzer(tmp_path: Path) -> Iterator[tuple[Path, TwinVisaLibrary]]:
    """A bench file with an analyzer that has no SPGU (QCoDeS knows none), its cell selected; and the library."""
    path = tmp_path / "bench.yaml"
    path.write_text(FILE.format(modules="B1517A,B1517A,B1517A,B1511B,0,0,B1530A,0,0,0", address=GPIB))
    manager = pyvisa.ResourceManager(f"{path}@twin")
    manager.visalib.bench.fixture.connect("program", *CELL)
    yield path, manager.visalib
    manager.close()


def conductance(library: TwinVisaLibrary) -> float:
    return float(library.bench.true_conductance()[CELL])


# The analyzer


def test_pymeasure_reads_a_cell_and_raises_what_the_analyzer_refuses(analyzer: tuple[Path, TwinVisaLibrary]) -> None:
    _, library = analyzer
    b1500 = AgilentB1500(VISAAdapter(GPIB, visa_library=library, read_termination="\r\n", write_termination="\r\n"))
    b1500.initialize_all_smus()
    b1500.data_format(21, mode=1)
    for smu, volts in ((b1500.smu1, 0.2), (b1500.smu2, 1.4), (b1500.smu3, 0.0)):
        smu.enable()
        smu.force("Voltage", "Auto Ranging", volts, 1e-3)
    b1500.meas_mode("SPOT", b1500.smu1, b1500.smu3)
    b1500.send_trigger()
    b1500.check_idle()
    data = b1500.read_channels(2)
    b1500.adapter.flush_read_buffer()  # its driver leaves a line feed unread
    by_channel = {item[1]: item[3] for item in data}
    assert by_channel["SMU1"] == pytest.approx(0.2 * conductance(library), rel=0.01)
    assert by_channel["SMU3"] == pytest.approx(-0.2 * conductance(library), rel=0.01)
    assert b1500.smu1.status["SMU1"]["Voltage Output (V)"] == "+200.000E-03"
    with pytest.raises(OSError, match="Compliance must be set correctly"):
        b1500.smu1.force("Voltage", "Auto Ranging", 10.0, 5.0)
    with pytest.raises(OSError, match="output switch must be ON"):
        b1500.smu4.force("Voltage", "Auto Ranging", 0.1, 1e-3)
    b1500.check_errors()


@pytest.fixture
def qcodes_b1500(analyzer: tuple[Path, TwinVisaLibrary]) -> Iterator[Any]:
    pytest.importorskip("qcodes", reason="QCoDeS is not installed")
    from qcodes.instrument_drivers.Keysight.keysightb1500 import KeysightB1500, constants

    spa = KeysightB1500("spa", GPIB, visalib=f"{analyzer[0]}@twin")
    spa.enable_channels()
    for smu, volts in ((spa.smu1, 0.2), (spa.smu2, 1.4), (spa.smu3, 0.0)):
        smu.source_config(constants.VOutputRange.AUTO, 1e-3)
        smu.voltage(volts)
    yield spa
    spa.close()


def test_qcodes_finds_modules_and_reads_spots(qcodes_b1500: Any, analyzer: tuple[Path, TwinVisaLibrary]) -> None:
    spa = qcodes_b1500
    assert {int(slot): type(module).__name__ for slot, module in spa.by_slot.items()} == {
        1: "KeysightB1517A", 2: "KeysightB1517A", 3: "KeysightB1517A", 4: "KeysightB1511B", 7: "KeysightB1530A",
    }  # fmt: skip
    assert spa.get_idn()["model"] == "B1500A"
    spa.use_nplc_for_high_speed_adc(1)
    assert spa.smu1.current() == pytest.approx(0.2 * conductance(analyzer[1]), rel=0.005)
    assert spa.smu1.current.measurement_status.name == "N"
    assert spa.smu1.voltage() == pytest.approx(0.2, abs=1e-3)
    assert spa.smu1.is_enabled()
    spa.disable_channels([1])
    assert not spa.smu1.is_enabled()


def test_qcodes_sees_compliance(qcodes_b1500: Any) -> None:
    from qcodes.instrument_drivers.Keysight.keysightb1500 import constants

    smu = qcodes_b1500.smu1
    smu.source_config(constants.VOutputRange.AUTO, 1e-6)
    smu.voltage(0.2)
    assert smu.current() == pytest.approx(1e-6, rel=0.01)
    assert smu.current.measurement_status.name == "C"


def test_qcodes_sweeps(qcodes_b1500: Any, analyzer: tuple[Path, TwinVisaLibrary]) -> None:
    from qcodes.instrument_drivers.Keysight.keysightb1500 import constants

    spa, smu = qcodes_b1500, qcodes_b1500.smu1
    smu.setup_staircase_sweep(v_start=0, v_end=0.2, n_steps=5, av_coef=1)
    smu.iv_sweep.hold_time(0.02)
    smu.iv_sweep.sweep_mode(constants.SweepMode.LINEAR_TWO_WAY)
    spa.set_measurement_mode(constants.MM.Mode.STAIRCASE_SWEEP, channels=[1, 3])
    spa.run_iv_staircase_sweep.set_names_labels_and_units(["forward", "back"])
    forward, back = spa.run_iv_staircase_sweep.get()
    volts = [0.0, 0.05, 0.1, 0.15, 0.2, 0.2, 0.15, 0.1, 0.05, 0.0]
    assert spa.run_iv_staircase_sweep.source_voltage.value == pytest.approx(volts)
    assert forward == pytest.approx(np.array(volts) * conductance(analyzer[1]), abs=10e-9)
    assert back == pytest.approx(-np.array(volts) * conductance(analyzer[1]), abs=10e-9)
    assert smu.iv_sweep.sweep_steps() == 5
    assert smu.iv_sweep.hold_time() == 0.02
    assert spa.get_measurement_mode()["channels"] == [1, 3]


def test_qcodes_samples(qcodes_b1500: Any, analyzer: tuple[Path, TwinVisaLibrary]) -> None:
    from qcodes.instrument_drivers.Keysight.keysightb1500 import constants

    smu = qcodes_b1500.smu1
    smu.use_high_resolution_adc()
    smu.timing_parameters(0.0, 0.1, 12)
    smu.measurement_mode(constants.MM.Mode.SAMPLING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # QCoDeS reckons its time-out with a coefficient it hasn't set
        trace = smu.sampling_measurement_trace.get()
    assert len(trace) == 12
    assert trace == pytest.approx(0.2 * conductance(analyzer[1]), rel=1e-3)


def test_qcodes_raises_what_the_analyzer_refuses(qcodes_b1500: Any) -> None:
    with pytest.raises(RuntimeError, match=r'\+100,"Undefined GPIB command'):
        qcodes_b1500.write("FOO")
    with pytest.raises(RuntimeError, match=r'\+120,"Incorrect parameter value'):
        qcodes_b1500.smu1.voltage(200.0)
    assert qcodes_b1500.error_message() == '+0,"No Error."'
    assert int(qcodes_b1500.self_calibration()) == 0
    qcodes_b1500.reset()
    assert not qcodes_b1500.smu1.is_enabled()


# Oscilloscopes


def test_pymeasures_oscilloscope_driver_downloads_waveform_and_image(tmp_path: Path) -> None:
    bench, manager = open_bench(tmp_path)
    with pytest.warns(FutureWarning, match="SCPI"):
        scope = KeysightDSOX1102G(VISAAdapter(ADDRESSES["infiniivision"], visa_library=manager.visalib))
    scope.factory_reset()
    scope.timebase_setup(scale=0.12, offset=0.6, horizontal_range=1.2, mode="main")
    scope.ch1.setup(
        bwlimit=False, coupling="dc", display=True, invert=False, label="xout", offset=0, probe_attenuation=1,
        vertical_range=4, scale=None,
    )  # fmt: skip
    assert scope.ch1.current_configuration["RANG"] == 4.0
    assert scope.ch1.label == '"XOUT"'
    scope.write(":TRIGger:SWEep NORMal;:TRIGger:EDGE:SOURce EXTernal;LEVel 1.5,EXTernal")
    for kind in ("average", "peak", "hresolution", "normal"):
        scope.acquisition_type = kind
        assert scope.acquisition_type == kind
    bench.run(0.7)  # longer than it takes to fill the part of the record before the trigger
    scope.digitize("channel1")
    data, preamble = scope.download_data("channel1", 1000)
    assert preamble["points"] == len(data) == 1000
    times = preamble["xorigin"] + preamble["xincrement"] * np.arange(1000)
    amplitude, frequency, offset = WAVES["x"]
    inside = (times >= 0) & (times <= 1.2)
    wanted = amplitude * np.sin(2 * np.pi * frequency * times) + offset
    assert data[inside] == pytest.approx(wanted[inside], abs=4 / 199 + 5 * 0.003 * 4)
    image = bytes(scope.download_image(format_="png", color_palette="color"))
    assert image[:8] == b"\x89PNG\r\n\x1a\n"
    assert _picture(image).shape == (480, 800, 3)
    # Its `next_error` gives what the instrument's queue holds.
    scope.write(":CHANnel1:RANGe 1e9;:NOSUCH 1")
    assert [scope.next_error[0] for _ in range(3)] == [-222.0, -113.0, 0.0]
    manager.close()


def _picture(image: bytes) -> np.ndarray:
    import matplotlib.image

    return np.asarray(matplotlib.image.imread(io.BytesIO(image), format="png"))


MEASUREMENTS = {"FREQuency": 3.0, "PERiod": 1 / 3, "VPP": 2.0, "VAMPlitude": 2.0, "VMAX": 1.0, "VMIN": -1.0}


def test_the_programming_guides_session_measures_what_is_there(tmp_path: Path) -> None:
    bench, manager = open_bench(tmp_path)
    scope = manager.open_resource(ADDRESSES["infiniivision"], read_termination="\n", write_termination="\n")
    scope.write("*RST;:TIM:RANG 1.2;:TIM:REF LEFT;:CHAN1:RANG 4")
    scope.write(":TRIG:SWE NORM;:TRIG:EDGE:SOUR EXT;:TRIG:EDGE:LEV 1.5,EXT")
    assert scope.query(":MEASure:VPP? CHANnel1") == "+9.9E+37"
    scope.write(":SINGle")
    bench.run(0.3)  # a tenth of the record lies before the trigger
    bench.clock.sleep(2.0)
    scope.write(":MEASure:SOURce CHANnel1")
    assert scope.query(":MEASure:SOURce?") == "CHAN1,CHAN2"
    for name, value in MEASUREMENTS.items():
        scope.write(f":MEASure:{name}")
        assert float(scope.query(f":MEASure:{name}?")) == pytest.approx(value, rel=0.05)
    results = scope.query(":MEASure:RESults?").split(",")
    assert len(results) == 7 * len(MEASUREMENTS)
    assert results[0::7] == ["FREQ(1)", "PER(1)", "VPP(1)", "VAMP(1)", "VMAX(1)", "VMIN(1)"]
    assert float(scope.query(":MEASure:VRMS? DISPlay,AC,CHANnel1")) == pytest.approx(0.5**0.5, rel=0.05)
    scope.write(":CHANnel2:DISPlay ON")
    scope.write(":SINGle")
    bench.run(0.3)  # a tenth of the record lies before the trigger
    bench.clock.sleep(2.0)
    scope.write(":FUNCtion:OPERation ADD;:FUNCtion:SOURce1 CHANnel1;SOURce2 CHANnel2")
    assert float(scope.query(":MEASure:VAVerage? FUNCtion")) == pytest.approx(0.2, abs=0.08)
    scope.write(":WAVeform:FORMat WORD;POINts 1000;SOURce MATH")
    shown = [float(v) for v in scope.query(":WAVeform:PREamble?").split(",")]
    codes = scope.query_binary_values(":WAVeform:DATA?", datatype="H", is_big_endian=True, container=np.array)
    volts = (codes - shown[9]) * shown[7] + shown[8]
    assert volts.mean() == pytest.approx(0.2, abs=0.08)
    assert np.ptp(volts) > 2.5  # both of them, out of step
    assert scope.query(":SYSTem:ERRor?") == '+0,"No error"'
    manager.close()


def test_setups_are_stored_in_the_instrument(tmp_path: Path) -> None:
    _, manager = open_bench(tmp_path)
    scope = manager.open_resource(ADDRESSES["infiniivision"], read_termination="\n", write_termination="\n")
    scope.write(":CHANnel1:RANGe 2;:SAVE:SETup 3;*RST")
    assert float(scope.query(":CHANnel1:RANGe?")) == 8.0
    scope.write(":RECall:SETup 3")
    assert float(scope.query(":CHANnel1:RANGe?")) == 2.0
    scope.write(":RECall:SETup 4")
    assert scope.query(":SYSTem:ERRor?").startswith("-221")
    manager.close()


TEK = "TCPIP0::192.168.1.21::inst0::INSTR"


def tm_devices_quiet() -> Any:
    """The package without its log files, which it would leave in the folder that the tests are run from."""
    package = pytest.importorskip("tm_devices", reason="tm_devices is not installed")
    quiet = {"log_console_level": "NONE", "log_file_level": "NONE", "log_uncaught_exceptions": False}
    package.helpers.configure_logging(**quiet)
    return package


@pytest.fixture
def tm_scope(tmp_path: Path) -> Iterator[tuple[Any, Any]]:
    """tm_devices' own object for the scope, found by a bench file's name; and the bench."""
    tm_devices = tm_devices_quiet()
    from twin.fakes_scope import YAML

    path = tmp_path / "scopes.yaml"
    path.write_text(YAML.replace("devices:", 'bench: {preset: ideal, arrays: "1", rows: "2", cols: "2"}\ndevices:', 1))
    manager = pyvisa.ResourceManager(f"{path}@twin")
    with tm_devices.DeviceManager(verbose=False) as devices:
        devices.visa_library = f"{path}@twin"
        yield devices.add_scope(TEK), manager.visalib
    manager.close()


def test_tm_devices_drives_the_scope(tm_scope: tuple[Any, Any], tmp_path: Path) -> None:
    scope, library = tm_scope
    assert type(scope).__name__ == "MSO5"
    assert [probe.probe.probe_id_type for probe in scope.channel.values()] == ["1X"] * 4
    assert scope.check_visa_connection()
    commands = scope.commands
    commands.acquire.mode.write("HIRES", verify=True)
    commands.ch[1].scale.write(0.2, verify=True)
    commands.horizontal.recordlength.write(2000, verify=True)
    scope.turn_channel_off("CH2")
    scope.turn_channel_on("CH2")
    scope.single_sequence()
    library.bench.clock.sleep(1.0)
    curve = scope.curve_query(1)
    assert len(curve) == 2000
    assert abs(np.mean(curve)) < 3  # nothing runs: 0 V
    scope.add_new_measurement("MEAS1", "FREQUENCY", "CH1")
    scope.add_measurement(2)
    scope.delete_measurement(1)
    assert float(scope.query("MEASUREMENT:MEAS2:RESULTS:CURRENTACQ:MEAN?")) == pytest.approx(0.0, abs=1.0)
    scope.save_screenshot("screen.png", local_folder=tmp_path)
    assert _picture((tmp_path / "screen.png").read_bytes()).shape == (480, 800, 3)
    scope.write("*CLS")
    assert scope.expect_esr(0)
    scope.reset()
    commands.acquire.mode.write("SAMPLE", verify=True)  # replies have no headers after a reset either


def test_tm_devices_sees_errors(tm_scope: tuple[Any, Any]) -> None:
    scope, _ = tm_scope
    scope.write("*CLS")
    scope.write("NOSUCH 1")
    assert scope.get_errors() == (32, ('113,"Undefined header; NOSUCH"',))
    scope.write("CH1:SCAle 1e9")
    scope.write("CH1:COUPling XYZ")
    register, events = scope.get_errors()
    assert register == 16
    assert [event.partition(",")[0] for event in events] == ["222", "224"]
    assert scope.expect_esr(0)


# The same over the network


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Any]:
    """A bench of an analyzer and an oscilloscope, served by a thread."""
    from twin.fakes_scope import YAML
    from twin.test_serving import Served

    path = tmp_path / "bench.yaml"
    analyzer, resource = FILE.format(modules="B1517A,B1517A,B1517A,0,0,0,0,0,0,0", address=GPIB).split("resources:")
    scopes, more = YAML.partition("devices:")[2].split("resources:")
    path.write_text(f"{analyzer}{scopes.strip(chr(10))}\nresources:{resource}{more.strip(chr(10))}\n")
    bench = Served(str(path))
    yield bench
    bench.close()


def test_qcodes_runs_over_the_network(served: Any) -> None:
    pytest.importorskip("qcodes", reason="QCoDeS is not installed")
    from qcodes.instrument_drivers.Keysight.keysightb1500 import KeysightB1500, constants

    address = f"TCPIP0::127.0.0.1::{served.offers[GPIB].port}::SOCKET"
    bench = served.server.library.bench
    served.call(lambda: bench.fixture.connect("program", *CELL))
    spa = KeysightB1500("far", address, visalib="@py")
    try:
        spa.enable_channels()
        for smu, volts in ((spa.smu1, 0.2), (spa.smu2, 1.4), (spa.smu3, 0.0)):
            smu.source_config(constants.VOutputRange.AUTO, 1e-3)
            smu.voltage(volts)
        spa.use_nplc_for_high_speed_adc(1)
        expected = 0.2 * float(served.call(bench.true_conductance)[CELL])
        assert spa.smu1.current() == pytest.approx(expected, rel=0.005)
        with pytest.raises(RuntimeError, match=r'\+100,"Undefined GPIB command'):
            spa.write("FOO")
    finally:
        spa.close()


# A raw socket has no serial poll and no clear; tm_devices says so of a real instrument, too.
@pytest.mark.filterwarnings("ignore:A VISA IO error occurred when attempting:UserWarning")
def test_tm_devices_runs_over_the_network(served: Any) -> None:
    tm_devices = tm_devices_quiet()
    port = served.offers[TEK].port
    with tm_devices.DeviceManager(verbose=False) as devices:
        devices.visa_library = "@py"
        scope = devices.add_scope("127.0.0.1", connection_type="SOCKET", port=port)
        assert type(scope).__name__ == "MSO5"
        scope.commands.horizontal.recordlength.write(1250, verify=True)
        scope.single_sequence()
        assert scope.commands.opc.query() == "1"
        assert len(scope.curve_query(1)) == 1250
        scope.write("*CLS;NOSUCH 1")
        assert scope.get_errors() == (32, ('113,"Undefined header; NOSUCH"',))


# Sessions as the makers' programming guides show them, in their own spelling

KEYSIGHT_SESSION = """
*CLS|*IDN?|*RST|:AUToscale|:TRIGger:MODE EDGE|:TRIGger:MODE?|:TRIGger:EDGE:SOURce CHANnel1|:TRIGger:EDGE:SOURce?
:TRIGger:EDGE:LEVel 1.5|:TRIGger:EDGE:LEVel?|:TRIGger:EDGE:SLOPe POSitive|:TRIGger:EDGE:SLOPe?|:CHANnel1:SCALe 0.05
:CHANnel1:SCALe?|:CHANnel1:OFFSet -1.5|:CHANnel1:OFFSet?|:TIMebase:SCALe 0.0002|:TIMebase:SCALe?|:TIMebase:POSition 0.0
:TIMebase:POSition?|:ACQuire:TYPE NORMal|:ACQuire:TYPE?|:DIGitize CHANnel1|:MEASure:SOURce CHANnel1|:MEASure:SOURce?
:MEASure:FREQuency|:MEASure:FREQuency?|:MEASure:VAMPlitude|:MEASure:VAMPlitude?|:HARDcopy:INKSaver OFF
:WAVeform:POINts:MODE RAW|:WAVeform:POINts:MODE?|:WAVeform:POINts 10240|:WAVeform:POINts?|:WAVeform:SOURce CHANnel1
:WAVeform:SOURce?|:WAVeform:FORMat BYTE|:WAVeform:FORMat?|:WAVeform:PREamble?|:WAVeform:XINCrement?|:WAVeform:XORigin?
:WAVeform:YINCrement?|:WAVeform:YORigin?|:WAVeform:YREFerence?|:OPERegister:CONDition?|:ACQuire:COUNt 16|:ACQuire:COUNt?
:ACQuire:TYPE AVERage|:CHANnel2:PROBe 10|:CHANnel2:PROBe?|:CHANnel1:LABel "A"|:DISPlay:LABel ON|:DISPlay:LABel?
:TRIGger:SWEep?|:TRIGger:HOLDoff?|*OPC?|*OPT?|*TST?|:SYSTem:DSP "hello"|:MARKer:MODE MANual|:MARKer:X1Position 1E-3
:MARKer:XDELta?|:TIMebase:REFerence LEFT|:ACQuire:SRATe?|:ACQuire:POINts?|:STATus? CHANnel1|:BLANk CHANnel2
:VIEW CHANnel2
"""
TEKTRONIX_SESSION = """
*cls|*idn?|*rst|*opc?|header 0|autoset EXECUTE|*opc?|horizontal:recordlength 1000|horizontal:recordlength?
data:encdg SRIBINARY|data:source CH1|data:start 1|data:stop 1000|wfmoutpre:byt_n 1|acquire:state 0
acquire:stopafter SEQUENCE|acquire:state 1|*opc?|wfmoutpre:xincr?|wfmoutpre:xzero?|wfmoutpre:pt_off?|wfmoutpre:ymult?
wfmoutpre:yoff?|wfmoutpre:yzero?|wfmoutpre:nr_pt?|WFMOutpre?|HORizontal:MODe MANual|HORizontal:MODe:SAMPLERate 1.25E9
HORizontal:MODe:SCAle?|HORizontal:POSition 10|HORizontal:DELay:MODe OFF|CH1:SCAle 0.1|CH1:OFFSet 0|CH1:BANdwidth FULl
CH1:COUPling DC|CH1:LABel:NAMe "in"|TRIGger:A:TYPe EDGE|TRIGger:A:EDGE:SOUrce CH1|TRIGger:A:EDGE:SLOpe FALL
TRIGger:A:LEVel:CH1 0.5|TRIGger:A:MODe NORMal|TRIGger:A:HOLDoff:TIMe 1E-3|TRIGger:STATE?|MEASUrement:ADDMEAS FREQUENCY
MEASUrement:MEAS1:SOUrce CH1|MEASUrement:MEAS1:RESUlts:CURRentacq:MEAN?|MEASUrement:LIST?|MEASUrement:DELETEALL
SAVe:IMAGe "C:/a.png"|FILESystem:DIR?|FILESystem:DELEte "C:/a.png"|DISplay:WAVEView1:VIEWStyle OVErlay
DISplay:WAVEView1:CH2:STATE ON|DISplay:GLObal:CH2:STATE?|ACQuire:MODe AVErage|ACQuire:NUMAVg 8|ACQuire:NUMAVg?
LOCk ALL|LOCk?|UNLock ALL|MESSage:SHOW "hello"|DATa:SOUrce:AVAILable?|BUSY?|*ese 61|*ese?|dese 61
"""


@pytest.mark.parametrize(("name", "session"), [("infiniivision", KEYSIGHT_SESSION), ("tektronix", TEKTRONIX_SESSION)])
def test_sessions_of_the_programming_guides_meet_no_error(tmp_path: Path, name: str, session: str) -> None:
    _, manager = open_bench(tmp_path)
    scope = manager.open_resource(ADDRESSES[name], read_termination="\n", write_termination="\n", timeout=5000)
    for message in session.strip().replace("\n", "|").split("|"):
        if "?" in message:
            assert scope.query(message), message
        else:
            scope.write(message)
    if name == "infiniivision":
        saved = scope.query_binary_values(":SYSTem:SETup?", datatype="B", container=bytes)
        scope.write("*RST")
        scope.write_binary_values(":SYSTem:SETup ", saved, datatype="B")
        assert scope.query(":CHANnel1:SCALe?;:ACQuire:COUNt?") == "+5.00000E-02;+16"
        assert scope.query(":SYSTem:ERRor?") == '+0,"No error"'
    else:
        curve = scope.query_binary_values("curve?", datatype="b", container=np.array)
        assert len(curve) == 1000
        assert scope.query("*esr?") in ("0", "1")
        assert scope.query("allev?").startswith("0,")
    manager.close()
