"""A study of 500 points: killed twice at random it ends as an undisturbed one, bit for bit; two workers against one.

python tests/benchmarks/sweep_bench.py --folder sweep-bench
"""

import argparse
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from analysis.diffusion.data import ring_training_set
from analysis.diffusion.training import RECIPES, cache_name, train_cached
from analysis.sweeps.engine import on_this_machine, run_study
from analysis.sweeps.store import RESULT
from analysis.sweeps.study import Study, study_of


def study(model: Path, points: int, trajectories: int) -> Study:
    said = {
        "name": "bench", "model": str(model), "metric": "kl_2d", "seed": 3, "trajectories": trajectories,
        "axes": {"write_memory": [round(0.0004 * k, 6) for k in range(points // 4)], "method": ["ode", "sde"],
                 "read_memory": [0.0, 0.02]},
        "seeds": {"least": 2, "most": 6}, "until": {"relative": 0.1},
    }  # fmt: skip
    return study_of(said, model.parent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("sweep-bench"))
    parser.add_argument("--cache", type=Path, default=Path.home() / ".ohmflow" / "networks")
    parser.add_argument("--points", type=int, default=500)
    parser.add_argument("--trajectories", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0, help="decides when it is killed")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    data = ring_training_set(np.random.default_rng([0, 7]))
    train_cached(asked.cache, RECIPES["quick"], 0, data)
    grid = study(asked.cache / cache_name(RECIPES["quick"], 0, data), asked.points, asked.trajectories)
    if asked.child is not None:
        run_study(grid, asked.child, spread=on_this_machine(2), told=lambda done, total: print(done, flush=True))
        return
    walls = {}
    for workers in (1, 2):
        folder = asked.folder / f"workers-{workers}"
        shutil.rmtree(folder, ignore_errors=True)
        begin = time.perf_counter()
        run_study(grid, folder, spread=on_this_machine(workers))
        walls[workers] = time.perf_counter() - begin
        print(f"{workers} worker(s): {len(grid.points)} points in {walls[workers]:.1f} s", flush=True)
    print(f"two workers are {walls[1] / walls[2]:.2f} times as fast as one")
    rng = np.random.default_rng(asked.seed)
    cut = asked.folder / "killed"
    shutil.rmtree(cut, ignore_errors=True)
    for stop in np.sort(rng.integers(1, len(grid.points) - 10, 2)):
        command = [sys.executable, __file__, *sys.argv[1:], "--child", str(cut)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for line in child.stdout:
                if int(line) >= stop:
                    child.send_signal(signal.SIGKILL)
                    break
        print(f"killed with {len(list((cut / 'points').glob('*.json')))} points finished", flush=True)
    told: list[int] = []
    run_study(grid, cut, spread=on_this_machine(2), told=lambda done, total: told.append(done))
    print(f"went on at {told[0]}, measured {told[-1] - told[0]} more")
    files = [(folder / RESULT).read_bytes() for folder in (cut, *(asked.folder / f"workers-{w}" for w in (1, 2)))]
    print(f"the three result files are {'equal' if len(set(files)) == 1 else 'DIFFERENT'} byte for byte")
    sys.exit(0 if len(set(files)) == 1 else 1)


if __name__ == "__main__":
    main()
