"""What a check works on: one driver of an open station, its wires, and the world behind them if that is a twin's."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from pyvisa import rname

from instruments.array import CellArray, Lines
from instruments.checked import CheckedAnalyzer
from instruments.drivers import Opening
from instruments.errors import StationError
from instruments.limits import Limits, Range
from instruments.station import Station
from instruments.station_file import Line

TOLERANCE = 1e-3
"""V by which a level at the wires may differ from what was asked."""


class Failed(Exception):
    """A check found a defect; the message says what."""


class Skipped(Exception):
    """A check can't be made here; the message says why."""


def expect(fine: bool, why: str) -> None:
    """Fail the check with `why` unless `fine`."""
    if not fine:
        raise Failed(why)


@contextlib.contextmanager
def refusal(kind: type[Exception], what: str) -> Iterator[None]:
    """The block must raise `kind`; what else it raises, or that it raises nothing, fails the check."""
    try:
        yield
    except kind:
        return
    except Exception as error:
        said = " ".join(str(error).split())[:100]
        raise Failed(f"{what}: raised {type(error).__name__} ({said}), not {kind.__name__}") from error
    raise Failed(f"{what}: raised nothing, {kind.__name__} was due")


@dataclass
class Tap:
    """Hears what reaches the twin's instruments, and interferes as a check wants it (a `Faults` of the twin).

    Attributes:
        resources: canonical names of what the driver under test talks to.
        heard: messages that reached them.
        write: what to make of a message; b"" loses it. It may raise what stops a program.
        reply: what to make of a reply; None loses it.
    """

    resources: frozenset[str]
    heard: list[bytes] = field(default_factory=list)
    replies: list[bytes] = field(default_factory=list)
    write: Callable[[bytes], bytes] = lambda data: data
    reply: Callable[[bytes], bytes | None] = lambda data: data

    def before_write(self, resource: str, data: bytes) -> bytes:
        """See the twin's `Faults`."""
        if resource not in self.resources:
            return data
        data = self.write(data)
        if data:
            self.heard.append(data)
        return data

    def after_reply(self, resource: str, data: bytes) -> bytes | None:
        """See the twin's `Faults`."""
        if resource not in self.resources:
            return data
        self.replies.append(data)
        return self.reply(data)

    def calm(self) -> None:
        """Interfere no more."""
        self.write = lambda data: data
        self.reply = lambda data: data


@dataclass
class Subject:
    """One driver under test.

    Attributes:
        station: open.
        role: its section of the station file.
        driver: as the plug-in made it, without the checks that the station puts around it.
        opening: what it was built from.
        drive: whether something may be driven or set.
        tap: on its wires; None on a real instrument.
        beyond: what stood on a line outside its limits, so far.
    """

    station: Station
    role: str
    drive: bool
    beyond: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.opening: Opening = self.station.openings[self.role]
        found = self.station.drivers[self.role]
        self.driver: Any = found.driver if isinstance(found, CheckedAnalyzer) else found
        self.tap: Tap | None = None
        self.library: Any = self.opening.manager.visalib
        if self.station.bench is not None and hasattr(self.library, "faults"):
            names = {rname.to_canonical_name(name) for name in self.opening.entry.resources}
            self.tap = Tap(frozenset(names & set(self.library.instruments)))
            self.library.faults = self.tap
            self._overhear()

    def _overhear(self) -> None:
        """Note what the wires carry beyond the limits, whoever drives it."""
        fixture, channels = self.station.bench.fixture, self.station.file.channels()
        force, pulse = fixture.force, fixture.pulse

        def look(channel: int, volts: float) -> None:
            line = channels.get(channel)
            interval = Range(0.0, 0.0) if line is None else cast(Range, getattr(self.limits, line))
            if not interval.low - TOLERANCE <= volts <= interval.high + TOLERANCE:
                self.beyond.append(f"{volts:g} V on channel {channel} ({line or 'not wired'})")

        def forced(channel: int, volts: float | None, compliance: float = float("inf")) -> None:
            look(channel, volts or 0.0)
            force(channel, volts, compliance)

        def pulsed(shapes: Any, count: int, period: float) -> None:
            for channel, shape in shapes.items():
                look(channel, shape.peak)
            pulse(shapes, count, period)

        fixture.force, fixture.pulse = forced, pulsed

    @property
    def limits(self) -> Limits:
        """Of the station."""
        return self.station.file.limits

    @property
    def world(self) -> Any:
        """The twin's bench.

        Raises:
            Skipped: the instrument is real, or a twin in another process.
        """
        if self.tap is None:
            raise Skipped("needs a twin, where the wires can be looked at and disturbed")
        return self.station.bench

    @property
    def wire(self) -> Tap:
        """The tap; Skipped on a real instrument."""
        _ = self.world
        return cast(Tap, self.tap)

    def line(self, name: str) -> Line:
        """Wiring of a line."""
        return self.station.file.lines[name]

    def smu(self, name: str) -> int:
        """SMU channel of a line; Skipped if it has none."""
        channel = self.line(name).smu
        if channel is None:
            raise Skipped(f"the {name.replace('_', ' ')} has no SMU channel")
        return channel

    @property
    def cell(self) -> tuple[int, int, int]:
        """The cell that may be driven: the station's sacrificial one, or any of a twin's."""
        named = self.station.file.sacrificial
        if named is None and self.tap is None:
            raise Skipped("the station file names no sacrificial cell (array: {sacrificial: [array, row, col]})")
        return named or (0, 0, 0)

    @property
    def width(self) -> float:
        """A pulse that the station allows, s."""
        return max(1e-6, self.limits.pulse_width.low)

    def cells(self) -> CellArray:
        """An array of cells with this driver, as made, for analyzer."""
        lines = Lines(self.line("bit_line"), self.line("source_line"), self.line("word_line"))
        smu = "smu-pulses" in self.station.openings["analyzer"].registered.driver.capabilities
        analyzer = self.driver if self.role == "analyzer" else self.station.analyzer
        return CellArray(
            analyzer, self.station.switches, lines, self.limits, self.station.file.read, self.station.clock,
            self.station.troubles, smu_pulses=smu,
        )  # fmt: skip

    def ready(self) -> CellArray:
        """The same with the cell selected and read once."""
        cells = self.cells()
        cells.prepare()
        cells.select(*self.cell)
        cells.read()
        return cells

    def voltage(self, channel: int) -> float:
        """What stands on a channel, V (twin)."""
        return float(self.world.fixture.voltage(channel))

    def outputs(self) -> list[str]:
        """What is not at 0 V and open (twin)."""
        fixture = self.world.fixture
        channels = sorted(self.station.file.channels())
        left = [f"{fixture.voltage(c):g} V on channel {c}" for c in channels if fixture.voltage(c) != 0]
        return left or [f"channel {c} is still connected" for c in channels if c in fixture.sources]

    def settle(self) -> None:
        """After a check: no interference, outputs safe, whatever the check came to."""
        if self.tap is not None:
            self.tap.calm()
        with contextlib.suppress(StationError):
            self.station.safe()
