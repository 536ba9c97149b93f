"""Both oscilloscope panels: the language, the converter, triggers, and drivers that aren't ours."""

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymeasure.adapters import VISAAdapter
from pymeasure.instruments.keysight import KeysightDSOX1102G
from twin.fakes_scope import ADDRESSES, WAVES, FakeBench, FakeRun, open_bench

from instruments.errors import ConfigError
from instruments.twin.panels.infiniivision import InfiniiVisionPanel
from instruments.twin.panels.scpi import Call, Entry, Interpreter, ScpiError, Tree, number
from instruments.twin.panels.scpi_messages import parse, split
from instruments.twin.panels.tektronix_mso import TektronixPanel
from instruments.twin.scope_front_end import Edge, first_crossing, low_pass

PROBES = {"probes": "1=x,2=y,3=nx,4=ny"}


def make(panel, **options):
    bench = FakeBench()
    return bench, panel(bench, {**PROBES, **options})


def keysight(**options):
    bench, panel = make(InfiniiVisionPanel, **options)
    return bench, panel, lambda text: ask(panel, text)


def tektronix(**options):
    bench, panel = make(TektronixPanel, **options)
    ask(panel, "HEADer 0")
    return bench, panel, lambda text: ask(panel, text)


def ask(panel, text):
    replies = panel.handle(text.encode())
    assert len(replies) <= 1
    return replies[0].decode("latin-1") if replies else None


# The language


def test_a_header_goes_on_from_the_path_before_it():
    paths = [unit.path for unit in parse(":WAV:SOUR CHAN1;FORM WORD;*CLS;POIN:MODE RAW;:RUN;STOP")]
    assert paths == [
        ("WAV", "SOUR"), ("WAV", "FORM"), ("*CLS",), ("WAV", "POIN", "MODE"), ("RUN",), ("STOP",),
    ]  # fmt: skip


def test_quotes_and_blocks_hide_separators():
    assert split('LAB "a;b";X #15;,;,;;Y', ";") == ['LAB "a;b"', "X #15;,;,;", "Y"]
    unit = parse("CHAN1:LAB 'p;q,r'")[0]
    assert unit.args == ("'p;q,r'",)


@pytest.mark.parametrize("text", [":CHANnel2:SCALe?", "chan2:scal?", ":CHAN2:SCALE?", "CHANNEL2:SCAL?"])
def test_short_and_long_forms(text):
    _, _, say = keysight()
    assert say(text) == "+1.00000E+00"


@pytest.mark.parametrize(
    "text", [":CHANN2:SCALe?", ":CHAN2:SCA?", ":CHAN2::SCAL?", "SCAL?", ":CHAN2:SCAL1?", "*IDN", ":", "?"]
)
def test_what_is_not_a_header_is_undefined(text):
    _, panel, say = keysight()
    assert say(text) is None
    assert say(":SYST:ERR?") == '-113,"Undefined header"'
    assert say(":SYSTem:ERRor?") == '+0,"No error"'
    assert panel.handle(b"*ESR?") == [b"160"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (":CHAN1:RANG", -109),
        (":CHAN1:RANG 1,2", -108),
        (":CHAN1:RANG abc", -104),
        (":CHAN1:RANG 1A", -131),
        (":CHAN1:RANG 1e9", -222),
        (":CHAN1:RANG 1e999", -222),
        (":CHAN9:RANG 1", -114),
        (":CHAN1:COUP XY", -224),
        (":CHAN1:LAB foo", -151),
        (":SYST:SET #15hello", -161),
        (":TRIG:SWE NORM;:WAV:DATA?", -230),
    ],
)
def test_bad_parameters_have_their_errors(text, code):
    _, _, say = keysight()
    assert say(text) is None
    assert say(":SYST:ERR?").startswith(f"{code},")


def test_replies_of_one_message_are_one_reply():
    _, _, say = keysight()
    assert say(":CHAN1:RANG 4;OFFS 500mV;RANG?;OFFS?") == "+4.00000E+00;+5.00000E-01"


