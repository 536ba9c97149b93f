"""`ohmflow`: the command line. Imports are late, so that `ohmflow --help` is quick and Prefect finds its settings."""

import os
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workflows.flows.environment import state_folder

if TYPE_CHECKING:
    from workflows.procedures.circle_job import CircleOptions
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
def circle(
    ctx: typer.Context,
    samples: Annotated[int, typer.Option(help="Solutions to sample.")] = 1000,
    uncalibrated: Annotated[int, typer.Option(help="Solutions to sample before the offsets are calibrated.")] = 200,
    calibration_rounds: Annotated[int, typer.Option(help="Rounds of offset calibration; 0: none.")] = 2,
    recipe: Annotated[str, typer.Option(help="Training: hardware, quick, paper-short or paper.")] = "hardware",
    seed: Annotated[int, typer.Option(help="Of the training and of the initial states.")] = 1,
    window: Annotated[str, typer.Option(help="Half width of the programming window.")] = "1 uS",
    points: Annotated[int, typer.Option(help="Oscilloscope samples a solution.")] = 2000,
    station: StationOption = "station-twin.yaml",
    runs: RunsOption = "runs",
    run_id: Annotated[str, typer.Option(help="Name of the run; default: made from the time.")] = "",
    bench: Annotated[str, typer.Option(help="Twin: directory of its chips; 'none' forgets the chip afterwards.")] = "",
    chip: Annotated[str, typer.Option(help="Twin: seed that names the chip in the socket.")] = "",
    preset: Annotated[str, typer.Option(help="Twin: device preset.")] = "",
    fresh: Annotated[bool, typer.Option("--fresh", help="Twin: draw the chip anew.")] = False,
    baseline: Annotated[bool, typer.Option(help="Measure the digital baseline on this computer.")] = True,
    operator: Annotated[str, typer.Option(help="Who runs it, for the record.")] = "",
    resume: Annotated[str, typer.Option(help="Go on with a run that was interrupted.")] = "",
    direct: Annotated[bool, typer.Option("--direct", help="Without Prefect.")] = False,
) -> None:
    """Train, program, calibrate and sample a circle out of noise (the paper's Fig. 3), and report it."""
    from instruments.quantity import to_si
    from workflows.procedures.circle_job import CircleOptions

    if resume:
        _refuse_with_resume(ctx)
    options = CircleOptions(
        samples=samples, uncalibrated=uncalibrated, calibration_rounds=calibration_rounds, recipe=recipe, seed=seed,
        tolerance=to_si(window, "S", what="--window"), points=points, station=station, runs=runs, run_id=run_id,
        bench=_bench(bench, station, resume), chip=chip, preset=preset, fresh=fresh, cache=_networks(),
        baseline=baseline, operator=operator, resume=resume, command_line=shlex.join(["ohmflow", *sys.argv[1:]]),
    )  # fmt: skip
    _circle(options, direct)


@app.command()
def demo(
    runs: RunsOption = "runs",
    direct: Annotated[bool, typer.Option("--direct", help="Without Prefect.")] = False,
) -> None:
    """The whole experiment on a fresh chip of the embedded twin: `ohmflow circle` with its defaults."""
    from workflows.procedures.circle_job import CircleOptions

    bench = str(state_folder() / "benches" / "demo")
    line = shlex.join(["ohmflow", *sys.argv[1:]])
    _circle(CircleOptions(runs=runs, bench=bench, chip="1", fresh=True, cache=_networks(), command_line=line), direct)


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
) -> None:
    """Serve the laboratory: pages in the browser, runs by hand and by the clock; Ctrl-C stops it in order."""
    import sim_configs
    from workflows.flows.service import serve as run_service

    run_service(sim_configs.find(schedule) if schedule else None, home=state_folder() / "service", port=port)


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
    from workflows.procedures.session import run_folder

    _report(run_folder(Path(runs), run), None)


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


def _refuse_with_resume(ctx: typer.Context) -> None:
    """A resumed run goes on as it began; what would change that is refused rather than passed over."""
    from workflows.errors import RequestError

    allowed = ("resume", "runs", "bench", "operator", "direct")
    for name in ctx.params:
        source = ctx.get_parameter_source(name)
        if name not in allowed and source is not None and source.name == "COMMANDLINE":
            raise RequestError(
                f"--{name.replace('_', '-')} can't be given with --resume: a resumed run goes on as its record says"
            )


def _networks() -> str:
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


def _program(job: "ProgramJob", options: "ProgramOptions", direct: bool) -> None:
    from workflows.console import Hooks, programming_bar, show
    from workflows.running import execute

    def directly(*, hooks: Hooks, **rest: Any) -> Path:
        return job.run(listener=hooks.listener, **rest)

    show(f"station {job.station.name} ({job.station.world}), run {job.folder}")
    # The folder's name was chosen when the job was checked; the flow must use the same.
    parameters = {**asdict(options), "run_id": "" if options.resume else job.folder.name}
    flow = "workflows.flows.program:program_array"
    _report(job.folder, execute(job, "program", flow, parameters, directly, programming_bar, direct=direct))


def _circle(options: "CircleOptions", direct: bool) -> None:
    from workflows.console import Hooks, phase_bars, show
    from workflows.procedures.circle_job import CircleJob
    from workflows.running import execute

    job = CircleJob.prepare(options)

    def directly(*, hooks: Hooks, **rest: Any) -> Path:
        return job.run(listener=hooks.listener, told=hooks.told, **rest)

    show(f"station {job.station.name} ({job.station.world}), run {job.folder}")
    parameters = {**asdict(options), "run_id": "" if options.resume else job.folder.name}
    flow = "workflows.flows.circle:solve_circle"
    _report(job.folder, execute(job, "circle", flow, parameters, directly, phase_bars, direct=direct))


def _report(folder: Path, wall: float | None) -> None:
    """Print what a run achieved; without `wall` also draw its figures and pages again."""
    from analysis.figures import programming as figures
    from analysis.programming import summarise
    from analysis.records import open_run
    from workflows.console import closing_table, show
    from workflows.tables import circle_rows, program_rows

    with open_run(folder) as run:
        title = f"{run.header.run_id}: {run.world.upper()}, {run.status}"
        circle_judged = False
        if run.header.procedure == "circle":
            from analysis.circle import has_samples

            circle_judged = has_samples(run)
        if circle_judged:
            from analysis.circle import summarise_circle
            from analysis.circle_cost import circle_cost
            from analysis.report import report_circle

            summary = summarise_circle(run)
            closing_table(title, circle_rows(summary, circle_cost(run, summary), wall))
            if wall is None:
                report_circle(run, folder)
        else:
            closing_table(title, program_rows(summarise(run), wall))
            if wall is None:
                figures.draw(run, folder / "figures")
        show(f"records  {run.path}")
    for path in sorted((folder / "figures").glob("*.png")):
        show(f"figure   {path}")
    if (folder / "report.html").is_file():
        show(f"report   {folder / 'report.html'}")


if __name__ == "__main__":
    main()
