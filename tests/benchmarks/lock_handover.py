"""Two services on one station, killed at random instants: exactly one drives at a time.

    python tests/benchmarks/lock_handover.py [--handovers 1000] [--seed 1] [--waiters 8] [--folder FOLDER]

Each service takes the station, drives for some ms, releases and comes back at once; a killer ends them with SIGKILL at
random (seeded) instants and a new process follows. Whoever drives proves alone in two ways that know nothing of the
locks: a marker file that only one can make (O_EXCL), and a log of entries and exits. A port that a kill closes some
time after the lock stands for an instrument's. Fails on any violation; prints the numbers.
"""

import argparse
import fcntl
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from instruments.clock import WallClock
from workflows.locking import Held, InstrumentKey, StationLocks

KEYS = (InstrumentKey("GPIB0::17 at here", "analyzer"), InstrumentKey("ASRL1 at here", "board"))


def drive(folder: Path, held: Held, service: str, rng: random.Random) -> None:
    """What only one may do at a time."""
    log = os.open(folder / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    marker, me = folder / "marker", f"{service} {os.getpid()}"

    def note(what: str) -> None:
        os.write(log, f"{time.perf_counter_ns()} {what} {me}\n".encode())

    try:
        try:
            found = marker.read_text()
        except FileNotFoundError:
            found = ""
        if found:
            # Left by somebody who was killed: the locks must have told us, and the process must be gone.
            told = {f"{owner.run} {owner.pid}" for owner in held.abandoned.values()}
            note("takeover" if told and gone(int(found.split()[1])) else "VIOLATION-marker")
            marker.unlink()
        held.made_safe()
        note("enter")
        try:
            fd = os.open(marker, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            note("VIOLATION-exclusive")
            return
        os.write(fd, me.encode())
        os.close(fd)
        port = os.open(folder / "port", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(port, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note("port-busy")
        WallClock().sleep(rng.uniform(0, 20e-3))
        held.check()
        os.close(port)
        marker.unlink()
        note("exit")
    finally:
        os.close(log)


def gone(pid: int) -> bool:
    """Whether a process has ended; its parent may not have noticed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def serve(folder: Path, service: str, seed: int) -> None:
    """One process of a service, until it is killed."""
    rng, locks = random.Random(seed), StationLocks(folder / "locks", host="here")
    while True:
        with locks.acquire_keys(KEYS, run=service, owner="bench") as held:
            drive(folder, held, service, rng)


def fork(work: Callable[[], None]) -> int:
    """Do `work` in a child; its process number."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException as error:  # a child must not go on as its parent
            print(f"VIOLATION: {error!r}", flush=True)
        os._exit(1)
    return pid


def count(log: Path) -> int:
    """Changes of the driving service so far."""
    services = [line.split()[2] for line in log.read_text().splitlines() if " enter " in line]
    return sum(a != b for a, b in pairwise(services))


def judge(lines: list[str], kills: dict[int, int]) -> tuple[int, list[float], list[float], int, int]:
    """Violations, hand-overs after a release and after a kill in ms, take-overs, and ports found busy."""
    violations, released, killed = 0, [], []
    inside: tuple[int, str] | None = None  # since when, who
    left: tuple[int, str] | None = None
    for line in lines:
        at, what, service, pid = line.split()
        instant, who = int(at), f"{service} {pid}"
        violations += what.startswith("VIOLATION")
        if what == "enter":
            if inside is not None:
                # Somebody never left: it must have been killed, and before this.
                ended = kills.get(int(inside[1].split()[1]))
                violations += ended is None or ended > instant
                if ended is not None and not inside[1].startswith(service):
                    killed.append((instant - ended) / 1e6)
            elif left is not None and not left[1].startswith(service):
                released.append((instant - left[0]) / 1e6)
            inside = instant, who
        elif what == "exit":
            violations += inside is None or inside[1] != who
            inside, left = None, (instant, who)
    words = [line.split()[1] for line in lines]
    return violations, released, killed, words.count("takeover"), words.count("port-busy")


def waiting_cost(folder: Path, waiters: int) -> float:
    """Share of a core that one waiter costs while `waiters` of them queue, 5 s to 9 s after they came."""
    locks = StationLocks(folder / "quiet", host="here")

    def queue() -> None:
        locks.acquire_keys(KEYS, run="waiter")

    clock = WallClock()
    with locks.acquire_keys(KEYS, run="holder"):
        pids = [fork(queue) for _ in range(waiters)]
        clock.sleep(5)
        before = [cpu(pid) for pid in pids]
        clock.sleep(4)
        used = [cpu(pid) - start for pid, start in zip(pids, before, strict=True)]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return max(used) / 4


def cpu(pid: int) -> float:
    """Seconds of processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--handovers", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--waiters", type=int, default=8)
    parser.add_argument("--folder", type=Path, help="where to work, for instance on a shared file system")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder, rng, clock = Path(name), random.Random(options.seed), WallClock()
        (folder / "log").touch()
        kills: dict[int, int] = {}
        running = {service: fork(lambda s=service: serve(folder, s, 0)) for service in ("A", "B")}
        while count(folder / "log") < options.handovers:
            clock.sleep(rng.uniform(0, 0.2))
            service = rng.choice(("A", "B"))
            pid = running[service]
            kills[pid] = time.perf_counter_ns()
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            running[service] = fork(lambda s=service: serve(folder, s, len(kills)))
            if clock.now() > options.handovers:
                print("FAILED: hangs")
                break
        took = clock.now()
        for pid in running.values():
            kills[pid] = time.perf_counter_ns()
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        lines = (folder / "log").read_text().splitlines()
        violations, released, killed, takeovers, ports = judge(lines, kills)
        print(
            f"handovers {count(folder / 'log')}, kills {len(kills)} ({takeovers} of them while driving), {took:.0f} s"
        )
        print(f"violations {violations}, instrument's port still busy at entry {ports}")
        for what, ms in (("release", released), ("kill", killed)):
            worst = f"95 % {sorted(ms)[int(0.95 * len(ms))]:.1f} ms, longest {max(ms):.1f} ms"
            print(f"hand-over after a {what}: median {statistics.median(ms):.1f} ms, {worst} ({len(ms)})")
        begin, turns = time.perf_counter(), 200
        locks = StationLocks(folder / "alone", host="here")
        for _ in range(turns):
            locks.acquire_keys(KEYS, run="alone").release()
        print(f"taking and releasing two free instruments: {(time.perf_counter() - begin) / turns * 1e3:.2f} ms")
        with locks.acquire_keys(KEYS, run="alone") as held:
            begin = time.perf_counter()
            for _ in range(10_000):
                held.check()
            print(f"check of both: {(time.perf_counter() - begin) / 10_000 * 1e6:.1f} us")
        cost = waiting_cost(folder, options.waiters)
        print(f"a waiter among {options.waiters} costs at most {cost:.1%} of a core")
    return 1 if violations else 0


if __name__ == "__main__":
    raise SystemExit(main())
