"""Small programming runs on the twin, for the tests of the job and of what is made from it."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from instruments.array import CellArray
from instruments.station import Station
from instruments.station_file import StationFile
from workflows.procedures.program import ProgramRequest, program
from workflows.procedures.session import recorded_run

Floats = npt.NDArray[np.float64]

CHILD = Path(__file__).parent / "workflows" / "program_child.py"
STUCK_ON, STUCK_OFF = (1, 21), (8, 3)
"""Cells of array 0 of the chip with seed 1 that can't move."""


def pattern(cells: Mapping[tuple[int, int], float]) -> Floats:
    """Targets in S for a few cells (given in uS), NaN elsewhere."""
    target = np.full((32, 32), np.nan)
    for cell, microsiemens in cells.items():
        target[cell] = microsiemens * 1e-6
    return target


def row(
    number: int, first: int = 0, last: int = 31, low: float = 20, high: float = 100
) -> dict[tuple[int, int], float]:
    """A row's cells with levels spread over the window."""
    levels = np.linspace(low, high, last - first + 1)
    return {(number, first + i): float(level) for i, level in enumerate(levels)}


@dataclass(frozen=True)
class Done:
    """What a run on the twin left: its folder, the ledger of all that reached the chip, and the wires' state."""

    folder: Path
    ledger: npt.NDArray[np.void]
    request: ProgramRequest
    station: StationFile


def programmed(
    folder: Path,
    target: Floats,
    *,
    seed: str = "1",
    bench: Path | None = None,
    stop: Callable[[], bool] = lambda: False,
    resume: bool = False,
    around_cells: Callable[[CellArray, Path], Any] = lambda cells, folder: cells,
    **request: Any,
) -> Done:
    """Run the plain procedure on a twin; without a bench directory its chip is fresh."""
    file = StationFile.load("station-twin.yaml")
    asked = ProgramRequest(target[None], **request)
    asked.check(file.shape, file.limits)
    with Station.open(file, seed=seed, dir=None if bench is None else str(bench)) as station:
        try:
            with recorded_run(station, folder, "program", asked.parameters(), arrays=1, resume=resume) as writer:
                program(around_cells(station.array, folder), writer, asked, stop=stop)
        finally:
            ledger = station.bench.ledger.table()
    return Done(folder, ledger, asked, file)


def command(*arguments: str | Path, home: Path, **environment: str) -> subprocess.Popen[str]:
    """Start `ohmflow` as a user would; stdout and stderr are kept apart."""
    words = [sys.executable, str(CHILD), "command", *map(str, arguments)]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
        env={**clean, "OHMFLOW_HOME": str(home), "COLUMNS": "120", **environment},
    )  # fmt: skip


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def finish(process: subprocess.Popen[str], timeout: float = 100) -> Ended:
    """Wait for a command's end."""
    with process:
        out, err = process.communicate(timeout=timeout)
    return Ended(process.returncode, out, err)


def wait_for_records(runs: Path, count: int, process: subprocess.Popen[str]) -> Path:
    """Wait until the run under way in `runs` has written `count` records; gives its folder."""
    while process.poll() is None:
        for journal in runs.glob("*/journal.jsonl"):
            if journal.read_bytes().count(b"\n") >= count:
                return journal.parent
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.01)
    raise AssertionError(f"the command ended before its {count}th record: {finish(process)}")
