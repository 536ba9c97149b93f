"""One simulated instrument as several clients share it: whose answer is whose, and what a lost client leaves behind."""

import contextlib
from collections import deque
from collections.abc import Callable
from typing import Protocol

from pyvisa.constants import StatusCode
from pyvisa.errors import VisaIOError

from instruments.twin.serving.pace import PATIENCE_NS, Pacer
from instruments.twin.wire import TwinDevice

MESSAGE_BYTES = 1 << 20
"""Largest message that is taken; longer ones are thrown away, with an error in the instrument's queue."""


MOST_QUEUED = 1024
"""Messages that are taken while the instrument waits for an event; more don't fit into its input buffer."""
_ALL = 1 << 40


class Client(Protocol):
    """The far end of a connection, as an instrument sees it."""

    pushes: bool
    """Whether output is sent as it comes (a socket), or read when the client asks for it (VXI-11)."""

    def receive(self, data: bytes) -> None:
        """Take a whole reply or line of data."""
        ...


class Disconnected(Exception):
    """The connection is to be cut: a fault says so, or the instrument has a defect."""


class ServedInstrument:
    """An instrument and who speaks to it.

    A query's replies go to the client that sent it. Data that a measurement left in the instrument's output buffer go
    to who asked last, or stay there to be read where the interface has reading on demand.

    Args:
        device: the instrument on its bus.
        pacer: the bench's time.
        check: raises VisaIOError when a fault has disconnected the instrument (resource, instant of opening).
        report: told of defects, in a sentence.
    """

    def __init__(
        self,
        device: TwinDevice,
        pacer: Pacer,
        check: Callable[[str, int | None], None],
        report: Callable[[str], None],
    ) -> None:
        self.device, self.pacer = device, pacer
        self._check, self._report = check, report
        self._can_hold = hasattr(device.panel, "held")
        self._last: Client | None = None
        self._owed: deque[Client | None] = deque()
        self._holder: Client | None = None
        self._queued: list[tuple[Client, bytes]] = []

    def opened(self) -> int:
        """A client connects; the instant, ns of the bench.

        Raises:
            Disconnected: the instrument is off the network just now.
        """
        self._watch(self._check, self.device.resource, None)
        return self.pacer.clock.now_ns

    def write(self, client: Client, message: bytes, opened_ns: int) -> None:
        """Execute one message, terminated or not; replies that are ready go to the client.

        Raises:
            Disconnected: the client is to be cut off.
        """
        self._begin(opened_ns)
        self._last = client
        self._send(client, message)

    def _send(self, client: Client, message: bytes) -> None:
        if not self._held:
            self._holder = client
            self._queued.clear()
        elif len(self._queued) >= MOST_QUEUED:
            self.overrun()
            return
        else:
            self._queued.append((client, message))
        self._watch(self.device.send, message, True)
        self._settle(client, b"?" in message)

    def stream(self, client: Client, data: bytes) -> None:
        """Bytes on a serial line, which the instrument itself cuts into messages."""
        self._begin(None)
        self._last = client
        self._watch(self.device.send, data, False)
        self._settle(client, True)

    def overrun(self) -> None:
        """A message larger than `MESSAGE_BYTES` was thrown away: the panel's error, if it has one for that."""
        refuse = getattr(self.device.panel, "overrun", None)
        if refuse is not None:
            refuse()

    def read(self, client: Client, count: int, stop: bytes | None) -> tuple[bytes, bool]:
        """For clients that read on demand: a piece of the instrument's own output, and whether it ends with it."""
        if self._owed and self._owed[0] is not client:
            return b"", False
        piece, last = self.device.take(count, stop)
        if last and self._owed:
            self._owed.popleft()
        return piece, last

    def status(self, opened_ns: int) -> int:
        """Serial poll."""
        self._begin(opened_ns)
        return self.device.serial_poll()

    def clear(self, opened_ns: int) -> None:
        """Device clear."""
        self._begin(opened_ns)
        self._owed.clear()
        self._watch(self.device.clear)
        self.pacer.arrange()

    def trigger(self, client: Client, opened_ns: int) -> None:
        """Group execute trigger."""
        self._begin(opened_ns)
        self._last = client
        self._watch(self.device.trigger)
        self._settle(client, False)

    def collect(self) -> None:
        """Hand out what has become ready; called after every step of the bench."""
        for reply in self.device.replies():
            self._hand(self._last, reply)
        while True:
            owner = self._owed[0] if self._owed else self._last
            if (owner is None and not self._owed) or (owner is not None and not owner.pushes):
                return  # it stays there until somebody reads it
            piece, _ = self.device.take(_ALL)
            if not piece:
                break
            if self._owed:
                self._owed.popleft()
            self._hand(owner, piece)
        if not self._held:
            self._owed.clear()

    def go_on(self) -> None:
        """Others have moved the bench: see whether what a client waits for can be had now."""
        if self._held and any(client is not None and client.pushes for client in self._owed):
            self._hurry(lambda: not self._held)
        self.collect()
        self._note_waiting()

    def forget(self, client: Client) -> None:
        """A client is gone: what it waited for is thrown away, and what it left the instrument waiting for, too."""
        self._owed = deque(None if one is client else one for one in self._owed)
        if self._last is client:
            self._last = None
        self._queued = [(one, message) for one, message in self._queued if one is not client]
        if self._holder is client:
            self._holder = None
            if self._held:
                # As a LAN interface does, so that the others need not wait for an event that may never come.
                self._owed.clear()
                self.device.clear()
                queued, self._queued = self._queued, []
                for one, message in queued:
                    self._last = one
                    with contextlib.suppress(Disconnected):  # its own next message will find out
                        self._send(one, message)
        self._note_waiting()

    @property
    def _held(self) -> bool:
        """Whether the instrument executes nothing until something has happened."""
        return self._can_hold and bool(self.device.panel.held)  # type: ignore[union-attr]  # looked up once

    def _note_waiting(self) -> None:
        if self._owed and any(client is not None and client.pushes for client in self._owed):
            self.pacer.awaited.add(self)
        elif self.pacer.awaited:
            self.pacer.awaited.discard(self)

    def _hurry(self, answered: Callable[[], bool]) -> None:
        self.pacer.hurry(self.pacer.clock.now_ns + PATIENCE_NS, answered)

    def _begin(self, opened_ns: int | None) -> None:
        self.pacer.catch_up()
        if opened_ns is not None and self.device.faults is not None:
            self._watch(self._check, self.device.resource, opened_ns)

    def _settle(self, client: Client, asked: bool) -> None:
        """After a message: replies to the client; if they are held up, remember who is to get them."""
        replies = self.device.replies()
        for reply in replies:
            client.receive(reply)
        held = self._held
        if not held and not self._owed and (replies or not asked):
            if client.pushes:
                while piece := self.device.take(_ALL)[0]:
                    client.receive(piece)
        elif not held:
            if asked and not replies and self.device.faults is not None and client.pushes:
                late: list[bytes] = []  # a fault may hold a reply back

                def arrived() -> bool:
                    late.extend(self.device.replies())
                    return bool(late)

                self._hurry(arrived)
                for reply in late:
                    self._hand(client, reply)
            self.collect()
        else:
            if asked:
                self._owed.append(client)
            if asked and client.pushes:
                self._hurry(lambda: not self._held)
            self.collect()
        self._note_waiting()
        self.pacer.arrange()
        if self.pacer.awaited:
            self.pacer.passed()

    def _hand(self, client: Client | None, data: bytes) -> None:
        if client is not None:
            client.receive(data)

    def _watch(self, step: Callable[..., object], *args: object) -> None:
        try:
            step(*args)
        except VisaIOError as error:
            if error.error_code == StatusCode.error_timeout:
                return  # a fault lost the message; over a network nobody is told
            raise Disconnected(str(error.description)) from error
        except Exception as error:
            # A defect of a panel must not take the bench with it: others are using it.
            self._report(f"{self.device.resource}: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
            raise Disconnected("the simulated instrument failed") from error
