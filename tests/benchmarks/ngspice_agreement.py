"""Ten full 1 s trajectories against ngspice at output gains 3 and 5, with one board's offsets. Some minutes.

    python tests/benchmarks/ngspice_agreement.py [--model trained.npz] [--runs 10] [--offset-mv 0.5]

Without a trained model the tests' network is used. Prints the RMS difference of every trajectory and fails above
0.3 mV (gain 3) or 1.5 mV (gain 5).
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from twin import ngspice_netlist, score_network

from analysis.diffusion.model import TrainedModel
from instruments.twin.circuit import Circuit, CircuitParams, Drives, Multiplier, Offsets, OpAmp

LIMITS = {3.0: 0.3e-3, 5.0: 1.5e-3}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--offset-mv", type=float, default=0.5, help="sigma of the multipliers' offsets")
    options = parser.parse_args()

    volts = score_network.drive_volts()
    feedback = (100e3, 100e3, 100e3)
    cells = score_network.conductances(score_network.network())
    if options.model is not None:
        model = TrainedModel.load(options.model)
        cells = model.ideal_network().conductances
        feedback = tuple(1.0 / scale for scale in model.scales)
        volts[:, 0], volts[:, 1], volts[:, 2:16] = model.drive.g2, model.drive.fx, 0.5 * model.drive.embedding
    sigma = options.offset_mv * 1e-3
    multiplier = Multiplier(input_offset_sigma=sigma, output_offset_sigma=sigma)
    board = Offsets.sample(cells, OpAmp(), multiplier, np.random.default_rng(21))
    drives = Drives.from_volts(volts)
    starts = np.random.default_rng(31).normal(0, 0.1, (options.runs, 2))
    times = np.linspace(0, 1, 1001)
    failed = False
    for gain, limit in LIMITS.items():
        params = CircuitParams(feedback=feedback, output_gain=gain)
        rms = []
        for start in starts:
            begin = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                spice = ngspice_netlist.simulate(params, cells, board, drives, start, times, Path(folder))
            wall = time.perf_counter() - begin
            seen = Circuit(params, cells, board).run(start, drives, 1.0, times).x[0]
            rms.append(float(np.sqrt(((seen - spice) ** 2).mean())))
            moved = np.hypot(*(spice[-1] - start))
            print(f"gain {gain:g}: RMS {rms[-1] * 1e3:.4f} mV, moved {moved * 1e3:.0f} mV, ngspice {wall:.1f} s")
        failed |= max(rms) > limit
        print(f"gain {gain:g}: mean {np.mean(rms) * 1e3:.4f}, worst {max(rms) * 1e3:.4f}, limit {limit * 1e3:g} mV")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
