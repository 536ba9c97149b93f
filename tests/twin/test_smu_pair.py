"""Keithley 2600s: TSP as published drivers speak it, the twin's physics behind it, the pair as an analyzer."""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvisa
from hypothesis import given, settings
from hypothesis import strategies as st
from pymeasure.adapters import VISAAdapter
from pymeasure.instruments.keithley import Keithley2600

import sim_configs
from analysis.programming import summarise
from analysis.records import open_run
from instruments.array import CellArray
from instruments.errors import ConfigError, DoubtError, InstrumentError, LimitError, LinkError
from instruments.smu_pair import SourceMeasurePair
from instruments.staircase import Sweep, rest, sweep
from instruments.station import Station
from instruments.station_file import StationFile
from instruments.twin.panels.keithley_2600 import Keithley2600Panel
from instruments.twin.panels.tsp import RUNTIME, SYNTAX, Attribute, TspError, World, execute, shown
from workflows.procedures.program import ProgramRequest, program
from workflows.procedures.session import recorded_run

FILE = StationFile.load("station-smu-pair.yaml")
FIRST, SECOND = "GPIB0::26::INSTR", "GPIB0::27::INSTR"


@pytest.fixture
def station() -> Iterator[Station]:
    with Station.open(FILE, seed="1") as opened:
        yield opened


@pytest.fixture
def box() -> Iterator[Any]:
    """An instrument of the bench as pyvisa has it, with `say` and `ask`."""
    manager = pyvisa.ResourceManager(f"{sim_configs.path('bench-smu-pair.yaml')}@twin")
    resource: Any = manager.open_resource(FIRST, read_termination="\n", write_termination="\n", timeout=1000)
    resource.bench = manager.visalib.bench
    yield resource
    manager.close()


def error(box: Any) -> tuple[int, str]:
    code, text, _, node = box.query("print(errorqueue.next())").split("\t")
    assert float(node) == 1.0
    return int(float(code)), text


# The language


def world(**values: Any) -> tuple[World, dict[str, Any], list[str]]:
    store, printed = dict(values), []
    found = World()
    for name in values:
        found.attributes[name.replace("_", ".")] = Attribute(
            lambda name=name: store[name], lambda value, name=name: store.__setitem__(name, value)
        )
    found.functions["print"] = lambda args: printed.append("\t".join(shown(one) for one in args)) or []
    found.functions["two"] = lambda args: [1.0, 2.0]
    return found, store, printed


@pytest.mark.parametrize(
    ("message", "printed"),
    [
        ("print(1)", "1.00000e+00"),
        ("print(-1.5e-3)", "-1.50000e-03"),
        ("print(2*3+4/2-1)", "7.00000e+00"),
        ("print(-(1+2)*3)", "-9.00000e+00"),
        ("print(0x10)", "1.60000e+01"),
        ("print('a b', \"c\")", "a b\tc"),
        ("print(true, false, nil, x)", "true\tfalse\tnil\tnil"),
        ("print(two())", "1.00000e+00\t2.00000e+00"),
        ("print(two(), 3)", "1.00000e+00\t3.00000e+00"),
        ("print((two()))", "1.00000e+00"),
        ("x=5 print(x)", "5.00000e+00"),
        ("x = 5; a.b = x\nprint(a.b)", "5.00000e+00"),
        ("print(a.b) a.b=2", "0.00000e+00"),
        ("print(a.nothing)", "nil"),
        ("print(1/0)", "nan"),
        ("print()", ""),
    ],
)
def test_lua_as_far_as_single_commands_go(message: str, printed: str) -> None:
    names, _, said = world(a_b=0.0)
    execute(message, names)
    assert said == [printed]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("print(", SYNTAX), ("a.b=", SYNTAX), ("a.b", SYNTAX), ("=1", SYNTAX), ("a.b=1 b=)", SYNTAX), ("@", SYNTAX),
        ("for i=1,3 do print(i) end", SYNTAX), ("loadscript x", SYNTAX), ("x='a", SYNTAX), ("((((", SYNTAX),
        ("print" + "(" * 60 + "1" + ")" * 60, SYNTAX), ("nothing()", RUNTIME), ("c.d=1", RUNTIME),
        ("print(c.d)", RUNTIME), ("a.b='x'+1", RUNTIME), ("print=1", RUNTIME), ("a=1", RUNTIME),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_an_error_and_nothing_of_it_runs(message: str, code: int) -> None:
    names, store, said = world(a_b=0.0)
    with pytest.raises(TspError) as caught:
        execute(f"a.b=1;{message}" if code == RUNTIME else f"{message};a.b=1", names)
    assert caught.value.code == code
    assert caught.value.text.startswith(f"TSP {'Syntax' if code == SYNTAX else 'Runtime'} error at line 1: ")
    assert store["a_b"] == (1.0 if code == RUNTIME else 0.0)
    assert said == []


