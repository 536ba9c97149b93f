"""The digital baseline: the same trained network, sampled as well as the analog circuit does it, on this machine.

First the fewest network evaluations whose KL2 reaches a target are sought, then several implementations of exactly
these are timed: eager and compiled torch, numpy, and a compiled loop in float32 on one thread, which is what an
engineer without an accelerator would ship. Starting points are given to all of them, as they are to the board.

Time is read from a stopwatch that is handed in. What comes out is a `Baseline`, which a run file keeps as bytes.
"""

from __future__ import annotations

import json
import platform
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt
import torch

from analysis.baseline_solvers import (
    FLOP_PER_EVALUATION,
    Floats,
    Flow,
    Method,
    digital_flow,
    solve_batch,
    solve_numpy,
    solve_singly,
    torch_solver,
)
from analysis.cost import Energy, Entry
from analysis.diffusion.descent import one_thread
from analysis.diffusion.hardware import AnalogNetwork, Drive
from analysis.errors import AnalysisError
from analysis.metrics import Metric, Truth, kl_2d

Stopwatch = Callable[[], float]

# --- equal quality ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Quality:
    """KL2 of a solver with `steps` steps: mean over the sets and deviation of one set."""

    method: Method
    steps: int
    evaluations: int
    kl_2d: float
    deviation: float


@dataclass(frozen=True)
class Settings:
    """How much is done. `points` must be the number that the target's KL2 was computed from: KL2 falls with it.

    `total_time` bounds the timing, s; `compile_allowance` is what torch.compile needs at first, s: without that much
    left it is not tried. `block` is the least time of one repeat, s.
    """

    points: int = 1000
    sets: int = 8
    steps: tuple[int, ...] = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 25, 32, 40, 50, 64, 80, 100, 200)
    reference_steps: int = 400
    batches: tuple[int, ...] = (1000, 10_000)
    repeats: int = 15
    block: float = 0.02
    total_time: float = 20.0
    compile_allowance: float = 40.0


def find_steps(
    network: AnalogNetwork,
    drive: Drive,
    truth: Truth,
    rng: np.random.Generator,
    target: Metric | None = None,
    settings: Settings | None = None,
) -> tuple[float, Quality, tuple[Quality, ...]]:
    """Find the fewest network evaluations that are as good as the target.

    A method with some number of steps counts if its mean KL2, and that of the same method with more steps, is not
    above the limit: `target.high`, the upper end of the analog result's interval, or without a target the many-step
    solution's mean plus 1.96 deviations.

    Returns:
        The limit, the choice (the best there is, above the limit, if none reaches it), and all that was tried.
    """
    settings = settings or Settings()
    starts = drive.prior.draw(settings.points * settings.sets, rng).astype(np.float32)
    out = np.empty_like(starts)

    def quality(method: Method, steps: int) -> Quality:
        flow = digital_flow(network, drive, method, steps)
        solve_batch(flow, starts, out)
        found = [kl_2d(part, truth) for part in np.split(out.astype(np.float64), settings.sets)]
        spread = float(np.std(found, ddof=1)) if len(found) > 1 else 0.0
        return Quality(method, steps, flow.evaluations, float(np.mean(found)), spread)

    reference = quality("heun", settings.reference_steps)
    limit = target.high if target is not None else reference.kl_2d + 1.96 * reference.deviation
    tried: list[Quality] = []
    good: list[Quality] = []
    methods: tuple[Method, ...] = ("euler", "heun")
    for method in methods:
        of_method = [quality(method, steps) for steps in sorted(settings.steps)]
        tried += of_method
        for candidate in reversed(of_method):
            if candidate.kl_2d > limit:
                break
            good.append(candidate)
    tried.append(reference)
    chosen = min(good, key=lambda q: (q.evaluations, q.kl_2d)) if good else min(tried, key=lambda q: q.kl_2d)
    return limit, chosen, tuple(tried)


# --- measuring --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EnergyModel:
    """What turns seconds and operations into joules where no meter is: all estimates, by name."""

    core_power: float = 330.0 / 48
    core_source: str = "assumed: 330 W over 48 cores, as a Xeon Platinum 8558"
    gpu_power: float = 700.0
    gpu_source: str = "assumed: the power limit of an H100 SXM"
    flop_energy: float = 2.3e-12
    flop_source: str = "3.7 pJ a multiplication, 0.9 pJ an addition (Horowitz, ISSCC 2014); no memory, no control"
    node_factor: float = 16.0
    node_source: str = "assumed: 16 times 45 nm, from C V^2 with 4 C and 2 V; no memory, no control"

    def estimates(self, seconds: float, evaluations: int, gpu: bool) -> tuple[Energy, ...]:
        """Joules of a sample by power and time, and by operations."""
        power, source = (self.gpu_power, self.gpu_source) if gpu else (self.core_power, self.core_source)
        arithmetic = FLOP_PER_EVALUATION * evaluations * self.flop_energy
        return (
            Energy(power * seconds, "estimated", "share of the rated power", source),
            Energy(arithmetic, "estimated", "arithmetic alone, 45 nm", self.flop_source),
            Energy(arithmetic * self.node_factor, "estimated", "arithmetic alone, 180 nm", self.node_source),
        )


