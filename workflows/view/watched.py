"""The runs that are being looked at: their files kept open, read once for however many watch."""

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from analysis.errors import AnalysisError
from analysis.records.follow import Follower, marks
from analysis.records.guard import damage_told
from analysis.records.header import RunHeader
from workflows.errors import WorkflowError
from workflows.procedures import orders
from workflows.view.places import Place
from workflows.view.snapshot import Asked, snapshot

_MOST_OPEN = 4
_STANDING_SECONDS = 2.0
"""Between two looks at what a run's process says of itself, which take its lock for a moment."""


class _One:
    """One run that is looked at."""

    def __init__(self, folder: Path) -> None:
        self.follower = Follower(folder)
        self.lock = threading.Lock()
        self.seen: tuple[str, Asked, dict[str, Any]] | None = None
        self.standing: tuple[float, Mapping[str, Any]] = (float("-inf"), {})


class Watched:
    """Runs by their names in addresses; for many threads.

    Args:
        place: where they are.
        now: seconds of the machine.
    """

    def __init__(self, place: Place, *, now: Callable[[], float]) -> None:
        self.place = place
        self._now = now
        self._open: OrderedDict[Path, _One] = OrderedDict()
        self._lock = threading.Lock()

    def mark(self, name: str) -> str:
        """What is another text when there is something new to see of a run; cheap."""
        try:
            folder = self.place.folder_of(name)
        except WorkflowError as error:
            return _digest(str(error))
        return _digest(repr((marks(folder), _time_of(folder / "status.json"))))

    def header(self, name: str) -> RunHeader:
        """A run's header.

        Raises:
            WorkflowError: there is no such run in this view.
            AnalysisError: its file can't be read.
        """
        one = self._one(self.place.folder_of(name))
        with one.lock, damage_told(one.follower.folder):
            one.follower.look()
            return one.follower.header

    def see(self, name: str, asked: Asked) -> dict[str, Any]:
        """A run now: `snapshot`, with its `mark` and a `problem`, a sentence where it can't be shown."""
        mark = self.mark(name)
        try:
            one = self._one(self.place.folder_of(name))
            with one.lock, damage_told(one.follower.folder):
                if one.seen is None or one.seen[:2] != (mark, asked):
                    one.follower.look()
                    one.seen = mark, asked, snapshot(one.follower, asked, self._standing(one))
                return {**one.seen[2], "mark": mark, "problem": ""}
        except (AnalysisError, WorkflowError) as error:
            return {"mark": mark, "problem": sentence(error)}

    def close(self) -> None:
        """Close every file."""
        with self._lock:
            for one in self._open.values():
                one.follower.close()
            self._open.clear()

    def _one(self, folder: Path) -> _One:
        with self._lock:
            one = self._open.pop(folder, None) or _One(folder)
            self._open[folder] = one
            while len(self._open) > _MOST_OPEN:
                _, oldest = self._open.popitem(last=False)
                with oldest.lock:
                    oldest.follower.close()
            return one

    def _standing(self, one: _One) -> Mapping[str, Any]:
        if not (one.follower.folder / "status.json").is_file():
            return {}
        if self._now() - one.standing[0] >= _STANDING_SECONDS:
            one.standing = self._now(), orders.standing(one.follower.folder)
        return one.standing[1]


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()


def _time_of(path: Path) -> int:
    try:
        return os.lstat(path).st_mtime_ns
    except OSError:
        return -1


def sentence(error: Exception) -> str:
    """An error's message as a sentence of a page."""
    text = " ".join(str(error).split())
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}"
