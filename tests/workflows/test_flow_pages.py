"""Deployed flows and the person at their pages: asked, pausing, cancelling; a queue; told elsewhere; reports anew."""

import contextlib
import http.server
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from program_jobs import pattern, row
from served import Service

from analysis.records import open_run
from instruments.station_file import StationFile

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="the service dies with its parent on Linux only"),
]
SECRET = "s3cr3t-of-the-lab"
LONG = {cell: level for number in range(1, 32) for cell, level in row(number).items()}
"""More than can be programmed before a further process is up."""
SAFE = "outputs at 0 V and open, board disconnected"


class Messenger:
    """A place on this machine that notifications are posted to."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        messenger = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                messenger.received.append({**json.loads(body), "who": self.headers.get("Authorization", "")})
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://lab:{SECRET}@127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def titles(self) -> list[str]:
        return [one["title"] for one in self.received]


@pytest.fixture(scope="module")
def messenger() -> Iterator[Messenger]:
    made = Messenger()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, messenger: Messenger) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("pages")
    text = StationFile.load("station-twin.yaml").text
    (folder / "asking.yaml").write_text(
        text.replace("world: simulated", "world: simulated\n  confirm: [chip 7 is in the socket]")
    )
    runs = folder / "runs"
    common = f"chip: '1', settle_rows: 0, runs: {runs}, bench: {folder / 'bench'}"
    circle = "samples: 100000, uncalibrated: 0, calibration_rounds: 0, compensation: 0, field: 0, points: 500"
    schedule = (
        "notify: {urls_from: LAB_URLS, on: [completed, failed, interrupted, waiting, operator]}\n"
        "deployments:\n"
        f"  - {{flow: program, name: small, parameters: {{{common}}}}}\n"
        f"  - {{flow: program, name: attended, parameters: {{{common}, attended: true,"
        f" station: {folder / 'asking.yaml'}}}}}\n"
        f"  - {{flow: circle, name: endless, parameters: {{recipe: quick, baseline: false, {circle},"
        f" chip: '2', runs: {runs}, bench: {folder / 'bench'}}}}}\n"
        f"  - {{flow: analysis, name: here, parameters: {{runs: {runs}}}}}\n"
    )
    with Service(folder, schedule, LAB_URLS=messenger.url, PREFECT_SERVER_ANALYTICS_ENABLED="false") as started:
        started.up()
        yield started
        # Whatever happened, the address is nowhere but in memory.
        for path in folder.rglob("*"):
            if path.is_file():
                assert SECRET.encode() not in path.read_bytes(), path


@pytest.fixture
def runs(service: Service) -> Path:
    return service.folder / "runs"


def saved(service: Service, cells: dict[tuple[int, int], float]) -> str:
    path = service.folder / f"pattern{len(list(service.folder.iterdir()))}.npy"
    np.save(path, pattern(cells))
    return str(path)


def safe(folder: Path) -> bool:
    """Whether the run's last word is that its outputs are safe."""
    lines = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    return [line["text"] for line in lines if line["kind"] == "note"][-1] == SAFE


def test_a_run_asks_and_pauses_through_its_page(service: Service, runs: Path, messenger: Messenger) -> None:
    run = service.ask("program/attended", pattern=saved(service, LONG), run_id="asked", operator="Cy", passes=100)
    state = service.until(lambda: (now := service.state(run))["type"] == "PAUSED" and now)
    assert state["message"] == "Confirm that chip 7 is in the socket"
    keys = state["state_details"]["run_input_keyset"]
    form = service("GET", f"/flow_runs/{run}/input/{keys['schema']}")
    assert form["required"] == ["operator"]
    assert "chip 7 is in the socket" in service("GET", f"/flow_runs/{run}/input/{keys['description']}")
    refused = service("POST", f"/flow_runs/{run}/resume", {"run_input": {}})
    assert refused["status"] == "REJECT"
    assert "intent" not in (runs / "asked" / "journal.jsonl").read_text()
    signed = service("POST", f"/flow_runs/{run}/resume", {"run_input": {"operator": "Ada", "remark": "looked"}})
    assert signed["status"] == "ACCEPT"
    service.until(lambda: service.records("asked") > 200)
    (said,) = [
        line["text"] for line in map(json.loads, (runs / "asked" / "journal.jsonl").read_text().splitlines())
        if line["kind"] == "note" and line["text"].startswith("operator: ")
    ]  # fmt: skip
    assert "done by Ada at 20" in said
    assert said.endswith("who says: looked")
    service.until(lambda: "ohmflow: program asked operator" in messenger.titles())

    # A flow that has others pause: from the pages, too.
    order = service.ask("control-run/by hand", run="asked", order="pause", by="Bea", remark="lunch", runs=str(runs))
    state = service.until(lambda: (now := service.state(run))["type"] == "PAUSED" and now)
    assert state["message"] == "paused by Bea: lunch"
    assert safe(runs / "asked")
    with open_run(runs / "asked") as paused:
        assert paused.status == "interrupted"
    service.until(service.ended(order, "Completed"))
    assert service("POST", f"/flow_runs/{run}/resume", {})["status"] == "ACCEPT"

    # The confirmation is asked for again, since somebody may have swapped the chip; a command answers this time.
    service.until(lambda: service.state(run)["type"] == "PAUSED")
    order = service.ask("control-run/by hand", run="asked", order="answer", by="Dan", runs=str(runs))
    service.until(lambda: service.state(run)["type"] == "RUNNING")
    # The pages' own button.
    before = service.records("asked")
    service.until(lambda: service.records("asked") > before + 100)
    service("POST", f"/flow_runs/{run}/set_state", {"state": {"type": "PAUSED", "name": "Paused"}})
    service.until(lambda: "somebody at Prefect's pages" in str(service.state(run)["message"]))
    assert safe(runs / "asked")
    service.cancel(run)
    service.until(service.ended(run, "Cancelled"))
    with open_run(runs / "asked") as ended:
        assert ended.status == "interrupted"
    service.until(lambda: "ohmflow: program asked interrupted" in messenger.titles())


