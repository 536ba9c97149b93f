"""A study's points as tasks of a Dask cluster, whoever started it; knows no Prefect.

A task carries the study with its network, so that a worker needs this package and nothing else: no file, no folder.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import distributed

from analysis.sweeps.engine import Spread, run_point
from analysis.sweeps.measurement import Setting
from analysis.sweeps.store import Point
from analysis.sweeps.study import Study
from workflows.errors import RequestError, WorkflowError

AHEAD = 4
"""Points given out a worker's thread: none waits for the engine, and few are lost with it."""
CONNECT_SECONDS = 10.0


def on_cluster(client: distributed.Client) -> Spread:
    """Return what measures points on a Dask cluster, as many at once as it has threads.

    Args:
        client: of the cluster; workers may come and go.

    Raises:
        RequestError: (when points are measured) no worker comes.
        WorkflowError: workers die over a point again and again.
    """

    def spread(study: Study, settings: Sequence[Setting]) -> Iterator[tuple[int, Point]]:
        _wait_for_workers(client)
        waiting = iter(enumerate(settings))
        running: dict[Any, int] = {}
        finished = distributed.as_completed([], loop=client.loop)
        try:
            while True:
                # Workers come and go; asking the scheduler takes as long as many a point, so not after each.
                enough = AHEAD * _threads(client)
                for _ in range(enough):
                    for place, setting in itertools.islice(waiting, max(enough - len(running), 0)):
                        future = client.submit(run_point, study, setting, pure=False)
                        running[future] = place
                        finished.add(future)
                    if not running:
                        return
                    future = next(finished)
                    place = running.pop(future)
                    yield place, _result(future, settings[place])
        finally:
            client.cancel(list(running))

    return spread


def _result(future: distributed.Future, setting: Setting) -> Point:
    try:
        found = future.result()
    except distributed.KilledWorker as error:
        text = f"workers died again and again over the point {setting}; look at their logs, then go on"
        raise WorkflowError(text) from error
    assert isinstance(found, Point)
    return found


def _threads(client: distributed.Client) -> int:
    return max(1, sum(int(n) for n in client.nthreads().values()))


def _wait_for_workers(client: distributed.Client) -> None:
    """See that there are workers, and that what they would measure is what this process would."""
    address = client.scheduler.address
    try:
        client.wait_for_workers(1, timeout=CONNECT_SECONDS)
    except TimeoutError as error:
        text = f"the Dask scheduler at {address} has no worker; start some: dask worker {address} --nthreads 1"
        raise RequestError(text) from error
    own = version("ohmflow")
    try:
        theirs = client.run(version, "ohmflow")
    except PackageNotFoundError as error:
        raise RequestError(f"a worker of {address} has no ohmflow: install ohmflow {own} there") from error
    for worker, its in theirs.items():
        if its != own:
            raise RequestError(f"worker {worker} has ohmflow {its}, this is {own}: install the same everywhere")


def check_address(address: str) -> None:
    """See that a Dask scheduler answers at an address, and has workers that measure what this process would.

    Raises:
        RequestError: it does not, or has none.
    """
    try:
        client = distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        text = f"no Dask scheduler answers at {address}: start one (dask scheduler), or leave --scheduler out"
        raise RequestError(text) from error
    with client:
        _wait_for_workers(client)
