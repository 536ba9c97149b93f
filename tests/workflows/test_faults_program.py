"""Programming on a faulty twin: it completes, or it stops safe with a clear reason; nothing is pulsed twice."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from benchmarks.fault_soak import soak
from twin.fault_runs import Ended, check, prepare, run, small_pattern

import sim_configs
from analysis.records import layout, open_run, read_journal
from instruments.twin.fault_profile import profiles
from workflows.procedures.job import Job
from workflows.procedures.program_job import PROCEDURE as PROGRAM
from workflows.procedures.program_job import ProgramOptions

IN_PROCESS = [name for name in profiles() if name != "disk-full"]
"""Of the whole process: it has one of its own below."""
ALWAYS_STOPS = ("error-queue",)
NEVER_STOPS = ("clock-steps", "compliance", "dying-cells", "stuck-cells", "serial-corruption")


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("name", IN_PROCESS)
def test_every_profile_ends_completed_or_stopped_safe(tmp_path: Path, name: str, seed: int) -> None:
    ended = run(prepare(tmp_path, "run"), name, seed, seed=str(seed))
    check(ended, connected=name not in ("wrong-mode", "everything"))
    assert ended.struck, "the profile did nothing"
    assert ended.seconds < 3600
    if name in ALWAYS_STOPS:
        assert ended.error is not None
    if name in NEVER_STOPS:
        assert ended.error is None


def test_the_same_seed_gives_the_same_faults(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first = run(prepare(tmp_path, "a"), "timeouts", 5)
    again = run(prepare(tmp_path / "other", "b"), "timeouts", 5)
    other = run(prepare(tmp_path, "c"), "timeouts", 6)
    assert first.seconds == again.seconds
    assert first.struck == again.struck
    assert first.seconds != other.seconds
    assert first.drives.tobytes() == again.drives.tobytes()


def profile(folder: Path, *rules: dict[str, object]) -> str:
    path = folder / "profile.yaml"
    path.write_text(yaml.safe_dump({"rules": list(rules)}))
    return str(path)


def notes(ended: Ended) -> list[str]:
    with open_run(ended.folder) as records:
        return [note["text"] for note in records.notes]


PULSES = {"resource": "GPIB*", "message": "*DV *SRP"}  # the others, in preparing, have no height
ACKNOWLEDGED = {"resource": "GPIB*", "message": "ERRX?", "at": list(range(30, 120, 11))}


@pytest.mark.parametrize(
    "rule",
    [
        {"fault": "lost-write", **PULSES, "at": [10]},
        {"fault": "disconnect", **PULSES, "at": [10], "for": "3 s"},
    ],
)
def test_a_pulse_that_may_not_have_come_is_not_sent_again(tmp_path: Path, rule: dict[str, object]) -> None:
    ended = run(prepare(tmp_path, "run"), profile(tmp_path, rule))
    check(ended)
    assert ended.status == "completed"
    assert sum("is in doubt" in text for text in notes(ended)) == 1
    assert len(doubtful(ended)) == 1


@pytest.mark.parametrize("fault", ["lost-reply", "cut-reply", "garbage-reply", "late-reply"])
def test_a_pulse_whose_acknowledgement_is_lost_is_not_sent_again(tmp_path: Path, fault: str) -> None:
    late = {"delay": "10.004 s"} if fault == "late-reply" else {}
    ended = run(prepare(tmp_path, "run"), profile(tmp_path, {"fault": fault, **ACKNOWLEDGED, **late}))
    check(ended)
    assert ended.status == "completed"
    if fault != "cut-reply":  # what is left of it may still say that there was no error
        assert doubtful(ended)


def doubtful(ended: Ended) -> list[int]:
    records = read_journal(ended.folder / "journal.jsonl").records
    seen = {record["of"] for record in records if record["kind"] == "result"}
    return [record["seq"] for record in records if record["kind"] == "intent" and record["seq"] not in seen]


def test_a_cell_in_doubt_is_read_before_it_is_pulsed(tmp_path: Path) -> None:
    ended = run(prepare(tmp_path, "run"), profile(tmp_path, {"fault": "lost-reply", **ACKNOWLEDGED}))
    records = read_journal(ended.folder / "journal.jsonl").records
    places = {record["seq"]: n for n, record in enumerate(records)}
    assert doubtful(ended)
    for seq in doubtful(ended):
        intent = records[places[seq]]
        cell = (intent["row"], intent["col"])
        following = [r for r in records[places[seq] + 1 :] if (r.get("row"), r.get("col")) == cell]
        assert following[0]["op"] == "read"


def test_one_cell_is_not_doubted_for_ever(tmp_path: Path) -> None:
    ended = run(prepare(tmp_path, "run"), profile(tmp_path, {"fault": "lost-write", **PULSES, "chance": 1.0}), 1)
    check(ended)
    assert "may have been given or not" in str(ended.error)
    assert len(doubtful(ended)) == 3


def test_a_reading_is_asked_for_again_and_the_journal_says_so(tmp_path: Path) -> None:
    texts = ["001AI+199.9990E+99"]
    rule = {"fault": "garbage-reply", "resource": "GPIB*", "message": "*TI *", "at": [5], "texts": texts}
    ended = run(prepare(tmp_path, "run"), profile(tmp_path, rule))
    check(ended)
    assert ended.mended == 1
    assert any("reading is repeated (a current of nan A is impossible" in text for text in notes(ended))
    with open_run(ended.folder) as records:
        events = records.events
        assert not np.isnan(events["conductance"][events["kind"] == layout.EVENT_CODE["read"]]).any()


def test_late_readings_are_not_taken_for_the_next(tmp_path: Path) -> None:
    rule = {"fault": "late-reply", "resource": "GPIB*", "message": "*TI *", "chance": 0.05, "delay": "10.001 s"}
    ended = run(prepare(tmp_path, "run"), profile(tmp_path, rule))
    check(ended)
    assert ended.struck["late-reply"] > 3


def test_a_silent_analyzer_stops_the_run_and_says_what_to_do(tmp_path: Path) -> None:
    rule = {"fault": "lost-reply", "resource": "GPIB*", "after": "2 s"}
    ended = run(prepare(tmp_path, "run"), profile(tmp_path, rule))
    assert ended.told_unsafe
    check(ended)
    assert "failed 3 times" in str(ended.error)
    assert ended.seconds < 600


def test_a_read_at_the_compliance_below_the_target_stops(tmp_path: Path) -> None:
    job = prepare(tmp_path, "run")
    job = replace(job, station=replace(job.station, read=replace(job.station.read, compliance=10e-6)))
    ended = run(job, None, 1)
    check(replace(ended, status="failed"))
    assert "was read at the compliance: it has 50 uS or more" in str(ended.error)
    assert any("reached its compliance: 50 uS or more" in text for text in notes(ended))


def test_another_mode_is_noticed_by_the_next_read(tmp_path: Path) -> None:
    rule = {"fault": "foreign-frame", "resource": "GPIB*", "message": "*SRP", "at": [6], "frame": "MODE COMPUTE"}
    ended = run(prepare(tmp_path, "run"), profile(tmp_path, rule))
    check(ended, connected=False)
    assert "the board is in compute mode" in str(ended.error)


@pytest.mark.parametrize("name", ["disconnect-reconnect", "wrong-mode", "error-queue"])
def test_what_was_stopped_is_resumed_to_the_end(tmp_path: Path, name: str) -> None:
    bench = {"dir": str(tmp_path / "bench")}
    rules = {
        "disconnect-reconnect": {"fault": "disconnect", "resource": "GPIB*", "at": [70], "for": "1 h"},
        "wrong-mode": {"fault": "foreign-frame", **PULSES, "at": [9], "frame": "RESET"},
        "error-queue": {"fault": "error-entry", "resource": "GPIB*", "at": [70]},
    }
    job = prepare(tmp_path, "run")
    stopped = run(job, profile(tmp_path, rules[name]), 1, **bench)
    check(stopped, connected=name != "wrong-mode")
    assert stopped.status == "failed"
    again = Job.prepare(PROGRAM, replace(job.options, resume=str(stopped.folder), bench=bench["dir"]))
    ended = run(again, None, 1, **bench)
    check(ended)
    assert ended.status == "completed"
    with open_run(ended.folder) as records:
        assert np.isfinite(records.map("conductance_after")).sum() == 8


def test_a_bad_week_in_small_loses_and_leaks_nothing(tmp_path: Path) -> None:
    told = list(soak(tmp_path, runs=8, interval=600.0, warm_up=3))
    assert "'completed': 8" in told[0]
    assert "0.06 days" in told[0]
    assert told[-1].endswith("locked: 0")


# In a process of its own, as a user runs it


def command(folder: Path, faults: str) -> subprocess.CompletedProcess[str]:
    station = folder / "station.yaml"
    text = sim_configs.path("station-twin.yaml").read_text()
    station.write_text(f"{text}\ntwin: {{faults: {faults}, faults_seed: 3}}\n")
    pattern = str(small_pattern(folder))
    words = ["program", "--direct", "--pattern", pattern, "--station", str(station), "--run-id", "run",
             "--runs", str(folder / "runs"), "--bench", str(folder / "bench"), "--adc", "high-speed"]  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "workflows.cli", *words], capture_output=True, text=True, check=False, timeout=100,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip


def test_an_objecting_analyzer_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    done = command(tmp_path, "error-queue")
    assert done.returncode == 2
    assert done.stderr.startswith("error: B1500A reports error 305: Excess current in HPSMU.")
    assert "Traceback" not in done.stderr
    with open_run(tmp_path / "runs" / "run") as records:
        assert records.status == "failed"


def test_a_full_disk_stops_safe_and_the_run_resumes_when_there_is_room(tmp_path: Path) -> None:
    done = command(tmp_path, "disk-full")
    assert done.returncode == 2
    assert "can't write the journal" in done.stderr
    assert "Traceback" not in done.stderr
    folder = tmp_path / "runs" / "run"
    before = read_journal(folder / "journal.jsonl")
    assert before.torn == 0
    assert any(record["kind"] == "result" for record in before.records)
    runs, bench = str(tmp_path / "runs"), str(tmp_path / "bench")
    ended = run(Job.prepare(PROGRAM, ProgramOptions(resume=str(folder), runs=runs, bench=bench)), None, dir=bench)
    check(ended)
    assert ended.status == "completed"
    after = read_journal(folder / "journal.jsonl").records
    assert after[: len(before.records)] == before.records
