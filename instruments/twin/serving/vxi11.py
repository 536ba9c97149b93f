"""VXI-11: the protocol of LAN/GPIB gateways and of most instruments with a network socket.

Unlike a raw socket it has reading on demand, serial polls, device clear, triggers and locks, which is what a GPIB
instrument's drivers use. One port serves all instruments of a bench, each under its device name, as such a gateway
does: `TCPIP::HOST,PORT::gpib0,17::INSTR`. Source: TCP/IP Instrument Protocol Specification VXI-11, revision 1.0.

Not offered: service requests over an interrupt channel, and device_docmd; both are refused as the standard says.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from instruments.clock import Clock
from instruments.twin.serving import rpc
from instruments.twin.serving.instrument import MESSAGE_BYTES, Disconnected, ServedInstrument
from instruments.twin.serving.links import Link, Locks

CORE, ASYNC, PORTMAPPER = 0x0607AF, 0x0607B0, 100000
OK, NOT_ACCESSIBLE, NO_LINK, UNSUPPORTED, NO_ROOM, LOCKED, NO_LOCK, TIMEOUT, IO_ERROR, ABORT = (
    0, 3, 4, 8, 9, 11, 12, 15, 17, 23,
)  # fmt: skip
WAIT_LOCK, END, TERMINATOR = 1, 8, 128
REQUESTED, CHARACTER, ENDED = 1, 2, 4
_MOST_LINKS = 256
_LIMIT: Final = MESSAGE_BYTES + 4096
_TCP: Final = 6

Answer = Coroutine[Any, Any, bytes]


class Gateway:
    """All instruments of a bench behind one port.

    Args:
        instruments: by device name, lower case.
        wall: for time-outs.
        port: number of the port it is reached at, which clients ask the port mapper for.
    """

    def __init__(self, instruments: Mapping[str, ServedInstrument], wall: Clock, port: int = 0) -> None:
        self.port = port
        self._instruments, self._wall = instruments, wall
        self._links: dict[int, Link] = {}
        self._locks = Locks()
        self._next = 1

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end: then its links are closed, whatever it was doing."""
        connection = _Connection(self)
        calls: asyncio.Queue[rpc.Call] = asyncio.Queue(4)
        worker = asyncio.create_task(connection.work(calls, writer))
        try:
            while (record := await rpc.read_record(reader, _LIMIT)) is not None:
                await calls.put(rpc.Call.parse(record))
        except rpc.MalformedError:
            pass  # not a client of ours
        finally:
            worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await worker
            await connection.close()
            writer.close()

    def link(self, number: int) -> Link | None:
        """An open link."""
        return self._links.get(number)

    async def open(self, name: str, lock: bool, seconds: float) -> tuple[int, int]:
        """A new link to a device name: (error, number)."""
        instrument = self._instruments.get(name.lower())
        if instrument is None:
            return NOT_ACCESSIBLE, 0
        if len(self._links) >= _MOST_LINKS:
            return NO_ROOM, 0
        try:
            link = Link(instrument, self._wall)
        except Disconnected:
            return NOT_ACCESSIBLE, 0
        if lock and not await self._locks.take(link, seconds):
            return LOCKED, 0
        number, self._next = self._next, self._next + 1
        self._links[number] = link
        return OK, number

    async def close(self, number: int) -> int:
        """Close a link; the error."""
        link = self._links.pop(number, None)
        if link is None:
            return NO_LINK
        await self._locks.give(link)
        link.close()
        return OK

    async def usable(self, number: int, flags: int, lock_ms: int) -> tuple[int, Link | None]:
        """The link of that number once nobody else's lock is in the way."""
        link = self._links.get(number)
        if link is None:
            return NO_LINK, None
        link.aborted = False
        if not await self._locks.wait(link, lock_ms / 1000 if flags & WAIT_LOCK else 0.0):
            return LOCKED, None
        return OK, link

    async def lock(self, number: int, flags: int, lock_ms: int) -> int:
        """Lock a link's instrument; the error."""
        link = self._links.get(number)
        if link is None:
            return NO_LINK
        return OK if await self._locks.take(link, lock_ms / 1000 if flags & WAIT_LOCK else 0.0) else LOCKED

    async def unlock(self, number: int) -> int:
        """Unlock a link's instrument; the error."""
        link = self._links.get(number)
        if link is None:
            return NO_LINK
        return OK if await self._locks.give(link) else NO_LOCK


