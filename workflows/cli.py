"""`ohmflow`: the command line. Imports are late, so that `ohmflow --help` is quick and Prefect finds its settings."""

import getpass
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from workflows import benching, drivers, importing, knowing, reporting, sweeping, tapes, viewing
from workflows.commands import CharacteriseGroup, LazyGroup
from workflows.flows.environment import state_folder

app = typer.Typer(
    name="ohmflow", cls=LazyGroup, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="Run a resistive-memory laboratory, or its twin: program arrays, sample, record, look.",
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip
station_app = typer.Typer(no_args_is_help=True, help="Look at a station.")
app.add_typer(station_app, name="station")

characterise_app = typer.Typer(cls=CharacteriseGroup, no_args_is_help=True, help="Measure devices.")
app.add_typer(characterise_app, name="characterise")

StationOption = Annotated[str, typer.Option("--station", help="Station file; packaged ones are found from any folder.")]
RunsOption = Annotated[str, typer.Option("--runs", help="Folder that runs are kept in.")]
RunArgument = Annotated[str, typer.Argument(help="A run's folder, or its name.")]
ByOption = Annotated[str, typer.Option("--operator", help="Who asks; default: your user name.")]
RemarkOption = Annotated[str, typer.Option(help="What else to say, for the record.")]


def main() -> None:
    """Entry point: errors that a person can mend are one sentence and exit code 2."""
    code = _run()
    running = sys.modules.get("workflows.running")
    if running is not None and running.UNSETTLED:
        # Prefect would try each event it could not hand over for seconds, for minutes in all, before it let us go.
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)
    sys.exit(code)


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
def demo(
    runs: RunsOption = "runs",
    direct: Annotated[bool, typer.Option("--direct", help="Without Prefect.")] = False,
) -> None:
    """The whole experiment on a fresh chip of the embedded twin: `ohmflow circle` with its defaults."""
    from workflows.commands import networks, run
    from workflows.procedures.circle_job import PROCEDURE
    from workflows.procedures.circle_options import CircleOptions

    bench = str(state_folder() / "benches" / "demo")
    line = shlex.join(["ohmflow", *sys.argv[1:]])
    options = CircleOptions(runs=runs, bench=bench, chip="1", fresh=True, cache=networks(), command_line=line)
    run(PROCEDURE, options, direct=direct)


@app.command()
def plan(
    week: Annotated[str, typer.Argument(help="Stations, instruments, operators, jobs.")] = "week-example.yaml",
    runs: RunsOption = "runs",
    seed: Annotated[int, typer.Option(help="Of the simulated weeks.")] = 0,
    repeats: Annotated[int, typer.Option(help="Weeks to simulate.")] = 400,
    picture: Annotated[str, typer.Option(help="Where the Gantt picture goes.")] = "plan.png",
) -> None:
    """Forecast the queue: when each job starts and ends (P10 to P90), what is busy, what waits for what."""
    import sim_configs
    from workflows.console import print_table, show
    from workflows.planning import plan as forecast
    from workflows.planning.gantt import draw
    from workflows.planning.tables import tables

    found = forecast(sim_configs.find(week), Path(runs), seed, repeats)
    for table in tables(found):
        print_table(table.title, table.columns, table.rows)
    show(f"figure   {draw(found, Path(picture))}")


@app.command()
def serve(
    schedule: Annotated[str, typer.Option(help="Schedule file: what runs by the clock; default: by hand only.")] = "",
    port: Annotated[int, typer.Option(help="Of the pages and the API, on 127.0.0.1; 0: any free one.")] = 4200,
    database: Annotated[str, typer.Option(
        envvar="OHMFLOW_DATABASE", help="postgresql+asyncpg://... for Prefect's records; default: a file."
    )] = "",
) -> None:  # fmt: skip
    """Serve the laboratory: pages in the browser, runs by hand and by the clock; Ctrl-C stops it in order."""
    import sim_configs
    from workflows.flows.service import serve as run_service

    found = sim_configs.find(schedule) if schedule else None
    run_service(found, home=state_folder() / "service", port=port, database=database)


@app.command()
def deploy(
    schedule: Annotated[str, typer.Option(help="Schedule file; default: flows by hand only.")] = "",
) -> None:
    """Put the flows on a Prefect server of your own, the one that PREFECT_API_URL names."""
    import sim_configs
    from workflows.flows.environment import prepare

    prepare()  # before Prefect is first imported
    from workflows.flows.deploy import deploy as register

    register(sim_configs.find(schedule) if schedule else None)


