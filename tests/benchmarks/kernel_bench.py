"""The sampling kernel against other solvers and against the processor's own limit, in one run.

    python tests/benchmarks/kernel_bench.py --out kernel-bench                 everything, some ten minutes
    python tests/benchmarks/kernel_bench.py --only speed --rounds 5            the ratios alone

Solvers that are not installed are left out by name; `pip install ".[bench]"` brings all. Everything but the threads
runs on one core and is timed in seconds of processor time, so that neighbours on a shared machine take less part;
solvers take turns, round by round, and a ratio is the median over rounds of the ratio within a round. The limit is a
loop of multiply-adds of the processor's full vector width on twelve independent registers.
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

from analysis.diffusion.data import ring_training_set
from analysis.diffusion.training import RECIPES, train_cached
from analysis.kernel.counter import draw_keys
from analysis.kernel.equation import CellNoise, Equation, diffusing
from analysis.kernel.simd import LANES, fma, load, store
from analysis.kernel.solve import default_path, solve, trajectories

REGISTERS = 12


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
    return repeats * REGISTERS * LANES * 2 / (time.process_time() - begin)


def processor_seconds(work: Callable[[], Any]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def _bound(solver: Callable[[int], Any], n: int) -> Callable[[], Any]:
    return lambda: solver(n)


def speed(equation: Equation, noisy: Equation, n: int, rounds: int) -> list[str]:
    """Trajectories a second of every solver, and the ratios that matter."""
    rng = np.random.default_rng(1)

    def number(name: str) -> int:
        # A tenth is enough where a trajectory takes a hundred times as long.
        return max(1, n // 10) if name.startswith("aihwkit") else n

    runs: dict[str, Callable[[], Any]] = {
        "ohmflow kernel (SDE)": lambda: solve(equation, n, rng),
        "ohmflow kernel (SDE, read noise)": lambda: solve(noisy, n, rng),
        "ohmflow kernel (ODE)": lambda: solve(still, n, rng),
    }
    still = replace(equation, rates=equation.rates * np.array([1.0, 1.0, 0.0]))
    missing = []
    for name, factory in CONTENDERS.items():
        try:
            runs[name] = _bound(factory(equation), number(name))
        except ImportError as error:
            missing.append(f"left out: {name} ({error})")
    for work in runs.values():
        work()  # compiles
    taken: dict[str, list[float]] = {name: [] for name in runs}
    peaks = []
    for _ in range(rounds):
        for name, work in runs.items():
            if name.startswith("ohmflow"):
                # Beside every run of the kernel: a clock that slows down slows both.
                peaks.append((name, peak_flops()))
            taken[name].append(processor_seconds(work) * n / number(name))
    ours = taken["ohmflow kernel (SDE)"]
    lines = [f"{n} trajectories x {equation.steps} steps, width {equation.hidden}, one core, {rounds} rounds", ""]
    lines.append(f"{'solver':42s} {'1000/s':>9s} {'kernel (SDE) is faster by':>26s}")
    for name, seconds in taken.items():
        ratio = statistics.median(theirs / mine for theirs, mine in zip(seconds, ours, strict=True))
        lines.append(f"{name:42s} {n / statistics.median(seconds) / 1e3:9.1f} {ratio:26.2f}")
    flop = equation.flop_per_step * equation.steps * n
    for name in list(runs)[:3]:
        at = [p for who, p in peaks if who == name]
        share = statistics.median(flop / s / p for s, p in zip(taken[name], at, strict=True))
        lines.append(f"{name}: {100 * share:.0f} % of the measured peak of {statistics.median(at) / 1e9:.0f} GFLOP/s")
    ratio = statistics.median(a / b for a, b in zip(ours, taken["ohmflow kernel (SDE, read noise)"], strict=True))
    lines.append(f"speed with read noise / without: {ratio:.3f}")
    return lines + missing


def threads(equation: Equation, n: int, rounds: int) -> list[str]:
    """Gain of two threads over one, pairs in turn: by the wall clock, and by processor time.

    The wall clock counts neighbours on the machine too. If both cores were free, two threads would gain twice the
    ratio of the processor times: what the threads take from each other is in it, what the neighbours take is not.
    """
    solve(equation, n, np.random.default_rng(1))
    walls, works = [], []
    for k in range(2 * rounds):
        wall, work = {}, {}
        for count in (1, 2) if k % 2 == 0 else (2, 1):
            begin, before = time.perf_counter(), time.process_time()
            solve(equation, n, np.random.default_rng(1), threads=count)
            wall[count], work[count] = time.perf_counter() - begin, time.process_time() - before
        walls.append(wall[1] / wall[2])
        works.append(2.0 * work[1] / work[2])
    return [
        f"two threads / one, wall clock: median {statistics.median(walls):.2f}, best {max(walls):.2f}",
        f"two threads / one, by processor time: median {statistics.median(works):.2f}",
    ]


def resized(equation: Equation, width: int, steps: int | None = None) -> Equation:
    """Return an equation of another width or number of steps; the weights are random: only the time counts."""
    rng = np.random.default_rng(width)
    shapes = ((width, 3), (width, width + 1), (2, width + 1))
    rows = np.arange(steps or equation.steps) * equation.steps // (steps or equation.steps)
    weights = tuple(rng.standard_normal(s) / np.sqrt(s[1]) for s in shapes)
    return replace(
        equation, weights=weights, embedding=np.zeros((len(rows), width)), rates=equation.rates[rows], variances=None
    )


def scaling(equation: Equation, out: Path) -> list[str]:
    """Cost against trajectories, steps, width and threads, as a table and a figure."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    rng = np.random.default_rng(2)

    def best(work: Callable[[], Any]) -> float:
        work()
        return min(processor_seconds(work) for _ in range(3))

    steps, flop = equation.steps, equation.flop_per_step
    numbers = [100, 1000, 10_000, 100_000, 1_000_000]
    by_number = [best(lambda n=n: solve(equation, n, rng)) / (n * steps) for n in numbers]
    counts = [10, 50, 200, 1000, 5000]
    longer = [resized(equation, equation.hidden, s) for s in counts]
    by_steps = [best(lambda e=e: solve(e, 4_000_000 // e.steps, rng)) / 4e6 for e in longer]
    widths = [14, 32, 64, 128, 256, 512]
    wide = [resized(equation, w, 50) for w in widths]
    by_width = []
    for e in wide:
        n = max(64, int(2e9 / (e.flop_per_step * 50)) // 64 * 64)
        by_width.append(best(lambda e=e, n=n: solve(e, n, rng)) / (n * 50 * e.flop_per_step))
    lines = ["", f"{'trajectories':>14s} {'ns a step':>10s}"]
    lines += [f"{n:14d} {1e9 * s:10.2f}" for n, s in zip(numbers, by_number, strict=True)]
    lines += [f"{'steps':>14s} {'ns a step':>10s}"]
    lines += [f"{n:14d} {1e9 * s:10.2f}" for n, s in zip(counts, by_steps, strict=True)]
    lines += [f"{'width':>14s} {'ps a FLOP':>10s}"]
    lines += [f"{n:14d} {1e12 * s:10.2f}" for n, s in zip(widths, by_width, strict=True)]
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), constrained_layout=True)
    for axis, x, y, label in zip(
        axes, (numbers, counts, widths), (by_number, by_steps, by_width),
        ("trajectories", "steps", "width of the hidden layers"), strict=True,
    ):  # fmt: skip
        axis.plot(x, np.array(y) * (1e12 if x is widths else 1e9), "o-", color="k")
        axis.set_xscale("log", base=2 if x is widths else 10)
        axis.set_ylim(bottom=0.0)
        axis.set_xlabel(label)
        axis.set_ylabel("ps a FLOP" if x is widths else "ns a trajectory's step")
    figure.savefig(out / "kernel-bench.png", dpi=150)
    plt.close(figure)
    return [*lines, f"{flop} FLOP a step at width {equation.hidden}; figure in {out / 'kernel-bench.png'}"]


def memory(equation: Equation) -> list[str]:
    """Largest memory of 1e8 points of trajectories, all of them kept."""
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kept = trajectories(equation, 10**8 // equation.steps, draw_keys(np.random.default_rng(3)), every=1)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return [f"{kept.shape[0] * kept.shape[1]:.1e} points kept: {(after - before) / 1024:.0f} MB more than before"]


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
    parts: dict[str, Callable[[], list[str]]] = {
        "memory": lambda: memory(equation),
        "speed": lambda: speed(plain, noisy, asked.trajectories, asked.rounds),
        "threads": lambda: threads(plain, 4 * asked.trajectories, asked.rounds),
        "scaling": lambda: scaling(plain, asked.out),
        "agreement": lambda: agreement(network, diffusing(model.drive), asked.agreement),
        "order": lambda: strong_order(equation),
    }
    chosen = default_path()
    lines = [f"path: {chosen.name} ({chosen.reason}), {LANES} lanes"]
    print(lines[0], flush=True)
    for name, part in parts.items():
        if asked.only is None or name in asked.only:
            print(f"\n== {name}", flush=True)
            found = part()
            print("\n".join(found), flush=True)
            lines += ["", f"== {name}", *found]
    (asked.out / "kernel-bench.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
