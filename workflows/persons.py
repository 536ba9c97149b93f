"""The person at the terminal: told of pauses, asked what needs hands. Somebody elsewhere may answer by a command."""

import contextlib
import getpass
import select
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from instruments.clock import WallClock
from workflows.console import show
from workflows.errors import Interrupted
from workflows.procedures.controls import Answer, Answered, Question, Resumed

_GLANCE = 0.2


class Persons:
    """Asks at the terminal, and waits for commands of others.

    Args:
        folder: of the run, for the commands that are shown.
        stop: asked while waiting.
    """

    def __init__(self, folder: Path, stop: Callable[[], bool]) -> None:
        self._folder = shlex.quote(str(folder))
        self._stop = stop

    def attend(self, question: Question, answered: Answered) -> Answer:
        """Show what to do, with safe outputs, and wait until it is done.

        Raises:
            Interrupted: a signal, or somebody's order, ended the run instead.
        """
        show(f"outputs are safe; a person is needed: {question}")
        here = sys.stdin is not None and sys.stdin.isatty()
        if here:
            show("  press Enter when it is done (a remark may be written before it)")
        show(f"  {'or ' if here else ''}say so by: ohmflow answer {self._folder} --operator NAME")
        clock = WallClock()
        while True:
            if self._stop():
                raise Interrupted("stopped while a person was asked")
            answer = answered()
            if answer is not None:
                return answer
            if here and select.select([sys.stdin], [], [], _GLANCE)[0]:
                return Answer(getpass.getuser(), sys.stdin.readline().strip())
            if not here:
                clock.sleep(_GLANCE)

    @contextlib.contextmanager
    def pausing(self, why: str) -> Iterator[Resumed]:
        """Say that the run waits, and how it goes on."""
        show(f"{why}; outputs are at 0 V and open, the instruments are free for others")
        show(f"go on with: ohmflow resume {self._folder}")
        yield lambda: False
        show("going on")
