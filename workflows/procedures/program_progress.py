"""How far a programming run is, for whoever watches it."""

from collections.abc import Callable
from dataclasses import dataclass, field

VISITS = {"read": 1.0, "program": 8.0, "verify": 1.5}
"""How long a visit to a cell takes, in reads: what "time left" is reckoned by."""


@dataclass
class Progress:
    """Running totals for whoever watches.

    Attributes:
        cells: cells with a target.
        work: all that is to be done, in reads (`VISITS`).
        worked: how much of it is over.
        done: cells programmed or given up.
        inside: those of them that last read within the window.
        pulses: given so far, by this process.
        phase: what is going on, in words.
        listeners: called after each cell.
    """

    cells: int
    work: float
    worked: float = 0.0
    done: int = 0
    inside: int = 0
    pulses: int = 0
    phase: str = ""
    listeners: list[Callable[["Progress"], None]] = field(default_factory=list)

    def tell(self) -> None:
        """Call every listener."""
        for listener in self.listeners:
            listener(self)

    def visited(self, kind: str) -> None:
        """A visit (a key of `VISITS`) to a cell is over."""
        self.worked += VISITS[kind]
        self.tell()
