"""What studies measure on simulated chips: write noise, read noise over time, and a network's quality as chips age.

Each seed is a fresh chip of a device preset behind a twin's whole station, driven as a laboratory would: selected,
read, pulsed, verified, left alone on its virtual clock. Nothing only a twin knows is used. No run file is kept; a study
keeps the numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

import sim_configs
from analysis.diffusion.model import TrainedModel, circuit_of
from analysis.errors import AnalysisError
from analysis.kernel.equation import Equation
from analysis.kernel.solve import solve
from analysis.mapping import NetworkMap
from analysis.sweeps.measurement import Measurement, Output, Value, is_number, known, number
from analysis.sweeps.quality import qualities
from analysis.sweeps.study import MEASUREMENTS
from instruments.staircase import choose_converter
from instruments.station import Station
from instruments.station_file import StationFile
from workflows.procedures.write_verify import ALGORITHMS, Pulse, State, Window, WriteVerify

Array = npt.NDArray[np.float64]
Cell = tuple[int, int, int]

STATION = "station-twin.yaml"
G_FIXED = 50e-6
"""The shared negative weight, S (paper, Fig. 2h): |G - G_FIXED| is the weight that a conductance stands for."""
CELLS, TRACE, READS = 32, 60, 200
AGES = (10.0, 1e2, 1e3, 1e4, 1e5, 1e6)
_SETTLE = 100.0  # s from programming to the first read of read noise, as `ohmflow characterise noise` waits
_GAP = 10.0  # s between programming and verifying again, as `ohmflow program` has it
_PASSES = 3
_SAMPLES = 64  # of the fast converter, half a millisecond in all
_REST = 10.0  # s of waiting from which outputs are switched off meanwhile
_TRIES = 8
_ATTEMPTS = 3


@contextmanager
def fresh_chip(preset: str, rng: np.random.Generator) -> Iterator[Station]:
    """Open a twin's station with a new chip of a preset, kept nowhere."""
    seed = int(rng.integers(1, 2**31))
    with Station.open(StationFile.load(STATION), preset=preset, seed=str(seed), fresh="1", dir=None) as station:
        station.array.prepare()
        yield station


def wait(station: Station, seconds: float) -> None:
    """Let time pass (none if negative), with outputs off if it is long."""
    if seconds >= _REST:
        station.array.safe()
    station.clock.sleep(max(seconds, 0.0))
    station.array.prepare()


@dataclass
class Visit:
    """One cell under an algorithm's hands: what it remembers, every conductance that was read, S, and the verdict."""

    state: State
    reads: list[float]
    verdict: str = ""


def write(station: Station, cell: Cell, algorithm: WriteVerify, window: Window, visit: Visit | None = None) -> Visit:
    """Write and verify a cell until the algorithm has a verdict, and return the visit; a given one goes on."""
    visit = visit or Visit(algorithm.start(window), [])
    array = station.array
    array.select(*cell)
    while True:
        g = array.read().conductance
        visit.reads.append(g)
        visit.state, answer = algorithm.decide(window, visit.state, g)
        if isinstance(answer, Pulse):
            array.pulse(answer.kind, answer.volts, answer.gate, answer.width)
        elif answer != "again":
            visit.verdict = answer
            return visit


def _check(setting: Mapping[str, Value], defaults: Mapping[str, Value]) -> None:
    known(setting, defaults)
    ranges = {"target": (20e-6, 100e-6, "S"), "window": (1e-7, 20e-6, "S"), "period": (0.1, 1e7, "s")}
    for name, value in setting.items():
        if name in ranges:
            low, high, unit = ranges[name]
            if not is_number(value, low, high):
                raise AnalysisError(f"{name} is a number of {low:g} to {high:g} {unit}, not {value!r}")
        elif name == "algorithm" and value not in ALGORITHMS:
            raise AnalysisError(f"there is no algorithm {value!r}; there are {', '.join(ALGORITHMS)}")
        elif name == "preset" and value not in sim_configs.presets():
            raise AnalysisError(f"there is no device preset {value!r}; there are {', '.join(sim_configs.presets())}")


