"""An array of stochastic 1T1R cells over a record array that somebody else keeps; knows no instrument and no clock.

The equations are a law's (`laws/`); here they meet the cells they act upon.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from instruments.twin.laws.gated import CELL, CellLaw
from instruments.twin.laws.law import Law
from instruments.twin.laws.parts import Floats, Records

__all__ = ["CELL", "CellArray", "CellLaw", "Law", "fresh"]

Index = Any  # anything that indexes a (rows, cols) structured array: slices, integer arrays, masks


def fresh(law: Law, shape: tuple[int, ...], rng: np.random.Generator, now_ns: int = 0) -> Records:
    """A new chip: device-to-device spreads, stuck cells and telegraph traps drawn from `rng`.

    Args:
        law: device law.
        shape: usually (arrays, rows, cols).
        rng: source of chance.
        now_ns: the bench's clock.

    Returns:
        Structured array of dtype `law.record` and shape `shape`.
    """
    return law.fresh(shape, rng, now_ns)


class CellArray:
    """The physics of an array of cells.

    Args:
        law: device law.
        cells: structured array of dtype `law.record`, updated in place (may be a memory map).
    """

    def __init__(self, law: Law, cells: npt.NDArray[Any]) -> None:
        if cells.dtype != law.record:
            raise ValueError(f"cells must have dtype {law.record}, not {cells.dtype}")
        self.law = law
        self.cells = cells

    def conductance(self, where: Index, now_ns: int) -> Floats:
        """True conductance at an instant, S, without read noise; shape of `cells[where]`."""
        return self.law.conductance(np.asarray(self.cells[where]), now_ns)

    def sense(self, where: Index, now_ns: int, integration: float, rng: np.random.Generator) -> Floats:
        """Conductance that a read integrating `integration` s from `now_ns` would see, S: with 1/f and telegraph noise.

        The telegraph's state is carried on in the cells.
        """
        c = np.array(self.cells[where])
        seen = self.law.sense(c, now_ns, integration, rng)
        self.cells[where] = c
        return seen

    def set_pulse(
        self,
        where: Index,
        volts: Floats | float,
        gate: Floats | float,
        width: float,
        now_ns: int,
        rng: np.random.Generator,
    ) -> Floats:
        """Apply a SET-polarity pulse (bit line positive): `volts` >= 0 across the cell, `gate` on its word line.

        A pristine cell is formed when the pulse passes its forming voltage.

        Returns:
            Energy dissipated in each cell, J.
        """
        c = np.array(self.cells[where])
        energy = self.law.set_pulse(c, volts, gate, width, now_ns, rng)
        # One assignment of whole records: a kill between two pulses never finds half a cell written.
        self.cells[where] = c
        return energy

    def inhibited_pulse(
        self,
        where: Index,
        volts: float,
        gate: Floats | float,
        width: float,
        now_ns: int,
        rng: Callable[[], np.random.Generator],
    ) -> float:
        """What is left of a RESET pulse on half-selected cells; chance is asked for only if it could move any of them.

        Returns:
            Energy dissipated in all of them together, J.
        """
        if self.law.disturbs(volts):
            return float(np.sum(self.reset_pulse(where, volts, gate, width, now_ns, rng())))
        c = np.asarray(self.cells[where])
        g = np.where(np.asarray(gate) > c["v_t"], self.law.conductance(c, now_ns), self.law.g_leak)
        return float(np.sum(g) * volts * volts * width)

    def reset_pulse(
        self,
        where: Index,
        volts: Floats | float,
        gate: Floats | float,
        width: float,
        now_ns: int,
        rng: np.random.Generator,
    ) -> Floats:
        """Apply a RESET-polarity pulse (source line positive): `volts` >= 0 across the cell.

        Returns:
            Energy dissipated in each cell, J.
        """
        c = np.array(self.cells[where])
        energy = self.law.reset_pulse(c, volts, gate, width, now_ns, rng)
        self.cells[where] = c
        return energy
