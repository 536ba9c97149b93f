"""The command that shows runs in the browser."""

from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Put the command into the command line."""
    app.command("view")(view)


def view(
    what: Annotated[
        str, typer.Argument(metavar="[RUN | FOLDER]", help="A run's folder or name, or a folder with runs.")
    ] = "",
    runs: Annotated[str, typer.Option("--runs", help="Folder that runs are kept in.")] = "runs",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the pages; 0: any free one.")] = 0,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but this computer's own lets others look.")
    ] = "127.0.0.1",
    browser: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Show runs in the browser, while they write and ever after; Ctrl-C ends it."""
    from workflows.console import show
    from workflows.looking import database_of
    from workflows.procedures.holding import usual_locks
    from workflows.view.places import Place
    from workflows.view.server import serve

    place = Place.of(what, Path(runs))
    shown = f"run {place.only}" if place.only else f"the runs in {place.root}"
    if host not in ("127.0.0.1", "localhost"):
        show(f"warning: whoever reaches {host} can look at these runs; nobody is asked for a password")
    serve(
        place, database=database_of(place.root), locks=usual_locks().folder, host=host, port=port, browser=browser,
        told=lambda url: show(f"{shown}: {url}  (Ctrl-C ends it)"),
    )  # fmt: skip
