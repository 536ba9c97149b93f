"""What a programming run is asked to do, checked before anything is driven."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from instruments.limits import Limits
from workflows.errors import RequestError
from workflows.procedures.patterns import check_targets
from workflows.procedures.write_verify import ALGORITHMS, DEFAULT, Window, for_pulses

Floats = npt.NDArray[np.float64]

WIDEST = 50e-6
"""Widest tolerance that makes sense, S: half of what cells reach."""
LONGEST_GAP = 86400.0
"""Longest wait between two passes, s."""
WIRINGS = ("cell", "column")
_KEPT = ("tolerance", "verify", "budget", "settle_rows", "algorithm", "passes", "gap", "wiring")
_BEFORE = {"passes": 0, "gap": 0.0, "wiring": "cell"}
"""What runs did that were recorded before these could be asked for."""


@dataclass(frozen=True)
class ProgramRequest:
    """What to program.

    Attributes:
        target: conductances, S, shape (len(arrays), rows, cols); NaN leaves a cell alone.
        arrays: physical array numbers, one for each slice of `target`.
        tolerance: half width of the window, S.
        verify: share of the tolerance that verify reads must lie within, 0..1.
        budget: pulses a cell may take.
        settle_rows: how many rows later a row is verified again; 0 for never.
        algorithm: a name in `ALGORITHMS`.
        passes: times that everything is verified again once all is programmed, for what relaxed meanwhile.
        gap: s from the start of one pass (or the end of programming) to the start of the next, at least.
        tolerances: each cell's own half width, S, in the targets' shape; None for `tolerance` everywhere.
        wiring: "cell": one cell at a time at the analyzer; "column": all rows of a column at the board's own drivers
            and converters, which takes a board with column mode (`settle_rows` then counts columns).
    """

    target: Floats
    arrays: tuple[int, ...] = (0,)
    tolerance: float = 1e-6
    verify: float = 0.7
    budget: int = 120
    settle_rows: int = 0
    algorithm: str = DEFAULT
    passes: int = 3
    gap: float = 10.0
    tolerances: Floats | None = None
    wiring: str = "cell"

    def parameters(self) -> dict[str, Any]:
        """What the run's header keeps (targets and tolerances of cells go to maps of their own)."""
        kept = {k: v for k, v in asdict(self).items() if k not in ("target", "tolerances")}
        return {**kept, "arrays": list(self.arrays), "own_tolerances": self.tolerances is not None}

    @classmethod
    def from_record(
        cls, parameters: Mapping[str, Any], target: Floats, tolerances: Floats | None = None
    ) -> "ProgramRequest":
        """The request of a run that is to be resumed.

        Args:
            parameters: of the run's header.
            target: its map `conductance_target`.
            tolerances: its map `tolerance`; needed where the cells had their own.

        Raises:
            RequestError: they had, and the run was killed before it could keep them.
        """
        arrays = tuple(int(a) for a in parameters["arrays"])
        shape = len(arrays), *target.shape[-2:]
        own = None
        if parameters.get("own_tolerances"):
            if tolerances is None or not np.isfinite(tolerances).any():
                raise RequestError("the run was killed before it noted its cells' tolerances; begin a new run")
            own = tolerances.reshape(shape)
        kept = {**_BEFORE, **parameters}
        return cls(target.reshape(shape), arrays, **{name: kept[name] for name in _KEPT}, tolerances=own)

    def tolerance_of(self, cell: tuple[int, int, int]) -> float:
        """Half width of a cell's window, S."""
        return self.tolerance if self.tolerances is None else float(self.tolerances[cell])

    def window(self, cell: tuple[int, int, int], budget: int | None = None, *, final: bool = True) -> Window:
        """A cell's window; `budget` as far as it is not spent, `final` if this visit gives the verdict."""
        left = self.budget if budget is None else budget
        return Window(float(self.target[cell]), self.tolerance_of(cell), self.verify, left, final)

    def check(self, shape: tuple[int, int, int], limits: Limits) -> None:
        """Refuse what can't be programmed on a station of `shape` (arrays, rows, cols) within `limits`.

        Raises:
            RequestError: shape, window, budget, algorithm or targets are wrong.
        """
        if self.target.shape != (len(self.arrays), *shape[1:]):
            raise RequestError(
                f"targets have shape {self.target.shape}; this station needs {(len(self.arrays), *shape[1:])}"
            )
        for number in self.arrays:
            if not 0 <= number < shape[0]:
                raise RequestError(f"array {number} does not exist; this station has arrays 0..{shape[0] - 1}")
        if not 0 < self.tolerance <= WIDEST:
            raise RequestError(
                f"window of +-{self.tolerance * 1e6:g} uS makes no sense; give more than 0 and at most 50 uS"
            )
        self._check_tolerances()
        if not 0 < self.verify <= 1:
            raise RequestError(f"verify share {self.verify:g} must lie within 0..1")
        if not 1 <= self.budget <= 100_000:
            raise RequestError(f"budget of {self.budget} pulses must lie within 1..100000")
        if not 0 <= self.settle_rows <= 4096:
            raise RequestError(f"settle_rows {self.settle_rows} must lie within 0..4096")
        if not 0 <= self.passes <= 100:
            raise RequestError(f"{self.passes} passes make no sense; give 0..100")
        if not 0 <= self.gap <= LONGEST_GAP:
            raise RequestError(f"a gap of {self.gap:g} s between passes must lie within 0..{LONGEST_GAP:g} s")
        if self.wiring not in WIRINGS:
            raise RequestError(f"wiring {self.wiring!r} is unknown; allowed: {', '.join(WIRINGS)}")
        if self.algorithm not in ALGORITHMS:
            raise RequestError(f"algorithm {self.algorithm!r} is unknown; known: {', '.join(ALGORITHMS)}")
        for slice_ in self.target:
            check_targets(slice_, limits.conductance.low, limits.conductance.high)

    def _check_tolerances(self) -> None:
        if self.tolerances is None:
            return
        if self.tolerances.shape != self.target.shape:
            raise RequestError(
                f"the cells' tolerances have shape {self.tolerances.shape}, their targets {self.target.shape}"
            )
        own = self.tolerances[np.isfinite(self.target)]
        wrong = ~((own > 0) & (own <= WIDEST))
        if wrong.any():
            raise RequestError(
                f"{int(wrong.sum())} cells have a tolerance that makes no sense, such as {own[wrong][0] * 1e6:g} uS; "
                "each cell with a target needs more than 0 and at most 50 uS"
            )

    def check_extremes(self, limits: Limits) -> None:
        """Refuse what the algorithm might have to drive beyond `limits`; there must be a target.

        Raises:
            LimitError: its strongest pulse would pass a limit.
        """
        algorithm = for_pulses(self.algorithm, limits.pulse_width.low)
        for kind, volts, gate, width in algorithm.extremes(
            float(np.nanmin(self.target)), float(np.nanmax(self.target))
        ):
            line = limits.bit_line if kind == "set" else limits.source_line
            line.check(volts, f"strongest {kind.upper()} pulse of {algorithm.name}")
            limits.word_line.check(gate, f"highest gate of {algorithm.name}")
            limits.pulse_width.check(width, f"pulse width of {algorithm.name}")
