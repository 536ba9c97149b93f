"""Every procedure as a Prefect flow, a task a piece of its work: `from workflows.flows.procedures import program`.

A flow's parameters are the fields of the procedure's options, so that the pages, a schedule file and the command line
say the same. The flows are made when they are first asked for.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from prefect import Flow, State, flow
from prefect.client.schemas.objects import FlowRun

from workflows.errors import Interrupted
from workflows.flows.notify import told as notified
from workflows.flows.publish import publish
from workflows.flows.watch import Watch
from workflows.procedures.job import Job
from workflows.procedures.options import listed
from workflows.procedures.procedure import Procedure
from workflows.procedures.registry import ENTRIES


def flow_name(procedure: str) -> str:
    """The Python name of a procedure's flow."""
    return procedure.replace("-", "_")


def __getattr__(name: str) -> Any:
    """A flow by the name that `flow_name` gives."""
    for entry in ENTRIES.values():
        if flow_name(entry.name) == name:
            made = globals()[name] = _made(entry.load())
            return made
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _made(procedure: Procedure[Any, Any]) -> Flow[..., str]:
    def work(**given: Any) -> str:
        watch = Watch.current()
        with announced(procedure.name) as about:
            job = Job.prepare(procedure, procedure.options(**given))
            about.append(job.folder)
            with watch.controls(job.folder, procedure.name) as controls:
                folder = watch.over(lambda: job.run(controls))
        publish(procedure, folder)
        return str(folder)

    kinds = inspect.get_annotations(procedure.options, eval_str=True)
    for base in procedure.options.__mro__[1:]:
        kinds = {**inspect.get_annotations(base, eval_str=True), **kinds}
    options = list(listed(procedure.options))
    work.__name__ = work.__qualname__ = flow_name(procedure.name)
    work.__module__ = __name__
    work.__annotations__ = {one.name: kinds[one.name] for one in options} | {"return": str}
    work.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # what inspect.signature looks for
        [
            inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=kinds[one.name])
            for one in options
        ],
        return_annotation=str,
    )
    lines = (f"    {one.name}: {one.metadata['text']}{_unit(one.metadata['unit'])}" for one in options)
    work.__doc__ = "\n".join([procedure.title, "", "Args:", *lines, "", "Returns:", "    The run's folder."])
    return flow(
        name=procedure.name,
        flow_run_name=lambda: _run_name(procedure),
        log_prints=False,
        persist_result=False,
        validate_parameters=True,
        on_crashed=[_crashed],
    )(work)


def _crashed(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Prefect's hook for a process that was killed; called in the service's process, or the worker's."""
    notified("interrupted", flow.name, flow_run.name, "its process ended without a word; the run can be gone on with")


@contextmanager
def announced(name: str) -> Iterator[list[Path]]:
    """Tell people elsewhere how a block ended, as the schedule file wants it.

    Args:
        name: of the flow.

    Yields:
        A list to put the run's folder in, once it is known.
    """
    about: list[Path] = []

    def tell(event: str, text: str) -> None:
        folder = about[-1] if about else None
        notified(event, name, folder.name if folder else "", text, where={"folder": str(folder)} if folder else None)

    try:
        yield about
    except Interrupted as error:
        tell("interrupted", f"{error}; outputs are safe, and the run can be gone on with")
        raise
    except Exception as error:
        tell("failed", " ".join(str(error).split()) or type(error).__name__)
        raise
    tell("completed", "the run is complete")


def _unit(unit: str) -> str:
    return f" In {unit}." if unit else ""


def _run_name(procedure: Procedure[Any, Any]) -> str:
    from prefect.runtime import flow_run

    given = dict(flow_run.parameters or {})
    first = next((one.name for one in fields(procedure.options) if one.name in ("pattern", "recipe", "run")), "")
    named = given.get("run_id") or given.get("resume") or given.get(first) or given.get("chip") or ""
    return f"{procedure.name}-{Path(str(named)).name}" if named else procedure.name