class _Connection:
    """One client's connection and its links."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._mine: set[int] = set()
        core: dict[int, Callable[[rpc.Reader], Answer]] = {
            10: self._create, 11: self._write, 12: self._read, 13: self._status, 14: self._trigger, 15: self._clear,
            16: self._nothing, 17: self._nothing, 18: self._lock, 19: self._unlock, 20: self._refuse,
            22: self._refuse_command, 23: self._destroy, 25: self._refuse, 26: self._refuse,
        }  # fmt: skip
        self._programs: dict[tuple[int, int], dict[int, Callable[[rpc.Reader], Answer]]]
        self._programs = {(CORE, 1): core, (ASYNC, 1): {1: self._abort}, (PORTMAPPER, 2): {3: self._port}}

    async def work(self, calls: "asyncio.Queue[rpc.Call]", writer: asyncio.StreamWriter) -> None:
        """Answer calls one after the other."""
        while True:
            call = await calls.get()
            try:
                writer.write(await self._answer(call))
                await writer.drain()
            except (Disconnected, ConnectionError):
                writer.transport.abort()
                return

    async def close(self) -> None:
        """Close what the client left open."""
        for number in sorted(self._mine):
            await self._gateway.close(number)

    async def _answer(self, call: rpc.Call) -> bytes:
        procedures = self._programs.get((call.program, call.version))
        if procedures is None:
            known = any(program == call.program for program, _ in self._programs)
            return call.answer(rpc.NO_VERSION, rpc.numbers(1, 2)) if known else call.answer(rpc.NO_PROGRAM)
        if call.procedure == 0:
            return call.answer(rpc.SUCCESS)
        procedure = procedures.get(call.procedure)
        if procedure is None:
            return call.answer(rpc.NO_PROCEDURE)
        try:
            return call.answer(rpc.SUCCESS, await procedure(call.arguments))
        except rpc.MalformedError:
            return call.answer(rpc.GARBAGE)

    async def _create(self, given: rpc.Reader) -> bytes:
        given.signed()
        lock, lock_ms, name = given.unsigned(), given.unsigned(), given.opaque()
        error, number = await self._gateway.open(name.decode("latin-1"), bool(lock), lock_ms / 1000)
        if number:
            self._mine.add(number)
        return rpc.numbers(error, number, self._gateway.port, MESSAGE_BYTES)

    async def _write(self, given: rpc.Reader) -> bytes:
        number, io_ms, lock_ms, flags = given.signed(), given.unsigned(), given.unsigned(), given.signed()
        data = given.opaque()
        error, link = await self._gateway.usable(number, flags, lock_ms)
        if link is None:
            return rpc.numbers(error, 0)
        if not await link.ready(io_ms / 1000):
            return rpc.numbers(TIMEOUT, 0)
        link.write(data, bool(flags & END))
        return rpc.numbers(OK, len(data))

    async def _read(self, given: rpc.Reader) -> bytes:
        number, size, io_ms, lock_ms = given.signed(), given.unsigned(), given.unsigned(), given.unsigned()
        flags, character = given.signed(), given.signed()
        error, link = await self._gateway.usable(number, flags, lock_ms)
        if link is None:
            return rpc.numbers(error, 0) + rpc.opaque(b"")
        stop = bytes([character & 255]) if flags & TERMINATOR else None
        count = min(size, MESSAGE_BYTES)
        if not count:
            return rpc.numbers(OK, REQUESTED) + rpc.opaque(b"")
        piece, last = await link.read(count, stop, io_ms / 1000)
        if not piece:
            return rpc.numbers(ABORT if link.aborted else TIMEOUT, 0) + rpc.opaque(b"")
        reason = REQUESTED * (len(piece) == size) | CHARACTER * (stop == piece[-1:]) | ENDED * last
        return rpc.numbers(OK, reason) + rpc.opaque(piece)

    async def _generic(self, given: rpc.Reader) -> tuple[int, Link | None, float]:
        number, flags, lock_ms, io_ms = given.signed(), given.signed(), given.unsigned(), given.unsigned()
        return *await self._gateway.usable(number, flags, lock_ms), io_ms / 1000

    async def _status(self, given: rpc.Reader) -> bytes:
        error, link, timeout = await self._generic(given)
        if link is None:
            return rpc.numbers(error, 0)
        byte = await link.status(timeout)
        return rpc.numbers(TIMEOUT, 0) if byte is None else rpc.numbers(OK, byte)

    async def _trigger(self, given: rpc.Reader) -> bytes:
        error, link, timeout = await self._generic(given)
        if link is not None and not await link.ready(timeout):
            return rpc.numbers(TIMEOUT)
        if link is not None:
            link.trigger()
        return rpc.numbers(error)

    async def _clear(self, given: rpc.Reader) -> bytes:
        error, link, _ = await self._generic(given)
        if link is not None:
            link.clear()
        return rpc.numbers(error)

    async def _nothing(self, given: rpc.Reader) -> bytes:
        error, _, _ = await self._generic(given)  # simulated instruments are always remote
        return rpc.numbers(error)

    async def _lock(self, given: rpc.Reader) -> bytes:
        number, flags, lock_ms = given.signed(), given.signed(), given.unsigned()
        return rpc.numbers(await self._gateway.lock(number, flags, lock_ms))

    async def _unlock(self, given: rpc.Reader) -> bytes:
        return rpc.numbers(await self._gateway.unlock(given.signed()))

    async def _destroy(self, given: rpc.Reader) -> bytes:
        number = given.signed()
        self._mine.discard(number)
        return rpc.numbers(await self._gateway.close(number))

    async def _refuse(self, given: rpc.Reader) -> bytes:
        return rpc.numbers(UNSUPPORTED)

    async def _refuse_command(self, given: rpc.Reader) -> bytes:
        return rpc.numbers(UNSUPPORTED) + rpc.opaque(b"")

    async def _abort(self, given: rpc.Reader) -> bytes:
        link = self._gateway.link(given.signed())
        if link is None:
            return rpc.numbers(NO_LINK)
        link.abort()
        return rpc.numbers(OK)

    async def _port(self, given: rpc.Reader) -> bytes:
        program, version, protocol = given.unsigned(), given.unsigned(), given.unsigned()
        known = (program, version) in ((CORE, 1), (ASYNC, 1)) and protocol == _TCP
        return rpc.numbers(self._gateway.port if known else 0)
