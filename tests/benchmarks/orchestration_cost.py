"""What Prefect costs: one array of 1,024 cells programmed as a flow against a running server, and without Prefect.

    python tests/benchmarks/orchestration_cost.py [--repeats 3] [--rows 32] [--folder FOLDER]

Both do the same job on the same fresh chip in this process, in turn, figures included; the flow has its tasks, its
page's progress and its artifacts. Time is counted twice: by the wall, and as the processor's time of this process,
which other people's work on the machine does not change. Fails if the flow's processor time is 3 % or more above the
plain run's (the medians). A twin's run is the worst case: the same flow on real instruments takes hours.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from workflows.flows.environment import prepare

BAR = 0.03


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--folder", default="")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        return measure(Path(given.folder or temporary), given.repeats, given.rows)


def measure(folder: Path, repeats: int, rows: int) -> int:
    os.environ["PREFECT_HOME"] = str(folder / "prefect")
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    prepare()
    from workflows.flows.server import LocalServer, settle

    (folder / "prefect").mkdir(parents=True)
    local = LocalServer(folder / "prefect")
    local.start()
    os.environ["PREFECT_API_URL"] = local.url
    try:
        local.wait()
        return compared(folder, repeats, rows)
    finally:
        settle()
        local.stop()


def compared(folder: Path, repeats: int, rows: int) -> int:
    from prefect import flow

    from workflows.flows.procedures import program as as_flow
    from workflows.flows.watch import Watch, piece
    from workflows.procedures.controls import Controls
    from workflows.procedures.job import Job
    from workflows.procedures.program_job import PROCEDURE, ProgramOptions

    target = np.full((32, 32), np.nan)
    target[:rows] = np.linspace(20e-6, 100e-6, rows * 32).reshape(rows, 32)
    np.save(folder / "pattern.npy", target)

    def options(run_id: str) -> dict[str, Any]:
        return {"pattern": str(folder / "pattern.npy"), "chip": "1", "runs": str(folder / "runs"), "run_id": run_id}

    def plainly(number: int) -> None:
        Job.prepare(PROCEDURE, ProgramOptions(**options(f"plain{number}"))).run(Controls())

    def with_prefect(number: int) -> None:
        with Watch().installed():
            as_flow(**options(f"flow{number}"))

    for first in (plainly, with_prefect):
        first(-1)  # imports, and compiled code
    spent: dict[str, list[tuple[float, float]]] = {"plain": [], "flow": []}
    for number in range(repeats):
        spent["plain"].append(timed(lambda n=number: plainly(n)))
        spent["flow"].append(timed(lambda n=number: with_prefect(n)))
        for name, found in spent.items():
            print(f"{name:>6} {number}: {found[-1][0]:7.2f} s wall, {found[-1][1]:7.2f} s processor", flush=True)

    @flow(name="empty", persist_result=False)
    def empty(count: int) -> None:
        for number in range(count):
            piece.with_options(name="x")(f"x{number}", lambda: None)

    empty(1)
    few, many = timed(lambda: empty(10)), timed(lambda: empty(110))
    wall = [statistics.median(one[0] for one in spent[name]) for name in ("plain", "flow")]
    busy = [statistics.median(one[1] for one in spent[name]) for name in ("plain", "flow")]
    print(f"a task: {(many[0] - few[0]) * 10:.1f} ms wall, {(many[1] - few[1]) * 10:.1f} ms processor")
    print(f"wall: {wall[0]:.2f} s plain, {wall[1]:.2f} s as a flow: {wall[1] / wall[0] - 1:+.1%}")
    print(f"processor: {busy[0]:.2f} s plain, {busy[1]:.2f} s as a flow: {busy[1] / busy[0] - 1:+.1%}")
    return int(busy[1] / busy[0] - 1 >= BAR)


def timed(work: Any) -> tuple[float, float]:
    """Wall and processor seconds of a piece of work."""
    wall, busy = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - busy


if __name__ == "__main__":
    sys.exit(main())
