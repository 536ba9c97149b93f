"""`ohmflow`: the command line. Imports are late, so that `ohmflow --help` is quick and Prefect finds its settings."""

import os
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workflows.flows.environment import prepare, state_folder

if TYPE_CHECKING:
    from workflows.console import StopOnSignal
    from workflows.procedures.jobs import ProgramJob, ProgramOptions

app = typer.Typer(
    name="ohmflow", no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="Run a resistive-memory laboratory, or its twin: program arrays, sample, record, look.",
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip
station_app = typer.Typer(no_args_is_help=True, help="Look at a station.")
app.add_typer(station_app, name="station")

StationOption = Annotated[str, typer.Option("--station", help="Station file; packaged ones are found from any folder.")]
RunsOption = Annotated[str, typer.Option("--runs", help="Folder that runs are kept in.")]


def main() -> None:
    """Entry point: errors that a person can mend are one sentence and exit code 2."""
    code = _run()
    if _UNSETTLED:
        # Prefect would try each event it could not hand over for seconds, for minutes in all, before it let us go.
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)
    sys.exit(code)


_UNSETTLED: list[str] = []
"""Addresses of servers that went away with something still to be told to them."""


def _run() -> int:
    from workflows.console import say
    from workflows.errors import USER_ERRORS, Interrupted

    try:
        app(standalone_mode=True)
    except SystemExit as end:
        if end.code == 130:  # Ctrl-C before anything was open; typer says nothing
            say("interrupted", "yellow")
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except (Interrupted, KeyboardInterrupt) as error:
        say(f"interrupted: {error}" if str(error) else "interrupted", "yellow")
        code, notes = 130, getattr(error, "__notes__", [])
    except USER_ERRORS as error:
        say(f"error: {error}", "red")
        code, notes = 2, getattr(error, "__notes__", [])
    else:
        return 0
    for note in notes:
        say(f"also: {note}", "red")
    return code


@app.command()
def program(
    ctx: typer.Context,
    pattern: Annotated[str, typer.Option(help="moon-star, or a .npy or .csv file of conductances in S.")] = "moon-star",
    station: StationOption = "station-twin.yaml",
    array: Annotated[int, typer.Option(help="Array number on the board.")] = 0,
    window: Annotated[str, typer.Option(help="Half width of the target window.")] = "1 uS",
    verify: Annotated[float, typer.Option(help="Share of the window that verify reads must lie within.")] = 0.7,
    budget: Annotated[int, typer.Option(help="Pulses a cell may take.")] = 120,
    settle_rows: Annotated[int, typer.Option(help="Rows after which a row is verified again; 0: never.")] = 8,
    algorithm: Annotated[str, typer.Option(help="Write-verify algorithm.")] = "incremental-reversal",
    adc: Annotated[str, typer.Option(help="plc or high-speed; default: the station's.")] = "",
    runs: RunsOption = "runs",
    run_id: Annotated[str, typer.Option(help="Name of the run; default: made from the time.")] = "",
    bench: Annotated[str, typer.Option(help="Twin: directory of its chips; 'none' forgets the chip afterwards.")] = "",
    chip: Annotated[str, typer.Option(help="Twin: seed that names the chip in the socket.")] = "",
    preset: Annotated[str, typer.Option(help="Twin: device preset.")] = "",
    fresh: Annotated[bool, typer.Option("--fresh", help="Twin: draw the chip anew.")] = False,
    operator: Annotated[str, typer.Option(help="Who runs it, for the record.")] = "",
    resume: Annotated[str, typer.Option(help="Go on with a run that was interrupted.")] = "",
    direct: Annotated[bool, typer.Option("--direct", help="Without Prefect.")] = False,
) -> None:
    """Program a conductance pattern into an array, cell by cell, and record everything."""
    from instruments.quantity import to_si
    from workflows.procedures.jobs import ProgramJob, ProgramOptions

    if resume:
        _refuse_with_resume(ctx)
    options = ProgramOptions(
        pattern=pattern, station=station, array=array, window=to_si(window, "S", what="--window"), verify=verify,
        budget=budget, settle_rows=settle_rows, algorithm=algorithm, adc=adc, runs=runs, run_id=run_id,
        bench=_bench(bench, station, resume), chip=chip, preset=preset, fresh=fresh, operator=operator, resume=resume,
        command_line=shlex.join(["ohmflow", *sys.argv[1:]]),
    )  # fmt: skip
    _program(ProgramJob.prepare(options), options, direct)


@app.command()
def demo(
    runs: RunsOption = "runs",
    direct: Annotated[bool, typer.Option("--direct", help="Without Prefect.")] = False,
) -> None:
    """Program the paper's moon and star (Fig. 2f) into a fresh chip of the embedded twin."""
    from workflows.procedures.jobs import ProgramJob, ProgramOptions

    bench = str(state_folder() / "benches" / "demo")
    options = ProgramOptions(
        runs=runs, bench=bench, chip="1", fresh=True, command_line=shlex.join(["ohmflow", *sys.argv[1:]])
    )
    _program(ProgramJob.prepare(options), options, direct)


