"""HiSLIP: the successor of VXI-11, for instruments whose replies need not be asked for.

One port serves them all: `TCPIP::HOST::hislip0,PORT::INSTR`. Two connections make a session, one for data in order and
one for what must not wait behind them: status, device clear, locks. Source: IVI-6.1, High-Speed LAN Instrument
Protocol, revision 1.0, synchronized mode. Replies are sent as soon as they are ready, under the number of the message
that asked for them; a client that has gone on meanwhile knows by it what to discard. An instrument with an output
buffer that is apart from its replies, such as a GPIB one, can't be served so: nobody says when he reads from which.

Not offered: overlapped mode, shared locks, encryption, service requests.
"""

import asyncio
import contextlib
import struct
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from instruments.clock import Clock
from instruments.twin.serving.instrument import MESSAGE_BYTES, Disconnected, ServedInstrument
from instruments.twin.serving.links import Locks

_HEADER: Final = struct.Struct(">2sBBIQ")
_VERSION: Final = 0x0100
_VENDOR: Final = int.from_bytes(b"oh")
INITIALIZE, INITIALIZED, FATAL, ERROR, LOCK, LOCKED, DATA, DATA_END, CLEAR_COMPLETE, CLEAR_DONE = range(10)
REMOTE, REMOTE_DONE, TRIGGER = range(10, 13)
MAX_SIZE, MAX_SIZE_IS, ASYNC_INITIALIZE, ASYNC_INITIALIZED, CLEAR = range(15, 20)
STATUS, STATUS_IS, CLEAR_ACCEPTED, LOCK_INFO, LOCK_INFO_IS = range(21, 26)
_BAD_HEADER, _NO_CHANNELS, _BAD_START, _TOO_MANY = 1, 2, 3, 4
_UNKNOWN_TYPE, _TOO_LARGE = 1, 4
_MOST_SESSIONS: Final = 256


@dataclass(frozen=True)
class _Message:
    kind: int
    control: int
    parameter: int
    payload: bytes
    too_large: bool = False


class _FatalError(Exception):
    """The connection can't go on: code and text."""


def _packed(kind: int, control: int = 0, parameter: int = 0, payload: bytes = b"") -> bytes:
    return _HEADER.pack(b"HS", kind, control, parameter, len(payload)) + payload


async def _read(reader: asyncio.StreamReader) -> _Message | None:
    """The next message; None at the connection's end."""
    try:
        prologue, kind, control, parameter, size = _HEADER.unpack(await reader.readexactly(_HEADER.size))
        if prologue != b"HS":
            raise _FatalError(_BAD_HEADER, "poorly formed message header")
        if size <= MESSAGE_BYTES:
            return _Message(kind, control, parameter, await reader.readexactly(size))
        while size:
            size -= len(await reader.readexactly(min(size, 1 << 16)))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return _Message(kind, control, parameter, b"", too_large=True)


class _Session:
    """One client: both its connections and what is on the way to it."""

    pushes = True

    def __init__(self, instrument: ServedInstrument, writer: asyncio.StreamWriter) -> None:
        self.instrument = instrument
        self.writer = writer
        self.other: asyncio.StreamWriter | None = None
        self.opened_ns = instrument.opened()
        self.largest = 1 << 20
        self.number = 0
        self.clearing = False
        self._out: deque[tuple[int, bytes]] = deque()
        self._some, self._none = asyncio.Event(), asyncio.Event()
        self._none.set()

    def receive(self, data: bytes) -> None:
        """Keep a reply for the sender."""
        self._out.append((self.number, data))
        self._none.clear()
        self._some.set()

    def drop(self) -> None:
        """Forget what wasn't sent."""
        self._out.clear()

    async def send(self) -> None:
        """Send replies when they are due, for as long as the session lives."""
        while True:
            await self._some.wait()
            self._some.clear()
            while self._out:
                if (due := self.instrument.pacer.due()) > 0:
                    await asyncio.sleep(due)
                    continue
                number, data = self._out.popleft()
                step = max(self.largest, 256) - _HEADER.size
                for start in range(0, len(data), step):
                    kind = DATA_END if start + step >= len(data) else DATA
                    self.writer.write(_packed(kind, 0, number, data[start : start + step]))
                    await self.writer.drain()
            self._none.set()

    async def sent(self) -> None:
        """Until everything was sent: a client that doesn't read isn't listened to either."""
        await self._none.wait()

    async def settled(self) -> None:
        """Until the instrument has done what it was told."""
        while (due := self.instrument.pacer.due()) > 0:
            await asyncio.sleep(due)