class Rapl:
    """The processor packages' energy counters (Linux powercap), all that the packages burn."""

    def __init__(self, folder: Path = Path("/sys/class/powercap")) -> None:
        """Find the readable packages under `folder`."""
        self._zones: list[tuple[Path, float]] = []
        for zone in sorted(folder.glob("intel-rapl:?")):
            try:
                int((zone / "energy_uj").read_text())
                self._zones.append((zone / "energy_uj", float((zone / "max_energy_range_uj").read_text())))
            except (OSError, ValueError):
                continue

    def read(self) -> list[float]:
        """Counters in uJ; empty where there are none."""
        return [float(path.read_text()) for path, _ in self._zones]

    def joules(self, before: Sequence[float], after: Sequence[float]) -> float:
        """Energy between two readings, J; counters may have wrapped once."""
        ranges = (span for _, span in self._zones)
        return sum((b - a) % span for a, b, span in zip(before, after, ranges, strict=True)) * 1e-6


@dataclass(frozen=True)
class Measurement:
    """One implementation: seconds a sample (median, quartiles, over `repeats`), or why there are none (`skipped`)."""

    name: str
    batch: int
    seconds: float | None = None
    quartiles: tuple[float, float] | None = None
    repeats: int = 0
    energies: tuple[Energy, ...] = ()
    skipped: str = ""


