"""The programming job under Prefect: set up, run, stopped, and nothing left behind."""

import contextlib
import os
import signal
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from program_jobs import command, finish, pattern, row, wait_for_records

from analysis.records import open_run
from workflows.flows import environment
from workflows.flows.server import server


def of_home(home: Path) -> list[str]:
    """Command lines of the live processes that have this home in their environment: the command and its server."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(home).encode() in (process / "environ").read_bytes() and process.name != str(os.getpid()):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # it has just ended, or is somebody else's
            continue
    return found


def flow_runs(home: Path) -> list[tuple[str, str]]:
    """State and message of every flow run that Prefect knows, oldest first."""
    with contextlib.closing(sqlite3.connect(home / "prefect" / "prefect.db")) as database:
        query = "select r.state_name, s.message from flow_run r join flow_run_state s on s.id = r.state_id "
        query += "order by r.start_time"
        return [(state, message or "") for state, message in database.execute(query)]


@pytest.mark.timeout(180)
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for left-over processes in /proc")
def test_the_command_runs_as_a_flow_and_stops_as_one(tmp_path: Path) -> None:
    home = tmp_path / "home"
    np.savetxt(tmp_path / "few.csv", pattern(row(8, 2, 5)), delimiter=",")
    arguments = ["program", "--chip", "1", "--bench", tmp_path / "bench", "--settle-rows", "2"]
    ended = finish(
        command(*arguments, "--pattern", tmp_path / "few.csv", "--runs", tmp_path / "runs", home=home), timeout=150
    )
    assert ended.code == 0, ended.err
    assert ended.err == ""
    assert "SIMULATED, completed" in ended.out
    assert "1: unresponsive (8,3)" in ended.out
    assert ended.out.splitlines()[-1].endswith("traces.png")
    assert of_home(home) == []
    assert flow_runs(home) == [("Completed", "")]
    (folder,) = (tmp_path / "runs").iterdir()
    with open_run(folder) as run:
        assert run.status == "completed"
        assert np.isfinite(run.map("conductance_after")).sum() == 4
    with contextlib.closing(sqlite3.connect(home / "prefect" / "prefect.db")) as database:
        tasks = [name for (name,) in database.execute("select name from task_run order by start_time")]
        (page,) = [data for (data,) in database.execute("select data from artifact where type = 'markdown'")]
    assert tasks[:3] == ["read before", "program array 0 row 8", "verify array 0 row 8"]
    assert tasks[-2:] == ["read after", "report"]
    assert "**twin only:** true conductance inside" in page

    # Once more, and stopped in the middle.
    np.save(tmp_path / "more.npy", pattern({**row(9), **row(10), **row(11), **row(12)}))
    process = command(*arguments, "--pattern", tmp_path / "more.npy", "--runs", tmp_path / "stopped", home=home,
                      OHMFLOW_TEST_WIRES=str(tmp_path / "wires.json"))  # fmt: skip
    stopped = wait_for_records(tmp_path / "stopped", 400, process)
    process.send_signal(signal.SIGTERM)  # Prefect has a handler of its own for this one
    ended = finish(process)
    assert ended.code == 130
    assert "Traceback" not in ended.err
    assert ended.err.endswith(f"outputs are at 0 V and open; go on with: ohmflow resume {stopped}\n")
    assert '"mode": "safe", "sources": {}' in (tmp_path / "wires.json").read_text()
    with open_run(stopped) as run:
        assert (run.status, run.reason) == ("interrupted", "Interrupted: stopped on request")
    assert of_home(home) == []
    state, message = flow_runs(home)[-1]
    assert state == "Failed"
    assert "Interrupted: stopped on request" in message

    # And killed: what Prefect says of it is not the record, but nobody may be left behind.
    process = command("program", "--resume", stopped, home=home)
    wait_for_records(tmp_path / "stopped", 400 + 300, process)
    process.kill()
    finish(process)
    with open_run(stopped) as run:
        assert run.status == "killed"
    deadline = iter(range(400))
    while of_home(home) and next(deadline, None) is not None:
        signal.sigtimedwait([], 0.05)
    assert of_home(home) == []


def test_a_server_of_the_users_that_does_not_answer_is_told_in_a_sentence(tmp_path: Path) -> None:
    np.save(tmp_path / "few.npy", pattern(row(8, 2, 5)))
    ended = finish(
        command(
            "program", "--pattern", tmp_path / "few.npy", "--runs", tmp_path / "runs", home=tmp_path / "home",
            PREFECT_API_URL="http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES="0",
        )
    )  # fmt: skip
    assert ended.code == 2
    assert ended.err.startswith("error: Prefect's server at PREFECT_API_URL=http://127.0.0.1:9/api does not answer (")
    assert len(ended.err.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """The environment of a user who has set nothing but a home."""
    values = {"OHMFLOW_HOME": str(tmp_path)}
    monkeypatch.setattr(os, "environ", values)
    return values


def test_prefect_is_set_up_to_be_local_and_quiet(variables: dict[str, str], tmp_path: Path) -> None:
    environment.prepare()
    assert variables["DO_NOT_TRACK"] == "1"
    assert variables["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert variables["PREFECT_HOME"] == str(tmp_path / "prefect")
    assert variables["NO_PROXY"] == variables["no_proxy"] == "127.0.0.1,localhost"
    assert "PREFECT_API_URL" not in variables
    assert int(variables["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"]) >= 120
    environment.prepare()  # twice is once
    assert variables["NO_PROXY"] == "127.0.0.1,localhost"


def test_what_the_user_has_set_stays(variables: dict[str, str]) -> None:
    variables |= {"PREFECT_HOME": "/data/prefect", "PREFECT_LOGGING_LEVEL": "DEBUG", "NO_PROXY": "lab.example"}
    variables |= {"PREFECT_API_URL": "http://lab:4200/api", "HTTPS_PROXY": "http://proxy:3128"}
    environment.prepare()
    assert variables["PREFECT_HOME"] == "/data/prefect"
    assert variables["PREFECT_LOGGING_LEVEL"] == "DEBUG"
    assert variables["PREFECT_API_URL"] == "http://lab:4200/api"
    assert variables["HTTPS_PROXY"] == "http://proxy:3128"
    assert variables["NO_PROXY"] == "lab.example,127.0.0.1,localhost"


@pytest.mark.parametrize("name", ["ALL_PROXY", "all_proxy"])
def test_a_socks_proxy_for_everything_is_taken_out(variables: dict[str, str], name: str) -> None:
    variables[name] = "socks5h://127.0.0.1:1080"
    environment.prepare()
    assert name not in variables
    variables[name] = "http://proxy:3128"
    environment.prepare()
    assert variables[name] == "http://proxy:3128"


def test_the_users_server_is_used_and_none_started(variables: dict[str, str], tmp_path: Path) -> None:
    variables["PREFECT_API_URL"] = "http://lab:4200/api"
    with server(tmp_path / "prefect") as local:
        assert local is None
    assert variables["PREFECT_API_URL"] == "http://lab:4200/api"
    assert not (tmp_path / "prefect" / "server.log").exists()


def test_the_state_folder_is_the_users_choice(variables: dict[str, str], tmp_path: Path) -> None:
    assert environment.state_folder() == tmp_path
    variables["OHMFLOW_HOME"] = "~/somewhere"
    variables["HOME"] = str(tmp_path)
    assert environment.state_folder() == tmp_path / "somewhere"
    del variables["OHMFLOW_HOME"]
    assert environment.state_folder() == tmp_path / ".ohmflow"