def test_the_error_queue_is_finite():
    _, _, say = keysight()
    for _ in range(40):
        say("NONSENSE")
    codes = [say(":SYST:ERR?").split(",")[0] for _ in range(31)]
    assert codes == ["-113"] * 29 + ["-350", "+0"]


def test_numbers_take_units():
    assert number("20 uV", unit="V") == pytest.approx(20e-6)
    assert number("2.5MHz", unit="Hz") == 2.5e6
    assert number("MIN", 3.0, 4.0) == 3.0
    with pytest.raises(ScpiError):
        number("5", 3.0, 4.0)


def test_setups_are_saved_and_recalled():
    _, panel, say = keysight()
    say(":CHAN3:RANG 0.8;LAB 'a;b'")
    setup = panel.handle(b":SYST:SET?")[0]
    say("*RST")
    assert say(":CHAN3:RANG?") == "+8.00000E+00"
    panel.handle(b":SYST:SET " + setup)
    assert say(":CHAN3:RANG?;LAB?") == '+8.00000E-01;"A;B"'
    assert json.loads(setup[10:].partition(b" ")[2])


WORDS = [
    *":;?,#\"'² \n", "#15", "#9", "CHAN1", "CHANnel", "RANG", "WAV", "DATA", "TIM", "POS", "1e3", "-1", "nan", "1e999",
    "MIN", "*OPC", "*WAI", "*RST", "DIG", "SING", "RUN", "CURV", "ACQ", "STATE", "TRIG", "FORC", "CH1", "SCA", "HOR",
    "MOD", "DATa", "STOP", "STAR", "WFMO", "ALLE", "SET", "SYST", "POIN",
]  # fmt: skip
BYTES = st.one_of(
    st.binary(max_size=60),
    st.lists(st.sampled_from(WORDS), max_size=14).map(lambda parts: "".join(parts).encode("latin-1")),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(BYTES, max_size=5))
def test_no_message_upsets_a_panel(messages):
    for panel_class in (InfiniiVisionPanel, TektronixPanel):
        bench, panel = make(panel_class, memory="1000")
        for message in messages:
            replies = panel.handle(message)
            assert all(isinstance(reply, bytes) for reply in replies)
        panel.on_run(FakeRun(bench.clock.now()))
        bench.clock.sleep(0.2)
        panel.clear()
        assert panel.handle(b"*IDN?") is not None
        panel.digitizer.stop()


@settings(deadline=None)
@given(st.text("ABCXYZ", min_size=5, max_size=9))
def test_unknown_headers_are_undefined(header):
    for make_panel, query, reply in (
        (keysight, ":SYST:ERR?", '-113,"Undefined header"'),
        (tektronix, "*ESR?;:EVMsg?", '160;113,"Undefined header; '),
    ):
        _, _, say = make_panel()
        assert say(header + " 1") is None
        assert say(query).startswith(reply)


def test_what_waits_holds_up_what_follows():
    busy = [True]
    log, errors = [], []
    tree = Tree()
    tree.add_all({
        "GO": Entry(lambda call: log.append("go")),
        "*OPC": Entry(lambda call: log.append("opc"), lambda call: "1", waits=True),
    })  # fmt: skip
    interpreter = Interpreter(tree, errors.append, lambda: busy[0])
    assert interpreter.feed(b"*OPC;GO;*OPC?;GO") == []
    assert interpreter.feed(b"GO") == []
    assert log == ["opc", "go"]
    busy[0] = False
    assert interpreter.resume() == [b"1"]
    assert log == ["opc", "go", "go", "go"]
    assert errors == []
    assert Call(("1",), ()).only() == ("1",)


# The converter


def capture(say, panel, bench, run=None, word=True):
    say(":TRIG:SWE NORM;:TRIG:EDGE:SOUR EXT;LEV 1;:SINGle")
    bench.clock.sleep(1.0)
    panel.on_run(run or FakeRun(bench.clock.now()))
    bench.clock.sleep(2.0)
    assert say(":OPER:COND?") == "+0"
    say(f":WAV:FORM {'WORD' if word else 'BYTE'}")
    pre = [float(v) for v in say(":WAV:PRE?").split(",")]
    block = panel.handle(b":WAV:DATA?")[0]
    assert block.startswith(b"#8%08d" % (pre[2] * (2 if word else 1)))
    codes = np.frombuffer(block[10:], ">u2" if word else "u1").astype(float)
    return pre, codes


