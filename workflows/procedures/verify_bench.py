"""Compare write-verify algorithms on the same simulated chips: each gets every chip fresh, through the whole station.

Every trial is a programming run with its own run file; what only the twin knows is asked of its bench at the end.
"""

from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt

from analysis.figures import verify_bench as figures
from analysis.programming import summarise
from analysis.records import layout, open_run
from analysis.verify_bench import AGES, Table, Trial
from instruments.clock import wall_time
from instruments.station import Station
from instruments.station_file import StationFile
from workflows.errors import RequestError
from workflows.procedures.controls import Controls
from workflows.procedures.options import RunOptions, option
from workflows.procedures.program import Programming, ProgramRequest
from workflows.procedures.session import new_run_id, recorded_run
from workflows.procedures.write_verify import ALGORITHMS, DEFAULT

Floats = npt.NDArray[np.float64]

LOWEST, HIGHEST = 20e-6, 100e-6
"""Range of the targets, S (paper, Fig. 2d)."""


@dataclass(frozen=True, kw_only=True)
class BenchVerifyOptions(RunOptions):
    """What is compared on what."""

    algorithms: str = option("all", "Algorithms, with commas between them; all: every one there is.")
    presets: str = option("cmo-hfox", "Device presets (names or files), with commas between them.")
    cells: int = option(1024, "Cells of each chip that are programmed, row by row.")
    seeds: int = option(4, "Chips of each preset, named by the seeds 1, 2, ...")
    levels: int = option(64, "Evenly spaced levels between 20 and 100 uS that targets are drawn from.")
    window: float = option(1e-6, "Half width of the target window.", unit="S")
    shares: str = option("0.7", "Verify shares of the window to compare at, with commas: several give a trade-off.")
    budget: int = option(120, "Pulses a cell may take.")
    passes: int = option(3, "Times that everything is verified again.")
    gap: float = option(10.0, "From the start of one pass to the next, at least.", unit="s")


@dataclass(frozen=True)
class BenchRequest:
    """What `BenchVerifyOptions` ask for, checked.

    Attributes:
        station: a twin.
        trials: (preset, algorithm, verify share, seed), in this order.
        folder: where it all goes.
    """

    station: StationFile
    trials: tuple[tuple[str, str, float, int], ...]
    folder: Path


def prepare(options: BenchVerifyOptions) -> BenchRequest:
    """Check everything that can be known to be wrong without an instrument; writes nothing.

    Raises:
        ConfigError, RequestError, LimitError: something makes no sense.
    """
    station = StationFile.load(options.station)
    if not station.simulated:
        raise RequestError(f"station {station.name} is real: algorithms are compared on simulated chips only")
    algorithms, presets = _names(options.algorithms, "algorithms"), _names(options.presets, "presets")
    if algorithms == ["all"]:
        algorithms = list(ALGORITHMS)
        algorithms.sort(key=lambda name: name != DEFAULT)
    try:
        shares = [float(text) for text in _names(options.shares, "shares")]
    except ValueError as error:
        raise RequestError(f"shares {options.shares!r} must be numbers such as 0.5,0.7,0.9") from error
    most = station.shape[1] * station.shape[2]
    for name, value, low, high in (
        ("cells", options.cells, 1, most), ("seeds", options.seeds, 1, 1000), ("levels", options.levels, 2, 4096)
    ):  # fmt: skip
        if not low <= value <= high:
            raise RequestError(f"{name} must be {low}..{high} on station {station.name}, not {value}")
    for name, share in product(algorithms, shares):
        asked = _request(options, station, name, share, 1)
        asked.check(station.shape, station.limits)
        asked.check_extremes(station.limits)
    folder = Path(options.runs).expanduser() / (options.run_id or new_run_id("bench-verify", wall_time()))
    if folder.exists():
        raise RequestError(f"{folder} exists; choose another name")
    seeds = range(1, options.seeds + 1)
    trials = tuple((p, a, v, s) for p, a, v, s in product(presets, algorithms, shares, seeds))
    return BenchRequest(station, trials, folder)


