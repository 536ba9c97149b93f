"""What an experimenter means: select a cell, read it, pulse it. Analyzer and board together, behind the limits."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Literal, NamedTuple, Protocol, TypeVar

from instruments.clock import Clock
from instruments.errors import ConfigError, DoubtError, InstrumentError, LinkError, ModeError
from instruments.limits import Limits
from instruments.link import Troubles, persist
from instruments.station_file import Line, ReadSettings

SPGU_LOAD = 1e6
"""Load stated to the SPGU, ohm: a cell is thousands of ohms against its 50, so the voltage set is the one delivered."""
SPGU_EDGE = 20e-9
"""Leading and trailing edges of programming pulses, s."""
OPEN = 1e-9
"""Below this conductance a read found nothing connected, S: a hundredth of what a pristine cell conducts."""
EXCESS = 0.1
"""Share of the compliance by which a reading may pass it before it is impossible."""
BACKWARDS = 0.01
"""Share of the compliance that may flow against the voltage (offsets, noise) before a reading is impossible."""

T = TypeVar("T")


class Spot(Protocol):
    """One current measurement."""

    @property
    def current(self) -> float:
        """A, positive out of the channel."""
        ...

    @property
    def in_compliance(self) -> bool:
        """Whether the compliance limited it."""
        ...


class Analyzer(Protocol):
    """What the array needs of a semiconductor analyzer; `instruments.b1500a.B1500A` fulfils it."""

    def force_voltage(self, channel: int, volts: float, compliance: float) -> None:
        """Force `volts` (V) with a current compliance (A), closing the output switch if need be.

        Raises:
            LimitError: beyond a limit, or no such channel; nothing was sent.
            LinkError: the instrument didn't answer.
            InstrumentError: it objects.
        """
        ...

    def spot_current(self, channel: int) -> Spot:
        """Measure the current of a channel whose output is on: A, positive out of it.

        Raises:
            LinkError: no reply, or none that can be a reading; never a number in its place.
        """
        ...

    def use_high_speed_adc(self, channels: list[int], averaging: int) -> None:
        """Choose the fast converter with `averaging` samples."""
        ...

    def use_high_resolution_adc(self, channels: list[int], plc: int) -> None:
        """Choose the integrating converter over `plc` power-line cycles."""
        ...

    def pulse_setup(self, channel: int, *, base: float, peak: float, width: float, edge: float, load: float) -> None:
        """Prepare a channel's pulse from `base` to `peak` (V) and back; width and edges in s, declared load in ohm.

        Nothing is sent, or nothing that drives. What has no edges or loads to set ignores those two. A pulse of no
        height (base and peak 0) may have any width.
        """
        ...

    def fire(self, channels: list[int]) -> None:
        """Give the prepared pulses once and wait for the end; channels prepared before that are not named rest at base.

        The instrument itself must time the pulse: a program that dies must not leave it on.

        Raises:
            DoubtError: it was sent, or may have been, and not acknowledged. Never repeat it.
        """
        ...

    def connect_selector(self, port: int, state: Literal["smu", "pgu", "open"]) -> None:
        """Switch an SMU/PGU selector port."""
        ...

    def together(self) -> AbstractContextManager[None]:
        """Let settings made in a block travel in one message with its measurement or pulse."""
        ...

    def mend(self) -> None:
        """After trouble on the line: buffers emptied, a lost connection opened again, nothing taken for granted."""
        ...

    def safe(self) -> list[str]:
        """All outputs to 0 V and open: every step, whatever fails before it; gives what went wrong."""
        ...


class Switchboard(Protocol):
    """What the array needs of the board; `instruments.board.Board` fulfils it."""

    def mode(self, mode: Literal["safe", "program", "compute"]) -> None:
        """Switch the board; programming and computing exclude each other."""
        ...

    def select(self, array: int, row: int, col: int) -> None:
        """Connect one cell's lines to the analyzer."""
        ...

    def connected(self) -> tuple[Literal["safe", "program", "compute"], tuple[int, int, int] | None]:
        """Mode and cell, as the board says."""
        ...

    def safe(self) -> None:
        """Disconnect everything."""
        ...


class CellRead(NamedTuple):
    """One read of one cell.

    Attributes:
        conductance: measured, S.
        current: A.
        volts: on the bit line, V.
        duration: integration time of the converter, s.
        energy: V*I*duration, the lab's own estimate, J.
        in_compliance: the current was limited; the conductance is then a lower bound.
    """

    conductance: float
    current: float
    volts: float
    duration: float
    energy: float
    in_compliance: bool


class Lines(NamedTuple):
    """The three lines of the array as wired to the analyzer."""

    bit_line: Line
    source_line: Line
    word_line: Line


