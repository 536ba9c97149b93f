"""Messages to a B1500A: past the gate, one query at a time, and what is done when the line fails.

The policies are `instruments.link`'s.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import pyvisa

from instruments.b1500a_mended import MendedB1500
from instruments.clock import Clock
from instruments.errors import LimitError, LinkError
from instruments.link import ATTEMPTS, Troubles, on_the_line, reopen

NAME: Final = "B1500A"
_HARMLESS = ("TI", "TV", "TTI", "TTV", "TIV", "PA", "BC")
_ONCE = ("ERR?", "ERRX?", "*TST?", "*CAL?", "DIAG?", "CORRSER?")  # these take or change something


class GuardedB1500(MendedB1500):
    """The driver's lower half; arguments as `instruments.b1500a.B1500A`'s."""

    def __init__(
        self,
        adapter: Any,
        *,
        clock: Clock,
        gate: Callable[[str], None] | None,
        troubles: Troubles | None,
        **kwargs: Any,
    ) -> None:
        self.troubles = troubles or Troubles()
        self._gate = gate or (lambda message: None)
        self._guard = threading.RLock()
        self._can_lock = True
        super().__init__(adapter, clock=clock, **kwargs)

    def forget(self) -> None:
        """Take nothing for granted about the instrument's state."""

    def write(self, command: str, **kwargs: Any) -> None:
        """Send a message, after the gate has seen it. What it may have changed is forgotten."""
        self._gate(command)
        with self._guard:
            headers = [part.split(maxsplit=1)[0] for part in command.split(";") if part.strip()]
            if not all(h.endswith("?") or h.upper() in _HARMLESS for h in headers):
                self.forget()
            self._put(command, **kwargs)

    def _put(self, command: str, **kwargs: Any) -> None:
        with on_the_line(NAME):
            super().write(command, **kwargs)

    def write_binary_values(self, command: str, values: Any, *args: Any, **kwargs: Any) -> None:
        """Refused: pymeasure would send it past the limits, and no FLEX command takes a block."""
        raise LimitError(f"B1500A: {command}: a binary block can't be checked against the limits; nothing was sent")

    def write_bytes(self, content: bytes, **kwargs: Any) -> None:
        """Send raw bytes, after the gate has seen them."""
        self._gate(content.decode("ascii", "replace"))
        with self._guard:
            self.forget()
            with on_the_line(NAME):
                super().write_bytes(content, **kwargs)

    def read(self, **kwargs: Any) -> str:
        """Read one reply."""
        with on_the_line(NAME):
            reply: str = super().read(**kwargs)
        return reply

    def read_bytes(self, count: int, **kwargs: Any) -> bytes:
        """Read bytes; see `MendedB1500.read_bytes`."""
        with on_the_line(NAME):
            return super().read_bytes(count, **kwargs)

    def ask(self, command: str, query_delay: float | None = None) -> str:
        """Send a query and read its reply; nobody else's message gets between them.

        A lone query that neither changes nor uses up anything is repeated if its reply doesn't come.
        """
        header = command.split(maxsplit=1)[0].upper()
        repeats = ATTEMPTS if header.endswith("?") and ";" not in command and header not in _ONCE else 1
        while True:
            repeats -= 1
            try:
                with self._exclusive():
                    reply: str = super().ask(command, query_delay)
                return reply
            except LinkError as error:
                if not repeats:
                    raise
                self.troubles.note(f"{header} is asked again ({error})")
                self.mend()

    def mend(self) -> None:
        """After trouble on the line: take nothing for granted, empty the buffers, open a lost connection again.

        Raises:
            LinkError: the connection stays lost.
        """
        self.forget()
        connection = self._connection()
        if connection is None:
            return
        try:
            with on_the_line(NAME):
                connection.clear()  # else a reply that comes late would be taken for the next one
        except LinkError:
            reopen(connection, NAME, self.clock, self.troubles)
            with on_the_line(NAME):
                connection.clear()

    def _connection(self) -> pyvisa.resources.MessageBasedResource | None:
        connection = getattr(self.adapter, "connection", None)
        return connection if isinstance(connection, pyvisa.resources.MessageBasedResource) else None

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        with self._guard, on_the_line(NAME), ExitStack() as stack:
            lock = getattr(getattr(self.adapter, "connection", None), "lock_context", None)
            if lock is not None and self._can_lock:
                try:
                    stack.enter_context(lock())
                except NotImplementedError:
                    self._can_lock = False
                except pyvisa.VisaIOError as error:
                    if error.error_code != pyvisa.constants.StatusCode.error_nonsupported_operation:
                        raise
                    self._can_lock = False
            yield

    def _send(self, messages: Iterable[str]) -> None:
        """Send messages whose effect is remembered; the gate sees all of them before the first is sent."""
        messages = list(messages)
        for message in messages:
            self._gate(message)
        for message in messages:
            self._put(message)
