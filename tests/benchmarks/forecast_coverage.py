"""Do forecasts cover what then happens? 40 runs on chips of their own, each foretold from dry runs on other chips.

    python tests/benchmarks/forecast_coverage.py [runs] [dry runs each]

P10 to P90 of a calibrated forecast holds 80 % of the outcomes; 70 to 90 % is asked for. Jobs differ in size, levels and
window, so that the forecasts are of different things.
"""

import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from analysis.forecast import MEASURES, TOTAL, foretell, spent
from analysis.records import open_run
from workflows.procedures.job import Job
from workflows.procedures.program_job import PROCEDURE, ProgramOptions


def main(runs: int = 40, dry: int = 8) -> None:
    """Print how many outcomes each measure's range held."""
    rng = np.random.default_rng(5)
    held: Counter[str] = Counter()
    widths: dict[str, list[float]] = {name: [] for name in MEASURES}
    with tempfile.TemporaryDirectory() as place:
        for number in range(runs):
            side = int(rng.integers(5, 10))
            target = np.full((32, 32), np.nan)
            target[:side, :side] = rng.uniform(20e-6, 100e-6, (side, side))
            pattern = Path(place) / f"p{number}.npy"
            np.save(pattern, target)
            window = float(rng.choice([1e-6, 2e-6]))
            costs = []
            for chip in range(dry + 1):
                options = ProgramOptions(
                    pattern=str(pattern), window=window, chip=str(1000 * (number + 1) + chip), runs=place,
                    run_id=f"r{number}-{chip}", adc="high-speed",
                )  # fmt: skip
                job = Job.prepare(PROCEDURE, options)
                job.run(report=False)
                with open_run(job.folder) as run:
                    costs.append(spent(run))
            forecast = foretell("program", "cmo-hfox", costs[:-1]).phases[TOTAL]
            for name in MEASURES:
                one, outcome = forecast[name], getattr(costs[-1][TOTAL], name)
                held[name] += one.holds(outcome)
                widths[name].append((one.p90 - one.p10) / one.p50)
    for name in MEASURES:
        print(f"{name:8s} {held[name]} of {runs} within P10-P90; width {np.median(widths[name]):.1%} of P50 (median)")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