class CellArray:
    """The arrays behind a board, one cell at a time.

    The bit line goes to its SMU for a read and for RESET (held at 0 V), and to its SPGU channel for SET; the source
    line is pulsed for RESET and else grounded through its SPGU channel's base of 0 V. That is the least switching:
    one selector relay per SET, none per RESET.

    When the line to an instrument fails, a read or a selection is done anew, from programming mode on; a pulse is not
    (`instruments.link` has the policies).

    Args:
        analyzer: B1500A or alike.
        board: switches of the PCB.
        lines: wiring.
        limits: checked here by meaning (read, pulse, width), and again at the wire by the analyzer's gate.
        read: how to read.
        clock: of the station.
        troubles: told of what was repeated.
        smu_pulses: pulses come from the SMU itself where a line has no pulse channel.
    """

    def __init__(
        self,
        analyzer: Analyzer,
        board: Switchboard,
        lines: Lines,
        limits: Limits,
        read: ReadSettings,
        clock: Clock,
        troubles: Troubles | None = None,
        smu_pulses: bool = False,
    ) -> None:
        if smu_pulses:
            lines = Lines(*(line if line.pgu else replace(line, pgu=line.smu) for line in lines))
        for name in ("bit_line", "source_line"):
            line: Line = getattr(lines, name)
            if line.pgu is None or (name == "bit_line" and line.smu is None):
                raise ConfigError(f"wiring.{name}: programming needs an SPGU channel, on the bit line also an SMU")
        if lines.word_line.smu is None:
            raise ConfigError("wiring.word_line: programming needs an SMU on the word line")
        self.analyzer = analyzer
        self.board = board
        self.lines = lines
        self.limits = limits
        self.settings = read
        self.clock = clock
        self.troubles = troubles or Troubles()
        self._ready = False
        self._broken = False  # the line failed: what the instruments are doing is unknown
        self._open_confirmed = False
        self._selected: tuple[int, int, int] | None = None
        self._wanted: tuple[int, int, int] | None = None

    def prepare(self) -> None:
        """Programming mode: outputs closed at 0 V, converter chosen, board switched. Idempotent."""
        if not self._ready:
            self._broken = True
            self._persist("preparing to read", lambda: None)

    def _prepare(self) -> None:
        analyzer, lines = self.analyzer, self.lines
        for line in (lines.source_line, lines.bit_line, lines.word_line):
            if line.smu is not None:
                analyzer.force_voltage(line.smu, 0.0, self.settings.compliance)
        bit = lines.bit_line.smu
        assert bit is not None
        if self.settings.adc == "plc":
            analyzer.use_high_resolution_adc([bit], self.settings.averaging)
        else:
            analyzer.use_high_speed_adc([bit], self.settings.averaging)
        for line in (lines.bit_line, lines.source_line):
            assert line.pgu is not None
            analyzer.pulse_setup(line.pgu, base=0.0, peak=0.0, width=1e-6, edge=SPGU_EDGE, load=SPGU_LOAD)
        # A pulse of no height closes the SPGU's relays; from then on a resting channel is the array's ground.
        analyzer.fire([line.pgu for line in (lines.bit_line, lines.source_line) if line.pgu is not None])
        self.board.mode("program")
        if lines.source_line.selector is not None:
            analyzer.connect_selector(lines.source_line.selector, "pgu")
        self._ready = True

    def select(self, array: int, row: int, col: int) -> None:
        """Connect one cell. Word and bit line are at 0 V while the board switches."""
        self._require_ready()
        if (array, row, col) == self._selected:
            return
        self._wanted = None
        self._persist("selecting", lambda: self._select(array, row, col))
        self._wanted = (array, row, col)
        self._open_confirmed = False

    def _select(self, array: int, row: int, col: int) -> None:
        with self.analyzer.together():
            self._word(0.0)
            self._bit(0.0)
        self._selected = None  # should the board not answer, nobody knows what is connected
        self.board.select(array, row, col)
        self._selected = (array, row, col)

    def read(self) -> CellRead:
        """Read the selected cell at the station's read voltage and gate, which stay until something else is asked.

        Raises:
            LinkError: no possible reading came, however often it was asked for.
            ModeError: nothing is connected, and the board says why.
        """
        self._require_cell()
        self.limits.read.check(self.settings.volts, "read voltage")
        read = self._persist("reading", self._read)
        if abs(read.conductance) < OPEN and not self._open_confirmed:
            self._persist("asking what is connected to", self._confirm_selection)
        return read

    def _confirm_selection(self) -> None:
        mode, cell = self.board.connected()
        if mode != "program" or cell != self._wanted:
            raise ModeError(
                f"the board is in {mode} mode with cell {cell} connected, not in program mode with {self._wanted}: "
                "somebody else switched it, or its power failed; nothing more was sent to the cell"
            )
        self._open_confirmed = True  # the cell itself conducts nothing

    def _read(self) -> CellRead:
        s, line = self.settings, self.lines.bit_line
        assert line.smu is not None
        with self.analyzer.together():
            self._bit_to("smu")
            self._word(s.gate)
            self._bit(s.volts)
            spot = self.analyzer.spot_current(line.smu)
        forward = math.copysign(1.0, s.volts) * spot.current
        if not -BACKWARDS * s.compliance <= forward <= (1 + EXCESS) * s.compliance:  # also refuses NaN
            raise LinkError(
                f"a current of {spot.current:g} A is impossible at {s.volts:g} V with a compliance of "
                f"{s.compliance:g} A"
            )
        duration = s.averaging * (s.line_period if s.adc == "plc" else HIGH_SPEED_SAMPLE)
        energy = abs(s.volts * spot.current) * duration
        return CellRead(spot.current / s.volts, spot.current, s.volts, duration, energy, spot.in_compliance)

    def pulse(self, kind: Literal["set", "reset"], volts: float, gate: float, width: float) -> None:
        """One programming pulse on the selected cell: SET on the bit line, RESET on the source line.

        Args:
            kind: polarity.
            volts: height, V > 0.
            gate: word line, V.
            width: s.

        Raises:
            LimitError: a drive would pass a limit; nothing was sent.
            DoubtError: nobody knows whether the cell has had it: read it. Until then no other pulse is given.
        """
        self._require_cell()
        if self._broken:
            raise ModeError("what the last pulse did is unknown; read the cell first")
        self.check_pulse(kind, volts, gate, width)
        pulsed, other = self.lines.bit_line, self.lines.source_line
        if kind == "reset":
            pulsed, other = other, pulsed
        assert pulsed.pgu is not None
        assert other.pgu is not None
        self.analyzer.pulse_setup(other.pgu, base=0.0, peak=0.0, width=width, edge=SPGU_EDGE, load=SPGU_LOAD)
        self.analyzer.pulse_setup(pulsed.pgu, base=0.0, peak=volts, width=width, edge=SPGU_EDGE, load=SPGU_LOAD)
        with self.analyzer.together():
            self._bit(0.0)
            self._bit_to("pgu" if kind == "set" else "smu")
            self._word(gate)
            try:
                self.analyzer.fire([pulsed.pgu])
            except DoubtError:
                self._broken = True
                raise

    def check_pulse(self, kind: Literal["set", "reset"], volts: float, gate: float, width: float) -> None:
        """Raise LimitError if a pulse would pass a limit; sends nothing."""
        line = self.limits.bit_line if kind == "set" else self.limits.source_line
        line.check(volts, f"{kind.upper()} pulse on the {'bit' if kind == 'set' else 'source'} line")
        self.limits.word_line.check(gate, f"gate of a {kind.upper()} pulse")
        self.limits.pulse_width.check(width, f"width of a {kind.upper()} pulse")

    def safe(self) -> None:
        """Outputs at 0 V and open, board disconnected. Best effort on both, whatever fails; raises what went wrong."""
        self._ready, self._broken = False, False
        self._selected = self._wanted = None
        make_safe(self.analyzer.safe, self.board.safe)

    def _persist(self, what: str, action: Callable[[], T]) -> T:
        """Do what may be repeated; when the line fails, from programming mode on."""
        return persist(what, "cell", action, self._restore, self._breaks, self.troubles)

    def _restore(self, attempt: int) -> None:
        if not self._broken:
            return
        self._ready, self._selected = False, None
        if attempt > 1 or self._wanted is not None:
            self.analyzer.mend()
        self._prepare()
        if self._wanted is not None:
            self._select(*self._wanted)
        self._broken = False

    def _breaks(self) -> None:
        self._broken = True

    def _require_ready(self) -> None:
        if not (self._ready or self._broken):
            raise ModeError("the array is not in programming mode; call prepare() first")

    def _require_cell(self) -> None:
        self._require_ready()
        if self._wanted is None:
            raise ModeError("no cell is selected; call select(array, row, col) first")

    def _word(self, volts: float) -> None:
        channel = self.lines.word_line.smu
        assert channel is not None
        self.analyzer.force_voltage(channel, volts, self.settings.compliance)

    def _bit(self, volts: float) -> None:
        channel = self.lines.bit_line.smu
        assert channel is not None
        self.analyzer.force_voltage(channel, volts, self.settings.compliance)

    def _bit_to(self, source: Literal["smu", "pgu"]) -> None:
        if self.lines.bit_line.selector is not None:
            self.analyzer.connect_selector(self.lines.bit_line.selector, source)


HIGH_SPEED_SAMPLE = 16e-6
"""Time of one averaged sample of the high-speed converter, s (B1500A: 2 us to 20 ms a measurement)."""


def make_safe(*steps: Callable[[], list[str] | None]) -> None:
    """Take every step towards safe outputs, whatever the one before came to.

    Raises:
        InstrumentError: with all that went wrong.
    """
    problems: list[str] = []
    for step in steps:
        try:
            problems += step() or []
        except Exception as error:  # whatever one instrument does, the other one must be made safe too
            problems.append(" ".join(str(error).split()))
    if problems:
        raise InstrumentError(f"the station may not be safe: {'; '.join(problems)}. Switch the outputs off by hand")
