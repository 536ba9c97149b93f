"""The circle experiment as a Prefect flow: a task a phase, the work itself in the procedure."""

from collections.abc import Mapping
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from analysis.circle import summarise_circle
from analysis.circle_cost import circle_cost
from analysis.records import open_run
from analysis.report import cost_rows, quality_rows
from workflows.flows.watch import Watch, piece
from workflows.procedures.circle_job import CircleJob, CircleOptions


@flow(name="circle", flow_run_name="circle-{recipe}-{samples}", log_prints=False, persist_result=False)
def solve_circle(
    samples: int = 1000, uncalibrated: int = 200, calibration_runs: int = 32, calibration_rounds: int = 2,
    recipe: str = "hardware", seed: int = 1, tolerance: float = 1e-6, verify: float = 0.7, budget: int = 120,
    points: int = 2000, field: int = 11, compensation: int = 500, station: str = "station-twin.yaml",
    runs: str = "runs", run_id: str = "", bench: str = "", chip: str = "", preset: str = "", fresh: bool = False,
    cache: str = "", baseline: bool = True, operator: str = "", resume: str = "", command_line: str = "",
) -> str:  # fmt: skip
    """Train, program, calibrate and sample a circle out of noise (the paper's Fig. 3), and report it.

    Args:
        samples: solutions to sample.
        uncalibrated: solutions to sample before the offsets are calibrated.
        calibration_runs: solutions a calibration round.
        calibration_rounds: rounds of calibration; 0 for none.
        recipe: of the training: hardware, paper or paper-short.
        seed: of the training and of the initial states.
        tolerance: half width of the programming window, S.
        verify: share of the window that verify reads must lie within, 0..1.
        budget: pulses a cell may take.
        points: oscilloscope samples a solution.
        field: points an axis of the measured vector field; 0 for none.
        compensation: iterations of the chip-in-the-loop training; 0 for none.
        station: station file, with an oscilloscope.
        runs: folder of runs.
        run_id: name of the run; empty for one made from the time.
        bench: directory of a twin's chips.
        chip: seed that names a twin's chip.
        preset: device preset of a twin.
        fresh: draw the twin's chip anew.
        cache: folder of trained networks.
        baseline: measure the digital baseline on this computer.
        operator: who runs it.
        resume: a run to go on with.
        command_line: what was typed, for the record.

    Returns:
        The run's folder.
    """
    given: Mapping[str, Any] = dict(locals())
    job = CircleJob.prepare(CircleOptions(**given))
    watch = Watch.current()
    folder = watch.over(
        lambda: job.run(
            stop=watch.stop,
            listener=watch.listener,
            told=watch.told,
            around=piece,
            locks=watch.locks,
            waiting=watch.waiting,
        )
    )
    with open_run(folder) as run:
        summary = summarise_circle(run)
        rows = [*quality_rows(summary), *cost_rows(summary, circle_cost(run, summary))]
    lines = [f"## {folder.name}", "", "| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
    create_markdown_artifact(key="circle", markdown="\n".join(lines), description=folder.name)
    return str(folder)
