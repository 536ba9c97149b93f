"""Oscilloscope drivers: exact messages both ways, and the same experiment on both simulated instruments."""

import contextlib

import numpy as np
import pytest
from twin.fakes_scope import ADDRESSES, WAVES, FakeResource, FakeRun, open_bench

from instruments.clock import VirtualClock
from instruments.errors import InstrumentError, LimitError
from instruments.infiniivision import InfiniiVision
from instruments.oscilloscope import Capture, ChannelSetup, Timebase, Trigger, three_digits_up
from instruments.tektronix_mso import TektronixMSO

DRIVERS = {"infiniivision": InfiniiVision, "tektronix": TektronixMSO}
CHANNELS = {2: ChannelSetup(4.0, 0.1), 1: ChannelSetup(1.5)}
TIMEBASE = Timebase(1.0, 0.1, 1000)

KEYSIGHT_SETUP = [
    ("*CLS;:STOP", None),
    (":CHANnel1:DISPlay 1;COUPling DC;INVert 0;BWLimit 0;RANGe 1.5;OFFSet 0", None),
    (":CHANnel2:DISPlay 1;COUPling DC;INVert 0;BWLimit 0;RANGe 4;OFFSet 0.1", None),
    (":CHANnel3:DISPlay 0", None),
    (":CHANnel4:DISPlay 0", None),
    (":TIMebase:MODE MAIN;REFerence CENTer;RANGe 1;POSition 0.4", None),
    (":TRIGger:MODE EDGE;SWEep NORMal;:TRIGger:EDGE:SOURce EXTernal;SLOPe POSitive;LEVel 1.65", None),
    (":ACQuire:TYPE HRESolution", None),
    (":WAVeform:FORMat WORD;UNSigned 1;BYTeorder LSBFirst;POINts:MODE RAW;:WAVeform:POINts 1000", None),
    (":SYSTem:ERRor?", '+0,"No error"'),
    (":CHANnel1:RANGe?;:CHANnel2:RANGe?;:TIMebase:RANGe?", "+1.50E+00;+4.0E+00;+1.0E+00"),
]
KEYSIGHT_ARM = [(":SINGle", None), (":AER?", "+0"), (":AER?", "+1")]
KEYSIGHT_WAIT = [(":OPERegister:CONDition?", "+40"), (":OPERegister:CONDition?", "+0")]
KEYSIGHT_PREAMBLES = [
    (":WAVeform:SOURce CHANnel1;:WAVeform:PREamble?", "+1,+3,+4,+1,+2.5E-01,-1.0E-01,+0,+1.0E-04,+0.0E+00,+32768"),
    (":WAVeform:SOURce CHANnel2;:WAVeform:PREamble?", "+1,+3,+4,+1,+2.5E-01,-1.0E-01,+0,+2.0E-04,+1.0E-01,+32768"),
]
KEYSIGHT_DATA = [
    (":WAVeform:SOURce CHANnel1;:WAVeform:DATA?", np.array([32768, 32769, 1, 0], "<u2").tobytes()),
    (":WAVeform:SOURce CHANnel2;:WAVeform:DATA?", np.array([0, 65535, 65535, 32767], "<u2").tobytes()),
]
TEK_SETUP = [
    ("*CLS;:HEADer 0;:ACQuire:STATE STOP", None),
    (":DISplay:GLObal:CH1:STATE 1;:CH1:COUPling DC;INVert 0;BANdwidth FULl;POSition 0;SCAle 0.15;OFFSet 0", None),
    (":DISplay:GLObal:CH2:STATE 1;:CH2:COUPling DC;INVert 0;BANdwidth FULl;POSition 0;SCAle 0.4;OFFSet 0.1", None),
    (":DISplay:GLObal:CH3:STATE 0", None),
    (":DISplay:GLObal:CH4:STATE 0", None),
    (
        ":TRIGger:A:TYPe EDGE;MODe NORMal;:TRIGger:A:EDGE:SOUrce AUXiliary;COUPling DC;SLOpe RISe;"
        ":TRIGger:AUXLevel 1.65",
        None,
    ),
    (":ACQuire:STOPAfter SEQuence;MODe HIRes", None),
    (":DATa:ENCdg SRIbinary;WIDth 2;STARt 1;STOP 1000000000", None),
    (
        ":HORizontal:MODe MANual;:HORizontal:MODe:MANual:CONFIGure HORIZontalscale;:HORizontal:MODe:SAMPLERate 1000",
        None,
    ),
    (":HORizontal:MODe:SAMPLERate?", "1.2500E+3"),
    (":HORizontal:MODe:RECOrdlength 1250;:HORizontal:DELay:MODe 0;:HORizontal:POSition 10", None),
    (":HORizontal:MODe:RECOrdlength?", "1250"),
    ("*ESR?", "0"),
    (":CH1:SCAle?;:CH2:SCAle?", "150.0000E-3;400.0000E-3"),
]
TEK_ARM = [(":ACQuire:STATE RUN", None), (":TRIGger:STATE?", "ARMED"), (":TRIGger:STATE?", "READY")]
TEK_WAIT = [(":ACQuire:STATE?", "1"), (":ACQuire:STATE?", "0")]
TEK_FIELDS = ";:WFMOutpre:NR_Pt?;XINcr?;XZEro?;PT_Off?;YMUlt?;YOFf?;YZEro?"
TEK_DATA = [
    (":DATa:SOUrce CH1;:CURVe?", np.array([1, -2, 32752], "<i2").tobytes()),
    (":DATa:SOUrce CH2;:CURVe?", np.array([-32768, 0, 7], "<i2").tobytes()),
]


