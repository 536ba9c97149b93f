"""Switch matrices: cells selected where no board does it. Keysight B2200A/B2201A, and the array behind any matrix.

Certain (B2200 User's Guide): `:ROUTe:CLOSe (@CIIOO,...)`, `:ROUTe:OPEN`, `:ROUTe:OPEN:CARD`, `:ROUTe:CLOSe:CARD?`,
the connection rules, `:SYSTem:ERRor?`; card 0 is the whole in the auto configuration, II the input, OO the output.
Uncertain: in which order the instrument lists what is closed; hence it is read as a set.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal, TypeVar

from instruments.drivers import Opening
from instruments.errors import ConfigError, InstrumentError, LimitError, LinkError, ModeError
from instruments.gates import Rule, refuse_short
from instruments.link import ATTEMPTS, Troubles, on_the_line, reopen
from instruments.roles import MatrixDriver

Paths = frozenset[tuple[int, int]]
T = TypeVar("T")

_LIST: Final = r"\(@(?P<paths>[0-9]{5}(?:,[0-9]{5})*)\)"
RULES: Final = (
    Rule(rf":ROUT:CLOS {_LIST}"),
    Rule(rf":ROUT:OPEN {_LIST}", opens=True),
    Rule(r":ROUT:OPEN:CARD 0", opens=True),
    Rule(r"\*RST", opens=True),
    Rule(r":ROUT:CONN:RULE 0,FREE"),
    Rule(r"\*CLS|\*IDN\?|\*OPC\?|\*ESR\?|:SYST:ERR\?|:ROUT:CLOS:CARD\? 0"),
)
INPUTS, OUTPUTS, LINES = 14, 48, ("bit_line", "source_line", "word_line")
_MODEL = re.compile(r"(KEYSIGHT|AGILENT) TECHNOLOGIES,B220[01]A", re.IGNORECASE)
_ERROR = re.compile(r"\s*([+-]?[0-9]{1,5})\s*,\s*\"?([^\"]*)\"?\s*")
_CARD = re.compile(r"\(@((?:[0-9]{5})(?:,[0-9]{5})*)?\)")
_QUEUE = 30
NAME: Final = "B2200"


class KeysightB2200:
    """A B2200A or B2201A in the auto configuration; fulfils `MatrixDriver`.

    Args:
        resource: open pyvisa resource, behind the gate.
        clock: where waiting happens.
        troubles: told of what was repeated.
    """

    def __init__(self, resource: Any, clock: Any, troubles: Troubles) -> None:
        self._resource, self._clock, self._troubles = resource, clock, troubles

    def identify(self) -> str:
        """The identification string; InstrumentError if it is another instrument."""
        identity = self._persist(lambda: self._ask("*IDN?"))
        if _MODEL.match(identity) is None:
            raise InstrumentError(f"expected a B2200A or B2201A, found {identity!r}; check the station file's address")
        return identity

    def close(self, paths: Iterable[tuple[int, int]]) -> None:
        """Close crosspoints (input 1..14, output 1..48); nothing is closed if two inputs would meet."""
        wanted = self._paths(paths)
        refuse_short(wanted | self.closed(), NAME)
        if wanted:
            self._tell(f":ROUT:CLOS {_listed(wanted)}")

    def open(self, paths: Iterable[tuple[int, int]]) -> None:
        """Open crosspoints."""
        wanted = self._paths(paths)
        if wanted:
            self._tell(f":ROUT:OPEN {_listed(wanted)}")

    def open_all(self) -> None:
        """Open every crosspoint."""
        self._tell(":ROUT:OPEN:CARD 0")

    def closed(self) -> Paths:
        """The closed crosspoints, as the instrument says."""
        return self._persist(self._closed)

    def _closed(self) -> Paths:
        reply = self._ask(":ROUT:CLOS:CARD? 0")
        match = _CARD.fullmatch(reply)
        if match is None:
            raise LinkError(f"{NAME}: {reply[:60]!r} is no list of crosspoints")
        return frozenset((int(text[1:3]), int(text[3:5])) for text in (match[1] or "").split(",") if text)

    def check_errors(self) -> list[str]:
        """Read the error queue until it is empty; InstrumentError with what was in it."""
        problems = []
        for _ in range(_QUEUE + 1):
            match = _ERROR.fullmatch(self._ask(":SYST:ERR?"))
            if match is None:
                raise LinkError(f"{NAME}: the reply to :SYST:ERR? is unreadable")
            if int(match[1]) == 0:
                break
            problems.append(f"error {int(match[1])}: {match[2]}")
        if problems:
            raise InstrumentError(f"{NAME} reports {'; '.join(problems)}")
        return []

    def safe(self) -> list[str]:
        """Every crosspoint open; never raises, gives what went wrong."""
        problems: list[str] = []
        for step in (self._mend, self.open_all, self._confirm_open):
            try:
                step()
            except Exception as error:
                problems.append(" ".join(str(error).split()))
        return problems

    def _confirm_open(self) -> None:
        left = self.closed()
        if left:
            raise InstrumentError(f"{NAME}: {len(left)} crosspoints stay closed")

    def _clear(self) -> None:
        with on_the_line(NAME):
            self._resource.clear()

    def _paths(self, paths: Iterable[tuple[int, int]]) -> Paths:
        wanted = frozenset(paths)
        for source, line in sorted(wanted):
            if not (1 <= source <= INPUTS and 1 <= line <= OUTPUTS):
                raise LimitError(
                    f"{NAME}: there is no crosspoint of input {source} and output {line}; it has inputs 1..{INPUTS} "
                    f"and outputs 1..{OUTPUTS}"
                )
        return wanted

    def _tell(self, message: str) -> None:
        """Close or open: told again where the line fails, for a relay that is told twice is where it was."""

        def act() -> None:
            with on_the_line(NAME):
                self._resource.write(message)
            self.check_errors()

        self._persist(act)

    def _persist(self, action: Callable[[], T]) -> T:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return action()
            except LinkError as error:
                self._mend()  # else a reply that comes late would be taken for the next one
                if attempt == ATTEMPTS:
                    raise
                self._troubles.note(f"the matrix is told or asked again ({error})")
        raise AssertionError("unreachable")

    def _mend(self) -> None:
        try:
            self._clear()
        except LinkError:
            reopen(self._resource, NAME, self._clock, self._troubles)
            self._clear()

    def _ask(self, message: str) -> str:
        with on_the_line(NAME):
            reply: str = self._resource.query(message)
        return reply.strip()


def _listed(paths: Paths) -> str:
    return "(@" + ",".join(f"0{source:02d}{line:02d}" for source, line in sorted(paths)) + ")"


def make(opening: Opening) -> KeysightB2200:
    """The driver of a station file's section."""
    return KeysightB2200(opening.link(), opening.clock, opening.troubles)


