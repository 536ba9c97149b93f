"""Logging 1,000 captures of 4 x 10,000 points against a bare h5py write of the same data with the same compression.

python tests/benchmarks/waveform_log.py [--captures 1000] [--compression gzip]
"""

import argparse
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

from analysis.records import RunHeader, RunWriter, WaveformSpec


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captures", type=int, default=1000)
    parser.add_argument("--compression", default="gzip", choices=["gzip", "lzf"])
    asked = parser.parse_args()
    rng = np.random.default_rng(1)
    time_axis = np.linspace(0, 1, 10_000)
    codes = np.stack([
        (3000 * np.sin(3 * time_axis + phase) + 40 * rng.standard_normal(10_000)).astype(np.int16) for phase in range(4)
    ])  # fmt: skip
    spec = WaveformSpec("scope1", ("x", "y", "nx", "ny"), 10_000, compression=asked.compression)
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(3):
            bare = _bare(Path(folder) / f"bare{turn}.h5", codes, asked.captures, asked.compression)
            logged, closed = _logged(Path(folder) / f"run{turn}", codes, asked.captures, spec)
            size = codes.nbytes * asked.captures / 1e6
            print(
                f"bare {size / bare:.0f} MB/s, logging {size / logged:.0f} MB/s ({bare / logged:.0%}), "
                f"with the end's copy into the final file {size / closed:.0f} MB/s ({bare / closed:.0%})"
            )


def _bare(path: Path, codes: np.ndarray, captures: int, compression: str) -> float:
    options = {"compression_opts": 1} if compression == "gzip" else {}
    begun = time.perf_counter()
    with h5py.File(path, "w") as file:
        raw = file.create_dataset(
            "raw", (0, *codes.shape), "i2", maxshape=(None, *codes.shape), chunks=(1, *codes.shape),
            compression=compression, shuffle=True, **options,
        )  # fmt: skip
        for i in range(captures):
            raw.resize(i + 1, axis=0)
            raw[i] = codes
    return time.perf_counter() - begun


def _logged(folder: Path, codes: np.ndarray, captures: int, spec: WaveformSpec) -> tuple[float, float]:
    header = RunHeader("bench", "simulated", folder.name, "2026-01-01T00:00:00+00:00")
    begun = time.perf_counter()
    writer = RunWriter.create(folder, header, now=lambda: 0.0, waveforms=(spec,), stopwatch=time.perf_counter)
    scale = {"y_increment": [1e-3] * 4, "y_origin": [0.0] * 4, "y_reference": [0.0] * 4}
    for i in range(captures):
        writer.waveform("scope1", codes, **scale, x_increment=1e-4, x_origin=0.0, index=i)
    logged = time.perf_counter() - begun
    writer.close()
    return logged, time.perf_counter() - begun


if __name__ == "__main__":
    main()
