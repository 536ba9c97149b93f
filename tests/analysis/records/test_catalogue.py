"""The catalogue: what is in the folders, found again by what it is, and nothing that isn't."""

import itertools
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.errors import AnalysisError
from analysis.records import Catalogue, Condition, Measure, Query, RunFile, RunHeader, RunWriter, layout, open_run
from analysis.records.skim import epoch


def make(folder: Path, **changes: Any) -> RunWriter:
    ticks = itertools.count()
    plain = {"procedure": "program", "world": "simulated", "rows": 2, "cols": 2, "operator": "Zoë"}
    header = RunHeader(**{**plain, "parameters": {"window": 1e-6, "levels": [1, 2]}, **changes})
    return RunWriter.create(folder, header, now=lambda: next(ticks) / 8)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five runs: two chips, two procedures, four days, one interrupted, one in a folder of its own."""
    root = tmp_path_factory.mktemp("made") / "tree"
    plans: list[dict[str, Any]] = [
        {"run_id": "a", "chip": "7", "started": "2031-05-07T08:00:00+00:00", "parameters": {"window": 1e-6}},
        {"run_id": "b", "chip": "7", "started": "2031-05-08T09:00:00+02:00", "parameters": {"window": 2e-6}},
        {"run_id": "c", "chip": "8", "started": "2031-05-09T08:00:00+00:00", "procedure": "circle"},
        {
            "run_id": "d",
            "chip": "8",
            "started": "2031-05-09T09:00:00+00:00",
            "parameters": {"options": {"pattern": "moon-star", "fresh": True}, "window": 1e-6},
        },
    ]
    for number, plan in enumerate(plans):
        with make(root / plan["run_id"], station="station: x\n", **plan) as run:
            run.phase("programming")
            run.event("read", 1, 1, conductance=1e-6 * (number + 1), energy=1e-9)
            run.note("probe 3 lifted" if number == 1 else "all is well")
    stopped = make(root / "study" / "e", run_id="e", started="2031-05-10T08:00:00+00:00", parameters={})
    stopped.event("read", 0, 0, conductance=1e-6)
    stopped.close("interrupted", "stopped on request")
    return root


@pytest.fixture
def tree(made: Path, tmp_path: Path) -> Path:
    """The same for a test to change."""
    return Path(shutil.copytree(made, tmp_path / "tree"))


def names(catalogue: Catalogue, **asked: Any) -> list[str]:
    return [entry.run_id for entry in catalogue.search(Query(**asked))]


def where(*texts: str) -> tuple[Condition, ...]:
    return tuple(map(Condition.parse, texts))


def events_of(procedure: str) -> Callable[[RunFile], dict[str, Measure]]:
    return lambda run: {"mean": Measure(float(np.mean(run.events["conductance"])), 0.0, 1.0)}


@pytest.fixture(scope="module", params=[True, False], ids=["fts5", "like"])
def known(made: Path, request: pytest.FixtureRequest) -> Iterator[Catalogue]:
    """A catalogue that is only asked."""
    with Catalogue.open(":memory:", made, full_text=request.param) as opened:
        opened.refresh()
        yield opened


@pytest.fixture
def catalogue(tree: Path) -> Iterator[Catalogue]:
    """One whose runs may be changed."""
    with Catalogue.open(":memory:", tree) as opened:
        opened.refresh()
        yield opened


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, "edcba"),
        ({"chip": "7"}, "ba"),
        ({"procedure": "circle"}, "c"),
        ({"status": "interrupted"}, "e"),
        ({"world": "real"}, ""),
        ({"since": epoch("2031-05-09T08:00:00+00:00")}, "edc"),
        ({"until": epoch("2031-05-09T08:00:00+00:00")}, "ba"),
        ({"since": epoch("2031-05-08T06:59:59+00:00"), "until": epoch("2031-05-08T07:00:01+00:00")}, "b"),
        ({"where": where("window=1e-6")}, "dca"),
        ({"where": where("window=0.0000010")}, "dca"),
        ({"where": where("window>1e-6")}, "b"),
        ({"where": where("window<=2e-6", "window>=1.5e-6")}, "b"),
        ({"where": where("window!=1e-6")}, "b"),
        ({"where": where("pattern=Moon-Star")}, "d"),
        ({"where": where("options.pattern=moon-star")}, "d"),
        ({"where": where("fresh=true")}, "d"),
        ({"where": where("levels=2")}, "c"),
        ({"where": where("nonsense=2")}, ""),
        ({"text": "lifted"}, "b"),
        ({"text": "PROBE lift"}, "b"),
        ({"text": "probe well"}, ""),
        ({"text": "stopped request"}, "e"),
        ({"text": "programming", "chip": "8"}, "dc"),
        ({"text": '"; DROP TABLE runs; -- %'}, ""),
        ({"limit": 2}, "ed"),
    ],
)
def test_runs_are_found_by_what_they_are(known: Catalogue, asked: dict[str, Any], found: str) -> None:
    assert names(known, **asked) == list(found)


def test_what_is_known_of_a_run(catalogue: Catalogue, tree: Path) -> None:
    run = catalogue.search(Query(text="lifted"))[0]
    assert run.folder == tree / "b"
    assert (run.procedure, run.chip, run.world, run.status) == ("program", "7", "simulated", "completed")
    assert (run.operator, run.parameters, run.problem) == ("Zoë", {"window": 2e-6}, "")
    with open_run(run.folder) as file:
        part = file.segments[0]
    assert run.duration == part["last_time"] - part["first_time"] > 0


def test_a_folder_with_the_file_alone_says_the_same(catalogue: Catalogue, tree: Path) -> None:
    before = catalogue.search(Query(text="lifted"))[0]
    (tree / "b" / layout.JOURNAL).unlink()
    assert catalogue.refresh().read == 1
    assert catalogue.search(Query(text="lifted"))[0] == before


def test_only_what_changed_is_read_again(tree: Path, tmp_path: Path) -> None:
    database = tmp_path / "catalogue.sqlite"
    with Catalogue.open(database, tree) as catalogue:
        assert vars(catalogue.refresh()) == {"runs": 5, "read": 5, "dropped": 0, "damaged": 0}
        assert catalogue.refresh().read == 0
    with Catalogue.open(database, tree) as catalogue:
        assert catalogue.refresh().read == 0
        with make(tree / "f", run_id="f", started="2031-05-06T08:00:00+00:00"):
            pass
        shutil.rmtree(tree / "a")
        os.utime(tree / "b" / layout.FINAL, (1, 1))
        assert vars(catalogue.refresh()) == {"runs": 5, "read": 2, "dropped": 1, "damaged": 0}
        assert sorted(names(catalogue)) == list("bcdef")
        assert names(catalogue, where=where("window=1e-6")) == ["d", "c", "f"]


def test_a_database_made_anew_says_the_same(tree: Path, tmp_path: Path) -> None:
    database = tmp_path / "catalogue.sqlite"
    with Catalogue.open(database, tree) as catalogue:
        catalogue.refresh()
        before = catalogue.search(Query())
    database.write_bytes(database.read_bytes()[:100] + b"\xff" * (database.stat().st_size - 100))
    with Catalogue.open(database, tree) as catalogue:
        assert catalogue.refresh().read == 5
        assert catalogue.search(Query()) == before
    with Catalogue.open(database, tree / "study") as catalogue:
        catalogue.refresh()
        assert names(catalogue) == ["e"]


def test_another_programs_file_is_left_alone(tree: Path, tmp_path: Path) -> None:
    for name, content in (("other.sqlite", b""), ("text", b"not a database, but somebody's text " * 9)):
        path = tmp_path / name
        if content:
            path.write_bytes(content)
        else:
            with sqlite3.connect(path) as other:
                other.execute("CREATE TABLE runs (mine TEXT)")
            other.close()
        before = path.read_bytes()
        with pytest.raises(AnalysisError, match="can't use the catalogue's database"):
            Catalogue.open(path, tree)
        assert path.read_bytes() == before


def test_a_run_under_way_is_running_and_then_is_not(tree: Path) -> None:
    with Catalogue.open(":memory:", tree) as catalogue:
        catalogue.refresh()
        run = make(tree / "now", run_id="now", started="2032-01-01T00:00:00+00:00")
        run.event("read", 0, 0, conductance=1e-6)
        catalogue.refresh()
        assert names(catalogue, status="running") == ["now"]
        assert catalogue.measure(catalogue.search(Query(status="running")), events_of) == 0
        run.close("failed", "LinkError: no reply")
        catalogue.refresh()
        assert names(catalogue, status="failed", text="LinkError") == ["now"]


def test_a_process_that_went_without_a_word_left_a_killed_run(tree: Path) -> None:
    journal = tree / "d" / layout.JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]) + lines[-1][:20])
    with Catalogue.open(":memory:", tree) as catalogue:
        catalogue.refresh()
        assert names(catalogue, status="killed") == ["d"]


def damage_head(folder: Path) -> None:
    journal = folder / layout.JOURNAL
    journal.write_bytes(journal.read_bytes().replace(b"simulated", b"simulatex", 1))


def damage_cut(folder: Path) -> None:
    file = folder / layout.FINAL
    file.write_bytes(file.read_bytes()[:-500])


def damage_other(folder: Path) -> None:
    shutil.copy(folder.parent / "b" / layout.FINAL, folder / layout.FINAL)


def damage_empty(folder: Path) -> None:
    (folder / layout.JOURNAL).write_bytes(b"")


def damage_link(folder: Path) -> None:
    (folder / layout.STATION).unlink()
    (folder / layout.STATION).symlink_to("/etc/hostname")


def damage_rubbish(folder: Path) -> None:
    (folder / layout.JOURNAL).unlink()
    (folder / layout.FINAL).write_bytes(b"nothing" * 100)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damage_head, "first line is damaged"),
        (damage_cut, "can't be read as HDF5"),
        (damage_other, "is of another run"),
        (damage_empty, "is empty"),
        (damage_link, "symbolic link"),
        (damage_rubbish, "can't be read as HDF5"),
    ],
)
def test_a_damaged_run_is_listed_with_the_reason(tree: Path, damage: Callable[[Path], None], said: str) -> None:
    damage(tree / "a")
    with Catalogue.open(":memory:", tree) as catalogue:
        assert catalogue.refresh().damaged == 1
        entry = next(entry for entry in catalogue.search(Query()) if entry.problem)
        assert (entry.run_id, entry.status) == ("a", "damaged")
        assert said in entry.problem
        assert "a" not in names(catalogue, chip="7")
        assert catalogue.measure([entry], events_of) == 0
        assert catalogue.refresh().read == 0


def test_links_are_not_followed(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    shutil.move(tree / "a", tmp_path / "elsewhere" / "a")
    (tree / "linked").symlink_to(tmp_path / "elsewhere")
    (tree / "round").symlink_to(tree)
    with Catalogue.open(":memory:", tree) as catalogue:
        assert catalogue.refresh().runs == 4


def test_metrics_are_measured_once_and_searched(catalogue: Catalogue, tree: Path) -> None:
    every = catalogue.search(Query())
    assert catalogue.measure(every, events_of) == 5
    assert catalogue.measure(every, events_of) == 0
    assert names(catalogue, metric=where("mean>2.5e-6")) == ["d", "c"]
    assert names(catalogue, metric=where("mean=2e-6"), chip="7") == ["b"]
    assert catalogue.search(Query(text="lifted"))[0].metrics == {"mean": Measure(2e-6, 0.0, 1.0)}
    os.utime(tree / "b" / layout.FINAL, (1, 1))
    catalogue.refresh()
    assert names(catalogue, metric=where("mean=2e-6")) == []
    assert catalogue.measure(every, events_of) == 1


def test_what_cannot_be_measured_has_no_metrics(catalogue: Catalogue) -> None:
    def refuse(procedure: str) -> Callable[[RunFile], dict[str, Measure]]:
        def measure(run: RunFile) -> dict[str, Measure]:
            if procedure == "circle":
                raise AnalysisError("no samples")
            return {"one": Measure(1.0)}

        return measure

    catalogue.measure(catalogue.search(Query()), refuse)
    assert names(catalogue, metric=where("one=1")) == list("edba")


@pytest.mark.parametrize("text", ["", "window", "=3", "window=", "1window=3", "a b=3"])
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(AnalysisError, match="is no condition"):
        Condition.parse(text)


def test_text_cannot_be_less(known: Catalogue) -> None:
    for asked in ({"where": where("pattern<moon")}, {"metric": where("inside=high")}):
        with pytest.raises(AnalysisError, match="is not a number"):
            known.search(Query(**asked))


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match="there is no folder"):
        Catalogue.open(":memory:", tmp_path / "nowhere")


@given(value=st.floats(allow_nan=False, allow_infinity=False), operator=st.sampled_from(["=", "!=", "<=", ">="]))
def test_a_condition_says_again_what_was_typed(value: float, operator: str) -> None:
    condition = Condition.parse(f"some.name {operator} {value!r}")
    assert (condition.name, condition.operator, condition.number) == ("some.name", operator, value)
    assert replace(condition, text=str(value)) == condition
