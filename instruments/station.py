"""A station: the instruments that a station file names, opened, identified, and left safe whatever happens."""

import contextlib
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, cast
from urllib.parse import quote

import pyvisa

import sim_configs
from instruments.array import CellArray, Lines, Switchboard
from instruments.board import Board
from instruments.board_columns import BoardColumns
from instruments.checked import CheckedAnalyzer
from instruments.clock import Clock, WallClock, wall_time
from instruments.column_array import ColumnArray, PulseSource
from instruments.drivers import Opening, open_driver, opening_for
from instruments.errors import ConfigError, InstrumentError, LinkError, StationError
from instruments.link import Troubles
from instruments.oscilloscope import Oscilloscope
from instruments.roles import AnalyzerDriver
from instruments.served_bench import ServedBench
from instruments.station_file import InstrumentEntry, StationFile
from instruments.switch_matrix import MatrixBoard
from instruments.tape import Recorder


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
        clock: the bench's clock if it is simulated, wherever it runs; or the wall's.
        wall_time: gives the date and time of day as the laboratory's computer has it, for records only.
        served: a simulated bench in another process, where the file names one.
        troubles: what went wrong on the lines and was mended.
        analyzer: driver of the analyzer, or of what stands in for one.
        switches: what selects cells: the board, or a switch matrix.
        array: cells behind them.
        drivers: every driver by role, and `openings` what each was built from.
        scopes: oscilloscopes by role ("oscilloscope", "oscilloscope_2", ...).
        identities: what each instrument answered to being asked who it is.
    """

    def __init__(self, file: StationFile, manager: pyvisa.ResourceManager, served: ServedBench | None = None) -> None:
        self.file = file
        self._manager = manager
        self.served = served
        self.clock: Clock = getattr(manager.visalib, "clock", None) or self.served or WallClock()
        self.wall_time: Callable[[], str] = getattr(manager.visalib, "wall_time", wall_time)
        self.troubles = Troubles()
        self.identities: list[Identity] = []
        self.left_safe: bool | None = None
        self.openings = {
            role: opening_for(entry, file, manager, self.clock, self.troubles)
            for role, entry in file.instruments.items()
        }
        self.drivers: dict[str, Any] = {role: self._open(opening) for role, opening in self.openings.items()}
        self.analyzer: AnalyzerDriver = self.drivers["analyzer"]
        self.switches: Switchboard = self.drivers["board"] if "board" in self.drivers else self._matrix_board()
        self.scopes: dict[str, Oscilloscope] = {
            role: driver for role, driver in self.drivers.items() if role.partition("_")[0] == "oscilloscope"
        }
        lines = Lines(file.lines["bit_line"], file.lines["source_line"], file.lines["word_line"])
        self.array = CellArray(
            self.analyzer, self.switches, lines, file.limits, file.read, self.clock, self.troubles,
            smu_pulses=self._can("analyzer", "smu-pulses"),
        )  # fmt: skip
        self._columns: ColumnArray | None = None
        if self._can("analyzer", "columns") and self._can("board", "columns"):
            rows = file.shape[1]
            self._columns = ColumnArray(
                cast(PulseSource, self.analyzer), self.board, BoardColumns(self.board, rows), lines, file.limits,
                file.read, rows, self.clock, self.troubles,
            )  # fmt: skip

    @property
    def board(self) -> Board:
        """The board, which computes, too.

        Raises:
            ConfigError: the station has none, or one that only selects cells.
        """
        if not self._can("board", "compute"):
            raise ConfigError(
                f"station {self.file.name}: it has no board that computes, so it can program cells and read them only"
            )
        board: Board = self.drivers["board"]
        return board

    @property
    def columns(self) -> ColumnArray:
        """The cells a whole column at a time.

        Raises:
            ConfigError: the station's analyzer or board can't.
        """
        if self._columns is None:
            raise ConfigError(
                f"station {self.file.name}: whole columns need a B1500A and a board with a column mode; "
                "program cell by cell (--wiring cell)"
            )
        return self._columns

    def _can(self, role: str, capability: str) -> bool:
        opening = self.openings.get(role)
        return opening is not None and capability in opening.registered.driver.capabilities

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
        """The simulated world behind a twin, for records of what only the twin knows; None where there are no cells.

        That is on a real station, and where instruments answer from a tape.
        """
        found = getattr(self._manager.visalib, "bench", None)
        return found if hasattr(found, "chip") else None

    @property
    def real(self) -> bool:
        """Whether the instruments themselves are real, whatever the file says."""
        return not hasattr(self._manager.visalib, "bench")

    @property
    def attended(self) -> bool:
        """Whether somebody's hands can reach it; a simulated bench is its own operator."""
        return self.real and self.served is None

    def move_probes(self, probes: Mapping[int, str]) -> None:
        """Hang a simulated bench's probes elsewhere, node by channel; those of a real one are left to a person.

        Raises:
            LinkError: the bench is served, and can't be reached.
        """
        if self.served is not None:
            self.served.move_probes(probes)
        for panel in getattr(self.bench, "scopes", ()):
            panel.probes.update(probes)

    @classmethod
    def open(cls, file: StationFile, recorder: Recorder | None = None, **twin: str | None) -> "Station":
        """Open every instrument of a station file and ask who it is. Drives nothing.

        Args:
            file: the station.
            recorder: hears everything that is said.
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
            with warnings.catch_warnings():
                # pyvisa-py looks for GPIB whether or not the station has any; who needs it is told when it is opened.
                warnings.filterwarnings("ignore", "GPIB library not found", UserWarning)
                manager = pyvisa.ResourceManager(library)
        except StationError:
            raise
        except (OSError, ValueError, pyvisa.Error) as error:
            raise ConfigError(f"station {file.name}: VISA library {file.visa!r} can't be opened: {error}") from error
        if recorder is not None:
            recorder.listen(manager.visalib)
        served: ServedBench | None = None
        try:
            served = ServedBench(file.bench) if file.bench else None
            station = cls(file, manager, served)
            station._identify()
        except BaseException:
            if served is not None:
                served.close()
            # Nothing was driven yet, and whoever answered wrongly is not to be sent more.
            manager.close()
            raise
        return station

    def safe(self) -> None:
        """Outputs at 0 V and open, board disconnected."""
        self.left_safe = False
        if self._columns is not None:
            self._columns.forget()
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
            if self.served is not None:
                self.served.close()

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

    def _open(self, opening: Opening) -> Any:
        with _reachable(opening.entry):
            driver = open_driver(opening)
        if opening.registered.own or opening.registered.driver.role != "analyzer":
            return driver
        return CheckedAnalyzer(driver, self.file.limits, self.file.channels())

    def _matrix_board(self) -> MatrixBoard:
        opening = self.openings["matrix"]
        return MatrixBoard.wired(self.drivers["matrix"], opening.options, self.file.shape)

    def _identify(self) -> None:
        first = {role: rank for rank, role in enumerate(("analyzer", "board", "matrix"))}
        for role in sorted(self.drivers, key=lambda role: first.get(role, len(first))):
            entry = self.file.instruments[role]
            with _reachable(entry):
                idn = self.drivers[role].identify()
            self.identities.append(Identity(role, entry.driver, entry.resource, idn))
        board = self.drivers.get("board")
        if board is not None and getattr(board, "extended", True):
            found = board.geometry()
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
        said = " ".join(str(reason).split()).rstrip(".")
        hint = "Check the address in the station file, the cable and the power"
        if "gpib_ctypes" in said:  # names a Python call that is of no use to whoever runs a station
            said, hint = "no GPIB library is installed", 'Install linux-gpib, or a vendor\'s VISA (visa: "@ivi")'
        raise InstrumentError(f"{entry.role} at {entry.resource} can't be reached: {said}. {hint}") from error


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
