"""Opening runs: finished, under way, and things that are none."""

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.errors import AnalysisError
from analysis.records import RunHeader, RunWriter, layout, open_run, salvage

Make = Callable[..., RunWriter]


def test_a_run_under_way_can_be_watched(make_run: Make, tmp_path: Path) -> None:
    with make_run(flush_every=4) as run:
        for step in range(6):
            run.event("read", step % 4, 0, conductance=(step + 1) * 1e-6)
        with open_run(tmp_path / "run-1") as watched:
            assert watched.is_partial
            assert watched.status == "running"
            assert watched.header.run_id == "run-1"
            assert len(watched.events["seq"]) == 4
            assert watched.map("conductance_after")[3, 0] == 4e-6
            run.sync()
            watched.refresh()
            assert len(watched.events["seq"]) == 6
            assert watched.map("conductance_after")[1, 0] == 6e-6
            assert watched.segments == []


def test_the_watch_is_brought_up_to_date_twice_a_second(make_run: Make, tmp_path: Path) -> None:
    seconds = iter([0.0, 0.1, 0.35, 0.5, 0.6])
    with make_run(stopwatch=lambda: next(seconds)) as run, open_run(tmp_path / "run-1") as watched:
        seen = []
        for _ in range(4):
            run.event("read", 0, 0, conductance=1e-6)
            watched.refresh()
            seen.append(len(watched.events["seq"]))
    assert seen == [0, 0, 3, 3]


def test_a_killed_run_is_told_from_one_that_runs(make_run: Make, tmp_path: Path) -> None:
    run = make_run()
    run.event("read", 0, 0, conductance=1e-6)
    run.sync()
    shutil.copytree(tmp_path / "run-1", tmp_path / "left")
    with open_run(tmp_path / "left") as left:
        assert left.status == "killed"
        assert len(left.events["seq"]) == 1
    run.close()
    with pytest.raises(OSError, match="Unable to synchronously open file"):
        h5py.File(tmp_path / "left" / layout.PARTIAL, "r")


