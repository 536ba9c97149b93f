"""A study in a process of its own, for tests that kill it: model, folder, number of points."""

import sys
from pathlib import Path

from analysis.sweeps.engine import run_study
from analysis.sweeps.study import Study, study_of


def study(model: Path, points: int, trajectories: int = 40) -> Study:
    axis = [round(0.001 * k, 6) for k in range(points // 2)]
    said = {
        "name": "killed", "model": str(model), "metrics": ["kl_2d", "radius_mean"], "seed": 5,
        "trajectories": trajectories, "fixed": {"steps": 20, "relative_to": "memory"},
        "axes": {"write_noise": axis, "method": ["ode", "sde"]},
        "seeds": {"least": 2, "most": 4}, "until": {"relative": 0.05},
    }  # fmt: skip
    return study_of(said, model.parent)


if __name__ == "__main__":
    model, folder, points = sys.argv[1:]
    asked = study(Path(model), int(points))
    run_study(asked, Path(folder), told=lambda done, total: print(done, flush=True))
