"""A run's records from the first to the file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.records import RunHeader, RunWriter, layout, open_run, read_journal

NAN = float("nan")
Make = Callable[..., RunWriter]


def test_what_happened_is_in_the_file(make_run: Make, tmp_path: Path, make_header: Callable[..., RunHeader]) -> None:
    target = np.full((4, 3), 5e-5)
    with make_run(wall=lambda: "2031-05-07T09:00:00+00:00") as run:
        run.map("conductance_target", target)
        run.phase("programming")
        run.event("read", 1, 2, amplitude=0.2, width=1e-3, conductance=3e-5, current=6e-6, energy=1e-9, duration=2e-3)
        pulse = run.intent("set", 1, 2, amplitude=1.4, gate=1.1, width=1e-6, t=10.0)
        run.result(pulse, energy=2e-9, t=10.5)
        run.event("read", 1, 2, amplitude=0.2, conductance=4.9e-5)
        run.cell(1, 2, "ok")
        run.cell(0, 0, "stuck", conductance=1e-6)
        run.event("select", -1, -1, array=-1)
        run.note("the probe was lifted")
    with open_run(tmp_path / "run-1") as file:
        assert file.header == make_header()
        assert (file.status, file.reason, file.world) == ("completed", "", "simulated")
        events = file.events
        assert [layout.EVENT_KINDS[code] for code in events["kind"]] == ["read", "set", "read", "select"]
        assert layout.names_of(events["outcome"], layout.OUTCOMES).tolist() == ["done"] * 4
        assert (events["time"][1], events["duration"][1]) == (10.0, 0.5)
        np.testing.assert_array_equal(events["energy"], [1e-9, 2e-9, NAN, NAN])
        np.testing.assert_array_equal(events["gate"], [NAN, 1.1, NAN, NAN])
        assert events["row"].tolist() == [1, 1, 1, -1]
        assert file.where("set", "reset").tolist() == [False, True, False, False]
        cell = {name: values[1 * 3 + 2] for name, values in file.cells.items()}
        assert (cell["row"], cell["col"], cell["pulses"], cell["reads"]) == (1, 2, 1, 2)
        assert (cell["conductance"], cell["target"]) == (4.9e-5, 5e-5)
        assert layout.names_of(file.cells["status"], layout.CELL_STATUSES)[[0, 1, 5]].tolist() == [
            "stuck",
            "pending",
            "ok",
        ]
        assert file.map("conductance_after")[1, 2] == 4.9e-5
        assert file.map("conductance_after")[0, 0] == 1e-6
        assert file.map("conductance_before")[1, 2] == 3e-5
        assert file.map("conductance_error")[1, 2] == 4.9e-5 - 5e-5
        np.testing.assert_array_equal(file.map("conductance_target"), target)
        assert file.phases == [{"name": "programming", "time": 0.25}]
        assert [note["text"] for note in file.notes] == ["the probe was lifted"]
        assert file.segments[0]["ended"] == "2031-05-07T09:00:00+00:00"
    assert (tmp_path / "run-1" / "station.yaml").read_text() == "station: bench\n"
    assert not (tmp_path / "run-1" / layout.PARTIAL).exists()


def test_several_arrays_have_an_axis_of_their_own(
    make_run: Make, make_header: Callable[..., RunHeader], tmp_path: Path
) -> None:
    with make_run(header=make_header(arrays=2)) as run:
        run.event("read", 3, 1, array=1, conductance=2e-5)
        run.map("conductance_target", np.arange(24.0).reshape(2, 4, 3))
    with open_run(tmp_path / "run-1") as file:
        assert file.map("conductance_after").shape == (2, 4, 3)
        assert file.map("conductance_after")[1, 3, 1] == 2e-5
        assert file.cells["target"].tolist() == list(range(24))


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (KeyboardInterrupt(), "interrupted", "KeyboardInterrupt"),
        (SystemExit(3), "interrupted", "SystemExit: 3"),
        (RuntimeError("the bench\nis on fire"), "failed", "RuntimeError: the bench is on fire"),
    ],
)
def test_however_it_ends_there_is_a_file_that_says_so(
    make_run: Make, tmp_path: Path, error: BaseException, status: str, reason: str
) -> None:
    run = make_run()
    run.intent("reset", 2, 1, amplitude=-1.2)
    with pytest.raises(type(error)), run:
        raise error
    with open_run(tmp_path / "run-1") as file:
        assert (file.status, file.reason) == (status, reason)
        assert layout.OUTCOMES[file.events["outcome"][0]] == "doubt"
        assert file.cells["pulses"][2 * 3 + 1] == 1


def test_a_run_can_be_ended_by_name_and_only_once(make_run: Make, tmp_path: Path) -> None:
    with make_run() as run:
        path = run.close("aborted", "the operator said so")
        assert run.close() == path
    with open_run(path) as file:
        assert (file.status, file.reason) == ("aborted", "the operator said so")


def test_a_file_that_cannot_be_made_does_not_hide_what_stopped_the_run(make_run: Make, tmp_path: Path) -> None:
    run = make_run()
    (tmp_path / "run-1" / (layout.FINAL + layout.UNFINISHED)).mkdir()
    with pytest.raises(KeyboardInterrupt) as caught, run:
        raise KeyboardInterrupt
    assert "could not be finished" in caught.value.__notes__[0]
    assert read_journal(tmp_path / "run-1" / layout.JOURNAL).records[-1]["status"] == "interrupted"


def test_every_call_is_in_the_journal_when_it_returns(make_run: Make, tmp_path: Path) -> None:
    path = tmp_path / "run-1" / layout.JOURNAL

    def kinds() -> list[str]:
        return [record["kind"] for record in read_journal(path).records]

    run = make_run()
    calls: list[tuple[str, Callable[[], Any]]] = [
        ("intent", lambda: run.intent("set", 0, 0)),
        ("result", lambda: run.result(1)),
        ("event", lambda: run.event("read", 0, 0)),
        ("cell", lambda: run.cell(0, 0, "ok")),
        ("array", lambda: run.map("conductance_target", np.zeros((4, 3)))),
        ("array", lambda: run.data("offsets", [1, 2])),
        ("array", lambda: run.twin("true_energy", 3.0)),
        ("phase", lambda: run.phase("x")),
        ("note", lambda: run.note("x")),
    ]
    expected = ["header"]
    for kind, call in calls:
        call()
        expected.append(kind)
        assert kinds() == expected
    run.close()
    assert kinds() == [*expected, "end"]


def test_data_and_the_twins_knowledge_are_kept_apart(
    make_run: Make, make_header: Callable[..., RunHeader], tmp_path: Path
) -> None:
    with make_run() as run:
        run.data("calibration/offsets", np.array([1, -2], np.int16), units="V", title="Offsets")
        run.twin("true_conductance", np.full((4, 3), 4e-5), units="S")
        run.map("retention", np.ones((4, 3)), units="s", title="Time to failure")
    with open_run(tmp_path / "run-1") as file:
        assert file.names("data") == ["calibration/offsets"]
        offsets = file.data("calibration/offsets")
        assert (offsets.dtype, offsets.tolist()) == (np.int16, [1, -2])
        assert file.twin("true_conductance")[0, 0] == 4e-5
        assert file.map("retention").sum() == 12
        with pytest.raises(AnalysisError, match="has no data 'true_conductance'"):
            file.data("true_conductance")
    with h5py.File(tmp_path / "run-1" / layout.FINAL) as file:
        assert file["entry/twin"].attrs["note"] == layout.TWIN_NOTE
        assert file["entry/retention/value"].attrs["units"] == "s"
    with make_run("real", make_header(world="real")) as run, pytest.raises(AnalysisError, match="only a twin does"):
        run.twin("true_conductance", np.ones((4, 3)))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda run: run.intent("zap", 0, 0), "no event 'zap'"),
        (lambda run: run.intent("set", 4, 0), "no cell 4,0 of array 0"),
        (lambda run: run.intent("set", 0, -1), "no cell 0,-1"),
        (lambda run: run.event("read", 0, 0, array=1), "of array 1"),
        (lambda run: run.event("set", 0, 0), r"announce it with intent\(\)"),
        (lambda run: run.event("read", 0, 0, amplitude=float("inf")), "amplitude can't be inf"),
        (lambda run: run.result(5), "no intent 5"),
        (lambda run: run.cell(0, 0, "good"), "a cell can't be 'good'"),
        (lambda run: run.cell(9, 9, "ok"), "no cell 9,9"),
        (lambda run: run.map("conductance_target", np.ones((3, 4))), r"has shape \(3, 4\)"),
        (lambda run: run.map("conductance_target", np.ones((4, 3)), units="V"), "is in S"),
        (lambda run: run.map("../map", np.ones((4, 3))), "can't name a dataset"),
        (lambda run: run.data("a", ["text"]), "must be numbers"),
        (lambda run: run.data("A b", [1]), "can't name a dataset"),
        (lambda run: run.close("great"), "can't end 'great'"),
        (lambda run: run.event("read", 0, 0, t=NAN), "can't be at nan"),
    ],
)
def test_nonsense_is_refused_and_leaves_no_record(make_run: Make, tmp_path: Path, call: Any, said: str) -> None:
    run = make_run()
    with pytest.raises(AnalysisError, match=said):
        call(run)
    assert len(read_journal(tmp_path / "run-1" / layout.JOURNAL).records) == 1
    run.close()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"world": "dreamt"}, "'simulated' or 'real'"),
        ({"run_id": ""}, "needs a run_id"),
        ({"rows": 0}, "each must be 1 to 32767"),
        ({"parameters": {"window": NAN}}, "can't be kept as JSON"),
        ({"parameters": {"path": Path("x")}}, "can't be kept as JSON"),
        ({"parameters": {"big": 2**70}}, "can't be kept as JSON"),
    ],
)
def test_a_header_that_makes_no_sense_is_refused(
    make_header: Callable[..., RunHeader], changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(AnalysisError, match=said):
        make_header(**changes)


def test_a_folder_holds_one_run(make_run: Make) -> None:
    make_run().close()
    with pytest.raises(AnalysisError, match="already holds a run"):
        make_run()


def test_a_later_measurement_outweighs_an_earlier_and_pulses_end_the_time_before(
    make_run: Make, tmp_path: Path
) -> None:
    with make_run() as run:
        run.result(run.intent("form", 0, 0), conductance=7e-6)
        run.event("read", 0, 0, conductance=8e-6)
        run.event("read", 0, 1, conductance=1e-6)
        run.event("read", 0, 1, conductance=2e-6)
    with open_run(tmp_path / "run-1") as file:
        np.testing.assert_array_equal(file.map("conductance_after")[0], [8e-6, 2e-6, NAN])
        np.testing.assert_array_equal(file.map("conductance_before")[0], [NAN, 1e-6, NAN])
