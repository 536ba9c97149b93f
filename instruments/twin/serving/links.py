"""A client's link to an instrument that it reads on demand, as over VXI-11: unread replies, waiting, locks."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from instruments.clock import NS, Clock
from instruments.twin.serving.instrument import MESSAGE_BYTES, ServedInstrument


class Link:
    """One client's end.

    Args:
        instrument: the other end.
        wall: for what is due later, and time-outs.
    """

    pushes = False

    def __init__(self, instrument: ServedInstrument, wall: Clock) -> None:
        self.instrument = instrument
        self.aborted = False
        self._wall = wall
        self._incoming = bytearray()
        self._too_long = False
        self._replies: deque[bytes] = deque()
        self._read = 0
        self._ready_at = 0.0
        self._opened_ns = instrument.opened()

    def receive(self, data: bytes) -> None:
        """Keep a reply until it is read."""
        self._replies.append(data)

    def write(self, data: bytes, end: bool) -> None:
        """Bytes of a message; with its last ones it is executed."""
        if not self._too_long:
            self._incoming += data
            self._too_long = len(self._incoming) > MESSAGE_BYTES
        if not end:
            return
        message, too_long = bytes(self._incoming), self._too_long
        self._incoming.clear()
        self._too_long = False
        if too_long:
            self.instrument.overrun()
        elif message:
            self.instrument.write(self, message, self._opened_ns)
        self._note_due()

    async def ready(self, seconds: float) -> bool:
        """Wait until what was asked of the instrument is over; False if that takes longer than `seconds`."""
        wait = self._ready_at - self._wall.now()
        if wait > 0:
            await asyncio.sleep(min(wait, seconds))
        return wait <= seconds

    async def read(self, count: int, stop: bytes | None, timeout: float) -> tuple[bytes, bool]:
        """A piece of output, and whether it ends with it; nothing if there is none within `timeout` seconds."""
        if not await self.ready(timeout):
            return b"", False
        piece = self._take(count, stop)
        if piece[0]:
            return piece
        pacer = self.instrument.pacer
        pacer.catch_up()
        deadline, until = self._wall.now() + timeout, pacer.clock.now_ns + round(timeout * NS)
        found: list[tuple[bytes, bool]] = []

        def answered() -> bool:
            self.instrument.collect()
            piece = self._take(count, stop)
            if piece[0]:
                found.append(piece)
            return bool(found)

        pacer.hurry(until, answered)
        if not found and not answered():
            await self._wait(answered, deadline)
        if not found and pacer.virtual:
            pacer.clock.advance_ns(max(0, until - pacer.clock.now_ns))
        self._note_due()
        return found[0] if found else (b"", False)

    async def status(self, timeout: float) -> int | None:
        """Serial poll; None if the instrument is busy for longer than `timeout` seconds."""
        if not await self.ready(timeout):
            return None
        return self.instrument.status(self._opened_ns)

    def clear(self) -> None:
        """Device clear, and of what this link has not read."""
        self._incoming.clear()
        self._replies.clear()
        self._read, self._too_long, self._ready_at = 0, False, 0.0
        self.instrument.clear(self._opened_ns)

    def trigger(self) -> None:
        """Group execute trigger."""
        self.instrument.trigger(self, self._opened_ns)
        self._note_due()

    def abort(self) -> None:
        """End a read that is waiting."""
        self.aborted = True
        self.instrument.pacer.passed()

    def close(self) -> None:
        """The client is gone."""
        self._replies.clear()
        self.instrument.forget(self)

    def _note_due(self) -> None:
        self._ready_at = self._wall.now() + self.instrument.pacer.due()

    def _take(self, count: int, stop: bytes | None) -> tuple[bytes, bool]:
        if not self._replies:
            return self.instrument.read(self, count, stop)
        head, start = self._replies[0], self._read
        until = min(len(head), start + count)
        found = -1 if stop is None else head.find(stop, start, until)
        until = until if found < 0 else found + 1
        last = until == len(head)
        if last:
            self._replies.popleft()
        self._read = 0 if last else until
        return head[start:until], last

    async def _wait(self, answered: Callable[[], bool], deadline: float) -> None:
        """Until others have moved the bench far enough, or the time is over."""
        pacer = self.instrument.pacer
        pacer.arrange()
        waiter = _Waiter()
        pacer.awaited.add(waiter)
        try:
            while not self.aborted and not answered():
                waiter.moved.clear()
                try:
                    await asyncio.wait_for(waiter.moved.wait(), max(0.0, deadline - self._wall.now()))
                except TimeoutError:
                    break
        finally:
            pacer.awaited.discard(waiter)


class _Waiter:
    """Somebody who waits for the bench to move."""

    def __init__(self) -> None:
        self.moved = asyncio.Event()

    def go_on(self) -> None:
        """It has moved."""
        self.moved.set()


class Holder(Protocol):
    """Who can hold a lock."""

    instrument: ServedInstrument


class Locks:
    """Exclusive locks of instruments, one holder each, among the clients of one interface."""

    def __init__(self) -> None:
        self._holders: dict[ServedInstrument, Holder] = {}
        self._freed = asyncio.Condition()

    def taken(self, instrument: ServedInstrument) -> bool:
        """Whether somebody holds an instrument."""
        return instrument in self._holders

    def free(self, one: Holder) -> bool:
        """Whether a client may use its instrument."""
        return self._holders.get(one.instrument, one) is one

    async def take(self, one: Holder, seconds: float) -> bool:
        """Lock a client's instrument; False if somebody else has it for longer than `seconds`."""
        if not await self.wait(one, seconds):
            return False
        self._holders[one.instrument] = one
        return True

    async def wait(self, one: Holder, seconds: float | None) -> bool:
        """Until a client may use its instrument; False if that takes longer than `seconds` (None: for ever)."""
        if self.free(one):
            return True
        try:
            async with self._freed:
                await asyncio.wait_for(self._freed.wait_for(lambda: self.free(one)), seconds)
        except TimeoutError:
            return False
        return True

    async def give(self, one: Holder) -> bool:
        """Unlock; False if the client holds no lock."""
        if self._holders.get(one.instrument) is not one:
            return False
        del self._holders[one.instrument]
        async with self._freed:
            self._freed.notify_all()
        return True
