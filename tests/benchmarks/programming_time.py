"""How long the laboratory's clock runs while the same 1,024 cells are programmed, by the ways there are to do it.

    python tests/benchmarks/programming_time.py [--algorithm NAME] [--seeds 1 2 3 4] [--passes 3] [--gap 0]

64 levels of 20 to 100 uS, +-1 uS, on the default twin. A cell counts as inside by its true conductance, stuck cells
left out. `slow line` and `fast line` show what the board's serial rate alone does. Half a minute to a minute for each
row and seed.
"""

import argparse
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from instruments.station import Station
from instruments.station_file import StationFile
from workflows.procedures.program import ProgramRequest, program
from workflows.procedures.program_columns import program_columns
from workflows.procedures.session import recorded_run
from workflows.procedures.write_verify import ALGORITHMS, DEFAULT

ADC = {"plc": 1, "high-speed": 16}
FAST, SLOW = 921_600, 9600


@dataclass(frozen=True)
class Way:
    """One way of programming: cells or columns, the analyzer's converter (cells), the board's rate."""

    name: str
    columns: bool = False
    adc: str = "plc"
    rate: int = SLOW


WAYS = (
    Way("serial, 1 PLC"),
    Way("serial, 1 PLC, fast line", rate=FAST),
    Way("serial, high-speed ADC", adc="high-speed"),
    Way("column-parallel", columns=True, rate=FAST),
    Way("column-parallel, slow line", columns=True),
)


@dataclass(frozen=True)
class Outcome:
    """What a run came to: s on the laboratory's clock, shares inside 1 s and 1e3 s later, pulses a cell, J."""

    seconds: float
    soon: float
    late: float
    pulses: float
    pulse_energy: float
    read_energy: float


def pattern(seed: int) -> npt.NDArray[np.float64]:
    """64 levels, 16 cells each, in random places; S, shape (32, 32)."""
    levels = np.repeat(np.linspace(20e-6, 100e-6, 64), 16)
    return np.random.default_rng(seed).permutation(levels).reshape(32, 32)


def run(way: Way, seed: int, algorithm: str, passes: int, gap: float) -> Outcome:
    """Program one fresh chip."""
    file = StationFile.load("station-twin.yaml")
    file = replace(file, read=replace(file.read, adc=way.adc, averaging=ADC[way.adc]))
    target = pattern(seed)
    request = ProgramRequest(target[None], algorithm=algorithm, passes=passes, gap=gap)
    request.check(file.shape, file.limits)
    with tempfile.TemporaryDirectory() as folder, Station.open(file, seed=str(seed)) as station:
        station.columns.rate = way.rate
        begun = station.clock.now()
        with recorded_run(station, Path(folder) / "run", "program", request.parameters(), arrays=1) as writer:
            if way.columns:
                program_columns(station.columns, writer, request)
            else:
                station.board.set_rate(way.rate)
                program(station.array, writer, request)
            seconds = station.clock.now() - begun
            bench = station.bench
            drives = bench.ledger.table()
            responsive = bench.chip.cells["stuck"][0] == 0

            def inside_after(wait: float) -> float:
                station.clock.sleep(wait)
                error = np.abs(bench.true_conductance()[0] - target)
                return float((error <= request.tolerance)[responsive].mean())

            soon, late = inside_after(1.0), inside_after(999.0)
    reads = drives["kind"] == b"read"
    energy = drives["energy"]
    return Outcome(
        seconds,
        soon,
        late,
        float((~reads).sum()) / target.size,
        float(energy[~reads].sum()),
        float(energy[reads].sum()),
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algorithm", default=DEFAULT, choices=sorted(ALGORITHMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--gap", type=float, default=0.0, help="s from one verify pass to the next, at least")
    parser.add_argument("--ways", nargs="+", default=[way.name for way in WAYS], choices=[way.name for way in WAYS])
    asked = parser.parse_args()
    print(f"{asked.algorithm}, {asked.passes} passes, gap {asked.gap:g} s, chips {asked.seeds}")
    print(f"{'':28}{'s':>8}{'times':>7}{'1 s':>8}{'1e3 s':>8}{'pulses':>8}{'pulses uJ':>11}{'reads uJ':>10}")
    first = 0.0
    for way in (way for way in WAYS if way.name in asked.ways):
        found = [run(way, seed, asked.algorithm, asked.passes, asked.gap) for seed in asked.seeds]

        def mean(name: str, found: list[Outcome] = found) -> float:
            return float(np.mean([getattr(one, name) for one in found]))

        first = first or mean("seconds")
        print(
            f"{way.name:28}{mean('seconds'):8.1f}{first / mean('seconds'):6.1f}x{mean('soon'):8.1%}{mean('late'):8.1%}"
            f"{mean('pulses'):8.2f}{1e6 * mean('pulse_energy'):11.3f}{1e6 * mean('read_energy'):10.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
