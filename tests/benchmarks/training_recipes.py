"""Training recipes compared on chips as they come: KL2 with exact conductances, with write noise, compensated.

    python tests/benchmarks/training_recipes.py --recipes hardware paper-short --seeds 5 --cache ~/.ohmflow/networks

Every network is mapped to 64 levels. `paper` in full takes half an hour and more for five seeds.
"""

import argparse
from pathlib import Path

import numpy as np

from analysis.diffusion.compensation import compensate
from analysis.diffusion.data import Ring, ring_training_set
from analysis.diffusion.hardware import WriteNoise
from analysis.diffusion.model import circuit_of
from analysis.diffusion.samplers import run_drive
from analysis.diffusion.training import RECIPES, train_cached
from analysis.metrics import Truth, kl_2d


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", default=["hardware", "paper-short"], choices=sorted(RECIPES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--noise", type=float, default=0.02, help="write noise, share of G_mem")
    parser.add_argument("--chips", type=int, default=4)
    parser.add_argument("--points", type=int, default=5000)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".ohmflow" / "networks")
    asked = parser.parse_args()
    ring = Ring()
    truth = Truth.from_points(ring.draw(200_000, np.random.default_rng(2024)), ring.density)
    print(f"{'recipe':12s} {'seed':>4s} {'exact':>7s} {'noisy':>7s} {'compensated':>12s}   (KL2, N = {asked.points})")
    for recipe in asked.recipes:
        rows = []
        for seed in range(asked.seeds):
            data = ring_training_set(np.random.default_rng([seed, 7]))
            model, _ = train_cached(asked.cache.expanduser(), RECIPES[recipe], seed, data)
            network = circuit_of(model.map())
            rng = np.random.default_rng([seed, 11])
            exact = kl_2d(run_drive(network, model.drive, asked.points, rng), truth)
            noise = WriteNoise(relative=asked.noise)
            chips = [network.with_conductances(noise.apply(network.conductances, rng)) for _ in range(asked.chips)]
            noisy = float(np.mean([kl_2d(run_drive(c, model.drive, asked.points, rng), truth) for c in chips]))
            mended, drive = compensate(chips[0], model.drive, data, rng)
            rows.append((exact, noisy, kl_2d(run_drive(mended, drive, asked.points, rng), truth)))
            print(f"{recipe:12s} {seed:4d} " + " ".join(f"{v:7.3f}" for v in rows[-1]), flush=True)
        mean, spread = np.mean(rows, axis=0), np.std(rows, axis=0, ddof=1) if len(rows) > 1 else np.zeros(3)
        print(f"{recipe:12s} mean " + " ".join(f"{m:.3f}±{s:.3f}" for m, s in zip(mean, spread, strict=True)))


if __name__ == "__main__":
    main()
