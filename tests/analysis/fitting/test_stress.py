"""The stress ledger: what run files say a chip's cells have been through."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.records import RunHeader, RunWriter
from analysis.stress import QUANTITIES, StressLimits, stress

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A run with a read and a SET on (0, 1), a RESET on (2, 3), a SET in doubt on (0, 1)."""

    def run(name: str, *, chip: str = "chip-7", doubt: bool = False, rows: int = 4, **header: Any) -> Path:
        fields: dict[str, Any] = {
            "procedure": "program", "world": "simulated", "run_id": name,
            "started": f"2031-05-07T08:00:0{name[-1]}+00:00",
            "rows": rows, "cols": 4, "chip": chip,
        }  # fmt: skip
        with RunWriter.create(tmp_path / name, RunHeader(**fields | header), now=lambda: 0.0, durable=False) as w:
            w.event("read", 0, 1, conductance=50e-6, amplitude=0.2, width=0.02, energy=1e-9)
            w.result(w.intent("set", 0, 1, amplitude=2.0, gate=1.2, width=1e-6), energy=2e-10)
            w.result(w.intent("reset", 2, 3, amplitude=1.5, gate=3.0, width=1e-6), energy=float("nan"))
            if doubt:
                w.intent("set", 0, 1, amplitude=2.4, gate=1.2, width=1e-6)
                w.event("read", 0, 1, conductance=60e-6, amplitude=0.2, width=0.02)
        return tmp_path / name

    return run


def test_a_chips_runs_add_up(make: Make) -> None:
    ledger = stress([make("run-1"), make("run-2", doubt=True)], "chip-7")
    assert ledger.runs == ("run-1", "run-2")
    assert ledger.pulses[0, 0, 1] == 3
    assert ledger.set[0, 0, 1] == 3
    assert ledger.in_doubt[0, 0, 1] == 1
    assert ledger.reset[0, 2, 3] == 2
    assert ledger.unpriced[0, 2, 3] == 2
    assert ledger.volts[0, 0, 1] == 2.4
    # The one in doubt is priced by the read before it: 2.4^2 V^2 x 50 uS x 1 us.
    assert ledger.energy[0, 0, 1] == pytest.approx(2 * 2e-10 + 2.4**2 * 50e-6 * 1e-6)
    assert ledger.charge[0, 0, 1] == pytest.approx(2 * 1e-10 + 2.4 * 50e-6 * 1e-6)
    assert ledger.pulses.sum() == 5
    assert all(ledger.map(name).shape == (1, 4, 4) for name in QUANTITIES)


def test_arrays_go_by_their_own_numbers_and_runs_count_once(make: Make) -> None:
    run = make("run-1", parameters={"arrays": [2]})
    ledger = stress([run, run, make("run-2")], "chip-7")
    assert ledger.pulses.shape == (3, 4, 4)
    assert ledger.pulses[2, 0, 1] == 1
    assert ledger.pulses[0, 0, 1] == 1


def test_other_chips_do_not_count(make: Make) -> None:
    one, other = make("run-1"), make("run-2", chip="chip-8")
    assert stress([one, other], "chip-7").pulses.sum() == 2
    with pytest.raises(AnalysisError, match="none of 1 runs is of chip 'chip-9'; they are of chip-7"):
        stress([one], "chip-9")
    with pytest.raises(AnalysisError, match="disagree"):
        stress([one, make("run-3", rows=8)], "chip-7")


def test_limits_name_the_cells_that_have_had_enough(make: Make) -> None:
    ledger = stress([make("run-1"), make("run-2", doubt=True)], "chip-7")
    (over,) = ledger.reached(StressLimits(pulses=3))
    assert (over.cell, over.value, over.limit) == ((0, 0, 1), 3, 3)
    assert "cell (0, 0, 1)" in over.explain()
    assert ledger.reached(StressLimits(pulses=4, energy=1e-6, volts=2.4)) == ()
    assert {e.quantity for e in ledger.reached(StressLimits(volts=2.0, energy=1e-10, charge=1e-10))} == {
        "volts",
        "energy",
        "charge",
    }
    left = ledger.left(StressLimits(pulses=10, energy=1e-9))
    assert left[0, 2, 3] == 8
    assert left[0, 0, 1] == np.floor((1e-9 - ledger.energy[0, 0, 1]) / (ledger.energy[0, 0, 1] / 3))
    assert left[0, 3, 3] == 10
    assert np.all(np.isinf(ledger.left(StressLimits())))


def test_nonsense_is_refused(make: Make) -> None:
    with pytest.raises(AnalysisError, match="more than 0"):
        StressLimits(pulses=0)
    with pytest.raises(AnalysisError, match="no 'heat'"):
        stress([make("run-1")], "chip-7").map("heat")
