"""The lock folder: its gate, its queue, and how its instruments stand.

::

    queue.lock         held for moments by whoever looks at or changes anything below ("the gate")
    instruments/*.lock one an instrument, never removed; its flock *is* ownership; one page says by whom
    waiting/*.json     one a waiter, locked as long as it waits: a killed waiter's can be locked by anybody, and goes

An owner's record stays until it releases, so one that is found under a free lock is of a run that died.

On folders that machines share, what is locked and who holds it is exact; the order of the queue may lag by the age of
the mount's directory cache (`actimeo`), since a waiter elsewhere may be seen that much later.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from instruments.clock import Clock, WallClock
from workflows.errors import RequestError
from workflows.locking.os_lock import OsLock
from workflows.locking.records import LockBusy, LockInfo, State, Ticket, decode_lock, printable

PATIENCE = 10.0
"""Seconds to wait for the gate, which is held for less than 1 ms, and for a dying process to be gone."""
TICKET = re.compile(r"(\d{10})-[0-9a-f]{8}\.json")


def status(folder: Path, *, clock: Clock | None = None) -> list[LockInfo]:
    """Who holds what and who waits for it, by instrument; what is asked for but was never held comes too.

    Raises:
        RequestError: the folder can't be used.
        LockBusy: a stopped process keeps the folder's gate shut.
    """
    if not (folder / "instruments").is_dir():
        return []
    infos: dict[str, LockInfo] = {}
    with usable(folder), gate(folder, clock or WallClock()):
        queue = [ticket for path, ticket in tickets(folder, {}) if alive(path)]
        for path in sorted((folder / "instruments").glob("*.lock")):
            lock = OsLock(path, create=False)
            try:
                free = lock.try_lock()
                name, owner = decode_lock(lock.read())
            finally:
                lock.close()
            state: State = "held" if not free else "abandoned" if owner else "free"
            infos[name or path.stem] = LockInfo(name or path.stem, state, owner)
    for ticket in queue:
        for name in (printable(name, 600) for name in ticket.names):
            info = infos.get(name, LockInfo(name, "free", None))
            infos[name] = replace(info, waiting=(*info.waiting, ticket.who))
    return [infos[name] for name in sorted(infos)]


@contextlib.contextmanager
def gate(folder: Path, clock: Clock) -> Iterator[None]:
    """Hold the folder's gate; it is held for moments only.

    Raises:
        LockBusy: it stays shut, since somebody who holds it was stopped (not killed, which would free it).
    """
    begun = clock.now()
    while True:
        lock = OsLock(folder / "queue.lock")
        try:
            if lock.try_lock():
                yield
                return
        finally:
            lock.close()
        if clock.now() - begun > PATIENCE:
            raise LockBusy(f"lock folder {folder}: its queue is kept shut by a stopped process; continue or kill it")
        clock.sleep(0.001)


def tickets(folder: Path, known: dict[str, Ticket | None]) -> list[tuple[Path, Ticket]]:
    """The queue in order, the dead among them. Under the gate. `known` keeps what was read, by file name."""
    queue, names = [], os.listdir(folder / "waiting")
    for gone in known.keys() - set(names):
        del known[gone]
    for name in names:
        match = TICKET.fullmatch(name)
        if match is None:
            continue
        path = folder / "waiting" / name
        if name not in known:
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                continue
            known[name] = Ticket.decode(int(match[1]), data)
            if known[name] is None and not alive(path):
                path.unlink(missing_ok=True)  # of somebody killed as it was written
        ticket = known[name]
        if ticket is not None:
            queue.append((path, ticket))
    return sorted(queue, key=lambda item: item[1].order)


def alive(path: Path) -> bool:
    """Whether a lock is taken. Under the gate: the first try of whoever makes it might fail on ours."""
    try:
        lock = OsLock(path, create=False)
    except FileNotFoundError:
        return False
    try:
        return not lock.try_lock()
    finally:
        lock.close()


@contextlib.contextmanager
def usable(folder: Path) -> Iterator[None]:
    """Turn what the operating system refuses into one sentence."""
    try:
        yield
    except OSError as error:
        raise RequestError(
            f"lock folder {folder} can't be used: {error.strerror or error}; every user of its instruments must be "
            "able to write there"
        ) from error
