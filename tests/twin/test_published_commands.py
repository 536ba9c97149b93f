"""Commands that published drivers and measurement programs send, one by one: each with the reply it has to get.

The sequences stand for drivers that can't be installed here; `=` before a reply: exactly this, `~`: a pattern, `!`:
refused with this error, nothing: accepted without one.
"""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvisa
from twin.fakes_scope import ADDRESSES, WAVES, open_bench
from twin.test_published_drivers import CELL, FILE, GPIB

import sim_configs

NR3 = r"[+-]\d\.\d{5}E[+-]\d\d"

INFINIIVISION = r"""
:AUToscale:AMODE CURRent            |:AUToscale:AMODE?              =CURR
:AUToscale:CHANnels DISPlayed       |:AUToscale:CHANnels?           =DISP
:ACQuire:SEGMented:COUNt 5          |:ACQuire:SEGMented:COUNt?      =+5
:CALibrate:STATus?                                                  ~\+0,".*"
:CHANnel1:IMPedance FIFTy           |:CHANnel1:IMPedance?           =FIFT
:CHANnel1:PROTection?                                               =NORM
:CHANnel1:PROBe:HEAD:TYPE?                                          =NONE
:CHANnel9:IMPedance?                                                !-114
:COUNter:ENABle 1                   |:COUNter:MODE?                 =FREQ
:DISPlay:LABList #14ABCD            |:DISPlay:LABList?              =#800000004ABCD
:DISPlay:GRATicule:INTensity 30     |:DISPlay:GRATicule:INTensity?  =+30
:EXTernal?                                                          ~:EXT:.*
:FFT:WINDow FLATtop                 |:FFT:WINDow?                   =FLAT
:FFT:SPAN 2e3                       |:FFT:SPAN?                     =+2.00000E+03
:FFT:SCALe 10                       |:FFT:RANGe?                    =+8.00000E+01
:FUNCtion:OPERation FFT             |:FUNCtion:OPERation?           =FFT
:FUNCtion:SCALe 0.5                 |:FUNCtion:RANGe?               =+4.00000E+00
:FUNCtion:OPERation NOSUCH                                          !-224
:MARKer:X2Position 2;:MARKer:Y2Position 4|:MARKer:DYDX?             =+2.00000E+00
:MEASure:DEFine THResholds,PERCent,80,50,20|:MEASure:DEFine? THResholds =PERC,+8.00000E+01,+5.00000E+01,+2.00000E+01
:MEASure:DEFine THResholds,PERCent,20,50,80                         !-222
:OPEE 32                            |:OPEE?                         =+32
:OVLRegister?                                                       =+0
:SAVE:IMAGe:STARt "a"                                               !-252
:SYSTem:DATE 2024,JAN,5             |:SYSTem:DATE?                  =+2024,+1,+5
:SYSTem:DATE 2024,13,5                                              !-222
:SYSTem:TIME 12,30,5                |:SYSTem:TIME?                  ~\+12,\+30,\+\d+
:SYSTem:ERRor? STRing                                               =+0,"No error"
:TIMebase:REFerence:LOCation 0.4    |:TIMebase:REFerence:LOCation?  =+4.00000E-01
:TRIGger:LEVel:HIGH 1,CHANnel2      |:TRIGger:LEVel:HIGH? CHANnel2  =+1.00000E+00
:TRIGger:LEVel:HIGH 1,CHANnel2      |:TRIGger:LEVel:LOW? CHANnel2   =+0.00000E+00
:TRIGger:GLITch:RANGe 1e-6,1e-7     |:TRIGger:GLITch:GREaterthan?   =+1.00000E-07
:TRIGger:PATTern "1XX0"             |:TRIGger:PATTern?              =\"1XX0\",NONE,POS
:TRIGger:PATTern "12"                                               !-224
:TRIGger:EDGE:SLOPe ALTernate       |:TRIGger:SLOPe?                =ALT
:WAVeform:POINts RAW                |:WAVeform:POINts:MODE?         =RAW
:WGEN:FREQuency 2000                |:WGEN:FREQuency?               =+2.00000E+03
:WMEMory3:CLEar                                                     !-114
:POD1:DISPlay?                                                      !-113
"""
TEKTRONIX = r"""
CH1:SCAle?                                                          =1.0000
SELect:CH2 1                        |SELect:CH2?                    =1
SELect:CH2 0                        |DISplay:WAVEView1:CH2:STATE?   =0
CH1:TERmination 50                  |CH1:TERmination?               =50.0000
CH1:TERmination 75                                                  !224
ACTONEVent:LIMITCount 3             |ACTONEVent:LIMITCount?         =3
ACQuire:MAXSamplerate?                                              =6.2500E+9
ACQuire:NUMACq?                                                     ~\d+
MEASUrement:MEAS1:TYPe FREQUENCY    |MEASUrement:MEAS1:UNIts?       ="Hz"
MEASUrement:MEAS7:MEAN?                                             !221
MEASUrement:REFLevels:PERCent:RISEHigh 80|MEASUrement:REFLevels:PERCent:RISEHigh? =80.0000
TRIGger:A:TIMEOut:TIMe 1e-6         |TRIGger:A:TIMEOut:TIMe?        =1.0000E-6
*CAL?                                                               =0
FPAnel:PRESS SINGleseq              |ACQuire:STATE?                 =1
FPAnel:PRESS NOSUCH                                                 !224
AFG:OUTPut:STATE?                                                   !113
"""


