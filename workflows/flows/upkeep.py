"""Flows that are no procedures: orders to a running run from the pages, and reports made anew overnight."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from prefect import flow
from prefect.artifacts import create_table_artifact

from analysis.records import layout, open_run
from analysis.records.journal import is_being_written
from instruments.clock import wall_time
from workflows.errors import USER_ERRORS, RequestError, WorkflowError
from workflows.flows.procedures import announced
from workflows.flows.watch import Watch, piece
from workflows.procedures.options import RunOptions, option
from workflows.procedures.orders import KINDS, Order, give
from workflows.procedures.registry import procedure
from workflows.procedures.session import run_folder

RUNS = str(RunOptions.__dataclass_fields__["runs"].default)
MOST_DAYS = 36_500.0


@dataclass(frozen=True)
class ControlOptions:
    """An order by names only, so that it can be a flow's parameters; see `control_run`."""

    run: str = option("", "Run.")
    order: str = option("pause", "Order.")
    by: str = option("", "By whom.")
    remark: str = option("", "Remark.")
    runs: str = option(RUNS, "Folder.")

    def check(self) -> None:
        """Refuse what is never right; whether the run takes the order is known only when it is given.

        Raises:
            RequestError: the order is unknown.
        """
        if self.order not in KINDS:
            raise RequestError(f"order {self.order!r:.80} is unknown; allowed: {', '.join(KINDS)}")


@flow(name="control-run", flow_run_name="{order}-{run}", log_prints=False, persist_result=False)
def control_run(
    run: str, order: Literal["pause", "go", "abort", "answer"], by: str = "", remark: str = "", runs: str = RUNS
) -> str:
    """Have a run pause, go on or end between two pulses, or answer what it asks a person.

    Args:
        run: A run's folder, or its name.
        order: What it is to do: pause, go (on after a pause), abort, or answer (what it asks for is done).
        by: Who asks, or who did it; for the record.
        remark: What else to say, for the record.
        runs: Folder that runs are kept in.

    Returns:
        The run's folder.
    """
    if order == "answer" and not by.strip():
        raise RequestError("an answer needs a name: say in 'by' who did it")
    folder = run_folder(Path(runs), run)
    give(folder, Order(order, by.strip() or "somebody at Prefect's pages", remark))
    return str(folder)


@dataclass(frozen=True)
class AnalysisOptions:
    """Which reports are made anew; see `analysis`."""

    runs: str = option(RUNS, "Folder.")
    days: float = option(1.0, "Days.")

    def check(self) -> None:
        """Refuse what makes no sense.

        Raises:
            RequestError: with the range.
        """
        if not 0 < self.days <= MOST_DAYS:
            raise RequestError(f"days must be more than 0, at most {MOST_DAYS:g}, not {self.days:g}")


@flow(name="analysis", log_prints=False, persist_result=False)
def analysis(runs: str = RUNS, days: float = 1.0) -> list[str]:
    """Draw the figures and pages of recent runs again, from their files alone; needs no instrument.

    Args:
        runs: Folder that runs are kept in.
        days: How far back, by the time of a run's last record.

    Returns:
        The folders of the runs whose reports were made.
    """
    AnalysisOptions(runs, days).check()
    watch = Watch.current()
    rows: list[dict[str, str]] = []
    with announced("analysis"), watch.signals():
        for folder in recent(Path(runs), datetime.fromisoformat(wall_time()) - timedelta(days=days)):
            if watch.stop():
                break
            rows.append(_remade(folder))
        create_table_artifact(
            key="analysis", table=rows or [{"run": "none", "became": f"no run within {days:g} days"}], description=runs
        )
        failed = [f"{row['run']}: {row['became']}" for row in rows if not row["became"].startswith("report made")]
        if failed:
            raise WorkflowError(f"{len(failed)} of {len(rows)} reports could not be made: {'; '.join(failed)}")
    return [row["folder"] for row in rows]


def recent(runs: Path, since: datetime) -> list[Path]:
    """Folders of runs with a record after `since` that nobody is writing any more, oldest first."""
    found = []
    for journal in runs.expanduser().glob(f"*/{layout.JOURNAL}"):
        written = journal.stat().st_mtime
        if written >= since.timestamp() and not is_being_written(journal):
            found.append((written, journal.parent))
    return [folder for _, folder in sorted(found)]


def _remade(folder: Path) -> dict[str, str]:
    row = {"run": folder.name, "procedure": "", "became": "", "folder": str(folder)}
    try:
        with open_run(folder) as run:
            row["procedure"], status = run.header.procedure, run.status
        done = procedure(row["procedure"])
        piece.with_options(name="report")(folder.name, lambda: done.report(folder))
        row["became"] = f"report made; the run is {status}"
    except USER_ERRORS as error:  # a damaged file must not keep the others waiting
        row["became"] = str(error)
    return row
