"""The rate of a serial line, when one end can change it: what a character costs, and when the ends misunderstand."""

from dataclasses import dataclass

LATENCY_NS = 1_000_000
"""What a USB bridge adds to each transfer, ns: one full-speed frame (its latency timer set to 1 ms). Charged above the
base rate only, where it matters beside the characters."""
SLIPS = 2
"""Transfers in a row that arrive as framing errors before a board goes back to its base rate."""


@dataclass
class LineRate:
    """Rates of a line's two ends, bit/s.

    Attributes:
        base: at power-on; what the `timing:` section's time for a byte is meant for.
        board: of the instrument.
        host: of the session.
    """

    base: int = 9600
    board: int = 9600
    host: int = 9600
    _next: int | None = None
    _slips: int = 0

    def change(self, rate: int) -> None:
        """Go over to another rate when the reply now being made is out."""
        self._next = rate

    def replied(self) -> None:
        """The reply is out."""
        if self._next is not None:
            self.board, self._next = self._next, None

    def heard(self) -> bool:
        """Whether bytes from the host arrive as such; if not, they were framing errors."""
        self.replied()  # a reply that got lost on the way has left the board all the same
        if self.host == self.board:
            self._slips = 0
            return True
        self._slips += 1
        if self._slips >= SLIPS:
            self.board, self._slips = self.base, 0
        return False

    def cost(self, message_ns: float, byte_ns: float, messages: int, size: int) -> float:
        """Nanoseconds of a transfer at the host's rate.

        Args:
            message_ns: of a message, apart from its characters.
            byte_ns: of a character at the base rate.
            messages: that begin.
            size: characters.
        """
        latency = LATENCY_NS if self.host > self.base else 0
        return messages * (message_ns + latency) + size * byte_ns * self.base / self.host