def tek_preambles(start="-100.0000E-3", offset="125"):
    axis = f"3;800.0000E-6;{start};{offset}"
    return [
        (f":DATa:SOUrce CH1{TEK_FIELDS}", f"{axis};23.4375E-6;0.0;0.0"),
        (f":DATa:SOUrce CH2{TEK_FIELDS}", f"{axis};62.5000E-6;100.0000;100.0000E-3"),
    ]


def keysight(pairs):
    resource = FakeResource(pairs)
    return resource, InfiniiVision(resource, VirtualClock())


def tektronix(pairs):
    resource = FakeResource(pairs)
    return resource, TektronixMSO(resource, VirtualClock())


# Messages


def test_keysight_sends_the_setup_once_and_then_little():
    resource, scope = keysight(
        KEYSIGHT_SETUP + 2 * (KEYSIGHT_ARM + KEYSIGHT_WAIT) + KEYSIGHT_PREAMBLES + KEYSIGHT_DATA
        + KEYSIGHT_ARM + KEYSIGHT_WAIT + KEYSIGHT_DATA
    )  # fmt: skip
    scope.configure(CHANNELS, TIMEBASE, Trigger())
    for _ in range(2):
        scope.arm()
        scope.wait(5.0)
    first = scope.read()
    scope.configure(dict(reversed(CHANNELS.items())), TIMEBASE, Trigger())
    scope.arm()
    scope.wait(5.0)
    second = scope.read()
    assert resource.pairs == []
    assert resource.read_termination is None
    assert first.channels == (1, 2)
    assert first.codes.dtype == np.int16
    assert first.codes.tolist() == [[0, 1, -32767, -32768], [-32768, 32767, 32767, -1]]
    assert first.volts[0].tolist() == pytest.approx([0.0, 1e-4, -3.2767, -3.2768])
    assert first.volts[1, 3] == pytest.approx(0.1 - 2e-4)
    assert first.times.tolist() == pytest.approx([-0.1, 0.15, 0.4, 0.65])
    assert first.clipped.tolist() == [2, 3]
    assert np.array_equal(first.codes, second.codes)
    assert first.codes is not second.codes


def test_tektronix_sends_the_setup_once_and_then_little():
    resource, scope = tektronix(
        TEK_SETUP + TEK_ARM + TEK_WAIT + tek_preambles() + TEK_DATA + TEK_ARM + TEK_WAIT + TEK_DATA
    )
    scope.configure(CHANNELS, TIMEBASE, Trigger())
    for _ in range(2):
        scope.arm()
        scope.wait(5.0)
        capture = scope.read()
    scope.configure(CHANNELS, TIMEBASE, Trigger())
    assert resource.pairs == []
    assert capture.codes.tolist() == [[1, -2, 32752], [-32768, 0, 7]]
    assert capture.volts[1, 1:].tolist() == pytest.approx([0.1 - 62.5e-4, 0.1 - 93 * 62.5e-6])
    assert capture.times[0] == pytest.approx(-0.1)
    assert capture.clipped.tolist() == [1, 1]


