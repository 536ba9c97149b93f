"""A study as a Prefect flow: its points on a Dask cluster, one of this machine's own or one at a scheduler's address.

The engine in `analysis.sweeps` plans the work and keeps every point as it comes back; here is only who measures them.
Prefect has the flow, its progress and its cluster (prefect-dask); the points are plain Dask tasks with the network in
them, so that a worker needs this package and nothing else: no Prefect server within reach, no file, no folder. A
Prefect task a point would cost some 0.2 s of book-keeping, ten times what many points take. Killed or stopped, the flow
goes on where it was when it is run again on the same folder.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import FlowRunContext
from prefect_dask import DaskTaskRunner

from analysis.sweeps.engine import Told, run_study
from analysis.sweeps.measurement import Setting
from analysis.sweeps.store import Point
from analysis.sweeps.study import Study
from workflows.flows.cluster import on_cluster

_SHOWN = 0.05  # share of the points between two notes to Prefect


def runner(address: str, workers: int) -> DaskTaskRunner:
    """Return Prefect's task runner: on the Dask scheduler at `address`, or on `workers` processes of its own."""
    # Their notes on every connection are for who runs a cluster for a living.
    for name in ("distributed", "distributed.http.proxy"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if address:
        return DaskTaskRunner(address=address)
    # One thread a process, and no pool of its own in it: the points are what is spread.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    # Whoever can speak to a scheduler can have anything computed: at this machine's own address alone, and with
    # certificates that only this process and its workers have, so that the machine's other users can't. No pages.
    return DaskTaskRunner(
        cluster_kwargs={
            "n_workers": workers, "threads_per_worker": 1, "processes": True, "host": "127.0.0.1", "security": True,
            "dashboard_address": None, "scheduler_kwargs": {"dashboard": False}, "silence_logs": logging.ERROR,
        }
    )  # fmt: skip


def sweep(
    study: Study,
    folder: Path,
    *,
    address: str = "",
    workers: int = 2,
    told: Told = lambda done, total: None,
) -> Path:
    """Run a study as a flow and return its HDF5 file; Prefect's settings and server are the caller's business.

    Args:
        study: what is measured.
        folder: where points and result are kept, on this machine.
        address: a running Dask scheduler ("tcp://host:8786"), or "" for a cluster of this machine's processes.
        workers: processes of the own cluster.
        told: called with the number of finished points and of all.
    """
    note = _Progress(study.title or study.name)

    def both(done: int, total: int) -> None:
        told(done, total)
        note(done, total)

    @flow(name="sweep", flow_run_name=study.name, task_runner=runner(address, workers), persist_result=False)
    def run() -> str:
        context = FlowRunContext.get()
        assert context is not None
        made = context.task_runner
        assert isinstance(made, DaskTaskRunner)

        def spread(study: Study, settings: Sequence[Setting]) -> Iterator[tuple[int, Point]]:
            yield from on_cluster(made.client)(study, settings)

        return str(run_study(study, folder, spread=spread, told=both))

    return Path(str(run()))


class _Progress:
    """The study's progress on Prefect's pages, a note every twentieth of it."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._id: Any = None
        self._shown = 0.0

    def __call__(self, done: int, total: int) -> None:
        share = done / max(total, 1)
        if self._id is None:
            self._id = create_progress_artifact(progress=100 * share, description=self._title)
        elif share - self._shown >= _SHOWN or done == total:
            update_progress_artifact(artifact_id=self._id, progress=100 * share)
        else:
            return
        self._shown = share
