"""Commands that put runs on a page: `ohmflow report` and `ohmflow wafer`."""

import os
import shlex
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workflows.errors import RequestError

if TYPE_CHECKING:
    from analysis.records import RunFile
    from analysis.reporting.document import Found, RunPart

RunsOption = Annotated[str, typer.Option("--runs", help="Folder that runs are kept in.")]
STUDY = "study.h5"
"""What a study's folder holds."""


def add_to(app: typer.Typer) -> None:
    """Put the commands into the command line."""
    app.command("report")(report)
    app.command("wafer")(wafer)


def report(
    run: Annotated[list[str], typer.Argument(help="Runs, run files, folders of runs, or a study's folder.")],
    output: Annotated[str, typer.Option("-o", "--output", help="Page to write; default: report.html.")] = "",
    pdf: Annotated[bool, typer.Option("--pdf", help="Print it, too, with a browser of this computer.")] = False,
    runs: RunsOption = "runs",
) -> None:
    """Put runs or a study on one page for people: outcome, figures, costs, provenance, how to make it again."""
    from workflows.browser import find_browser, print_pdf
    from workflows.console import console, show

    browser = find_browser() if pdf else None  # a missing one is told before the work
    files, studies = gathered(run, Path(runs))
    page = _output(output, files, studies)
    with console.status("reading ...") as status:
        parts = []
        for k, path in enumerate(files, 1):
            status.update(f"run {k} of {len(files)}: {path.parent.name} ...")
            parts.append(part_of(path))
        write_page(page, _page(parts, studies))
    for one in parts:
        show(f"{one.run_id}: {one.headline}")
    show(f"report   {page}")
    if browser is not None:
        show(f"pdf      {print_pdf(page, page.with_suffix('.pdf'), browser)}")


def _page(parts: "Sequence[RunPart]", studies: Sequence[Path]) -> str:
    from analysis.reporting.document import report_page
    from analysis.reporting.studies import study_section

    sections = []
    for folder in studies:
        with tempfile.TemporaryDirectory(prefix="ohmflow-") as scratch:
            sections.append(study_section(folder, Path(scratch)))
    return report_page(parts, sections)


def gathered(names: Sequence[str], runs: Path) -> tuple[list[Path], list[Path]]:
    """Run files and study folders that names stand for, each once, in their order.

    Raises:
        RequestError: a name stands for nothing.
    """
    from analysis.records import layout

    files: list[Path] = []
    studies: list[Path] = []
    for name in names:
        path = Path(name).expanduser()
        if path.is_file() and path.name == STUDY:
            studies.append(path.parent)
        elif path.is_file() and path.name != layout.JOURNAL:
            files.append(path)
        elif (path / STUDY).is_file():
            studies.append(path)
        else:
            files += _runs_of(path, name, runs)
    return _each_once(files), _each_once(studies)


def _each_once(paths: Sequence[Path]) -> list[Path]:
    return list({path.resolve(): path for path in reversed(paths)}.values())[::-1]


def _runs_of(path: Path, name: str, runs: Path) -> list[Path]:
    from analysis.records import layout
    from workflows.procedures.session import run_folder

    try:
        folder = run_folder(runs, name)
    except RequestError:
        below = sorted(path.glob("**/" + layout.FINAL)) if path.is_dir() else []
        if not below:
            raise
        return below
    return [file_of(folder)]


def file_of(folder: Path) -> Path:
    """The file of a run's folder that tells more.

    Raises:
        AnalysisError: it has none.
    """
    from analysis.records import open_run

    with open_run(folder) as opened:
        return opened.path


def _output(asked: str, files: Sequence[Path], studies: Sequence[Path]) -> Path:
    """Where the page goes: beside a single run, else into this folder; nothing that is no page is written over."""
    if not asked:
        alone = [*(file.parent for file in files), *studies]
        return alone[0] / "report.html" if len(alone) == 1 else Path("report.html")
    page = Path(asked).expanduser()
    if page.suffix.lower() not in (".html", ".htm"):
        raise RequestError(f"the report is a page: --output {asked!r} must end in .html")
    if not page.parent.is_dir():
        raise RequestError(f"--output {asked!r}: there is no folder {page.parent}")
    return page


def write_page(page: Path, html: str) -> None:
    """Write a page whole or not at all.

    Raises:
        RequestError: it can't be written.
    """
    temporary = page.with_name(f".{page.name}.{os.getpid()}")
    try:
        temporary.write_text(html, encoding="utf-8")
        os.replace(temporary, page)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RequestError(f"can't write {page}: {error.strerror}; name another place by --output") from error


