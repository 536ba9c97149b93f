"""What a write-verify algorithm is: reads and a state in; the next pulse, more reads or a verdict out.

An algorithm knows no instrument. It sees what the laboratory sees, one cell at a time, so that any of them can run on
the twin, on a real chip, or against a recorded cell.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

Kind = Literal["set", "reset"]
Verdict = Literal["ok", "budget", "unresponsive"]
Again = Literal["again"]
"""The answer that wants to see the cell once more before it decides."""


class Pulse(NamedTuple):
    """A programming pulse: `volts` across the cell (> 0), `gate` volts on its word line, `width` s at full height."""

    kind: Kind
    volts: float
    gate: float
    width: float


@dataclass(frozen=True)
class Window:
    """When a cell counts as programmed.

    Attributes:
        target: conductance to reach, S.
        tolerance: half width of the window the user asked for, S.
        verify: share of it that a verify read must lie within, 0..1: head-room for read noise and relaxation.
        budget: pulses a cell may take before it is left alone.
        final: whether this visit gives the verdict; if not, the cell will be verified again later.
    """

    target: float
    tolerance: float = 1e-6
    verify: float = 0.7
    budget: int = 120
    final: bool = True

    def accepts(self, g: float) -> bool:
        """Whether a verify read passes."""
        return abs(g - self.target) <= self.verify * self.tolerance


class State(Protocol):
    """What an algorithm remembers of one cell."""

    @property
    def pulses(self) -> int:
        """Pulses given so far."""
        ...


class WriteVerify(Protocol):
    """The interface: everything an algorithm is."""

    @property
    def name(self) -> str:
        """What the command line and the records call it."""
        ...

    def fresh(self) -> "WriteVerify":
        """One like this that has learned nothing: for one array, in one run. It may learn from cell to cell."""
        ...

    def start(self, window: Window) -> State:
        """A cell not touched yet."""
        ...

    def decide(self, window: Window, state: State, g: float) -> tuple[State, Pulse | Again | Verdict]:
        """After a read of `g` (S): the new state; and the next pulse, the wish for another read, or the verdict.

        A cell that was "ok" may be asked about again later, when it has had time to relax; its state goes on.
        """
        ...

    def extremes(self, low: float, high: float) -> tuple[Pulse, ...]:
        """The strongest pulses that could be sent for targets of `low`..`high` S: to be checked beforehand."""
        ...
