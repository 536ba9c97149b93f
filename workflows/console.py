"""What a person sees in the terminal: progress while a run goes on, and its closing table."""

import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from workflows.procedures.program import Progress as Job
from workflows.tables import Row

console = Console()
errors = Console(stderr=True)


@contextlib.contextmanager
def progress_bar() -> Iterator[Callable[[Job], None]]:
    """A bar with cells done, yield so far, pulses and time left; gives the listener to hand to a procedure."""
    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=28), MofNCompleteColumn(), TextColumn("cells"),
        TextColumn("[cyan]{task.fields[yield_]}"), TextColumn("{task.fields[pulses]}"), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=False) as bar:
        task = bar.add_task("reading the array", total=None, yield_="", pulses="")

        def listen(job: Job) -> None:
            share = f"{job.inside / job.done:.1%} inside" if job.done else ""
            name = "programming" if job.pulses or job.done else "reading the array"
            if job.done == job.cells:
                name = "reading it back"
            bar.update(
                task, description=name, total=job.cells, completed=job.done, yield_=share, pulses=f"{job.pulses} pulses"
            )

        yield listen
        bar.update(task, description="done")


def closing_table(title: str, rows: Sequence[Row]) -> None:
    """Print a run's result; what only the twin knows stands apart and says so."""
    table = Table(title=title, title_justify="left", show_header=False, title_style="bold", pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        if row.of == "lab":
            table.add_row(row.name, row.value)
    hidden = [row for row in rows if row.of == "twin"]
    if hidden:
        table.add_section()
        table.add_row("[magenta]known only to the twin[/]", "[magenta]no laboratory could measure these[/]")
        for row in hidden:
            table.add_row(f"[magenta]{row.name}[/]", f"[magenta]{row.value}[/]")
    console.print(table)


class StopOnSignal:
    """The first Ctrl-C or SIGTERM asks the run to stop between two pulses; a second Ctrl-C stops it where it is."""

    def __init__(self) -> None:
        self.asked = False
        self._previous: dict[int, object] = {}

    def __call__(self) -> bool:
        """Whether a stop has been asked for."""
        return self.asked

    def __enter__(self) -> "StopOnSignal":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal() gave us

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not self.asked:
            errors.print("\nstopping after this pulse; outputs will be made safe ...")
        self.asked = True