def test_what_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match="there is no run"):
        open_run(tmp_path / "nowhere")
    with pytest.raises(AnalysisError, match="is not a run's folder"):
        open_run(tmp_path)
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(AnalysisError, match=r"text\.h5 can't be read as HDF5"):
        open_run(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(AnalysisError, match="names no format version"):
        open_run(tmp_path / "other.h5")


def test_a_folder_with_a_journal_alone_says_what_to_do(make_run: Make, tmp_path: Path) -> None:
    make_run().close()
    (tmp_path / "run-1" / layout.FINAL).unlink()
    with pytest.raises(AnalysisError, match="salvage it"):
        open_run(tmp_path / "run-1")
    assert salvage(tmp_path / "run-1").rebuilt
    assert open_run(tmp_path / "run-1").status == "completed"


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_refused_and_can_be_made_again(make_run: Make, tmp_path: Path, share: float) -> None:
    with make_run() as run:
        run.event("read", 0, 0, conductance=1e-6)
    path = tmp_path / "run-1" / layout.FINAL
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(AnalysisError, match="can't be read as HDF5"):
        open_run(path)
    assert salvage(tmp_path / "run-1").rebuilt
    with open_run(path) as file:
        assert file.events["conductance"].tolist() == [1e-6]


def tamper(path: Path, change: Callable[[h5py.File], Any]) -> None:
    with h5py.File(path, "r+") as file:
        change(file)


def _set(where: str, name: str, value: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file[where].attrs[name] = value

    return change


def _provenance(file: h5py.File) -> None:
    file["entry/provenance/world"][()] = "real"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_set("/", "world", "real"), "marks disagree"),
        (_set("entry", "world", "real"), "marks disagree"),
        (_set("entry/conductance_after", "world", "real"), "marks disagree"),
        (_set("entry/conductance_error/conductance", "world", "real"), "marks disagree"),
        (_provenance, "marks disagree"),
        (lambda file: file.attrs.__delitem__("world"), "marks disagree"),
        (_set("/", "format", layout.FORMAT + 1), "use a newer ohmflow"),
        (_set("/", "format", "one"), "names no format version"),
        (lambda file: file.__delitem__("entry"), "it is not a run's file"),
        (lambda file: file.__delitem__("entry/provenance"), "it is not a run's file"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(make_run: Make, tmp_path: Path, change: Any, said: str) -> None:
    make_run().close()
    path = tmp_path / "run-1" / layout.FINAL
    tamper(path, change)
    with pytest.raises(AnalysisError, match=said):
        open_run(path)


def test_a_real_run_with_a_twins_knowledge_is_refused(
    make_run: Make, make_header: Callable[..., RunHeader], tmp_path: Path
) -> None:
    make_run(header=make_header(world="real")).close()
    path = tmp_path / "run-1" / layout.FINAL
    assert open_run(path).world == "real"
    tamper(path, lambda file: file.create_group("entry/twin"))
    with pytest.raises(AnalysisError, match="what only a twin knows"):
        open_run(path)


def test_what_is_not_there_is_named(make_run: Make, tmp_path: Path) -> None:
    make_run().close()
    with open_run(tmp_path / "run-1") as file:
        for call, said in (
            (lambda: file.map("events"), "has no map 'events', only conductance_after"),
            (lambda: file.data("x"), "has no data 'x'"),
            (lambda: file.waveforms("scope"), "has no waveforms of 'scope'"),
            (lambda: file.where("zap"), "no events zap"),
        ):
            with pytest.raises(AnalysisError, match=said):
                call()
        assert file.events["seq"].shape == (0,)
        assert np.isnan(file.map("conductance_after")).all()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_file_is_told_in_a_sentence(damaged_run: Path, data: st.DataObject) -> None:
    path = damaged_run / layout.FINAL
    whole = path.read_bytes()
    spoilt = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        spoilt[data.draw(st.integers(8, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    other = damaged_run / "spoilt.h5"
    other.write_bytes(spoilt)
    with contextlib.suppress(AnalysisError), open_run(other) as file:
        assert file.world == "simulated"
        for name in ("header", "status", "events", "cells", "maps", "segments", "notes", "scopes"):
            with contextlib.suppress(AnalysisError):
                getattr(file, name)
        with contextlib.suppress(AnalysisError):
            file.map("conductance_after")


@pytest.fixture(scope="module")
def damaged_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    header = RunHeader("program", "simulated", "run", "now", rows=2, cols=2)
    with RunWriter.create(folder, header, now=lambda: 0.0) as run:
        run.event("read", 0, 0, conductance=1e-6)
        run.note("x")
    return folder


def test_events_come_column_by_column_and_outlive_the_open_file(make_run: Make, tmp_path: Path) -> None:
    with make_run() as writer:
        for step in range(300):
            writer.event("read", step % 4, 0, conductance=1e-6 * step)
    with open_run(tmp_path / "run-1") as run:
        events = run.events
        blocks = list(run.event_blocks(128))
    assert [len(block["seq"]) for block in blocks] == [128, 128, 44]
    for name in layout.EVENT_COLUMNS:
        whole, pieces = events[name.name], [block[name.name] for block in blocks]
        assert np.array_equal(whole, np.concatenate(pieces), equal_nan=whole.dtype.kind == "f")
    assert events["conductance"][-1] == pytest.approx(299e-6)
    assert list(events) == [column.name for column in layout.EVENT_COLUMNS]
    with pytest.raises(KeyError):
        events["resistance"]
    with open_run(tmp_path / "run-1") as run:
        later = run.events
    (tmp_path / "run-1" / layout.FINAL).unlink()
    with pytest.raises(AnalysisError, match="can't read column of"):
        later["gate"]


def test_a_run_without_events_has_one_empty_block(make_run: Make, tmp_path: Path) -> None:
    with make_run():
        pass
    with open_run(tmp_path / "run-1") as run:
        assert [len(block["seq"]) for block in run.event_blocks()] == [0]