def rows(table: str) -> list[tuple[str, str]]:
    found = []
    for line in filter(str.strip, table.splitlines()):
        match = re.fullmatch(r"(.*?)\s+([=~!].*?)", line)
        assert match is not None, line
        found.append((match[1], match[2].strip().replace('\\"', '"')))
    return found


def check(instrument: Any, row: tuple[str, str], error: Any) -> None:
    *commands, last = (part.strip() for part in row[0].split("|"))
    for command in commands:
        instrument.write(command)
    if row[1][0] == "!":
        instrument.write(last)
        assert error(instrument) == row[1][1:], row
        return
    reply = instrument.query(last)
    assert reply == row[1][1:] if row[1][0] == "=" else re.fullmatch(row[1][1:], reply), (row, reply)


def keysights_error(scope: Any) -> str:
    return str(scope.query(":SYSTem:ERRor?").partition(",")[0])


def tektronixs_error(scope: Any) -> str:
    scope.query("*ESR?")
    return str(scope.query("EVENT?"))


def test_what_drivers_ask_an_infiniivision(tmp_path: Path) -> None:
    _, manager = open_bench(tmp_path)
    scope = manager.open_resource(ADDRESSES["infiniivision"], read_termination="\n", write_termination="\n")
    for row in rows(INFINIIVISION):
        scope.write("*RST;*CLS")
        check(scope, row, keysights_error)
        assert row[1][0] == "!" or keysights_error(scope) == "+0", row
    manager.close()


def test_what_drivers_ask_a_tektronix(tmp_path: Path) -> None:
    _, manager = open_bench(tmp_path)
    scope = manager.open_resource(ADDRESSES["tektronix"], read_termination="\n", write_termination="\n")
    for row in rows(TEKTRONIX):
        scope.write("*RST;*CLS")
        check(scope, row, tektronixs_error)
    manager.close()


@pytest.mark.parametrize(("name", "ask"), [("infiniivision", ":WAVeform:DATA?"), ("tektronix", "CURVe?")])
def test_a_scope_runs_after_a_reset_and_has_something_to_show(tmp_path: Path, name: str, ask: str) -> None:
    _, manager = open_bench(tmp_path)
    scope = manager.open_resource(ADDRESSES[name], read_termination="\n", write_termination="\n")
    scope.write("*RST")
    if name == "infiniivision":
        assert int(scope.query(":OPERegister:CONDition?")) & 8
    first = scope.query_binary_values(ask, datatype="B")
    assert len(first) == 1000
    scope.write(":STOP" if name == "infiniivision" else "ACQuire:STATE STOP")
    assert scope.query_binary_values(ask, datatype="B") == first
    manager.close()


