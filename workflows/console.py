"""What a person sees in the terminal: progress while a run goes on, and its closing table."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

if TYPE_CHECKING:  # `ohmflow --help` needs no instrument
    from workflows.procedures.program import Progress as Job
    from workflows.tables import Row

console = Console()
errors = Console(stderr=True)


class Hooks(NamedTuple):
    """What a display wants to be told: of programming (a listener), and of a phase (its name, done, total)."""

    listener: Callable[["Job"], None]
    told: Callable[[str, int, int], None]


@contextlib.contextmanager
def programming_bar() -> Iterator[Hooks]:
    """A bar with cells done, yield so far, pulses and time left."""
    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=20), TextColumn("{task.fields[cells]}"),
        TextColumn("[cyan]{task.fields[yield_]}"), TextColumn("{task.fields[pulses]}"), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=False) as bar:
        task = bar.add_task("opening the station", total=None, cells="", yield_="", pulses="")

        def listen(job: "Job") -> None:
            bar.update(
                task, description=job.phase or "opening the station", total=job.work, completed=job.worked,
                cells=f"{job.done}/{job.cells} cells", yield_=f"{job.inside / job.done:.1%} inside" if job.done else "",
                pulses=f"{job.pulses} pulses" if job.pulses else "",
            )  # fmt: skip

        yield Hooks(listen, lambda name, done, total: None)
        bar.update(task, description="done")


@contextlib.contextmanager
def phase_bars() -> Iterator[Hooks]:
    """A line a phase: what is going on, how far it is, how long it took."""
    columns = (
        SpinnerColumn(finished_text="✓"), TextColumn("{task.description:<16}"), BarColumn(bar_width=10),
        TextColumn("{task.fields[text]:<37}"), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=False) as bar:
        tasks: dict[str, TaskID] = {}

        def line(name: str) -> TaskID:
            if name not in tasks:
                for earlier in tasks.values():
                    bar.stop_task(earlier)
                tasks[name] = bar.add_task(name, total=None, text="")
            return tasks[name]

        def listen(job: "Job") -> None:
            inside = f", {job.inside / job.done:.1%} inside" if job.done else ""
            text = f"{job.done}/{job.cells} cells{inside}"
            bar.update(line("programming"), total=job.cells, completed=job.done, text=text)

        def told(name: str, done: int, total: int) -> None:
            bar.update(line(name), total=total, completed=done, text=f"{done}/{total}" if total > 1 else "")

        yield Hooks(listen, told)


def show(text: str) -> None:
    """One line on stdout, as long as it is and whatever is in it."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def say(text: str, style: str) -> None:
    """One line on stderr, whatever is in it."""
    errors.print(" ".join(text.split()), style=style, markup=False, highlight=False, soft_wrap=True)


def closing_table(title: str, rows: Sequence["Row"]) -> None:
    """Print a run's result; what only the twin knows stands apart and says so."""
    table = Table(title=title, title_justify="left", show_header=False, title_style="bold", pad_edge=False)
    table.add_column(style="bold", max_width=28)
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


def _say_at_once(text: str) -> None:
    # Not through a buffered stream: the signal may have come in the middle of a write to it.
    with contextlib.suppress(OSError):
        os.write(2, f"\n{text}\n".encode())


def _endings() -> tuple[signal.Signals, ...]:
    """Signals besides Ctrl-C's that end a program which does nothing about them."""
    if not hasattr(signal, "SIGHUP") or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return (signal.SIGTERM,)
    return signal.SIGTERM, signal.SIGHUP


@contextlib.contextmanager
def ended_as_by_ctrl_c() -> Iterator[None]:
    """SIGTERM and SIGHUP end a block as Ctrl-C does: by an exception, so that what is open is made safe."""
    previous = {number: signal.signal(number, signal.default_int_handler) for number in _endings()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class StopOnSignal:
    """The first Ctrl-C, SIGTERM or SIGHUP asks the run to stop between two pulses; a second Ctrl-C stops it at once.

    SIGHUP comes when the terminal is closed or the connection to it is lost; under nohup it goes on meaning nothing.

    Once the run knows, whichever way, further signals change nothing: outputs are being made safe, and that must not be
    cut short by an impatient finger.
    """

    def __init__(self) -> None:
        self.asked = False
        self._known = False

    def __call__(self) -> bool:
        """Whether a stop has been asked for; whoever asks will stop."""
        self._known = self._known or self.asked
        return self.asked

    @contextlib.contextmanager
    def listening(self) -> Iterator["StopOnSignal"]:
        """Handle the signals in a block, whoever handled them before; may be nested."""
        numbers = (signal.SIGINT, *_endings())
        previous = [signal.signal(number, self._handle) for number in numbers]
        try:
            yield self
        finally:
            for number, handler in zip(numbers, previous, strict=True):
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self.asked:
            self.asked = True
            _say_at_once("stopping after this pulse; outputs will be made safe ...")
        elif self._known:
            _say_at_once("already stopping; outputs are being made safe ...")
        elif number == signal.SIGINT:
            self._known = True
            raise KeyboardInterrupt


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table of text, whatever is in it."""
    table = Table(title=escape(title), title_justify="left", title_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(escape(name), overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console.print(table)
