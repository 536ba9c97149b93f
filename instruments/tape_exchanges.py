"""A tape as exchanges: what was sent to an instrument, and all that came back before the next message."""

from collections.abc import Iterable
from dataclasses import dataclass

from instruments.tape import FULL, Event, Tape

_ENDS = (b"\r\n", b"\n", b"\r")


@dataclass(frozen=True)
class Exchange:
    """One message and its replies.

    Attributes:
        line: of the tape, where the message is.
        at: resource name.
        t_ns: when it was sent, since the tape's beginning.
        d_ns: what its writes and reads took together, without waiting in vain.
        message: without terminator; b"" for what came before anything was sent.
        replies: as they came, terminators included.
        polls: serial polls in between: the byte, and what it took, ns.
        clears: what each device clear in between took, ns.
        silent: whether somebody waited for a reply in vain.
    """

    line: int
    at: str
    t_ns: int
    d_ns: int
    message: bytes
    replies: tuple[bytes, ...] = ()
    polls: tuple[tuple[int, int], ...] = ()
    clears: tuple[int, ...] = ()
    silent: bool = False


def terminator(events: Iterable[Event]) -> bytes:
    """What messages to one resource end with: CR LF, LF, CR or nothing.

    A message may be written in pieces: those count that something was read after.
    """
    written, whole = b"", []
    for event in events:
        if event.op == "write" and event.data:
            written = event.data
        elif event.op == "read" and written:
            whole.append(written)
            written = b""
    ends = whole or [written]
    return next((end for end in _ENDS if all(data.endswith(end) for data in ends)), b"")


def exchanges(tape: Tape, resource: str) -> list[Exchange]:
    """The exchanges of one resource, in order.

    A message that was written in pieces is one; a reply that was read in pieces is one, up to its end as the status of
    the reads tells.
    """
    events = [event for event in tape.events if event.at == resource]
    end = terminator(events)
    made: list[_Open] = []
    current: _Open | None = None
    pending = b""
    for event in events:
        if event.op == "write" and event.status >= 0:
            pending += event.data
            if end and not pending.endswith(end):
                continue
            messages = pending.split(end)[:-1] if end else [pending]
            for message in messages:
                current = _Open(event, message)
                made.append(current)
            pending = b""
            if current is not None:
                current.d_ns += event.d_ns
        elif event.op in ("read", "stb", "clear"):
            if current is None:
                current = _Open(event, b"")
                made.append(current)
            current.hear(event)
    return [one.done() for one in made]


class _Open:
    """An exchange to which more may belong."""

    def __init__(self, event: Event, message: bytes) -> None:
        self._event, self._message = event, message
        self._replies: list[bytes] = []
        self._polls: list[tuple[int, int]] = []
        self._clears: list[int] = []
        self._more = self._silent = False
        self.d_ns = 0

    def hear(self, event: Event) -> None:
        if event.op == "stb" and event.value is not None:
            self._polls.append((int(event.value), event.d_ns))
        elif event.op == "clear":
            self._clears.append(event.d_ns)
        elif event.op == "read" and event.status < 0:
            self._silent = True  # who waits in vain spends their own time
        elif event.op == "read":
            self.d_ns += event.d_ns
            if self._more:
                self._replies[-1] += event.data
            else:
                self._replies.append(event.data)
            self._more = event.status == FULL

    def done(self) -> Exchange:
        e = self._event
        return Exchange(
            e.line, e.at, e.t_ns, self.d_ns, self._message, tuple(self._replies), tuple(self._polls),
            tuple(self._clears), self._silent,
        )  # fmt: skip
