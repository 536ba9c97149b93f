"""Each characterisation through the front door on a twin: it runs, its table and figures come from the file alone."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from characterise_jobs import SMALL, prepared

from analysis.characterisation.array_errors import summarise_errors
from analysis.characterisation.disturb import summarise_disturb
from analysis.characterisation.endurance import summarise_endurance
from analysis.characterisation.forming import summarise_forming
from analysis.characterisation.health import summarise_health
from analysis.characterisation.iv import summarise_iv
from analysis.characterisation.levels import summarise_levels
from analysis.characterisation.noise import summarise_noise
from analysis.characterisation.pulses import summarise_pulses
from analysis.characterisation.retention import summarise_retention
from analysis.errors import AnalysisError
from analysis.records import RunFile, open_run
from instruments.errors import LimitError
from workflows.errors import RequestError
from workflows.procedures.characterise import PROCEDURES


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all runs of this module are; one of each small procedure, the array programmed last."""
    root = tmp_path_factory.mktemp("characterise")
    for name in SMALL:
        prepared(name, root, **({"bench": str(root / "pristine")} if name == "forming" else {})).run()
    return root


def opened(root: Path, name: str) -> RunFile:
    return open_run(root / name)


@pytest.mark.parametrize("name", list(SMALL))
def test_table_and_figures_come_from_the_file_alone(root: Path, name: str, tmp_path: Path) -> None:
    procedure = PROCEDURES[name]
    with opened(root, name) as run:
        assert run.status == "completed"
        assert run.header.procedure == name
        told = procedure.rows(run)
    shutil.copy(root / name / "run.h5", tmp_path / "run.h5")
    procedure.report(tmp_path)
    drawn = {p.name: p.read_bytes() for p in (tmp_path / "figures").iterdir()}
    assert drawn
    assert drawn == {p.name: p.read_bytes() for p in (root / name / "figures").iterdir()}
    with open_run(tmp_path / "run.h5") as run:
        assert procedure.rows(run) == told
    assert told[-1].name == "time on the lab's clock"


def test_forming_takes_pristine_cells_to_conduct(root: Path) -> None:
    with opened(root, "forming") as run:
        s = summarise_forming(run)
        kinds = run.where("form")
        assert s.formed == s.cells == 6
        assert np.all(s.before < 0.1e-6)
        assert s.after is not None
        assert s.after.value > 50e-6
        assert np.all(run.events["amplitude"][kinds] == 3.3)
        assert np.all(run.events["width"][kinds] == 1e-3)
        assert s.gate is not None
        assert s.gate.value == pytest.approx(1.3)


def test_iv_is_bipolar_and_repeats_itself(root: Path) -> None:
    with opened(root, "iv") as run:
        s = summarise_iv(run)
        (cell,) = s.cells
        assert len(cell.amps) == 6
        assert s.volts[0].max() == 1.5
        assert s.volts[1].min() == -1.5
        assert cell.switched == 1.0
        assert cell.ratio > 5
        # A quasi-static step of 1 ms switches 0.09 V ln 1000 below a pulse of 1 us, whose threshold is 1.35 or 1.25 V.
        assert cell.set_volts.value == pytest.approx(1.35 - 0.09 * np.log(1e3), abs=0.2)
        assert cell.reset_volts.value == pytest.approx(1.25 - 0.09 * np.log(1e3), abs=0.2)
        assert np.nanmin(cell.amps[:, 1]) < -20e-6  # RESET current flows backwards through the cell
        assert int(run.where("set").sum()) == int(run.where("reset").sum()) == 6


def test_pulse_response_finds_the_device_law(root: Path) -> None:
    with opened(root, "pulses") as run:
        s = summarise_pulses(run)
        assert s.responsive == len(s.cells) == 3
        # cmo-hfox: half way lies at V_s + v0 ln ln 2, threshold spread 80 mV a cell; slope 125 uS/V, 3 % a cell.
        assert s.set_threshold.value == pytest.approx(1.35 - 0.033, abs=0.15)
        assert s.reset_threshold.value == pytest.approx(1.25 - 0.033, abs=0.15)
        assert s.gate_slope.value == pytest.approx(125e-6, rel=0.1)
        assert s.gate_threshold.value == pytest.approx(0.6, abs=0.08)
        volts, before, after = s.cells[0].ladder("reset_volts")
        assert np.all(after[volts == volts.max()] < 0.5 * before[volts == volts.max()])


def test_levels_are_straight_and_apart(root: Path) -> None:
    with opened(root, "levels") as run:
        s = summarise_levels(run)
        for cell in s.cells:
            assert cell.responsive
            assert cell.discernible == 8
            assert cell.nonlinearity.value < 0.01
            assert np.abs(cell.conductance - s.targets).max() < 3e-6


def test_noise_falls_with_integration_time(root: Path) -> None:
    with opened(root, "noise") as run:
        s = summarise_noise(run)
        assert [t.seconds for t in s.times] == [16e-6, 20e-3]
        assert all(t.traces.shape == (4, 40) for t in s.times)
        assert s.times[0].sigma.value > 1.2 * s.times[1].sigma.value
        widths = run.events["width"][run.where("read")]
        assert {16e-6, 20e-3} <= set(np.round(widths, 9))


def test_retention_goes_on_for_a_million_seconds(root: Path) -> None:
    with opened(root, "retention") as run:
        s = summarise_retention(run)
        assert s.cells == 12
        assert np.nanmax(s.times) == pytest.approx(1e6, rel=0.01)
        assert s.drift[-1].sigma.value > s.drift[0].sigma.value
        assert s.mean_slope.value < 0  # cmo-hfox relaxes by -89 nS per ln t after a full move
        assert np.nanmin(s.times) < 1.0


