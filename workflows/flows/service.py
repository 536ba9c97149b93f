"""`ohmflow serve`: a Prefect server of our own with its pages, and our flows run by hand or by the clock.

Each run is a process of its own; the service may die, a run's records don't. What the service leaves when it is
stopped: runs stopped between two pulses with safe outputs, no process. What was missed meanwhile stays missed:
instruments that start to drive because somebody switched a computer on would surprise people.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from instruments.clock import WallClock, wall_time
from workflows.console import StopOnSignal, console, say, show
from workflows.errors import WorkflowError
from workflows.flows.deploy import PROCESSES, STOP_SECONDS, TAG, as_prefect_has_it, forget
from workflows.flows.environment import prepare
from workflows.flows.schedule import Deployment, load_schedule
from workflows.flows.server import LocalServer, checked_database, settle
from workflows.locking.os_lock import OsLock

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState
    from prefect.client.schemas.objects import FlowRun, State, StateType
    from prefect.runner import Runner

_GLANCE = 0.2
_PAGE = 100


def serve(schedule: Path | None, *, home: Path, port: int = 4200, database: str = "") -> None:
    """Serve our flows until SIGINT or SIGTERM.

    Args:
        schedule: schedule file (`workflows.flows.schedule`); None for no runs but those asked for by hand.
        home: folder for Prefect's database, results and the server's output; one service a folder.
        port: on 127.0.0.1, of the pages and the API; 0 for any free one.
        database: "postgresql+asyncpg://..." for Prefect's records; "" for a file in `home`.

    Raises:
        ConfigError: the schedule file is wrong, or its notifications' addresses; nothing was started.
        WorkflowError: the port or the folder is taken, or the server does not start or ended.
        Interrupted: stopped before the service was up.
    """
    if not 0 <= port <= 65535:
        raise WorkflowError(f"port {port} must lie within 0..65535")
    home = home.expanduser().absolute()
    home.mkdir(parents=True, exist_ok=True)
    os.environ["PREFECT_HOME"] = str(home)
    prepare(home)
    with _only_service(home), StopOnSignal().listening() as stop:
        local = LocalServer(home, _checked(port), checked_database(database))
        # Before Prefect is first imported, which reading the schedule does.
        os.environ["PREFECT_API_URL"] = local.url
        loaded = load_schedule(schedule)
        loaded.notify.check()
        os.environ.update(loaded.notify.environment())  # for the processes of runs
        try:
            local.start()
            with console.status("starting Prefect's server (a while longer the first time) ..."):
                local.wait(stop)
            asyncio.run(_serve(loaded.deployments, local, stop))
        finally:
            settle()
            local.stop()


@contextlib.contextmanager
def _only_service(home: Path) -> Iterator[None]:
    lock = OsLock(home / "service.lock")
    try:
        if not lock.try_lock():
            raise WorkflowError(f"another service is running in {home}; stop it, or set OHMFLOW_HOME for a second one")
        yield
    finally:
        lock.close()


def _checked(port: int) -> int | None:
    if not port:
        return None
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        raise WorkflowError(
            f"port {port} can't be used ({os.strerror(error.errno or 0)}); give another with --port"
        ) from error
    return port


async def _serve(deployments: Sequence[Deployment], local: LocalServer, stop: StopOnSignal) -> None:
    from prefect.client.orchestration import get_client

    runner = _runner(local, stop)
    async with get_client() as client:
        await forget(client, {one.label for one in deployments})
        ids = [await runner.aadd_deployment(await as_prefect_has_it(one)) for one in deployments]
        await _settle_the_past(client, ids)
    serving = asyncio.create_task(runner.start())
    try:
        while not (runner.started or serving.done()):
            await asyncio.sleep(_GLANCE)
        _announce(deployments, local)
        while not (stop() or serving.done()):
            if not local.running:
                raise WorkflowError(
                    f"Prefect's server ended; see {local.log}. Runs were stopped; start the service anew"
                )
            await asyncio.sleep(_GLANCE)
    finally:
        if runner.started:
            await runner.astop()
        # Without its server Prefect would go on asking for it, for minutes.
        await asyncio.wait([serving], timeout=None if local.running else 2.0)
        if not serving.done():
            _leave(local)
        await serving
    if not stop():
        raise WorkflowError(f"Prefect's server or runner ended unasked; see {local.log}, and start the service anew")


def _runner(local: LocalServer, stop: StopOnSignal) -> "Runner":
    from prefect.runner import Runner

    class Ours(Runner):
        """Prefect's runner, but for the way it stops."""

        def handle_sigterm(self, *args: Any, **kwargs: Any) -> None:
            # Prefect's own raises in the middle of the event loop.
            stop.asked = True

        async def cancel_all(self) -> None:
            # Prefect's own writes "Cancelled" over runs that have just completed and whose processes are winding up.
            if local.running:
                await _stop_runs()
            else:
                runs = self._process_manager.flow_run_ids()
                await asyncio.gather(*map(self._process_manager.kill, runs))  # asks first, and kills after 30 s

    return Ours(name=TAG, limit=PROCESSES, pause_on_shutdown=False, query_seconds=2)