@app.command()
def work(
    schedule: Annotated[str, typer.Option(help="Schedule file, for its section notify.")] = "",
) -> None:
    """Do the runs that the Prefect server at PREFECT_API_URL hands out: a worker, beside the instruments."""
    import sim_configs
    from workflows.flows.environment import prepare

    prepare()
    from workflows.flows.deploy import work as become_worker

    become_worker(sim_configs.find(schedule) if schedule else None)


@app.command()
def locks() -> None:
    """Print who has which instrument, and who waits for it."""
    from workflows.console import show
    from workflows.locking import status
    from workflows.procedures.holding import usual_locks

    found = status(usual_locks().folder)
    for info in found:
        show(str(info))
    if not found:
        show("no instrument was ever taken")


@app.command()
def summary(
    run: Annotated[str, typer.Argument(help="A run's folder, its name, or its run.h5.")],
    runs: RunsOption = "runs",
) -> None:
    """Print a run's closing table and draw its figures again, from its file alone."""
    from workflows.commands import report
    from workflows.procedures.session import run_folder

    report(run_folder(Path(runs), run), None)


@app.command()
def resume(
    run: RunArgument,
    runs: RunsOption = "runs",
    by: ByOption = "",
    direct: Annotated[bool, typer.Option("--direct", help="Without Prefect.")] = False,
) -> None:
    """Go on with a run: one that is paused in another process, or one that was interrupted or killed."""
    from workflows.commands import networks
    from workflows.commands import run as carry_out
    from workflows.console import show
    from workflows.procedures import orders
    from workflows.procedures.registry import procedure
    from workflows.procedures.session import procedure_of, run_folder

    folder = run_folder(Path(runs), run)
    if orders.standing(folder).get("state") == "paused":
        orders.give(folder, orders.Order("go", by or getpass.getuser()))
        show(f"run {folder} goes on in its process")
        return
    found = procedure(procedure_of(folder))
    line = shlex.join(["ohmflow", *sys.argv[1:]])
    filled = {"cache": networks()} if "cache" in found.elsewhere else {}
    options = found.options(resume=str(folder), runs=runs, operator=by, command_line=line, **filled)
    carry_out(found, options, direct=direct)


@app.command()
def pause(run: RunArgument, runs: RunsOption = "runs", by: ByOption = "", remark: RemarkOption = "") -> None:
    """Have a run stop between two pulses, with safe outputs and free instruments, and wait to go on."""
    _order("pause", run, runs, by, remark, "pauses after this pulse; go on with: ohmflow resume {}")


@app.command()
def abort(run: RunArgument, runs: RunsOption = "runs", by: ByOption = "", remark: RemarkOption = "") -> None:
    """Have a run end between two pulses, with safe outputs."""
    _order("abort", run, runs, by, remark, "ends after this pulse; its records are kept")


@app.command()
def answer(
    run: RunArgument,
    operator: Annotated[str, typer.Option(help="Who did it; for the record.")],
    runs: RunsOption = "runs",
    remark: RemarkOption = "",
) -> None:
    """Say that what a run asks a person for is done."""
    _order("answer", run, runs, operator, remark, "goes on")


def _order(kind: str, run: str, runs: str, by: str, remark: str, told: str) -> None:
    from workflows.console import show
    from workflows.procedures import orders
    from workflows.procedures.session import run_folder

    folder = run_folder(Path(runs), run)
    orders.give(folder, orders.Order(kind, by or getpass.getuser(), remark))
    show(f"run {folder} {told.format(shlex.quote(str(folder)))}")


@app.command()
def salvage(
    run: Annotated[str, typer.Argument(help="Folder or name of a run that was killed.")],
    runs: RunsOption = "runs",
) -> None:
    """Make a readable run file out of what a killed run left."""
    from analysis.records import salvage as rescue
    from workflows.console import show
    from workflows.procedures.session import run_folder

    report = rescue(run_folder(Path(runs), run))
    show(f"{report.run_id}: {report.world.upper()}, {report.status}")
    show(f"{report.records} records, {report.events} events, {report.finished} cells with a verdict")
    for doubt in report.in_doubt:
        show(f"in doubt: a {doubt.kind} pulse on cell {doubt.cell}; nobody saw whether it was given")
    if report.torn or report.damaged:
        show(f"lost: {len(report.damaged)} damaged lines of the journal, {report.torn} bytes of an unfinished one")
    for scope, number in report.lost_captures:
        show(f"lost: the codes of capture {number} of {scope}")
    show(f"records  {report.path}{'' if report.rebuilt else '  (was whole already)'}")


