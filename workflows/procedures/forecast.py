"""A dry run: what a job will take, by doing it on twins first; kept, so that the run itself can say how good it was.

Every dry run is the job itself on a chip of its own, so that adaptive procedures are foretold like any other. For a
real station the twins take its limits and its way of reading, on the packaged bench.
"""

import multiprocessing
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml

from analysis.forecast import Forecast, Spent, foretell, spent
from analysis.records import open_run
from instruments.station_file import StationFile
from instruments.strict_yaml import parse_yaml
from workflows.errors import Interrupted, RequestError
from workflows.procedures.controls import Controls
from workflows.procedures.job import Job
from workflows.procedures.registry import procedure

FIRST_CHIP = 910_001
"""Seed of the first dry run's chip: far from those that people name."""
MOST = 200


def dry_run(job: Job[Any, Any], repeats: int, controls: Controls, processes: int | None = None) -> Forecast:
    """Do a job on `repeats` chips drawn anew; nothing of the station is touched.

    Args:
        job: checked; a resumed one can't be foretold.
        repeats: dry runs.
        controls: `stop` and `told` are heeded.
        processes: at once; default: one a core.

    Raises:
        RequestError: too few or too many, a resumed job, or one that twins can't do.
        Interrupted: stopped; nothing is kept.
    """
    if not 2 <= repeats <= MOST:
        raise RequestError(f"a dry run needs 2..{MOST} repeats, not {repeats}")
    if job.options.resume:
        raise RequestError("a resumed run can't be foretold; foretell the whole run with its own options")
    name = job.procedure.name
    done: list[dict[str, Spent]] = []
    with tempfile.TemporaryDirectory(prefix="ohmflow-dry-") as folder:
        options = asdict(_on_a_twin(job, Path(folder)))
        count = min(processes or os.cpu_count() or 1, repeats)
        with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
            waiting = [pool.submit(_once, name, {**options, "chip": str(FIRST_CHIP + i)}) for i in range(repeats)]
            controls.told("dry runs", 0, repeats)  # the first may take a minute
            try:
                for one in as_completed(waiting):
                    done.append(one.result())
                    controls.told("dry runs", len(done), repeats)
                    controls.check()
            except (Interrupted, KeyboardInterrupt):
                pool.shutdown(wait=True, cancel_futures=True)
                raise
            except BrokenProcessPool as error:
                controls.check()  # asked to stop: the signal went to the processes, too
                raise RequestError(
                    "a process of the dry runs was ended from outside, perhaps for want of memory; nothing was kept"
                ) from error
    device = job.options.preset or job.station.twin.get("preset", "") or "the bench's own device"
    # In the order of their chips, whichever process was first: the same dry run gives the same forecast.
    return foretell(name, device, [one.result() for one in waiting])


def _on_a_twin(job: Job[Any, Any], folder: Path) -> Any:
    """The job's options for a twin that nobody has seen."""
    text = job.station.text if job.station.simulated else _twin_of(job.station)
    station = folder / "station.yaml"
    station.write_text(text, encoding="utf-8")
    options = replace(
        job.options, station=str(station), runs=str(folder / "runs"), run_id="", bench="", fresh=False,
        attended=False, command_line="", operator="",
    )  # fmt: skip
    Job.prepare(job.procedure, options)  # so that what twins can't do is found before any process is started
    return options


def _twin_of(real: StationFile) -> str:
    """The packaged twin with a real station's limits, reading and size."""
    packaged = StationFile.load("station-twin.yaml")
    twin, own = (dict(parse_yaml(one.text.encode(), f"station {one.name}")) for one in (packaged, real))
    for section in ("limits", "read"):
        if section in own:
            twin[section] = own[section]
    if real.shape != packaged.shape:
        raise RequestError(
            f"station {real.name} has arrays {real.shape}, the packaged twin others; "
            "give --station a twin of your own bench for a dry run"
        )
    return str(yaml.safe_dump(twin))


def _once(name: str, options: dict[str, Any]) -> dict[str, Spent]:
    found = procedure(name)
    chip = options["chip"]
    given = {**options, "run_id": f"dry-{chip}"}
    job = Job.prepare(found, found.options(**given))
    job.run(report=False)
    with open_run(job.folder) as run:
        return spent(run)
