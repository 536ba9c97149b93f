"""A station: the instruments that a station file names, opened, identified, and left safe whatever happens."""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

import pyvisa
from pymeasure.adapters import VISAAdapter

import sim_configs
from instruments.array import CellArray, Lines
from instruments.b1500a import B1500A
from instruments.board import Board
from instruments.board_columns import BoardColumns
from instruments.clock import Clock, WallClock, wall_time
from instruments.column_array import ColumnArray
from instruments.errors import ConfigError, InstrumentError, LinkError, StationError
from instruments.infiniivision import InfiniiVision
from instruments.limits import FlexGate
from instruments.link import Troubles
from instruments.oscilloscope import Oscilloscope
from instruments.station_file import InstrumentEntry, StationFile
from instruments.tektronix_mso import TektronixMSO

SCOPES: Mapping[str, Callable[[Any, Clock], Oscilloscope]] = {
    "infiniivision": InfiniiVision,
    "tektronix_mso": TektronixMSO,
}
"""Oscilloscope drivers by name."""


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
        wall_time: gives the date and time of day as the laboratory's computer has it, for records only.
        troubles: what went wrong on the lines and was mended.
        analyzer, board: drivers.
        array: cells behind them.
        columns: the same cells, a whole column at a time; for boards that have a column mode.
        scopes: oscilloscopes by role ("oscilloscope", "oscilloscope_2", ...).
        identities: what each instrument answered to being asked who it is.
    """

    def __init__(self, file: StationFile, manager: pyvisa.ResourceManager) -> None:
        self.file = file
        self._manager = manager
        self.clock: Clock = getattr(manager.visalib, "clock", None) or WallClock()
        self.wall_time: Callable[[], str] = getattr(manager.visalib, "wall_time", wall_time)
        self.troubles = Troubles()
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
        self.scopes = {
            role: self._open_scope(entry)
            for role, entry in file.instruments.items()
            if role == "oscilloscope" or role.startswith("oscilloscope_")
        }
        lines = Lines(file.lines["bit_line"], file.lines["source_line"], file.lines["word_line"])
        self.array = CellArray(self.analyzer, self.board, lines, file.limits, file.read, self.clock, self.troubles)
        rows = file.shape[1]
        self.columns = ColumnArray(
            self.analyzer, self.board, BoardColumns(self.board, rows), lines, file.limits, file.read, rows, self.clock,
            self.troubles,
        )  # fmt: skip

    @property
    def world(self) -> Literal["real", "simulated"]:
        """Whether the instruments are real; what every record made here is marked with."""
        return self.file.world

    @property
    def scope(self) -> Oscilloscope | None:
        """The oscilloscope of role "oscilloscope", if the station has one."""
        return self.scopes.get("oscilloscope")

    @property
    def bench(self) -> Any:
        """The simulated world behind a twin, None on a real station. For records of what only the twin knows."""
        return getattr(self._manager.visalib, "bench", None)

    @classmethod
    def open(cls, file: StationFile, **twin: str | None) -> "Station":
        """Open every instrument of a station file and ask who it is. Drives nothing.

        Args:
            file: the station.
            twin: for a twin, parameters of its bench that override the file's: `dir`, `seed`, `preset`, `fresh`,
                `faults`, `faults_seed`.

        Raises:
            InstrumentError: an instrument is unreachable or does not answer; the ones already open are closed.
            ConfigError: the file names an unknown driver or library.
        """
        params = {**file.twin, **{k: v for k, v in twin.items() if v is not None}}
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
            station._identify()
        except BaseException:
            # Nothing was driven yet, and whoever answered wrongly is not to be sent more.
            manager.close()
            raise
        return station

    def safe(self) -> None:
        """Outputs at 0 V and open, board disconnected."""
        self.left_safe = False
        self.columns.forget()
        try:
            self.array.safe()
            for scope in self.scopes.values():
                scope.safe()  # it drives nothing and can wait, time-outs and all, until the outputs are off
        except (KeyboardInterrupt, SystemExit):
            self.array.safe()  # a second Ctrl-C must not leave outputs on
            self.left_safe = True
            raise
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
        return B1500A(adapter, clock=self.clock, gate=self._gate, ports=ports, troubles=self.troubles)

    def _open_board(self, entry: InstrumentEntry) -> Board:
        with _reachable(entry):
            resource: Any = self._manager.open_resource(entry.resource, timeout=round(entry.timeout * 1000))
        options = _board_options(entry.options)
        return Board(resource, clock=self.clock, gate=self._board_gate, troubles=self.troubles, **options)

    def _open_scope(self, entry: InstrumentEntry) -> Oscilloscope:
        if entry.driver not in SCOPES:
            raise ConfigError(
                f"instruments.{entry.role}: driver {entry.driver!r} is unknown; known: {', '.join(SCOPES)}"
            )
        with _reachable(entry):
            resource: Any = self._manager.open_resource(entry.resource, timeout=round(entry.timeout * 1000))
        return SCOPES[entry.driver](resource, self.clock)

    def _board_gate(self, name: str, volts: float) -> None:
        self.file.limits.check_board(name, volts)

    def _identify(self) -> None:
        devices: list[tuple[str, B1500A | Board | Oscilloscope]]
        devices = [("analyzer", self.analyzer), ("board", self.board), *self.scopes.items()]
        for role, device in devices:
            entry = self.file.instruments[role]
            with _reachable(entry):
                idn = device.identify()
            self.identities.append(Identity(role, entry.driver, entry.resource, idn))
        if self.board.extended:
            found = self.board.geometry()
            if any(asked > there for asked, there in zip(self.file.shape, found, strict=True)):
                raise ConfigError(
                    f"station {self.file.name}: array: (arrays, rows, cols) are {self.file.shape}, "
                    f"but the board reports {found}"
                )


@contextlib.contextmanager
def _reachable(entry: InstrumentEntry) -> Any:
    try:
        yield
    except (pyvisa.Error, OSError, ValueError, LinkError) as error:
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
    if "?" in str(path):
        raise ConfigError(f"station {file.name}: a bench file can't lie in a folder with a '?' in its name: {path}")
    query = "&".join(f"{k}={quote(v, safe='/')}" for k, v in sorted(params.items()))
    return f"{path}{'?' + query if query else ''}{at}{backend}"


def _board_options(options: Mapping[str, Any]) -> dict[str, Any]:
    unknown = set(options) - {"dialect"}
    if unknown:
        raise ConfigError(f"instruments.board.options: unknown option {sorted(unknown)[0]!r}; known: dialect")
    return dict(options)
