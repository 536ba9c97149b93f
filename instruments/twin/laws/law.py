"""The interface between a device's physics and everything that drives it."""

from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from instruments.twin.laws.parts import Floats, ReadNoise, Records


class Law(Protocol):
    """A device law: constants and equations, no state. `laws/__init__.py` tells how to write one.

    `c` is always a private copy of the cells' records, shape (...,); `volts` (V, >= 0, over cell and transistor
    together) and `gate` (V) are numbers or arrays that broadcast to that shape; `width` is in s, `now_ns` in ns.

    Attributes:
        record: dtype of a cell's record; has at least `parts.COMMON`.
    """

    record: ClassVar[np.dtype[Any]]

    @property
    def noise(self) -> ReadNoise:
        """What reads see; the analog computer takes its noise from here, too."""
        ...

    @property
    def g_leak(self) -> float:
        """Conductance of a cell behind its closed transistor, S > 0."""
        ...

    @property
    def v_quiet(self) -> float:
        """Voltage up to which no cell moves, however long it is applied, V: reads must lie below."""
        ...

    def disturbs(self, volts: float) -> bool:
        """Whether a RESET pulse of `volts` could visibly move any cell: half-selected rows are skipped if not."""
        ...

    def gate_within(self, gate: float, volts: float, amps: float) -> float:
        """The gate (V, <= `gate`) that bounds a SET at `volts` as an SMU does whose compliance is `amps`."""
        ...

    def fresh(self, shape: tuple[int, ...], rng: np.random.Generator, now_ns: int = 0) -> Records:
        """A new chip: spreads, defects and traps drawn from `rng`; dtype `record`."""
        ...

    def conductance(self, c: Records, now_ns: int) -> Floats:
        """True conductance with the transistor fully on, S, relaxation included, read noise not; changes nothing."""
        ...

    def sense(self, c: Records, now_ns: int, integration: float, rng: np.random.Generator) -> Floats:
        """Conductance that a read of `integration` s sees, S; carries the telegraph's state on in `c`."""
        ...

    def set_pulse(
        self,
        c: Records,
        volts: npt.ArrayLike,
        gate: npt.ArrayLike,
        width: float,
        now_ns: int,
        rng: np.random.Generator,
    ) -> Floats:
        """A pulse on the bit line, applied to `c` in place; returns the energy dissipated in each cell, J."""
        ...

    def reset_pulse(
        self,
        c: Records,
        volts: npt.ArrayLike,
        gate: npt.ArrayLike,
        width: float,
        now_ns: int,
        rng: np.random.Generator,
    ) -> Floats:
        """A pulse on the source line, applied to `c` in place; returns the energy dissipated in each cell, J."""
        ...