class Hislip:
    """The instruments behind one port.

    Args:
        instruments: by sub-address, such as "hislip0".
        wall: for time-outs of locks.
    """

    def __init__(self, instruments: Mapping[str, ServedInstrument], wall: Clock) -> None:
        self._instruments = instruments
        self._sessions: dict[int, _Session] = {}
        self._next = 1
        self._locks = Locks()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        try:
            first = await _read(reader)
            if first is not None and first.kind == INITIALIZE:
                await self._synchronous(first, reader, writer)
            elif first is not None and first.kind == ASYNC_INITIALIZE:
                await self._asynchronous(first, reader, writer)
            elif first is not None:
                raise _FatalError(_BAD_START, "invalid initialization sequence")
        except _FatalError as error:
            code, text = error.args
            with contextlib.suppress(ConnectionError):
                writer.write(_packed(FATAL, code, 0, text.encode()))
                await writer.drain()
        except (ConnectionError, Disconnected):
            writer.transport.abort()
        finally:
            writer.close()

    async def _synchronous(self, first: _Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        instrument = self._instruments.get(first.payload.decode("latin-1").lower() or "hislip0")
        if instrument is None:
            raise _FatalError(_BAD_START, "no such sub-address")
        if len(self._sessions) >= _MOST_SESSIONS:
            raise _FatalError(_TOO_MANY, "maximum number of clients exceeded")
        session = _Session(instrument, writer)
        number = self._next
        self._next = self._next % 0xFFFF + 1
        self._sessions[number] = session
        sender = asyncio.create_task(session.send())
        try:
            writer.write(_packed(INITIALIZED, 0, _VERSION << 16 | number))
            incoming = bytearray()
            while (message := await _read(reader)) is not None:
                if session.other is None:
                    raise _FatalError(_NO_CHANNELS, "both channels must be established first")
                await self._take(session, message, incoming)
        finally:
            sender.cancel()
            self._sessions.pop(number, None)
            await self._locks.give(session)
            instrument.forget(session)
            if session.other is not None:
                session.other.close()

    async def _take(self, session: _Session, message: _Message, incoming: bytearray) -> None:
        """A message on the synchronous channel."""
        instrument = session.instrument
        if message.kind == CLEAR_COMPLETE:
            incoming.clear()
            session.drop()
            session.clearing = False
            instrument.clear(session.opened_ns)
            session.writer.write(_packed(CLEAR_DONE))
        elif message.too_large:
            session.writer.write(_packed(ERROR, _TOO_LARGE, 0, b"Message too large"))
        elif session.clearing:
            return  # it was sent before the clear
        elif message.kind in (DATA, DATA_END):
            incoming += message.payload
            if message.kind == DATA and len(incoming) <= MESSAGE_BYTES:
                return
            whole = bytes(incoming)
            incoming.clear()
            await session.sent()
            await session.settled()
            await self._locks.wait(session, None)
            session.number = message.parameter
            if len(whole) > MESSAGE_BYTES:
                instrument.overrun()
            elif whole:
                instrument.write(session, whole, session.opened_ns)
        elif message.kind == TRIGGER:
            await session.settled()
            session.number = message.parameter
            instrument.trigger(session, session.opened_ns)
        else:
            session.writer.write(_packed(ERROR, _UNKNOWN_TYPE, 0, b"Unrecognized message type"))

    async def _asynchronous(self, first: _Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = self._sessions.get(first.parameter)
        if session is None or session.other is not None:
            raise _FatalError(_BAD_START, "no session of that number waits for its second channel")
        session.other = writer
        writer.write(_packed(ASYNC_INITIALIZED, 0, _VENDOR))
        try:
            while (message := await _read(reader)) is not None:
                writer.write(await self._answer(session, message))
                await writer.drain()
        finally:
            session.writer.close()

    async def _answer(self, session: _Session, message: _Message) -> bytes:
        """A message on the asynchronous channel."""
        if message.kind == MAX_SIZE and len(message.payload) == 8:
            session.largest = int.from_bytes(message.payload)
            return _packed(MAX_SIZE_IS, 0, 0, MESSAGE_BYTES.to_bytes(8))
        if message.kind == STATUS:
            return _packed(STATUS_IS, session.instrument.status(session.opened_ns))
        if message.kind == CLEAR:
            session.clearing = True
            session.drop()
            return _packed(CLEAR_ACCEPTED)
        if message.kind == REMOTE:
            return _packed(REMOTE_DONE)  # simulated instruments are always remote
        if message.kind == LOCK_INFO:
            taken = self._locks.taken(session.instrument)
            return _packed(LOCK_INFO_IS, int(taken), int(taken))
        if message.kind == LOCK and message.control == 0:
            return _packed(LOCKED, 1 if await self._locks.give(session) else 3)
        if message.kind == LOCK:
            if message.payload:
                return _packed(LOCKED, 3)  # a shared lock
            return _packed(LOCKED, int(await self._locks.take(session, message.parameter / 1000)))
        return _packed(ERROR, _UNKNOWN_TYPE, 0, b"Unrecognized message type")
