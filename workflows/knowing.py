"""Commands about knowledge rather than runs: a twin fitted to a chip, algorithms compared."""

import datetime
from pathlib import Path
from typing import Annotated

import typer

RunsOption = Annotated[str, typer.Option("--runs", help="Folder that runs are kept in.")]


def add_to(app: typer.Typer) -> None:
    """Put the commands into the command line."""
    for command in (fit, bench_verify):
        app.command(command.__name__.replace("_", "-"))(command)


def fit(
    run: Annotated[list[str], typer.Argument(help="Runs of one chip: pulses, noise, retention, programming, ...")],
    output: Annotated[str, typer.Option("-o", "--output", help="Device preset to write, .yaml.")] = "fitted.yaml",
    runs: RunsOption = "runs",
    base: Annotated[str, typer.Option(help="Preset that what the runs can't tell is taken from.")] = "cmo-hfox",
    twin: Annotated[list[str] | None, typer.Option(help="Runs on the fitted twin, to lay beside the chip's.")] = None,
    seed: Annotated[int, typer.Option(help="Of the sampling.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a preset that exists.")] = False,
) -> None:
    """Fit a twin to a chip: device constants with intervals, cell by cell where the data allow; a residual report."""
    from instruments.clock import wall_time
    from workflows.console import console, print_table, show
    from workflows.fitting import fit_runs
    from workflows.procedures.session import run_folder

    folders = [run_folder(Path(runs), name) for name in run]
    twins = [run_folder(Path(runs), name) for name in twin or ()]
    date = datetime.datetime.fromisoformat(wall_time()).date().isoformat()
    with console.status("fitting ...") as status:
        outcome = fit_runs(
            folders, Path(output), date=date, seed=seed, base=base, twin=twins, overwrite=overwrite,
            told=lambda phase: status.update(f"fitting: {phase} ..."),
        )  # fmt: skip
    print_table("fitted constants", ("what", "found"), outcome.rows())
    show(f"preset   {outcome.preset}  (use it by --preset {outcome.preset})")
    show(f"cells    {outcome.cells}")
    for picture in outcome.figures:
        show(f"figure   {picture}")
    show(f"report   {outcome.page}")


def bench_verify(
    algorithms: Annotated[str, typer.Option(help="Algorithms, with commas between them; all: every one.")] = "all",
    presets: Annotated[str, typer.Option(help="Device presets, with commas between them.")] = "cmo-hfox",
    cells: Annotated[int, typer.Option(help="Cells of each chip that are programmed.")] = 1024,
    seeds: Annotated[int, typer.Option(help="Chips of each preset.")] = 4,
    shares: Annotated[str, typer.Option(help="Verify shares; several give a trade-off curve.")] = "0.7",
    passes: Annotated[int, typer.Option(help="Times that everything is verified again.")] = 3,
    station: Annotated[str, typer.Option(help="Station file of a twin.")] = "station-twin.yaml",
    runs: RunsOption = "runs",
    run_id: Annotated[str, typer.Option(help="Name of the comparison; default: made from the time.")] = "",
) -> None:
    """Compare write-verify algorithms on the same simulated chips: yield over time, pulses, energy, time."""
    from workflows.console import StopOnSignal, phase_bars, show
    from workflows.procedures.controls import Controls
    from workflows.procedures.verify_bench import BenchVerifyOptions, bench_verify, prepare

    options = BenchVerifyOptions(
        algorithms=algorithms, presets=presets, cells=cells, seeds=seeds, shares=shares, passes=passes,
        station=station, runs=runs, run_id=run_id,
    )  # fmt: skip
    prepare(options)
    with StopOnSignal().listening() as stop, phase_bars() as hooks:
        table = bench_verify(options, Controls(stop=stop, told=hooks.told))
    show(table.text())
