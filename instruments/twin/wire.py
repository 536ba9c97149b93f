"""One simulated instrument as its bus sees it: messages framed, replies queued whole, transport time spent.

The library calls it with the bench's lock held.

Builds on pyvisa-sim's private API: good for `pyvisa-sim>=0.7.1,<0.8` only.
"""

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from pyvisa import rname
from pyvisa.constants import InterfaceType
from pyvisa_sim.component import NoResponse, OptionalBytes
from pyvisa_sim.devices import Device

from instruments.clock import VirtualClock
from instruments.errors import ConfigError, InstrumentError
from instruments.twin.line_rate import LineRate
from instruments.twin.panels import Panel

RQS = 0x40
MAV = 0x10

_UNITS_NS = {"s": 1e9, "ms": 1e6, "us": 1e3, "µs": 1e3, "ns": 1.0}
_QUANTITY = re.compile(r"\s*(\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+)\s*(s|ms|us|µs|ns)\s*")
_BLOCK = re.compile(rb"#([1-9])")


class Faults(Protocol):
    """Hook for faults on the wire; `resource` is the canonical resource name.

    An object may also have `check(resource, opened_ns)`, called before every operation of a session with the instant at
    which that was opened (None: it is being opened), `wall_time()`, and `close()`, called when the bench is closed.
    """

    def before_write(self, resource: str, data: bytes) -> bytes:
        """Bytes that reach the instrument in place of `data` (empty: the write is lost); may raise VisaIOError."""
        ...

    def after_reply(self, resource: str, data: bytes) -> bytes | None:
        """Bytes that leave the instrument in place of one terminated reply (None: the reply is lost)."""
        ...


@dataclass(frozen=True)
class Timing:
    """What the wire costs, each way.

    Attributes:
        message_ns: nanoseconds >= 0 per write, per reply and per serial poll.
        byte_ns: nanoseconds >= 0 per byte.
    """

    message_ns: float = 0.0
    byte_ns: float = 0.0

    @classmethod
    def from_section(cls, section: Mapping[str, str]) -> "Timing":
        """Read a device's `timing:` section; values such as "5 ms" (s, ms, us, ns).

        Raises:
            ConfigError: unknown key, or a value that is not a non-negative time.
        """
        found = {"message": 0.0, "byte": 0.0}
        if not isinstance(section, Mapping):
            raise ConfigError(f"timing: {section!r:.80} must be a mapping such as {{message: 5 ms}}")
        for key, text in section.items():
            match = _QUANTITY.fullmatch(str(text))
            if key not in found or match is None:
                raise ConfigError(f"timing: {key}: {text!r}; give `message` and `byte` such as '5 ms'")
            found[key] = float(match[1]) * _UNITS_NS[match[2]]
        return cls(found["message"], found["byte"])


def split_message(message: bytes, delimiter: bytes) -> list[bytes]:
    """Cut a message at each delimiter outside IEEE 488.2 definite-length blocks (#<n><n digits><data>)."""
    if not delimiter or delimiter not in message:
        return [message]
    if b"#" not in message:
        return message.split(delimiter)
    parts, start, at = [], 0, 0
    while (cut := message.find(delimiter, at)) >= 0:
        block = _BLOCK.search(message, at, cut)
        if block is not None:
            digits = message[block.end() : block.end() + int(block[1])]
            if digits.isdigit() and len(digits) == int(block[1]):
                at = block.end() + len(digits) + int(digits)
            else:
                at = block.end()
            continue
        parts.append(message[start:cut])
        start = at = cut + len(delimiter)
    return [*parts, message[start:]]