def _noise(sigma: float, g: float) -> dict[str, float | Array]:
    """A standard deviation (S) at a mean conductance, absolute and by both definitions."""
    weight = abs(g - G_FIXED)
    return {
        "sigma": sigma, "sigma_of_memory": sigma / g,
        "sigma_of_weight": sigma / weight if weight > 0.5e-6 else float("nan"),
    }  # fmt: skip


_SIGMAS = {
    "sigma": Output("standard deviation", "S"),
    "sigma_of_memory": Output("standard deviation over G_mem"),
    "sigma_of_weight": Output("standard deviation over the weight |G_mem - 50 uS|"),
}


@dataclass(frozen=True)
class Writing:
    """Write noise: a chip's cells programmed to one target, and how they got there."""

    name: str = "writing"
    needs_network: bool = False

    @property
    def defaults(self) -> Mapping[str, Value]:
        """Target and half window in S, algorithm, device preset."""
        return {"target": 60e-6, "window": 2e-6, "algorithm": "gate-learning", "preset": "cmo-hfox"}

    @property
    def outputs(self) -> Mapping[str, Output]:
        """Deviations of the cells that reached the window, effort, and the reads of the first of them."""
        cells = tuple(float(k) for k in range(CELLS))
        return {
            **_SIGMAS,
            "mean_error": Output("mean of what was reached less the target", "S"),
            "inside": Output("share of the cells that reached the window"),
            "pulses_mean": Output("pulses a cell that reached the window"),
            "error": Output("what was reached less the target, by cell", "S", "cell", cells),
            "pulses": Output("pulses, by cell", "", "cell", cells),
            "trace": Output("reads of a cell during programming", "S", "read", tuple(float(k) for k in range(TRACE))),
        }

    def check(self, setting: Mapping[str, Value]) -> None:
        """Raise AnalysisError unless every entry is known and in its range."""
        _check(setting, self.defaults)

    def cost(self, setting: Mapping[str, Value], trajectories: int) -> float:
        """Some 0.4 s, in steps of trajectories."""
        return 5e7

    def measure(
        self, network: TrainedModel | None, wanted: Sequence[str], setting: Mapping[str, Value], trajectories: int,
        rng: np.random.Generator,
    ) -> dict[str, float | Array]:  # fmt: skip
        """Program one column of a fresh chip, and read each cell once more at the end."""
        target = number(setting, "target")
        window = Window(target, number(setting, "window"), verify=1.0, budget=TRACE * 4)
        algorithm = ALGORITHMS[str(setting["algorithm"])].fresh()
        error, pulses = np.full(CELLS, np.nan), np.full(CELLS, np.nan)
        trace = np.full(TRACE, np.nan)
        with fresh_chip(str(setting["preset"]), rng) as station:
            done = [(row, write(station, (0, row, 0), algorithm, window)) for row in range(CELLS)]
            for row, visit in done:
                pulses[row] = visit.state.pulses
                if visit.verdict != "ok":
                    continue
                station.array.select(0, row, 0)
                error[row] = station.array.read().conductance - target
        good = [visit for _, visit in done if visit.verdict == "ok"]
        if good:  # one that is typical: of median effort
            reads = sorted(good, key=lambda v: len(v.reads))[len(good) // 2].reads[:TRACE]
            trace[: len(reads)] = reads
        found: dict[str, float | Array] = {
            **_noise(float(np.nanstd(error, ddof=1)), target), "mean_error": float(np.nanmean(error)),
            "inside": len(good) / CELLS, "pulses_mean": float(np.mean([v.state.pulses for v in good])),
            "error": error, "pulses": pulses, "trace": trace,
        }  # fmt: skip
        return {name: found[name] for name in wanted}


@dataclass(frozen=True)
class Reading:
    """Read noise: one programmed cell read again and again over a period."""

    name: str = "reading"
    needs_network: bool = False

    @property
    def defaults(self) -> Mapping[str, Value]:
        """Target, S; period over which the reads are spread, s; device preset."""
        return {"target": 60e-6, "period": 100.0, "preset": "cmo-hfox"}

    @property
    def outputs(self) -> Mapping[str, Output]:
        """Deviation over the period, and all reads."""
        reads = tuple(float(k) for k in range(READS))
        return {
            **_SIGMAS,
            "mean": Output("mean conductance over the period", "S"),
            "conductance": Output("conductance as read", "S", "read", reads),
        }

    def check(self, setting: Mapping[str, Value]) -> None:
        """Raise AnalysisError unless every entry is known and in its range."""
        _check(setting, self.defaults)

    def cost(self, setting: Mapping[str, Value], trajectories: int) -> float:
        """Some 0.3 s, in steps of trajectories."""
        return 4e7

    def measure(
        self, network: TrainedModel | None, wanted: Sequence[str], setting: Mapping[str, Value], trajectories: int,
        rng: np.random.Generator,
    ) -> dict[str, float | Array]:  # fmt: skip
        """Program a cell of a fresh chip, let it settle, then read it at even instants of the period."""
        target, period = number(setting, "target"), number(setting, "period")
        algorithm = ALGORITHMS["model-based"].fresh()
        with fresh_chip(str(setting["preset"]), rng) as station:
            for row in range(_TRIES):  # a cell that can't be programmed is nobody's read noise
                if write(station, (0, row, 0), algorithm, Window(target)).verdict == "ok":
                    break
            clock, array = station.clock, station.array
            wait(station, _SETTLE)
            array.select(0, row, 0)
            # A power-line cycle a read is too slow for the short periods, and all periods shall be read alike.
            array.settings = replace(array.settings, adc="high-speed", averaging=_SAMPLES)
            choose_converter(station.analyzer, array)
            begin = clock.now()
            values = np.empty(READS)
            for k in range(READS):
                clock.sleep(max(begin + period * k / READS - clock.now(), 0.0))
                values[k] = array.read().conductance
        mean = float(values.mean())
        found = {**_noise(float(values.std(ddof=1)), mean), "mean": mean, "conductance": values}
        return {name: found[name] for name in wanted}


@dataclass(frozen=True)
class Ageing:
    """Retention: a network on a chip, judged at ages; then verified and programmed again, and judged once more."""

    name: str = "ageing"
    needs_network: bool = True

    @property
    def defaults(self) -> Mapping[str, Value]:
        """Half window, S; algorithm; device preset; ODE or SDE."""
        return {"window": 1e-6, "algorithm": "model-based", "preset": "cmo-hfox", "method": "ode"}

    @property
    def outputs(self) -> Mapping[str, Output]:
        """Each by age since programming, and by age since programming again at the last age."""
        first = {
            "kl_2d": Output("KL divergence in the plane", "nat", "age", AGES),
            "sliced_wasserstein": Output("sliced 1-Wasserstein distance", "unit", "age", AGES),
            "sigma": Output("standard deviation of G less target", "S", "age", AGES),
            "drift": Output("mean of G less target", "S", "age", AGES),
            "inside": Output("share of the cells within the window", "", "age", AGES),
        }
        again = {f"{name}_again": replace(o, title=f"{o.title}, after re-programming") for name, o in first.items()}
        return {
            **first, **again,
            "pulses": Output("pulses of the first programming"),
            "pulses_again": Output("pulses of the re-programming"),
            "kl_2d_targets": Output("KL divergence of the levels themselves, without a chip", "nat"),
        }  # fmt: skip

    def check(self, setting: Mapping[str, Value]) -> None:
        """Raise AnalysisError unless every entry is known and in its range."""
        _check(setting, self.defaults)
        if setting.get("method", "ode") not in ("ode", "sde"):
            raise AnalysisError(f"method is ode or sde, not {setting['method']!r}")

    def cost(self, setting: Mapping[str, Value], trajectories: int) -> float:
        """Some 10 s, in steps of trajectories."""
        return 1e9

    def measure(
        self, network: TrainedModel | None, wanted: Sequence[str], setting: Mapping[str, Value], trajectories: int,
        rng: np.random.Generator,
    ) -> dict[str, float | Array]:  # fmt: skip
        """Program, wait, read, judge; program again, wait, read, judge."""
        if network is None:
            raise AnalysisError("ageing needs a network")
        tolerance = number(setting, "window")
        found: dict[str, Any] = {}
        with fresh_chip(str(setting["preset"]), rng) as station:
            chip = _NetworkOnChip(station, network, str(setting["algorithm"]), tolerance)
            chip.program()
            found["pulses"] = float(chip.pulses)
            for suffix in ("", "_again"):
                if suffix:
                    before = chip.pulses
                    chip.verify()
                    found["pulses_again"] = float(chip.pulses - before)
                ended = station.clock.now()
                rows = []
                for age in AGES:
                    wait(station, ended + age - station.clock.now())
                    rows.append(chip.judged(str(setting["method"]), trajectories, rng))
                found |= {f"{name}{suffix}": np.array([row[name] for row in rows]) for name in rows[0]}
        levels = _kl(circuit_of(network.map()), network, str(setting["method"]), trajectories, rng)
        found["kl_2d_targets"] = levels["kl_2d"]
        return {name: found[name] for name in wanted}


class _NetworkOnChip:
    """A network's cells on a station's arrays."""

    def __init__(self, station: Station, network: TrainedModel, algorithm: str, tolerance: float) -> None:
        self.station, self.network, self.tolerance = station, network, tolerance
        self._algorithms = [ALGORITHMS[algorithm].fresh() for _ in network.weights]
        self._stuck = np.full(station.file.shape, np.nan)
        self._visits: dict[Cell, Visit] = {}
        self.map: NetworkMap = network.map()

    @property
    def pulses(self) -> int:
        """Given so far."""
        return sum(visit.state.pulses for visit in self._visits.values())

    def program(self) -> None:
        """Program, mapping around cells that fail; then verify again, as `ohmflow program` does."""
        for _ in range(_ATTEMPTS):
            self.map = self.network.map(stuck=self._stuck[: len(self.network.weights)])
            failed = False
            for cell, window in self._wanted():
                earlier = self._visits.get(cell)
                if earlier is not None and abs(earlier.reads[-1] - window.target) <= window.tolerance:
                    continue
                visit = self._visits[cell] = write(self.station, cell, self._algorithms[cell[0]], window)
                if visit.verdict != "ok":
                    self._stuck[cell], failed = visit.reads[-1], True
            if not failed:
                break
        self.verify()

    def verify(self) -> None:
        """Verify every cell that can be programmed, a few times, and mend what left its window."""
        for _ in range(_PASSES):
            wait(self.station, _GAP)
            for cell, window in self._wanted():
                if not np.isfinite(self._stuck[cell]):
                    write(self.station, cell, self._algorithms[cell[0]], window, self._visits.get(cell))

    def _wanted(self) -> list[tuple[Cell, Window]]:
        found = []
        for array, row, col in np.argwhere(np.isfinite(self.map.target)):
            cell = int(array), int(row), int(col)
            # A budget is a cell's for one programming; re-programming years later has its own.
            spent = self._visits[cell].state.pulses if cell in self._visits else 0
            found.append((cell, Window(float(self.map.target[cell]), self.tolerance, budget=120 + spent)))
        return found

    def judged(self, method: str, trajectories: int, rng: np.random.Generator) -> dict[str, float]:
        """Read all cells and judge the samples of the network that they make."""
        measured = np.full(self.station.file.shape, np.nan)
        errors = []
        for cell, window in self._wanted():
            self.station.array.select(*cell)
            measured[cell] = self.station.array.read().conductance
            if not np.isfinite(self._stuck[cell]):
                errors.append(measured[cell] - window.target)
        circuit = circuit_of(self.map, measured[: len(self.map.layers)])
        inside = float(np.mean(np.abs(errors) <= self.tolerance))
        return {
            **_kl(circuit, self.network, method, trajectories, rng), "sigma": float(np.std(errors)),
            "drift": float(np.mean(errors)), "inside": inside,
        }  # fmt: skip


def _kl(
    circuit: Any, network: TrainedModel, method: str, trajectories: int, rng: np.random.Generator
) -> dict[str, float]:
    from analysis.kernel.equation import diffusing

    drive = diffusing(network.drive) if method == "sde" else network.drive
    ends = solve(Equation.of_drive(circuit, drive), trajectories, rng)
    return {name: float(v) for name, v in qualities(ends, ("kl_2d", "sliced_wasserstein")).items()}


ALL: dict[str, Measurement] = {**MEASUREMENTS, **{m.name: m for m in (Writing(), Reading(), Ageing())}}
"""Every measurement that a study may name."""
