"""`ohmflow`: the command line. Imports are late, so that `ohmflow --help` is quick and Prefect finds its settings."""

import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workflows.flows.environment import prepare, state_folder

if TYPE_CHECKING:
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
    from workflows.console import errors
    from workflows.errors import USER_ERRORS, Interrupted

    try:
        app(standalone_mode=True)
    except Interrupted as error:
        errors.print(f"interrupted: {error}", style="yellow", markup=False, highlight=False, soft_wrap=True)
        sys.exit(130)
    except USER_ERRORS as error:
        errors.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        for note in getattr(error, "__notes__", []):
            errors.print(f"also: {note}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        errors.print("interrupted", style="yellow")
        sys.exit(130)


@app.command()
def program(
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


def _bench(given: str, station: str, resume: str) -> str:
    """A twin keeps its chips between commands, unless told not to."""
    if given == "none":
        return ""
    if given or resume:
        return given
    from instruments.station_file import StationFile

    file = StationFile.load(station)
    return str(state_folder() / "benches" / file.name) if file.simulated else ""


def _program(job: "ProgramJob", options: "ProgramOptions", direct: bool) -> None:
    from instruments.clock import stopwatch
    from workflows.console import StopOnSignal, console, progress_bar

    console.print(f"station {job.station.name} ([bold]{job.station.world}[/]), run {job.folder}")
    started = stopwatch()
    with StopOnSignal() as stop:
        if direct:
            with progress_bar() as listen:
                job.run(stop=stop, listener=listen)
        else:
            _as_flow(job, options, stop)
    _report(job.folder, stopwatch() - started)


def _as_flow(job: "ProgramJob", options: "ProgramOptions", stop: Callable[[], bool]) -> None:
    """Run the job as a Prefect flow, on the user's server or on one of our own."""
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")  # the run's own records say what went wrong
    prepare()
    from workflows.console import console, progress_bar
    from workflows.flows.server import server

    with server(Path(os.environ["PREFECT_HOME"])) as local:
        if local is not None:
            with console.status("starting Prefect's server (a while longer the first time) ..."):
                os.environ["PREFECT_API_URL"] = local.wait()
        from workflows.flows.program import WATCH, program_array

        with progress_bar() as listen:
            WATCH.stop, WATCH.listener = stop, listen
            # The folder's name was chosen when the job was checked; the flow must use the same.
            parameters = {**asdict(options), "run_id": "" if options.resume else job.folder.name}
            program_array(**parameters)


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
