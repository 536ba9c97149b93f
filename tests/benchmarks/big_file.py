"""What a large run costs whoever looks at it: time and memory of showing, indexing, opening, plotting and exporting it.

    python tests/benchmarks/big_file.py FOLDER [--gigabytes 2] [--events 1000000]

The run is made once (captures of noise, not compressed, and reads of a whole array) and kept for the next call. Each
look is a process of its own; its memory is the most that it ever had resident, the interpreter's own and mapped pages
of the file included.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

CHANNELS, SAMPLES = 4, 250_000
LIMIT_S, LIMIT_MB = 2.0, 300.0


def make(folder: Path, gigabytes: float, events: int) -> None:
    from analysis.records import RunHeader, RunWriter, WaveformSpec

    captures = max(int(gigabytes * 2**30 / (CHANNELS * SAMPLES * 2)), 1)
    ticks = itertools.count()
    names = tuple(f"c{n}" for n in range(CHANNELS))
    header = RunHeader(
        "program", "simulated", folder.name, "2031-05-07T08:00:00+00:00", rows=32, cols=32, chip="1",
        parameters={"tolerance": 1e-6, "window": 1e-6, "arrays": [0]},
    )  # fmt: skip
    rng = np.random.default_rng(1)
    specs = [WaveformSpec("scope1", names, SAMPLES, compression=None)]
    with RunWriter.create(folder, header, now=lambda: next(ticks) * 1e-3, waveforms=specs) as run:
        run.map("conductance_target", np.full((32, 32), 5e-5))
        run.phase("programming")
        for n, value in enumerate(rng.normal(5e-5, 1e-6, events)):
            run.event("read", n // 32 % 32, n % 32, amplitude=0.2, width=1e-4, conductance=value, energy=1e-12)
        for cell in range(1024):
            pulse = run.intent("set", cell // 32, cell % 32, amplitude=1.2, gate=1.0, width=1e-6)
            run.result(pulse, energy=1e-9)
            run.event("read", cell // 32, cell % 32, amplitude=0.2, width=1e-4, conductance=5e-5)
            run.cell(cell // 32, cell % 32, "ok")
        run.phase("sampling")
        for n in range(captures):
            run.waveform(
                "scope1", rng.integers(-9999, 9999, (CHANNELS, SAMPLES), np.int16), index=n,
                y_increment=[1e-4] * CHANNELS, y_origin=[0.0] * CHANNELS, y_reference=[0.0] * CHANNELS,
                x_increment=1e-6, x_origin=0.0,
            )  # fmt: skip


def cli(*arguments: str) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        from workflows import cli as command

        out = str(folder.parent.parent / f"exported-{os.getpid()}")
        sys.argv = ["ohmflow", *(one.format(folder=folder, runs=folder.parent, out=out) for one in arguments)]
        try:
            command.main()
        except SystemExit as end:
            if end.code:
                raise RuntimeError(f"exit code {end.code}") from end

    return run


def opened(folder: Path) -> None:
    from analysis.records import open_run

    with open_run(folder) as run:
        assert run.header.rows == 32
        assert np.isfinite(run.map("conductance_after")).all()
        captures = run.waveforms("scope1")
        assert captures.volts(len(captures) - 1).shape == (CHANNELS, SAMPLES)


def plotted(folder: Path) -> None:
    from analysis.records import open_run

    with open_run(folder) as run:
        run.plot("conductance_after")
        run.plot("waveforms/scope1/3")


def indexed(folder: Path) -> None:
    from analysis.records import Catalogue, Query

    with Catalogue.open(":memory:", folder.parent) as catalogue:
        catalogue.refresh()
        assert [entry.run_id for entry in catalogue.search(Query())] == [folder.name]


def columns(folder: Path) -> None:
    from analysis.records import open_run

    with open_run(folder) as run:
        assert np.nansum(run.events["energy"]) > 0


LOOKS: dict[str, tuple[Callable[[Path], None], bool]] = {
    "python -c pass": (lambda folder: None, False),
    "ohmflow --help": (cli("--help"), False),
    "open_run, map, one capture": (opened, True),
    "run.plot of a map and of a capture": (plotted, True),
    "catalogue: index": (indexed, True),
    "ohmflow show": (cli("show", "{folder}"), True),
    "ohmflow summary, with its figures": (cli("summary", "{folder}"), False),
    "run.events['energy'].sum()": (columns, True),
    "ohmflow runs (indexed and measured)": (cli("runs", "{runs}"), False),
    "ohmflow export, CSV": (cli("export", "{folder}", "-o", "{out}"), False),
    "ohmflow export, Parquet": (cli("export", "{folder}", "-o", "{out}", "--format", "parquet"), False),
    "ohmflow validate": (cli("validate", "{folder}"), False),
}
"""What is measured, and whether it must keep to the limits."""


def worker(name: str, folder: Path) -> None:
    before = time.perf_counter()
    LOOKS[name][0](folder)
    seconds = time.perf_counter() - before
    # Not getrusage: its maximum is inherited from the process that started this one.
    status = Path("/proc/self/status").read_text()
    megabytes = int(status.split("VmHWM:")[1].split()[0]) / 1024
    print(json.dumps({"seconds": seconds, "megabytes": megabytes}), file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--only", default="")
    parser.add_argument("--worker", default="")
    asked = parser.parse_args()
    run = asked.folder / "runs" / "big"
    if asked.worker:
        worker(asked.worker, run)
        return 0
    if not (run / "run.h5").is_file():
        before = time.perf_counter()
        make(run, asked.gigabytes, asked.events)
        print(f"made in {time.perf_counter() - before:.0f} s")
    for path in sorted(run.iterdir()):
        if path.is_file():
            print(f"{path.name:18} {path.stat().st_size / 1e6:10.1f} MB")
    kept = True
    for name, (_, bounded) in LOOKS.items():
        if asked.only not in name:
            continue
        command = [sys.executable, __file__, str(asked.folder), "--worker", name]
        environment = os.environ | {"OHMFLOW_HOME": str(asked.folder / "home"), "MPLBACKEND": "Agg"}
        before = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=asked.folder)
        wall = time.perf_counter() - before
        if done.returncode:
            print(f"{name:38} failed: {done.stderr.strip().splitlines()[-1]}")
            kept = False
            continue
        found = json.loads(done.stderr.strip().splitlines()[-1])
        good = found["seconds"] <= LIMIT_S and found["megabytes"] <= LIMIT_MB
        verdict = ("" if good else "  over the limit") if bounded else ""
        print(f"{name:38} {found['seconds']:7.2f} s  {found['megabytes']:7.0f} MB  (process {wall:.2f} s){verdict}")
        kept = kept and (good or not bounded)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