@pytest.mark.parametrize(("start", "offset"), [("-100.0E-3", "0"), ("-100.0E-3", "125"), ("10.0E-9", "125")])
def test_tektronix_time_axis_whichever_way_it_is_told(start, offset):
    _, scope = tektronix(TEK_SETUP + tek_preambles(start, offset) + TEK_DATA)
    scope.configure(CHANNELS, TIMEBASE, Trigger())
    assert scope.read().times[0] == pytest.approx(-0.1, abs=1e-7)


def test_tektronix_time_axis_that_makes_no_sense_is_an_error():
    _, scope = tektronix(TEK_SETUP + tek_preambles("0.3", "50"))
    scope.configure(CHANNELS, TIMEBASE, Trigger())
    with pytest.raises(InstrumentError, match="starts at"):
        scope.read()


def test_a_trigger_on_a_channel():
    setup = [
        (m.replace("EXTernal;SLOPe POSitive;LEVel 1.65", "CHANnel2;SLOPe NEGative;LEVel -0.2"), reply)
        for m, reply in KEYSIGHT_SETUP
    ]
    setup = [(m.replace("HRESolution", "NORMal"), reply) for m, reply in setup]
    resource, scope = keysight(setup)
    scope.configure(CHANNELS, TIMEBASE, Trigger(2, -0.2, "falling"), high_resolution=False)
    assert resource.pairs == []


def test_errors_of_the_setup_are_raised_and_nothing_is_taken_for_granted():
    refused = [*KEYSIGHT_SETUP[:9], (":SYSTem:ERRor?", '-222,"Data out of range"'), (":SYSTem:ERRor?", '+0,"No error"')]
    resource, scope = keysight(refused + KEYSIGHT_SETUP)
    with pytest.raises(InstrumentError, match="-222"):
        scope.configure(CHANNELS, TIMEBASE, Trigger())
    with pytest.raises(InstrumentError, match="configure"):
        scope.arm()
    scope.configure(CHANNELS, TIMEBASE, Trigger())
    assert resource.pairs == []
    events = '222,"Data out of range"'
    _, scope = tektronix([*TEK_SETUP[:12], ("*ESR?", "16"), ("ALLEv?", events)])
    with pytest.raises(InstrumentError, match="222"):
        scope.configure(CHANNELS, TIMEBASE, Trigger())


def test_less_than_was_asked_for_is_an_error():
    less = [(m, "+1.0E+00;+4.0E+00;+1.0E+00" if m.startswith(":CHANnel1:RANGe?") else r) for m, r in KEYSIGHT_SETUP]
    with pytest.raises(InstrumentError, match="RANGe"):
        keysight(less)[1].configure(CHANNELS, TIMEBASE, Trigger())
    less = [(m, "1.0E-1;0.4" if m.startswith(":CH1:SCAle?") else r) for m, r in TEK_SETUP]
    with pytest.raises(InstrumentError, match="CH1"):
        tektronix(less)[1].configure(CHANNELS, TIMEBASE, Trigger())
    less = [(m, "100" if m.endswith("RATE?") else r) for m, r in TEK_SETUP]
    less = [(m, "500.0" if m == ":HORizontal:MODe:SAMPLERate?" else r) for m, r in less]
    with pytest.raises(InstrumentError, match="too few"):
        tektronix(less)[1].configure(CHANNELS, TIMEBASE, Trigger())


def test_a_block_of_another_length_is_an_error():
    short = [(KEYSIGHT_DATA[0][0], b"\0\0")]
    _, scope = keysight(KEYSIGHT_SETUP + KEYSIGHT_PREAMBLES + short)
    scope.configure(CHANNELS, TIMEBASE, Trigger())
    with pytest.raises(InstrumentError, match="1 samples came, 4"):
        scope.read()


