"""How instruments and the queue for them stand, looked at every few seconds for however many watch."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workflows.errors import WorkflowError
from workflows.locking import LockInfo, OwnerRecord, status

_SECONDS = 2.0
"""Between two looks, which hold the queue's gate for a moment."""


class Stand:
    """The laboratory's instruments; for many threads.

    Args:
        folder: of the locks.
        now: seconds of the machine.
    """

    def __init__(self, folder: Path, *, now: Callable[[], float]) -> None:
        self._folder = folder
        self._now = now
        self._lock = threading.Lock()
        self._looked = float("-inf")
        self._found: dict[str, Any] = {}

    def look(self) -> dict[str, Any]:
        """`instruments`: a row each, and `said`, a sentence where there is none or it can't be known."""
        with self._lock:
            if self._now() - self._looked >= _SECONDS:
                self._looked = self._now()
                try:
                    rows = [_row(info) for info in status(self._folder)]
                    said = "" if rows else "No instrument was ever taken on this computer."
                except (WorkflowError, OSError) as error:
                    rows, said = [], f"How instruments stand can't be told: {error}"
                self._found = {"instruments": rows, "said": said}
            return self._found


def _row(info: LockInfo) -> dict[str, Any]:
    return {
        "name": info.instrument,
        "state": info.state,
        "owner": _who(info.owner),
        "trouble": info.owner.trouble if info.state == "abandoned" and info.owner else "",
        "waiting": [_who(one) for one in info.waiting],
    }


def _who(owner: OwnerRecord | None) -> dict[str, str] | None:
    if owner is None:
        return None
    return {"run": owner.run or "unknown run", "owner": owner.owner, "since": owner.when}
