"""What a driver must be, by role: the protocols that an instrument of any make fulfils to take part.

================  ====================================================  ============================================
role              protocol                                              what it may leave out
================  ====================================================  ============================================
analyzer          `AnalyzerDriver`: force, read, pulse, safe            selectors, fast pulses, sweeps (capabilities)
oscilloscope      `instruments.oscilloscope.Oscilloscope`               nothing
board             `BoardDriver`: modes and cells                        computing (capability "compute")
matrix            `MatrixDriver`: crosspoints                           nothing
================  ====================================================  ============================================

All have `identify`, which changes nothing and raises InstrumentError when somebody else answers, and `safe`, which may
be called at any time and again. Errors are `instruments.errors`' alone: LimitError before anything is sent, LinkError
for a reply that is missing or makes no sense, DoubtError for a pulse that was not acknowledged, InstrumentError for
what the instrument objects to. No other exception may leave a driver, and none may be swallowed.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, Protocol, cast, get_args

from instruments.array import Analyzer, Switchboard
from instruments.oscilloscope import Oscilloscope

Role = Literal["analyzer", "oscilloscope", "board", "matrix"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)

CAPABILITIES: Final[Mapping[Role, Mapping[str, str]]] = {
    "analyzer": {
        "smu-pulses": "pulses come from the SMU itself; without it a line needs a pulse channel (`pgu`) of its own",
        "selector": "SMU/PGU selector ports can be switched",
        "flex-sweep": "staircase sweeps in FLEX: only a B1500A",
        "columns": "`fire` takes acknowledged=False, for whole columns at once",
    },
    "oscilloscope": {},
    "board": {"compute": "it is the computing circuit, too", "columns": "its dialect may have a column mode"},
    "matrix": {},
}
"""What a driver may declare, by role; what is not declared is not used."""


class AnalyzerDriver(Analyzer, Protocol):
    """A semiconductor analyzer, or source-measure units that stand in for one. SI units; channels are numbers."""

    def identify(self) -> str:
        """The identification string; InstrumentError if it is another instrument."""
        ...

    def check_errors(self) -> Sequence[Any]:
        """Read the error queue until it is empty; InstrumentError with what was in it."""
        ...


class BoardDriver(Switchboard, Protocol):
    """A board that connects one cell's lines to the analyzer."""

    def identify(self) -> str:
        """The identification string; InstrumentError if it is another instrument."""
        ...

    def geometry(self) -> tuple[int, int, int]:
        """Arrays, rows, columns."""
        ...


class MatrixDriver(Protocol):
    """A switch matrix: sources on its inputs, lines of the array on its outputs, both numbered from 1."""

    def identify(self) -> str:
        """The identification string; InstrumentError if it is another instrument."""
        ...

    def close(self, paths: Iterable[tuple[int, int]]) -> None:
        """Close crosspoints (input, output); LimitError if two inputs would meet, and nothing is closed."""
        ...

    def open(self, paths: Iterable[tuple[int, int]]) -> None:
        """Open crosspoints."""
        ...

    def open_all(self) -> None:
        """Open every crosspoint."""
        ...

    def closed(self) -> frozenset[tuple[int, int]]:
        """The closed crosspoints, as the instrument says."""
        ...

    def check_errors(self) -> Sequence[Any]:
        """Read the error queue until it is empty; InstrumentError with what was in it."""
        ...

    def safe(self) -> list[str]:
        """Every crosspoint open; never raises, gives what went wrong."""
        ...


def _methods(protocol: type) -> tuple[str, ...]:
    names = {name for base in protocol.__mro__ if base not in (object, Protocol) for name in vars(base)}
    return tuple(sorted(n for n in names if not n.startswith("_") and callable(getattr(protocol, n, None))))


METHODS: Final[Mapping[Role, tuple[str, ...]]] = {
    "analyzer": _methods(cast(type, AnalyzerDriver)),
    "oscilloscope": _methods(cast(type, Oscilloscope)),
    "board": _methods(cast(type, BoardDriver)),
    "matrix": _methods(cast(type, MatrixDriver)),
}
"""What a driver of each role must have."""


def role_of(name: str) -> Role:
    """The role that a section of a station file has: "oscilloscope_2" is an oscilloscope."""
    head = name.partition("_")[0]
    return cast(Role, head if head in ROLES else name)
