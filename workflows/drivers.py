"""Commands about drivers: which there are, whether one does what its role asks, and the beginning of a new one."""

import json
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from instruments.station_file import StationFile

driver_app = typer.Typer(no_args_is_help=True, help="Drivers: list them, check one against its role, begin a new one.")

JsonOption = Annotated[bool, typer.Option("--json", help="For machines: JSON on stdout, nothing else.")]


def add_to(app: typer.Typer) -> None:
    """Put the commands into the command line."""
    app.add_typer(driver_app, name="driver")


@driver_app.command("list")
def list_drivers(as_json: JsonOption = False) -> None:
    """The drivers that a station file may name: ohmflow's and those of installed packages."""
    from instruments.drivers import Registered, everything
    from workflows.console import print_table, say

    found = everything()
    fine = [one for one in found if isinstance(one, Registered)]
    if as_json:
        rows = [
            {
                "name": one.name,
                "role": one.driver.role,
                "distribution": one.distribution,
                "capabilities": sorted(one.driver.capabilities),
                "options": sorted(one.driver.options),
                "about": one.driver.about,
            }
            for one in fine
        ]
        typer.echo(json.dumps({"drivers": rows, "problems": [one for one in found if isinstance(one, str)]}, indent=1))
        return
    table = [(one.name, one.driver.role, one.distribution, one.driver.about) for one in fine]
    print_table("drivers", ("name", "role", "from", "about"), table)
    for problem in found:
        if isinstance(problem, str):
            say(problem, "yellow")


@driver_app.command("check")
def check(
    station: Annotated[str, typer.Argument(help="Station file.")] = "station-twin.yaml",
    drive: Annotated[
        bool, typer.Option("--drive", help="Real instruments: also set, read and pulse, the sacrificial cell alone.")
    ] = False,
    role: Annotated[list[str] | None, typer.Option(help="Section to check, such as analyzer; default: all.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="A check by its name; default: all.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="With --drive: don't ask before the cell is driven.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check every driver of a station against what its role asks. Real instruments: drives and sets nothing by default.

    Exit code 2 if a check failed.
    """
    from instruments.conformance import Result, check_station
    from instruments.station_file import StationFile
    from workflows.console import ended_as_by_ctrl_c, print_table, show

    file = StationFile.load(station)
    real = not file.simulated
    if drive and real:
        _agree(file, yes)
    results: list[Result] = []
    with _ours(file), ended_as_by_ctrl_c():
        results = check_station(file, drive=drive, roles=tuple(role or ()), only=tuple(only or ()))
    counts = {verdict: sum(one.verdict == verdict for one in results) for verdict in ("passed", "failed", "skipped")}
    if as_json:
        told = {"station": file.name, "world": file.world, "drive": drive or not real, **counts}
        typer.echo(json.dumps({**told, "results": [asdict(one) for one in results]}, indent=1))
    else:
        show(f"station  {file.name} ({file.world})")
        for section in dict.fromkeys(one.role for one in results):
            mine = [one for one in results if one.role == section]
            rows = [(one.check, one.verdict, one.why) for one in mine]
            print_table(f"{section}: {mine[0].driver}", ("check", "", "what was seen, or why not"), rows)
        show(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    if counts["failed"]:
        raise typer.Exit(2)


def _ours(file: "StationFile") -> "AbstractContextManager[object]":
    """The station's instruments locked for as long as they are checked; a twin's checks have benches of their own."""
    import contextlib
    import getpass

    from workflows.procedures.holding import usual_locks

    if file.simulated:
        return contextlib.nullcontext()
    return usual_locks().acquire(file, run="driver check", owner=getpass.getuser())


def _agree(file: "StationFile", yes: bool) -> None:
    """Have a person agree to the sacrificial cell being driven.

    Raises:
        RequestError: there is no such cell, nobody to ask, or they don't.
    """
    import sys

    from workflows.errors import RequestError

    if file.sacrificial is None:
        raise RequestError(
            "--drive reads and pulses one cell: name one that may be lost in the station file, "
            "array: {sacrificial: [array, row, col]}"
        )
    if yes:
        return
    if not sys.stdin.isatty():
        raise RequestError("--drive asks before it drives a real cell; there is nobody to ask, so give --yes as well")
    for sentence in file.confirm:
        if not typer.confirm(f"{sentence} - is that so?"):
            raise RequestError("not confirmed; nothing was driven")
    cell = ", ".join(map(str, file.sacrificial))
    if not typer.confirm(f"Read and pulse cell [{cell}] of {file.name}, a real chip, with up to 0.4 V?"):
        raise RequestError("not confirmed; nothing was driven")


@driver_app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Name of the driver, as station files will say: acme-100.")],
    folder: Annotated[str, typer.Argument(help="Folder to write the package into; new or empty.")],
    role: Annotated[str, typer.Option(help="analyzer, oscilloscope, board or matrix.")] = "analyzer",
) -> None:
    """Write a package to fill in: driver, twin, station file, tests. How to: instruments/drivers.md."""
    from workflows.console import show
    from workflows.driver_template import write_package

    written = write_package(name, Path(folder), role)
    for path in written:
        show(f"written  {path}")
    show(f"next     cd {folder} && pip install --no-deps --no-build-isolation -e . && pytest")
