"""How long a catalogue of 10,000 runs takes to make, to bring up to date, and to search.

    python tests/benchmarks/catalogue.py [runs] [folder]

One small run is written and copied under other names; each copy has its own identity, chip and date.
Bars: search <= 0.2 s, rebuild <= 60 s.
"""

import itertools
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from analysis.records import Catalogue, Condition, Query, RunHeader, RunWriter, layout, read_journal
from analysis.records.journal import encode_record
from workflows.measures import measures

START = datetime(2031, 1, 1, tzinfo=UTC)


def header(n: int) -> RunHeader:
    """The n-th run's header; all have texts of the same lengths."""
    options = dict.fromkeys(("pattern", "station", "wiring", "device", "adc", "faults"), "default")
    parameters = {"tolerance": 1e-6, "window": (n % 5 + 1) * 1e-6, "arrays": [0], "budget": 120, "options": options}
    return RunHeader(
        "program", "simulated", f"run-{n:05d}", (START + timedelta(hours=n)).isoformat(), rows=4, cols=4,
        chip=f"chip-{n % 40:02d}", parameters=parameters,
    )  # fmt: skip


def make(root: Path, count: int) -> None:
    """`count` runs under `root`, 300 to a folder."""
    ticks = itertools.count()
    origin, seed = header(0), root / "seed-run"
    with RunWriter.create(seed, origin, now=lambda: next(ticks) / 8) as run:
        run.map("conductance_target", np.full((4, 4), 5e-5))
        for n in range(16):
            run.result(run.intent("set", n // 4, n % 4, amplitude=1.2, gate=1.0, width=1e-6), energy=1e-9)
            run.event("read", n // 4, n % 4, conductance=5e-5)
            run.cell(n // 4, n % 4, "ok")
        run.note("all is well")
    records = read_journal(seed / layout.JOURNAL).records
    rest = b"".join(map(encode_record, records[1:]))
    file = (seed / layout.FINAL).read_bytes()
    for n in range(count):
        own = header(n)
        folder = root / f"batch-{n // 300:02d}" / own.run_id
        folder.mkdir(parents=True)
        (folder / layout.JOURNAL).write_bytes(encode_record({**records[0], "header": own.to_json()}) + rest)
        # Texts of equal length in an HDF5 file of the default format can be exchanged where they lie.
        changed = file
        for name in ("run_id", "started", "chip"):
            changed = changed.replace(getattr(origin, name).encode(), getattr(own, name).encode())
        (folder / layout.FINAL).write_bytes(changed)
    shutil.rmtree(seed)


def took(name: str, work: Callable[[], Any], repeats: int = 1) -> Any:
    """Do it and print the median seconds and the processor's."""
    spent, result = [], None
    before = time.process_time()
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        spent.append(time.perf_counter() - start)
    processor = (time.process_time() - before) / repeats
    print(f"{name:<52} {sorted(spent)[len(spent) // 2]:8.3f} s  (processor {processor:.3f} s)", flush=True)
    return result


def main() -> None:
    """Make the runs, then measure."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as place:
        root = Path(place) / "runs"
        took(f"make {count} runs (no bar)", lambda: make(root, count))
        with Catalogue.open(Path(place) / "catalogue.sqlite", root) as catalogue:
            print(took("rebuild (bar 60 s)", catalogue.refresh))
            took("refresh, nothing changed", catalogue.refresh, 3)
            sample = catalogue.search(Query(limit=100))
            took("measure 100 runs", lambda: catalogue.measure(sample, measures))
            for name, query in {
                "latest 50": Query(limit=50),
                "chip": Query(chip="chip-07"),
                "parameter, latest 50": Query(where=(Condition.parse("window=2e-6"),), limit=50),
                "parameter, all (a fifth)": Query(where=(Condition.parse("window=2e-6"),)),
                "two dates": Query(since=START.timestamp(), until=START.timestamp() + 7 * 86400),
                "metric": Query(metric=(Condition.parse("inside>=0"),)),
                "text, latest 50": Query(text="all well", limit=50),
                "text of one run": Query(text="run-00042"),
                "everything": Query(),
            }.items():
                found = took(f"search: {name}", lambda query=query: catalogue.search(query), 5)
                print(f"    {len(found)} runs")
        size = (Path(place) / "catalogue.sqlite").stat().st_size
        print(f"database {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
