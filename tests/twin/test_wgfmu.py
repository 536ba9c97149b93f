"""Pulses and reads in one pattern: the driver, the vendor's library by ctypes, and the twin behind the same names."""

import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import pyvisa
from hypothesis import given, settings
from hypothesis import strategies as st
from twin.fakes_b1500a import FakeBench

from instruments import wgfmu_library
from instruments.errors import ConfigError, LimitError
from instruments.limits import Limits
from instruments.twin.bench import Bench, open_bench
from instruments.twin.panels.b1500a import B1500APanel
from instruments.twin.wgfmu import TwinWgfmu
from instruments.wgfmu import Sampling, Waveform, Wgfmu
from instruments.wgfmu_functions import (
    CHANNEL_NOT_FOUND,
    COMMUNICATION,
    CONTEXT,
    ILLEGAL_STRING,
    NOT_READY,
    NOT_RUNNING,
    NOT_SUPPORTED,
    OUT_OF_RANGE,
    PATTERN_EXISTS,
    PATTERN_NOT_FOUND,
    Axis,
    CurrentRange,
    EventData,
    MeasureMode,
    OperationMode,
    Status,
    WgfmuError,
)

ADDRESS = "GPIB0::17::INSTR"
MODULES = "B1517A,B1517A,B1517A,B1517A,0,B1525A,B1530A,0,0,0"
CELL = (0, 1, 2)
BENCH = f"""
spec: "1.1"
bench: {{preset: ideal, arrays: "1", rows: "2", cols: "2"}}
devices:
  b1500a:
    eom: {{GPIB INSTR: {{q: "\\r\\n", r: "\\r\\n"}}}}
    error: ERROR
    handler: "instruments.twin.panels.b1500a:B1500APanel"
    options: {{modules: "{MODULES}", rsu: "701=1"}}
resources:
  {ADDRESS}: {{device: b1500a}}
"""
LINES = {701: "bit_line", 702: "source_line"}
NOISE = 47e-9  # A rms for 0.95 us in the 100 uA range (data sheet)


def make_library(panel: B1500APanel) -> TwinWgfmu:
    library = TwinWgfmu(SimpleNamespace(instruments={ADDRESS: SimpleNamespace(panel=panel)}))
    library.open_session(ADDRESS)
    return library


def on_resistor() -> tuple[FakeBench, TwinWgfmu]:
    """10 kohm behind SMU 1, whose cable goes through the switch of channel 701."""
    bench = FakeBench()
    return bench, make_library(B1500APanel(bench, {"modules": MODULES, "rsu": "701=1,702=3"}))


def on_cell(preset: str, seed: int = 1) -> tuple[Bench, B1500APanel, TwinWgfmu]:
    """A selected cell: gate on SMU 2 at 1.4 V, bit line on 701 or SMU 1, source line on 702 or SMU 3."""
    bench = open_bench({"preset": preset, "rows": "4", "cols": "4"}, base=Path("."), params={"seed": str(seed)})
    panel = B1500APanel(bench, {"modules": MODULES, "rsu": "701=1,702=3"})
    bench.fixture.connect("program", *CELL)
    panel.handle(b"ERMOD 1;ERSSP 0,1;ERSSP 1,1;CN 1,2,3,601,602;DV 2,0,1.4,1E-3")
    assert panel.handle(b"ERRX?") == [b'+0,"No Error."']
    return bench, panel, make_library(panel)


def code(expected: int):
    return pytest.raises(WgfmuError, check=lambda error: error.code == expected)


# The library's rules