@pytest.mark.parametrize(("kind", "word", "bits"), [("NORM", False, 8), ("NORM", True, 8), ("HRES", True, 12)])
def test_volts_are_the_signal_to_half_a_step(kind, word, bits):
    bench, panel, say = keysight(noise="0")
    say(f":CHAN1:RANG 4;OFFS 0.1;:TIM:RANG 1;REF CENT;POS 0.5;:ACQ:TYPE {kind};:WAV:POIN 1000")
    pre, codes = capture(say, panel, bench, word=word)
    times = pre[5] + pre[4] * np.arange(len(codes))
    volts = (codes - pre[9]) * pre[7] + pre[8]
    ideal = FakeRun(0).sample(["x"], times)[0]
    step = 4 * 256 / 199 / 2**bits
    assert pre[4:7] == [1e-3, 0.0, 0.0]
    assert np.abs(volts - ideal).max() <= step * 0.501
    assert np.abs(volts - ideal).max() > step * 0.4
    if word:
        assert np.all(codes % 2 ** (16 - bits) == 0)


def test_clipped_samples_have_codes_of_their_own():
    bench, panel, say = keysight()
    say(":CHAN1:RANG 1;:TIM:RANG 1;POS 0.5")
    _, codes = capture(say, panel, bench)
    assert {codes.min(), codes.max()} == {1, 65535}
    _, octets = capture(say, panel, bench, word=False)
    assert {octets.min(), octets.max()} == {1, 255}
    assert 0.35 < np.mean((octets > 1) & (octets < 255)) < 0.5  # 2/pi asin(0.643)


def test_noise_is_a_fraction_of_the_screen_and_averaging_lowers_it():
    spread = {}
    for kind in ("NORM", "HRES"):
        bench, panel, say = keysight(noise="0.01")
        say(f":CHAN1:RANG 4;:TIM:RANG 1;:ACQ:TYPE {kind};:WAV:POIN:MODE RAW;POIN 10000")
        pre, codes = capture(say, panel, bench, FakeRun(1.0, waves={**WAVES, "x": (0.0, 1.0, 0.0)}))
        spread[kind] = codes.std() * pre[7]
    assert spread["NORM"] == pytest.approx(0.04, rel=0.05)
    assert spread["HRES"] == pytest.approx(0.04 / 16, rel=0.1)


def test_byte_order_and_sign():
    bench, panel, say = keysight(noise="0")
    say(":CHAN1:RANG 4;:TIM:RANG 1;POS 0.5")
    pre, codes = capture(say, panel, bench)
    say(":WAV:BYT LSBF")
    assert np.array_equal(np.frombuffer(panel.handle(b":WAV:DATA?")[0][10:], "<u2"), codes)
    say(":WAV:UNS 0")
    signed = np.frombuffer(panel.handle(b":WAV:DATA?")[0][10:], "<i2")
    assert np.array_equal(signed.astype(int) + 32768, codes)
    assert [pre[9], float(say(":WAV:YREF?"))] == [32768, 0]


def test_fewer_points_of_the_same_record():
    bench, panel, say = keysight()
    say(":TIM:RANG 1;POS 0.5;:WAV:POIN 1000")
    _, codes = capture(say, panel, bench)
    say(":WAV:POIN 100")
    assert say(":WAV:POIN?;XINC?").startswith("+100;+1.0")
    few = np.frombuffer(panel.handle(b":WAV:DATA?")[0][10:], ">u2")
    assert np.array_equal(few, codes[::10])
    say(":WAV:POIN:MODE RAW;:WAV:POIN 5000")
    assert float(say(":WAV:XINC?")) == pytest.approx(2e-4)


