"""What is asked of a run from outside its process: pause, go on, abort; and what the run asks of a person.

Two small files in the run's folder carry it: `order.json`, written whole by whoever asks, and `status.json`, written
by the run. The run looks between pulses. They are messages, not records: what came of them is in the run's journal,
and both are gone when the run's process has ended in order.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal

from instruments.clock import WallClock, stopwatch, wall_time
from workflows.errors import Interrupted, RequestError
from workflows.locking.os_lock import OsLock
from workflows.procedures.controls import Answer, Controls, Question

Kind = Literal["pause", "go", "abort", "answer"]
KINDS: Final = ("pause", "go", "abort", "answer")
_LOOK: Final = 0.1
"""s between two looks at the order file, while pulses go on."""
_WAIT: Final = 0.2
_MOST: Final = 1 << 16


@dataclass(frozen=True)
class Order:
    """What somebody asks of a run.

    Attributes:
        kind: one of `KINDS`; "go" ends a pause, "answer" a question.
        by: who.
        remark: what they have to say.
    """

    kind: str
    by: str = ""
    remark: str = ""

    @property
    def author(self) -> str:
        """For sentences."""
        return self.by or "somebody"


class Orders:
    """The run's own end: a context for as long as its process is at work on it, pauses included.

    Args:
        folder: of the run.
        pausable: whether the run could be gone on with after a pause.
    """

    def __init__(self, folder: Path, *, pausable: bool = True) -> None:
        self.folder = folder
        self._pausable = pausable
        self._lock: OsLock | None = None
        self._looked = -_LOOK
        self._order: Order | None = None

    def __enter__(self) -> "Orders":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            for name in ("order.json", "status.json", ".alive"):
                with contextlib.suppress(OSError):
                    (self.folder / name).unlink()
            self._lock.close()

    def working(self) -> None:
        """The run's records are open and its work begins; orders from before are void."""
        if self._lock is None:
            self._lock = OsLock(self.folder / ".alive")
            self._lock.try_lock()
        self._forget()
        self._say("working")

    def or_asked(self, stop: Callable[[], bool]) -> Callable[[], bool]:
        """Whether `stop` says so, or somebody wants the run to pause or to end; cheap enough between pulses."""

        def asked() -> bool:
            if stop():
                return True
            now = stopwatch()
            if now - self._looked >= _LOOK:
                self._looked = now
                self._look()
            return self._order is not None and self._order.kind in ("pause", "abort")

        return asked

    @property
    def pausing(self) -> bool:
        """Whether what ended the work was a pause."""
        return self._order is not None and self._order.kind == "pause"

    def explain(self, error: BaseException) -> None:
        """Say of the error that ended the work who wanted it so."""
        if self._order is not None and isinstance(error, Interrupted) and self._order.kind == "abort":
            said = f": {self._order.remark}" if self._order.remark else ""
            error.add_note(f"aborted by {self._order.author}{said}")

    def wait(self, controls: Controls) -> None:
        """Wait, with nothing open, for the word to go on.

        Raises:
            Interrupted: the run is to end instead.
        """
        assert self._order is not None
        why = f"paused by {self._order.author}" + (f": {self._order.remark}" if self._order.remark else "")
        self._forget()
        self._say("paused", why=why)
        clock = WallClock()
        with controls.pausing(why) as resumed:
            while not resumed():
                if controls.stop():
                    raise Interrupted("stopped while paused")
                order = self._look()
                if order is not None and order.kind == "abort":
                    raise Interrupted(f"aborted by {order.author} while paused")
                if order is not None and order.kind == "go":
                    break
                clock.sleep(_WAIT)

    @contextlib.contextmanager
    def asking(self, question: Question) -> Iterator[None]:
        """While a person is asked: whoever looks at the run sees the question."""
        self._forget()
        self._say("asking", question=question.text, details=dict(question.details), key=question.key)
        try:
            yield
        finally:
            self._forget()
            self._say("working")

    def answered(self) -> Answer | None:
        """What somebody has answered by a command.

        Raises:
            Interrupted: the run is to end instead.
        """
        order = self._look()
        if order is None or order.kind not in ("answer", "abort"):
            return None
        if order.kind == "abort":
            raise Interrupted(f"aborted by {order.author} when asked")
        return Answer(order.author, order.remark)

    def _look(self) -> Order | None:
        found = _read(self.folder / "order.json")
        if found.get("kind") in KINDS:
            self._order = Order(str(found["kind"]), str(found.get("by", "")), str(found.get("remark", "")))
        return self._order

    def _forget(self) -> None:
        self._order = None
        with contextlib.suppress(OSError):
            (self.folder / "order.json").unlink()

    def _say(self, state: str, **more: Any) -> None:
        with contextlib.suppress(OSError):  # a full disk ends the run by its journal, not by its chatter
            _replace(self.folder / "status.json", {"state": state, "pausable": self._pausable, **more})


def give(folder: Path, order: Order) -> None:
    """Ask something of a run.

    Raises:
        RequestError: no process is at work on it, or what it is doing does not allow it.
    """
    if not alive(folder):
        raise RequestError(f"nothing is at work on run {folder}; go on with it by: ohmflow resume {folder}")
    status = standing(folder)
    state = status.get("state", "working")
    fits = {"go": ("paused",), "answer": ("asking",), "pause": ("working", "asking")}.get(order.kind)
    if fits is not None and state not in fits:
        raise RequestError(f"run {folder} is {state}; {order.kind!r} is for a run that is {' or '.join(fits)}")
    if order.kind == "pause" and not status.get("pausable", True):
        raise RequestError(f"run {folder} can't be paused: its simulated chip is not kept (--bench none)")
    _replace(folder / "order.json", {"kind": order.kind, "by": order.by, "remark": order.remark, "at": wall_time()})


def alive(folder: Path) -> bool:
    """Whether a process is at work on a run, or waits to go on with it."""
    try:
        lock = OsLock(folder / ".alive", create=False)
    except OSError:
        return False
    try:
        return not lock.try_lock()
    finally:
        lock.close()


def standing(folder: Path) -> Mapping[str, Any]:
    """What a living run says of itself: `state` ("working", "paused", "asking"), `why`, `question`, `details`."""
    return _read(folder / "status.json") if alive(folder) else {}


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_MOST))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _replace(path: Path, content: Mapping[str, Any]) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content), encoding="utf-8")
    os.replace(temporary, path)