def test_a_read_within_a_pattern_is_ohms_law_at_its_time() -> None:
    bench, lib = on_resistor()
    lib.create_pattern("p", 0.0)
    lib.add_vectors("p", [1e-6, 5e-6, 1e-6, 3e-6], [0.5, 0.5, 0.0, 0.0])
    lib.set_measure_event("p", "on", 2e-6, 3, 1e-6, 1e-6, EventData.AVERAGED)
    lib.set_measure_event("p", "off", 8e-6, 1, 1e-6, 0.0, EventData.AVERAGED)
    lib.set_operation_mode(701, OperationMode.FAST_IV)
    lib.set_measure_mode(701, MeasureMode.CURRENT)
    lib.set_measure_current_range(701, CurrentRange.UA100)
    lib.add_sequence(701, "p", 2)
    lib.connect(701)
    begun = bench.clock.now()
    lib.execute()
    lib.wait_until_completed()
    assert bench.clock.now() - begun == pytest.approx(20e-6, abs=1e-9)
    assert lib.status() == (Status.COMPLETED, pytest.approx(20e-6), pytest.approx(20e-6))
    assert lib.measure_value_size(701) == (8, 8)
    times, amps = lib.measure_values(701, 0, 8)
    assert times == pytest.approx([2.5e-6, 3.5e-6, 4.5e-6, 8e-6, 12.5e-6, 13.5e-6, 14.5e-6, 18e-6], abs=1e-12)
    # 50 uA on the pulse; a conversion of 10 ns is 10 times as noisy as one of 1 us; five sigma each.
    assert amps[[0, 1, 2, 4, 5, 6]] == pytest.approx(50e-6, abs=5 * NOISE)
    assert amps[[3, 7]] == pytest.approx(0.0, abs=50 * NOISE)
    assert lib.measure_values(701, 6, 99)[0] == pytest.approx([14.5e-6, 18e-6], abs=1e-12)


def test_raw_data_are_all_conversions_and_as_noisy_as_those() -> None:
    _, lib = on_resistor()
    lib.create_pattern("p", 0.2)
    lib.add_vectors("p", [50e-6], [0.2])
    lib.set_measure_event("p", "e", 1e-6, 2, 12e-6, 10e-6, EventData.RAW)
    lib.set_operation_mode(701, OperationMode.FAST_IV)
    lib.set_measure_mode(701, MeasureMode.CURRENT)
    lib.set_measure_current_range(701, CurrentRange.UA100)
    lib.add_sequence(701, "p", 1)
    lib.connect(701)
    lib.execute()
    times, amps = lib.measure_values(701, 0, 10**6)
    assert len(times) == 2 * (1 + 2000)  # points x (1 + int(average / 5 ns)), User's Guide
    assert np.diff(times[:2001]) == pytest.approx(5e-9, abs=1e-12)
    sigma = NOISE * (0.95e-6 / 5e-9) ** 0.5
    assert amps.mean() == pytest.approx(20e-6, abs=5 * sigma / 4002**0.5)
    assert amps.std() == pytest.approx(sigma, rel=0.06)  # 1/sqrt(2 N) = 1.1 %, five of them


def test_a_range_event_changes_range_noise_and_where_readings_end() -> None:
    _, lib = on_resistor()
    lib.create_pattern("p", 0.5)
    lib.add_vectors("p", [100e-6], [0.5])
    lib.set_measure_event("p", "wide", 1e-6, 20, 2e-6, 1e-6, EventData.AVERAGED)
    lib.set_range_event("p", "r", 50e-6, CurrentRange.UA10)
    lib.set_measure_event("p", "narrow", 51e-6, 20, 2e-6, 1e-6, EventData.AVERAGED)
    lib.set_operation_mode(701, OperationMode.FAST_IV)
    lib.set_measure_mode(701, MeasureMode.CURRENT)
    lib.set_measure_current_range(701, CurrentRange.MA1)
    lib.add_sequence(701, "p", 1)
    lib.connect(701)
    lib.execute()
    _, amps = lib.measure_values(701, 0, 40)
    assert amps[:20].std() > 5 * NOISE  # ten times the range, ten times the noise
    assert list(amps[20:]) == [10e-6] * 20  # 50 uA don't fit


