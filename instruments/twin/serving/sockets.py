"""Raw sockets: messages are lines, replies come as they are ready. What `TCPIP::HOST::PORT::SOCKET` speaks to."""

import asyncio
from collections import deque

from instruments.twin.serving.framing import LineFramer
from instruments.twin.serving.instrument import MESSAGE_BYTES, Disconnected, ServedInstrument

TURN = 32
"""Messages of one client that are executed before the others have their turn."""
_AT_ONCE = 1 << 14
"""Bytes of replies that are worth a system call of their own: more aren't held back for the rest of a turn."""
_HIGH_WATER = 1 << 18
"""Bytes of replies that may lie unread before a client's messages are left alone."""


class SocketClient(asyncio.Protocol):
    """One connection to one instrument.

    A client that sends faster than it reads is made to wait by TCP; nobody else is.

    Args:
        instrument: the instrument at this port.
        family: where open connections are kept, so that they can be closed with the server.
    """

    pushes = True

    def __init__(self, instrument: ServedInstrument, family: "set[asyncio.BaseTransport]") -> None:
        self._instrument, self._family = instrument, family
        self._end = instrument.device.terminator
        self._framer = LineFramer(MESSAGE_BYTES)
        self._messages: deque[bytes | None] = deque()
        self._transport: asyncio.Transport | None = None
        self._choked = self._scheduled = self._reading_paused = False
        self._due: deque[bytes] = deque()
        self._replies: list[bytes] = []
        self._working = False
        self._waiting = 0
        self._virtual = instrument.pacer.virtual
        self._timer: asyncio.TimerHandle | None = None
        self._opened_ns = 0

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connects."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._family.add(transport)
        transport.set_write_buffer_limits(high=_HIGH_WATER)
        try:
            self._opened_ns = self._instrument.opened()
        except Disconnected:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        self._messages.extend(self._framer.feed(data))
        if not self._scheduled:
            self._work()

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        self._choked = True

    def resume_writing(self) -> None:
        """It has caught up."""
        self._choked = False
        self._work()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone; so is what it left unfinished or unread."""
        if self._transport is not None:
            self._family.discard(self._transport)
        self._transport = None
        self._messages.clear()
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._instrument.forget(self)

    # The instrument's side

    def receive(self, data: bytes) -> None:
        """Send a reply, or keep it until it is due."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        due = 0.0 if self._virtual else self._instrument.pacer.due()
        if due <= 0 and not self._due:
            if self._working:
                self._replies.append(data)
                self._waiting += len(data)
                if self._waiting > _AT_ONCE:
                    self._flush()
            else:
                transport.write(data)
            return
        self._due.append(data)
        self._wait(due)

    def _wait(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._when_due)

    def _when_due(self) -> None:
        self._timer = None
        while self._due and self._transport is not None:
            self._transport.write(self._due.popleft())
        self._work()

    def _work(self) -> None:
        """Execute messages, a turn of them, and send the replies together."""
        self._working = True
        try:
            self._execute()
        finally:
            self._working = False
            self._flush()

    def _flush(self) -> None:
        """Send what replies there are, together."""
        replies, transport = self._replies, self._transport
        if replies and transport is not None and not transport.is_closing():
            transport.write(replies[0] if len(replies) == 1 else b"".join(replies))
        replies.clear()
        self._waiting = 0

    def _execute(self) -> None:
        """Until the client has had its turn, reads too slowly, or the instrument is busy."""
        self._scheduled = False
        transport = self._transport
        turn = TURN
        while self._messages and not self._choked and self._timer is None:
            if transport is None or transport.is_closing():
                return
            if turn == 0:
                self._scheduled = True
                asyncio.get_running_loop().call_soon(self._work)
                break
            turn -= 1
            message = self._messages.popleft()
            if message is None:
                self._instrument.overrun()
                continue
            try:
                self._instrument.write(self, message + self._end, self._opened_ns)
            except Disconnected:
                transport.abort()
                return
            if not self._virtual and (busy := self._instrument.pacer.due()) > 0:
                self._wait(busy)
        if transport is not None and self._reading_paused != bool(self._messages):
            self._reading_paused = bool(self._messages)
            if self._reading_paused:
                transport.pause_reading()
            else:
                transport.resume_reading()
