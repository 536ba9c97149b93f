"""Core milliseconds of one 1 s trajectory of the closed-loop circuit: `python tests/benchmarks/circuit_speed.py`."""

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from twin import score_network

from instruments.twin.circuit import Circuit, CircuitParams, Drives, ReadNoise

RUNS = 100


def main() -> None:
    cells = score_network.conductances(score_network.network())
    drives = Drives.from_volts(score_network.drive_volts())
    starts = np.random.default_rng(1).normal(0, 0.1, (RUNS, 2))
    white = ReadNoise(white_relative=0.01)
    everything = replace(white, slow_relative=0.003, telegraph_fraction=0.15)
    begin = time.perf_counter()
    Circuit(CircuitParams(), cells).run(starts[:1], drives)
    print(f"first call (compiled or from the cache): {time.perf_counter() - begin:.2f} s")
    for name, noise, samples, probes in (
        ("no noise", ReadNoise(), 0, ("x",)),
        ("white read noise", white, 0, ("x",)),
        ("white, slow and RTN", everything, 0, ("x",)),
        ("white, 10,000 samples of x", white, 10_000, ("x",)),
        ("white, 10,000 samples of x and n", white, 10_000, ("x", "n")),
    ):
        rtn = noise.sample_telegraph(cells, np.random.default_rng(2))
        circuit = Circuit(replace(CircuitParams(), read_noise=noise), cells, telegraph=rtn)
        best = np.inf
        for _ in range(3):
            begin = time.process_time()
            times = np.linspace(0, 1, samples)
            circuit.run(starts, drives, sample_times=times, rng=np.random.default_rng(3), probes=probes)
            best = min(best, (time.process_time() - begin) / RUNS)
        print(f"{name}: {best * 1e3:.2f} ms a trajectory")


if __name__ == "__main__":
    main()