@app.command()
def runs(
    folder: Annotated[str, typer.Argument(help="Folder with runs, at any depth.")] = "runs",
    chip: Annotated[str, typer.Option(help="Only of this chip.")] = "",
    procedure: Annotated[str, typer.Option(help="Only of this procedure, such as program.")] = "",
    status: Annotated[str, typer.Option(help="Only those that ended so: completed, failed, killed, ...")] = "",
    since: Annotated[str, typer.Option(help="Only those begun then or later: 2031-05-07, 2031-05-07T14:30.")] = "",
    until: Annotated[str, typer.Option(help="Only those begun before; of a date, that day is included.")] = "",
    where: Annotated[list[str] | None, typer.Option(help="Parameter, such as window=1e-6 (SI); repeatable.")] = None,
    metric: Annotated[list[str] | None, typer.Option(help="Metric, such as 'inside>0.98'; repeatable.")] = None,
    text: Annotated[str, typer.Option(help="Words in names, command line, notes, phases.")] = "",
    limit: Annotated[int, typer.Option(help="At most so many, the latest first; 0: all.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Everything known of them, as JSON.")] = False,
) -> None:
    """List the runs in a folder, the latest first; every condition given must hold."""
    from workflows.looking import list_runs

    list_runs(
        Path(folder), as_json=as_json, chip=chip, procedure=procedure, status=status, since=since, until=until,
        where=tuple(where or ()), metric=tuple(metric or ()), text=text, limit=limit,
    )  # fmt: skip


@app.command()
def show(run: RunArgument, runs: RunsOption = "runs") -> None:
    """Print what a run is: header, parameters, instruments, phases, notes, and what came of it."""
    from workflows.looking import show_run

    show_run(Path(runs), run)


@app.command()
def diff(
    first: RunArgument,
    second: RunArgument,
    runs: RunsOption = "runs",
    tolerance: Annotated[str, typer.Option(help="Conductance difference that counts; default: the runs' own.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Print what differs between two runs: parameters, station, versions, conductances, metrics with intervals."""
    from instruments.quantity import to_si
    from workflows.looking import compare_runs

    counts = to_si(tolerance, "S", what="--tolerance") if tolerance else None
    compare_runs(Path(runs), first, second, tolerance=counts, as_json=as_json)


@app.command()
def validate(
    files: Annotated[list[str], typer.Argument(help="Run files, or runs' folders or names.")],
    runs: RunsOption = "runs",
) -> None:
    """Check run files: structure, units, NeXus attributes, values, the journal beside them; exit code 2 if wrong."""
    from workflows.looking import check_files

    if not check_files(files, Path(runs)):
        raise typer.Exit(2)


@app.command()
def export(
    run: RunArgument,
    out: Annotated[str, typer.Option("-o", "--out", help="Folder that the files go into.")],
    form: Annotated[str, typer.Option("--format", help="csv, or parquet (needs pyarrow).")] = "csv",
    runs: RunsOption = "runs",
) -> None:
    """Write a run's events, cells and maps as tables for other programs."""
    from workflows.looking import export_run

    export_run(Path(runs), run, Path(out), form)


@station_app.command("check")
def station_check(
    station: Annotated[str, typer.Argument(help="Station file.")] = "station-twin.yaml",
) -> None:
    """Open a station, ask every instrument who it is, close it. Drives nothing."""
    from instruments.station import Station
    from instruments.station_file import StationFile
    from workflows.console import show

    file = StationFile.load(station)
    with Station.open(file) as opened:
        arrays, rows, cols = file.shape
        show(f"{file.name}: {file.world}, {arrays} arrays of {rows}x{cols} cells, {file.visa}")
        for identity in opened.identities:
            show(f"  {identity.role}: {identity.idn}  ({identity.resource})")


knowing.add_to(app)
importing.add_to(app)
sweeping.add_to(app)
reporting.add_to(app)
benching.add_to(app)
tapes.add_to(app)
viewing.add_to(app)
drivers.add_to(app)


if __name__ == "__main__":
    main()
