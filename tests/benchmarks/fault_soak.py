"""A faulty laboratory for a week, every fault profile many times, and spoilt replies by the hundred thousand.

    PYTHONPATH=.:tests python tests/benchmarks/fault_soak.py [--seeds 20] [--replies 60000] [--runs 1008]

Prints what came of it. Any error that is not one of ours, any drive beyond a limit, any pulse that came twice, any
record that is lost ends it with a traceback. Virtual time: no part waits.
"""

import argparse
import contextlib
import gc
import os
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from twin.fault_runs import check, prepare, run
from twin.reply_fuzz import fuzz_analyzer, fuzz_board

from analysis.records import open_run, read_journal, salvage
from analysis.records.journal import is_being_written
from instruments.clock import stopwatch
from instruments.errors import StationError
from instruments.twin.fault_profile import profiles
from workflows.procedures.job import Job
from workflows.procedures.program_job import PROCEDURE as PROGRAM

WARM_UP = 30
"""Runs after which the process should need no more of anything."""


def matrix(folder: Path, seeds: int) -> Iterator[str]:
    """Every profile that can share a process, `seeds` times."""
    for name in (p for p in profiles() if p != "disk-full"):
        ended: Counter[str] = Counter()
        struck: Counter[str] = Counter()
        mended, longest = 0, 0.0
        for seed in range(1, seeds + 1):
            try:
                one = run(prepare(folder, f"{name}-{seed}"), name, seed, seed=str(seed))
            except StationError:
                ended["not opened"] += 1  # nothing was driven
                continue
            check(one, connected=name not in ("wrong-mode", "everything"))
            ended[one.status + (", told that outputs may be on" if one.told_unsafe else "")] += 1
            struck += one.struck
            mended, longest = mended + one.mended, max(longest, one.seconds)
        yield f"{name:22} {dict(ended)}; {sum(struck.values())} faults, {mended} mended, longest {longest:.0f} s"


def resources() -> dict[str, int]:
    """What a leak would show in (what is only waiting to be collected is none)."""
    gc.collect()
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return {
        "rss_kib": pages * os.sysconf("SC_PAGE_SIZE") // 1024,
        "files": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
    }


def soak(folder: Path, runs: int, interval: float, warm_up: int = WARM_UP) -> Iterator[str]:
    """Small programming runs on one bench directory, one every `interval` s of its time; stopped ones are resumed.

    After `warm_up` runs the process may hold no more files and threads than then.
    """
    bench = {"dir": str(folder / "bench")}
    ended: Counter[str] = Counter()
    struck: Counter[str] = Counter()
    mended = parts = 0
    before: dict[str, int] = {}
    seconds = 0.0
    for n in range(runs):
        job = prepare(folder, f"soak-{n:05}", 2 * (n % 16), 4 * (n // 16 % 8), array=n // 128 % 3, bench=bench["dir"])
        due = (n + 1) * interval
        for attempt in range(4):
            parts += 1
            try:
                one = run(job, "everything", 1000 * n + attempt, idle=due, **bench)
            except StationError:
                ended["not opened"] += 1
                continue
            check(one, connected=False)
            struck += one.struck
            mended, seconds = mended + one.mended, one.seconds
            if one.status == "completed":
                break
            ended["stopped"] += 1
            with contextlib.suppress(StationError):
                again = Job.prepare(PROGRAM, replace(job.options, resume=str(job.folder)))
                job = replace(again, options=replace(again.options, run_id=job.options.run_id))
        ended["completed" if one.status == "completed" else "given up"] += 1
        if n + 1 == min(warm_up, runs):
            before = resources()
    after = resources()
    yield f"{runs} runs in {parts} parts, {seconds / 86400:.2f} days: {dict(ended)}; {mended} troubles mended"
    yield f"faults: {dict(struck)}"
    yield f"after {warm_up} runs {before}"
    yield f"after {runs} runs {after}"
    lost = 0
    for n in range(runs):
        place = folder / "runs" / f"soak-{n:05}"
        contents = read_journal(place / "journal.jsonl")
        with open_run(place) as records:
            lost += records.journal_mark != (len(contents.records), contents.crc32)
        lost += contents.torn != 0 or not salvage(place).is_complete or is_being_written(place / "journal.jsonl")
    yield f"run files that don't open, differ from their journal, or are locked: {lost}"
    assert not lost
    assert after["files"] <= before["files"]
    assert after["threads"] <= before["threads"]


def main() -> None:
    """Do all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--replies", type=int, default=60_000)
    parser.add_argument("--runs", type=int, default=1008)
    parser.add_argument("--interval", type=float, default=600.0)
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fault-soak-"))
    try:
        started = stopwatch()
        for line in matrix(folder, asked.seeds) if asked.seeds else ():
            print(line, flush=True)
        if asked.replies:
            for name, fuzz in (("analyzer", fuzz_analyzer), ("board", fuzz_board)):
                print(name, fuzz(np.random.default_rng(1), asked.replies), flush=True)
        for line in soak(folder, asked.runs, asked.interval) if asked.runs else ():
            print(line, flush=True)
        print(f"{stopwatch() - started:.0f} s")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
