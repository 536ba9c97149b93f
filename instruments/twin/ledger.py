"""What reached the chip: every drive with its true cost, known to the twin alone."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

DRIVE = np.dtype(
    [
        ("time", "f8"),  # s on the bench's clock
        ("kind", "S8"),  # set, reset, read
        ("array", "i2"),
        ("row", "i2"),
        ("col", "i2"),
        ("volts", "f8"),  # across the cell, V
        ("gate", "f8"),  # V
        ("width", "f8"),  # s
        ("energy", "f8"),  # dissipated in the selected cell, J
    ]
)


@dataclass
class Ledger:
    """A list of drives with running totals and extremes.

    Attributes:
        energy: total by kind, J; "half": in the half-selected cells beside RESET pulses.
        highest: the largest |V| across a cell by kind, V: what a test of limits looks at.
        most: drives that are kept one by one; older ones are in the totals and extremes only. None keeps all.
    """

    energy: dict[str, float] = field(default_factory=dict)
    highest: dict[str, float] = field(default_factory=dict)
    most: int | None = None
    _rows: list[tuple[float, str, int, int, int, float, float, float, float]] = field(default_factory=list)

    def drive(
        self, time: float, kind: str, cell: tuple[int, int, int], volts: float, gate: float, width: float, energy: float
    ) -> None:
        """Note one drive of a selected cell."""
        self._rows.append((time, kind, *cell, volts, gate, width, energy))
        if self.most is not None and len(self._rows) >= 2 * self.most:
            del self._rows[: -self.most]  # seldom, and many at once
        self.energy[kind] = self.energy.get(kind, 0.0) + energy
        self.highest[kind] = max(self.highest.get(kind, 0.0), abs(volts))

    def half(self, energy: float) -> None:
        """Add what the half-selected cells of one pulse took together, J, to the totals: they have no rows."""
        self.energy["half"] = self.energy.get("half", 0.0) + energy

    def __len__(self) -> int:
        return len(self._rows)

    def table(self) -> npt.NDArray[np.void]:
        """The drives that are kept, as a structured array of dtype `DRIVE`."""
        return np.array(self._rows, DRIVE)
