"""Program an array as a Prefect flow: a task a row, the work itself in the procedure."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from analysis.programming import summarise
from analysis.records import open_run
from workflows.flows.watch import Watch, piece
from workflows.procedures.jobs import ProgramJob, ProgramOptions
from workflows.tables import program_markdown


@flow(
    name="program-array",
    flow_run_name="program-{pattern}",
    log_prints=False,
    persist_result=False,
    validate_parameters=True,
)
def program_array(
    pattern: str = "moon-star",
    station: str = "station-twin.yaml",
    array: int = 0,
    window: float = 1e-6,
    verify: float = 0.7,
    budget: int = 120,
    settle_rows: int = 8,
    algorithm: str = "incremental-reversal",
    adc: str = "",
    runs: str = "runs",
    run_id: str = "",
    bench: str = "",
    chip: str = "",
    preset: str = "",
    fresh: bool = False,
    operator: str = "",
    resume: str = "",
    command_line: str = "",
) -> str:
    """Program a conductance pattern into an array by write-verify, and record everything.

    Args:
        pattern: "moon-star", or a .npy or .csv file of conductances in S.
        station: station file.
        array: array number on the board.
        window: half width of the target window, S.
        verify: share of the window that verify reads must lie within, 0..1.
        budget: pulses a cell may take.
        settle_rows: rows after which a row is verified again; 0 for never.
        algorithm: write-verify algorithm.
        adc: "plc" or "high-speed"; empty for the station's setting.
        runs: folder of runs.
        run_id: name of the run; empty for one made from the time.
        bench: directory of a twin's chips.
        chip: seed that names a twin's chip.
        preset: device preset of a twin.
        fresh: draw the twin's chip anew.
        operator: who runs it.
        resume: a run to go on with.
        command_line: what was typed, for the record.

    Returns:
        The run's folder.
    """
    given: dict[str, Any] = {k: v for k, v in locals().items() if k in {f.name for f in fields(ProgramOptions)}}
    job = ProgramJob.prepare(ProgramOptions(**given))
    watch = Watch.current()
    folder = watch.over(lambda: job.run(stop=watch.stop, listener=watch.listener, around=piece, **watch.taking))
    _publish(folder)
    return str(folder)


def _publish(folder: Path) -> None:
    with open_run(folder) as run:
        create_markdown_artifact(
            key="programming", markdown=program_markdown(run, summarise(run)), description=folder.name
        )
