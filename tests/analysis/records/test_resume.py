"""Going on with a run, and knowing what is in doubt. A copy of a running run's folder is what a kill leaves."""

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.errors import AnalysisError
from analysis.records import RunWriter, layout, open_run, read_journal, salvage
from analysis.records.journal import encode_record

Make = Callable[..., RunWriter]
Now = Callable[[], float]


def killed(run: RunWriter, folder: Path) -> Path:
    """What a kill at this instant would leave."""
    shutil.copytree(run.folder, folder, dirs_exist_ok=True)
    run.close("aborted")
    return folder


def resume(folder: Path, now: Now, **options: Any) -> RunWriter:
    return RunWriter.resume(folder, now=now, started="2031-05-08", world="simulated", **options)


@pytest.fixture
def left(make_run: Make, tmp_path: Path) -> Path:
    """Cell 0,0 finished, 0,1 stuck, 0,2 in doubt."""
    run = make_run()
    run.map("conductance_target", np.full((4, 3), 5e-5))
    run.phase("programming")
    run.result(run.intent("set", 0, 0, amplitude=1.2), conductance=5e-5)
    run.cell(0, 0, "ok")
    run.cell(0, 1, "stuck")
    run.intent("reset", 0, 2, amplitude=-1.4, gate=3.0, width=1e-6)
    return killed(run, tmp_path / "left")


def test_the_state_says_where_the_run_stands(left: Path, now: Now) -> None:
    with resume(left, now) as run:
        state = run.state
        assert state is not None
        assert state.finished == {(0, 0, 0): "ok", (0, 0, 1): "stuck"}
        (doubt,) = state.in_doubt
        assert (doubt.kind, doubt.cell, doubt.amplitude, doubt.gate) == ("reset", (0, 0, 2), -1.4, 3.0)
        assert (state.status, state.phase) == ("killed", "programming")
        assert state.last_time == read_journal(left / layout.JOURNAL).records[doubt.seq]["t"]
        assert state.cells["pulses"].tolist()[:3] == [1, 0, 1]
        assert state.maps["conductance_target"].shape == (4, 3)


def test_a_cell_that_is_given_another_target_is_pending_again(left: Path, now: Now, tmp_path: Path) -> None:
    target = np.full((4, 3), 5e-5)
    target[0, 0], target[0, 1] = 6e-5, np.nan
    run = resume(left, now)
    run.cell(1, 1, "ok")
    run.map("conductance_target", target)
    left = killed(run, tmp_path / "again")
    with resume(left, now) as run:
        assert run.state is not None
        assert run.state.finished == {(0, 0, 1): "stuck", (0, 1, 1): "ok"}


@pytest.mark.parametrize("torn", [b"", b'{"seq":0,"t":1.0,"kind":"hea'])
def test_a_process_that_died_before_its_first_record_left_no_run(make_run: Make, tmp_path: Path, torn: bytes) -> None:
    (tmp_path / "run-1").mkdir()
    (tmp_path / "run-1" / layout.JOURNAL).write_bytes(torn)
    make_run().close()
    with open_run(tmp_path / "run-1") as file:
        assert file.status == "completed"


def test_a_resumed_run_tells_both_parts(left: Path, now: Now) -> None:
    with resume(left, now, wall=lambda: "2031-05-08T10:00") as run:
        run.event("read", 0, 2, conductance=2e-5)
        run.cell(0, 2, "ok")
    with open_run(left) as file:
        assert file.status == "completed"
        assert layout.names_of(file.events["kind"], layout.EVENT_KINDS).tolist() == ["set", "reset", "read"]
        assert layout.names_of(file.events["outcome"], layout.OUTCOMES).tolist() == ["done", "doubt", "done"]
        assert [part["status"] for part in file.segments] == ["killed", "completed"]
        assert [part["started"] for part in file.segments] == ["2031-05-07T08:00:00+00:00", "2031-05-08"]
        assert file.segments[0]["last_seq"] + 1 == file.segments[1]["first_seq"]
        assert (file.cells["status"] == layout.CELL_CODE["ok"]).sum() == 2


def test_a_doubt_lasts_until_the_cell_is_read(left: Path, now: Now, tmp_path: Path) -> None:
    run = resume(left, now)
    run.event("read", 1, 1, conductance=1e-5)
    again = killed(run, tmp_path / "again")
    run = resume(again, now)
    assert run.state is not None
    assert [doubt.cell for doubt in run.state.in_doubt] == [(0, 0, 2)]
    run.event("read", 0, 2, conductance=1e-5)
    last = killed(run, tmp_path / "last")
    with resume(last, now) as run:
        assert run.state is not None
        assert run.state.in_doubt == ()