@settings(max_examples=60)
@given(
    st.text(max_size=60)
    | st.lists(
        st.sampled_from(["a.b", "=", "(", ")", "print", "x", "1", ";", ",", "-", "*", "/", "two", "[", "]", "'q'"])
    ).map(" ".join)
)
def test_whatever_comes_is_executed_or_an_error(message: str) -> None:
    names, _, _ = world(a_b=0.0)
    told = ""
    try:
        execute(message, names)
    except TspError as refused:
        told = refused.text
    assert told.isascii()


# The panel


def test_errors_are_queued_and_told_one_by_one(box: Any) -> None:
    for message in ("smua.source.levelv=1000", "smub.source.limiti=0", "smua.nothing=1", "print(", "*FOO"):
        box.write(message)
    assert float(box.query("print(errorqueue.count)")) == 5
    assert box.read_stb() & 4
    found = [error(box) for _ in range(6)]
    assert [code for code, _ in found] == [1102, 1101, -286, -285, -113, 0]
    assert found[-1][1] == "Queue Is Empty"
    assert box.query("*IDN?") == "Keithley Instruments Inc., Model 2602B, 4000001, 3.3.1"
    assert [box.query(q) for q in ("*OPC?", "*TST?", "*ESE?")] == ["1", "0", "0"]


def test_ranges_bind_levels(box: Any) -> None:
    box.write("smua.source.rangev=0.5 smua.source.levelv=0.9")
    assert error(box)[0] == 0  # the range of 1 V
    assert box.query("print(smua.source.rangev, smua.source.autorangev)") == "1.00000e+00\t0.00000e+00"
    box.write("smua.source.levelv=2")
    assert error(box) == (5005, "Value too big for range")
    assert float(box.query("print(smua.source.levelv)")) == 0.9
    box.write("smua.source.func=2")
    assert error(box)[0] == 1102
    box.write("smua.measure.rangei=1e-7 smua.source.levelv=0")
    assert float(box.query("print(smua.measure.rangei)")) == pytest.approx(1e-7)


def test_an_output_that_is_off_rests_or_is_open(box: Any) -> None:
    fixture = box.bench.fixture
    box.write("smua.source.levelv=0.25 smua.source.output=smua.OUTPUT_ON")
    assert (fixture.voltage(1), 1 in fixture.sources) == (0.25, True)
    box.write("smua.source.output=0")
    assert (fixture.voltage(1), 1 in fixture.sources) == (0.0, True)
    box.write("smua.source.offmode=smua.OUTPUT_HIGH_Z")
    assert (fixture.voltage(1), 1 in fixture.sources) == (0.0, False)
    box.write("reset()")
    assert box.query("print(smua.source.levelv, smua.source.offmode)") == "0.00000e+00\t0.00000e+00"


