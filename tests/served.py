"""A service in a process of its own, for the tests that speak to it as its pages do."""

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from workflows.flows.server import LocalServer

ROOT = Path(__file__).resolve().parents[1]


SERVICE = """
import sys
from pathlib import Path
from workflows.flows.service import serve
serve(Path(sys.argv[1]), home=Path(sys.argv[2]), port=int(sys.argv[3]), database=sys.argv[4])
"""
SERVER_ONLY = """
import signal, sys
from pathlib import Path
from workflows.flows.environment import prepare
from workflows.flows.server import LocalServer
home = Path(sys.argv[2])
home.mkdir(parents=True)
prepare(home)
server = LocalServer(home, int(sys.argv[3]), sys.argv[4])
server.start()
server.wait()
print("serving at", server.url, flush=True)
signal.pause()
"""


class Service:
    """`serve` in a process of its own, spoken to over HTTP."""

    def __init__(
        self, folder: Path, schedule: str, *, code: str = SERVICE, database: str = "", **variables: str
    ) -> None:
        (folder / "s.yaml").write_text(schedule)
        self.home = folder / "home"
        self.admission = variables.get("PREFECT_SERVER_API_AUTH_STRING", "")
        self.folder = folder
        port = LocalServer(folder).port  # free just now
        self.api = f"http://127.0.0.1:{port}/api"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
        environment |= {"OHMFLOW_HOME": str(self.home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables}
        with (folder / "out").open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code, str(folder / "s.yaml"), str(self.home / "service"), str(port),
                 database],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment, cwd=folder,
            )  # fmt: skip

    def __enter__(self) -> "Service":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()  # its server goes with it
        self.process.wait()
        for number, _ in self._of_home():  # runs of a killed service go on
            with contextlib.suppress(OSError):
                os.kill(number, signal.SIGKILL)

    def up(self) -> None:
        """Wait until it serves."""
        self.until(lambda: "serving at " in self.said(), 150)

    def __call__(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        if self.admission:
            headers["authorization"] = "Basic " + base64.b64encode(self.admission.encode()).decode()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        for _ in range(50):
            request = urllib.request.Request(self.api + path, data, headers, method=method)
            try:
                with opener.open(request, timeout=20) as reply:
                    return json.loads(reply.read() or b"null")
            except urllib.error.HTTPError as error:
                with error:
                    if error.code != 503:  # its database is busy; what was asked was not done
                        raise
            self.moment()
        raise AssertionError(f"{method} {path}: busy for ever")

    def said(self) -> str:
        return (self.folder / "out").read_text()

    def moment(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(0.1)

    def until(self, what: Callable[[], Any], seconds: float = 60) -> Any:
        """Poll, for a bounded time and while the service lives."""
        for _ in range(int(seconds / 0.1)):
            if found := what():
                return found
            assert self.process.poll() is None, self.said()
            self.moment()
        raise AssertionError(f"not within {seconds} s; the service said: {self.said()}")

    def run(self, name: str, pattern_file: Path, **parameters: Any) -> str:
        """Ask for a programming run by hand; gives its id."""
        return self.ask("program/small", pattern=str(pattern_file), run_id=name, **parameters)

    def ask(self, deployment: str, **parameters: Any) -> str:
        """Ask for a run of a deployment; gives its id."""
        known = self("GET", f"/deployments/name/{urllib.parse.quote(deployment)}")
        return str(self("POST", f"/deployments/{known['id']}/create_flow_run", {"parameters": parameters})["id"])

    def state(self, run: str) -> Any:
        """Of a flow run."""
        return self("GET", f"/flow_runs/{run}")["state"]

    def cancel(self, run: str) -> None:
        """As the pages do."""
        self("POST", f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})

    def artifacts(self, run: str) -> list[Any]:
        """Of a flow run, oldest first."""
        found = self("POST", "/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}}})
        return sorted(found, key=lambda one: str(one["created"]))

    def ended(self, run: str, *states: str) -> Callable[[], Any]:
        return lambda: (state := self("GET", f"/flow_runs/{run}")["state"])["name"] in states and state

    def records(self, name: str) -> int:
        with contextlib.suppress(OSError):
            return (self.folder / "runs" / name / "journal.jsonl").read_bytes().count(b"\n")
        return 0

    def processes(self) -> list[str]:
        """Command lines of the live processes of this home: the service, its server, its runs."""
        return [line for _, line in self._of_home()]

    def _of_home(self) -> list[tuple[int, str]]:
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if str(self.home).encode() in (process / "environ").read_bytes():
                    line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    found.append((int(process.name), line))
        return [(number, line) for number, line in found if line]
