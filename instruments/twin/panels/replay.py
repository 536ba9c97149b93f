"""An instrument that only repeats itself: its replies are those of a tape, its time is the tape's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from instruments.errors import ConfigError, InstrumentError
from instruments.tape import Tape
from instruments.tape_exchanges import Exchange, exchanges

_MAV = 0x10


class ReplayPanel:
    """Answers from a tape.

    In strict order (the default) each message must be the tape's next one at this resource: a program that does
    something else is told so, by an error, at the first message that differs. In any order a message is answered as at
    its next occurrence on the tape, or, after its last one, as then.

    Args:
        bench: gives the clock.
        options: `tape` (file), `resource` (its name on the tape), `order` (strict or any).

    Raises:
        ConfigError: no such tape, resource or order.
    """

    def __init__(self, bench: Any, options: Mapping[str, str]) -> None:
        unknown = set(options) - {"tape", "resource", "order"}
        if unknown or "tape" not in options or "resource" not in options:
            raise ConfigError("a replayed instrument's options are tape, resource, and order (strict or any)")
        order = options.get("order", "strict")
        if order not in ("strict", "any"):
            raise ConfigError(f"order {order!r:.40} of a tape is unknown; allowed: strict, any")
        self._strict = order == "strict"
        self._clock = bench.clock
        self._name = options["resource"]
        tape: Tape = Tape.load(Path(options["tape"]))
        if self._name not in tape.resources:
            raise ConfigError(f"tape {tape.path}: has no {self._name}; it has {', '.join(tape.resources) or 'nothing'}")
        self._exchanges: list[Exchange] = exchanges(tape, self._name)
        self._next = 0
        self._polls: list[tuple[int, int]] = []
        self._clears: list[int] = []
        self._answered = False
        if self._exchanges and not self._exchanges[0].message:  # what came before anything was sent
            self._polls, self._clears = list(self._exchanges[0].polls), list(self._exchanges[0].clears)
            self._next = 1

    def handle(self, message: bytes) -> list[bytes]:
        """Answer as the tape does, in as much time."""
        found = self._find(message)
        self._clock.advance_ns(found.d_ns)
        self._polls, self._clears = list(found.polls), list(found.clears)
        self._answered = bool(found.replies)
        return list(found.replies)

    def _find(self, message: bytes) -> Exchange:
        known = self._exchanges
        if self._strict:
            if self._next >= len(known):
                raise InstrumentError(f"{self._name}: the tape is over; it has no {message!r:.120}")
            found: Exchange = known[self._next]
            if found.message != message:
                expected = f"{found.message!r:.120} (line {found.line})"
                raise InstrumentError(f"{self._name}: the tape goes on with {expected}, not {message!r:.120}")
            self._next += 1
            return found
        places = [*range(self._next, len(known)), *reversed(range(self._next))]
        place: int | None = next((k for k in places if known[k].message == message), None)
        if place is None:
            raise InstrumentError(f"{self._name}: {message!r:.120} is nowhere on the tape")
        self._next = max(self._next, place + 1)
        return known[place]

    def pull(self) -> bytes | None:
        """Nothing: all that a message brings about is its reply."""
        return None

    def status_byte(self) -> int:
        """The tape's next poll, or whether there was a reply."""
        if not self._polls:
            return _MAV * self._answered
        byte, took = self._polls.pop(0)
        self._clock.advance_ns(took)
        return byte

    def clear(self) -> None:
        """A device clear, in as much time as on the tape."""
        self._clock.advance_ns(self._clears.pop(0) if self._clears else 0)
        self._answered = False

    def trigger(self) -> None:
        """A tape takes no notice."""
