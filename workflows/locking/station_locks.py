"""Taking all instruments of a station at once, waiting in order, and handing over, also from the dead.

Under the folder's gate a run takes either all its instruments or none, and holds none while it waits: no deadlock.
It may take them when nobody before it in the queue wants one of them, so a large station is not starved by small ones,
and a run that comes back at once goes to the end. A higher priority goes first however long others have waited.
"""

import contextlib
import getpass
import math
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from instruments.clock import Clock, WallClock, wall_time
from instruments.station_file import StationFile
from workflows.errors import RequestError
from workflows.locking.folder import PATIENCE, TICKET, alive, gate, status, tickets, usable
from workflows.locking.keys import InstrumentKey, instrument_keys
from workflows.locking.os_lock import OsLock, reach_of
from workflows.locking.records import (
    RECORD_BYTES,
    UNKNOWN,
    Blocker,
    LockBusy,
    LockInfo,
    LockLost,
    OwnerRecord,
    Ticket,
    Waiting,
    decode_lock,
    encode_lock,
)

_POLLS_APART = 8
"""Those far back in the queue look this many times less often than the next."""
_SLOWEST = 0.05
"""Seconds between two looks of the next in the queue, once it has waited for long."""
_GLANCES = 0.5
"""Seconds for which a waiter looks at nothing but what stands in its way."""


class Held:
    """Instruments that are ours. Use as a context manager, around the open station: released last, come what may.

    Attributes:
        keys: the instruments.
        abandoned: by instrument, the owner that left it without making it safe; empty when all was in order. Say
            `made_safe` once it is, or the next owner is told of the same.
    """

    def __init__(
        self,
        record: OwnerRecord,
        locks: Mapping[InstrumentKey, OsLock],
        abandoned: Mapping[InstrumentKey, OwnerRecord],
        shared: bool,
    ) -> None:
        self.keys = tuple(locks)
        self.abandoned = dict(abandoned)
        self._record = record
        self._locks = dict(locks)
        self._shared = shared
        self._unsafe = ""
        self._inherited = dict(abandoned)

    @property
    def previous(self) -> OwnerRecord | None:
        """The last owner that left an instrument without making it safe: make safe first, and read cells in doubt."""
        return max(self.abandoned.values(), key=lambda owner: owner.since, default=None)

    def check(self) -> None:
        """Make sure that the instruments are still ours; microseconds on a local disk. For before each drive or row.

        Raises:
            LockLost: released, in a forked child, or the lock file was removed or lost by the file server.
        """
        if os.getpid() != self._record.pid:
            raise LockLost(f"run {self._record.run} belongs to process {self._record.pid}, not to its forked child")
        if len(self._locks) != len(self.keys):
            raise LockLost(f"run {self._record.run} has released its instruments")
        for key, lock in self._locks.items():
            try:
                there = lock.in_place()
                if self._shared:
                    lock.write(encode_lock(key.name, self._record))
                    lock.sync()
            except OSError as error:
                raise LockLost(f"the lock on {key} is lost: {error.strerror}; stop driving it") from error
            if not there:
                raise LockLost(f"the lock file of {key} was removed or replaced; stop driving it")

    def made_safe(self) -> None:
        """Say that what was abandoned is safe by now."""
        self._inherited = {}

    def left_unsafe(self, reason: str) -> None:
        """Say at release that the outputs may be on, so that the next owner is told like after a death."""
        self._unsafe = reason or "not known"

    def release(self) -> None:
        """Let go of all instruments. Idempotent; nothing in a forked child."""
        if os.getpid() != self._record.pid:
            return
        locks, self._locks = self._locks, {}
        mine = replace(self._record, unsafe=self._unsafe) if self._unsafe else None
        for key, lock in reversed(locks.items()):
            # A record that can't be cleared makes the next owner careful, which is right on a failing disk.
            with contextlib.suppress(OSError):
                lock.write(encode_lock(key.name, mine or self._inherited.get(key)))
            lock.close()

    def __enter__(self) -> "Held":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class StationLocks:
    """The locks in one folder: all who may drive an instrument must use the same one.

    Args:
        folder: made if it is missing. Who may write in it may lock; for several users make it group-writable.
        host: this machine's name; give containers that share interfaces one and the same.
        poll: seconds between two looks of the next in the queue, at first.
        wall: the date and time of day, for records.

    Raises:
        RequestError: the folder can't be used, or its file system does not share locks.
    """

    def __init__(
        self, folder: Path, *, host: str = "", poll: float = 0.01, wall: Callable[[], str] = wall_time
    ) -> None:
        self.folder = folder
        self.host = host or socket.gethostname()
        self.poll = poll
        self._wall = wall
        with usable(folder):
            for name in ("instruments", "waiting"):
                if not (folder / name).is_dir():
                    (folder / name).mkdir(parents=True, exist_ok=True)
                    with contextlib.suppress(OSError):
                        (folder / name).chmod(folder.stat().st_mode & 0o7777)
        self.reach = reach_of(folder)

    def acquire(
        self,
        station: StationFile,
        *,
        run: str,
        owner: str = "",
        priority: int = 0,
        wait: bool | float = True,
        bench: str | Path | None = None,
        clock: Clock | None = None,
        told: Callable[[Waiting], None] | None = None,
    ) -> Held:
        """Take all instruments of a station, in order with all others who want one of them.

        Args:
            station: the station; see `instrument_keys` for what of it is locked.
            run: the run's id.
            owner: who runs it; the user logged in by default.
            priority: higher goes first; equal ones in order of arrival.
            wait: until they are free (True), not at all (False), or at most so many seconds.
            bench: for a twin, the bench directory in place of the file's; "" for none.
            clock: a clock of real time, whatever the station's own is: processes are real.
            told: handed why we wait, at first and whenever it changes.

        Raises:
            LockBusy: they are not free, in the time given.
            RequestError: the folder can't be used.
        """
        keys = instrument_keys(station, host=self.host, bench=bench)
        return self.acquire_keys(keys, run=run, owner=owner, priority=priority, wait=wait, clock=clock, told=told)

    def acquire_keys(
        self,
        keys: Sequence[InstrumentKey],
        *,
        run: str,
        owner: str = "",
        priority: int = 0,
        wait: bool | float = True,
        clock: Clock | None = None,
        told: Callable[[Waiting], None] | None = None,
    ) -> Held:
        """`acquire`, for instruments that no station file names."""
        clock = clock or WallClock()
        if clock.is_virtual:
            raise ValueError("waiting for other processes takes real time: hand in a clock of it")
        patience = math.inf if wait is True else float(wait)
        if not run or not patience >= 0:
            raise RequestError("a lock needs the id of its run and a time to wait of 0 s or more")
        record = OwnerRecord.of_this_process(run, owner or _user(), self.host, self._wall())
        attempt = _Attempt(self, tuple(sorted({key.name: key for key in keys}.values())), record, priority, clock)
        begun, last = clock.now(), None
        with contextlib.closing(attempt):
            while True:
                with usable(self.folder):
                    with gate(self.folder, clock):
                        taken = not attempt.still_blocked() and attempt.take()
                        if not taken and patience > 0:
                            attempt.queue()
                    if taken:
                        return attempt.hand_over()
                waiting = attempt.waiting
                if told is not None and patience > 0 and waiting != last:
                    told(waiting)
                last = waiting
                waited = clock.now() - begun
                left = patience - waited
                if left <= 0:
                    after = f" after {patience:g} s" if patience else ""
                    raise LockBusy(f"the station is busy{after}: {waiting}", waiting)
                rank = min(max(waiting.position - 1, 1), _POLLS_APART)
                clock.sleep(min(max(self.poll, min(waited / 100, _SLOWEST)) * rank, left))

    def status(self) -> list[LockInfo]:
        """See `status`."""
        return status(self.folder)


