"""A job from the command line: as a Prefect flow or directly, stopped by signals, with an eye on its progress."""

import importlib
import os
import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from instruments.clock import stopwatch
from workflows.console import Hooks, StopOnSignal, console, say, show
from workflows.errors import Interrupted
from workflows.flows.environment import prepare
from workflows.flows.server import check_server, server
from workflows.locking import Waiting
from workflows.persons import Persons
from workflows.procedures.controls import Controls
from workflows.procedures.holding import usual_locks
from workflows.procedures.job import Job
from workflows.procedures.options import WITH_RESUME

UNSETTLED: list[str] = []
"""Addresses of servers that went away with something still to be told to them."""


def execute(job: Job[Any, Any], display: Callable[[], AbstractContextManager[Hooks]], *, direct: bool) -> float:
    """Run a job; gives the seconds it took on this computer.

    Args:
        job: checked.
        display: shows its progress.
        direct: without Prefect.

    Raises:
        Interrupted: by a signal or an order; outputs are safe, and the message says how to go on.
    """
    started = stopwatch()
    try:
        with StopOnSignal().listening() as stop:
            persons = Persons(job.folder, stop)
            if direct:
                with display() as hooks:
                    controls = Controls(
                        stop=stop,
                        listener=hooks.listener,
                        told=hooks.told,
                        locks=usual_locks(),
                        waiting=_say_waiting,
                        attend=persons.attend,
                        pausing=persons.pausing,
                    )
                    job.run(controls)
            else:
                _as_flow(job, stop, display, persons)
    except (Interrupted, KeyboardInterrupt) as error:
        if not (job.folder / "journal.jsonl").is_file():
            raise Interrupted("stopped before anything was driven") from error
        notes = getattr(error, "__notes__", [])
        safe = "" if notes else "outputs are at 0 V and open; "
        told = Interrupted(f"{safe}go on with: ohmflow resume {shlex.quote(str(job.folder))}")
        for note in notes:
            told.add_note(note)
        raise told from error
    return stopwatch() - started


def _say_waiting(waiting: Waiting) -> None:
    show(str(waiting))


def _as_flow(
    job: Job[Any, Any], stop: StopOnSignal, display: Callable[[], AbstractContextManager[Hooks]], persons: Persons
) -> None:
    """Run a flow on the user's server or on one of our own."""
    for name in ("PREFECT_LOGGING_LEVEL", "PREFECT_LOGGING_INTERNAL_LEVEL"):
        os.environ.setdefault(name, "CRITICAL")  # the run's own records say what went wrong
    prepare()
    with server(Path(os.environ["PREFECT_HOME"]), UNSETTLED.append) as local:
        with console.status("starting Prefect's server (a while longer the first time) ..."):
            if local is not None:
                os.environ["PREFECT_API_URL"] = local.url
                # A server on this machine that is gone stays gone: Prefect would ask it again for a minute, each time.
                os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", "2")
            from prefect.exceptions import TerminationSignal

            from workflows.flows.watch import Watch

            flows = importlib.import_module("workflows.flows.procedures")
            run_flow = getattr(flows, flows.flow_name(job.procedure.name))
            if local is not None:
                local.wait(stop)
            else:
                check_server(os.environ["PREFECT_API_URL"])
        with display() as hooks:
            watch = Watch(
                stop=stop, listener=hooks.listener, told=hooks.told, signals=stop.listening, waiting=_say_waiting,
                persons={"attend": persons.attend, "pausing": persons.pausing},
            )  # fmt: skip
            try:
                with watch.installed():
                    # The folder's name was chosen when the job was checked; the flow must use the same.
                    run_flow(**_parameters(job))
            except TerminationSignal as error:  # Prefect's way of telling SIGTERM, before or after the work itself
                raise Interrupted("stopped on request") from error
            except Exception as error:
                # What ended the work counts; Prefect may have come upon troubles of its own on top of it.
                if watch.error is not None:
                    raise watch.error from None
                if not watch.finished:
                    raise
                said = " ".join(str(error).split()) or type(error).__name__
                say(f"Prefect lost sight of the run, which completed all the same: {said}", "yellow")


def _parameters(job: Job[Any, Any]) -> dict[str, Any]:
    """The flow's parameters: a resumed run's come from its records."""
    if not job.options.resume:
        return {**asdict(job.options), "run_id": job.folder.name}
    names = (*WITH_RESUME, *job.procedure.elsewhere, "command_line")
    return {name: getattr(job.options, name) for name in names}
