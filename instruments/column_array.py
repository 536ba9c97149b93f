"""A whole column of an array at once: the board drives and reads every row, the analyzer's SPGU gives the SET pulses.

The cells of a column share their bit line; each has a word line and a source line of its own. One SET pulse on the bit
line programs all of them, each to what its own gate allows; a raised source line makes it smaller for its row. One
RESET pulse of the board's on the source lines gives each row its own amplitude, as long as they lie close together: the
bit lines that are not meant are inhibited at one common level, and what remains across their cells must move none.
"""

import math
from collections.abc import Callable
from typing import Final, Literal, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from instruments.array import SPGU_EDGE, SPGU_LOAD, Analyzer, Lines, make_safe
from instruments.board_columns import SAMPLE_SECONDS, Sensed
from instruments.clock import Clock
from instruments.errors import ConfigError, DoubtError, LimitError, LinkError, ModeError
from instruments.limits import Limits
from instruments.link import ATTEMPTS, Troubles, persist
from instruments.station_file import ReadSettings

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Kind = Literal["set", "reset"]

SAMPLES: Final = 200
"""Samples of a read: 1 ms. Longer gains little, for most of the noise is the cells' own 1/f noise."""
ZERO_SAMPLES: Final = 2000
"""Samples by which the converters' offsets are found."""
FAST: Final = 921_600
"""Rate of the board's line while columns are programmed, bit/s: a read's reply has 115 characters."""
GAIN_ERROR: Final = 1e-3
"""What the dialect allows a row's amplifier to be off (two standard deviations), relative."""
SAMPLE_NOISE: Final = 1.5e-9
"""What it allows one sample to vary, A, standard deviation."""
SPREAD: Final = 0.3
"""V by which amplitudes of one pulse may differ for SET, and by twice as much for RESET (the inhibit level lies in the
middle): so much stands across cells that are not meant. It is what a read may have; nothing moves below 0.45 V."""
ARMED: Final = 1.0
"""s after which gates that no pulse came for close again."""
BACKWARDS: Final = 1e-6
"""A; more current than this against the voltage is impossible."""

T = TypeVar("T")


class Columns(Protocol):
    """What is needed of the board; `instruments.board_columns.BoardColumns` fulfils it."""

    def require(self) -> None:
        """Refuse a board without column mode."""
        ...

    def connect(self, array: int, col: int) -> None:
        """Connect a bit line."""
        ...

    def connected(self) -> tuple[int, int] | None:
        """What the board says is connected."""
        ...

    def arm(self, gates: Floats, levels: Floats) -> None:
        """Open gates for one pulse on the bit line."""
        ...

    def codes(self, name: str, volts: Floats) -> list[int]:
        """Check voltages; sends nothing."""
        ...

    def pulses(self) -> int:
        """Pulses seen since."""
        ...

    def pulse(self, gates: Floats, levels: Floats, inhibit: float, width: float) -> None:
        """Pulse source lines."""
        ...

    def sense(self, volts: float, gate: float, samples: int, rows: Bools | None = None) -> Sensed:
        """Read rows."""
        ...

    def set_rate(self, rate: int) -> int:
        """Change the line's rate."""
        ...


class PulseSource(Analyzer, Protocol):
    """What is needed of the analyzer: `fire` without its own acknowledgement, which costs more than the pulse."""

    def fire(self, channels: list[int], *, acknowledged: bool = True) -> None:
        """Run the prepared pulses once."""
        ...

    def check_errors(self) -> list[str]:
        """Look at the error queue; raises what is in it."""
        ...


class Switchboard(Protocol):
    """What else is needed of the board."""

    def mode(self, mode: Literal["safe", "program", "compute"]) -> None:
        """Switch the board."""
        ...

    def safe(self) -> None:
        """Disconnect everything."""
        ...


class ColumnRead(NamedTuple):
    """One read of a column; arrays have shape (rows,).

    Attributes:
        conductances: measured, S.
        uncertainties: standard deviations of the converters' part (noise and gain), S; the cells' own noise is not
            known beforehand.
        currents: A, offsets taken off.
        volts: on the bit line, as measured, V.
        duration: integration time, s.
        energies: V*I*duration, the lab's own estimate, J.
        clipped: rows whose current was beyond the converter; the conductance is then a lower bound.
    """

    conductances: Floats
    uncertainties: Floats
    currents: Floats
    volts: float
    duration: float
    energies: Floats
    clipped: Bools


