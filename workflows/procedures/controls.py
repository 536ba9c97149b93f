"""What a caller holds on to while a procedure works: ways to stop it, to watch it, and to answer its questions."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workflows.errors import Interrupted, RequestError

if TYPE_CHECKING:
    from workflows.locking import StationLocks, Waiting
    from workflows.procedures.program import Progress

Around = Callable[[str, Callable[[], object]], object]
Told = Callable[[str, int, int], None]
Resumed = Callable[[], bool]
"""Whether somebody wants a paused run to go on; asked a few times a second."""


def directly(name: str, work: Callable[[], object]) -> object:
    """Do a piece of work as it is; a flow puts a task in its place."""
    return work()


@dataclass(frozen=True)
class Question:
    """A step that needs a person's hands or word.

    Attributes:
        key: what it is about, in one word: "probes", "chip", "limit".
        text: what to do, one sentence.
        details: what exactly, for the record and for a table.
    """

    key: str
    text: str
    details: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """The sentence with its details."""
        return self.text + "".join(f"\n  {name}: {value}" for name, value in self.details.items())


@dataclass(frozen=True)
class Answer:
    """Who did it, and what they had to say."""

    operator: str
    remark: str = ""


Answered = Callable[[], Answer | None]
"""What somebody has answered by a command, if anybody has; asked a few times a second."""


def _nobody(question: Question, answered: Answered) -> Answer:
    raise RequestError(
        f"a person is needed ({question.text.rstrip('.')}), and nobody is there to be asked; "
        "run it from a terminal or from the service's pages"
    )


@dataclass(frozen=True)
class Controls:
    """A caller's hold on a run. Every field may be left as it is.

    Attributes:
        stop: asked between pulses and between solutions; True ends the run with `Interrupted`.
        listener: told of programming progress, a cell at a time.
        told: told of a phase's progress: name, done, total.
        around: called with a name and a piece of work the size of a row or a phase, to do it.
        attend: has a person do what a `Question` says, or waits for somebody's command to say so.
        pausing: surrounds a pause; is handed why, and gives what asks whether to go on.
        locks: where the station's instruments are taken; None where nobody else can want them.
        waiting: told for whom the run waits.
        priority: in the queue for the instruments; higher goes first.
    """

    stop: Callable[[], bool] = lambda: False
    listener: "Callable[[Progress], None] | None" = None
    told: Told = lambda name, done, total: None
    around: Around = directly
    attend: Callable[[Question, Answered], Answer] = _nobody
    pausing: Callable[[str], AbstractContextManager[Resumed]] = lambda why: nullcontext(lambda: False)
    locks: "StationLocks | None" = None
    waiting: "Callable[[Waiting], None] | None" = None
    priority: int = 0

    def check(self) -> None:
        """To be called between pulses.

        Raises:
            Interrupted: somebody wants the run to stop.
        """
        if self.stop():
            raise Interrupted("stopped on request")