def test_a_disconnected_or_passing_switch_leaves_the_smu_on_its_line() -> None:
    bench = FakeBench()
    panel = B1500APanel(bench, {"modules": MODULES, "rsu": "701=1"})
    lib = make_library(panel)

    def spot() -> float:
        panel.handle(b"TI 1,0")
        return float(panel.pull()[3:])

    panel.handle(b"CN 1;DV 1,0,0.3,1E-3")
    assert spot() == pytest.approx(30e-6, rel=1e-3)
    lib.connect(701)  # SMU mode still: passes
    assert spot() == pytest.approx(30e-6, rel=1e-3)
    lib.set_operation_mode(701, OperationMode.DC)
    lib.set_measure_mode(701, MeasureMode.CURRENT)
    lib.dc_force_voltage(701, 1.0)
    assert abs(spot()) < 1e-6
    assert lib.dc_measure_averaged_value(701, 1000, 200) == pytest.approx(100e-6, rel=0.05)
    panel.handle(b"DV 1,0,0.4,1E-3")  # into the open end
    assert bench.fixture.voltage(1) == 1.0
    lib.disconnect(701)
    assert spot() == pytest.approx(40e-6, rel=1e-3)


def test_what_is_wrong_has_the_headers_error_code_and_changes_nothing() -> None:
    _, lib = on_resistor()
    lib.create_pattern("p", 0.0)
    lib.add_vectors("p", [1e-6], [1.0])
    event = ("e", 0.0, 1, 1e-6, 0.0, EventData.AVERAGED)
    with code(PATTERN_EXISTS):
        lib.create_pattern("p", 0.0)
    with code(ILLEGAL_STRING):
        lib.create_pattern("", 0.0)
    for name in ("q", "P"):
        with code(PATTERN_NOT_FOUND):
            lib.add_vectors(name, [1e-6], [0.0])
    for durations, volts in (([1e-9], [0.0]), ([1e5], [0.0]), ([1e-6, 1e-6], [0.0, 10.1]), ([float("nan")], [0.0])):
        with code(OUT_OF_RANGE):
            lib.add_vectors("p", durations, volts)
    for bad in (
        ("e", 2e-6, *event[2:]), ("e", 0.0, 0, *event[3:]), ("e", 0.0, 1, 1e-9, 0.0, 12000),
        ("e", 0.0, 1, 1.4, 0.0, 12000), ("e", 0.0, 1, 1e-6, 21e-3, 12000), ("e", 0.0, 1, 1e-6, 0.0, 12002),
    ):  # fmt: skip
        with code(OUT_OF_RANGE):
            lib.set_measure_event("p", *bad)
    for bad in (("e", 0.0, 1, 1e-7, 2e-7, 12000), ("e", 0.0, 3, 1e-6, 0.0, 12000)):
        with code(CONTEXT):
            lib.set_measure_event("p", *bad)
    for loops in (0.0, 1e13):
        with code(OUT_OF_RANGE):
            lib.add_sequence(701, "p", loops)
    for channel in (7, 101, 703):
        with code(CHANNEL_NOT_FOUND):
            lib.connect(channel)
    for setter in (
        lib.set_operation_mode,
        lib.set_measure_mode,
        lib.set_measure_current_range,
        lib.set_force_voltage_range,
    ):
        with code(OUT_OF_RANGE):
            setter(701, 1)
    with code(NOT_SUPPORTED):
        lib.dc_force_voltage(701, 0.1)
    with code(NOT_RUNNING):
        lib.wait_until_completed()
    with code(NOT_READY):
        lib.measure_values(701, 0, 1)
    assert lib.pattern_force_values("p")[1].tolist() == [0.0, 1.0]
    lib.close_session()
    with code(COMMUNICATION):
        lib.initialize()
    with code(COMMUNICATION):
        lib.open_session("GPIB0::5::INSTR")


@pytest.mark.parametrize(
    ("mode", "span", "volts"), [(2002, 3000, 5.5), (2001, 3001, 3.1), (2001, 3003, 0.1), (2001, 3004, -0.1)]
)
def test_levels_outside_the_output_range_are_refused_at_execution(mode: int, span: int, volts: float) -> None:
    bench, lib = on_resistor()
    lib.create_pattern("p", 0.0)
    lib.add_vectors("p", [1e-6], [volts])
    lib.set_operation_mode(701, mode)
    lib.set_force_voltage_range(701, span)
    lib.add_sequence(701, "p", 1)
    lib.connect(701)
    with code(CONTEXT):
        lib.execute()
    assert bench.fixture.voltage(1) == 0.0


