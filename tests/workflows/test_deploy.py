"""Deployments on a server of the laboratory's own: PostgreSQL, a worker, authentication; and who is refused."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from program_jobs import CHILD, pattern, row
from served import ROOT, SERVER_ONLY, Service

from analysis.records import open_run
from workflows.errors import WorkflowError
from workflows.flows import server
from workflows.flows.server import check_server, checked_database, is_local

PASSWORD = "pg-w0rd-of-the-lab"
ADMISSION = "lab:admission-w0rd"


def initdb() -> Path | None:
    found = shutil.which("initdb")
    places = [*([Path(found)] if found else []), *sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))]
    return places[-1] if places else None


@pytest.fixture
def database() -> Iterator[str]:
    """A database server as a user without privileges would start it: in a folder, heard through a socket only."""
    tool = initdb()
    if tool is None:
        pytest.skip("PostgreSQL is not installed here (no initdb)")
    who: list[str] = []
    # Not below pytest's folder, which is for its own user only, and made so again by every session.
    place = Path(tempfile.mkdtemp(prefix="ohmflow-pg-"))
    place.chmod(0o755)
    folder = place / "pg"
    folder.mkdir()
    if os.geteuid() == 0:  # initdb refuses root
        if shutil.which("setpriv") is None:
            pytest.skip("PostgreSQL won't run as root, and setpriv is not here to become somebody else")
        who = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        os.chown(folder, 65534, 65534)
    (place / "password").write_text(PASSWORD)
    (place / "password").chmod(0o644)

    def do(*words: str) -> None:
        done = subprocess.run([*who, *words], capture_output=True, text=True, timeout=100, cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr

    tools, data = tool.parent, str(folder / "data")
    do(
        str(tool),
        "-D",
        data,
        "-U",
        "lab",
        "-A",
        "scram-sha-256",
        "--pwfile",
        str(place / "password"),
        "-N",
        "-E",
        "UTF8",
    )
    options = f"-k {folder} -c listen_addresses= -c fsync=off"
    do(str(tools / "pg_ctl"), "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
    (place / "password").unlink()
    try:
        creating = {**os.environ, "PGPASSWORD": PASSWORD}
        words = [str(tools / "createdb"), "-h", str(folder), "-U", "lab", "prefect"]
        subprocess.run(words, check=True, env=creating, timeout=60)
        yield f"postgresql+asyncpg://lab:{PASSWORD}@/prefect?host={folder}"
    finally:
        do(str(tools / "pg_ctl"), "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(place)


@pytest.mark.timeout(300)
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="the service dies with its parent on Linux only")
def test_a_worker_runs_what_was_deployed_to_a_server_with_postgresql(database: str, tmp_path: Path) -> None:
    home = tmp_path / "served"
    home.mkdir()
    cells = {cell: level for number in range(1, 32) for cell, level in row(number).items()}
    np.save(home / "few.npy", pattern(row(8, 2, 5)))
    np.save(home / "long.npy", pattern(cells))
    schedule = (
        "deployments:\n"
        "  - {flow: program, name: small, cron: '0 2 * * *', timezone: Europe/Berlin,\n"
        f"     parameters: {{pattern: few.npy, chip: '1', settle_rows: 0, runs: {home / 'runs'}, bench: bench}}}}\n"
    )
    admission = {"PREFECT_SERVER_API_AUTH_STRING": ADMISSION, "PREFECT_API_AUTH_STRING": ADMISSION}
    with Service(home, schedule, code=SERVER_ONLY, database=database, **admission) as service:
        service.up()
        assert not list((home / "home").rglob("prefect.db"))
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
        clean |= {"OHMFLOW_HOME": str(home / "home"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        clean |= {"PREFECT_API_URL": service.api, "PREFECT_WORKER_QUERY_SECONDS": "1"}
        words = [sys.executable, str(CHILD), "command"]

        stranger = subprocess.run([*words, "deploy"], env=clean, cwd=home, capture_output=True, text=True, timeout=120)
        assert stranger.returncode == 2
        assert "does not let us in (HTTP 401); set PREFECT_API_AUTH_STRING" in stranger.stderr
        clean["PREFECT_API_AUTH_STRING"] = ADMISSION
        deploying = [*words, "deploy", "--schedule", "s.yaml"]
        done = subprocess.run(deploying, env=clean, cwd=home, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert "program/small: 0 2 * * *  (Europe/Berlin)" in done.stdout
        assert service("GET", "/work_pools/ohmflow")["type"] == "process"
        known = service("GET", "/deployments/name/program/small")
        assert known["work_pool_name"] == "ohmflow"

        with (home / "worker").open("wb") as out:
            worker = subprocess.Popen([*words, "work"], env=clean, cwd=home, stdout=out, stderr=out)
        try:
            run = service.ask("program/small", run_id="done")
            state = service.until(service.ended(run, "Completed", "Failed", "Crashed"), 120)
            assert state["name"] == "Completed", (home / "worker").read_text()
            with open_run(home / "runs" / "done") as made:
                assert made.status == "completed"
            cancelled = service.ask("program/small", run_id="cancelled", pattern="long.npy", passes=100)
            service.until(lambda: service.records("cancelled") > 200)
            service.cancel(cancelled)
            service.until(service.ended(cancelled, "Cancelled"))
            with open_run(home / "runs" / "cancelled") as made:
                assert (made.status, made.reason) == ("interrupted", "Interrupted: stopped on request")
            stopped = service.ask("program/small", run_id="stopped", pattern="long.npy", passes=100)
            service.until(lambda: service.records("stopped") > 200)
            worker.send_signal(signal.SIGTERM)
            worker.wait(60)
            with open_run(home / "runs" / "stopped") as made:
                assert (made.status, made.reason) == ("interrupted", "Interrupted: stopped on request")
            assert stopped
        finally:
            worker.kill()
            worker.wait()
    for path in home.rglob("*"):
        if path.is_file():
            assert PASSWORD.encode() not in path.read_bytes(), path
            assert ADMISSION.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:4200/api", True),
        ("http://[::1]:4200/api", True),
        ("http://localhost/api", True),
        ("http://127.0.0.1.example.org/api", False),
        ("http://192.168.0.7:4200/api", False),
        ("http://0.0.0.0:4200/api", False),
        ("https://prefect.lab/api", False),
        ("nonsense", False),
    ],
)
def test_what_counts_as_this_machine(url: str, local: bool) -> None:
    assert is_local(url) is local


def test_a_remote_server_without_authentication_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PREFECT_API_AUTH_STRING", "PREFECT_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(WorkflowError, match="is on another machine and asks nobody who they are; set PREFECT_SERVER"):
        check_server("http://lab:pass@192.0.2.1:4200/api")
    # A password that nobody asks for is no authentication.
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", ADMISSION)
    monkeypatch.setattr(server, "_answers_strangers", lambda url: True)
    with pytest.raises(WorkflowError) as told:
        check_server("http://192.0.2.1:4200/api")
    assert "asks nobody who they are" in str(told.value)
    assert ADMISSION not in str(told.value)


def test_another_database_is_refused_without_its_password() -> None:
    assert checked_database("") == ""
    with pytest.raises(WorkflowError) as told:
        checked_database(f"mysql://lab:{PASSWORD}@there/prefect")
    assert "must begin with postgresql+asyncpg://" in str(told.value)
    assert PASSWORD not in str(told.value)
