"""What counts as a pulse between two reads, as a series, as a rest."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.fit_chips import Laboratory, Protocol, characterise, save_run, true_law

from analysis.errors import AnalysisError
from analysis.fitting.observations import exercised, gather, observe
from analysis.records.layout import EVENT_CODE, EVENT_COLUMNS, OUTCOME_CODE

Event = tuple[str, int, float]  # kind, column, conductance in uS


def table(events: list[Event], **columns: Any) -> dict[str, Any]:
    n = len(events)
    out = {c.name: np.zeros(n, c.typecode) for c in EVENT_COLUMNS}
    out["kind"] = np.array([EVENT_CODE[kind] for kind, _, _ in events])
    out["col"] = np.array([col for _, col, _ in events])
    out["conductance"] = np.array([g * 1e-6 for _, _, g in events])
    out["time"], out["duration"] = np.arange(n) * 1.0, np.full(n, 0.5)
    out["amplitude"] = np.where(out["kind"] == EVENT_CODE["read"], 0.2, 1.5)
    out["gate"], out["width"] = np.full(n, 1.2), np.where(out["kind"] == EVENT_CODE["read"], 0.02, 1e-6)
    for name, values in columns.items():
        out[name] = np.asarray(values)
    return out


def test_a_pulse_counts_between_two_reads_of_its_cell_whatever_others_do() -> None:
    seen = observe(
        [
            table(
                [
                    ("read", 0, 10),
                    ("read", 1, 20),
                    ("set", 0, np.nan),
                    ("reset", 1, np.nan),
                    ("read", 0, 50),
                    ("read", 1, 8),
                ]
            )
        ]
    )
    assert len(seen.steps) == 2
    assert seen.steps.before.tolist() == pytest.approx([10e-6, 20e-6])
    assert seen.steps.after.tolist() == pytest.approx([50e-6, 8e-6])
    assert seen.steps.reset.tolist() == [False, True]
    assert seen.steps.age.tolist() == pytest.approx([2.0, 2.0])


@pytest.mark.parametrize(
    "events", [
        [("read", 0, 10), ("set", 0, np.nan), ("set", 0, np.nan), ("read", 0, 50)],
        [("set", 0, np.nan), ("read", 0, 50)],
        [("read", 0, 10), ("set", 0, np.nan), ("read", 1, 50)],
        [("read", 0, 10), ("form", 0, np.nan), ("read", 0, 50)],
        [("read", 0, 10), ("other", 0, np.nan), ("set", 0, np.nan), ("read", 0, 50)],
    ],
)  # fmt: skip
def test_other_pulses_are_left_out(events: list[Event]) -> None:
    assert len(observe([table(events)]).steps) == 0


def test_a_pulse_in_doubt_and_a_sweep_are_left_out() -> None:
    events: list[Event] = [("read", 0, 10), ("set", 0, np.nan), ("read", 0, 50)]
    assert len(observe([table(events)]).steps) == 1
    assert len(observe([table(events, outcome=[0, OUTCOME_CODE["doubt"], 0])]).steps) == 0
    assert len(observe([table(events, energy=[0.0, np.nan, 0.0])]).steps) == 0
    assert len(observe([table(events, amplitude=[0.2, 1.5, 0.8])]).steps) == 0


def test_runs_are_not_joined_across_their_borders() -> None:
    assert len(observe([table([("read", 0, 10), ("set", 0, np.nan)]), table([("read", 0, 50)])]).steps) == 0


def test_series_and_rests_are_told_apart() -> None:
    rng = np.random.default_rng(3)
    lab = Laboratory(true_law(rng), 4, rng)
    seen = observe([characterise(lab, Protocol(noise_slow=20, noise_fast=24, rest_to=1e4))])
    assert sorted({len(s.values) for s in seen.noise}) == [20, 24]
    assert len(seen.rests) >= 4
    assert all(s.age[-1] / s.age[0] >= 30 for s in seen.rests)
    assert all(np.ptp(s.integration) == 0 for s in seen.noise)


def test_stuck_cells_are_those_that_never_move() -> None:
    rng = np.random.default_rng(5)
    lab = Laboratory(true_law(rng), 300, rng)
    lab.cells["stuck"][:4] = [1, 1, -1, -1]
    seen = observe([characterise(lab, Protocol(noise_slow=0, rest_to=0))])
    tested, stuck, mean = exercised(seen.steps, 300)
    assert tested.all()
    assert np.array_equal(stuck, lab.cells["stuck"] != 0)
    assert np.all(mean[:2] > mean[2:4])


def test_run_files_give_the_chips_own_array_numbers(tmp_path: Path) -> None:
    events = table([("read", 0, 10), ("set", 0, np.nan), ("read", 0, 50)])
    run = save_run(tmp_path / "a", events, parameters={"arrays": [2]})
    seen = gather([run])
    assert seen.cells.tolist() == [[2, 0, 0]]
    assert len(seen.steps) == 1
    assert seen.chip == "chip-7"
    assert seen.runs == ("a",)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Path]:
    def make(name: str, events: list[Event], chip: str) -> Path:
        return save_run(tmp_path / name, table(events), chip=chip)

    return make


def test_what_cannot_be_fitted_is_said(run: Callable[..., Path]) -> None:
    one, other = run("a", [("read", 0, 10)], "seed 1"), run("b", [("read", 0, 10)], "seed 2")
    with pytest.raises(AnalysisError, match=r"2 chips \(seed 1, seed 2\)"):
        gather([one, other])
    with pytest.raises(AnalysisError, match="at least one run"):
        gather([])
    with pytest.raises(AnalysisError, match="no reads"):
        gather([run("c", [("set", 0, np.nan)], "seed 1")])