def test_salvage_makes_the_file_once_and_leaves_the_run_resumable(left: Path, now: Now) -> None:
    before = (left / layout.JOURNAL).read_bytes()
    report = salvage(left)
    assert (report.rebuilt, report.status, report.world, report.finished) == (True, "killed", "simulated", 2)
    assert [doubt.cell for doubt in report.in_doubt] == [(0, 0, 2)]
    assert report.is_complete
    made = report.path.read_bytes()
    second = salvage(left)
    assert not second.rebuilt
    assert report.path.read_bytes() == made
    assert (left / layout.JOURNAL).read_bytes() == before
    with open_run(left) as file:
        assert (file.status, file.is_partial) == ("killed", False)
        assert len(file.events["seq"]) == report.events == 2
    with resume(left, now) as run:
        run.event("read", 0, 2, conductance=1e-5)
    assert open_run(left).status == "completed"


def test_salvage_needs_no_partial_file_and_bears_damage(left: Path) -> None:
    (left / layout.PARTIAL).write_bytes(b"\x89HDF but not really")
    journal = left / layout.JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[5] = lines[5].replace(b"cell", b"bell")
    journal.write_bytes(b"".join(lines) + b'{"seq":99,"t":')
    with pytest.raises(AnalysisError, match=r"line 6 of .* is damaged"):
        RunWriter.resume(left, now=lambda: 0.0, started="later", world="simulated")
    report = salvage(left)
    assert (report.damaged, report.torn, report.finished) == ((6,), 14, 1)
    assert not report.is_complete
    assert not salvage(left).rebuilt


def test_while_it_is_resumed_the_newer_file_is_shown(left: Path, now: Now) -> None:
    salvage(left)
    with resume(left, now) as run:
        run.event("read", 3, 2, conductance=1e-5)
        run.sync()
        with open_run(left) as file:
            assert file.is_partial
            assert file.status == "running"
            assert len(file.events["seq"]) == 3


def test_a_run_that_is_written_is_left_alone(make_run: Make, now: Now, tmp_path: Path) -> None:
    with make_run():
        with pytest.raises(AnalysisError, match="by a process that lives"):
            salvage(tmp_path / "run-1")
        with pytest.raises(AnalysisError, match="is being written"):
            resume(tmp_path / "run-1", now)


def test_what_cannot_be_resumed_is_named(make_run: Make, now: Now, tmp_path: Path, left: Path) -> None:
    make_run("done").close()
    with pytest.raises(AnalysisError, match="holds a completed run"):
        resume(tmp_path / "done", now)
    with pytest.raises(AnalysisError, match="holds no run to resume"):
        resume(tmp_path / "nowhere", now)
    with pytest.raises(AnalysisError, match="holds no run to salvage"):
        salvage(tmp_path / "nowhere")
    with pytest.raises(AnalysisError, match="holds a simulated run: it can't go on with a real station"):
        RunWriter.resume(left, now=now, started="later", world="real")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / layout.JOURNAL).touch()
    with pytest.raises(AnalysisError, match="nothing was recorded"):
        resume(tmp_path / "empty", now)


def test_a_journal_of_a_later_version_is_refused(left: Path, now: Now) -> None:
    journal = left / layout.JOURNAL
    header, *rest = journal.read_bytes().splitlines(keepends=True)
    record = read_journal(journal).records[0] | {"format": layout.FORMAT + 1}
    journal.write_bytes(encode_record(record) + b"".join(rest))
    assert header != encode_record(record)
    with pytest.raises(AnalysisError, match="use a newer ohmflow"):
        resume(left, now)
    with pytest.raises(AnalysisError, match="use a newer ohmflow"):
        salvage(left)


def test_an_interrupted_run_goes_on(make_run: Make, now: Now, tmp_path: Path) -> None:
    run = make_run()
    run.event("read", 0, 0, conductance=1e-6)
    with pytest.raises(KeyboardInterrupt), run:
        raise KeyboardInterrupt
    with resume(tmp_path / "run-1", now) as run:
        assert run.state is not None
        assert run.state.status == "interrupted"
        run.cell(0, 0, "ok")
    with open_run(tmp_path / "run-1") as file:
        assert [part["status"] for part in file.segments] == ["interrupted", "completed"]
        assert file.segments[0]["reason"] == "KeyboardInterrupt"


values = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.text(max_size=3)
anything = st.recursive(values, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_journal_of_nonsense_is_told_in_a_sentence(left: Path, data: st.DataObject) -> None:
    journal = left / layout.JOURNAL
    sound = journal.read_bytes()
    records = read_journal(journal).records
    record = data.draw(st.sampled_from(records))
    inner = data.draw(st.sampled_from([item for item in (record, record.get("header"), record.get("packed")) if item]))
    inner[data.draw(st.sampled_from(sorted(inner)))] = data.draw(anything)
    try:
        journal.write_bytes(b"".join(encode_record(item) for item in records))
        with contextlib.suppress(AnalysisError):
            salvage(left)
        with contextlib.suppress(AnalysisError):
            resume(left, lambda: 0.0).close()
    finally:
        journal.write_bytes(sound)
