"""Ten thousand and more spoilt files, through the front door: what came of each kind, counted.

    python tests/benchmarks/file_fuzz.py              # 10,150 files; some 15 minutes on one core
    python tests/benchmarks/file_fuzz.py 200          # 200 of each kind
    python tests/benchmarks/file_fuzz.py 200 run      # of one kind

A case is wrong if it ends with anything but exit code 0 or a sentence and 2, takes longer than `SLOW` s (it is ended
after `HANG` s), writes outside its folder, starts a program, opens a connection, passes a limit of its station, or
kills its process, which may not have more than `MEMORY` bytes of address space. Each kind runs in processes of its own.
"""

import faulthandler
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

MEMORY = 8 << 30
SLOW, HANG = 30.0, 180.0
COUNTS = {
    "station": 1500, "bench": 1500, "preset": 1000, "faults": 1000, "schedule": 1500, "week": 1200, "pattern": 1200,
    "journal": 750, "run": 500,
}  # fmt: skip


def work(kind: str, first: int, last: int, folder: Path) -> None:
    """The cases `first` to `last` - 1 of a kind, in this process; one line of JSON a case."""
    os.environ["OHMFLOW_HOME"] = str(folder / "home")
    os.environ["MPLCONFIGDIR"] = str(folder / "matplotlib")
    os.environ["COLUMNS"] = "2000"
    faulthandler.dump_traceback_later(HANG, exit=True)
    import matplotlib

    matplotlib.use("Agg")
    from file_mutations import TRIALS, Bed, Watch, generator, warm_up

    bed = Bed.made(folder)
    os.chdir(folder)
    warm_up(bed)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    watch = Watch((str(folder),))
    for number in range(first, last):
        faulthandler.dump_traceback_later(HANG, exit=True)
        print(json.dumps({"at": number}), flush=True)
        started, code, wrong = time.monotonic(), -1, ""
        try:
            with watch.watching():
                outcome = TRIALS[kind](bed, generator(kind, number))
            code, wrong = outcome.code, outcome.wrong
        except Exception as error:
            places = [f"{Path(f.filename).name}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)[-4:]]
            wrong = f"{type(error).__name__}: {str(error)[:200]} at {', '.join(places)}"
        seconds = time.monotonic() - started
        if watch.found:
            wrong = "; ".join([wrong, *watch.found[:3]])
            watch.found.clear()
        if seconds > SLOW:
            wrong += f" took {seconds:.0f} s"
        print(json.dumps({"code": code, "wrong": wrong, "seconds": seconds}), flush=True)
    print(json.dumps({"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10}), flush=True)


def cases(kind: str, count: int) -> tuple[Counter[str], list[str], float, int]:
    """Run `count` cases of a kind; gives outcomes, what went wrong, the longest case in s, and peak memory in bytes."""
    found: Counter[str] = Counter()
    wrong: list[str] = []
    slowest, peak, first = 0.0, 0, 0
    while first < count:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-W", "error", __file__, "worker", kind, str(first), str(count), folder]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
        at = first - 1
        for line in done.stdout.splitlines():
            if not line.startswith("{"):
                continue
            said = json.loads(line)
            at, peak = said.get("at", at), max(peak, said.get("peak", 0))
            if "code" in said:
                found["accepted" if said["code"] == 0 else "told" if said["code"] == 2 else "wrong"] += 1
                slowest = max(slowest, said["seconds"])
                if said["wrong"]:
                    wrong.append(f"{kind} {at}: {said['wrong']}")
        if done.returncode == 0:
            break
        if at < first:
            raise RuntimeError(f"the worker did not start: {done.stderr[-2000:]}")
        found["died"] += 1
        wrong.append(f"{kind} {at}: the process died ({done.returncode}): {done.stderr[-1500:]}")
        first = at + 1
    return found, wrong, slowest, peak


def main() -> None:
    """Run and report."""
    counts = dict(COUNTS)
    if len(sys.argv) > 1:
        counts = dict.fromkeys(sys.argv[2:] or COUNTS, int(sys.argv[1]))
    total, bad = 0, 0
    for kind, count in counts.items():
        started = time.monotonic()
        found, wrong, slowest, peak = cases(kind, count)
        total, bad = total + count, bad + len(wrong)
        print(
            f"{kind:9} {count:5} files: {dict(found)}, {len(wrong)} wrong; slowest {slowest:.1f} s, "
            f"peak {peak >> 20} MiB, {time.monotonic() - started:.0f} s in all",
            flush=True,
        )
        for line in wrong[:20]:
            print("   ", line)
    print(f"{total} files, {bad} wrong")
    sys.exit(bool(bad))


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        work(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
    else:
        main()