def test_patterns_are_merged_stretched_and_moved() -> None:
    _, lib = on_resistor()
    lib.create_pattern("a", 0.0)
    lib.add_vectors("a", [1e-6, 1e-6], [1.0, 0.0])
    lib.create_pattern("b", 0.5)
    lib.add_vectors("b", [1e-6], [0.5])
    lib.create_merged_pattern("ab", "a", "b", Axis.TIME)
    lib.create_merged_pattern("a+b", "a", "b", Axis.VOLTAGE)
    lib.create_multiplied_pattern("2a", "a", 2.0, -1.0)
    lib.create_offset_pattern("late", "a", 1e-6, 0.25)
    shown = {name: np.column_stack(lib.pattern_force_values(name)) for name in ("ab", "a+b", "2a", "late")}
    us = 1e-6
    assert shown["ab"] == pytest.approx(np.array([[0, 0], [us, 1], [2 * us, 0], [3 * us, 0.5]]))
    assert shown["a+b"] == pytest.approx(np.array([[0, 0.5], [us, 1.5], [2 * us, 0.5]]))
    assert shown["2a"] == pytest.approx(np.array([[0, 0], [2 * us, -1], [4 * us, 0]]))
    assert shown["late"] == pytest.approx(np.array([[0, 0.25], [us, 0.25], [2 * us, 1.25], [3 * us, 0.25]]))
    assert lib.pattern_interpolated_force_value("a", 0.5e-6) == pytest.approx(0.5)