def test_a_limit_holds_the_current_and_says_so(box: Any) -> None:
    bench = box.bench
    bench.fixture.connect("program", 0, 2, 3)
    g = float(bench.true_conductance()[0, 2, 3])
    bench.fixture.force(3, 0.0)
    bench.fixture.force(2, 3.0)
    box.write("smua.source.limiti=1e-3 smua.source.levelv=0.2 smua.source.output=1")
    free = float(box.query("print(smua.measure.i())"))
    assert free == pytest.approx(0.2 * g, rel=0.02)
    assert box.query("print(smua.source.compliance)") == "false"
    box.write(f"smua.source.limiti={free / 2}")
    amps, status = box.query("print(smua.measure.i(), status.measurement.instrument.smua.condition)").split("\t")
    assert (float(amps), float(status)) == (pytest.approx(free / 2, rel=0.02), 2.0)
    box.write(
        "smua.source.output=0 smua.source.func=0 smua.source.limitv=0.3 smua.source.leveli=1e-6 smua.source.output=1"
    )
    volts = float(box.query("print(smua.measure.v())"))
    assert volts == pytest.approx(1e-6 / g, rel=0.05)
    ratio = float(box.query("print(smua.measure.r())"))
    assert ratio == pytest.approx(1 / g, rel=0.1)
    assert error(box)[0] == 0


def test_buffers_keep_readings(box: Any) -> None:
    box.write("smua.nvbuffer1.clear() smua.measure.count=3 smua.measure.v(smua.nvbuffer1)")
    assert float(box.query("print(smua.nvbuffer1.n)")) == 3
    assert box.query("printbuffer(1, 3, smua.nvbuffer1)").count(", ") == 2
    box.write("smua.nvbuffer1.appendmode=1 smua.measure.iv(smua.nvbuffer1, smua.nvbuffer2)")
    assert [float(box.query(f"print(smua.nvbuffer{n}.n)")) for n in (1, 2)] == [6, 3]
    assert box.query("printbuffer(1, 1, smua.nvbuffer1.readings, smua.nvbuffer2)").count(", ") == 1
    for wrong in ("printbuffer(1, 99, smua.nvbuffer1)", "printbuffer(1, 2, 3)", "printbuffer(1)", "smua.measure.i(7)"):
        box.write(wrong)
        assert error(box)[0] in (1102, -286)


@pytest.mark.parametrize("options", [{"channels": "a=1"}, {"channels": "a=x,b=2"}, {"model": "2400"}, {"speed": "1"}])
def test_options_that_make_no_sense_are_refused(box: Any, options: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="keithley_2600"):
        Keithley2600Panel(box.bench, options)


# Published drivers, unmodified