def part_of(path: Path) -> "RunPart":
    """A run's report from its file alone: nothing beside the file is read, and nothing is written beside it.

    Raises:
        AnalysisError: the file can't be read.
    """
    from analysis.records import open_run
    from analysis.records.guard import damage_told
    from analysis.reporting.document import run_part

    with open_run(path) as run, damage_told(run.path), tempfile.TemporaryDirectory(prefix="ohmflow-") as scratch:
        return run_part(run, find_out(run, Path(scratch)))


def find_out(run: "RunFile", scratch: Path) -> "Found":
    """Everything that the report says of a run beyond its header; figures are drawn into `scratch`."""
    from analysis.errors import AnalysisError
    from analysis.reporting.document import Found
    from analysis.reporting.provenance import sha256
    from workflows.again import again
    from workflows.measures import measures
    from workflows.procedures.registry import ENTRIES, procedure

    name = run.header.procedure
    how, checksum = again(run.header), sha256(run.path)
    common = measures("program")(run)  # costs, and yield where cells were programmed
    if name not in ENTRIES:
        return Found([], common, (), how, checksum, trouble=f"this version knows no procedure {name}")
    if name in ("circle", "generate"):
        from analysis.reporting.solved import shortened, solved

        solution = solved(run)
        if solution is not None:
            pictures = solution.draw(run, scratch / "figures")
            return Found(
                shortened(solution.outcome), {**common, **solution.measures}, tuple(pictures), how, checksum,
                solution.headline, solution,
            )  # fmt: skip
    found = procedure(name)
    try:
        rows = [(f"twin only: {row.name}" if row.of == "twin" else row.name, row.value) for row in found.rows(run)]
        _drawn_apart(run, found.report, scratch)
    except AnalysisError as error:  # it ended before there was anything to sum up
        return Found([], common, (), how, checksum, trouble=str(error))
    return Found(rows, common, tuple(sorted((scratch / "figures").glob("*.png"))), how, checksum)


def _drawn_apart(run: "RunFile", draw: "object", scratch: Path) -> None:
    """Draw a run's figures in another folder than its own, which may be only to be read."""
    assert callable(draw)
    other = scratch / run.path.name
    try:
        os.link(run.path.resolve(), other)
    except OSError:  # another disk
        shutil.copyfile(run.path, other)
    draw(scratch)


def wafer(
    run: Annotated[
        list[str] | None, typer.Argument(help="Runs or folders of runs; default: the folder of runs.")
    ] = None,
    output: Annotated[str, typer.Option("-o", "--output", help="Page to write.")] = "wafer.html",
    chip: Annotated[str, typer.Option(help="Only of this chip.")] = "",
    rate: Annotated[float, typer.Option(help="False discovery rate of all patterns together.")] = 0.05,
    pulses: Annotated[int, typer.Option(help="Name cells that have had so many pulses; 0: none.")] = 0,
    pdf: Annotated[bool, typer.Option("--pdf", help="Print it, too, with a browser of this computer.")] = False,
    runs: RunsOption = "runs",
) -> None:
    """Yield, statistics, patterns and stress of cells, rows, columns, arrays and chips, out of any runs."""
    import sys

    from analysis.stress import StressLimits
    from analysis.wafer.collect import collect
    from analysis.wafer.figures import draw_view
    from analysis.wafer.page import wafer_page, wafer_rows
    from analysis.wafer.statistics import views
    from workflows.browser import find_browser, print_pdf
    from workflows.console import closing_table, console, show
    from workflows.tables import Row

    browser = find_browser() if pdf else None
    names = run or [runs]
    files, _ = gathered(names, Path(runs))
    page = _output(output, files, ())
    with console.status("reading ..."), tempfile.TemporaryDirectory(prefix="ohmflow-") as scratch:
        gathered_maps = collect(files, chip)
        found = views(gathered_maps, rate=rate)
        limits = StressLimits(pulses=pulses or None)
        beyond = [one for ledger in gathered_maps.ledgers for one in ledger.reached(limits)]
        worlds = "SIMULATED (twin)" if gathered_maps.worlds == ("simulated",) else " and ".join(gathered_maps.worlds)
        note = f"{worlds} · {len(gathered_maps.runs)} runs"
        pictures = {view.quantity.name: draw_view(view, Path(scratch), note) for view in found}
        again = shlex.join(["ohmflow", *sys.argv[1:]])
        write_page(page, wafer_page(gathered_maps, found, pictures, rate=rate, beyond=beyond, again=again))
    closing_table("wafer", [Row(name, value) for name, value in wafer_rows(gathered_maps, found, beyond)])
    show(f"report   {page}")
    if browser is not None:
        show(f"pdf      {print_pdf(page, page.with_suffix('.pdf'), browser)}")
