"""The wires between the instruments and the cells, with physics behind them that holds no surprises (ideal cells)."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from instruments.errors import ConfigError
from instruments.twin.bench import Bench, open_bench
from instruments.twin.fixture import HALF_SELECT, RELAY_SECONDS, Fixture, PulseShape, Wiring

BIT, WORD, SOURCE = 1, 2, 3
BIT_PGU, SOURCE_PGU = 601, 602
OPEN, SMU, PGU, PGU_OPEN = 0, 1, 2, 3
CELL = (0, 1, 2)
US = 1e-6


def make(preset: str = "ideal", cols: int = 4) -> Bench:
    """A bench wired for reading: bit line and word line on SMUs, source line grounded by its SPGU channel."""
    section = {"preset": preset, "rows": "4", "cols": str(cols)}
    bench = open_bench(section, base=Path("."), params={"seed": "1"})
    wires = bench.fixture
    wires.connect("program", *CELL)
    wires.select_source(0, SMU)
    wires.select_source(1, PGU)
    wires.force(BIT, 0.2, 1e-3)
    wires.force(WORD, 3.0, 1e-3)
    wires.force(SOURCE_PGU, 0.0)
    return bench


def g(bench: Bench, cell: tuple[int, int, int] = CELL) -> float:
    return float(bench.true_conductance()[cell])


def shape(peak: float, width: float = US, base: float = 0.0) -> PulseShape:
    return PulseShape(base, peak, 0.0, width, 20e-9, 20e-9)


def set_cell(bench: Bench, volts: float = 2.5, gate: float = 1.2, width: float = US) -> None:
    wires = bench.fixture
    wires.force(BIT, 0.0, 1e-3)
    wires.select_source(0, PGU)
    wires.force(WORD, gate, 1e-3)
    wires.pulse({BIT_PGU: shape(volts, width)}, 1, 2 * width)


def reset_cell(bench: Bench, volts: float = 1.5, gate: float = 3.0) -> None:
    wires = bench.fixture
    wires.select_source(0, SMU)
    wires.force(BIT, 0.0, 1e-3)
    wires.force(WORD, gate, 1e-3)
    wires.pulse({SOURCE_PGU: shape(volts)}, 1, 2 * US)


# Reading


def test_a_read_is_ohms_law_and_takes_its_time() -> None:
    bench = make()
    begun = bench.clock.now()
    reading = bench.fixture.measure(BIT, 0.02)
    assert bench.clock.now() - begun == pytest.approx(0.02)
    assert reading.current == pytest.approx(0.2 * g(bench), rel=1e-4)
    assert not reading.in_compliance
    assert bench.ledger.energy == {"read": pytest.approx(0.04 * g(bench) * 0.02)}


def test_the_current_comes_back_on_the_source_line() -> None:
    bench = make()
    bench.fixture.select_source(1, SMU)
    bench.fixture.force(SOURCE, 0.0, 1e-3)
    assert bench.fixture.measure(SOURCE, 0.02).current == pytest.approx(-0.2 * g(bench), rel=1e-4)
    assert abs(bench.fixture.measure(WORD, 0.02).current) < 1e-12


OPEN_SOMEWHERE: dict[str, Callable[[Fixture], None]] = {
    "safe": lambda w: w.connect("safe", -1, -1, -1),
    "compute": lambda w: w.connect("compute", -1, -1, -1),
    "safe-selected": lambda w: w.connect("safe", *CELL),
    "compute-selected": lambda w: w.connect("compute", *CELL),
    "no-row": lambda w: w.connect("program", 0, -1, -1),
    "no-col": lambda w: w.connect("program", 0, 1, -1),
    "bit-open": lambda w: w.force(BIT, None),
    "source-open": lambda w: w.force(SOURCE_PGU, None),
    "gate-open": lambda w: w.force(WORD, None),
    "gate-0": lambda w: w.force(WORD, 0.0),
    "gate-low": lambda w: w.force(WORD, 0.5),
    "bit-selector-open": lambda w: w.select_source(0, OPEN),
    "bit-selector-pgu": lambda w: w.select_source(0, PGU),
    "bit-selector-pgu-open": lambda w: w.select_source(0, PGU_OPEN),
    "source-selector-open": lambda w: w.select_source(1, OPEN),
    "source-selector-smu": lambda w: w.select_source(1, SMU),
    "source-selector-pgu-open": lambda w: w.select_source(1, PGU_OPEN),
}


@pytest.mark.parametrize("fault", OPEN_SOMEWHERE.values(), ids=OPEN_SOMEWHERE)
def test_nothing_conducts_unless_everything_is_connected(fault: Callable[[Fixture], None]) -> None:
    bench = make()
    set_cell(bench)
    bench.fixture.select_source(0, SMU)
    bench.fixture.force(BIT, 0.2, 1e-3)
    bench.fixture.force(WORD, 3.0, 1e-3)
    assert bench.fixture.measure(BIT, 0.02).current > 1e-5
    fault(bench.fixture)
    assert abs(bench.fixture.measure(BIT, 0.02).current) < 1e-9


NO_PULSE: dict[str, Callable[[Fixture], None]] = {
    "safe": lambda w: w.connect("safe", -1, -1, -1),
    "compute": lambda w: w.connect("compute", -1, -1, -1),
    "no-col": lambda w: w.connect("program", 0, 1, -1),
    "source-open": lambda w: w.force(SOURCE_PGU, None),
    "gate-open": lambda w: w.force(WORD, None),
    "bit-selector-open": lambda w: w.select_source(0, OPEN),
    "bit-selector-smu": lambda w: w.select_source(0, SMU),
    "bit-selector-pgu-open": lambda w: w.select_source(0, PGU_OPEN),
    "source-selector-open": lambda w: w.select_source(1, OPEN),
}


@pytest.mark.parametrize("fault", NO_PULSE.values(), ids=NO_PULSE)
def test_no_pulse_arrives_unless_everything_is_connected(fault: Callable[[Fixture], None]) -> None:
    bench = make()
    wires = bench.fixture
    wires.force(BIT, 0.0, 1e-3)
    wires.select_source(0, PGU)
    wires.force(WORD, 1.2, 1e-3)
    before = bench.chip.cells["g"].copy()
    fault(wires)
    wires.pulse({BIT_PGU: shape(2.5)}, 3, 2 * US)
    assert np.array_equal(bench.chip.cells["g"], before)


def test_a_mode_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="mode must be one of"):
        make().fixture.connect("both", 0, 0, 0)


def test_the_fixture_tells_its_shape_and_its_levels() -> None:
    bench = make()
    wires = bench.fixture
    assert (wires.arrays, wires.rows, wires.cols, wires.shape) == (1, 4, 4, (1, 4, 4))
    assert (wires.voltage(BIT), wires.voltage(9)) == (0.2, 0.0)


def test_reading_a_selected_cell_reads_that_cell() -> None:
    bench = make("cmo-hfox")
    for cell in ((0, 0, 0), (0, 3, 1)):
        bench.fixture.connect("program", *cell)
        assert bench.fixture.measure(BIT, 1.0).current / 0.2 == pytest.approx(g(bench, cell), rel=0.02)


def test_a_read_is_limited_by_compliance() -> None:
    bench = make()
    set_cell(bench)
    wires = bench.fixture
    wires.select_source(0, SMU)
    wires.force(WORD, 3.0, 1e-3)
    wires.force(BIT, 0.2, 5e-6)  # 75 uS would take 15 uA
    reading = wires.measure(BIT, 0.02)
    assert reading.in_compliance
    assert reading.current == pytest.approx(5e-6, rel=1e-6)
    assert bench.ledger.energy["read"] == pytest.approx((5e-6) ** 2 / g(bench) * 0.02, rel=1e-3)
    wires.force(BIT, -0.2, 5e-6)
    assert wires.measure(BIT, 0.02).current == pytest.approx(-5e-6, rel=1e-6)


# Pulses


def test_set_comes_from_the_bit_line_and_reset_from_the_source_line() -> None:
    bench = make()
    set_cell(bench, 2.5, 1.2)
    assert g(bench) == pytest.approx(75e-6, rel=1e-4)
    reset_cell(bench, 2.5)
    assert g(bench) == pytest.approx(bench.law.g_min, rel=1e-4)
    kinds = bench.ledger.table()["kind"].tolist()
    assert kinds == [b"set", b"reset"]
    assert bench.ledger.highest == {"set": 2.5, "reset": 2.5}


def test_pulse_energy_is_v_squared_g_t() -> None:
    bench = make()
    set_cell(bench)
    reset_cell(bench, 0.6)  # moves nothing worth mentioning
    assert bench.ledger.table()["energy"][-1] == pytest.approx(0.36 * g(bench) * US, rel=1e-3)
    assert bench.ledger.energy["reset"] == pytest.approx(bench.ledger.table()["energy"][-1])


def test_a_train_takes_its_time_and_counts_its_pulses() -> None:
    bench = make()
    wires = bench.fixture
    wires.select_source(0, PGU)
    wires.force(WORD, 1.2)
    begun, moved = bench.clock.now_ns, []
    for _ in range(3):
        wires.pulse({BIT_PGU: shape(1.2)}, 10, 5 * US)
        moved.append(g(bench))
    assert bench.clock.now_ns - begun == 150_000
    assert len(bench.ledger) == 30
    assert moved == sorted(moved)
    assert bench.chip.cells["pulses"][CELL] == 30


def test_a_million_pulses_into_nothing_are_quickly_over() -> None:
    bench = make()
    bench.fixture.connect("safe", -1, -1, -1)
    begun = bench.clock.now_ns
    bench.fixture.pulse({BIT_PGU: shape(2.0)}, 1_000_000, 10 * US)
    assert bench.clock.now_ns - begun == 10_000_000_000
    assert len(bench.ledger) == 0


def test_a_flat_pulse_is_none() -> None:
    bench = make()
    bench.fixture.select_source(0, PGU)
    bench.fixture.pulse({BIT_PGU: shape(0.0)}, 1, 2 * US)
    assert len(bench.ledger) == 0


def test_the_gate_bounds_a_set_through_the_wires() -> None:
    bench = make()
    for gate in (0.8, 1.0, 1.3):
        set_cell(bench, gate=gate)
        assert g(bench) == pytest.approx(125e-6 * (gate - 0.6), rel=1e-4)


def test_only_the_selected_cell_is_set() -> None:
    bench = make("cmo-hfox")
    before = bench.chip.cells.copy()
    set_cell(bench)
    changed = np.argwhere(bench.chip.cells["g"] != before["g"])
    assert changed.tolist() == [list(CELL)]


def test_a_strong_reset_disturbs_its_row_a_little_and_nothing_else() -> None:
    bench = make("cmo-hfox", cols=32)
    bench.chip.cells["g"] = 80e-6
    bench.chip.cells["stuck"] = 0
    for _ in range(20):
        reset_cell(bench, 3.6)
    row = bench.true_conductance()[0, 1]
    others = np.delete(row, CELL[2])
    lost = 80e-6 - others
    assert np.all(lost >= 0)
    assert 0 < np.max(lost) < 10e-6
    assert 0 < np.mean(lost) < 2e-6
    assert g(bench) < 20e-6
    elsewhere = np.delete(bench.true_conductance(), CELL[1], axis=1)
    assert np.all(elsewhere == 80e-6)
    assert HALF_SELECT < 0.5


def test_programming_amplitudes_disturb_nobody_on_ideal_cells() -> None:
    bench = make("ideal", cols=32)
    bench.chip.cells["g"] = 80e-6
    for _ in range(50):
        reset_cell(bench, 1.7)
    others = np.delete(bench.true_conductance()[0, 1], CELL[2])
    assert np.all(others == 80e-6)


# DC drives


def test_compliance_limits_a_dc_set() -> None:
    reached = []
    for amps in (50e-6, 100e-6, 1.0):
        bench = make()
        bench.fixture.force(WORD, 1.4)
        bench.fixture.force(BIT, 2.0, amps)
        bench.fixture.dwell(0.01)
        reached.append(g(bench))
    assert reached == pytest.approx([25e-6, 50e-6, 100e-6], rel=1e-3)  # I/V, I/V, and the gate's 100 uS


def test_a_quasi_static_sweep_sets_and_resets_the_cell() -> None:
    bench = make()
    wires = bench.fixture
    wires.force(WORD, 1.2)
    for volts in np.linspace(0, 2, 11):
        wires.force(BIT, float(volts), 1.0)
        up = wires.measure(BIT, 0.001).current
    assert up == pytest.approx(2 * 75e-6, rel=1e-3)
    for volts in np.linspace(0, -2, 11):
        wires.force(BIT, float(volts), 1.0)
        down = wires.measure(BIT, 0.001).current
    assert down == pytest.approx(-2 * bench.law.g_min, rel=1e-2)


def test_a_forgotten_bias_programs_the_cell() -> None:
    bench = make()
    bench.fixture.force(WORD, 1.2)
    bench.fixture.force(BIT, 1.1, 1.0)
    before = g(bench)
    bench.clock.sleep(0.01)  # nobody measures
    bench.fixture.force(BIT, None)
    assert g(bench) > before + 10e-6
    assert bench.ledger.table()["width"].tolist() == pytest.approx([0.01])


def test_read_voltages_may_stay_for_ever() -> None:
    bench = make("cmo-hfox")
    bench.fixture.force(BIT, 0.4, 1.0)
    before = bench.chip.cells["g"].copy()
    bench.fixture.dwell(1e6)
    assert np.array_equal(bench.chip.cells["g"], before)


def test_no_energy_is_booked_twice() -> None:
    bench = make()
    set_cell(bench)
    wires = bench.fixture
    wires.select_source(0, SMU)
    wires.force(WORD, 1.2)
    wires.force(BIT, 1.0, 1.0)
    booked = sum(bench.ledger.energy.values())
    wires.measure(BIT, 0.01)
    assert sum(bench.ledger.energy.values()) - booked == pytest.approx(1.0 * g(bench) * 0.01, rel=1e-3)


def test_a_selector_takes_its_relays_time() -> None:
    bench = make()
    begun = bench.clock.now()
    bench.fixture.select_source(0, PGU)
    assert bench.clock.now() - begun == pytest.approx(RELAY_SECONDS)


# Wiring


def test_wiring_is_read_from_a_mapping_of_texts() -> None:
    wiring = Wiring.from_mapping({"word_line": {"smu": "4"}, "bit_line": {"smu": 2, "pgu": 502, "selector": 3}})
    assert (wiring.word_line.smu, wiring.bit_line.pgu, wiring.bit_line.selector) == (4, 502, 3)
    assert wiring.source_line == Wiring().source_line
    assert Wiring.from_mapping(None) == Wiring()


def test_a_line_without_selector_hangs_on_its_smu() -> None:
    section = {
        "preset": "ideal",
        "rows": "2",
        "cols": "2",
        "wiring": {"bit_line": {"smu": "1"}, "source_line": {"smu": "3"}},
    }
    bench = open_bench(section, base=Path("."), params={})
    bench.fixture.connect("program", 0, 0, 0)
    for channel, volts in ((1, 0.2), (2, 3.0), (3, 0.0)):
        bench.fixture.force(channel, volts, 1e-3)
    assert bench.fixture.measure(1, 0.02).current == pytest.approx(0.2 * g(bench, (0, 0, 0)), rel=1e-4)


def test_a_channel_serves_one_line() -> None:
    with pytest.raises(ConfigError, match="selector 0 serves both bit_line and word_line"):
        Wiring.from_mapping({"bit_line": {"smu": 1, "selector": 0}, "word_line": {"smu": 2, "selector": 0}})