@pytest.mark.parametrize("reply", ["garbage", "", "+1,+2"])
def test_unreadable_preambles_are_errors(reply):
    _, scope = keysight([*KEYSIGHT_SETUP, (KEYSIGHT_PREAMBLES[0][0], reply), (KEYSIGHT_PREAMBLES[1][0], reply)])
    scope.configure(CHANNELS, TIMEBASE, Trigger())
    with pytest.raises(InstrumentError):
        scope.read()


def test_identity():
    assert keysight([("*IDN?", "AGILENT TECHNOLOGIES,MSO-X 3024A,MY5,02.41")])[1].identify().startswith("AGILENT")
    assert tektronix([("*IDN?", "TEKTRONIX,MSO44B,C1,CF:91.1CT FV:2")])[1].identify().startswith("TEKTRONIX")
    for make in (keysight, tektronix):
        with pytest.raises(InstrumentError, match="found 'KEITHLEY"):
            make([("*IDN?", "KEITHLEY,2450,1,1")])[1].identify()


def test_safe_stops_and_tells_what_went_wrong():
    resource, scope = keysight([("clear", None), (":STOP", None), (":SYSTem:ERRor?", '-113,"Undefined header"')])
    resource.pairs.append((":SYSTem:ERRor?", '+0,"No error"'))
    assert scope.safe() == ['InfiniiVision: -113,"Undefined header"']
    _, scope = tektronix([("clear", None), (":ACQuire:STATE STOP", None), ("*ESR?", "0")])
    assert scope.safe() == []


@pytest.mark.parametrize("driver", DRIVERS.values())
def test_channels_that_are_not_there_are_refused_before_anything_is_sent(driver):
    scope = driver(FakeResource(), VirtualClock())
    for channels, trigger in (({}, Trigger()), ({5: ChannelSetup(1)}, Trigger()), ({1: ChannelSetup(1)}, Trigger(7))):
        with pytest.raises(LimitError):
            scope.configure(channels, TIMEBASE, trigger)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ChannelSetup(0.0),
        lambda: ChannelSetup(float("nan")),
        lambda: ChannelSetup(1.0, float("inf")),
        lambda: Timebase(0.0),
        lambda: Timebase(1.0, 1.1),
        lambda: Timebase(1.0, -0.1),
        lambda: Timebase(1.0, points=10),
    ],
)
def test_impossible_settings_are_refused(make):
    with pytest.raises(LimitError):
        make()


def test_rounding_goes_up():
    values = [1.0, 1.001, 9.999, 0.0123, 1.3, 0.15, 123456.0]
    assert [three_digits_up(v) for v in values] == pytest.approx([1.0, 1.01, 10.0, 0.0123, 1.3, 0.15, 124000.0])


# On the simulated instruments


@pytest.fixture(params=DRIVERS)
def bench(request, tmp_path):
    bench, manager = open_bench(tmp_path)
    with contextlib.closing(manager):
        resource = manager.open_resource(ADDRESSES[request.param])
        bench.scope = DRIVERS[request.param](resource, bench.clock)
        bench.panel = bench.scopes[list(DRIVERS).index(request.param)]
        yield bench


FOUR = {1: ChannelSetup(3.0), 2: ChannelSetup(2.0, 0.2), 3: ChannelSetup(5.0, -0.1), 4: ChannelSetup(0.4)}


def shoot(bench, **run) -> Capture:
    bench.scope.arm()
    bench.run(**run)
    bench.scope.wait(5.0)
    return bench.scope.read()


