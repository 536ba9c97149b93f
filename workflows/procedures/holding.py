"""A station held for one run: its instruments locked, opened, made safe if the last owner died, and given back."""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from instruments.clock import WallClock
from instruments.station import Station
from instruments.station_file import StationFile
from workflows.errors import Interrupted
from workflows.flows.environment import state_folder
from workflows.locking import Held, StationLocks, Waiting

_CHECK = 0.2


def usual_locks() -> StationLocks:
    """The laboratory's locks: in `$OHMFLOW_LOCKS`, else in this user's state folder.

    Users who share instruments must share a folder: one that all of them can write, on a disk that all machines see.
    """
    return StationLocks(Path(os.environ.get("OHMFLOW_LOCKS") or state_folder() / "locks").expanduser())


@dataclass(frozen=True)
class Holding:
    """An open station that is ours.

    Attributes:
        station: open.
        troubles: what the records should say of a previous owner who died.
    """

    station: Station
    troubles: tuple[str, ...]
    _held: Held | None

    def check(self) -> None:
        """Raise if the instruments are no longer ours (a network file system may take a lock away)."""
        if self._held is not None:
            self._held.check()


class _Patience(WallClock):
    """A clock of real time that a stop request cuts short."""

    def __init__(self, stop: Callable[[], bool]) -> None:
        super().__init__()
        self._stop = stop

    def sleep(self, seconds: float) -> None:
        while seconds > 0:
            if self._stop():
                raise Interrupted("stopped while waiting for instruments; nothing was driven")
            super().sleep(min(seconds, _CHECK))
            seconds -= _CHECK


@contextlib.contextmanager
def held_station(
    file: StationFile,
    open_station: Callable[[], Station],
    *,
    run: str,
    locks: StationLocks | None,
    owner: str = "",
    bench: str = "",
    priority: int = 0,
    stop: Callable[[], bool] = lambda: False,
    waiting: Callable[[Waiting], None] | None = None,
) -> Iterator[Holding]:
    """Take a station's instruments, open it, and give everything back in order.

    Args:
        file: the station.
        open_station: opens it.
        run: the run's id.
        locks: the laboratory's; None for a bench that nobody shares.
        owner: who runs it.
        bench: directory of a twin's chips.
        priority: higher goes first.
        stop: asked while waiting.
        waiting: told for whom the run waits.

    Raises:
        Interrupted: `stop` said so while waiting.
    """
    with contextlib.ExitStack() as stack:
        held: Held | None = None
        if locks is not None:
            held = stack.enter_context(
                locks.acquire(
                    file,
                    run=run,
                    owner=owner,
                    priority=priority,
                    bench=bench or None,
                    clock=_Patience(stop),
                    told=waiting,
                )
            )
        station = open_station()
        if held is not None:
            kept = held
            stack.callback(lambda: None if station.left_safe else kept.left_unsafe("outputs could not be put at 0 V"))
        stack.enter_context(station)  # closed before the callback, and that before the locks are released
        troubles: tuple[str, ...] = ()
        if held is not None and held.previous is not None:
            # Whoever had it died in the middle of something: its outputs may be on.
            station.safe()
            troubles = tuple(dict.fromkeys(record.trouble for record in held.abandoned.values()))
            held.made_safe()
        yield Holding(station, troubles, held)
