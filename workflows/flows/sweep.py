"""A study as a Prefect flow: batches of its points as tasks on a Dask cluster, local or at a scheduler's address.

The engine in `analysis.sweeps` plans the work and keeps every point as it comes back; here is only who measures them.
Killed or stopped, the flow goes on where it was when it is run again on the same folder.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.futures import as_completed

from analysis.sweeps.engine import Told, batches, run_batch, run_study
from analysis.sweeps.store import Point
from analysis.sweeps.study import Setting, Study, load_study
from workflows.errors import RequestError


def runner(address: str | None, workers: int) -> Any:
    """Return Prefect's task runner on the Dask scheduler at `address`, or on an own cluster of `workers` processes.

    Raises:
        RequestError: prefect-dask is not installed.
    """
    try:
        make = importlib.import_module("prefect_dask").DaskTaskRunner
    except ImportError as error:
        raise RequestError('a cluster needs Dask: pip install "ohmflow[cluster]"') from error
    if address is not None:
        return make(address=address)
    return make(
        cluster_kwargs={"n_workers": workers, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    )


@task(name="points of a study", task_run_name="{name}", persist_result=False)
def measure_batch(name: str, study: Study, settings: list[Setting]) -> list[Point]:
    """Measure a batch of points on whatever worker this runs; the model's file must be readable there."""
    return run_batch(study, settings)


def sweep(
    study_file: Path,
    folder: Path,
    *,
    address: str | None = None,
    workers: int = 2,
    told: Told = lambda done, total: None,
) -> Path:
    """Run a study file as a flow and return its HDF5 file.

    Args:
        study_file: The study, see `analysis.sweeps.study`.
        folder: Where points and result are kept, on this machine.
        address: A running Dask scheduler ("tcp://host:8786"), or None for a cluster of this machine's processes.
        workers: Processes of the own cluster; with an address, how many to keep busy.
        told: Called with the number of finished points and of all.
    """
    if workers < 1:
        raise RequestError(f"a cluster needs at least one worker, not {workers}")
    study = load_study(study_file)

    def spread(study: Study, settings: Sequence[Setting]) -> Iterator[tuple[int, Point]]:
        places = batches(study, settings, workers)
        tasks = {
            measure_batch.submit(f"points {batch[0]}-{batch[-1]}", study, [settings[k] for k in batch]): batch
            for batch in places
        }
        for done in as_completed(list(tasks)):
            yield from zip(tasks[done], done.result(), strict=True)

    @flow(name="sweep", flow_run_name=study.name, task_runner=runner(address, workers), persist_result=False)
    def run() -> str:
        return str(run_study(study, folder, spread=spread, told=told))

    return Path(run())