def _leave(local: LocalServer) -> NoReturn:
    say(f"error: Prefect's server ended; see {local.log}. Runs were stopped; start the service anew", "red")
    os._exit(2)


async def _stop_runs() -> None:
    """Ask for all runs' ends, as a person would in the UI, and wait for them; a run that hangs is killed after 30 s."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
    from prefect.client.schemas.objects import StateType
    from prefect.states import Cancelling

    ours = FlowRunFilterDeploymentId(is_null_=False)
    waited = WallClock()
    async with get_client() as client:
        going = FlowRunFilter(deployment_id=ours, state=_in(*_going()))
        for run in await client.read_flow_runs(flow_run_filter=going, limit=_PAGE):
            await client.set_flow_run_state(run.id, Cancelling(message="the service is being stopped"))
        left = FlowRunFilter(deployment_id=ours, state=_in(*_going(), StateType.CANCELLING))
        while waited.now() < STOP_SECONDS and await client.read_flow_runs(flow_run_filter=left, limit=1):
            await asyncio.sleep(_GLANCE)


def _going() -> "tuple[StateType, ...]":
    """States in which a process of a run is there."""
    from prefect.client.schemas.objects import StateType

    return StateType.PENDING, StateType.RUNNING, StateType.PAUSED


def _in(*kinds: "StateType") -> "FlowRunFilterState":
    from prefect.client.schemas.filters import FlowRunFilterState, FlowRunFilterStateType

    return FlowRunFilterState(type=FlowRunFilterStateType(any_=list(kinds)))


async def _settle_the_past(client: "PrefectClient", ids: Sequence[Any]) -> None:
    """Runs that were missed while nobody served are not caught up; those that a killed service left are told so."""
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterDeploymentId,
        FlowRunFilterExpectedStartTime,
    )
    from prefect.client.schemas.objects import StateType
    from prefect.states import Cancelled, Crashed
    from prefect.types import DateTime

    def which(*kinds: StateType) -> FlowRunFilter:
        return FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=list(ids)),
            state=_in(*kinds),
            # A calendar's question: only the time of day can answer it.
            expected_start_time=FlowRunFilterExpectedStartTime(before_=DateTime.fromisoformat(wall_time())),
        )

    missed: State[Any] = Cancelled(name="Missed", message="the service was not running at the time")
    await _end(client, which(StateType.SCHEDULED), missed, only_scheduled=True)
    left: State[Any] = Crashed(message="the service ended without it; the run's folder says what became of the run")
    await _end(client, which(*_going(), StateType.CANCELLING), left, only_scheduled=False)


async def _end(client: "PrefectClient", which: "FlowRunFilter", state: "State[Any]", *, only_scheduled: bool) -> None:
    found: list[FlowRun] = []
    while page := await client.read_flow_runs(flow_run_filter=which, limit=_PAGE, offset=len(found)):
        found += page
    for run in found:
        if run.auto_scheduled or not only_scheduled:
            await client.set_flow_run_state(run.id, state, force=True)


def _announce(deployments: Sequence[Deployment], local: LocalServer) -> None:
    for one in deployments:
        when = f"{one.cron}  ({one.timezone})" if one.cron else "when asked for"
        show(f"  {one.label}: {when}")
    show(f"serving at {local.url.removesuffix('/api')}; Ctrl-C stops it, and running runs between two pulses")
