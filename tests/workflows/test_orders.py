"""Pause, go on, abort, and what is asked of a person: from outside the run's process, with safe outputs."""

import contextlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from program_jobs import pattern, row
from typer.testing import CliRunner

from analysis.records import open_run
from instruments.station import Station
from workflows.cli import app
from workflows.errors import Interrupted, RequestError
from workflows.procedures import orders
from workflows.procedures.controls import Answer, Controls, Question, Resumed
from workflows.procedures.job import Job
from workflows.procedures.orders import Order
from workflows.procedures.program import Progress
from workflows.procedures.program_job import PROCEDURE, ProgramOptions

WANTED = {**row(1, 0, 5), **row(8, 3, 4)}


@pytest.fixture
def job(tmp_path: Path) -> Job[Any, Any]:
    np.save(tmp_path / "pattern.npy", pattern(WANTED))
    return Job.prepare(
        PROCEDURE,
        ProgramOptions(
            pattern=str(tmp_path / "pattern.npy"),
            chip="1",
            runs=str(tmp_path / "runs"),
            run_id="run",
            bench=str(tmp_path / "bench"),
            operator="Ada",
        ),
    )


def notes(folder: Path) -> list[str]:
    lines = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    return [line["text"] for line in lines if line["kind"] == "note"]


def after(count: int, what: Callable[[], None]) -> Callable[[Progress], None]:
    """Do something once, when `count` cells have been visited after the first reading."""
    seen = [0]

    def listen(progress: Progress) -> None:
        seen[0] += progress.phase == "programming"
        if seen[0] == count:
            seen[0] += 1
            what()

    return listen


def finished_cells_are_left_alone(folder: Path) -> None:
    lines = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    done: set[tuple[int, int]] = set()
    for line in lines:
        if line["kind"] == "intent":
            assert (line["row"], line["col"]) not in done
        if line["kind"] == "cell":
            done.add((line["row"], line["col"]))
    assert done == {(r, c) for r, c in WANTED}