class _Attempt:
    """One run on its way to its instruments. All but `hand_over` and `close` are called under the gate."""

    def __init__(
        self, locks: StationLocks, keys: tuple[InstrumentKey, ...], record: OwnerRecord, priority: int, clock: Clock
    ) -> None:
        self.locks, self.keys, self.record, self.priority, self.clock = locks, keys, record, priority, clock
        self.folder = locks.folder / "instruments"
        self.names = frozenset(key.name for key in keys)
        self.waiting = Waiting((), 1)
        self._ticket: OsLock | None = None
        self._order: tuple[int, float] = (-priority, math.inf)
        self._blocker: Path | None = None
        self._looked = 0.0
        self._known: dict[str, Ticket | None] = {}
        self._taken: dict[InstrumentKey, OsLock] = {}
        self._found: dict[InstrumentKey, bytes] = {}
        self._dying: dict[InstrumentKey, float] = {}

    def still_blocked(self) -> bool:
        """Whether what stood in our way still does; a cheap look, and none when the last thorough one is old."""
        if self._blocker is None or self.clock.now() - self._looked > _GLANCES:
            return False
        return alive(self._blocker)

    def take(self) -> bool:
        """Lock all instruments and write our name on them; or none, with the reason in `waiting`."""
        self._looked = self.clock.now()
        before = [
            (path, ticket)
            for path, ticket in tickets(self.locks.folder, self._known)
            if ticket.order < self._order and ticket.names & self.names
        ]
        # Each waiter looks after the one right before it; who stands further off is another's care.
        while before:
            path, ticket = before[-1]
            if not alive(path):
                path.unlink(missing_ok=True)
            elif not ticket.who.suspended(self.locks.host):  # who was stopped is passed by, and keeps the place
                break
            before.pop()
        busy = self._owners() if before else self._lock_all()
        if busy or before:
            self._let_go()
            self._blocker = before[-1][0] if before else self.folder / next(iter(busy)).file_name
            self.waiting = self._reasons(busy, [ticket for _, ticket in before])
            return False
        for key, lock in self._taken.items():
            self._found[key] = lock.read()
            lock.write(encode_lock(key.name, self.record))
        return True

    def queue(self) -> None:
        """Take a place in the queue, if we have none."""
        if self._ticket is not None:
            return
        folder = self.locks.folder / "waiting"
        numbers = [int(match[1]) for name in os.listdir(folder) if (match := TICKET.fullmatch(name))]
        ticket = Ticket(max(numbers, default=0) + 1, self.priority, self.names, self.record)
        self._ticket = OsLock(folder / f"{ticket.number:010d}-{os.urandom(4).hex()}.json")
        if not self._ticket.try_lock():
            raise OSError(f"{self._ticket.path} was removed as it was made")
        self._ticket.write(ticket.encode())
        self._order = ticket.order

    def hand_over(self) -> Held:
        """What was taken, once our name is on the disk: a power cut leaves it there."""
        for lock in self._taken.values():
            lock.sync()
        left = {key: decode_lock(page)[1] for key, page in self._found.items()}
        abandoned = {key: owner for key, owner in left.items() if owner is not None}
        held = Held(self.record, self._taken, abandoned, self.locks.reach != "this machine")
        self._taken = {}
        return held

    def close(self) -> None:
        """Leave the queue, and what was taken and not handed over as it was found."""
        self._let_go()
        ticket, self._ticket = self._ticket, None
        if ticket is not None and ticket.fd >= 0:  # in a forked child it is closed: the place is the parent's
            ticket.path.unlink(missing_ok=True)
            ticket.close()

    def _lock_all(self) -> dict[InstrumentKey, OwnerRecord]:
        busy: dict[InstrumentKey, OwnerRecord] = {}
        for key in self.keys:
            lock = OsLock(self.folder / key.file_name)
            self._taken[key] = lock
            free = lock.try_lock()
            page = lock.read()
            owner = decode_lock(page)[1]
            if free and not page:
                lock.write(encode_lock(key.name, None))
            if not free:
                busy[key] = owner or UNKNOWN
                self._refuse_ourselves(key, busy[key])
            elif owner is not None and self._is_dying(key, owner):
                busy[key] = owner
        return busy

    def _is_dying(self, key: InstrumentKey, owner: OwnerRecord) -> bool:
        # A kill frees the lock a moment before, or after, the port of the instrument: wait until the process is gone.
        if owner.unsafe or owner.pid == os.getpid() or not owner.still_running(self.locks.host):
            return False
        return self.clock.now() - self._dying.setdefault(key, self.clock.now()) < PATIENCE

    def _refuse_ourselves(self, key: InstrumentKey, owner: OwnerRecord) -> None:
        mine = self.record
        if (owner.pid, owner.process_start, owner.host, owner.run) == (
            mine.pid, mine.process_start, mine.host, mine.run,
        ):  # fmt: skip
            raise LockBusy(f"run {mine.run} has {key} already and would wait for itself")

    def _owners(self) -> dict[InstrumentKey, OwnerRecord]:
        """Who is written down as owner of what we want, for the message alone."""
        owners = {}
        for key in self.keys:
            with contextlib.suppress(FileNotFoundError):
                path = self.folder / key.file_name
                owner = decode_lock(path.read_bytes())[1]
                if owner is not None and not owner.unsafe:
                    owners[key] = owner
        return owners

    def _reasons(self, busy: Mapping[InstrumentKey, OwnerRecord], before: Sequence[Ticket]) -> Waiting:
        by_owner: dict[OwnerRecord, list[str]] = {}
        for key, owner in busy.items():
            by_owner.setdefault(owner, []).append(str(key))
        reasons = [Blocker(owner, tuple(wanted), True) for owner, wanted in by_owner.items()]
        if not reasons:
            shared = tuple(str(key) for key in self.keys if key.name in before[-1].names)
            reasons.append(Blocker(before[-1].who, shared, False))
        return Waiting(tuple(reasons), len(before) + 1)

    def _let_go(self) -> None:
        taken, self._taken = self._taken, {}
        found, self._found = self._found, {}
        for key, lock in taken.items():
            if key in found and lock.fd >= 0:
                with contextlib.suppress(OSError):
                    lock.write(found[key].ljust(RECORD_BYTES))
            lock.close()


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have a number only
        return f"user {os.getuid()}"
