"""A Prefect server of our own for one command: started once, stopped in order, its output in a file.

Prefect's own ephemeral server leaves an orphan when its flow is killed, and tracebacks of its tear-down as the last
lines a user sees. This one is a child that dies with its parent, whatever kills the parent.
"""

import contextlib
import ctypes
import ipaddress
import logging
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from analysis.records.masking import masked
from instruments.clock import WallClock
from workflows.errors import Interrupted, WorkflowError

START_SECONDS = 120.0
_PR_SET_PDEATHSIG = 1


class LocalServer:
    """A server process on 127.0.0.1; `start` returns at once, `wait` when it answers.

    Args:
        home: Prefect's folder; the server's output goes to `server.log` in it.
        port: to listen on; None for any free one.
        database: SQLAlchemy's URL of a PostgreSQL database; "" for a file in `home`.
    """

    def __init__(self, home: Path, port: int | None = None, database: str = "") -> None:
        self.home = home
        self._database = database
        self.log = home / "server.log"
        self.port = port or _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The server's API."""
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it and return at once, so that other preparations can go on meanwhile."""
        environment = {k: v for k, v in os.environ.items() if k != "PREFECT_API_URL"}
        environment["PREFECT_SERVER_API_PORT"] = str(self.port)
        if self._database:  # in the child's environment alone: a command line can be read by everybody
            environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = self._database
        command = [sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app"]
        command += [
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--log-level",
            "warning",
            "--timeout-keep-alive",
            "5",
        ]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=self.home,
                start_new_session=True, preexec_fn=dying_with_parent(),
            )  # fmt: skip

    def wait(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Wait until it answers.

        Args:
            stop: asked meanwhile.

        Raises:
            Interrupted: `stop` said so.
            WorkflowError: it ended, or did not answer within two minutes.
        """
        clock = WallClock()
        assert self._process is not None
        # Requests to our own child must not go through a proxy.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while clock.now() < START_SECONDS:
            if stop():
                raise Interrupted("stopped before anything was driven")
            if self._process.poll() is not None:
                raise WorkflowError(f"Prefect's server ended while starting; see {self.log}, or run with --direct")
            with contextlib.suppress(urllib.error.URLError, OSError), opener.open(f"{self.url}/health", timeout=5):
                return
            clock.sleep(0.1)
        raise WorkflowError(
            f"Prefect's server did not answer within {START_SECONDS:g} s; see {self.log}, or run with --direct"
        )

    def stop(self) -> None:
        """Ask it to end, and see that it does."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def server(home: Path, unsettled: Callable[[str], object] = print) -> Iterator[LocalServer | None]:
    """A local server for the duration of a block, or None if the user's `PREFECT_API_URL` names one already.

    Args:
        home: Prefect's folder.
        unsettled: called with the server's address if at the end it does not take what Prefect still has to tell it.
    """
    home.mkdir(parents=True, exist_ok=True)  # Prefect itself would not make the folders above it
    own = os.environ.get("PREFECT_API_URL")
    local = None if own else LocalServer(home)
    try:
        if local is not None:
            local.start()
        yield local
    finally:
        if not settle():
            unsettled(own or (local.url if local else ""))
        if local is not None:
            local.stop()
            os.environ.pop("PREFECT_API_URL", None)


def settle(seconds: float = 5.0) -> bool:
    """Give Prefect's workers `seconds` to hand over events and logs they still have; says whether they could.

    They take nothing more afterwards. Prefect's own way, at the interpreter's exit, has no limit of time.
    """
    if "prefect.events.worker" not in sys.modules:
        return True
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    waiting: list[object] = []
    for worker in (EventsWorker, APILogWorker):
        logging.getLogger(worker.__name__).setLevel(logging.ERROR)  # else it counts what is left, every few seconds
        outcome = worker.drain_all(timeout=seconds)
        assert isinstance(outcome, tuple)  # a coroutine only where an event loop is running
        waiting += outcome[1]
    return not waiting


def check_server(url: str) -> None:
    """See that the user's own Prefect server answers us, and not everybody on the network.

    Raises:
        WorkflowError: it does not, or it does.
    """
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectHTTPStatusError

    named = f"Prefect's server at PREFECT_API_URL={masked(url)}"
    if not is_local(url) and (not _signed() or _answers_strangers(url)):
        raise WorkflowError(
            f"{named} is on another machine and asks nobody who they are; set PREFECT_SERVER_API_AUTH_STRING=USER:"
            "PASSWORD on the server and PREFECT_API_AUTH_STRING to the same here, or use a server on this machine"
        )
    with get_client(sync_client=True) as client:
        problem = client.api_healthcheck()
        if problem is not None:
            raise WorkflowError(
                f"{named} does not answer ({masked(' '.join(str(problem).split()))}); "
                "start it, unset PREFECT_API_URL for a server of our own, or run with --direct"
            )
        try:
            client.api_version()
        except PrefectHTTPStatusError as error:
            raise WorkflowError(
                f"{named} does not let us in (HTTP {error.response.status_code}); set PREFECT_API_AUTH_STRING to the "
                "server's USER:PASSWORD"
            ) from None


def is_local(url: str) -> bool:
    """Whether a server's address is this machine's own, that no network reaches."""
    host = urllib.parse.urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def checked_database(url: str) -> str:
    """A database's URL, if it is one that Prefect can use.

    Raises:
        WorkflowError: it is not; the message has no password in it.
    """
    if url and not url.startswith("postgresql+asyncpg://"):
        raise WorkflowError(
            f"database {masked(url)!r:.200} must begin with postgresql+asyncpg://, "
            "such as postgresql+asyncpg:///prefect?host=/folder/of/the/socket; leave it out for a file"
        )
    return url


def _signed() -> bool:
    return bool(os.environ.get("PREFECT_API_AUTH_STRING") or os.environ.get("PREFECT_API_KEY"))


def _answers_strangers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/admin/version", timeout=10):
            return True
    except (OSError, ValueError):  # refused, or not there: which one is found next
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def dying_with_parent() -> Callable[[], None] | None:
    """What a child does first so that it does not outlive its parent; None where the system has no such thing."""
    return _die_with_parent if sys.platform == "linux" else None


def _die_with_parent() -> None:
    """In the child, before it becomes the server: ask the kernel for SIGTERM when the parent is gone (Linux)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
