"""A column behind the board's own drivers, with physics behind it that holds no surprises (ideal cells)."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from instruments.twin.bench import Bench, open_bench
from instruments.twin.column import ARMED_NS, COMMON_OHM, FULL_SCALE, READ_SETTLE, SAMPLE
from instruments.twin.fixture import PulseShape

BIT_PGU = 601
PGU = 2
US = 1e-6
ROWS, COLS = 4, 5
COLUMN = (0, 2)
Floats = npt.NDArray[np.float64]


def make(preset: str = "ideal") -> Bench:
    section = {"preset": preset, "rows": str(ROWS), "cols": str(COLS)}
    bench = open_bench(section, base=Path("."), params={"seed": "1"})
    bench.fixture.select_source(0, PGU)
    bench.fixture.force(BIT_PGU, 0.0)
    bench.fixture.connect_column(*COLUMN)
    return bench


def g(bench: Bench) -> Floats:
    """True conductances of the column's cells."""
    return bench.true_conductance()[COLUMN[0], :, COLUMN[1]]


def give(bench: Bench, volts: float, width: float = US, count: int = 1) -> None:
    bench.fixture.pulse({BIT_PGU: PulseShape(0.0, volts, 0.0, width, 20e-9, 20e-9)}, count, 2 * width)


def rows(*volts: float) -> Floats:
    return np.array(volts, dtype=np.float64)


NONE = np.zeros(ROWS)


def test_one_set_pulse_takes_each_row_to_what_its_own_gate_allows() -> None:
    bench = make()
    before = bench.true_conductance()
    bench.fixture.column.arm(rows(0.9, 1.1, 1.3, 0), NONE)
    give(bench, 3.0)
    after = bench.true_conductance()
    np.testing.assert_allclose(g(bench)[:3], 125e-6 * (np.array([0.9, 1.1, 1.3]) - 0.6), rtol=0.01)  # the gates' errors
    assert g(bench)[3] == before[0, 3, 2]
    others = np.arange(COLS) != COLUMN[1]
    np.testing.assert_array_equal(after[:, :, others], before[:, :, others])


def test_the_ledger_has_each_cell_of_the_pulse_with_its_own_drive() -> None:
    bench = make()
    bench.fixture.column.arm(rows(1.0, 0, 1.2, 0), rows(0.0, 0.0, 0.2, 0.0))
    give(bench, 2.0)
    table = bench.ledger.table()
    assert table["kind"].tolist() == [b"set", b"set"]
    assert [(int(r["array"]), int(r["row"]), int(r["col"])) for r in table] == [(0, 0, 2), (0, 2, 2)]
    np.testing.assert_allclose(table["volts"], [2.0, 1.8], atol=0.005)
    np.testing.assert_allclose(table["gate"], [1.0, 1.0], atol=0.005)  # the transistor feels its raised source
    assert (table["energy"] > 0).all()


def test_a_raised_source_line_makes_the_pulse_smaller_for_its_row() -> None:
    bench = make()
    bench.fixture.column.arm(rows(1.5, 1.8, 1.5, 0), rows(0.0, 0.3, 0.0, 0.0))
    give(bench, 1.4)
    moved = g(bench) - make().true_conductance()[0, :, 2]
    assert moved[0] == pytest.approx(moved[2], rel=0.2)
    assert 0 < moved[1] < 0.15 * moved[0]
    assert moved[3] == 0


def test_gates_close_after_the_first_pulse_and_after_a_second_without_one() -> None:
    bench = make()
    wires = bench.fixture.column
    wires.arm(rows(1.1, 1.1, 1.1, 1.1), NONE)
    give(bench, 3.0, count=5)
    assert wires.pulses == 1
    assert len(bench.ledger) == ROWS
    wires.arm(rows(1.4, 1.4, 1.4, 1.4), NONE)
    bench.clock.sleep(ARMED_NS * 1e-9 + 1e-3)
    give(bench, 3.0)
    assert wires.pulses == 0
    assert len(bench.ledger) == ROWS


@pytest.mark.parametrize("spoil", ["not armed", "below detection", "selector open", "disconnected"])
def test_a_pulse_reaches_nothing_unless_all_is_in_place(spoil: str) -> None:
    bench = make()
    before = bench.true_conductance()
    if spoil != "not armed":
        bench.fixture.column.arm(rows(1.1, 1.1, 1.1, 1.1), NONE)
    if spoil == "selector open":
        bench.fixture.select_source(0, 0)
    if spoil == "disconnected":
        bench.fixture.connect("safe", -1, -1, -1)
    give(bench, 0.2 if spoil == "below detection" else 3.0)
    np.testing.assert_array_equal(bench.true_conductance(), before)
    assert len(bench.ledger) == 0


def test_a_voltage_left_on_the_bit_line_is_felt_by_armed_cells() -> None:
    bench = make()
    before = g(bench)
    bench.fixture.column.arm(rows(1.2, 1.2, 0, 0), NONE)
    bench.fixture.force(BIT_PGU, 2.0)
    bench.clock.sleep(0.01)
    bench.fixture.force(BIT_PGU, 0.0)
    assert (g(bench)[:2] > before[:2] + 10e-6).all()
    np.testing.assert_array_equal(g(bench)[2:], before[2:])


