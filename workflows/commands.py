"""A command for every procedure, made from its options; and what a person is shown of its run."""

import inspect
import shlex
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import Field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from workflows.flows.environment import state_folder
from workflows.procedures.registry import ENTRIES, Entry

if TYPE_CHECKING:
    from typer._click.core import Command, Context
    from typer._click.formatting import HelpFormatter

    from workflows.console import Hooks
    from workflows.procedures.procedure import Procedure

_FILLED = ("command_line", "cache")
"""Options that are filled in rather than asked for."""


class LazyGroup(typer.core.TyperGroup):
    """A group of commands that makes those of procedures when they are asked for: their modules take seconds."""

    group = ""

    def list_commands(self, ctx: "Context") -> list[str]:
        """The procedures' commands first."""
        mine = [one.name for one in ENTRIES.values() if one.group == self.group]
        return [*mine, *(name for name in super().list_commands(ctx) if name not in mine)]

    def get_command(self, ctx: "Context", cmd_name: str) -> "Command | None":
        """A procedure's command, made now, or another one."""
        entry = ENTRIES.get(cmd_name)
        if entry is None or entry.group != self.group:
            return super().get_command(ctx, cmd_name)
        single = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        single.command(entry.name)(_command(entry))
        return typer.main.get_command(single)

    def format_commands(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        """The list in the help, without making the commands."""
        rows = []
        for name in self.list_commands(ctx):
            entry = ENTRIES.get(name)
            if entry is not None and entry.group == self.group:
                rows.append((name, entry.title))
            elif (command := super().get_command(ctx, name)) is not None and not command.hidden:
                rows.append((name, command.get_short_help_str(60)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class CharacteriseGroup(LazyGroup):
    """The procedures that measure devices."""

    group = "characterise"


def _command(entry: Entry) -> Callable[..., None]:
    from workflows.procedures.options import listed

    procedure = entry.load()
    offered = [one for one in listed(procedure.options) if one.name not in _FILLED]

    def command(ctx: typer.Context, **given: Any) -> None:
        direct, repeats = given.pop("direct"), given.pop("dry_run")
        if given["resume"]:
            _refuse_with_resume(ctx, procedure)
        options = _options(procedure, given)
        if repeats:
            foretell(procedure, options, repeats)
        else:
            run(procedure, options, direct=direct)

    command.__doc__ = procedure.title
    command.__name__ = entry.name.replace("-", "_")
    keyword = inspect.Parameter.KEYWORD_ONLY
    direct = Annotated[bool, typer.Option("--direct", help="Without Prefect.")]
    dry = Annotated[int, typer.Option("--dry-run", metavar="N", help="Only foretell it, from N runs on twins.")]
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # what typer asks for
        [
            inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context),
            *(inspect.Parameter(f.name, keyword, default=_default(f), annotation=_annotation(f)) for f in offered),
            inspect.Parameter("direct", keyword, default=False, annotation=direct),
            inspect.Parameter("dry_run", keyword, default=0, annotation=dry),
        ]
    )
    return command


def _flags(one: "Field[Any]") -> list[str]:
    names = str(one.metadata["flag"] or one.name).replace("_", "-").split()
    return [name if name.startswith("-") else f"--{name}" for name in names]


def _flag(one: "Field[Any]") -> str:
    return _flags(one)[0]


def _default(one: "Field[Any]") -> Any:
    from instruments.quantity import si

    if one.metadata["unit"]:
        assert isinstance(one.default, float)
        return si(one.default, one.metadata["unit"], 6)
    return one.default


def _annotation(one: "Field[Any]") -> Any:
    kind = str if one.metadata["unit"] else type(one.default)
    names = _flags(one)
    if kind is bool and one.default:
        names = [f"{names[0]}/--no-{names[0][2:]}"]
    return Annotated[kind, typer.Option(*names, help=one.metadata["text"])]


def _options(procedure: "Procedure[Any, Any]", given: dict[str, Any]) -> Any:
    from dataclasses import fields

    from instruments.quantity import to_si
    from workflows.procedures.options import quantities

    for name, unit in quantities(procedure.options).items():
        flag = next(_flag(one) for one in fields(procedure.options) if one.name == name)
        given[name] = to_si(given[name], unit, what=flag)
    given["bench"] = _bench(given["bench"], given["station"], given["resume"])
    given["command_line"] = shlex.join(["ohmflow", *sys.argv[1:]])
    if "cache" in {one.name for one in fields(procedure.options)}:
        given["cache"] = networks()
    return procedure.options(**given)


def _refuse_with_resume(ctx: typer.Context, procedure: "Procedure[Any, Any]") -> None:
    """A resumed run goes on as it began; what would change that is refused rather than passed over."""
    from dataclasses import fields

    from workflows.errors import RequestError
    from workflows.procedures.options import WITH_RESUME

    flags = {one.name: _flag(one) for one in fields(procedure.options)}
    for name in ctx.params:
        source = ctx.get_parameter_source(name)
        if name not in (*WITH_RESUME, "direct") and source is not None and source.name == "COMMANDLINE":
            raise RequestError(
                f"{flags.get(name, name)} can't be given with --resume: a resumed run goes on as its record says"
            )


def networks() -> str:
    """Folder of trained networks."""
    return str(state_folder() / "networks")


def _bench(given: str, station: str, resume: str) -> str:
    """A twin keeps its chips between commands, unless told not to."""
    if given == "none":
        return ""
    if given or resume:
        return given
    from instruments.station_file import StationFile

    file = StationFile.load(station)
    if not file.simulated:
        return ""
    return file.twin.get("dir") or str(state_folder() / "benches" / file.name)


def run(procedure: "Procedure[Any, Any]", options: Any, *, direct: bool) -> None:
    """Check, run and report a job."""
    from workflows.console import phase_bars, programming_bar, show
    from workflows.procedures.job import Job
    from workflows.running import execute

    job: Job[Any, Any] = Job.prepare(procedure, options)
    show(f"station {job.station.name} ({job.station.world}), run {job.folder}")
    display: Callable[[], AbstractContextManager[Hooks]] = (
        programming_bar if procedure.name == "program" else phase_bars
    )
    report(job.folder, execute(job, display, direct=direct))


def foretell(procedure: "Procedure[Any, Any]", options: Any, repeats: int) -> None:
    """Foretell a job by dry runs, and keep the forecast for the run to come."""
    from workflows.console import StopOnSignal, phase_bars, print_table, show
    from workflows.procedures.controls import Controls
    from workflows.procedures.forecast import dry_run
    from workflows.procedures.forecast_store import keep
    from workflows.procedures.job import Job
    from workflows.tables import forecast_table

    job: Job[Any, Any] = Job.prepare(procedure, options)
    with StopOnSignal().listening() as stop, phase_bars() as hooks:
        forecast = dry_run(job, repeats, Controls(stop=stop, told=hooks.told))
    path = keep(job, forecast)
    title = f"{procedure.name}, foretold from {forecast.runs} runs on twins ({forecast.device}): P50 (P10 to P90)"
    print_table(title, ("phase", "lab's clock", "energy", "pulses", "reads"), forecast_table(forecast))
    show(f"forecast {path} (the run itself will say how good it was)")


def report(folder: Path, wall: float | None) -> None:
    """Print what a run achieved; without `wall` also draw its figures and pages again."""
    from analysis.forecast import judged
    from analysis.records import open_run
    from analysis.records.guard import damage_told
    from workflows.console import closing_table, show
    from workflows.procedures.registry import procedure
    from workflows.tables import Row, clock_text, forecast_rows

    with open_run(folder) as opened:
        done = procedure(opened.header.procedure)
        with damage_told(opened.path):
            rows = [*done.rows(opened), *forecast_rows(judged(opened))]
        if wall is not None:
            hidden = [row for row in rows if row.of != "lab"]
            known = [row for row in rows if row.of == "lab"]
            rows = [*known, Row("time of this computer", clock_text(wall)), *hidden]
        closing_table(f"{opened.header.run_id}: {opened.world.upper()}, {opened.status}", rows)
        path = opened.path
    if wall is None:
        with damage_told(path):
            done.report(folder)
    show(f"records  {path}")
    for picture in sorted((folder / "figures").glob("*.png")):
        show(f"figure   {picture}")
    if (folder / "report.html").is_file():
        show(f"report   {folder / 'report.html'}")
