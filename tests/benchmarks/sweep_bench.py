"""Two workers against one, and a study of 500 points that is killed twice at random and ends as an undisturbed one.

python tests/benchmarks/sweep_bench.py --folder sweep-bench

Workers: the points alone, on clusters that are up already, one after the other, some times in turn. Wall time tells the
truth on a machine that nobody else uses. On a shared one the processors' accounting does: the engine and the scheduler
in this process are the serial part, the workers the parallel one.

Killed: `ohmflow sweep` with its defaults (Prefect, an embedded cluster), SIGKILL, nothing of it left, then again.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import distributed
import numpy as np
import yaml

from analysis.sweeps.engine import run_study
from analysis.sweeps.store import RESULT
from analysis.sweeps.study import Study, load_study
from workflows.flows.cluster import on_cluster
from workflows.flows.environment import state_folder


def declare(path: Path, model: str, points: int, trajectories: int) -> None:
    said = {
        "name": "bench", "model": model, "metrics": ["kl_2d"], "seed": 3,
        "trajectories": trajectories, "fixed": {"relative_to": "memory"},
        "axes": {"write_noise": [round(0.0004 * k, 6) for k in range(points // 4)], "method": ["ode", "sde"],
                 "read_noise": [0.0, 0.02]},
        "seeds": {"least": 2, "most": 6}, "until": {"relative": 0.1},
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(said, sort_keys=False), encoding="utf-8")


def cpu(pid: int) -> float:
    """Seconds of processor that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def timed(client: Any, study: Study, folder: Path) -> tuple[float, float, float]:
    """Wall time, the engine's CPU time, the workers' CPU time."""
    shutil.rmtree(folder, ignore_errors=True)
    pids = client.run(os.getpid).values()
    workers, own, wall = sum(map(cpu, pids)), cpu(os.getpid()), time.perf_counter()
    run_study(study, folder, spread=on_cluster(client))
    wall = time.perf_counter() - wall
    return wall, cpu(os.getpid()) - own, sum(map(cpu, pids)) - workers


def scaling(study: Study, folder: Path, rounds: int) -> None:
    options: dict[str, Any] = {
        "threads_per_worker": 1,
        "processes": True,
        "dashboard_address": None,
        "silence_logs": 40,
    }
    walls: dict[int, list[float]] = {1: [], 2: []}
    shares: dict[int, float] = {}
    clients = {n: distributed.Client(distributed.LocalCluster(n_workers=n, **options)) for n in walls}
    for n, client in clients.items():  # imports, the kernel, the truth
        assert len(list(on_cluster(client)(study, study.points[: 8 * n]))) == 8 * n
    for _ in range(rounds):
        for n, client in clients.items():
            wall, engine, workers = timed(client, study, folder / f"workers-{n}")
            walls[n].append(wall)
            print(
                f"{n} worker(s): {len(study.points)} points in {wall:.1f} s; CPU: workers {workers:.1f} s, "
                f"engine and scheduler {engine:.2f} s",
                flush=True,
            )
            shares[n] = workers
    ratios = np.array(walls[1]) / np.array(walls[2])
    print(f"two workers against one, wall: {np.round(ratios, 2).tolist()}, median {np.median(ratios):.2f}", flush=True)
    ideal = 2 * shares[1] / shares[2]
    print(
        f"by the processors' accounting, with a core for each worker: {ideal:.2f} (workers' CPU {shares})", flush=True
    )
    for client in clients.values():
        client.shutdown()


def descendants(mark: str) -> list[int]:
    """Live processes with a mark in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (process / "environ").read_bytes() and int(process.name) != os.getpid():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def killed(declared: Path, folder: Path, points: int, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    cut = folder / "killed"
    shutil.rmtree(cut, ignore_errors=True)
    mark = f"SWEEP_BENCH={cut.resolve()}"
    command = [sys.executable, "-m", "workflows.cli", "sweep", str(declared), "-o", str(cut), "--workers", "2"]
    environment = {**os.environ, "SWEEP_BENCH": str(cut.resolve())}
    stops = np.sort(rng.integers(1, points - 10, 2))
    for stop in [*stops, None]:
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment) as child:
            while child.poll() is None:
                time.sleep(0.05)
                if stop is not None and len(list((cut / "points").glob("*.json"))) >= stop:
                    child.send_signal(signal.SIGKILL)
                    break
        kept = len(list((cut / "points").glob("*.json")))
        if stop is None:
            print(f"ended with code {child.returncode} and {kept} points", flush=True)
            break
        begin = time.perf_counter()
        while descendants(mark) and time.perf_counter() - begin < 20:
            time.sleep(0.1)
        left = descendants(mark)
        print(f"killed at {stop}: {kept} points kept, {len(left)} processes left {left}", flush=True)
    return cut / RESULT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("sweep-bench"))
    parser.add_argument("--model", default="quick", help="recipe or file")
    parser.add_argument("--points", type=int, default=500)
    parser.add_argument("--trajectories", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("workers", "killed"), help="one of the two parts")
    parser.add_argument("--seed", type=int, default=0, help="decides when it is killed")
    asked = parser.parse_args()
    declared = asked.folder / "bench.yaml"
    declare(declared, asked.model, asked.points, asked.trajectories)
    study = load_study(declared, cache=state_folder() / "networks", told=print)
    if asked.only != "killed":
        scaling(study, asked.folder, asked.rounds)
    if asked.only == "workers":
        return
    run_study(study, asked.folder / "whole")
    cut = killed(declared, asked.folder, len(study.points), asked.seed)
    same = cut.read_bytes() == (asked.folder / "whole" / RESULT).read_bytes()
    print(f"killed twice and undisturbed in one process: {'equal' if same else 'DIFFERENT'} byte for byte")
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