def set_all(bench: Bench) -> None:
    """Every cell of the array to some 75 uS."""
    for col in range(COLS):
        bench.fixture.connect_column(0, col)
        bench.fixture.column.arm(np.full(ROWS, 1.2), NONE)
        give(bench, 3.0)
    bench.fixture.connect_column(*COLUMN)


def test_one_reset_pulse_gives_each_row_its_own_amplitude() -> None:
    bench = make()
    set_all(bench)
    before = bench.true_conductance()
    begun = bench.clock.now()
    bench.fixture.column.reset(rows(3.0, 3.0, 3.0, 0), rows(1.1, 1.2, 1.3, 0), 1.2, US)
    assert bench.clock.now() - begun == pytest.approx(US)
    after = bench.true_conductance()
    steps = (before - after)[0, :, 2]
    assert 0 < steps[0] < steps[1] < steps[2]
    assert steps[3] == 0
    others = np.arange(COLS) != COLUMN[1]
    np.testing.assert_array_equal(after[:, :, others], before[:, :, others])
    assert bench.ledger.highest["half"] == pytest.approx(0.1, abs=0.005)


def test_an_inhibit_level_that_is_no_good_resets_the_rest_of_the_row() -> None:
    bench = make()
    set_all(bench)
    before = bench.true_conductance()
    bench.fixture.column.reset(rows(3.0, 0, 0, 0), rows(1.6, 0, 0, 0), 0.0, US)
    after = bench.true_conductance()
    assert (after[0, 0] < before[0, 0] - 10e-6).all()
    np.testing.assert_array_equal(after[0, 1:], before[0, 1:])


def test_an_inhibit_level_far_above_sets_the_rest_of_the_row() -> None:
    bench = make()
    before = bench.true_conductance()
    bench.fixture.column.reset(rows(3.0, 0, 0, 0), rows(0.1, 0, 0, 0), 2.5, US)
    others = np.arange(COLS) != COLUMN[1]
    assert (bench.true_conductance()[0, 0, others] > before[0, 0, others] + 10e-6).all()


def test_the_common_resistance_takes_its_share() -> None:
    bench = make()
    set_all(bench)
    load = g(bench).sum()
    bench.fixture.column.arm(np.full(ROWS, 1.0), NONE)
    give(bench, 1.0)
    volts = bench.ledger.table()["volts"][-ROWS:]
    np.testing.assert_allclose(volts, 1.0 / (1 + COMMON_OHM * load) - bench.fixture.column._level_error, rtol=1e-9)


def test_a_read_is_ohms_law_within_the_converters_accuracy_and_takes_its_time() -> None:
    bench = make()
    wires, true = bench.fixture.column, g(bench)
    zero = wires.sense(0.0, 3.0, 4096, np.ones(ROWS, dtype=bool)).currents
    begun = bench.clock.now()
    found = wires.sense(0.2, 3.0, 200, np.ones(ROWS, dtype=bool))
    assert bench.clock.now() - begun == pytest.approx(2 * READ_SETTLE + 200 * SAMPLE)
    np.testing.assert_allclose((found.currents - zero) / found.volts, true, rtol=3e-3)
    assert np.abs(zero).max() < 20e-9
    np.testing.assert_array_equal(g(bench), true)


def test_only_the_rows_asked_for_are_read_and_booked() -> None:
    bench = make()
    found = bench.fixture.column.sense(0.2, 3.0, 100, np.array([False, True, False, True]))
    assert len(found.currents) == 2
    assert bench.ledger.table()["row"].tolist() == [1, 3]


def test_closed_gates_and_large_currents_are_read_as_what_they_are() -> None:
    bench = make()
    set_all(bench)
    every = np.ones(ROWS, dtype=bool)
    assert np.abs(bench.fixture.column.sense(0.2, 0.3, 4096, every).currents).max() < 20e-9
    assert bench.fixture.column.sense(0.5, 3.0, 100, every).currents.max() < FULL_SCALE
    bench.fixture.column.arm(np.full(ROWS, 2.0), NONE)
    give(bench, 3.0)
    assert (bench.fixture.column.sense(0.5, 3.0, 100, every).currents == FULL_SCALE).all()


def test_noise_falls_with_samples_as_it_should() -> None:
    bench = make()
    every = np.ones(ROWS, dtype=bool)

    def scatter(samples: int) -> float:
        found = np.array([bench.fixture.column.sense(0.0, 0.0, samples, every).currents for _ in range(400)])
        return float(found.std(axis=0).mean())

    one, many = scatter(1), scatter(100)
    # 1600 draws each: a standard deviation is known to 1.8 %; five of them.
    assert one == pytest.approx(1.3e-9, rel=0.09)
    assert many == pytest.approx(1.3e-10, rel=0.09)


def test_the_boards_parts_are_the_same_whatever_happened_before() -> None:
    first, second = make(), make()
    for _ in range(3):
        second.fixture.column.sense(0.1, 1.0, 10, np.ones(ROWS, dtype=bool))
    assert first.fixture.column._gain.tolist() == second.fixture.column._gain.tolist()