def test_further_runs_queue_and_can_be_cancelled_while_they_wait(
    service: Service, runs: Path, messenger: Messenger
) -> None:
    cells = saved(service, LONG)
    # On a quick machine the pattern alone would be programmed before all this is over.
    first = service.ask("program/small", pattern=cells, run_id="first", passes=100)
    service.until(lambda: service.records("first") > 50)
    second = service.ask("program/small", pattern=cells, run_id="second")  # the deployment's own queue
    third = service.ask("program/attended", pattern=cells, run_id="third", attended=False)  # the instruments'
    service.until(lambda: service.state(second)["name"] == "AwaitingConcurrencySlot")
    service.cancel(second)
    service.until(service.ended(second, "Cancelled"))
    assert not (runs / "second").exists()
    assert service.state(first)["type"] == "RUNNING"
    service.until(lambda: "ohmflow: program third waiting" in messenger.titles())
    assert any("waiting for" in one["message"] and "first" in one["message"] for one in messenger.received)
    service.until(lambda: any("waiting for" in one["description"] for one in service.artifacts(third)))
    service.cancel(third)
    service.until(service.ended(third, "Cancelled"))
    assert not (runs / "third").exists()
    service.cancel(first)
    service.until(service.ended(first, "Cancelled"))
    done = service.ask("program/small", pattern=saved(service, row(14)), run_id="done")
    state = service.until(service.ended(done, "Completed", "Failed", "Crashed"))
    assert state["name"] == "Completed", state
    service.until(lambda: "ohmflow: program done completed" in messenger.titles())
    progress, table = service.artifacts(done)
    assert (progress["type"], progress["data"], progress["description"]) == ("progress", 100.0, "done")
    assert table["data"].count("data:image/png;base64,") == 2
    assert "inside" in table["data"]


def test_a_circle_is_cancelled_between_two_solutions(service: Service, runs: Path) -> None:
    run = service.ask("circle/endless", run_id="round")
    service.until(lambda: any(one["description"].startswith("sampl") for one in service.artifacts(run)), 120)
    service.cancel(run)
    service.until(service.ended(run, "Cancelled"))
    assert safe(runs / "round")
    with open_run(runs / "round") as ended:
        assert ended.status == "interrupted"
        assert ended.reason.startswith("Interrupted: stopped on request")
        assert 0 < len(ended.waveforms("scope1")) < 100_000


def test_a_killed_run_is_told_and_reports_are_made_anew(service: Service, runs: Path, messenger: Messenger) -> None:
    run = service.ask("program/small", pattern=saved(service, LONG), run_id="killed", passes=100)
    service.until(lambda: service.records("killed") > 100)
    os.kill(process_of(service, run), 9)
    service.until(service.ended(run, "Crashed"))
    service.until(lambda: any("its process ended without a word" in one["message"] for one in messenger.received))
    assert all(one["who"].startswith("Basic ") for one in messenger.received)

    for figure in (runs / "done" / "figures").glob("*.png"):
        figure.unlink()
    made = service.ask("analysis/here")
    service.until(service.ended(made, "Completed", "Failed"))
    (table,) = service.artifacts(made)
    rows = {one["run"]: one["became"] for one in json.loads(table["data"])}
    assert rows["done"] == "report made; the run is completed"
    assert any((runs / "done" / "figures").glob("*.png"))
    assert set(rows) >= {"first", "done", "killed"}


def process_of(service: Service, run: str) -> int:
    """The process that does a flow run."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"PREFECT__FLOW_RUN_ID={run}".encode() in (process / "environ").read_bytes():
                return int(process.name)
    raise AssertionError(f"no process does {run}")