def test_four_channels_of_a_run(bench):
    assert bench.scope.identify()
    bench.scope.configure(FOUR, Timebase(1.2, 0.1, 10_000), Trigger())
    capture = shoot(bench, delay=0.01)
    assert capture.channels == (1, 2, 3, 4)
    assert capture.codes.shape[1] >= 10_000
    assert capture.times[0] == pytest.approx(-0.1, abs=capture.x_increment)
    assert capture.times[-1] >= 1.1 - 2 * capture.x_increment
    ideal = FakeRun(0.0).sample(list(WAVES), capture.times)
    # The noise of the screen's full height is 0.3 % or 0.15 %, a sixteenth of that after averaging.
    ranges = np.array([c.range_v for c in FOUR.values()])
    deviation = (capture.volts - ideal) / ranges[:, None]
    assert np.all(deviation.std(axis=1) < 3.5e-4)
    assert np.all(np.abs(deviation.mean(axis=1)) < 2e-5)
    assert capture.clipped.tolist() == [0, 0, 0, 0]
    # The time axis is right to a sample: a shift by one fits worse.
    steep = 3
    errors = [np.std(capture.volts[steep] - FakeRun(0.0).sample(["ny"], capture.times + shift)[0])
              for shift in (-capture.x_increment, 0.0, capture.x_increment)]  # fmt: skip
    assert np.argmin(errors) == 1


def test_clipping_is_told_and_bounded(bench):
    bench.scope.configure({1: ChannelSetup(1.0), 3: ChannelSetup(5.0)}, Timebase(1.0), Trigger())
    capture = shoot(bench)
    assert capture.channels == (1, 3)
    low, high = capture.clipped
    assert low > 1000
    assert high == 0
    assert np.abs(capture.volts[0]).max() < 0.66


def test_trigger_on_a_channel(bench):
    bench.scope.configure({1: ChannelSetup(3.0)}, Timebase(0.1, 0.05, 5000), Trigger(1, 0.5, "falling"))
    capture = shoot(bench)
    at = np.argmin(np.abs(capture.times))
    assert capture.volts[0, at] == pytest.approx(0.5, abs=0.02)
    assert capture.volts[0, 0] > 0.9 > 0.0 > capture.volts[0, -1]


def test_no_trigger_is_an_error_and_the_next_one_is_seen(bench):
    bench.scope.configure({1: ChannelSetup(3.0)}, Timebase(0.5), Trigger(level_v=5.0))
    bench.scope.arm()
    before = bench.clock.now()
    bench.run()
    with pytest.raises(InstrumentError, match=r"no complete record within 3 s.*5 V"):
        bench.scope.wait(3.0)
    assert bench.clock.now() - before == pytest.approx(3.0, abs=0.1)
    assert not bench.panel.digitizer.running
    bench.scope.configure({1: ChannelSetup(3.0)}, Timebase(0.5), Trigger())
    assert shoot(bench).codes.shape[0] == 1


def test_captures_in_a_row_cost_few_messages(bench):
    bench.scope.configure(FOUR, Timebase(1.0), Trigger())
    shoot(bench)
    seen = []
    original = bench.panel.handle
    device = next(d for d in _devices(bench) if d.panel is bench.panel)
    device.panel = _Spy(bench.panel, original, seen)
    captures = [shoot(bench, duration=0.9) for _ in range(3)]
    assert len(seen) <= 3 * 12
    assert sum(b"PRE?" in m or b"WFMO" in m for m in seen) == 0
    assert not np.array_equal(captures[0].codes, captures[1].codes)
    assert captures[0].x_origin == captures[2].x_origin


def _devices(bench):
    return bench.scope._link._resource.visalib.instruments.values()


class _Spy:
    def __init__(self, panel, handle, seen):
        self._panel, self._handle, self._seen = panel, handle, seen

    def __getattr__(self, name):
        return getattr(self._panel, name)

    def handle(self, message):
        self._seen.append(message)
        return self._handle(message)


def test_equal_benches_record_equal_codes(tmp_path):
    for name, driver in DRIVERS.items():
        codes = []
        for _ in range(2):
            bench, manager = open_bench(tmp_path)
            with contextlib.closing(manager):
                bench.scope = driver(manager.open_resource(ADDRESSES[name]), bench.clock)
                bench.scope.configure(FOUR, Timebase(1.0), Trigger())
                codes.append(shoot(bench).codes)
        assert np.array_equal(*codes)


def test_safe_on_the_simulated_instrument(bench):
    bench.scope.configure(FOUR, Timebase(1.0), Trigger())
    bench.scope.arm()
    assert bench.scope.safe() == []
    assert not bench.panel.digitizer.running
    bench.scope.configure(FOUR, Timebase(1.0), Trigger())
    assert shoot(bench).channels == (1, 2, 3, 4)
