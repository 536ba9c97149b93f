"""The sampling kernel against other solvers and against the processor's own limit, in one run.

    python tests/benchmarks/kernel_bench.py --out kernel-bench                 everything, some ten minutes
    python tests/benchmarks/kernel_bench.py --only speed --rounds 5            the ratios alone

Solvers that are not installed are left out by name; `pip install ".[bench]"` brings all. Everything but the threads
runs on one core and is timed in seconds of processor time, so that neighbours on a shared machine take less part;
solvers take turns, round by round, and a ratio is the median over rounds of the ratio within a round. The limit is a
loop of multiply-adds of the processor's full vector width on twelve independent vectors.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

# One thread each; XLA reads this when jax is imported.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numba
import numpy as np
import torch
from kernel_accuracy import agreement, strong_order
from kernel_contenders import CONTENDERS
from kernel_report import Report

from analysis.diffusion.data import ring_training_set
from analysis.diffusion.hardware import CLAMP
from analysis.diffusion.training import RECIPES, train_cached
from analysis.kernel.counter import draw_keys
from analysis.kernel.equation import CellNoise, Equation, diffusing
from analysis.kernel.simd import LANES, TILE, fma, load, store
from analysis.kernel.solve import default_path, solve, trajectories

VECTORS = 12


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _multiply_add(start: Any, out: Any, repeats: int) -> None:
    s0, s1, s2, s3 = load(start, 0), load(start, 1), load(start, 2), load(start, 3)
    s4, s5, s6, s7 = load(start, 4), load(start, 5), load(start, 6), load(start, 7)
    s8, s9, s10, s11 = load(start, 8), load(start, 9), load(start, 10), load(start, 11)
    m, c = load(start, 16), load(start, 32)
    for _ in range(repeats):
        s0, s1, s2, s3 = fma(s0, m, c), fma(s1, m, c), fma(s2, m, c), fma(s3, m, c)
        s4, s5, s6, s7 = fma(s4, m, c), fma(s5, m, c), fma(s6, m, c), fma(s7, m, c)
        s8, s9, s10, s11 = fma(s8, m, c), fma(s9, m, c), fma(s10, m, c), fma(s11, m, c)
    store(out, 0, s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7 + s8 + s9 + s10 + s11)


def peak_flops(repeats: int = 10_000_000) -> float:
    """Multiplications and additions a second of processor time that one core reaches at best."""
    start = np.random.default_rng(0).uniform(0.1, 0.5, 64).astype(np.float32)
    out = np.zeros(64, np.float32)
    _multiply_add(start, out, 1)
    begin = time.process_time()
    _multiply_add(start, out, repeats)
    return repeats * VECTORS * TILE * 2 / (time.process_time() - begin)


def processor_seconds(work: Callable[[], Any]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def _bound(solver: Callable[[int], Any], n: int) -> Callable[[], Any]:
    return lambda: solver(n)


def speed(report: Report, equation: Equation, noisy: Equation, n: int, rounds: int) -> None:
    """Trajectories a second of every solver, and the ratios that matter."""
    rng = np.random.default_rng(1)

    def number(name: str) -> int:
        # A tenth is enough where a trajectory takes a hundred times as long.
        return max(1, n // 10) if name.startswith("aihwkit") else n

    ours, still = "ohmflow kernel (SDE)", replace(equation, rates=equation.rates * np.array([1.0, 1.0, 0.0]))
    clamped = replace(equation, clamp=CLAMP)
    runs: dict[str, Callable[[], Any]] = {
        ours: lambda: solve(equation, n, rng),
        "ohmflow kernel (SDE, read noise)": lambda: solve(noisy, n, rng),
        "ohmflow kernel (SDE, clamps)": lambda: solve(clamped, n, rng),
        "ohmflow kernel (SDE, clamps, read noise)": lambda: solve(replace(noisy, clamp=CLAMP), n, rng),
        "ohmflow kernel (ODE)": lambda: solve(still, n, rng),
    }
    kernels = list(runs)
    for name, factory in CONTENDERS.items():
        try:
            runs[name] = _bound(factory(equation), number(name))
        except ImportError as error:
            report.remark("speed", f"left out: {name} ({error})")
    for work in runs.values():
        work()  # compiles
    taken: dict[str, list[float]] = {name: [] for name in runs}
    peaks: dict[str, list[float]] = {name: [] for name in kernels}
    for _ in range(rounds):
        for name, work in runs.items():
            if name in peaks:
                # Beside every run of the kernel: a clock that slows down slows both.
                peaks[name].append(peak_flops())
            taken[name].append(processor_seconds(work) * n / number(name))
    report.remark(
        "speed",
        f"{n} trajectories x {equation.steps} steps, width {equation.hidden}, one core, processor time, {rounds} "
        "rounds; speeds are the best round's, ratios the median of the rounds'",
    )
    for name, seconds in taken.items():
        report.add("speed", name, n / min(seconds) / 1e3, "1000 trajectories a second")
    for name, seconds in taken.items():
        ratio = statistics.median(theirs / mine for theirs, mine in zip(seconds, taken[ours], strict=True))
        report.add("speed", f"{ours} / {name}", ratio, "times as fast")
    flop = equation.flop_per_step * equation.steps * n
    for name in (ours, kernels[-1]):
        share = statistics.median(flop / s / p for s, p in zip(taken[name], peaks[name], strict=True))
        report.add("speed", f"{name}, share of the peak", 100 * share, "%")
    report.add("speed", "measured peak", max(p for found in peaks.values() for p in found) / 1e9, "GFLOP/s")
    for plain, reading in ((kernels[0], kernels[1]), (kernels[2], kernels[3])):
        ratio = statistics.median(a / b for a, b in zip(taken[plain], taken[reading], strict=True))
        report.add("speed", f"{reading} / {plain}", ratio, "of its speed")


def threads(report: Report, equation: Equation, n: int, rounds: int) -> None:
    """Gain of several threads over one, in turn: by the wall clock, and by processor time.

    The wall clock counts neighbours on the machine too. If all cores were free, k threads would gain k times the ratio
    of the processor times: what the threads take from each other is in it, what the neighbours take is not.
    """
    counts = [c for c in (1, 2, 4, 8, 16, 32) if c <= (os.cpu_count() or 1)]
    solve(equation, n, np.random.default_rng(1))
    walls: dict[int, list[float]] = {c: [] for c in counts}
    works: dict[int, list[float]] = {c: [] for c in counts}
    for k in range(2 * rounds):
        for count in counts if k % 2 == 0 else counts[::-1]:
            begin, before = time.perf_counter(), time.process_time()
            solve(equation, n, np.random.default_rng(1), threads=count)
            walls[count].append(time.perf_counter() - begin)
            works[count].append(time.process_time() - before)
    report.remark("threads", f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for count in counts:
        gains = [a / b for a, b in zip(walls[1], walls[count], strict=True)]
        report.add("threads", str(count), min(walls[1]) / min(walls[count]), "times one thread")
        report.add("threads", f"{count}, median of pairs", statistics.median(gains), "times one thread, by the wall")
        work = statistics.median(count * a / b for a, b in zip(works[1], works[count], strict=True))
        report.add("threads", f"{count}, by processor time", work, "times one thread, if all cores were free")


def resized(equation: Equation, width: int, steps: int | None = None) -> Equation:
    """Return an equation of another width or number of steps; the weights are random: only the time counts."""
    rng = np.random.default_rng(width)
    shapes = ((width, 3), (width, width + 1), (2, width + 1))
    rows = np.arange(steps or equation.steps) * equation.steps // (steps or equation.steps)
    weights = tuple(rng.standard_normal(s) / np.sqrt(s[1]) for s in shapes)
    return replace(
        equation, weights=weights, embedding=np.zeros((len(rows), width)), rates=equation.rates[rows], variances=None
    )


def scaling(report: Report, equation: Equation) -> None:
    """Cost against trajectories, steps and width."""
    rng = np.random.default_rng(2)

    def best(work: Callable[[], Any]) -> float:
        work()
        return min(processor_seconds(work) for _ in range(3))

    for n in (100, 1000, 10_000, 100_000, 1_000_000):
        seconds = best(lambda n=n: solve(equation, n, rng))
        report.add("trajectories", str(n), 1e9 * seconds / (n * equation.steps), "ns a step")
    for steps in (10, 50, 200, 1000, 5000):
        longer = resized(equation, equation.hidden, steps)
        seconds = best(lambda e=longer: solve(e, 4_000_000 // e.steps, rng))
        report.add("steps", str(steps), 1e9 * seconds / 4e6, "ns a step")
    for width in (14, 32, 64, 128, 256, 512):
        wide = resized(equation, width, 50)
        n = max(64, int(2e9 / (wide.flop_per_step * 50)) // 64 * 64)
        seconds = best(lambda e=wide, n=n: solve(e, n, rng))
        report.add("width", str(width), 1e12 * seconds / (n * 50 * wide.flop_per_step), "ps a FLOP")
    report.add("width at the peak", "multiply-adds alone", 1e12 / max(peak_flops() for _ in range(3)), "ps a FLOP")


def memory(report: Report, equation: Equation) -> None:
    """Largest memory of 1e8 points of trajectories, all of them kept."""
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kept = trajectories(equation, 10**8 // equation.steps, draw_keys(np.random.default_rng(3)), every=1)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report.add("memory", f"{kept.shape[0] * kept.shape[1]:.1e} points kept", (after - before) / 1024, "MB more")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("kernel-bench"))
    parser.add_argument(
        "--only", nargs="+", choices=["speed", "threads", "memory", "scaling", "agreement", "order"], default=None
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trajectories", type=int, default=100_000)
    parser.add_argument("--agreement", type=int, default=1_000_000, help="trajectories of the comparison of laws")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".ohmflow" / "networks")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    model, _ = train_cached(asked.cache, RECIPES["quick"], 0, ring_training_set(np.random.default_rng([0, 7])))
    network = model.ideal_network()
    equation = Equation.of_drive(network, diffusing(model.drive))
    plain = replace(equation, clamp=None)
    noisy = plain.with_read_noise(network, CellNoise(memory=0.02))
    report, chosen = Report(), default_path()
    parts: dict[str, Callable[[], None]] = {
        "memory": lambda: memory(report, equation),
        "speed": lambda: speed(report, plain, noisy, asked.trajectories, asked.rounds),
        "threads": lambda: threads(report, plain, 4 * asked.trajectories, asked.rounds),
        "scaling": lambda: scaling(report, plain),
        "order": lambda: strong_order(report, equation),
        "agreement": lambda: agreement(report, network, diffusing(model.drive), asked.agreement),
    }
    report.remark("path", f"{chosen.name} ({chosen.reason}), {LANES} lanes")
    for name, part in parts.items():
        if asked.only is None or name in asked.only:
            print(f"\n== {name}", flush=True)
            part()
            report.write(asked.out)
    print(f"\nkernel-bench.csv, .md and .png in {asked.out}")


if __name__ == "__main__":
    main()
