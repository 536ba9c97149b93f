"""`ohmflow sweep`: a study by name or file, as a Prefect flow on a Dask cluster or in this process, and its page."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from analysis.sweeps.engine import Told
    from analysis.sweeps.study import Study

_DECLARED, PROVENANCE = "study.yaml", "provenance.json"


def add_to(app: typer.Typer) -> None:
    """Put the command into the command line."""
    app.command("sweep")(sweep)


def sweep(
    study: Annotated[str, typer.Argument(help="Study: a packaged one's name (--list), or a file.")] = "",
    folder: Annotated[
        str, typer.Option("-o", "--output", help="Folder of points, result and page; goes on there.")
    ] = "",
    workers: Annotated[int, typer.Option(help="Processes of the cluster on this machine; 0: one a core.")] = 0,
    scheduler: Annotated[
        str,
        typer.Option(
            help="Address of a Dask scheduler, tcp://host:8786; one that you trust: what it sends is run here."
        ),
    ] = "",
    direct: Annotated[bool, typer.Option("--direct", help="In this process, without Prefect and cluster.")] = False,
    model: Annotated[str, typer.Option(help="Network instead of the study's: a recipe or a file.")] = "",
    listed: Annotated[bool, typer.Option("--list", help="List the packaged studies.")] = False,
) -> None:
    """Sweep noise, devices, solvers and seeds; a finished point is never computed twice, after a kill either."""
    from workflows.console import print_table, show

    if listed:
        print_table("packaged studies", ("name", "what", "points"), list_studies())
        return
    from workflows.errors import RequestError

    if not study or not folder:
        raise RequestError("name a study and a folder: ohmflow sweep fig5f -o FOLDER; ohmflow sweep --list lists them")
    if workers < 0:
        raise RequestError(f"a cluster has one worker at least, not {workers}; 0 takes one a core")
    if direct and scheduler:
        raise RequestError("--direct measures in this process and --scheduler elsewhere: take one of them")
    path = study_file(study)
    loaded = load(path, model)
    where = Path(folder).expanduser()
    _begin(path, loaded, where)
    _run(loaded, where, workers or cores(), scheduler, direct)
    report(where)
    show(f"result   {where / 'study.h5'}")


def study_file(name: str) -> Path:
    """The file of a study: a packaged one by its name, or any file.

    Raises:
        RequestError: there is neither.
    """
    import sim_configs
    from workflows.errors import RequestError

    packaged = sim_configs.path("studies") / f"{name}.yaml"
    if "/" not in name and packaged.is_file():
        return packaged
    found = sim_configs.find(name)
    if not found.is_file():
        names = ", ".join(sorted(p.stem for p in sim_configs.path("studies").glob("*.yaml")))
        raise RequestError(f"there is no study {name!r}: name a study file, or one of {names}")
    return found


def load(path: Path, model: str = "") -> Study:
    """Read a study; its network is trained if it is a recipe that was not trained before."""
    from analysis.sweeps.study import load_study
    from workflows.commands import networks
    from workflows.console import console, show
    from workflows.procedures.studied_chips import ALL

    with console.status("finding the study's network ..."):
        return load_study(path, measurements=ALL, cache=Path(networks()), model=model, told=show)


def list_studies() -> list[tuple[str, str, str]]:
    """Name, title and number of points of every packaged study."""
    import math

    import yaml

    import sim_configs

    rows = []
    for path in sorted(sim_configs.path("studies").glob("*.yaml")):
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
        rows.append((path.stem, str(said["title"]), str(math.prod(len(v) for v in said["axes"].values()))))
    return rows


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def report(folder: Path) -> None:
    """Print what came of a finished study, and write its figures and page."""
    from analysis.sweeps.page import study_page, study_rows
    from analysis.sweeps.result import open_study
    from workflows.console import print_table, show

    result = open_study(folder)
    print_table(str(result.about["title"] or result.about["study"]), ("what", "found"), study_rows(result))
    page = study_page(folder)
    for picture in sorted((folder / "figures").glob("*.png")):
        show(f"figure   {picture}")
    show(f"report   {page}")


def _begin(path: Path, study: Study, folder: Path) -> None:
    """Keep the study's text and where it comes from; a folder has one study."""
    from instruments.clock import wall_time
    from workflows.errors import RequestError
    from workflows.procedures.session import provenance

    declared, kept = folder / _DECLARED, folder / PROVENANCE
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"{folder} is a file; name a folder for the study's points and result")
    before: dict[str, object] = {}
    if kept.is_file():
        before = json.loads(kept.read_text(encoding="utf-8"))
        if before.get("study") != study.name:
            raise RequestError(f"{folder} holds study {before.get('study')!r}, not {study.name!r}; take another folder")
    folder.mkdir(parents=True, exist_ok=True)
    if path.resolve() != declared.resolve():
        declared.write_bytes(path.read_bytes())
    packages, commit = provenance()
    said = {
        "study": study.name, "begun": before.get("begun", wall_time()), "went_on": wall_time(), "code": commit,
        "command": shlex.join(["ohmflow", *sys.argv[1:]]), "packages": packages,
    }  # fmt: skip
    kept.write_text(json.dumps(said, indent=1), encoding="utf-8")


def _run(study: Study, folder: Path, workers: int, scheduler: str, direct: bool) -> None:
    from workflows.console import phase_bars
    from workflows.errors import Interrupted

    try:
        with phase_bars() as hooks:
            told = _once_told(hooks.told)
            if direct:
                from analysis.sweeps.engine import run_study

                run_study(study, folder, told=told)
            else:
                _as_flow(study, folder, workers, scheduler, told)
    except KeyboardInterrupt as error:
        raise Interrupted(f"finished points are kept in {folder}; the same command goes on") from error


def _once_told(told: object) -> Told:
    """Progress of points for the console's bars."""
    assert callable(told)
    return lambda done, total: told("points", done, total)


def _as_flow(study: Study, folder: Path, workers: int, scheduler: str, told: Told) -> None:
    """Run the flow on the user's Prefect server or on one of our own, as every other command does."""
    from workflows.flows.environment import prepare
    from workflows.flows.server import check_server, server
    from workflows.running import UNSETTLED

    for name in ("PREFECT_LOGGING_LEVEL", "PREFECT_LOGGING_INTERNAL_LEVEL"):
        os.environ.setdefault(name, "CRITICAL")  # the study's folder says what is done, and errors reach the user
    prepare()
    if scheduler:
        from workflows.flows.cluster import check_address

        check_address(scheduler)
    with server(Path(os.environ["PREFECT_HOME"]), UNSETTLED.append) as local:
        if local is not None:
            os.environ["PREFECT_API_URL"] = local.url
            os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", "2")
        from prefect.exceptions import TerminationSignal

        from workflows.flows import sweep as flows

        if local is not None:
            local.wait()
        else:
            check_server(os.environ["PREFECT_API_URL"])
        try:
            flows.sweep(study, folder, address=scheduler, workers=workers, told=told)
        except TerminationSignal as error:
            raise KeyboardInterrupt from error