@given(st.lists(st.tuples(st.floats(1e-8, 1e-3), st.floats(-10, 10)), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_vectors_are_kept_to_ten_nanoseconds(vectors: list[tuple[float, float]]) -> None:
    _, lib = on_resistor()
    lib.create_pattern("p", 0.0)
    lib.add_vectors("p", *zip(*vectors, strict=True))
    times, volts = lib.pattern_force_values("p")
    assert np.all(np.diff(times) > 9e-9)
    assert np.diff(times) == pytest.approx([t for t, _ in vectors], abs=5.1e-9)
    assert volts[1:].tolist() == [v for _, v in vectors]


@pytest.mark.parametrize("rsu", ["701", "701=9", "501=1", "701=1,702=1"])
def test_an_impossible_switch_is_refused(rsu: str) -> None:
    with pytest.raises(ConfigError, match="B1500A rsu"):
        B1500APanel(FakeBench(), {"modules": MODULES, "rsu": rsu})


# On a cell


def pgu_road(panel: B1500APanel, volts: float, width: float) -> None:
    """The same pulse from the SPGU."""
    messages = [
        "ERSSP 0,2;SER 601,1E6;SPRM 1,1;SPPER 1E-4;SPM 601,1",
        f"SPT 601,1,0,{width:.2E},1E-7;SPV 601,1,0,{volts};SPUPD 601;SRP",
        "ERSSP 0,1",
    ]
    for message in messages:
        panel.handle(message.encode())
    assert panel.handle(b"ERRX?") == [b'+0,"No Error."']


def smu_read(panel: B1500APanel) -> float:
    panel.handle(b"AAD 1,1;AIT 1,2,1;DV 1,0,0.2,1E-3;TI 1,0;DV 1,0,0,1E-3")
    return float(panel.pull()[3:]) / 0.2


def test_pulse_and_read_in_one_pattern_agree_with_the_spgu_and_smu_road_on_an_ideal_cell() -> None:
    for volts, width in ((1.4, 200e-9), (1.5, 1e-6), (1.8, 3e-6)):
        bench, panel, lib = on_cell("ideal")
        driver = Wgfmu(lib, LINES, Limits())
        driver.open(ADDRESS)
        pattern = Waveform.pulses([(volts, width), (0.2, 50e-6)], read=[1], average=45e-6)
        traces = driver.play({701: pattern, 702: Waveform((0.0, 1e-6), (0.0, 0.0))}, CurrentRange.UA100)
        by_wgfmu = float(bench.true_conductance()[CELL])
        driver.close()
        other, other_panel, _ = on_cell("ideal")
        pgu_road(other_panel, volts, width)
        by_pgu = float(other.true_conductance()[CELL])
        # SER 1 Mohm still lifts the SPGU's output by 50 ppm, 0.07 mV, which the exponential law turns into 0.08 %.
        assert by_wgfmu == pytest.approx(by_pgu, rel=1e-3)
        # Each reading within its own error of the truth: 47 nA sqrt(0.95/45) at 0.2 V is 34 nS rms, five of them.
        assert traces[701].amps[0] / 0.2 == pytest.approx(by_wgfmu, abs=5 * 34e-9)
        assert smu_read(other_panel) == pytest.approx(by_pgu, rel=1e-3)
        assert smu_read(panel) == pytest.approx(by_wgfmu, rel=1e-3)  # and the SMU is on its line again


def test_both_roads_set_a_population_of_real_cells_alike() -> None:
    """Mean over 16 cells of seeds; spread of a SET is about 5 uS, so the means differ by 1.8 uS rms; three sigma."""
    means = []
    for road in ("wgfmu", "spgu"):
        found = []
        for seed in range(16):
            bench, panel, lib = on_cell("cmo-hfox", seed + 100)
            if road == "wgfmu":
                driver = Wgfmu(lib, LINES, Limits())
                driver.open(ADDRESS)
                driver.play(
                    {701: Waveform.pulses([(2.5, 1e-6)]), 702: Waveform((0.0, 1e-6), (0.0, 0.0))}, CurrentRange.MA1
                )
            else:
                pgu_road(panel, 2.5, 1e-6)
            found.append(float(bench.true_conductance()[CELL]))
        means.append(np.mean(found))
    assert means[0] > 50e-6
    assert means[0] == pytest.approx(means[1], abs=5.4e-6)


def test_a_pulse_train_with_a_read_after_each_pulse_walks_up() -> None:
    bench, _, lib = on_cell("ideal")
    driver = Wgfmu(lib, LINES, Limits())
    driver.open(ADDRESS)
    steps = [step for k in range(6) for step in ((1.2 + 0.05 * k, 1e-6), (0.2, 30e-6))]
    wave = Waveform.pulses(steps, read=range(1, 12, 2), average=25e-6)
    before = float(bench.true_conductance()[CELL])
    trace = driver.play({701: wave, 702: Waveform((0.0, 1e-6), (0.0, 0.0))}, CurrentRange.UA100)[701]
    walked = trace.amps / 0.2
    assert len(trace.times) == 6
    assert walked[-1] > before + 10e-6
    assert np.all(np.diff(walked) > -5 * 47e-9 * (0.95 / 25) ** 0.5 / 0.2)
    assert walked[-1] == pytest.approx(float(bench.true_conductance()[CELL]), abs=0.25e-6)
    reset = Waveform.pulses([(1.8, 5e-6)])
    driver.play({702: reset, 701: Waveform((0.0, 1e-6), (0.0, 0.0))}, CurrentRange.MA1)
    assert float(bench.true_conductance()[CELL]) < walked[-1]


def test_the_driver_sends_nothing_that_passes_a_limit() -> None:
    bench, _, lib = on_cell("ideal")
    driver = Wgfmu(lib, LINES, Limits())
    driver.open(ADDRESS)
    with pytest.raises(LimitError, match="bit line"):
        driver.play({701: Waveform.pulses([(4.0, 1e-6)])}, CurrentRange.MA1)
    with pytest.raises(LimitError, match="time beyond read voltages"):
        driver.play({701: Waveform.pulses([(1.0, 20e-3)])}, CurrentRange.MA1)
    long = Waveform.pulses([(1.0, 1e-3), (0.2, 1.0), (1.0, 2e-3)])
    assert long.longest_beyond(Limits().read) == pytest.approx(2e-3, rel=1e-3)
    with pytest.raises(LimitError, match="wired to no line"):
        driver.play({703: Waveform.pulses([(0.1, 1e-6)])}, CurrentRange.MA1)
    for bad in (
        ((0.0,), (0.0,)),
        ((0.0, 1e-9), (0.0, 0.0)),
        ((1.0, 2.0), (0.0, 0.0)),
        ((0.0, 1.0), (0.0, float("nan"))),
    ):
        with pytest.raises(LimitError, match="waveform"):
            Waveform(*bad)
    assert not any(u.connected for u in lib.bank.units.values())
    assert bench.ledger.energy.get("set", 0.0) == 0.0
    with code(CHANNEL_NOT_FOUND):
        Wgfmu(lib, {801: "bit_line"}, Limits()).open(ADDRESS)


def test_the_twin_is_found_through_pyvisa(tmp_path: Path) -> None:
    from instruments.twin.visa import TwinVisaLibrary

    file = tmp_path / "bench.yaml"
    file.write_text(BENCH)
    manager = pyvisa.ResourceManager(TwinVisaLibrary.from_file(file))
    library = TwinWgfmu(manager.visalib)
    library.open_session(ADDRESS)
    assert library.channel_ids() == [701, 702]
    analyzer = manager.open_resource(ADDRESS, read_termination="\r\n", write_termination="\r\n")
    assert analyzer.query("UNT?").split(";")[6] == "B1530A,0"
    manager.close()


# The vendor's library

HEADER_STAND_IN = r"""
#include <stdio.h>
#include <string.h>
static FILE *log_; static double wave_t[99], wave_v[99]; static int n_, executed_, open_;
#define SAY(...) (fprintf(log_, __VA_ARGS__), fflush(log_), 0)
static int ok(void) { return open_ ? 0 : -5; }
int WGFMU_openSession(const char *a) { if (strncmp(a, "GPIB", 4)) return -5;
  log_ = fopen(LOG, "w"); open_ = 1; n_ = executed_ = 0; return SAY("open %s\n", a); }
int WGFMU_closeSession(void) { open_ = 0; return SAY("close\n"); }
int WGFMU_initialize(void) { return ok() ? ok() : SAY("initialize\n"); }
int WGFMU_clear(void) { n_ = 0; return SAY("clear\n"); }
int WGFMU_getChannelIdSize(int *s) { *s = 2; return 0; }
int WGFMU_getChannelIds(int *ids, int *s) { ids[0] = 701; ids[1] = 702; *s = 2; return 0; }
int WGFMU_getErrorSummarySize(int *s) { *s = 9; return 0; }
int WGFMU_getErrorSummary(char *t, int *s) { memcpy(t, "bad value", *s); return 0; }
int WGFMU_setOperationMode(int c, int m) { return SAY("mode %d %d\n", c, m); }
int WGFMU_setForceVoltageRange(int c, int m) { return SAY("force %d %d\n", c, m); }
int WGFMU_setMeasureMode(int c, int m) { return SAY("measure %d %d\n", c, m); }
int WGFMU_setMeasureVoltageRange(int c, int m) { return SAY("vrange %d %d\n", c, m); }
int WGFMU_setMeasureCurrentRange(int c, int m) { return m < 6001 || m > 6005 ? -1 : SAY("irange %d %d\n", c, m); }
int WGFMU_setMeasureEnabled(int c, int m) { return SAY("enabled %d %d\n", c, m); }
int WGFMU_connect(int c) { return SAY("connect %d\n", c); }
int WGFMU_disconnect(int c) { return SAY("disconnect %d\n", c); }
int WGFMU_createPattern(const char *p, double v) { return SAY("pattern %s %.3f\n", p, v); }
int WGFMU_addVectors(const char *p, double *t, double *v, int n) {
  for (int i = 0; i < n; i++) { wave_t[n_] = t[i]; wave_v[n_++] = v[i]; } return SAY("vectors %s %d\n", p, n); }
int WGFMU_setMeasureEvent(const char *p, const char *e, double t, int n, double i, double a, int d) {
  return SAY("event %s %s %.3e %d %.3e %.3e %d\n", p, e, t, n, i, a, d); }
int WGFMU_setRangeEvent(const char *p, const char *e, double t, int r) {
  return SAY("range %s %s %.3e %d\n", p, e, t, r); }
int WGFMU_addSequence(int c, const char *p, double n) { return SAY("sequence %d %s %.0f\n", c, p, n); }
int WGFMU_execute(void) { executed_ = 1; return SAY("execute\n"); }
int WGFMU_waitUntilCompleted(void) { return executed_ ? SAY("wait\n") : -13; }
int WGFMU_abort(void) { return SAY("abort\n"); }
int WGFMU_getStatus(int *s, double *e, double *t) { *s = 10000; *e = 1.5; *t = 2.5; return 0; }
int WGFMU_getMeasureValueSize(int c, int *m, int *t) { *m = n_; *t = n_; return 0; }
int WGFMU_getMeasureValues(int c, int o, int *n, double *t, double *v) { if (*n > n_ - o) *n = n_ - o;
  for (int i = 0; i < *n; i++) { t[i] = wave_t[o + i]; v[i] = wave_v[o + i]; } return 0; }
int WGFMU_dcforceVoltage(int c, double v) { return SAY("dc %d %.3f\n", c, v); }
int WGFMU_dcmeasureValue(int c, double *v) { *v = 1e-6 * c; return 0; }
"""


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A shared library with the header's signatures that writes down what it is told; and that file."""
    if (compiler := shutil.which("gcc") or shutil.which("cc")) is None:
        pytest.skip("no C compiler for the stand-in of the vendor's library")
    folder = tmp_path_factory.mktemp("wgfmu")
    (folder / "stand_in.c").write_text(f'#define LOG "{folder / "log"}"\n{HEADER_STAND_IN}')
    library = folder / "wgfmu.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, folder / "stand_in.c"], check=True, timeout=60)
    return library, folder / "log"


def test_the_vendors_library_gets_what_the_header_asks_for(vendor: tuple[Path, Path]) -> None:
    path, log = vendor
    driver = Wgfmu(wgfmu_library.load(str(path)), LINES, Limits())
    driver.open(ADDRESS)
    wave = Waveform((0.0, 1e-6, 2e-6), (0.0, 0.5, 0.0), (Sampling(1e-6, 2, 200e-9, 100e-9),))
    trace = driver.play({701: wave}, CurrentRange.UA100, loops=3)[701]
    assert trace.times == pytest.approx([1e-6, 1e-6])  # the stand-in hands the vectors back
    assert trace.amps.tolist() == [0.5, 0.0]
    driver.close()
    assert log.read_text().splitlines() == [
        "open GPIB0::17::INSTR", "initialize", "clear", "mode 701 2001", "force 701 3000", "measure 701 4001",
        "irange 701 6003", "enabled 701 7001", "pattern channel701 0.000", "vectors channel701 2",
        "event channel701 read0 1.000e-06 2 2.000e-07 1.000e-07 12000", "sequence 701 channel701 3", "connect 701",
        "execute", "wait", "initialize", "close",
    ]  # fmt: skip


def test_the_vendors_error_codes_become_our_errors_with_its_summary(vendor: tuple[Path, Path]) -> None:
    library = wgfmu_library.load(str(vendor[0]))
    with code(COMMUNICATION):
        library.open_session("ASRL1::INSTR")
    library.open_session(ADDRESS)
    with pytest.raises(WgfmuError, match=r"out of range: WGFMU_setMeasureCurrentRange: bad value"):
        library.set_measure_current_range(701, 1)
    with code(NOT_RUNNING):
        library.wait_until_completed()
    assert library.status() == (10000, 1.5, 2.5)
    assert library.dc_measure_value(702) == pytest.approx(702e-6)
    library.set_range_event("p", "e", 1e-6, 6003)
    for told in (library.abort, library.execute):
        told()
    library.set_measure_voltage_range(701, 5001)
    library.dc_force_voltage(701, 0.25)
    library.disconnect(701)
    assert vendor[1].read_text().splitlines()[-3:] == ["vrange 701 5001", "dc 701 0.250", "disconnect 701"]


def test_without_the_vendors_library_the_message_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="install the B1530A instrument library"):
        wgfmu_library.load(str(tmp_path / "wgfmu.dll"))


def test_another_library_of_that_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="no function WGFMU_openSession"):
        wgfmu_library.VendorLibrary(SimpleNamespace())