class ColumnArray:
    """The arrays behind a board, one column at a time.

    When the line to an instrument fails, a read or a selection is done anew, from programming mode on; a pulse is not
    (`instruments.link` has the policies). One of this and `instruments.array.CellArray` works at a time; `safe` of
    the one comes before `prepare` of the other.

    Args:
        analyzer: B1500A or alike; its bit-line SPGU channel reaches the board.
        board: switches of the PCB.
        columns: its column mode.
        lines: wiring.
        limits: checked here by meaning, again by the board's driver and the analyzer's gate.
        read: volts and gate of a read (the converter is the board's own).
        rows: of an array.
        clock: of the station.
        troubles: told of what was repeated.
        samples: of a read, 5 us each.
        rate: of the board's line, bit/s.
    """

    def __init__(
        self,
        analyzer: PulseSource,
        board: Switchboard,
        columns: Columns,
        lines: Lines,
        limits: Limits,
        read: ReadSettings,
        rows: int,
        clock: Clock,
        troubles: Troubles | None = None,
        samples: int = SAMPLES,
        rate: int = FAST,
    ) -> None:
        if lines.bit_line.pgu is None:
            raise ConfigError("wiring.bit_line: programming columns needs an SPGU channel on it")
        self.analyzer, self.board, self.columns = analyzer, board, columns
        self.lines, self.limits, self.settings = lines, limits, read
        self.rows, self.clock = rows, clock
        self.troubles = troubles or Troubles()
        self.samples, self.rate = samples, rate
        self.forget()

    def forget(self) -> None:
        """Somebody else has made the instruments safe, or used them."""
        self._ready = self._broken = False
        self._wanted: tuple[int, int] | None = None
        self._selected: tuple[int, int] | None = None
        self._zero: Floats | None = None

    def prepare(self) -> None:
        """Programming mode: SPGU at 0 V and connected, board switched, its line fast. Idempotent.

        Raises:
            InstrumentError: the board has no column mode.
        """
        if not self._ready:
            self.columns.require()
            self._broken = True
            self._persist("preparing to read", lambda: None)

    def _prepare(self) -> None:
        analyzer, line = self.analyzer, self.lines.bit_line
        analyzer.pulse_setup(self._channel, base=0.0, peak=0.0, width=1e-6, edge=SPGU_EDGE, load=SPGU_LOAD)
        # A pulse of no height closes the SPGU's relay; the board is in no column then.
        analyzer.fire([self._channel])
        if line.selector is not None:
            analyzer.connect_selector(line.selector, "pgu")
        self.board.mode("program")
        self.columns.set_rate(self.rate)
        self._ready, self._zero = True, None

    def select_column(self, array: int, col: int) -> None:
        """Connect one bit line; all gates are off."""
        self._require_ready()
        if (array, col) == self._selected:
            return
        self._wanted = None
        self._persist("selecting", lambda: self._select((array, col)))
        self._wanted = (array, col)

    def _select(self, place: tuple[int, int]) -> None:
        self._selected = None
        self.analyzer.check_errors()  # what it may have had to say about the pulses on the last one
        self.columns.connect(*place)
        self._selected = place

    def read_column(self, rows: Bools | None = None) -> ColumnRead:
        """Read rows at the station's read voltage and gate; both are off again afterwards.

        Args:
            rows: which, shape (rows,); all if None. The values of the others are NaN, their gates stay closed.

        Raises:
            LinkError: no possible reading came, however often it was asked for.
            ModeError: another column is connected, or none: somebody else switched the board.
        """
        self._require_column()
        self.limits.read.check(self.settings.volts, "read voltage")
        return self._persist("reading", lambda: self._read(rows))

    def _read(self, rows: Bools | None) -> ColumnRead:
        s = self.settings
        try:
            if self._zero is None:
                self._zero = self.columns.sense(0.0, s.gate, ZERO_SAMPLES).currents
            found = self.columns.sense(s.volts, s.gate, self.samples, rows)
        except ModeError as error:
            raise ModeError(f"{error}; somebody else switched the board, or its power failed") from error
        currents = found.currents - self._zero
        forward = math.copysign(1.0, s.volts) * currents
        if not abs(found.volts - s.volts) <= 0.02 * abs(s.volts) or np.any(forward < -BACKWARDS):
            raise LinkError(
                f"{found.volts:g} V and currents from {np.nanmin(forward):g} A can't be a column at {s.volts:g} V"
            )
        duration = self.samples * SAMPLE_SECONDS
        g = currents / found.volts
        sigma = SAMPLE_NOISE * math.sqrt(1 / self.samples + 1 / ZERO_SAMPLES) / abs(found.volts)
        return ColumnRead(
            g, np.hypot(sigma, GAIN_ERROR / 2 * g), currents, found.volts, duration,
            np.abs(found.volts * currents) * duration, found.clipped,
        )  # fmt: skip

    def pulse_column(self, kind: Kind, volts: Floats, gates: Floats, width: float, load: Floats | None = None) -> None:
        """One programming pulse on all rows whose gate isn't 0.

        Args:
            kind: polarity: SET on the bit line, RESET on the source lines.
            volts: what each cell is to see, V > 0, shape (rows,); differing by `SPREAD` (RESET: twice that) at most.
            gates: what each transistor is to see, gate against source line, V, shape (rows,); 0 keeps a row out.
            width: s.
            load: conductances to expect during the pulse, S, shape (rows,): for the limit of the bit line's current.

        Raises:
            LimitError: a drive would pass a limit; nothing was sent.
            DoubtError: nobody knows whether the cells have had it: read the column. Until then no other pulse is given.
        """
        self._require_column()
        if self._broken:
            raise ModeError("what the last pulse did is unknown; read the column first")
        self.check_pulse(kind, volts, gates, width, load)
        on, top = gates > 0, float(volts[gates > 0].max())
        try:
            if kind == "reset":
                middle = (top + float(volts[on].min())) / 2
                self.columns.pulse(gates, np.where(on, volts, 0.0), middle, width)
                return
            offsets = np.where(on, top - volts, 0.0)
            self._arm(gates + offsets, offsets)
            self.analyzer.pulse_setup(self._channel, base=0.0, peak=top, width=width, edge=SPGU_EDGE, load=SPGU_LOAD)
            self.analyzer.fire([self._channel], acknowledged=False)
            self._acknowledge()
        except DoubtError:
            self._broken = True
            raise

    def _arm(self, gates: Floats, offsets: Floats) -> None:
        """Arm, and anew if that took so long that the gates may have closed again; no pulse has come yet."""
        for _ in range(ATTEMPTS):
            begun = self.clock.now()
            self.columns.arm(gates, offsets)
            if self.clock.now() - begun < ARMED / 2:
                return
        raise LinkError("the board could not be armed in time, so nothing was pulsed; check its cable")

    def _acknowledge(self) -> None:
        """The board watches its pulse bus, so it knows better than the analyzer whether the cells had a pulse."""
        try:
            seen = self.columns.pulses()
        except LinkError as error:
            raise DoubtError(f"a pulse was given and the board doesn't say whether it came ({error})") from error
        if seen != 1:
            raise DoubtError(f"one pulse was given and the board saw {seen or 'none'}")

    def check_pulse(self, kind: Kind, volts: Floats, gates: Floats, width: float, load: Floats | None = None) -> None:
        """Raise LimitError if a pulse would pass a limit; sends nothing."""
        on = gates > 0
        if volts.shape != (self.rows,) or gates.shape != (self.rows,) or not on.any():
            raise LimitError(
                f"a pulse on a column takes voltages of {self.rows} rows, some gates open; nothing was sent"
            )
        line, name = (self.limits.bit_line, "bit") if kind == "set" else (self.limits.source_line, "source")
        top, low = float(volts[on].max()), float(volts[on].min())
        for extreme in (top, low):
            line.check(extreme, f"{kind.upper()} pulse on the {name} line")
        most = SPREAD if kind == "set" else 2 * SPREAD
        if not top - low <= most + 1e-9:
            raise LimitError(
                f"amplitudes of {low:g} V to {top:g} V differ by more than {most:g} V, which cells on other bit lines "
                "would feel; nothing was sent. Give them in groups"
            )
        self.limits.pulse_width.check(width, f"width of a {kind.upper()} pulse")
        self.columns.codes("word line", gates + (np.where(on, top - volts, 0.0) if kind == "set" else 0.0))
        if load is not None:
            amps = top * float(np.sum(load[on]))
            self.limits.column_current.check(amps, f"current of a {kind.upper()} pulse on a column")

    def safe(self) -> None:
        """Outputs at 0 V and open, board disconnected. Best effort on both, whatever fails; raises what went wrong."""
        self.forget()
        make_safe(self.analyzer.safe, self.board.safe)

    def _persist(self, what: str, action: Callable[[], T]) -> T:
        """Do what may be repeated; when the line fails, from programming mode on."""
        return persist(what, "column", action, self._restore, self._breaks, self.troubles)

    def _restore(self, attempt: int) -> None:
        if not self._broken:
            return
        self._ready, self._selected = False, None
        if attempt > 1 or self._wanted is not None:
            self.analyzer.mend()
        self._prepare()
        if self._wanted is not None:
            self._select(self._wanted)
        self._broken = False

    def _breaks(self) -> None:
        self._broken = True

    @property
    def _channel(self) -> int:
        channel = self.lines.bit_line.pgu
        assert channel is not None
        return channel

    def _require_ready(self) -> None:
        if not (self._ready or self._broken):
            raise ModeError("the array is not in programming mode; call prepare() first")

    def _require_column(self) -> None:
        self._require_ready()
        if self._wanted is None:
            raise ModeError("no column is selected; call select_column(array, col) first")