def test_low_pass_is_of_first_order():
    step, tau = 1e-9, 2e-8
    ramp = np.arange(2000) * step
    late = low_pass(ramp, step, 1 / (2 * np.pi * tau))
    assert (ramp - late)[-1] == pytest.approx(tau, rel=1e-6)
    sine = np.sin(2 * np.pi * 10e6 * np.arange(20_000) * step)
    passed = low_pass(sine, step, 10e6)[10_000:]
    assert np.std(passed) / np.std(sine) == pytest.approx(2**-0.5, rel=0.01)
    assert low_pass(ramp, 1.0, 1e6) is ramp


# Triggers and time


def test_edges_are_found_to_a_fraction_of_a_sample():
    run = FakeRun(0.0)
    assert first_crossing(run, Edge("run", 1.65, True, False), -10.0) == pytest.approx(0.0, abs=1e-7)
    assert first_crossing(run, Edge("run", 1.65, False, False), -10.0) == pytest.approx(1.2, abs=1e-7)
    at = np.arcsin(0.5) / (6 * np.pi)
    assert first_crossing(run, Edge("x", 0.5, True, False), 0.0) == pytest.approx(at, abs=1e-7)
    assert first_crossing(run, Edge("x", 1.5, True, False), 0.0) is None
    assert first_crossing(run, Edge("run", 1.65, True, False), 0.3) is None
    assert first_crossing(run, Edge(None, 0.0, True, False), 0.0) is None


def test_a_run_that_began_before_the_trigger_was_armed_is_missed():
    bench, panel, say = keysight()
    say(":TIM:RANG 1;POS 0.4;:TRIG:SWE NORM;:TRIG:EDGE:SOUR EXT;LEV 1;:SINGle")
    assert say(":AER?;:OPER:COND?") == "+0;+8"
    panel.on_run(FakeRun(bench.clock.now() + 0.07))
    bench.clock.sleep(0.5)
    assert say(":AER?;:AER?;:OPER:COND?;:TER?") == "+1;+0;+40;+0"
    panel.on_run(FakeRun(bench.clock.now()))
    assert say(":OPER:COND?;:TER?;:TER?") == "+8;+1;+0"
    bench.clock.sleep(0.91)
    assert say(":OPER:COND?") == "+0"


def test_a_record_longer_than_the_run_is_complete_later():
    bench, panel, say = tektronix()
    say(":HOR:MOD MAN;:HOR:SAMPLER 1250;RECO 2500;POS 0;:HOR:DEL:MOD 0;:TRIG:A:MOD NORM;:TRIG:A:EDGE:SOU AUX")
    say(":TRIG:AUXL 1;:ACQ:STOPA SEQ;STATE RUN")
    bench.clock.sleep(0.1)
    start = bench.clock.now()
    bench.clock.sleep(1.2)
    panel.on_run(FakeRun(start))
    assert say("ACQ:STATE?;:TRIG:STATE?;:BUSY?") == "1;TRIGGER;1"
    assert panel.handle(b"*OPC?") == []
    assert panel.pull() is None
    bench.clock.sleep(0.81)
    assert panel.pull() == b"1"
    assert say("ACQ:STATE?;:TRIG:STATE?;:ACQ:NUMAC?") == "0;SAVE;1"


def test_falling_edge_triggers_at_the_end_of_the_run():
    bench, panel, say = keysight()
    say(":TIM:RANG 0.1;POS 0.05;:TRIG:SWE NORM;:TRIG:EDGE:SOUR EXT;LEV 1;SLOP NEG;:SINGle")
    bench.clock.sleep(0.2)
    start = bench.clock.now()
    bench.clock.sleep(1.2)
    panel.on_run(FakeRun(start))
    bench.clock.sleep(0.09)
    assert say(":OPER:COND?") == "+8"
    bench.clock.sleep(0.02)
    assert say(":OPER:COND?") == "+0"


