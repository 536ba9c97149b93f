"""The frame of every programming run, whatever its wiring: read, program in steps, read again."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Protocol, TypeVar

import numpy as np

from analysis.records import RunWriter
from workflows.procedures.program_progress import VISITS, Progress

PIECE = 8
"""Rows or columns that are one task of an orchestrator."""


class Line(Protocol):
    """A step of a programming run, whatever its wiring."""

    @property
    def kind(self) -> str:
        """What is done: "program", "verify" or "wait"."""
        ...

    @property
    def array(self) -> int:
        """Slice of the target."""
        ...

    @property
    def visit(self) -> int:
        """Pass that it belongs to."""
        ...


S = TypeVar("S", bound=Line)


class Job(Protocol[S]):
    """What `carry_out` carries out: `Programming`, or its like for another wiring."""

    progress: Progress

    def begin(self) -> None:
        """Prepare, or take up what was interrupted."""
        ...

    def read_rows(self, name: str, title: str) -> Iterator[S]:
        """Read everything into a map."""
        ...

    def steps(self) -> Iterator[S]:
        """The order of work."""
        ...

    def name(self, step: S) -> str:
        """A step in words."""
        ...

    def run(self, step: S) -> None:
        """Do a step."""
        ...


def carry_out(
    job: Job[S],
    writer: RunWriter,
    listener: Callable[[Progress], None] | None,
    around: Callable[[str, Callable[[], object]], object],
) -> None:
    """The frame of every programming run: read, program in steps, read again."""
    if listener:
        job.progress.listeners.append(listener)
        job.progress.tell()
    job.begin()

    def read_all(name: str, title: str) -> None:
        for _ in job.read_rows(name, title):
            pass

    state = writer.state
    untouched = state is None or not (state.finished or state.in_doubt or np.any(state.cells["pulses"]))
    if not untouched:
        job.progress.worked += VISITS["read"] * job.progress.cells
    else:
        around("read before", lambda: read_all("conductance_before", "conductance before programming"))
    writer.phase("program")
    for group in _pieces(job.steps()):
        around(_group_name(job, group), partial(_run_all, job, group))
    around("read after", lambda: read_all("conductance_after", "conductance after programming"))


def _pieces(steps: Iterable[S]) -> Iterator[list[S]]:
    """Up to `PIECE` steps alike that follow each other: a task of an orchestrator costs some milliseconds."""
    piece: list[S] = []
    for step in steps:
        if piece and (len(piece) == PIECE or _kind(step) != _kind(piece[0])):
            yield piece
            piece = []
        piece.append(step)
    if piece:
        yield piece


def _kind(step: Line) -> tuple[str, int, int]:
    return step.kind, step.array, step.visit


def _group_name(job: Job[S], group: Sequence[S]) -> str:
    behind = f" and {len(group) - 1} more" if len(group) > 1 else ""
    return job.name(group[0]) + behind


def _run_all(job: Job[S], group: Sequence[S]) -> None:
    for step in group:
        job.run(step)
