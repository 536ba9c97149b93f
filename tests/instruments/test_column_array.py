"""Columns through the driver: over the whole twin, on good lines and bad ones."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import yaml
from twin.fakes_board import FakeBench, FakeSerial, ask

import sim_configs
from instruments import board_frames as frames
from instruments.board import Board
from instruments.board_columns import BoardColumns
from instruments.errors import DoubtError, InstrumentError, LimitError, LinkError, ModeError
from instruments.limits import Range
from instruments.station import Station
from instruments.station_file import StationFile
from instruments.twin.panels.board import BoardPanel

TWIN = StationFile.load("station-twin.yaml")
US = 1e-6
Floats = npt.NDArray[np.float64]


def every(volts: float) -> Floats:
    return np.full(32, volts)


def some(rows: dict[int, float]) -> Floats:
    values = np.zeros(32)
    for row, volts in rows.items():
        values[row] = volts
    return values


@contextmanager
def column(
    folder: Path, *rules: dict[str, Any], file: StationFile = TWIN, at: tuple[int, int] = (0, 3)
) -> Iterator[Station]:
    """A station with a column selected, and faults on its wires."""
    faults = None
    if rules:
        faults = folder / "faults.yaml"
        faults.write_text(yaml.safe_dump({"rules": list(rules)}))
    with Station.open(file, seed="1", faults=str(faults) if faults else None) as station:
        station.columns.prepare()
        station.columns.select_column(*at)
        yield station


def true(station: Station, col: int = 3) -> Floats:
    found: Floats = station.bench.true_conductance()[0, :, col]
    return found


def drives(station: Station, kind: bytes) -> int:
    return int((station.bench.ledger.table()["kind"] == kind).sum())


# What it does


def test_a_read_gives_all_rows_at_once_with_their_uncertainty(tmp_path: Path) -> None:
    with column(tmp_path) as station:
        station.columns.read_column()
        begun = station.clock.now()
        read = station.columns.read_column()
        assert station.clock.now() - begun < 0.01  # 32 cells; the analyzer takes 20 ms for one
        # The cells' own noise comes on top of the converters': 0.0277 log10(G) sqrt(ln(500)) uS, some 0.1 uS.
        error = read.conductances - true(station)
        assert np.abs(error).max() < 0.5e-6
        assert 0 < read.uncertainties.min() <= read.uncertainties.max() < 0.1e-6
        assert read.duration == pytest.approx(1e-3)
        np.testing.assert_allclose(read.energies, read.volts * read.currents * 1e-3, rtol=1e-9)
        assert not read.clipped.any()


def test_rows_that_were_not_asked_for_stay_closed(tmp_path: Path) -> None:
    with column(tmp_path) as station:
        station.columns.read_column()
        before = drives(station, b"read")
        rows = np.zeros(32, dtype=bool)
        rows[[2, 30]] = True
        read = station.columns.read_column(rows)
        assert drives(station, b"read") - before == 2
        assert np.isfinite(read.conductances).sum() == 2
        assert not read.clipped.any()


def test_a_set_pulse_gives_each_row_its_gate_and_amplitude(tmp_path: Path) -> None:
    with column(tmp_path) as station:
        before = true(station)
        station.columns.pulse_column("set", some({0: 2.5, 1: 2.5, 5: 2.3}), some({0: 1.0, 1: 1.3, 5: 1.0}), US)
        table = station.bench.ledger.table()
        pulses = table[table["kind"] == b"set"]
        np.testing.assert_allclose(pulses["volts"], [2.5, 2.5, 2.3], atol=0.01)
        np.testing.assert_allclose(pulses["gate"], [1.0, 1.3, 1.0], atol=0.005)
        assert pulses["row"].tolist() == [0, 1, 5]
        assert set(np.flatnonzero(true(station) != before)) <= {0, 1, 5}


def test_a_reset_pulse_gives_each_row_its_amplitude_and_disturbs_nobody(tmp_path: Path) -> None:
    with column(tmp_path) as station:
        station.columns.pulse_column("set", every(2.5), every(1.2), US)
        others = np.delete(station.bench.true_conductance()[0], 3, axis=1)
        station.columns.pulse_column("reset", some({0: 1.1, 1: 1.7}), some({0: 3.0, 1: 3.0}), US)
        table = station.bench.ledger.table()
        pulses = table[table["kind"] == b"reset"]
        np.testing.assert_allclose(pulses["volts"], [-1.1, -1.7], atol=0.01)
        assert station.bench.ledger.highest["half"] == pytest.approx(0.3, abs=0.01)
        now = np.delete(station.bench.true_conductance()[0], 3, axis=1)
        np.testing.assert_allclose(now, others, atol=1e-9)  # they relax a little, as they did before


def test_a_pulse_takes_a_fraction_of_what_one_cell_takes_alone(tmp_path: Path) -> None:
    with column(tmp_path) as station:
        for kind, volts, gate, most in (("set", 2.0, 1.1, 0.015), ("reset", 1.2, 3.0, 0.008)):
            station.columns.pulse_column(kind, every(volts), every(gate), US)  # type: ignore[arg-type]  # literals above
            begun = station.clock.now()
            station.columns.pulse_column(kind, every(volts), every(gate), US)  # type: ignore[arg-type]  # as above
            assert station.clock.now() - begun < most


# Limits


@pytest.mark.parametrize(
    ("kind", "volts", "gates", "width", "word"),
    [
        ("set", every(3.6), every(1.0), US, "bit line"),
        ("reset", every(2.6), every(3.0), US, "source line"),
        ("set", every(2.0), every(4.05), US, "word line"),
        ("set", some({0: 2.5, 1: 2.2}), some({0: 1.0, 1: 3.8}), US, "word line"),  # 3.8 V and the 0.3 V of its source
        ("set", some({0: 2.5, 1: 2.1}), some({0: 1.0, 1: 1.0}), US, "differ"),
        ("reset", some({0: 1.8, 1: 1.1}), some({0: 3.0, 1: 3.0}), US, "differ"),
        ("set", every(2.0), every(1.0), 20e-3, "width"),
        ("set", every(2.0), every(0.0), US, "gates open"),
        ("set", np.ones(5), np.ones(5), US, "32 rows"),
        ("set", every(2.0), every(float("nan")), US, "gates open"),
    ],
)
def test_every_drive_passes_the_limits_before_anything_is_sent(
    tmp_path: Path, kind: Any, volts: Floats, gates: Floats, width: float, word: str
) -> None:
    with column(tmp_path) as station:
        before, begun = true(station), station.clock.now()
        with pytest.raises(LimitError, match=word):
            station.columns.pulse_column(kind, volts, gates, width)
        assert station.clock.now() == begun
        np.testing.assert_array_equal(true(station), before)


def test_the_bit_lines_current_has_a_limit(tmp_path: Path) -> None:
    file = replace(TWIN, limits=TWIN.limits.with_ranges(column_current=Range(0.0, 1e-3, "A")))
    with column(tmp_path, file=file) as station:
        station.columns.check_pulse("set", every(2.0), every(1.1), US, every(10e-6))
        with pytest.raises(LimitError, match="current"):
            station.columns.pulse_column("set", every(2.0), every(1.1), US, every(60e-6))
        assert drives(station, b"set") == 0


def test_the_boards_own_drives_pass_the_limits_too(tmp_path: Path) -> None:
    limits = TWIN.limits.with_ranges(source_line=Range(-0.5, 1.0), word_line=Range(0.0, 3.2), read=Range(-0.1, 0.1))
    with column(tmp_path, file=replace(TWIN, limits=limits)) as station:
        board = station.columns.columns
        for attempt in (
            lambda: board.sense(0.2, 3.0, 100),
            lambda: board.sense(0.1, 3.3, 100),
            lambda: board.arm(every(3.3), every(0.0)),
            lambda: board.pulse(every(3.0), every(1.1), 1.0, US),
            lambda: board.pulse(every(3.0), every(1.0), 3.6, US),
        ):
            with pytest.raises(LimitError):
                attempt()
        assert len(station.bench.ledger) == 0


# Refusals


def test_a_board_without_column_mode_is_refused_in_a_sentence(tmp_path: Path) -> None:
    text = sim_configs.path("bench-rram32.yaml").read_text()
    old = text.replace("firmware: extended", 'firmware: extended\n      columns: "no"')
    assert old != text
    (tmp_path / "bench.yaml").write_text(old)
    station = tmp_path / "station.yaml"
    station.write_text(TWIN.text.replace("bench-rram32.yaml@twin", "bench.yaml@twin"))
    with Station.open(StationFile.load(station)) as opened:
        with pytest.raises(InstrumentError, match="no column mode"):
            opened.columns.prepare()
        opened.array.prepare()  # one cell at a time works as ever
        opened.array.select(0, 1, 2)
        assert opened.array.read().conductance > 0


def test_order_matters(tmp_path: Path) -> None:
    with Station.open(TWIN, seed="1") as station:
        with pytest.raises(ModeError, match="prepare"):
            station.columns.select_column(0, 0)
        station.columns.prepare()
        with pytest.raises(ModeError, match="select_column"):
            station.columns.read_column()
        station.columns.select_column(0, 0)
        station.safe()
        with pytest.raises(ModeError, match="prepare"):
            station.columns.read_column()


def test_a_board_that_somebody_switched_is_noticed(tmp_path: Path) -> None:
    with column(tmp_path) as station:
        station.columns.read_column()
        panel: Any = station.board._line._resource.visalib.instruments["ASRL1::INSTR"].panel
        ask(panel, "SAFE")
        with pytest.raises(ModeError, match="somebody else"):
            station.columns.read_column()


def test_cells_and_columns_take_turns_through_safe(tmp_path: Path) -> None:
    with column(tmp_path) as station:
        station.columns.read_column()
        station.safe()
        station.array.prepare()
        station.array.select(0, 4, 3)
        alone = station.array.read().conductance
        station.safe()
        station.columns.prepare()
        station.columns.select_column(0, 3)
        assert station.columns.read_column().conductances[4] == pytest.approx(alone, abs=0.5e-6)


# Bad lines


def test_a_fast_line_is_slow_again_when_the_station_is_left() -> None:
    with Station.open(TWIN, seed="1") as station:
        resource: Any = station.board._line._resource
        rates = resource.visalib.instruments["ASRL1::INSTR"].rate
        station.columns.prepare()
        assert (resource.baud_rate, rates.board) == (921_600, 921_600)
    assert rates.board == 9600


def test_a_lost_confirmation_of_the_rate_costs_time_only(tmp_path: Path) -> None:
    with column(
        tmp_path, {"resource": "ASRL*", "fault": "lost-reply", "message": "*BAUD 921600*", "at": [1]}
    ) as station:
        read = station.columns.read_column()
        assert np.abs(read.conductances - true(station)).max() < 0.5e-6
        assert station.troubles.count > 0


def test_a_board_that_lost_its_power_is_found_at_its_old_rate(tmp_path: Path) -> None:
    with column(tmp_path) as station:
        station.columns.read_column()
        resource: Any = station.board._line._resource
        resource.visalib.instruments["ASRL1::INSTR"].rate.board = 9600
        read = station.columns.read_column()  # silence, then at 9600 baud
        assert resource.baud_rate == 9600
        assert np.abs(read.conductances - true(station)).max() < 0.5e-6


@pytest.mark.parametrize("fault", ["lost-reply", "cut-reply", "garbage-reply", "lost-write"])
@pytest.mark.parametrize("verb", ["SENSE", "ARM", "PULSE", "COL"])
def test_a_frame_is_repeated_and_nothing_is_pulsed_twice(tmp_path: Path, fault: str, verb: str) -> None:
    with column(tmp_path, {"resource": "ASRL*", "fault": fault, "message": f"*@* {verb} *", "at": [1]}) as station:
        station.columns.read_column()
        station.columns.pulse_column("set", every(2.0), every(1.1), US)
        station.columns.pulse_column("reset", every(1.2), every(3.0), US)
        station.columns.read_column()
        assert drives(station, b"set") == 32
        assert drives(station, b"reset") == 32
        assert station.troubles.count > 0


def test_a_set_pulse_that_never_left_is_in_doubt_until_the_column_is_read(tmp_path: Path) -> None:
    rule = {"resource": "GPIB*", "fault": "lost-write", "message": "*SPV 601*SRP", "at": [2]}
    with column(tmp_path, rule) as station:
        columns = station.columns
        columns.read_column()
        with pytest.raises(DoubtError, match="may have been given or not"):
            columns.pulse_column("set", every(2.0), every(1.1), US)
        assert drives(station, b"set") == 0
        with pytest.raises(ModeError, match="read the column first"):
            columns.pulse_column("set", every(2.0), every(1.1), US)
        columns.read_column()
        columns.pulse_column("set", every(2.0), every(1.1), US)
        assert drives(station, b"set") == 32


def test_a_set_pulse_that_does_not_reach_the_board_is_noticed(tmp_path: Path) -> None:
    with column(tmp_path) as station:
        station.bench.fixture.select_source(0, 0)  # a relay that didn't close
        with pytest.raises(DoubtError, match="saw none"):
            station.columns.pulse_column("set", every(2.0), every(1.1), US)
        station.columns.read_column()


def test_a_reset_pulse_whose_answer_never_comes_is_in_doubt_and_came_once(tmp_path: Path) -> None:
    rule = {"resource": "ASRL*", "fault": "lost-reply", "message": "*@* PULSE *", "at": list(range(1, 9))}
    with column(tmp_path, rule) as station:
        with pytest.raises(DoubtError):
            station.columns.pulse_column("reset", every(1.2), every(3.0), US)
        assert drives(station, b"reset") == 32
        station.columns.read_column()
        assert drives(station, b"reset") == 32


def test_impossible_readings_are_asked_for_again_and_then_stop_the_work(tmp_path: Path) -> None:
    with column(tmp_path) as station:
        board: Any = station.columns.columns
        sense: Callable[..., Any] = board.sense
        wrong = iter([1, 1, 0, 1, 1, 1])

        def spoilt(volts: float, *others: Any) -> Any:
            found = sense(volts, *others)
            return found._replace(volts=0.1) if volts and next(wrong) else found

        station.columns.columns = replace_sense(board, spoilt)
        assert np.abs(station.columns.read_column().conductances - true(station)).max() < 0.5e-6
        with pytest.raises(LinkError, match="3 times"):
            station.columns.read_column()


def replace_sense(board: Any, sense: Callable[..., Any]) -> Any:
    class Other:
        def __getattr__(self, name: str) -> Any:
            return sense if name == "sense" else getattr(board, name)

    return Other()


# The board's side of the line


def direct() -> tuple[BoardPanel, FakeBench, BoardColumns]:
    bench = FakeBench()
    panel = BoardPanel(bench, {"firmware": "extended"})  # type: ignore[arg-type]  # a stand-in
    board = Board(FakeSerial(panel, bench.clock), bench.clock, lambda name, volts: None)
    board.mode("program")
    return panel, bench, BoardColumns(board, 32)


def test_what_the_host_means_is_what_the_board_does() -> None:
    _, bench, columns = direct()
    wires = bench.fixture.column
    columns.connect(2, 7)
    assert columns.connected() == (2, 7) == wires.place
    columns.arm(some({0: 1.1, 31: 2.345}), some({0: 0.25}))
    assert wires.armed is not None
    np.testing.assert_allclose(wires.armed.gates, some({0: 1.1, 31: 2.345}), atol=1e-12)
    np.testing.assert_allclose(wires.armed.levels, some({0: 0.25}), atol=1e-12)
    assert columns.pulses() == 0
    wires.pulses = 1
    assert columns.pulses() == 1
    columns.pulse(some({4: 3.0}), some({4: 1.5}), 1.45, 250e-9)
    gates, levels, inhibit, width = wires.resets[0]
    assert (gates[4], levels[4], inhibit, width) == pytest.approx((3.0, 1.5, 1.45, 250e-9))
    assert columns.pulses() == 0  # forgotten with the next thing
    found = columns.sense(0.2, 3.0, 10)
    np.testing.assert_allclose(found.currents[:25], 0.2 * np.linspace(0, 310e-6, 32)[:25], atol=0.5e-9)
    assert found.clipped.tolist() == [False] * 25 + [True] * 7
    columns.disconnect()
    assert columns.connected() is None


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("ARM AA AA", 21), ("ARM ? ?", 21), (f"ARM {'gA' * 31} {'AA' * 31}", 21), (f"ARM {'gA' * 32} {'Gk' * 32}", 22),
        (f"PULSE {'gA' * 32} {'gA' * 32} 5 1e-06", 22), (f"PULSE {'gA' * 32} {'gA' * 32} 1 1e-08", 22),
        (f"PULSE {'gA' * 32} {'gA' * 32} 1", 21), ("SENSE 0.6 3 10 FFFFFFFF", 22), ("SENSE 0.2 3 0 FFFFFFFF", 22),
        ("SENSE 0.2 3 10 FFFFFFF", 21), ("SENSE 0.2 3 10 00000000", 21), ("COL 0", 21), ("COL 3 0", 22),
        ("COL 0 32", 22),
        ("BAUD 1200", 22), ("BAUD x", 21),
    ],
)  # fmt: skip
def test_what_the_board_cannot_do_it_refuses(body: str, code: int) -> None:
    panel, bench, _ = direct()
    assert ask(panel, "COL 0 5", 1) == "OK 0 5"
    assert ask(panel, body, 2).startswith(f"ERR {code} ")
    assert bench.fixture.column.place == (0, 5)
    assert bench.fixture.column.armed is None
    assert not bench.fixture.column.resets


def test_modes_selections_and_columns_exclude_each_other() -> None:
    panel, bench, _ = direct()
    assert ask(panel, "SENSE 0.2 3 10 FFFFFFFF", 1).startswith("ERR 30 ")
    assert ask(panel, "SEL 0 1 2", 2) == "OK 0 1 2"
    assert ask(panel, "COL 0 5", 3) == "OK 0 5"
    assert ask(panel, "SEL?", 4) == "OK NONE"
    assert ask(panel, "SEL 0 1 2", 5) == "OK 0 1 2"
    assert ask(panel, "COL?", 6) == "OK NONE"
    assert ask(panel, "COL 0 5", 7) == "OK 0 5"
    assert ask(panel, "SAFE", 8) == "OK SAFE"
    assert bench.fixture.column.place is None
    assert ask(panel, "COL 0 5", 9).startswith("ERR 30 ")


def test_an_older_board_knows_none_of_it() -> None:
    bench = FakeBench()
    panel = BoardPanel(bench, {"firmware": "extended", "columns": "no"})  # type: ignore[arg-type]  # a stand-in
    assert ",1.1," in ask(panel, "ID")
    for seq, body in enumerate(("COL 0 5", "ARM?", "BAUD 9600", "SENSE 0.2 3 10 FFFFFFFF"), 1):
        assert ask(panel, body, seq).startswith("ERR 20 ")


def test_values_and_masks_travel_unharmed() -> None:
    values = [-131_072, -1, 0, 1, 131_071]
    assert frames.unpack_values(frames.pack_values(values)) == values
    with pytest.raises(ValueError, match="three digits"):
        frames.pack_values([131_072])
    for rows in (1, 5, 32):
        mask = [n % 3 == 0 for n in range(rows)]
        assert frames.unpack_mask(frames.pack_mask(mask), rows).tolist() == mask