def test_digitize_holds_up_what_follows_until_the_record_is_complete():
    bench, panel, say = keysight()
    say(":TIM:RANG 1e-3;:TRIG:SWE AUTO;:CHAN1:DISP 1")
    assert panel.handle(b":DIG CHAN1;*OPC?") == []
    assert panel.handle(b":SYST:ERR?") == []
    assert panel.pull() is None
    bench.clock.sleep(1.0)
    assert [panel.pull(), panel.pull()] == [b"1", b'+0,"No error"']
    assert panel.pull() is None


def test_stopping_and_clearing():
    bench, panel, say = keysight()
    say(":TRIG:SWE NORM;:RUN")
    assert int(say(":OPER:COND?")) & 8
    say(":STOP")
    bench.clock.sleep(1)
    assert say(":OPER:COND?") == "+0"
    say(":DIG")
    assert say("*IDN?") is None
    panel.clear()
    assert say("*IDN?").startswith("KEYSIGHT TECHNOLOGIES,DSO-X")
    assert panel.pull() is None


# Tektronix


def test_headers_before_replies():
    _, panel = make(TektronixPanel)
    assert ask(panel, "CH1:SCAle?") == "1.0000"
    assert ask(panel, "HEADer 1;:CH1:SCAle?") == ":CH1:SCALE 1.0000"
    assert ask(panel, "VERBose 0;:CH2:OFFSet 0.02;:CH2:OFFSet?") == ":CH2:OFFS 20.0000E-3"
    assert ask(panel, "HEADer OFF;*IDN?").startswith("TEKTRONIX,MSO54")


def test_events_are_opened_by_asking_for_the_register():
    _, _, say = tektronix()
    say("*CLS")
    assert say("ALLEv?") == '0,"No events to report - queue empty"'
    say("CH1:SCAle 99;:FOO 1")
    assert say("EVMsg?") == '1,"No events to report - new events pending *ESR?"'
    assert say("*ESR?") == "48"
    assert say("EVQty?") == "2"
    assert say("ALLEv?") == '222,"Data out of range; 99",113,"Undefined header; FOO"'
    assert say("EVENT?") == "0"


def test_curve_in_every_encoding_is_one_signal():
    bench, panel, say = tektronix(noise="0")
    say(":HOR:MOD MAN;:HOR:SAMPLER 1250;RECO 1250;POS 20;:HOR:DEL:MOD 0;:TRIG:A:MOD NORM;:TRIG:A:EDGE:SOU AUX")
    say(":CH1:SCA 0.3;OFFS 0.1;POS 1;:TRIG:AUXL 1;:ACQ:STOPA SEQ;STATE RUN")
    assert say("CURVe?") is None
    bench.clock.sleep(1.0)
    panel.on_run(FakeRun(bench.clock.now()))
    bench.clock.sleep(2.0)
    assert say("ACQ:STATE?;:CH1:CLIP?;:CH2:CLIP?") == "0;0;0"
    for encoding, width, kind in (
        ("RIB", 2, ">i2"), ("SRI", 2, "<i2"), ("RPB", 2, ">u2"), ("SRP", 2, "<u2"), ("RIB", 1, "i1"), ("RPB", 1, "u1"),
        ("ASCI", 2, None), ("FAS", 2, ">i2"),
    ):  # fmt: skip
        say(f":DAT:SOU CH1;ENC {encoding};WID {width};STAR 101;STOP 5000")
        assert int(say("WFMO:NR_P?")) == 1150
        step, offset, zero, first, axis, before = (
            float(v) for v in say("WFMO:YMU?;YOF?;YZE?;XZE?;XIN?;PT_O?").split(";")
        )
        reply = panel.handle(b"CURV?")[0]
        if kind is None:
            codes = np.array([int(v) for v in reply.split(b",")])
        else:
            assert reply.startswith(b"#42300" if width == 2 else b"#41150")
            codes = np.frombuffer(reply[6:], kind).astype(float)
        times = first + axis * np.arange(1150)
        assert first == pytest.approx(-before * axis) == pytest.approx(-0.12)
        volts = zero + step * (codes - offset)
        assert np.abs(volts - FakeRun(0).sample(["x"], times)[0]).max() <= 1.01 * (step if width == 1 else step * 8)
    assert say("WFMOutpre?").count(";") == 16