def test_endurance_looks_at_log_spaced_counts(root: Path) -> None:
    with opened(root, "endurance") as run:
        s = summarise_endurance(run)
        for cell in s.cells:
            assert cell.counts[0] == 1
            assert cell.counts[-1] == 20
            assert np.all(cell.high > 1.5 * cell.low)
            assert not cell.stuck
        pulses = np.asarray(run.cells["pulses"])
        assert sorted(pulses[pulses > 0]) == [40, 40]


def test_a_stuck_cell_is_left_alone(tmp_path: Path) -> None:
    job = prepared("endurance", tmp_path, at="1,21", cycles=1000)  # of chip 1 this one is stuck on
    with open_run(job.run()) as run:
        (cell,) = summarise_endurance(run).cells
        assert cell.stuck
        assert run.cells["pulses"].sum() < 100


def test_disturb_is_seen_where_it_is_and_not_elsewhere(tmp_path: Path) -> None:
    more: dict[str, Any] = {"pulses": 30, "width": 1e-4, "per_decade": 2, "neighbours": 6}
    with open_run(prepared("disturb", tmp_path, **more).run()) as run:
        tests = {(t.kind, t.group): t for t in summarise_disturb(run).tests}
    # Of a RESET of 2 V and 100 us the row's other cells see enough to lose conductance; the column's see nothing.
    assert tests["reset", "same row"].significant
    assert tests["reset", "same row"].shift.value < -1e-6
    assert not tests["reset", "same column"].significant
    assert abs(tests["read", "the cell read"].shift.value) < 1e-6


def test_array_errors_at_each_time(root: Path) -> None:
    with opened(root, "array-errors") as run:
        s = summarise_errors(run)
        assert s.cells == 64
        assert len(s.times) == 2
        assert s.times[0].age < 60
        assert s.times[1].age == pytest.approx(1000, abs=10)
        assert s.times[0].inside > 0.9
        assert s.growth is not None


def test_health_mends_the_cells_that_drifted_and_no_other(root: Path) -> None:
    # A narrow window, so that some cells are outside it; the array was programmed last by the run array-errors.
    job = prepared("health", root, reference="array-errors", window=0.6e-6, mend=True, verify=0.5, run_id="mended")
    with open_run(job.run()) as run:
        s = summarise_health(run)
        pulses = np.asarray(run.cells["pulses"]).reshape(32, 32)
        assert s.cells == 64
        assert s.before.outside == s.drifted.sum() > 0
        assert not np.any(pulses[~s.drifted])
        assert s.after is not None
        assert s.after.outside < s.before.outside
        assert s.pulses == pulses.sum() > 0
        assert PROCEDURES["health"].rows(run)[2].name == "mended"
    with open_run(prepared("health", root, reference="array-errors", run_id="looked").run()) as run:
        s = summarise_health(run)
        assert s.after is None
        assert not run.where("set", "reset").any()


def test_health_of_another_array_is_not_mended(root: Path, tmp_path: Path) -> None:
    job = prepared("health", tmp_path, reference=str(root / "array-errors"), mend=True, chip="2")
    with pytest.raises(RequestError, match="not the array that"):
        job.run()
    with open_run(tmp_path / "health") as run:
        assert not run.where("set", "reset").any()


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("forming", {"volts": 3.6}, "bit line when forming"),
        ("forming", {"gate_to": 4.5}, "gate when forming"),
        ("forming", {"gate_from": 5.0}, "must be less than"),
        ("iv", {"set_volts": 3.6}, "SET sweep on the bit line"),
        ("iv", {"reset_volts": 2.6}, "RESET sweep on the source line"),
        ("iv", {"set_compliance": 2e-3}, "compliance of a SET sweep"),
        ("iv", {"delay": 0.5}, "fewer steps"),
        ("pulses", {"set_to": 3.7}, "SET pulse"),
        ("pulses", {"width_to": 1.0}, "width of a SET pulse"),
        ("levels", {"high": 200e-6}, "outside the device's window"),
        ("levels", {"read_to": 0.5}, "read voltage"),
        ("noise", {"times": "1 us"}, "must be 16 us"),
        ("noise", {"times": "20 ms, 20 ms"}, "all different"),
        ("noise", {"times": "20 mV"}, "is not a quantity in s"),
        ("retention", {"start": 2e6}, "must be less than"),
        ("endurance", {"reset_volts": 2.6}, "RESET pulse"),
        ("endurance", {"cycles": 0}, "cycles must be 1"),
        ("disturb", {"neighbours": 40}, "less than 32"),
        ("disturb", {"read_volts": 0.5}, "read-disturb"),
        ("array-errors", {"times": "10 s, 1 s"}, "rising"),
        ("array-errors", {"array": 7}, "array 7 does not exist"),
        ("health", {}, "give --reference"),
        ("health", {"reference": "nowhere"}, "not found"),
        ("endurance", {"at": "3,99"}, "does not exist"),
        ("endurance", {"at": "3;4"}, "is no cell"),
        ("endurance", {"at": "3,4 3,4"}, "named twice"),
        ("endurance", {"cells": 2000}, "cells must be 1..1024"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_opened(
    name: str, change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises((RequestError, LimitError), match=said):
        prepared(name, tmp_path, **change)
    assert {p.name for p in tmp_path.iterdir()} <= {"pattern.npy"}


def test_a_run_of_another_procedure_is_refused(root: Path) -> None:
    with opened(root, "iv") as run, pytest.raises(AnalysisError, match="is a iv run"):
        summarise_pulses(run)