class MatrixBoard:
    """What selects a cell where a matrix stands for the board: three sources, each to the one line it belongs to.

    Unselected lines float. A source on an input never meets another one: what `refuse_short` sees is refused.

    Args:
        matrix: the driver.
        inputs: line -> input that its source is on.
        outputs: line -> output of row or column 0; the others follow.
        shape: (arrays, rows, cols); one array.
    """

    def __init__(
        self,
        matrix: MatrixDriver,
        inputs: Mapping[str, int],
        outputs: Mapping[str, int],
        shape: tuple[int, int, int],
    ) -> None:
        self._matrix, self._inputs, self._outputs, self._shape = matrix, inputs, outputs, shape
        self._mode: Literal["safe", "program"] = "safe"

    @classmethod
    def wired(cls, matrix: MatrixDriver, options: Mapping[str, Any], shape: tuple[int, int, int]) -> "MatrixBoard":
        """By the options `inputs` and `outputs` of the station file.

        Raises:
            ConfigError: a line is missing or no number, lines overlap, or there is more than one array.
        """
        found: dict[str, dict[str, int]] = {}
        for key in ("inputs", "outputs"):
            section = options.get(key)
            if not isinstance(section, dict) or set(section) != set(LINES):
                raise ConfigError(f"instruments.matrix.options.{key}: give a number for each of {', '.join(LINES)}")
            if not all(type(number) is int and 1 <= number <= 10_000 for number in section.values()):
                raise ConfigError(f"instruments.matrix.options.{key}: numbers count from 1, not {section}")
            found[key] = section
        arrays, rows, cols = shape
        if arrays != 1:
            raise ConfigError(f"array: a matrix selects cells of one array, not of {arrays}")
        spans = {line: range(found["outputs"][line], found["outputs"][line] + size)
                 for line, size in (("bit_line", cols), ("source_line", rows), ("word_line", rows))}  # fmt: skip
        used = [output for span in spans.values() for output in span]
        if len(set(used)) != len(used):
            raise ConfigError("instruments.matrix.options.outputs: lines overlap; each needs an output of its own")
        if len(set(found["inputs"].values())) != len(LINES):
            raise ConfigError("instruments.matrix.options.inputs: each source needs an input of its own")
        return cls(matrix, found["inputs"], found["outputs"], shape)

    def paths(self, row: int, col: int) -> Paths:
        """Crosspoints that connect a cell."""
        places = {"bit_line": col, "source_line": row, "word_line": row}
        return frozenset((self._inputs[line], self._outputs[line] + place) for line, place in places.items())

    def mode(self, mode: Literal["safe", "program", "compute"]) -> None:
        """Open everything, then be ready to select.

        Raises:
            ModeError: a matrix can't compute.
        """
        if mode == "compute":
            raise ModeError("a switch matrix can't compute: the station has no board")
        self._matrix.open_all()
        self._mode = mode

    def select(self, array: int, row: int, col: int) -> None:
        """Connect one cell and no other; what is connected afterwards is read back."""
        if self._mode != "program":
            raise ModeError("the matrix is not in programming mode; call mode('program') first")
        arrays, rows, cols = self._shape
        if not (0 <= array < arrays and 0 <= row < rows and 0 <= col < cols):
            raise ModeError(f"there is no cell {(array, row, col)} among {self._shape}")
        wanted, there = self.paths(row, col), self._matrix.closed()
        self._matrix.open(there - wanted)  # break before make
        self._matrix.close(wanted - there)
        found = self._matrix.closed()
        if found != wanted:
            raise InstrumentError(
                f"the matrix was to connect {sorted(wanted)} and says {sorted(found)}; look at its front panel"
            )

    def connected(self) -> tuple[Literal["safe", "program", "compute"], tuple[int, int, int] | None]:
        """Mode and cell, as the matrix says."""
        found = self._matrix.closed()
        _, rows, cols = self._shape
        if not found:
            return self._mode, None
        cells = ((row, col) for row in range(rows) for col in range(cols) if self.paths(row, col) == found)
        cell = next(cells, None)
        return self._mode, None if cell is None else (0, *cell)

    def safe(self) -> None:
        """Open every crosspoint.

        Raises:
            InstrumentError: it did not confirm.
        """
        self._mode = "safe"
        problems = self._matrix.safe()
        if problems:
            raise InstrumentError("; ".join(problems))
