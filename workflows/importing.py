"""Commands that bring files of elsewhere and of former times into today's layout: `import`, `migrate`."""

import re
from pathlib import Path
from typing import Annotated

import typer

RunsOption = Annotated[str, typer.Option("--runs", help="Folder that runs are kept in.")]


def add_to(app: typer.Typer) -> None:
    """Put the commands into the command line."""
    app.command("import")(import_files)
    app.command("migrate")(migrate_runs)


def import_files(
    file: Annotated[list[str], typer.Argument(help="ArC TWO's HDF5 files, EasyEXPERT's CSV exports; a run each.")],
    output: Annotated[
        str, typer.Option("-o", "--output", help="Name of the run; of one file only. Default: made from the file's.")
    ] = "",
    runs: RunsOption = "runs",
    chip: Annotated[str, typer.Option(help="Identity of the chip.")] = "",
    operator: Annotated[str, typer.Option("--operator", help="Who measured.")] = "",
    procedure: Annotated[
        str, typer.Option(help="What it was; iv: SET and RESET sweeps in turn are kept as an I-V run keeps them.")
    ] = "import",
    cell: Annotated[str, typer.Option(help="Row and column of the one device that a CSV file is about.")] = "0,0",
    set_polarity: Annotated[str, typer.Option(help="Sign of the pulses that set: positive or negative.")] = "positive",
    world: Annotated[str, typer.Option(help="real; simulated: the file came out of a simulation.")] = "real",
) -> None:
    """Make runs of other programs' files: for show, diff, validate, export, fit and report."""
    from workflows.console import show
    from workflows.errors import RequestError

    if output and len(file) > 1:
        raise RequestError(f"-o names one run, but {len(file)} files are given: leave it out, or import one at a time")
    place = re.fullmatch(r"\s*(\d{1,5})\s*,\s*(\d{1,5})\s*", cell)
    if place is None:
        raise RequestError(f"--cell {cell!r} is no cell: write row,col from 0, such as 3,17")
    for name in file:
        folder = import_one(
            Path(name), Path(runs), run_id=output, chip=chip, operator=operator, procedure=procedure,
            cell=(int(place[1]), int(place[2])), set_polarity=set_polarity, world=world,
        )  # fmt: skip
        show(f"imported {name}")
        show(f"run      {folder}")


def import_one(
    file: Path,
    runs: Path,
    *,
    run_id: str = "",
    chip: str = "",
    operator: str = "",
    procedure: str = "import",
    cell: tuple[int, int] = (0, 0),
    set_polarity: str = "positive",
    world: str = "real",
) -> Path:
    """Import one file; gives the run's folder.

    Args:
        file: the file.
        runs: folder that runs are kept in.
        run_id: of the run, or a path to it; empty: made from the file's name and content.
        chip: identity of the chip.
        operator: who measured.
        procedure: "import", "iv", or a name that no procedure of ours has.
        cell: (row, col) of a single device.
        set_polarity: "positive" or "negative".
        world: "real" or "simulated".

    Raises:
        RequestError: an option makes no sense.
        AnalysisError: the file can't be read or the run not written; nothing is there then.
    """
    import hashlib
    import shlex
    import sys
    from datetime import UTC, datetime

    from analysis.imports import About, read_foreign, write_run
    from workflows.errors import RequestError
    from workflows.procedures.registry import ENTRIES
    from workflows.procedures.session import provenance

    if set_polarity not in ("positive", "negative") or world not in ("real", "simulated"):
        raise RequestError(
            f"--set-polarity is positive or negative, --world real or simulated; not {set_polarity!r} and {world!r}"
        )
    if procedure != "iv" and (procedure in ENTRIES or not re.fullmatch(r"[a-z][a-z0-9-]{0,40}", procedure)):
        raise RequestError(
            f"--procedure {procedure!r}: an imported run is import, iv, or has a name that none of ohmflow's "
            "procedures has (small letters, digits, hyphens)"
        )
    if run_id and not re.fullmatch(r"[\w.-]{1,120}", Path(run_id).name):
        raise RequestError(f"{Path(run_id).name!r} can't name a run: use letters, digits, . _ and -")
    found = read_foreign(file)
    try:
        with file.open("rb") as content:
            sha256 = hashlib.file_digest(content, "sha256").hexdigest()
        stat = file.stat()
    except OSError as error:
        raise RequestError(f"can't read {file}: {error.strerror}") from error
    changed = datetime.fromtimestamp(stat.st_mtime, UTC).isoformat()
    stamp = re.sub(r"[^0-9T]", "", (found.started or changed)[:19])
    name = run_id or f"{stamp}-{procedure}-{re.sub(r'[^A-Za-z0-9.-]+', '-', file.stem).strip('-')[:40]}-{sha256[:4]}"
    folder = Path(name) if run_id and len(Path(run_id).parts) > 1 else runs / name
    packages, commit = provenance()
    about = About(
        file=_text(file.name), sha256=sha256, size=stat.st_size, started=changed, run_id=folder.name,
        procedure=procedure, chip=chip, operator=operator, command_line=_text(shlex.join(["ohmflow", *sys.argv[1:]])),
        world="real" if world == "real" else "simulated",
        set_polarity="positive" if set_polarity == "positive" else "negative", row=cell[0], col=cell[1],
        packages=packages, git_commit=commit, paths={"imported": _text(str(file.absolute()))},
    )  # fmt: skip
    return write_run(found, about, folder)


def _text(name: str) -> str:
    """A file's name as text that can be written: what is no UTF-8 in it by its codes."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def migrate_runs(
    run: Annotated[list[str], typer.Argument(help="Runs' folders or names, or run.h5 files.")],
    runs: RunsOption = "runs",
) -> None:
    """Write older run files anew in today's layout, with checksums; values stay to the last bit."""
    from analysis.records import layout, migrate
    from workflows.console import show
    from workflows.procedures.session import run_folder

    for name in run:
        path = Path(name) if Path(name).is_file() else run_folder(Path(runs), name)
        done = migrate(path)
        show(f"{name}: {f'is of layout version {layout.FORMAT} now' if done else 'is up to date'}")
