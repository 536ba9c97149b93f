"""What the live view shows and costs: updates a second as a run programs, the run's own cost, a large file's opening.

    python tests/benchmarks/view_cost.py [--pairs 5]        a programming run, alone and looked at
    python tests/benchmarks/view_cost.py --within 4         runs that are looked at every other second or so
    python tests/benchmarks/view_cost.py --open RUN [--times 5]         opening a run's page in a fresh server

The runs of a pair are the same run (same chip, same seed, same pulses), in turn first with and first without a viewer;
the viewer is a client that asks as the page does. The cost is the run's own CPU time, and its wall time, each as the
mean of the pairs' ratios with its standard error. On a machine that is busy with other things that is mostly noise;
`--within` compares stretches of one run, with a viewer and without one in the order ABBA, by the run's CPU time a
byte of its journal, as neighbouring stretches share whatever else goes on. Bars: >= 2 updates a second, < 2 %; a
file of 2 GB (`large_run.py` writes one): <= 2 s, <= 300 MB.
"""

import argparse
import contextlib
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
OHMFLOW = [sys.executable, "-m", "workflows.cli"]


@contextlib.contextmanager
def view(what: Path, home: Path) -> Iterator[tuple[str, int]]:
    """`ohmflow view` in a process of its own: its address and process number."""
    environment = {**ENVIRONMENT, "OHMFLOW_HOME": str(home), "COLUMNS": "400"}
    process = subprocess.Popen([*OHMFLOW, "view", str(what)], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, line
        yield found[0], process.pid
    finally:
        process.terminate()
        process.wait()


class Viewer(threading.Thread):
    """Asks for a run as its page does, until told to stop; counts what is new."""

    def __init__(self, url: str, name: str) -> None:
        super().__init__()
        self.address = f"{url}api/run/{quote(name)}"
        self.updates: list[float] = []
        self.stop = threading.Event()

    def run(self) -> None:
        """Ask, look, and ask again."""
        mark, events = "", -1
        with httpx.Client(trust_env=False, timeout=30) as client:
            while not self.stop.is_set():
                found = client.get(self.address, params={"after": mark, "hold": "5"}).json()
                mark = found["mark"]
                if found.get("problem") or found.get("unchanged"):
                    continue
                # An update is news: other marks with the same events do not count.
                if found["status"]["live"] and found["progress"]["events"] != events:
                    events = found["progress"]["events"]
                    self.updates.append(time.perf_counter())
                time.sleep(0.1)  # as the page does


def used_by(process: int) -> float:
    """CPU time of a process so far, s."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def program(runs: Path, name: str, home: Path) -> tuple[float, float]:
    """A programming run: its CPU and wall time, s."""
    command = [*OHMFLOW, "program", "--direct", "--runs", str(runs), "--run-id", name, "--chip", "7", "--fresh"]
    environment = {**ENVIRONMENT, "OHMFLOW_HOME": str(home)}
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0, status
    return used.ru_utime + used.ru_stime, time.perf_counter() - began


def pairs(count: int) -> None:
    """Runs alone and looked at, in pairs."""
    with tempfile.TemporaryDirectory() as folder:
        home, runs = Path(folder) / "home", Path(folder) / "runs"
        runs.mkdir()
        cpu, wall, rates = [], [], []
        with view(runs, home) as (url, server):
            program(runs, "warm", home)  # compiles what is compiled
            for pair in range(count):
                times = {}
                for looked in (pair % 2 == 0, pair % 2 == 1):
                    name = f"run-{pair}-{looked}"
                    viewer = Viewer(url, name)
                    before = used_by(server)
                    if looked:
                        viewer.start()
                    times[looked] = program(runs, name, home)
                    if looked:
                        viewer.stop.set()
                        viewer.join()
                        share = (used_by(server) - before) / times[looked][1]
                        spans = viewer.updates[-1] - viewer.updates[0]
                        rates.append((len(viewer.updates) - 1) / spans)
                    shutil.rmtree(runs / name)
                cpu.append(times[True][0] / times[False][0] - 1)
                wall.append(times[True][1] / times[False][1] - 1)
                alone, seen = times[False], times[True]
                print(
                    f"pair {pair}: CPU {alone[0]:.2f} s alone, {seen[0]:.2f} s looked at; wall {alone[1]:.2f}, "
                    f"{seen[1]:.2f} s; {rates[-1]:.2f} updates/s, the view's server at {100 * share:.1f} % of a core",
                    flush=True,
                )
        for what, ratios in (("CPU", cpu), ("wall", wall)):
            error = statistics.stdev(ratios) / len(ratios) ** 0.5 if len(ratios) > 1 else float("nan")
            print(
                f"cost in {what} time: mean {100 * statistics.mean(ratios):+.2f} % +- {100 * error:.2f} %, "
                f"median {100 * statistics.median(ratios):+.2f} %"
            )
        print(f"updates/s: mean {statistics.mean(rates):.2f}, least {min(rates):.2f}")


def within(count: int, stretch: float = 1.0) -> None:
    """Runs that are looked at now and then."""
    with tempfile.TemporaryDirectory() as folder:
        home, runs = Path(folder) / "home", Path(folder) / "runs"
        runs.mkdir()
        ratios: list[float] = []
        with view(runs, home) as (url, _):
            for number in range(count):
                name = f"run-{number}"
                command = [*OHMFLOW, "program", "--direct", "--runs", str(runs), "--run-id", name, "--chip", "7"]
                environment = {**ENVIRONMENT, "OHMFLOW_HOME": str(home)}
                process = subprocess.Popen([*command, "--fresh"], stdout=subprocess.DEVNULL, env=environment)
                costs = list(_stretches(process, runs / name / "journal.jsonl", Viewer, (url, name), stretch))
                process.wait()
                for first in range(0, len(costs) - 3, 4):
                    a, b, c, d = costs[first : first + 4]
                    ratios.append((b + c) / (a + d) - 1)
                shutil.rmtree(runs / name)
                if len(ratios) > 1:
                    error = statistics.stdev(ratios) / len(ratios) ** 0.5
                    print(
                        f"cost in CPU time a byte of journal: mean {100 * statistics.mean(ratios):+.2f} % +- "
                        f"{100 * error:.2f} %, median {100 * statistics.median(ratios):+.2f} %, of {len(ratios)} fours",
                        flush=True,
                    )


def _stretches(
    process: "subprocess.Popen[bytes]", journal: Path, viewer: type[Viewer], of: tuple[str, str], length: float
) -> Iterator[float]:
    """CPU time a byte of the journal of the programming phase's stretches, alone, looked at, looked at, alone, ..."""

    def spent() -> tuple[float, int]:
        # Both at once: what the run does between two calls would count for one of them only.
        while True:
            begun = time.perf_counter()
            cpu = int(Path(f"/proc/{process.pid}/schedstat").read_text().split()[0]) * 1e-9
            size = journal.stat().st_size
            if time.perf_counter() - begun < 5e-4:
                return cpu, size

    while process.poll() is None and not (journal.exists() and b'"name":"program"' in journal.read_bytes()):
        time.sleep(0.05)
    for number in range(1_000_000):
        one = viewer(*of)
        if number % 4 in (1, 2):
            one.start()
            time.sleep(0.3)
        try:
            cpu, size = spent()
            time.sleep(length)
            cpu_after, size_after = spent()
            ended = b'"name":"conductance_after"' in journal.read_bytes()
        except (OSError, IndexError):  # the process is gone
            ended = True
        if one.is_alive():
            one.stop.set()
            one.join()
        if ended or process.poll() is not None:
            return
        yield (cpu_after - cpu) / (size_after - size)


def opening(run: Path, times: int) -> None:
    """A run's page and the pictures on it, each time from a fresh server."""
    size = (run / "run.h5").stat().st_size / 1e9
    for _ in range(times):
        with tempfile.TemporaryDirectory() as home, view(run, Path(home)) as (url, process):
            name = run.resolve().name
            with httpx.Client(trust_env=False, timeout=60, base_url=url) as client:
                began = time.perf_counter()
                client.get(f"/run/{quote(name)}").raise_for_status()
                found = client.get(f"/api/run/{quote(name)}").json()
                assert not found["problem"], found["problem"]
                maps = time.perf_counter() - began
                for scope in found["scopes"]:
                    client.get(f"/api/run/{quote(name)}", params={"scope": scope}).raise_for_status()
                whole = time.perf_counter() - began
                cell = {"array": "0", "cell": "0,0"}
                client.get(f"/api/run/{quote(name)}", params=cell).raise_for_status()
                other = time.perf_counter() - began - whole
            text = Path(f"/proc/{process}/status").read_text()
            memory = int(re.search(r"VmHWM:\s+(\d+)", text)[1]) / 1024  # type: ignore[index]  # Linux always has it
        print(
            f"{size:.2f} GB: maps and trace after {maps:.2f} s, waveforms after {whole:.2f} s, the first cell's trace "
            f"in {other:.2f} s; the server's most memory {memory:.0f} MB",
            flush=True,
        )


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--within", type=int, default=0)
    parser.add_argument("--open", type=Path, default=None)
    parser.add_argument("--times", type=int, default=3)
    given = parser.parse_args()
    if given.open is not None:
        opening(given.open, given.times)
    elif given.within:
        within(given.within)
    else:
        pairs(given.pairs)


if __name__ == "__main__":
    main()
