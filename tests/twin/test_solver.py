"""The board in computing mode, through the station: what the oscilloscope sees is the chip's circuit."""

import numpy as np
import pytest

from instruments.errors import ConfigError
from instruments.oscilloscope import ChannelSetup, Timebase, Trigger
from instruments.station import Station
from instruments.station_file import StationFile
from instruments.twin.solver import NODES, SolverOptions


@pytest.fixture
def station():
    with Station.open(StationFile.load("station-twin.yaml"), seed="3") as opened:
        yield opened


def look(station: Station) -> np.ndarray:
    """One solution from (0.1, -0.1) V on the oscilloscope."""
    station.scope.configure(
        {i: ChannelSetup(3.2) for i in (1, 2, 3, 4)}, Timebase(1.1, 0.05, 1000), Trigger("EXT", 1.5)
    )
    station.board.mode("compute")
    station.board.set_initial_state(0.1, -0.1)
    station.scope.arm()
    station.board.start_run(200)
    station.board.wait_done()
    station.scope.wait(5)
    return station.scope.read()


def test_a_run_begins_at_its_initial_state_and_its_trigger(station: Station) -> None:
    capture = look(station)
    before = capture.times < -2e-3
    assert capture.volts[:2, before].mean(axis=1) == pytest.approx([0.1, -0.1], abs=3e-3)
    assert capture.times[0] == pytest.approx(-0.05, abs=2e-3)


def test_looking_twice_shows_the_same_run(station: Station) -> None:
    look(station)
    run = station.bench.solver.last
    times = np.linspace(-0.1, 1.2, 300)
    one, two = run.sample(["x", "h1_3", "t5", "run"], times), run.sample(["x", "y"], times)
    assert np.array_equal(one[0], two[0])
    assert set(np.unique(one[3])) == {0.0, 3.3}
    with pytest.raises(ValueError, match="no node"):
        run.sample(["nowhere"], times)


def test_the_conductances_decide(station: Station) -> None:
    solver, chip = station.bench.solver, station.bench.chip.cells
    look(station)
    dark = solver.last.sample(["h1_1"], [0.0])  # all weights of a fresh chip are negative: the neuron is off
    chip["g"][0, 0, :3] = 80e-6
    look(station)
    bright = solver.last.sample(["h1_1"], [0.0])
    assert dark == pytest.approx(0, abs=5e-3)
    assert bright > 0.1


def test_nothing_is_computed_outside_computing_mode(station: Station) -> None:
    look(station)
    assert station.bench.solver.runs == 1
    station.board.safe()
    assert station.bench.fixture.mode == "safe"
    assert station.bench.solver.runs == 1


def test_every_named_node_can_be_probed(station: Station) -> None:
    look(station)
    volts = station.bench.solver.last.sample(NODES, [0.5])
    assert volts.shape == (len(NODES), 1)
    assert np.isfinite(volts).all()


def test_offsets_belong_to_the_board_not_to_the_moment() -> None:
    ends = []
    for seed in ("3", "3", "4"):
        with Station.open(StationFile.load("station-twin.yaml"), seed=seed, preset="ideal") as opened:
            ends.append(look(opened).volts[:2, -50:].mean(axis=1))
    assert ends[0] == pytest.approx(ends[1], abs=2e-3)
    assert np.abs(ends[2] - ends[0]).max() > 5e-3


@pytest.mark.parametrize("section", [{"op_amp_offset": "-1 mV"}, {"nonsense": "1"}, {"white": "1 V"}])
def test_a_bad_circuit_section_is_refused(section: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        SolverOptions.from_mapping(section)