def test_spectrum_and_reference_waveforms_are_of_what_was_acquired(tmp_path: Path) -> None:
    bench, manager = open_bench(tmp_path)
    scope = manager.open_resource(ADDRESSES["infiniivision"], read_termination="\n", write_termination="\n")
    scope.write("*RST;:TIM:RANG 10;:TIM:REF LEFT;:CHAN1:RANG 4")
    scope.write(":TRIG:SWE NORM;:TRIG:EDGE:SOUR EXT;:TRIG:EDGE:LEV 1.5,EXT;:SINGle")
    bench.run(1.5, duration=12.0)
    bench.clock.sleep(20.0)
    amplitude, frequency, _ = WAVES["x"]
    scope.write(":FUNC:OPER FFT;SOUR1 CHAN1;DISP 1;:FUNC:FFT:WIND FLAT;:FUNC:RANG 80;OFFS -20;:FUNC:FFT:SPAN 10;CENT 5")
    scope.write(":WAV:SOUR FUNC;FORM WORD;POIN 1000")
    shown = [float(v) for v in scope.query(":WAV:PRE?").split(",")]
    lines = scope.query_binary_values(":WAV:DATA?", datatype="H", is_big_endian=True, container=np.array)
    decibels = (lines - shown[9]) * shown[7] + shown[8]
    assert shown[5] + shown[4] * int(np.argmax(decibels)) == pytest.approx(frequency, abs=0.2)
    assert decibels.max() == pytest.approx(20 * math.log10(amplitude / math.sqrt(2)), abs=0.3)
    assert len(decibels) == int(shown[2]) == int(scope.query(":WAV:POIN?"))
    scope.write(":WMEM1:SAVE CHAN1;:FUNC:DISP 0")
    assert float(scope.query(":MEAS:VPP? WMEM1")) == float(scope.query(":MEAS:VPP? CHAN1"))
    # The record begins a second before the trigger, at which the sine passes 0 V upwards.
    assert float(scope.query(":MEAS:TVAL? 0.5,+1,CHAN1")) == pytest.approx(
        math.asin(0.5) / (6 * math.pi) - 1, abs=0.005
    )
    assert scope.query(":SYST:ERR?") == '+0,"No error"'
    manager.close()


# The analyzer: programs that others wrote for it, on a cell whose conductance is known


@pytest.fixture
def analyzer(tmp_path: Path) -> Any:
    """The analyzer, its cell selected and its word line at 1.4 V; and what the cell conducts."""
    path = tmp_path / "bench.yaml"
    path.write_text(FILE.format(modules="B1517A,B1517A,B1517A,B1517A,0,0,0,0,0,0", address=GPIB))
    manager = pyvisa.ResourceManager(f"{path}@twin")
    bench = manager.visalib.bench
    bench.fixture.connect("program", *CELL)
    b1500 = manager.open_resource(GPIB, read_termination="\r\n", write_termination="\r\n")
    for command in ("*RST", "CN 1,2,3,4", "FMT 1,1", "FL 0", "DV 3,0,0,0.1", "DV 4,0,0,0.1", "DV 2,0,1.4,0.01"):
        b1500.write(command)
    yield b1500, float(bench.true_conductance()[CELL])
    manager.close()


def measured(b1500: Any, *commands: str) -> list[tuple[str, float]]:
    """Header and value of every item of the line that the commands end in."""
    for command in commands:
        b1500.write(command)
    assert b1500.query("ERRX?") == '+0,"No Error."'
    return [(item[:3], float(item[3:])) for item in b1500.read().split(",")]


def test_a_multi_channel_sweep_with_time_stamps(analyzer: Any) -> None:
    b1500, conductance = analyzer
    items = measured(
        b1500, "TSC 1", "MM 16,1,3,2", "CMM 1,1", "CMM 3,1", "CMM 2,1", "RI 1,11", "RI 3,11", "WT 0.01,0.01,0",
        "WM 1,2", "TSR", "WV 1,3,0,0,0.3,5,0.1", "XE",
    )  # fmt: skip
    chunks = [items[k : k + 7] for k in range(0, len(items), 7)]
    assert len(chunks) == 10
    assert [header for header, _ in chunks[-1]] == ["NAT", "NAI", "NCT", "NCI", "NBT", "NBI", "EAV"]
    for chunk in chunks:
        assert chunk[1][1] == pytest.approx(chunk[6][1] * conductance, abs=5e-9)
        assert chunk[3][1] == pytest.approx(-chunk[1][1], abs=5e-9)