class TwinDevice:
    """One simulated instrument as its bus sees it.

    Args:
        stock: what pyvisa-sim's parser made of the YAML, bound to its resource.
        clock: the bench's.
        panel: computes replies and is asked before the YAML; None for a device of static replies.
        timing: cost of the wire.
    """

    def __init__(self, stock: Device, clock: VirtualClock, panel: Panel | None, timing: Timing) -> None:
        parsed = rname.parse_resource_name(str(stock.resource_name))
        self.resource = str(parsed)
        self.panel = panel
        self.clock = clock
        self.faults: Faults | None = None
        self.rate: LineRate | None = getattr(panel, "rate", None)
        self._stock = stock
        self._timing = timing
        self._free = self.rate is None and timing.message_ns == timing.byte_ns == 0
        self._query_eom = stock._query_eom
        self._reply_eom = stock._response_eom
        # A byte stream has no END line: there only the terminator tells where a message stops.
        self._stream = bool(self._query_eom) and (
            parsed.interface_type_const == InterfaceType.asrl or parsed.resource_class == "SOCKET"
        )
        self._incoming = bytearray()
        self._replies: deque[bytes] = deque()
        self._read = 0
        self._rqs_seen = 0
        self.clears = 0

    def send(self, data: bytes, end: bool) -> None:
        """Carry bytes to the instrument, which executes every message they complete.

        Args:
            data: bytes on the wire.
            end: whether END accompanies the last one (no meaning on a byte stream).
        """
        if self.faults is not None:
            data = self.faults.before_write(self.resource, data)
        if not data:
            return
        self._spend(1, len(data))
        if self.rate is not None and not self.rate.heard():
            return
        eom, buffer = self._query_eom, self._incoming
        if not buffer and not self._stream and (end or (eom and data.endswith(eom))):
            self._execute(data.removesuffix(eom))  # a whole message, as nearly all are
            return
        fresh = max(0, len(buffer) - len(eom) + 1)
        buffer += data
        if self._stream:
            if buffer.find(eom, fresh) < 0:
                return
            *messages, rest = bytes(buffer).split(eom)
            buffer[:] = rest
            for message in messages:
                self._execute(message)
        elif end or (eom and buffer.endswith(eom)):
            message = bytes(buffer)
            buffer.clear()
            self._execute(message.removesuffix(eom))

    def take(self, count: int, stop: bytes | None = None, stop_mask: int = 0) -> tuple[bytes, bool]:
        """Read a piece of what the instrument has to say: query replies first, then the panel's output.

        Args:
            count: most bytes wanted, > 0.
            stop: byte after which to stop.
            stop_mask: stop after a byte with one of these bits.

        Returns:
            The piece (empty: nothing to say now), and whether it ends its reply.
        """
        while not self._replies:
            item = None if self.panel is None else self.panel.pull()
            if item is None:
                return b"", False
            self._queue(item)
        head, start = self._replies[0], self._read
        until = min(len(head), start + count)
        if stop is not None:
            found = head.find(stop, start, until)
            until = until if found < 0 else found + 1
        if stop_mask:
            until = next((i + 1 for i in range(start, until) if head[i] & stop_mask), until)
        last = until == len(head)
        if last:
            self._replies.popleft()
        self._read = 0 if last else until
        self._spend(start == 0, until - start)
        if self.rate is not None and not self._replies:
            self.rate.replied()
        return head[start:until], last

    @property
    def terminator(self) -> bytes:
        """What ends a message to the instrument on its own bus."""
        return bytes(self._query_eom)

    def replies(self) -> list[bytes]:
        """Hand over the query replies that are ready, each whole; the panel's own output stays where it is."""
        if not self._replies:
            return []
        found = list(self._replies)
        if self._read:
            found[0] = found[0][self._read :]
        self.drop_output()
        for reply in found:
            self._spend(1, len(reply))
        if found and self.rate is not None:
            self.rate.replied()
        return found

    def serial_poll(self) -> int:
        """Status byte, 0..255. A device without a panel has only MAV, bit 4."""
        self._spend(1, 0)
        byte = self._status() | self._rqs_seen
        self._rqs_seen = 0
        return byte

    def requests_service(self) -> bool:
        """Whether RQS is set; the next serial poll shows it even if the panel clears it on being asked."""
        self._rqs_seen |= self._status() & RQS
        return bool(self._rqs_seen)

    def deliver(self, wire: bytes) -> None:
        """Put a reply out that the wire held back."""
        self._replies.append(wire)

    def clear(self) -> None:
        """Device clear."""
        self._spend(1, 0)
        self.clears += 1
        self.drop_input()
        self.drop_output()
        self._rqs_seen = 0
        if self.panel is not None:
            self.panel.clear()

    def trigger(self) -> None:
        """Group execute trigger; a device without a panel takes no notice."""
        self._spend(1, 0)
        if self.panel is not None:
            self.panel.trigger()

    def drop_input(self) -> None:
        """Forget an unfinished message."""
        self._incoming.clear()

    def drop_output(self) -> None:
        """Forget replies that were not read."""
        self._replies.clear()
        self._read = 0

    def _status(self) -> int:
        if self.panel is not None:
            return self.panel.status_byte()
        return MAV if self._replies else 0

    def _spend(self, messages: int, size: int) -> None:
        if self._free:
            return
        timing = self._timing
        if self.rate is None:
            cost = round(messages * timing.message_ns + size * timing.byte_ns)
        else:
            cost = round(self.rate.cost(timing.message_ns, timing.byte_ns, messages, size))
        if cost:
            self.clock.advance_ns(cost)

    def _queue(self, reply: bytes) -> None:
        wire: bytes | None = reply + self._reply_eom
        if self.faults is not None:
            wire = self.faults.after_reply(self.resource, reply + self._reply_eom)
        if wire:
            self._replies.append(wire)

    def _execute(self, message: bytes) -> None:
        if self.panel is not None:
            replies = self.panel.handle(message)
            if replies is not None:
                for reply in replies:
                    self._queue(reply)
                return
        for query in split_message(message, self._stock.delimiter):
            response: OptionalBytes | None = self._match(query)
            if response is None:
                response = self._unknown(query)
            if response is not None and response is not NoResponse:
                self._queue(response)

    def _unknown(self, query: bytes) -> OptionalBytes | None:
        """The YAML's answer to what it does not know; an instrument with a panel must not keep silent."""
        stock = self._stock
        response: OptionalBytes | None = stock.error_response("command_error")
        noted = response is not NoResponse or stock._error_map or stock._error_queues
        if self.panel is not None and not noted:
            panel = type(self.panel).__name__
            raise InstrumentError(f"{self.resource}: neither {panel} nor its YAML knows {query!r}")
        return response

    def _match(self, query: bytes) -> OptionalBytes | None:
        try:
            return self._stock._match(query)
        except UnicodeDecodeError:
            # The stock setters only read text; a binary upload is not one of theirs.
            return None