def bench_verify(options: BenchVerifyOptions, controls: Controls = Controls()) -> Table:  # noqa: B008  # frozen
    """Program every chip with every algorithm; leaves run files, the table (JSON, CSV, text) and the trade-off figure.

    Args:
        options: what on what.
        controls: asked between pulses, told a trial at a time.

    Raises:
        ConfigError, RequestError, LimitError: something makes no sense; nothing was written.
        Interrupted: `controls` said so; the trials that ended stay.
    """
    asked = prepare(options)
    trials: list[Trial] = []
    for number, (preset, algorithm, share, seed) in enumerate(asked.trials):
        name = f"{algorithm} on {Path(preset).stem}, verify {share:g}, chip {seed}"
        controls.told(name, number, len(asked.trials))
        controls.check()
        work = partial(_try, options, asked, preset, algorithm, share, seed, controls)
        controls.around(name, lambda work=work: trials.append(work()))  # type: ignore[misc]  # bound now
    controls.told("compared", len(asked.trials), len(asked.trials))
    table = Table.of(trials, options.window, options.levels)
    for suffix, text in (("json", table.to_json()), ("csv", table.to_csv()), ("txt", table.text() + "\n")):
        (asked.folder / f"bench-verify.{suffix}").write_text(text, encoding="utf-8")
    figures.draw(table, asked.folder / "figures" / "trade-off.png")
    return table


def _names(text: str, what: str) -> list[str]:
    names = [part.strip() for part in text.split(",") if part.strip()]
    if not names:
        raise RequestError(f"no {what} are named")
    return list(dict.fromkeys(names))


def targets(shape: tuple[int, int, int], cells: int, levels: int, seed: int) -> Floats:
    """Targets of a chip, S, (1, rows, cols): levels drawn uniformly for its first `cells` cells, NaN behind them."""
    rng = np.random.default_rng([seed, 5])
    grid = np.linspace(LOWEST, HIGHEST, levels)
    drawn = grid[rng.integers(0, levels, shape[1] * shape[2])]
    drawn[cells:] = np.nan
    return np.asarray(drawn.reshape(1, *shape[1:]))


def _request(
    options: BenchVerifyOptions, station: StationFile, algorithm: str, share: float, seed: int
) -> ProgramRequest:
    target = targets(station.shape, options.cells, options.levels, seed)
    return ProgramRequest(
        target, (0,), options.window, share, options.budget, 0, algorithm, options.passes, options.gap
    )


def _try(
    options: BenchVerifyOptions, asked: BenchRequest, preset: str, algorithm: str, share: float, seed: int,
    controls: Controls,
) -> Trial:  # fmt: skip
    """One algorithm on one fresh chip."""
    request = _request(options, asked.station, algorithm, share, seed)
    folder = asked.folder / f"{Path(preset).stem}-{algorithm}-{round(100 * share)}-chip{seed}"
    wanted = np.isfinite(request.target)
    with Station.open(asked.station, preset=preset, seed=str(seed), fresh="1", dir=None) as station:
        bench, clock = station.bench, station.clock
        with recorded_run(station, folder, "program", request.parameters(), arrays=1) as writer:
            job = Programming(station.array, writer, request, controls.stop)
            job.begin()
            writer.phase("program")
            begun = clock.now()
            for step in job.steps():
                job.run(step)
            ended, truth = clock.now(), []
            for age in AGES:
                if age == AGES[2]:  # the lab reads back at once, the rest is waiting
                    for _ in job.read_rows("conductance_after", "conductance after programming"):
                        pass
                clock.sleep(max(ended + age - clock.now(), 0.0))
                truth.append(np.array(bench.true_conductance())[:1])
                if age == AGES[2]:
                    station.array.safe()
            stuck = np.asarray(bench.chip.cells["stuck"])[:1] != 0
    able = wanted & ~stuck
    target, near = request.target[able], request.tolerance
    with open_run(folder) as run:
        summary = summarise(run)
        pulses = np.asarray(run.cells["pulses"]).reshape(request.target.shape)[able].astype(np.int64)
        status = np.asarray(run.cells["status"]).reshape(request.target.shape)[able]
        after = run.map("conductance_after").reshape(request.target.shape)[able]
    total = int(wanted.sum())
    return Trial(
        Path(preset).stem, algorithm, share, seed, pulses, status == layout.CELL_CODE["ok"],
        np.stack([np.abs(g[able] - target) <= near for g in truth]), np.abs(after - target) <= near,
        summary.reads.count - total, summary.pulses.energy,
        summary.reads.energy * (1 - total / max(summary.reads.count, 1)), ended - begun,
    )  # fmt: skip