@pytest.mark.filterwarnings("ignore:It is not known whether this device:FutureWarning")
def test_pymeasure_s_driver_runs_unmodified(box: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapter = VISAAdapter(FIRST, visa_library=box.visalib, read_termination="\n", write_termination="\n")
        smu = Keithley2600(adapter)
    a, b = smu.ChA, smu.ChB
    a.apply_voltage(None, 1e-3)
    a.source_voltage, a.source_output = 0.2, "ON"
    assert (a.source_voltage, a.source_output, a.source_mode, a.compliance_current) == (0.2, "ON", "voltage", 1e-3)
    assert abs(a.current) < 1e-9
    assert a.voltage == pytest.approx(0.2, abs=1e-4)
    assert box.bench.fixture.voltage(1) == 0.2
    b.apply_current(None, 1.0)
    b.source_current, b.source_output = 1e-6, "ON"
    assert b.voltage == pytest.approx(1.0, rel=1e-3)  # an open end: the voltage limit
    a.measure_current(1, 1e-4)
    a.source_voltage = 0.0
    assert smu.next_error == (0, "Queue Is Empty")
    smu.write("smua.source.levelv=1000")
    assert smu.next_error == (1102, "Parameter Too Big")


# The pair as an analyzer


def test_a_cell_is_read_set_and_reset(station: Station) -> None:
    cells, bench = station.array, station.bench
    cells.prepare()
    cells.select(0, 2, 3)
    true = lambda: float(bench.true_conductance()[0, 2, 3])  # noqa: E731  # read again after every pulse
    before = cells.read().conductance
    assert before == pytest.approx(true(), rel=0.02)
    cells.pulse("set", 1.5, 1.2, 1e-3)
    after = cells.read().conductance
    assert after > before + 40e-6
    assert after == pytest.approx(true(), rel=0.02)
    cells.pulse("reset", 1.0, 3.0, 1e-3)
    assert cells.read().conductance < after - 40e-6
    drives = [d for d in bench.ledger.table() if d["kind"] != b"read"]
    assert [(d["kind"], round(float(d["volts"]), 6), float(d["gate"])) for d in drives] == [
        (b"set", 1.5, 1.2),
        (b"reset", -1.0, 3.0),
    ]
    assert all(1e-3 <= d["width"] <= 1.15e-3 for d in drives)


@pytest.mark.parametrize(
    ("ask", "why"),
    [
        (lambda a: a.force_voltage(1, 3.6, 1e-4), "outside -500 mV..3.5 V"),
        (lambda a: a.force_voltage(4, 0.1, 1e-4), "channel 'b' is not wired"),
        (lambda a: a.force_voltage(5, 0.1, 1e-4), "there is no channel 5"),
        (lambda a: a.force_voltage(1, 0.1, 2e-3), "2 mA is outside"),
        (lambda a: a.force_voltage(1, float("nan"), 1e-4), "not among the commands whose drive is checked"),
        (lambda a: a.pulse_setup(1, 0.0, 1.0, 1e-6), "a pulse of 1e-06 s is outside 0.0002 s to 1 s"),
        (lambda a: a.fire([1]), "set a pulse up first"),
        (lambda a: a.connect_selector(0, "smu"), "it has no SMU/PGU selector"),
        (lambda a: a.use_high_resolution_adc([1], 26), "26 power line cycles"),
        (
            lambda a: a._boxes[0].inst.ChA.__class__.source_current.fset(a._boxes[0].inst.ChA, 1e-6),
            "not among the comm",
        ),
        (lambda a: a._boxes[0].inst.write("smua.source.levelv=1+8"), "not among the commands"),
        (lambda a: a._boxes[0].inst.write("smua.source.levelv=1 smua.source.levelv=9"), "not among the commands"),
    ],
)
def test_beyond_a_limit_nothing_is_sent(station: Station, ask: Any, why: str) -> None:
    with pytest.raises(LimitError) as caught:
        ask(station.analyzer)
    assert why in str(caught.value)
    assert [station.bench.fixture.voltage(channel) for channel in (1, 2, 3, 4)] == [0.0] * 4


def test_nothing_is_sent_twice_and_forgetting_sends_it_again(station: Station) -> None:
    pair: Any = station.analyzer
    pair.force_voltage(1, 0.1, 1e-4)
    begun = station.clock.now()
    pair.force_voltage(1, 0.1, 1e-4)
    assert station.clock.now() == begun
    station.bench.fixture.force(1, 0.3)  # somebody at the front panel
    pair.mend()
    pair.force_voltage(1, 0.1, 1e-4)
    assert station.bench.fixture.voltage(1) == 0.1


class Wire:
    """Loses replies after the first `good` ones."""

    def __init__(self, good: int) -> None:
        self.good = good

    def before_write(self, resource: str, data: bytes) -> bytes:
        return data

    def after_reply(self, resource: str, data: bytes) -> bytes | None:
        self.good -= 1
        return data if self.good >= 0 else None


def test_what_isn_t_acknowledged_is_in_doubt_or_a_broken_line(station: Station) -> None:
    pair: Any = station.analyzer
    library: Any = station.openings["analyzer"].manager.visalib
    pair.force_voltage(1, 0.1, 1e-4)
    library.faults = Wire(0)
    with pytest.raises(LinkError):
        pair.spot_current(1)
    library.faults = None
    pair.mend()
    pair.pulse_setup(1, 0.0, 0.4, 1e-3)
    pair.force_voltage(1, 0.0, 1e-3)
    library.faults = Wire(0)
    with pytest.raises(DoubtError, match="a pulse may have been given or not"):
        pair.fire([1])
    library.faults = None
    assert pair.safe() == []


def test_an_instrument_of_another_kind_is_refused(tmp_path: Path) -> None:
    text = sim_configs.path("bench-smu-pair.yaml").read_text()
    (tmp_path / "bench-smu-pair.yaml").write_text(text.replace('"4000002"', '"4000002", model: 2636B'))
    (tmp_path / "station.yaml").write_text(FILE.text)
    with Station.open(StationFile.load(tmp_path / "station.yaml")) as station:
        assert "2636B" in station.identities[0].idn
    (tmp_path / "station.yaml").write_text(FILE.text.replace(SECOND, "ASRL1::INSTR"))
    with pytest.raises(InstrumentError):
        Station.open(StationFile.load(tmp_path / "station.yaml"))


def test_one_instrument_of_two_channels_reads_but_cannot_drive_a_third_line(tmp_path: Path) -> None:
    (tmp_path / "station.yaml").write_text(FILE.text.replace('options: {second: "GPIB0::27::INSTR"}', "options: {}"))
    with Station.open(StationFile.load(tmp_path / "station.yaml")) as station:
        station.analyzer.force_voltage(1, 0.2, 1e-4)
        assert abs(station.analyzer.spot_current(1).current) < 1e-9
        with pytest.raises(LimitError, match="name the other instrument by the option `second`"):
            station.analyzer.force_voltage(3, 0.0, 1e-4)


def test_a_sweep_is_made_level_by_level(station: Station) -> None:
    cells: CellArray = station.array
    assert isinstance(station.analyzer, SourceMeasurePair)
    cells.prepare()
    cells.select(0, 1, 1)
    curve = sweep(station.analyzer, cells, Sweep("set", 1.6, 1.2, 200e-6, 12))
    assert curve.amps.shape == (24,)
    low, high = curve.amps[2] / 0.29, curve.amps[-3] / 0.29
    assert high > 2 * low  # it switched on the way
    rest(station.analyzer, cells)
    assert cells.read().conductance == pytest.approx(station.bench.true_conductance()[0, 1, 1], rel=0.03)


@pytest.mark.parametrize("name", ["station-smu-pair.yaml", "station-matrix.yaml"])
def test_a_pattern_is_programmed_and_recorded(tmp_path: Path, name: str) -> None:
    """By the default algorithm, with pulses of the station's shortest width, whatever selects the cells."""
    file, target = StationFile.load(name), np.full((8, 8), np.nan)
    target[2, 2], target[6, 1] = 40e-6, 70e-6
    asked = ProgramRequest(target[None], passes=1)
    asked.check(file.shape, file.limits)
    asked.check_extremes(file.limits)
    with Station.open(file, seed="1") as station:
        with recorded_run(station, tmp_path / "run", "program", asked.parameters(), arrays=1) as writer:
            program(station.array, writer, asked)
        drives, true = station.bench.ledger.table(), station.bench.true_conductance()
    with open_run(tmp_path / "run") as run:
        assert summarise(run).inside == 1.0
        roles = [one.role for one in run.header.instruments]
    assert roles == ["analyzer", "board" if name == "station-smu-pair.yaml" else "matrix"]
    pulses = drives[drives["kind"] != b"read"]
    assert len(pulses) > 5
    assert pulses["width"].min() >= 1e-3
    assert pulses["width"].max() < 1.3e-3
    assert np.nanmax(np.abs(true[0] - target)) < 2e-6


def test_a_station_s_shortest_pulse_is_the_algorithms(tmp_path: Path) -> None:
    from workflows.procedures.write_verify import ALGORITHMS, for_pulses

    for name, algorithm in ALGORITHMS.items():
        assert {pulse.width for pulse in for_pulses(name, 1e-3).extremes(20e-6, 80e-6)} == {1e-3}
        assert for_pulses(name, 1e-8) is algorithm
        longer = for_pulses(name, 1e-3).fresh()
        assert {pulse.width for pulse in longer.extremes(20e-6, 80e-6)} == {1e-3}


def test_the_file_s_lines_may_have_smus_only_where_the_driver_pulses_by_them() -> None:
    other = replace(
        FILE,
        instruments={
            **FILE.instruments,
            "analyzer": replace(FILE.instruments["analyzer"], driver="b1500a", options={}),
        },
    )
    with pytest.raises((ConfigError, InstrumentError)):
        Station.open(other)
