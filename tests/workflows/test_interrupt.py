"""Ctrl-C, SIGTERM and SIGKILL in the middle of an array: safe, readable, resumed without repeating a pulse."""

import json
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from program_jobs import CHILD, STUCK_OFF, Ended, command, finish, pattern, programmed, row, wait_for_records

from analysis.programming import summarise
from analysis.records import layout, open_run, read_journal, salvage
from instruments.clock import VirtualClock
from instruments.twin.bench import Bench
from workflows.console import StopOnSignal
from workflows.errors import Interrupted

WANTED = {**row(7, 0, 11), **row(8, 0, 11), **row(9, 0, 11)}
SETTLE = 1
"""Rows to the second verify: verdicts come early, so that there is something to leave alone."""


def pulses_by_cell(records: list[dict[str, Any]]) -> dict[tuple[int, int], int]:
    counts: dict[tuple[int, int], int] = {}
    for record in records:
        if record["kind"] == "intent":
            cell = record["row"], record["col"]
            counts[cell] = counts.get(cell, 0) + 1
    return counts


def resumed_part(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Records before and from the last resume."""
    records = read_journal(folder / "journal.jsonl").records
    cut = max(n for n, record in enumerate(records) if record["kind"] == "resume")
    return records[:cut], records[cut:]


def check_resumed(folder: Path) -> None:
    """The run is complete, and the resumed part pulsed no cell that had its verdict."""
    before, after = resumed_part(folder)
    finished = {(r["row"], r["col"]) for r in before if r["kind"] == "cell"}
    assert not finished & set(pulses_by_cell(after))
    with open_run(folder) as run:
        assert run.status == "completed"
        summary = summarise(run)
        assert summary.cells == len(WANTED)
        assert summary.pending == 0
        assert summary.failed == (((0, *STUCK_OFF), "unresponsive"),)
        assert summary.inside >= 0.9
        assert [s["status"] for s in run.segments][-1] == "completed"
        # What the events say and what the cells' table says is one story.
        pulsed = run.where("set", "reset")
        assert pulsed.sum() == run.cells["pulses"].sum()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pattern") / "pattern.npy"
    np.save(path, pattern(WANTED))
    return path


def start(tmp_path: Path, small: Path) -> subprocess.Popen[str]:
    return command(
        "program", "--direct", "--pattern", small, "--chip", "1", "--settle-rows", SETTLE, "--runs", tmp_path / "runs",
        "--bench", tmp_path / "bench",
        home=tmp_path / "home", OHMFLOW_TEST_WIRES=str(tmp_path / "wires.json"),
    )  # fmt: skip


def check_stopped(ended: Ended, folder: Path, wires: Path) -> None:
    assert ended.code == 130
    assert "Traceback" not in ended.err
    assert "stopping after this pulse" in ended.err
    assert ended.err.splitlines()[-1] == (
        f"interrupted: outputs are at 0 V and open; go on with: ohmflow resume {folder}"
    )
    left = json.loads(wires.read_text())
    assert left["mode"] == "safe"
    assert not left["sources"]
    assert set(left["selectors"].values()) == {0}
    with open_run(folder) as run:
        assert run.status == "interrupted"
        # A second Ctrl-C that comes before the run has asked stops it where it is.
        assert run.reason in ("Interrupted: stopped on request", "KeyboardInterrupt")
        assert run.map("conductance_target")[7, 0] == pytest.approx(20e-6)
        assert run.where("set", "reset").sum() > 0
        assert run.notes[-1]["text"] == "outputs at 0 V and open, board disconnected"
        assert summarise(run).pending > 0


@pytest.mark.parametrize(
    ("signals", "records"),
    [((signal.SIGTERM,), 200), ((signal.SIGINT,) * 4, 220)],
    ids=["sigterm", "ctrl-c-four-times"],
)
def test_a_signal_stops_the_run_safe_and_it_can_be_resumed(
    tmp_path: Path, small: Path, signals: tuple[signal.Signals, ...], records: int
) -> None:
    process = start(tmp_path, small)
    folder = wait_for_records(tmp_path / "runs", records, process)
    for number in signals:
        process.send_signal(number)
    check_stopped(finish(process), folder, tmp_path / "wires.json")
    if len(signals) > 1:
        return  # resuming is the same
    target = pattern(WANTED)
    programmed(folder, target, bench=tmp_path / "bench", resume=True, settle_rows=SETTLE)
    check_resumed(folder)


def test_the_command_resumes_what_it_was_interrupted_in(tmp_path: Path, small: Path) -> None:
    process = start(tmp_path, small)
    folder = wait_for_records(tmp_path / "runs", 250, process)
    process.send_signal(signal.SIGINT)
    check_stopped(finish(process), folder, tmp_path / "wires.json")
    # From another folder, where neither relative paths nor defaults would lead to the bench.
    moved = tmp_path / "moved"
    shutil.move(folder, moved)
    ended = finish(command("program", "--direct", "--resume", moved, home=tmp_path / "home"))
    assert ended.code == 0, ended.err
    assert "SIMULATED, completed" in ended.out
    assert "true pulse energy" not in ended.out  # of the first part nobody kept an account
    check_resumed(moved)
    before, after = resumed_part(moved)
    assert any(r["kind"] == "phase" and r["name"] == "resume" for r in after)
    assert sum(r["kind"] == "phase" and r["name"] == "conductance_before" for r in before + after) == 1


class Sudden(Exception):
    """Something nobody foresaw."""


def test_an_error_leaves_outputs_safe_and_the_run_failed_and_resumable(tmp_path: Path) -> None:
    calls = iter(range(10_000))

    def stop() -> bool:
        if next(calls) == 150:
            raise Sudden("the lamp fell over")
        return False

    target = pattern(WANTED)
    with pytest.raises(Sudden):
        programmed(tmp_path / "run", target, bench=tmp_path / "bench", stop=stop, settle_rows=SETTLE)
    with open_run(tmp_path / "run") as run:
        assert (run.status, run.reason) == ("failed", "Sudden: the lamp fell over")
        assert run.notes[-1]["text"] == "outputs at 0 V and open, board disconnected"
    programmed(tmp_path / "run", target, bench=tmp_path / "bench", resume=True, settle_rows=SETTLE)
    check_resumed(tmp_path / "run")


def test_a_run_can_be_interrupted_anywhere_even_twice(tmp_path: Path) -> None:
    """While it reads before, while it programs, and while it reads back."""
    target, bench, folder = pattern(WANTED), tmp_path / "bench", tmp_path / "run"
    asked = {"left": 20}

    def stop() -> bool:
        asked["left"] -= 1
        return asked["left"] < 0

    for part, patience in enumerate((20, 300, 10_000)):
        asked["left"] = patience
        if patience < 1000:
            with pytest.raises(Interrupted):
                programmed(folder, target, bench=bench, stop=stop, resume=part > 0, settle_rows=SETTLE)
        else:
            programmed(folder, target, bench=bench, stop=stop, resume=True, settle_rows=SETTLE)
    check_resumed(folder)
    records = read_journal(folder / "journal.jsonl").records
    # Interrupted before any pulse, it reads the array anew; afterwards it does not.
    assert sum(r["kind"] == "phase" and r["name"] == "conductance_before" for r in records) == 2
    with open_run(folder) as run:
        assert len(run.segments) == 3


KILLS = ("check", "intent", "pulse", "intent", "pulse", "check")


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Runs that were killed by SIGKILL at seeded instants of every sort."""
    base = tmp_path_factory.mktemp("killed")
    np.save(base / "target.npy", pattern(WANTED))
    rng = random.Random(20260101)
    cases = []
    for number, point in enumerate(KILLS):
        place = base / str(number)
        place.mkdir()
        n = rng.randrange(1, 120) if point != "check" else rng.randrange(60, 250)
        names = {name: str(place / name) for name in ("run", "bench", "chip.npy", "acknowledged")}
        case = {"folder": names["run"], "bench": names["bench"], "chip": names["chip.npy"], "point": point, "n": n}
        cases.append({**case, "acknowledged": names["acknowledged"], "target": str(base / "target.npy")})
    (base / "cases.json").write_text(json.dumps(cases))
    done = subprocess.run(
        [sys.executable, str(CHILD), "kill", str(base / "cases.json")],
        capture_output=True, text=True, timeout=100, check=True,
    )  # fmt: skip
    assert done.stdout.split() == [str(int(signal.SIGKILL))] * len(cases), done.stderr
    return cases


@pytest.mark.parametrize("number", range(len(KILLS)), ids=[f"{point}-{n}" for n, point in enumerate(KILLS)])
def test_a_killed_run_loses_nothing_and_is_resumed(killed: list[dict[str, Any]], number: int) -> None:
    case = killed[number]
    folder, bench = Path(case["folder"]), Path(case["bench"])
    # The chip is as it was at the very instant.
    chip, left = np.load(bench / "chip-1" / "cells.npy"), np.load(case["chip"])
    assert (chip == left).all()
    records = read_journal(folder / "journal.jsonl").records
    assert len(records) >= int(Path(case["acknowledged"]).read_text())
    open_intents = {r["seq"] for r in records if r["kind"] == "intent"} - {
        r["of"] for r in records if r["kind"] == "result"
    }
    assert len(open_intents) == (case["point"] != "check")
    with open_run(folder) as run:
        assert (run.status, run.is_partial) == ("killed", True)

    target = np.load(case["target"])
    # What such a run left can be read, and looked at, before anyone goes on with it.
    if number == 1:
        copy = folder.parent / "copy"
        shutil.copytree(folder, copy)
        salvage(copy)
        with open_run(copy) as run:
            assert run.status == "killed"
            assert run.events["outcome"].sum() == len(open_intents)
            assert np.array_equal(run.map("conductance_target"), target, equal_nan=True)

    done = programmed(folder, target, bench=bench, resume=True, settle_rows=SETTLE)
    check_resumed(folder)
    before, after = resumed_part(folder)
    assert before == records
    first = next(r for r in after if r["kind"] in ("event", "intent"))
    if open_intents:
        doubt = next(r for r in records if r["seq"] in open_intents)
        assert (first["op"], first["row"], first["col"]) == ("read", doubt["row"], doubt["col"])
        assert any("was in doubt; the cell was read" in r.get("text", "") for r in after)
    with open_run(folder) as run:
        doubtful = run.events["outcome"] == layout.OUTCOME_CODE["doubt"]
        assert doubtful.sum() == len(open_intents)
        assert [s["status"] for s in run.segments] == ["killed", "completed"]
        assert (np.diff(run.events["time"]) >= 0).all()
    drives = done.ledger[done.ledger["kind"] != b"read"]
    assert len(drives) == sum(r["kind"] == "intent" for r in after)


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """Whoever starts the tests in the background has them ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_the_first_signal_asks_and_the_second_insists_until_the_run_knows() -> None:
    with StopOnSignal().listening() as stop:
        assert not stop()
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)  # nobody has asked yet: the run hangs somewhere
        signal.raise_signal(signal.SIGINT)  # outputs are being made safe now
        assert stop()
    with StopOnSignal().listening() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            signal.raise_signal(number)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_a_second_ctrl_c_in_the_middle_of_a_hanging_exchange_still_ends_safe(tmp_path: Path) -> None:
    calls = iter(range(10_000))

    def stop() -> bool:
        if next(calls) == 150:
            raise KeyboardInterrupt  # as StopOnSignal does, wherever the run may be
        return False

    with pytest.raises(KeyboardInterrupt):
        programmed(tmp_path / "run", pattern(WANTED), stop=stop, settle_rows=SETTLE)
    with open_run(tmp_path / "run") as run:
        assert (run.status, run.reason) == ("interrupted", "KeyboardInterrupt")
        assert run.notes[-1]["text"] == "outputs at 0 V and open, board disconnected"


@pytest.mark.parametrize("n", random.Random(7).sample(range(400, 6000), 5))
def test_an_interrupt_in_any_exchange_ends_safe_and_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int
) -> None:
    """Time passes on the bench's clock in every transfer, relay and pulse: there the interrupt strikes."""
    advance, calls, left = VirtualClock.advance_ns, iter(range(1, 1_000_000)), []

    def interrupted(self: VirtualClock, nanoseconds: int) -> None:
        advance(self, nanoseconds)
        if next(calls) == n:
            raise KeyboardInterrupt

    def closing(self: Bench) -> None:
        left.append((self.fixture.mode, [self.fixture.voltage(channel) for channel in (1, 2, 3, 601, 602)]))
        close(self)

    close = Bench.close
    target = pattern(WANTED)
    with monkeypatch.context() as patch:
        patch.setattr(VirtualClock, "advance_ns", interrupted)
        patch.setattr(Bench, "close", closing)
        with pytest.raises(KeyboardInterrupt):
            programmed(tmp_path / "run", target, bench=tmp_path / "bench", settle_rows=SETTLE)
    assert left == [("safe", [0.0] * 5)]
    with open_run(tmp_path / "run") as run:
        assert run.status == "interrupted"
        assert run.notes[-1]["text"] == "outputs at 0 V and open, board disconnected"
    programmed(tmp_path / "run", target, bench=tmp_path / "bench", resume=True, settle_rows=SETTLE)
    check_resumed(tmp_path / "run")
