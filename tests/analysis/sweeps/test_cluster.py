"""A study on a real Dask scheduler with workers of its own on this machine, one of which is killed on the way."""

import contextlib
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import distributed
import pytest

from analysis.sweeps.engine import run_study
from analysis.sweeps.study import study_of
from workflows.errors import RequestError
from workflows.flows import cluster
from workflows.flows.cluster import on_cluster

pytestmark = pytest.mark.timeout(120)


def _start(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "dask", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "DASK_DISTRIBUTED__ADMIN__LOG_FORMAT": "%(message)s"},
    )  # fmt: skip


@contextlib.contextmanager
def _client(file: Path) -> Iterator[Any]:
    """A client of the scheduler that writes this file; theirs are the warnings of sockets they close late."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with distributed.Client(scheduler_file=str(file), set_as_default=False, timeout=60) as client:
            yield client


def test_workers_elsewhere_measure_the_same_and_may_die(
    model: Path, tmp_path: Path, children: list[subprocess.Popen[str]]
) -> None:
    said = {
        "name": "spread", "model": str(model), "metrics": ["kl_2d", "path_x"], "seed": 5, "trajectories": 300,
        "axes": {"write_noise": [round(0.002 * k, 6) for k in range(12)], "method": ["ode", "sde"]},
        "seeds": {"least": 2, "most": 4}, "until": {"relative": 0.05},
    }  # fmt: skip
    study = study_of(said, tmp_path)
    alone = run_study(study, tmp_path / "alone")
    file = tmp_path / "scheduler.json"
    common = ("--scheduler-file", str(file))
    children.append(_start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", *common))
    children += [_start("worker", "--nthreads", "1", "--no-nanny", "--no-dashboard", *common) for _ in range(2)]
    # The workers' copy of the network is the study's: its file is gone.
    model.unlink()
    told: list[int] = []

    def killing(done: int, total: int) -> None:
        told.append(done)
        if done == 6:
            children[-1].send_signal(signal.SIGKILL)

    with _client(file) as client:
        client.wait_for_workers(2, timeout=60)
        spread = run_study(study, tmp_path / "spread", spread=on_cluster(client), told=killing)
    assert told == list(range(25))
    assert spread.read_bytes() == alone.read_bytes()


def test_a_scheduler_that_is_not_there_or_has_nobody_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.3)
    with pytest.raises(RequestError, match=r"no Dask scheduler answers at tcp://127.0.0.1:9: start one"):
        cluster.check_address("tcp://127.0.0.1:9")
    with pytest.raises(RequestError, match="no Dask scheduler answers at nonsense://"):
        cluster.check_address("nonsense://")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with (
            distributed.LocalCluster(n_workers=0, dashboard_address=None, silence_logs=50) as empty,
            pytest.raises(RequestError, match=r"at tcp://\S+ has no worker; start some: dask worker tcp://"),
        ):
            cluster.check_address(empty.scheduler_address)