def test_a_pause_frees_the_instruments_and_the_run_goes_on(job: Job[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    @contextlib.contextmanager
    def pausing(why: str) -> Iterator[Resumed]:
        seen["why"] = why
        seen["status"] = orders.standing(job.folder)
        with Station.open(job.station, dir=job.options.bench) as other:  # somebody else may have the bench meanwhile
            fixture = other.bench.fixture
            seen["safe"] = (fixture.mode, [fixture.voltage(c) for c in (1, 2, 3, 601, 602)])
        with open_run(job.folder) as run:
            seen["run"] = run.status
        orders.give(job.folder, Order("go", "Bea"))
        yield lambda: False

    monkeypatch.setattr(orders, "_LOOK", 0.0)
    listener = after(3, lambda: orders.give(job.folder, Order("pause", "Bea", "lunch")))
    folder = job.run(Controls(listener=listener, pausing=pausing))
    assert seen["why"] == "paused by Bea: lunch"
    assert seen["status"]["state"] == "paused"
    assert seen["safe"] == ("safe", [0.0] * 5)
    assert seen["run"] == "interrupted"
    with open_run(folder) as run:
        assert run.status == "completed"
    finished_cells_are_left_alone(folder)
    assert {p.name for p in folder.iterdir()} == {"figures", "journal.jsonl", "run.h5", "station.yaml"}


def test_an_abort_ends_the_run_and_says_by_whom(job: Job[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "_LOOK", 0.0)
    listener = after(2, lambda: orders.give(job.folder, Order("abort", "Bea", "smoke")))
    with pytest.raises(Interrupted) as ended:
        job.run(Controls(listener=listener))
    assert ended.value.__notes__ == ["aborted by Bea: smoke"]
    with open_run(job.folder) as run:
        assert run.status == "interrupted"
    assert not orders.alive(job.folder)
    assert job.going_on().run() == job.folder  # the person may change their mind
    finished_cells_are_left_alone(job.folder)


def test_while_paused_a_run_can_be_aborted_or_stopped(job: Job[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "_LOOK", 0.0)

    @contextlib.contextmanager
    def pausing(why: str) -> Iterator[Resumed]:
        orders.give(job.folder, Order("abort", "Cy"))
        yield lambda: False

    listener = after(2, lambda: orders.give(job.folder, Order("pause", "Bea")))
    with pytest.raises(Interrupted, match="aborted by Cy while paused"):
        job.run(Controls(listener=listener, pausing=pausing))

    stopped: list[bool] = []

    @contextlib.contextmanager
    def stopping(why: str) -> Iterator[Resumed]:
        stopped.append(True)
        yield lambda: False

    again = job.going_on()
    listener = after(1, lambda: orders.give(job.folder, Order("pause", "Bea")))
    with pytest.raises(Interrupted, match="stopped while paused"):
        again.run(Controls(listener=listener, pausing=stopping, stop=lambda: bool(stopped)))


def test_what_nobody_is_at_work_on_takes_no_orders(job: Job[Any, Any], tmp_path: Path) -> None:
    job.run()
    runner = CliRunner()
    for command in ("pause", "abort"):
        told = runner.invoke(app, [command, str(job.folder)])
        assert isinstance(told.exception, RequestError)
        assert "nothing is at work on run" in str(told.exception)
    with pytest.raises(RequestError, match="is complete"):
        job.going_on()


def test_a_chip_that_is_not_kept_can_not_be_paused(job: Job[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "_LOOK", 0.0)
    told: list[str] = []

    def pause() -> None:
        with pytest.raises(RequestError) as refused:
            orders.give(job.folder, Order("pause"))
        told.append(str(refused.value))

    lost = Job.prepare(PROCEDURE, replace(job.options, bench=""))
    lost.run(Controls(listener=after(1, pause)))
    assert len(told) == 1
    assert "can't be paused: its simulated chip is not kept" in told[0]


CONFIRM = "confirm: [chip lot7-die12 is in the socket]"


def test_a_person_confirms_before_anything_is_driven_and_is_recorded(job: Job[Any, Any], tmp_path: Path) -> None:
    text = job.station.text.replace("world: simulated", f"world: simulated\n  {CONFIRM}")
    (tmp_path / "station.yaml").write_text(text)
    options = replace(job.options, station=str(tmp_path / "station.yaml"), attended=True)
    asked: list[Question] = []

    def attend(question: Question, answered: Callable[[], Answer | None]) -> Answer:
        asked.append(question)
        assert orders.standing(job.folder)["state"] == "asking"
        threading.Thread(target=lambda: orders.give(job.folder, Order("answer", "Bea", "looked"))).start()
        while (answer := answered()) is None:
            pass
        return answer

    folder = Job.prepare(PROCEDURE, options).run(Controls(attend=attend))
    assert [q.text for q in asked] == ["Confirm that chip lot7-die12 is in the socket"]
    said = [note for note in notes(folder) if note.startswith("operator: ")]
    assert len(said) == 1
    assert "Confirm that chip lot7-die12 is in the socket: done by Bea at 20" in said[0]
    assert said[0].endswith("who says: looked")
    kinds = Counter(json.loads(line)["kind"] for line in (folder / "journal.jsonl").read_text().splitlines())
    assert kinds["intent"] > 0


def test_without_a_person_a_station_that_asks_for_one_is_not_driven(job: Job[Any, Any], tmp_path: Path) -> None:
    (tmp_path / "station.yaml").write_text(
        job.station.text.replace("world: simulated", f"world: simulated\n  {CONFIRM}")
    )
    options = replace(job.options, station=str(tmp_path / "station.yaml"), attended=True)
    with pytest.raises(RequestError, match=r"a person is needed .* nobody is there to be asked"):
        Job.prepare(PROCEDURE, options).run()
    # A twin is its own operator unless told otherwise.
    quiet = replace(options, attended=False, run_id="quiet")
    assert any("done by the twin" in note for note in notes(Job.prepare(PROCEDURE, quiet).run()))
