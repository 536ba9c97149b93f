"""What flows share: a task around a piece of work, and the caller's eye on a flow that runs in its own process."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from analysis.records.masking import masked
from workflows.console import StopOnSignal
from workflows.flows.notify import told as notified
from workflows.flows.page import Page
from workflows.flows.persons import PagePersons
from workflows.locking import StationLocks, Waiting
from workflows.procedures.controls import Controls
from workflows.procedures.holding import usual_locks
from workflows.procedures.program import Progress


# Instrument work runs in direct task calls, never submitted to threads: cancelling a run must stop its pulses at once.
@task(name="piece", task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False, retries=0)
def piece(name: str, work: Callable[[], object]) -> None:
    """A piece of a procedure, a row or a phase. Never retried by itself: a pulse is not idempotent."""
    work()


@dataclass
class Watch:
    """What a caller in the same process wants of the flow that it runs, and what became of the work.

    Attributes:
        stop: asked between pulses and between solutions.
        listener: told of programming progress.
        told: told of a phase's progress: name, done, total.
        signals: surrounds the work, where Prefect has its own handler of SIGTERM: one that raises wherever it strikes.
        locks: where the station's instruments are taken for the run.
        waiting: told for whom the run waits.
        persons: `attend` and `pausing` of the job's controls; empty: people sit at Prefect's pages.
        finished: the work completed, whatever Prefect says of the flow.
        error: what ended the work otherwise.
    """

    stop: Callable[[], bool] = lambda: False
    listener: Callable[[Progress], None] | None = None
    told: Callable[[str, int, int], None] = lambda name, done, total: None
    signals: Callable[[], AbstractContextManager[object]] = nullcontext
    locks: StationLocks = field(default_factory=usual_locks)
    waiting: Callable[[Waiting], None] | None = None
    persons: dict[str, Any] = field(default_factory=dict)
    finished: bool = False
    error: BaseException | None = None

    @classmethod
    def current(cls) -> "Watch":
        """The caller's; or, for a deployed flow, one that a signal stops between two pulses.

        Prefect's own handler of SIGTERM, which is how it cancels a run and how a service stops its runs, raises
        wherever it strikes: also between a pulse and the reading of its acknowledgement.
        """
        watch = _WATCH.get()
        if watch is not None:
            return watch
        if threading.current_thread() is not threading.main_thread():  # no place for handlers of signals
            return cls()
        stop = StopOnSignal()
        return cls(stop=stop, signals=stop.listening)

    @contextmanager
    def controls(self, folder: Path, name: str) -> Iterator[Controls]:
        """What a job is to be run with: a task a piece of its work, and the run's page in the know.

        Args:
            folder: of the run.
            name: of the procedure.
        """
        this = UUID(str(flow_run.id))

        def needed(text: str) -> None:
            get_run_logger().warning(masked(text))  # the first thing that is seen on the page
            notified("operator", name, folder.name, text)

        persons = None if self.persons else PagePersons(this, self.stop, needed)
        page = Page(this, folder, name, persons)
        asks = self.persons if persons is None else {"attend": persons.attend, "pausing": persons.pausing}

        def listener(job: Progress) -> None:
            page.listener(job)
            if self.listener is not None:
                self.listener(job)

        def told(phase: str, done: int, total: int) -> None:
            page.told(phase, done, total)
            self.told(phase, done, total)

        waited: list[bool] = []

        def waiting(why: Waiting) -> None:
            page.waiting(why)
            if self.waiting is not None:
                self.waiting(why)
            if not waited:
                waited.append(True)
                notified("waiting", name, folder.name, str(why))

        with page.shown():
            yield Controls(
                stop=self.stop, listener=listener, told=told, around=piece, locks=self.locks, waiting=waiting, **asks
            )

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Watch the flows that run in a block."""
        token = _WATCH.set(self)
        try:
            yield
        finally:
            _WATCH.reset(token)

    def over(self, work: Callable[[], Path]) -> Path:
        """Do the work, and note how it ended."""
        try:
            with self.signals():
                folder = work()
        except BaseException as error:
            self.error = error
            raise
        self.finished = True
        return folder


_WATCH: ContextVar[Watch | None] = ContextVar("watch", default=None)
