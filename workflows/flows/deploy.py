"""Our flows on Prefect's server: as the service has them, or for the workers of a server that a laboratory runs itself.

A worker is a process on the machine that the instruments hang on: `ohmflow work` there, `ohmflow deploy` anywhere.
"""

import asyncio
import contextlib
import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from analysis.records.masking import masked
from instruments.clock import WallClock
from workflows.console import StopOnSignal, say, show
from workflows.errors import WorkflowError
from workflows.flows.environment import prepare
from workflows.flows.notify import Notify
from workflows.flows.schedule import OFFERS, Deployment, Schedule, load_schedule
from workflows.flows.server import check_server, dying_with_parent, is_local

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.deployments.runner import RunnerDeployment

TAG = "ohmflow"
POOL = "ohmflow"
PROCESSES = 8
"""Runs at once, those included that wait for instruments: each is a process of some 300 MB."""
STOP_SECONDS = 60.0
"""How long stopping waits for runs; Prefect kills one of a service that does not end 30 s after it was asked."""
_GLANCE = 0.2


async def as_prefect_has_it(
    one: Deployment, pool: str = "", variables: Mapping[str, Any] | None = None
) -> "RunnerDeployment":
    """The deployment as Prefect wants it; parameters' descriptions come from the flow's docstring.

    Args:
        one: ours.
        pool: of workers; "" where the flows are served.
        variables: what a worker is told for the processes of its runs.
    """
    from prefect.schedules import Cron
    from prefect.types.entrypoint import EntrypointType

    module, _, function = OFFERS[one.flow].target.partition(":")
    flow = getattr(importlib.import_module(module), function)
    made: RunnerDeployment = await flow.ato_deployment(
        one.name,
        schedules=[Cron(one.cron, timezone=one.timezone)] if one.cron else [],
        parameters=dict(one.parameters),
        concurrency_limit=one.concurrency,
        description=one.description or None,
        tags=[TAG, one.flow, *one.tags],
        work_pool_name=pool or None,
        job_variables=dict(variables or {}) if pool else None,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    return made


async def forget(client: "PrefectClient", labels: set[str]) -> None:
    """Take back deployments that an earlier schedule file had, so that nobody waits for a run that never comes."""
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags

    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    for known in await client.read_deployments(deployment_filter=ours, limit=200):
        flow = await client.read_flow(known.flow_id)
        if f"{flow.name}/{known.name}" not in labels:
            await client.delete_deployment(known.id)


def deploy(schedule: Path | None) -> None:
    """Put our flows on the server that PREFECT_API_URL names, for the workers of the pool "ohmflow".

    Args:
        schedule: schedule file; None for flows by hand only.

    Raises:
        ConfigError: the schedule file is wrong; the server was not asked anything.
        WorkflowError: no server is named, it does not answer, or it is open to everybody on the network.
    """
    prepare()
    loaded = load_schedule(schedule)
    url = _checked_server()
    asyncio.run(_register(loaded))
    for one in loaded.deployments:
        show(f"  {one.label}: {f'{one.cron}  ({one.timezone})' if one.cron else 'when asked for'}")
    show(f"deployed to {masked(url)}; start a worker beside the instruments by: ohmflow work")


def work(schedule: Path | None) -> None:
    """Be a worker of the pool "ohmflow" until SIGINT or SIGTERM: do the runs that PREFECT_API_URL's server hands out.

    When it is stopped, its runs stop between two pulses.

    Args:
        schedule: schedule file, for its section `notify` alone.

    Raises:
        ConfigError: the schedule file or its addresses are wrong.
        WorkflowError: no server is named, it does not answer, it is open to everybody on the network, or the worker
            ended unasked.
    """
    prepare()
    notify = load_schedule(schedule).notify if schedule is not None else Notify.here()
    notify.check()
    os.environ.update(notify.environment())
    _checked_server()
    words = ["-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process", "--limit", str(PROCESSES)]
    with StopOnSignal().listening() as stop:
        worker = subprocess.Popen(
            [sys.executable, *words], stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=dying_with_parent()
        )
        clock = WallClock()
        while not stop() and worker.poll() is None:
            clock.sleep(_GLANCE)
        _stop_runs(worker.pid, clock)
        worker.terminate()  # without its runs: Prefect would leave them to themselves, or kill them
        try:
            worker.wait(10)
        except subprocess.TimeoutExpired:
            worker.kill()
    if not stop():
        raise WorkflowError("Prefect's worker ended unasked; what it said is above, start it anew")


def _stop_runs(worker: int, clock: WallClock) -> None:
    """Have every run below a worker stop between two pulses, and wait for them."""
    asked, told = clock.now(), set[int]()
    while clock.now() - asked < STOP_SECONDS and (runs := _runs(worker)):
        for one in runs - told:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGTERM)
        told |= runs
        clock.sleep(_GLANCE)


def _runs(worker: int) -> set[int]:
    """The processes of flow runs below a worker: the last of Prefect's own, which may have a supervisor above them."""
    columns = ["-o", "pid=", "-o", "ppid=", "-o", "args="]
    listed = subprocess.run(["ps", "-A", *columns], capture_output=True, text=True, check=True)
    rows = [(int(words[0]), int(words[1]), words[2:]) for line in listed.stdout.splitlines() if (words := line.split())]
    below = {worker}
    while more := {pid for pid, parent, _ in rows if parent in below} - below:
        below |= more
    ours = [(pid, parent) for pid, parent, words in rows if pid in below - {worker} and "prefect." in " ".join(words)]
    return {pid for pid, _ in ours} - {parent for _, parent in ours}


def _checked_server() -> str:
    url = os.environ.get("PREFECT_API_URL", "")
    if not url:
        raise WorkflowError(
            "PREFECT_API_URL is not set; give the server's address, such as http://127.0.0.1:4200/api, "
            "or use: ohmflow serve"
        )
    check_server(url)
    if urlsplit(url).scheme != "https" and not is_local(url):
        say("the server is spoken to without encryption: whoever reads the network reads the password", "yellow")
    return url


async def _register(schedule: Schedule) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists

    # Runs find relative names (patterns, stations) where they were found when the file was checked.
    variables = {"working_dir": str(Path.cwd()), "env": schedule.notify.environment()}
    async with get_client() as client:
        try:
            pool = WorkPoolCreate(name=POOL, type="process", description="ohmflow's runs, beside the instruments")
            await client.create_work_pool(pool)
        except ObjectAlreadyExists:
            if (await client.read_work_pool(POOL)).type != "process":
                raise WorkflowError(f"work pool {POOL!r} is there, but not of type process; remove it first") from None
        await forget(client, {one.label for one in schedule.deployments})
        for one in schedule.deployments:
            made = await as_prefect_has_it(one, POOL, variables)
            await made.aapply(work_pool_name=POOL)
