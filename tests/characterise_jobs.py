"""Small characterisations on the twin, for their tests."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from analysis.records import read_journal
from workflows.procedures.characterise import PROCEDURES
from workflows.procedures.controls import Controls
from workflows.procedures.job import Job

SMALL: dict[str, dict[str, Any]] = {
    "forming": {"cells": 6, "preset": "cmo-hfox-pristine"},
    "iv": {"cycles": 6, "block": 2, "steps": 21},
    "pulses": {"cells": 3, "repeats": 2},
    "levels": {"cells": 2, "levels": 8, "window": 1e-6, "points": 3},
    "noise": {"cells": 4, "reads": 40, "times": "16 us, 20 ms", "settle": 1.0},
    "retention": {"cells": 12, "levels": 3, "per_decade": 2, "alone": 1.0},
    "endurance": {"cells": 2, "cycles": 20, "per_decade": 3},
    "disturb": {"cells": 1, "neighbours": 3, "pulses": 10, "reads": 10, "per_decade": 1},
    "array-errors": {"times": "0 s, 1000 s"},
}
"""Options of each that keep it to about a second."""


def pattern(folder: Path, rows: int = 2) -> str:
    """A file of targets: a few rows of levels, the rest left alone."""
    target = np.full((32, 32), np.nan)
    target[:rows] = np.linspace(20e-6, 100e-6, 32)
    path = folder / "pattern.npy"
    np.save(path, target)
    return str(path)


def prepared(name: str, root: Path, **more: Any) -> Job[Any, Any]:
    """A small job, its chip kept under `root`."""
    procedure = PROCEDURES[name]
    options: dict[str, Any] = {"runs": str(root), "run_id": name, "bench": str(root / "bench"), "chip": "1"}
    options |= SMALL.get(name, {})
    if name == "array-errors":
        options["pattern"] = pattern(root)
    return Job.prepare(procedure, procedure.options(**{**options, **more}))


def killed(job: Job[Any, Any], seen: str, more: int) -> None:
    """Run a job in a child that dies at the `more`-th look between pulses after its journal has `seen`."""
    child = os.fork()
    if child == 0:
        looks = 0
        journal = job.folder / "journal.jsonl"

        def stop() -> bool:
            nonlocal looks
            if looks or (journal.is_file() and seen.encode() in journal.read_bytes()):
                looks += 1
            if looks == more:
                os.kill(os.getpid(), 9)
            return False

        try:
            job.run(Controls(stop=stop))
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"the run ended before it had {seen} and {more} looks after it"


def resumed(name: str, root: Path) -> Path:
    """Go on with a killed run to its end."""
    procedure = PROCEDURES[name]
    return Job.prepare(procedure, procedure.options(resume=name, runs=str(root))).run()


def parts(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The journal's records before and after the run was gone on with."""
    records = list(read_journal(folder / "journal.jsonl").records)
    (cut,) = [i for i, r in enumerate(records) if r["kind"] == "resume"]
    return records[:cut], records[cut:]


def pulsed(records: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """Cells that were given pulses, one item a pulse."""
    return [(r["row"], r["col"]) for r in records if r["kind"] == "intent"]


def kept(records: list[dict[str, Any]]) -> list[str]:
    """Names of the data kept."""
    return [r["name"] for r in records if r["kind"] == "array" and r["where"] == "data"]
