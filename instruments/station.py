"""A station: the instruments that a station file names, opened, identified, and left safe whatever happens."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple

import pyvisa
from pymeasure.adapters import VISAAdapter

import sim_configs
from instruments.array import CellArray, Lines
from instruments.b1500a import B1500A
from instruments.board import Board
from instruments.clock import Clock, WallClock
from instruments.errors import ConfigError, InstrumentError, StationError
from instruments.limits import FlexGate
from instruments.station_file import InstrumentEntry, StationFile


class Identity(NamedTuple):
    """Who answered at which address."""

    role: str
    driver: str
    resource: str
    idn: str


class Station:
    """An open bench. Use as a context manager: leaving it, however, puts outputs at 0 V and opens them.

    Attributes:
        file: the station file.
        clock: the bench's virtual clock, or the wall's.
        analyzer, board: drivers.
        array: cells behind them.
        identities: what each instrument answered to being asked who it is.
    """

    def __init__(self, file: StationFile, manager: pyvisa.ResourceManager) -> None:
        self.file = file
        self._manager = manager
        self.clock: Clock = getattr(manager.visalib, "clock", None) or WallClock()
        self.identities: list[Identity] = []
        self.left_safe: bool | None = None
        self._gate = FlexGate(file.limits, file.channels())
        analyzer, board = file.instruments["analyzer"], file.instruments["board"]
        if analyzer.driver != "b1500a":
            raise ConfigError(f"instruments.analyzer: driver {analyzer.driver!r} is unknown; known: b1500a")
        if board.driver != "board":
            raise ConfigError(f"instruments.board: driver {board.driver!r} is unknown; known: board")
        self.analyzer = self._open_analyzer(analyzer)
        self.board = self._open_board(board)
        lines = Lines(file.lines["bit_line"], file.lines["source_line"], file.lines["word_line"])
        self.array = CellArray(self.analyzer, self.board, lines, file.limits, file.read, self.clock)

    @property
    def world(self) -> Literal["real", "simulated"]:
        """Whether the instruments are real; what every record made here is marked with."""
        return self.file.world

    @property
    def bench(self) -> Any:
        """The simulated world behind a twin, None on a real station. For records of what only the twin knows."""
        return getattr(self._manager.visalib, "bench", None)

    @classmethod
    def open(cls, file: StationFile, **twin: str | None) -> "Station":
        """Open every instrument of a station file and ask who it is. Drives nothing.

        Args:
            file: the station.
            twin: for a twin, parameters of its bench that override the file's: `dir`, `seed`, `preset`, `fresh`.

        Raises:
            InstrumentError: an instrument is unreachable or does not answer; the ones already open are closed.
            ConfigError: the file names an unknown driver or library.
        """
        params = {k: v for k, v in {**file.twin, **twin}.items() if v is not None}
        if not file.simulated and params:
            raise ConfigError(
                f"station {file.name} is real: a bench directory or chip seed makes sense for a twin only"
            )
        library = _library(file, params)
        try:
            manager = pyvisa.ResourceManager(library)
        except StationError:
            raise
        except (OSError, ValueError, pyvisa.Error) as error:
            raise ConfigError(f"station {file.name}: VISA library {file.visa!r} can't be opened: {error}") from error
        try:
            station = cls(file, manager)
        except BaseException:
            manager.close()
            raise
        try:
            station._identify()
        except BaseException:
            station.close()
            raise
        return station

    def safe(self) -> None:
        """Outputs at 0 V and open, board disconnected."""
        self.left_safe = False
        self.array.safe()
        self.left_safe = True

    def close(self) -> None:
        """Make safe (best effort), then close every session. Idempotent."""
        manager, self._manager = self._manager, None  # type: ignore[assignment]  # closed stations hold nothing
        if manager is None:
            return
        try:
            self.safe()
        finally:
            with contextlib.suppress(pyvisa.Error):
                manager.close()

    def __enter__(self) -> "Station":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except InstrumentError as failure:
            if error is None:
                raise
            error.add_note(str(failure))  # the first failure is the one to report

    def _open_analyzer(self, entry: InstrumentEntry) -> B1500A:
        ports = [line.selector for line in self.file.lines.values() if line.selector is not None]
        with _reachable(entry):
            adapter = VISAAdapter(
                entry.resource, visa_library=self._manager.visalib, timeout=round(entry.timeout * 1000)
            )
        return B1500A(adapter, clock=self.clock, gate=self._gate, ports=ports)

    def _open_board(self, entry: InstrumentEntry) -> Board:
        with _reachable(entry):
            resource: Any = self._manager.open_resource(entry.resource, timeout=round(entry.timeout * 1000))
        return Board(resource, clock=self.clock, gate=self._board_gate, **_board_options(entry.options))

    def _board_gate(self, name: str, volts: float) -> None:
        self.file.limits.board.check(volts, f"board, {name}")

    def _identify(self) -> None:
        for role, device in (("analyzer", self.analyzer), ("board", self.board)):
            entry = self.file.instruments[role]
            with _reachable(entry):
                idn = device.identify()
            self.identities.append(Identity(role, entry.driver, entry.resource, idn))


@contextlib.contextmanager
def _reachable(entry: InstrumentEntry) -> Any:
    try:
        yield
    except (pyvisa.Error, OSError, ValueError) as error:
        reason = getattr(error, "description", None) or str(error)
        raise InstrumentError(
            f"{entry.role} at {entry.resource} can't be reached: {' '.join(str(reason).split())} "
            "Check the address in the station file, the cable and the power"
        ) from error


def _library(file: StationFile, params: Mapping[str, str]) -> str:
    name, at, backend = file.visa.rpartition("@")
    if backend != "twin":
        return file.visa
    beside = file.path.parent / name
    path = beside if beside.is_file() else sim_configs.find(Path(name))
    if not path.is_file():
        raise ConfigError(f"station {file.name}: simulated bench {name!r} not found beside {file.path}")
    query = "&".join(f"{k}={v}" for k, v in sorted(params.items()))
    return f"{path}{'?' + query if query else ''}{at}{backend}"


def _board_options(options: Mapping[str, Any]) -> dict[str, Any]:
    unknown = set(options) - {"dialect"}
    if unknown:
        raise ConfigError(f"instruments.board.options: unknown option {sorted(unknown)[0]!r}; known: dialect")
    return dict(options)