def test_clipping_is_told():
    bench, panel, say = tektronix()
    say(":SEL:CH3 1;:CH3:SCA 0.1;:HOR:SCA 0.1;:TRIG:A:MOD NORM;:TRIG:A:EDGE:SOU AUX;:TRIG:AUXL 1")
    say(":ACQ:STOPA SEQ;STATE 1")
    bench.clock.sleep(1.0)
    panel.on_run(FakeRun(bench.clock.now()))
    bench.clock.sleep(1.0)
    assert say("CH1:CLIP?;:CH3:CLIP?;:CH2:CLIP?") == "0;1;0"


# Options and foreign drivers


@pytest.mark.parametrize(
    "options", [{"probes": "x"}, {"probes": "7=x"}, {"bits": "3"}, {"channels": "0"}, {"noise": "much"}]
)
def test_impossible_options_are_refused(options):
    for panel in (InfiniiVisionPanel, TektronixPanel):
        with pytest.raises(ConfigError):
            panel(FakeBench(), options)


def test_probes_are_moved_at_any_time():
    bench, panel, say = keysight(noise="0")
    say(":CHAN1:RANG 8;:TIM:RANG 1;POS 0.5")
    panel.probes[1] = "nx"
    pre, codes = capture(say, panel, bench)
    assert (codes.max() - pre[9]) * pre[7] == pytest.approx(1.9, abs=0.05)
    del panel.probes[1]
    pre, codes = capture(say, panel, bench)
    assert np.all(codes == pre[9])


@pytest.mark.filterwarnings("ignore:It is not known whether this device:FutureWarning")
def test_pymeasure_drives_the_keysight_panel(tmp_path):
    bench, manager = open_bench(tmp_path)
    with contextlib.closing(manager):
        adapter = VISAAdapter(ADDRESSES["infiniivision"], visa_library=manager.visalib, read_termination="\n")
        scope = KeysightDSOX1102G(adapter)
        scope.clear_status()
        scope.default_setup()
        scope.autoscale()
        scope.stop()
        scope.ch1.setup(coupling="dc", display=True, vertical_range=4.0, offset=0.25, label="probe")
        scope.ch1.probe_attenuation = 1
        scope.ch2.scale = 0.5
        scope.ch2.invert = False
        scope.ch2.bwlimit = True
        assert scope.ch1.current_configuration["RANG"] == 4.0
        assert scope.ch1.current_configuration["OFFS"] == 0.25
        assert scope.ch2.range == 4.0
        assert scope.ch2.bwlimit is True
        assert scope.ch1.label.strip('"') == "PROBE"
        scope.timebase_setup(mode="main", offset=0.5, horizontal_range=1.0)
        assert scope.timebase == {"MODE": "MAIN", "REF": "CENT", "MAIN:RANG": 1.0, "POS": 0.5}
        scope.acquisition_type = "hresolution"
        assert scope.acquisition_type == "hresolution"
        scope.write(":TRIGger:SWEep NORMal;:TRIGger:EDGE:SOURce EXTernal;LEVel 1.5")
        scope.single()
        bench.run(delay=0.2)
        bench.clock.sleep(2.0)
        assert scope.ask(":OPERegister:CONDition?") == "+0"
        data, preamble = scope.download_data("channel1", points=1000)
        assert preamble["format"] == "BYTE"  # it asks for the preamble before it asks for ASCII
        assert preamble["type"] == "HRES"
        assert len(data) == preamble["points"] == 1000
        times = preamble["xorigin"] + preamble["xincrement"] * np.arange(1000)
        assert np.abs(data - FakeRun(0).sample(["x"], times)[0]).max() < 0.03
        setup = scope.system_setup
        scope.factory_reset()
        scope.system_setup = setup.strip()
        assert scope.ch1.offset == 0.25
        scope.timebase_range = 1e-3
        scope.write(":TRIGger:SWEep AUTO")
        scope.digitize("channel1")
        assert scope.ask("*OPC?") == "1"
        scope.run()
        assert scope.ask(":SYSTem:ERRor?") == '+0,"No error"'