def test_multi_channel_pulses(analyzer: Any) -> None:
    b1500, conductance = analyzer
    swept = measured(
        b1500, "MCPT 0.01,0.01", "MCPNT 1,0,0.0005", "MM 28,1,3", "MCPWS 3,4", "MCPWNX 1,1,1,0,0,0,0.3,0.1", "XE",
    )  # fmt: skip
    assert [header for header, _ in swept] == ["NAI", "NCI", "WAV"] * 7 + ["NAI", "NCI", "EAV"]
    volts = [value for header, value in swept if header[2] == "V"]
    assert volts == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.3, 0.2, 0.1, 0.0])
    amps = np.array([value for header, value in swept if header == "NAI"])
    assert amps == pytest.approx(np.array(volts) * conductance, abs=5e-9)
    both = ("MCPNX 1,1,1,0,0,0.2,0.01", "MCPNX 2,2,1,0,0,1.4,0.01", "MCPT 0.01,0.01,0,3")
    assert measured(b1500, "MM 27,1", *both, "XE")[0][1] == pytest.approx(0.2 * conductance, rel=5e-3)
    # Both sources are back at their bases, so the cell carries nothing.
    assert measured(b1500, "TI 1,0")[0][1] == pytest.approx(0.0, abs=1e-10)
    under = measured(b1500, "MM 5,1", "PT 0.01,0.001,0.02", "PV 2,0,0,1.4,0.001", "WV 1,1,0,0,0.2,3,0.01", "XE")
    assert [v for _, v in under[0::2]] == pytest.approx([0.0, 0.1 * conductance, 0.2 * conductance], abs=1e-8)


def test_searches_find_the_voltage_of_a_current(analyzer: Any) -> None:
    b1500, conductance = analyzer
    found = measured(
        b1500, f"LGI 1,1,0,{0.15 * conductance}", "LSV 1,0,0,0.3,0.01,0.01", "LSTM 0.01,0.001", "LSM 1,3", "LSVM 1",
        "MM 14", "XE",
    )  # fmt: skip
    assert found[0] == ("NAV", pytest.approx(0.15, abs=0.011))
    assert found[1] == ("NAI", pytest.approx(0.15 * conductance, rel=0.1))
    # LSM 1,3: the source stays where the search ended.
    assert measured(b1500, "TV 1,0")[0][1] == pytest.approx(found[0][1], abs=1e-3)
    found = measured(
        b1500, f"BGI 1,0,1E-9,0,{0.1 * conductance}", "BSV 1,0,0,0.3,0.01", "BST 0,0.001", "BSM 0,1,1", "BSVM 0",
        "MM 15", "XE",
    )  # fmt: skip
    assert len(found) == 1
    assert found[0][1] == pytest.approx(0.1, abs=1e-3)


def test_quasi_pulses_and_what_the_analyzer_refuses(analyzer: Any) -> None:
    b1500, _ = analyzer
    read = measured(b1500, "MM 9,4", "BDM 0,0", "BDT 0,0.001", "BDV 4,0,0,12,0.001", "XE")
    assert read == [("NDV", pytest.approx(12.0, rel=1e-3))]
    for command, code in (
        ("BDV 4,0,0,5,0.001", 120), ("MM 5,1,2", 122), ("MM 13,1", 120), ("MCPNX 1,1,3,0,0,1", 120),
        ("LSV 1,0,0,0,0.1", 120), ("LSSV 1,0,1", 220), ("FC 9,1E6", 121), ("WDCV 9,1,0,1,11", 121), ("NOSUCH", 100),
    ):  # fmt: skip
        b1500.write(command)
        assert b1500.query("ERRX?").startswith(f"+{code},"), command
    b1500.write("*RST")
    b1500.write("CN 1")
    b1500.write("MM 28,1")
    b1500.write("XE")
    assert b1500.query("ERRX?").startswith("+221,")


def test_a_driver_that_looks_around_in_a_sourcemeter() -> None:
    """As drivers that build themselves from the instrument's own names do: by Lua's `next` and `type`."""
    manager = pyvisa.ResourceManager(f"{sim_configs.path('bench-smu-pair.yaml')}@twin")
    smu = manager.open_resource("GPIB0::26::INSTR", read_termination="\n", write_termination="\n")
    names, key = [], "nil"
    while (reply := smu.query(f"print(next(_G.smua, {key}))").split("\t"))[0] != "nil":
        names.append(reply[0])
        key = f"'{reply[0]}'"
    assert {"source", "measure", "nvbuffer1", "reset", "sense"} <= set(names)
    assert smu.query("print(type(smua.measure.iv), type(smua.source), type(smua.sense))") == "function\ttable\tnumber"
    smu.write("_G.smua.source.levelv = 0.1")
    assert float(smu.query("print(_G.smua.source.levelv)")) == 0.1
    assert smu.query("print(errorqueue.count)") == "0.00000e+00"
    manager.close()
