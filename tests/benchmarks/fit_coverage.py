"""Do a fit's intervals hold the truth? Twenty chips, each of another law; coverage and width, a constant a line.

    python tests/benchmarks/fit_coverage.py --chips 20 --cells 200 --json coverage.json

The truth varies: every constant is drawn anew for each chip (`fit_chips.true_law`); the fit starts from the packaged
preset each time. A width is (high - low) / 2 over the true value.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from benchmarks.fit_chips import Laboratory, characterise, true_law

from analysis.fitting.constants import CONSTANTS
from analysis.fitting.estimate import fit
from analysis.fitting.model import Effort
from analysis.fitting.observations import observe


def one_chip(seed: int, cells: int, effort: Effort) -> dict[str, list[float]]:
    """Name -> [true, estimate, low, high] of every constant that the fit says is informed."""
    rng = np.random.default_rng([seed, 20])
    law = true_law(rng)
    lab = Laboratory(law, cells, rng)
    found = fit(observe([characterise(lab)]), {}, rng, effort=effort)
    return {
        name: [float(getattr(law, name)), e.value, e.low, e.high] for name, e in found.estimates.items() if e.informed
    }


def table(chips: list[dict[str, list[float]]]) -> str:
    lines = [f"{'constant':18s} covered  median half width  worst miss (half widths)"]
    hits = total = 0
    for c in CONSTANTS:
        rows = np.array([chip[c.name] for chip in chips if c.name in chip])
        if not len(rows):
            continue
        true, _, low, high = rows.T
        inside = (low <= true) & (true <= high)
        width = np.median((high - low) / 2 / np.abs(true))
        miss = np.max(np.abs(true - 0.5 * (low + high)) / np.maximum(0.5 * (high - low), 1e-30))
        lines.append(f"{c.name:18s} {inside.sum():3d}/{len(rows):<3d}  {width:8.1%}           {miss:5.2f}")
        hits, total = hits + int(inside.sum()), total + len(rows)
    return "\n".join([*lines, f"all: {hits}/{total} = {hits / max(total, 1):.1%}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chips", type=int, default=20)
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--burn", type=int, default=Effort.burn)
    parser.add_argument("--keep", type=int, default=Effort.keep)
    parser.add_argument("--looked-at", type=int, default=Effort.cells, help="cells whose pulses are sampled")
    parser.add_argument("--json", type=Path)
    o = parser.parse_args()
    chips = []
    for seed in range(o.first, o.first + o.chips):
        began = time.time()
        chips.append(one_chip(seed, o.cells, Effort(o.burn, o.keep, o.looked_at)))
        out = [n for n, (t, _, low, high) in chips[-1].items() if not low <= t <= high]
        print(f"chip {seed}: {time.time() - began:.0f} s; outside: {', '.join(out) or 'none'}", flush=True)
        if o.json:
            o.json.write_text(json.dumps(chips), encoding="utf-8")
    print(table(chips))


if __name__ == "__main__":
    main()
