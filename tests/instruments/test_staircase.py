"""Quasi-static sweeps: what is sent, what is refused, and what is done when the line fails in the middle."""

from dataclasses import replace

import numpy as np
import pytest

from instruments.errors import DoubtError, LimitError, LinkError
from instruments.staircase import Sweep, sweep
from instruments.station import Station
from instruments.station_file import StationFile

SET = Sweep("set", 1.5, 1.4, 200e-6, 16)
RESET = Sweep("reset", 1.5, 3.0, 1e-3, 16)


@pytest.fixture
def station() -> Station:
    with Station.open(StationFile.load("station-twin.yaml"), seed="1") as opened:
        opened.array.prepare()
        opened.array.select(0, 3, 3)
        yield opened


def test_a_pair_of_sweeps_switches_a_cell_there_and_back(station: Station) -> None:
    sets = sweep(station.analyzer, station.array, SET)
    resets = sweep(station.analyzer, station.array, RESET)
    again = sweep(station.analyzer, station.array, SET)
    volts = SET.volts
    assert volts.shape == sets.amps.shape == (32,)
    at = int(np.argmin(np.abs(volts - 0.2)))
    back = len(volts) - 1 - at
    assert again.amps[back] > 5 * again.amps[at]  # RESET before it, SET in it
    assert resets.amps[at] > 5 * resets.amps[back]


def test_compliance_holds_the_current(station: Station) -> None:
    curve = sweep(station.analyzer, station.array, replace(SET, compliance=40e-6))
    assert curve.limited.any()
    assert np.nanmax(curve.amps) == pytest.approx(40e-6, rel=0.02)


@pytest.mark.parametrize("change", [{"peak": 3.6}, {"gate": 4.2}, {"compliance": 2e-3}])
def test_what_passes_a_limit_is_not_sent(station: Station, change: dict[str, float]) -> None:
    before = station.bench.clock.now()
    with pytest.raises(LimitError):
        sweep(station.analyzer, station.array, replace(SET, **change))
    assert station.bench.clock.now() == before


def test_a_sweep_whose_data_did_not_come_is_in_doubt(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = station.analyzer.ask
    sent = []

    def lost(command: str, *rest: object) -> str:
        if command == "XE":
            sent.append(command)
            raise LinkError("no reply")
        return str(ask(command, *rest))

    monkeypatch.setattr(station.analyzer, "ask", lost)
    with pytest.raises(DoubtError, match="may have been made or not"):
        sweep(station.analyzer, station.array, SET)
    assert sent == ["XE"]  # once: nothing is repeated
