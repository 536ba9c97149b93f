"""Writes a run file of 2 GB, as a long night of sampling leaves it: captures that hardly compress, and many events.

    python tests/benchmarks/large_run.py FOLDER [--bytes 2.15e9] [--events 400000] [--arrays 11] [--samples 250000]

Goes through the run writer, so the file is what any run's file is. It takes some minutes and room for twice the size.
"""

import argparse
import itertools
from pathlib import Path

import numpy as np

from analysis.records import RunHeader, RunWriter, WaveformSpec

CHANNELS = ("x", "y", "nx", "ny")


def write(folder: Path, size: float, events: int, arrays: int, samples: int, seed: int = 0) -> Path:
    """Write the run; gives its file."""
    rng = np.random.default_rng(seed)
    ticks = itertools.count()
    header = RunHeader(
        "generate", "simulated", folder.name, "2031-05-07T21:00:00+00:00", arrays=arrays, rows=32, cols=32,
        chip="large", parameters={"tolerance": 1e-6, "samples": samples},
    )  # fmt: skip
    spec = WaveformSpec("scope1", CHANNELS, samples)
    targets = rng.uniform(1e-5, 1e-4, (arrays, 32, 32))
    with RunWriter.create(folder, header, now=lambda: next(ticks) * 1e-3, waveforms=(spec,)) as run:
        run.phase("program")
        run.map("conductance_target", targets)
        cells = list(np.ndindex(arrays, 32, 32))
        for number in range(events):
            array, row, col = cells[number // max(events // len(cells), 1) % len(cells)]
            if number % 2:
                run.event("read", row, col, array=array, amplitude=0.2, conductance=targets[array, row, col])
            else:
                run.result(run.intent("set", row, col, array=array, amplitude=1.2, gate=1.5, width=1e-6))
        run.phase("samples")
        steps = np.arange(samples)
        clean = np.array([9000 * np.sin(2 * np.pi * (k + 1) * steps / samples) for k in range(len(CHANNELS))])
        file = folder / "run.partial.h5"
        while file.stat().st_size < size:
            codes = (clean + rng.normal(0, 900, clean.shape)).astype(np.int16)
            run.waveform(
                "scope1", codes, y_increment=[1e-5] * 4, y_origin=[0.0] * 4, y_reference=[0.0] * 4,
                x_increment=1 / samples, x_origin=0.0,
            )  # fmt: skip
    return folder / "run.h5"


def main() -> None:
    """Write one where the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bytes", type=float, default=2.15e9)
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--arrays", type=int, default=11)
    parser.add_argument("--samples", type=int, default=250_000)
    given = parser.parse_args()
    path = write(given.folder, given.bytes, given.events, given.arrays, given.samples)
    print(f"{path}: {path.stat().st_size / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
