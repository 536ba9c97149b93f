"""Front panels of simulated instruments: command grammar only, no physics.

The backend (`instruments.twin.visa`) hands a panel every complete message and asks it for output. What a panel
measures or drives it gets from the bench's fixture; what takes time it spends on the bench's clock.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from instruments.twin.bench import Bench


class Panel(Protocol):
    """The protocol between the backend and one simulated instrument.

    A device of a pyvisa-sim file names a panel class by `handler: "package.module:Class"`; the backend calls
    `Class(bench, options)` once per device, with the YAML's `options:` mapping (strings, as pyvisa-sim reads them).
    """

    def __init__(self, bench: "Bench", options: Mapping[str, str]) -> None:
        """Attach the panel to its bench."""

    def handle(self, message: bytes) -> list[bytes] | None:
        """Execute one message (terminator removed).

        Returns:
            The query replies it produces, in order, without terminator (an empty list: executed, silent), or
            None if the panel does not know the message and the YAML's dialogues should be tried.
        """
        ...

    def pull(self) -> bytes | None:
        """Next item of measurement output (a buffer apart from query replies), without terminator; None if empty."""
        ...

    def status_byte(self) -> int:
        """Serial poll: 0..255."""
        ...

    def clear(self) -> None:
        """Device clear: empty the buffers, abort what is pending; outputs stay as they are."""
        ...

    def trigger(self) -> None:
        """Group execute trigger."""
        ...