@dataclass(frozen=True)
class Baseline:
    """All that was found on one machine, in one run.

    `limit` is the KL2 to be reached on `points` points, `chosen` the solver that all measurements ran; float32,
    `threads` threads.
    """

    cpu: str
    gpu: str
    threads: int
    packages: tuple[tuple[str, str], ...]
    points: int
    limit: float
    chosen: Quality
    tried: tuple[Quality, ...]
    measurements: tuple[Measurement, ...]
    model: EnergyModel = field(default_factory=EnergyModel)

    @property
    def reached(self) -> bool:
        """Whether the digital samples are as good as the target."""
        return self.chosen.kl_2d <= self.limit

    def entries(self) -> tuple[Entry, ...]:
        """What was measured, for a comparison."""
        return tuple(
            Entry(m.name, "measured", m.seconds, m.energies, m.batch, self.reached)
            for m in self.measurements
            if m.seconds is not None
        )

    def to_json(self) -> str:
        """Everything as text; floats come back exactly."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Baseline:
        """Read what `to_json` wrote.

        Raises:
            AnalysisError: it is something else.
        """
        try:
            d = json.loads(text)
            measurements = tuple(
                Measurement(**m | {
                    "energies": tuple(Energy(**e) for e in m["energies"]),
                    "quartiles": None if m["quartiles"] is None else tuple(m["quartiles"]),
                })
                for m in d["measurements"]
            )  # fmt: skip
            return cls(**d | {
                "packages": tuple((name, version) for name, version in d["packages"]),
                "chosen": Quality(**d["chosen"]),
                "tried": tuple(Quality(**q) for q in d["tried"]),
                "measurements": measurements,
                "model": EnergyModel(**d["model"]),
            })  # fmt: skip
        except (ValueError, KeyError, TypeError) as error:
            raise AnalysisError(f"this is no digital baseline: {error!r}") from error

    def to_bytes(self) -> npt.NDArray[np.uint8]:
        """The text in UTF-8, as an array that a run file takes."""
        return np.frombuffer(self.to_json().encode(), dtype=np.uint8)

    @classmethod
    def from_bytes(cls, values: npt.NDArray[np.uint8]) -> Baseline:
        """Read what `to_bytes` made; errors as in `from_json`."""
        return cls.from_json(np.asarray(values, dtype=np.uint8).tobytes().decode(errors="replace"))


def measure_baseline(
    network: AnalogNetwork,
    drive: Drive,
    truth: Truth,
    *,
    rng: np.random.Generator,
    stopwatch: Stopwatch,
    target: Metric | None = None,
    settings: Settings | None = None,
    model: EnergyModel | None = None,
    rapl: Rapl | None = None,
    cpuinfo: Path = Path("/proc/cpuinfo"),
) -> Baseline:
    """Find the cheapest digital solver of the target's quality and time its implementations on one thread.

    Args:
        network: the trained network, ideal or as measured.
        drive: of an ODE.
        truth: what KL2 is measured against.
        rng: of the starting points.
        stopwatch: seconds, increasing; a real one even where the laboratory is simulated.
        target: KL2 of the analog result on `settings.points` points; None: the many-step digital result.
        settings: how much is done.
        model: of the energies.
        rapl: energy counters; None: those of this machine.
        cpuinfo: where Linux tells the processor's name.
    """
    settings, model, rapl = settings or Settings(), model or EnergyModel(), rapl or Rapl()
    limit, chosen, tried = find_steps(network, drive, truth, rng, target, settings)
    flow = digital_flow(network, drive, chosen.method, chosen.steps)
    deadline = stopwatch() + settings.total_time
    measurements: list[Measurement] = []
    with one_thread():
        jobs = list(_jobs(flow, drive, settings, rng))
        for index, job in enumerate(jobs):
            left = deadline - stopwatch()
            name, batch, _, allowance, _ = job
            if left <= allowance:
                reason = f"time is up: {max(left, 0.0):.3g} s left"
                if allowance:
                    reason += f", and compiling may take {allowance:.3g} s"
                measurements.append(Measurement(name, batch, skipped=reason))
                continue
            share = max((left - allowance) / (len(jobs) - index), 0.0)
            measurements.append(_measure(job, share, flow.evaluations, settings, model, rapl, stopwatch))
        threads = torch.get_num_threads()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    packages = tuple((m.__name__, str(m.__version__)) for m in (np, numba, torch))
    return Baseline(
        cpu_name(cpuinfo), gpu, threads, packages, settings.points, limit, chosen, tried, tuple(measurements), model
    )


class _Job(NamedTuple):
    """Something to time: `prepare` returns the call to be timed, which draws `samples` samples."""

    name: str
    batch: int
    samples: int
    allowance: float
    prepare: Callable[[], Callable[[], object]]


def _jobs(flow: Flow, drive: Drive, settings: Settings, rng: np.random.Generator) -> Iterator[_Job]:
    def start(n: int) -> Floats:
        return drive.prior.draw(n, rng).astype(np.float32)

    def kernel(solve: Callable[[Flow, Floats, Floats], None], n: int) -> Callable[[], Callable[[], object]]:
        points = start(n)
        out = np.empty_like(points)
        return lambda: lambda: solve(flow, points, out)

    def in_torch(n: int, device: str = "cpu", compiled: bool = False) -> Callable[[], Callable[[], object]]:
        points = start(n)

        def prepare() -> Callable[[], object]:
            solve, x = torch_solver(flow, device, compiled), torch.tensor(points, device=device)
            return lambda: solve(x)

        return prepare

    many = max(settings.batches)
    yield _Job("compiled loop", 1, many, 0.0, kernel(solve_singly, many))
    yield _Job("compiled loop, vectorised", many, many, 0.0, kernel(solve_batch, many))
    for n in (1, *settings.batches):
        yield _Job("torch, eager", n, n, 0.0, in_torch(n))
    for n in settings.batches:
        points = start(n)
        yield _Job("numpy", n, n, 0.0, lambda points=points: lambda: solve_numpy(flow, points))  # type: ignore[misc]
    if torch.cuda.is_available():
        for n in (1, *settings.batches):
            yield _Job("torch on the GPU, eager", n, n, 0.0, in_torch(n, "cuda"))
    for n in (1, settings.batches[0]):
        yield _Job("torch, compiled", n, n, settings.compile_allowance, in_torch(n, compiled=True))


def _measure(
    job: _Job, share: float, evaluations: int, settings: Settings, model: EnergyModel, rapl: Rapl, stopwatch: Stopwatch
) -> Measurement:
    """Time a job within about `share` s; warm-up and compilation are not counted."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's compiler warns of its own deprecated parts
            run = job.prepare()
            run()
    except Exception as error:  # whatever a compiler that isn't there, or doesn't work here, raises
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        return Measurement(job.name, job.batch, skipped=f"{type(error).__name__}: {reason}")
    begin = stopwatch()
    run()
    once = max(stopwatch() - begin, 1e-9)
    loops = int(np.clip(np.ceil(settings.block / once), 1, 10_000))
    times: list[float] = []
    before, first = rapl.read(), stopwatch()
    while len(times) < settings.repeats and (len(times) < 3 or stopwatch() - first < share):
        begin = stopwatch()
        for _ in range(loops):
            run()
        times.append((stopwatch() - begin) / (loops * job.samples))
    low, median, high = (float(v) for v in np.quantile(times, (0.25, 0.5, 0.75)))
    energies = model.estimates(median, evaluations, job.name.startswith("torch on the GPU"))
    if before:
        joules = rapl.joules(before, rapl.read()) / (len(times) * loops * job.samples)
        energies = (Energy(joules, "measured", "RAPL", "whole processor packages, idle part included"), *energies)
    return Measurement(job.name, job.batch, median, (low, high), len(times), energies)


def cpu_name(cpuinfo: Path) -> str:
    """Return the processor's name as Linux tells it, with family and model, or as Python knows it."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        lines = []
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in reversed(lines))}
    if "model name" not in told:
        return platform.processor() or platform.machine()
    return f"{told['model name']} (family {told.get('cpu family', '?')}, model {told.get('model', '?')})"
