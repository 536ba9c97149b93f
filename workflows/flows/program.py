"""Program an array as a Prefect flow: a task a row, the work itself in the procedure."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from analysis.programming import summarise
from analysis.records import open_run
from workflows.procedures.jobs import ProgramJob, ProgramOptions
from workflows.procedures.program import Progress
from workflows.tables import program_markdown


# Instrument work runs in direct task calls, never submitted to threads: cancelling a run must stop its pulses at once.
@task(name="rows", task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False, retries=0)
def piece(name: str, work: Callable[[], object]) -> None:
    """A piece of a procedure about the size of a row. Never retried by itself: a pulse is not idempotent."""
    work()


@dataclass
class Watch:
    """What a caller in the same process wants of the flow that it runs, and what became of the work.

    Attributes:
        stop: asked between pulses.
        listener: told of progress.
        signals: surrounds the work, where Prefect has its own handler of SIGTERM: one that raises wherever it strikes.
        finished: the work completed, whatever Prefect says of the flow.
        error: what ended the work otherwise.
    """

    stop: Callable[[], bool] = lambda: False
    listener: Callable[[Progress], None] | None = None
    signals: Callable[[], AbstractContextManager[object]] = nullcontext
    finished: bool = False
    error: BaseException | None = None

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Watch the flows that run in a block."""
        token = _WATCH.set(self)
        try:
            yield
        finally:
            _WATCH.reset(token)

    def over(self, job: ProgramJob) -> Path:
        """Do the job, and note how it ended."""
        try:
            with self.signals():
                folder = job.run(stop=self.stop, listener=self.listener, around=piece)
        except BaseException as error:
            self.error = error
            raise
        self.finished = True
        return folder


_WATCH: ContextVar[Watch | None] = ContextVar("watch", default=None)


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
    folder = (_WATCH.get() or Watch()).over(job)
    _publish(folder)
    return str(folder)


def _publish(folder: Path) -> None:
    with open_run(folder) as run:
        create_markdown_artifact(
            key="programming", markdown=program_markdown(run, summarise(run)), description=folder.name
        )
