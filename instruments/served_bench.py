"""What a simulated bench in another process has besides instruments: its time, and probes that can be moved.

A bench that is served (`ohmflow bench serve`) has time of its own: it may be virtual, or go a hundred times as fast as
the wall's. A program that waits for such a bench by the wall's clock waits for nothing, or ten times too long; this
clock asks the bench for the time and has it sleep. Nor can anybody's hands reach its probes.

The bench answers lines: `PACE` with `virtual` or seconds of the bench in one of the wall; `NOW` with nanoseconds;
`SLEEP n`, once n nanoseconds have passed there, with the nanoseconds it is then; `PROBES 1=x 2=y`, channels and nodes,
with `OK`.
"""

import socket
import threading
from collections.abc import Mapping

from instruments.clock import NS, WallClock
from instruments.errors import ConfigError, LinkError

_PATIENCE = 60.0
"""s of the wall that the bench may take to tell the time."""
_RETRY = 5.0
"""s of the wall between two attempts to reach a bench that has gone."""


class ServedBench:
    """A `Clock`, and hands, at a bench's own port.

    Once the bench can't be reached it goes on with the wall, from the instant that was told last, and never goes back:
    a run must be able to end in order without its bench.

    Safe for threads; one at a time speaks to the bench.

    Args:
        address: "host:port".

    Raises:
        ConfigError: no bench answers there.
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._address = (host, int(port))
        self._lock = threading.Lock()
        self._wall = WallClock()
        self._link: socket.socket | None = None
        self._next_try = 0.0
        self._told, self._told_at = 0.0, 0.0
        try:
            pace = self._ask("PACE", _PATIENCE)
            self.is_virtual = pace == "virtual"
            self._scale = 1.0 if self.is_virtual else float(pace)
            self.now()
        except (OSError, ValueError) as error:
            self._drop()
            raise ConfigError(
                f"no served bench answers at {address} ({error}); is it being served, and is this its station file?"
            ) from error
        if self._link is None:
            raise ConfigError(f"the served bench at {address} broke off; is it being served?")

    def now(self) -> float:
        """Seconds on the bench's clock."""
        with self._lock:
            try:
                return self._take(self._ask("NOW", _PATIENCE))
            except (OSError, ValueError):
                return self._without()

    def sleep(self, seconds: float) -> None:
        """Let `seconds` (>= 0) pass on the bench.

        Raises:
            ValueError: they are negative.
        """
        if seconds < 0:
            raise ValueError(f"can't sleep {seconds} s: time does not run backwards")
        with self._lock:
            try:
                self._take(self._ask(f"SLEEP {round(seconds * NS)}", None))
                return
            except (OSError, ValueError):
                self._without()
        self._wall.sleep(seconds / self._scale)

    def move_probes(self, probes: Mapping[int, str]) -> None:
        """Hang the oscilloscopes' probes elsewhere: node by channel.

        Raises:
            LinkError: the bench can't be reached, or won't.
        """
        with self._lock:
            try:
                reply = self._ask("PROBES " + " ".join(f"{n}={node}" for n, node in probes.items()), _PATIENCE)
            except OSError as error:
                raise LinkError(f"the served bench can't be reached, so its probes were not moved: {error}") from error
        if reply != "OK":
            raise LinkError(f"the served bench did not move its probes to {dict(probes)}: {reply}")

    def close(self) -> None:
        """Hang up."""
        with self._lock:
            self._drop()

    def _ask(self, line: str, timeout: float | None) -> str:
        if self._link is None:
            if self._wall.now() < self._next_try:
                raise ConnectionError("gone")
            self._next_try = self._wall.now() + _RETRY
            self._link = socket.create_connection(self._address, _RETRY)
            self._link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        reply = b""
        try:
            self._link.settimeout(timeout)
            self._link.sendall(line.encode("ascii") + b"\n")
            while not reply.endswith(b"\n"):
                piece = self._link.recv(64)
                if not piece or len(reply) > 64:
                    raise ConnectionError("hung up")
                reply += piece
        except BaseException:
            self._drop()  # an answer that comes after all must not be taken for the next one's
            raise
        return reply.decode("ascii", "replace").strip()

    def _take(self, reply: str) -> float:
        self._told, self._told_at = max(self._told, int(reply) / NS), self._wall.now()
        return self._told

    def _without(self) -> float:
        """The time without the bench."""
        now = self._wall.now()
        self._told, self._told_at = self._told + (now - self._told_at) * self._scale, now
        return self._told

    def _drop(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