@app.command()
def summary(
    run: Annotated[str, typer.Argument(help="A run's folder, its name, or its run.h5.")],
    runs: RunsOption = "runs",
) -> None:
    """Print a run's closing table and draw its figures again, from its file alone."""
    from workflows.procedures.session import run_folder

    _report(run_folder(Path(runs), run), None)


@app.command()
def salvage(
    run: Annotated[str, typer.Argument(help="Folder or name of a run that was killed.")],
    runs: RunsOption = "runs",
) -> None:
    """Make a readable run file out of what a killed run left."""
    from analysis.records import salvage as rescue
    from workflows.console import console
    from workflows.procedures.session import run_folder

    console.print(rescue(run_folder(Path(runs), run)))


@station_app.command("check")
def station_check(
    station: Annotated[str, typer.Argument(help="Station file.")] = "station-twin.yaml",
) -> None:
    """Open a station, ask every instrument who it is, close it. Drives nothing."""
    from instruments.station import Station
    from instruments.station_file import StationFile
    from workflows.console import console

    file = StationFile.load(station)
    with Station.open(file) as opened:
        console.print(
            f"{file.name}: {file.world}, {file.shape[0]} arrays of {file.shape[1]}x{file.shape[2]} cells, {file.visa}"
        )
        for identity in opened.identities:
            console.print(f"  {identity.role}: {identity.idn}  ({identity.resource})", highlight=False)


def _refuse_with_resume(ctx: typer.Context) -> None:
    """A resumed run goes on as it began; what would change that is refused rather than passed over."""
    from workflows.errors import RequestError

    allowed = ("resume", "runs", "bench", "operator", "direct")
    for name in ctx.params:
        source = ctx.get_parameter_source(name)
        if name not in allowed and source is not None and source.name == "COMMANDLINE":
            raise RequestError(
                f"--{name.replace('_', '-')} can't be given with --resume: a resumed run goes on with what its record says"
            )


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


def _program(job: "ProgramJob", options: "ProgramOptions", direct: bool) -> None:
    from instruments.clock import stopwatch
    from workflows.console import StopOnSignal, console, progress_bar
    from workflows.errors import Interrupted

    console.print(f"station {job.station.name} ([bold]{job.station.world}[/]), run {job.folder}", soft_wrap=True)
    started = stopwatch()
    try:
        with StopOnSignal().listening() as stop:
            if direct:
                with progress_bar() as listen:
                    job.run(stop=stop, listener=listen)
            else:
                _as_flow(job, options, stop)
    except (Interrupted, KeyboardInterrupt) as error:
        if not (job.folder / "journal.jsonl").is_file():
            raise Interrupted("stopped before anything was driven") from error
        notes = getattr(error, "__notes__", [])
        safe = "" if notes else "outputs are at 0 V and open; "
        told = Interrupted(f"{safe}go on with: ohmflow program --resume {shlex.quote(str(job.folder))}")
        for note in notes:
            told.add_note(note)
        raise told from error
    _report(job.folder, stopwatch() - started)


def _as_flow(job: "ProgramJob", options: "ProgramOptions", stop: "StopOnSignal") -> None:
    """Run the job as a Prefect flow, on the user's server or on one of our own."""
    for name in ("PREFECT_LOGGING_LEVEL", "PREFECT_LOGGING_INTERNAL_LEVEL"):
        os.environ.setdefault(name, "CRITICAL")  # the run's own records say what went wrong
    prepare()
    from workflows.console import console, progress_bar, say
    from workflows.errors import Interrupted
    from workflows.flows.server import check_server, server

    with server(Path(os.environ["PREFECT_HOME"]), _UNSETTLED.append) as local:
        with console.status("starting Prefect's server (a while longer the first time) ..."):
            if local is not None:
                os.environ["PREFECT_API_URL"] = local.url
                # A server on this machine that is gone stays gone: Prefect would ask it again for a minute, each time.
                os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", "2")
            from prefect.exceptions import TerminationSignal

            from workflows.flows.program import Watch, program_array

            if local is not None:
                local.wait(stop)
            else:
                check_server(os.environ["PREFECT_API_URL"])
        with progress_bar() as listen:
            watch = Watch(stop=stop, listener=listen, signals=stop.listening)
            # The folder's name was chosen when the job was checked; the flow must use the same.
            parameters = {**asdict(options), "run_id": "" if options.resume else job.folder.name}
            try:
                with watch.installed():
                    program_array(**parameters)
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


def _report(folder: Path, wall: float | None) -> None:
    from analysis.figures import programming as figures
    from analysis.programming import summarise
    from analysis.records import open_run
    from workflows.console import closing_table, console
    from workflows.tables import program_rows

    with open_run(folder) as run:
        closing_table(f"{run.header.run_id}: {run.world.upper()}, {run.status}", program_rows(summarise(run), wall))
        paths = figures.draw(run, folder / "figures") if wall is None else sorted((folder / "figures").glob("*.png"))
        console.print(f"records  {run.path}", highlight=False, soft_wrap=True)
    for path in paths:
        console.print(f"figure   {path}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
