"""Every fault profile on every procedure: completed, or stopped safe with a clear reason; never outside the limits.

    python tests/benchmarks/fault_matrix.py [seeds] [procedure ...]

The virtual clock bounds each run: what hangs in a laboratory would show as days there, and a real hang as no end.
"""

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from twin.fault_runs import Ended, check, run, small_pattern

from instruments.twin.fault_profile import profiles
from workflows.procedures.job import Job
from workflows.procedures.registry import ENTRIES, procedure

LONGEST = 40 * 86400.0
"""s of the laboratory's clock: the retention schedules of these small runs end before."""
IN_PROCESS = [name for name in profiles() if name != "disk-full"]
"""A full disk is the whole process's: tests/workflows/test_faults_program.py has it."""
SMALL: dict[str, dict[str, Any]] = {
    "program": {"settle_rows": 1},
    "circle": {
        "samples": 8, "uncalibrated": 2, "calibration_runs": 8, "calibration_rounds": 1, "recipe": "quick",
        "compensation": 5, "points": 500, "field": 3, "baseline": False,
    },
    "forming": {"preset": "cmo-hfox-pristine", "cells": 3},
    "iv": {"cells": 1, "cycles": 2, "block": 1, "steps": 11},
    "pulses": {"cells": 1},
    "levels": {"cells": 6, "levels": 3},
    "noise": {"cells": 2, "reads": 40},
    "retention": {"cells": 4},
    "endurance": {"cells": 1, "cycles": 20},
    "disturb": {"cells": 1},
    "array-errors": {"cells": 6},
}  # fmt: skip
"""Options that make a small run of each."""


def prepare(name: str, folder: Path, run_id: str, cache: Path) -> Job[Any, Any]:
    """A small job of a procedure."""
    found = procedure(name)
    options: dict[str, Any] = {"adc": "high-speed", "runs": str(folder / "runs"), "run_id": run_id, **SMALL[name]}
    known = set(found.options.__dataclass_fields__)
    if "pattern" in known:
        options["pattern"] = str(small_pattern(folder))
    if "cache" in known:
        options["cache"] = str(cache)
    return Job.prepare(found, found.options(**{k: v for k, v in options.items() if k in known}))


def one(name: str, profile: str, seed: int, folder: Path, cache: Path) -> Ended:
    """A run of a procedure that suffers from a profile, checked."""
    ended = run(prepare(name, folder, f"{name}-{profile}-{seed}", cache), profile, seed, seed=str(seed))
    check(ended, connected=profile not in ("wrong-mode", "everything"), sweeps=name == "iv")
    assert ended.seconds < LONGEST
    return ended


def main(seeds: int = 2, *names: str) -> None:
    """Print how each procedure ended under each profile."""
    with tempfile.TemporaryDirectory() as place:
        cache = Path(place) / "networks"
        for name in names or [entry for entry in ENTRIES if entry in SMALL]:
            began, outcomes, struck = time.perf_counter(), Counter[str](), 0
            for profile in IN_PROCESS:
                for seed in range(1, seeds + 1):
                    folder = Path(place) / f"{name}-{profile}-{seed}"
                    folder.mkdir()
                    ended = one(name, profile, seed, folder, cache)
                    outcomes["completed" if ended.error is None else "stopped safe"] += 1
                    struck += sum(ended.struck.values())
            said = ", ".join(f"{count} {what}" for what, count in outcomes.items())
            print(f"{name:14s} {said}; {struck} faults struck; {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2, *sys.argv[2:])
