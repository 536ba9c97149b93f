"""Source-measure units in place of a B1500A: Keithley 2600 SourceMeters through pymeasure's `Keithley2600`.

A 1T1R cell has three lines, so two instruments of two channels make an analyzer (the fourth channel is spare); the
instrument of the section is channels 1 (its a) and 2 (b), the one of the option `second` is 3 (a) and 4 (b). Reads are
DC. Pulses are quasi-static: the instrument itself sets a level, waits and sets it back, all in one message, so that no
computer's pause, crash or cable can make a pulse longer. It needs no SPGU and no selector, and has neither.

Certain (2600B reference manual, TSP): the attributes used here, `delay`, `errorqueue`, the reply of `print`, the
status of `source.compliance`. Uncertain: how fast a level settles (some 50 us on the 6 V range): `SHORTEST` leaves
room for that, and what `delay` adds (tens of us, not in the records).
"""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

from pymeasure.adapters import Adapter
from pymeasure.instruments.keithley import Keithley2600

from instruments.b1500a import SpotReading
from instruments.clock import Clock
from instruments.drivers import Opening
from instruments.errors import DoubtError, InstrumentError, LimitError, LinkError
from instruments.gates import NUMBER, Rule
from instruments.limits import Limits, Range
from instruments.link import ATTEMPTS, Troubles, on_the_line, readable, reopen

SHORTEST: Final = 0.2e-3
"""s; a shorter pulse would be settling from its beginning to its end."""
LONGEST: Final = 1.0
HIGH_SPEED_PLC: Final = 0.01
"""Power-line cycles of one sample where a B1500A would use its high-speed converter."""
_QUEUE = 50
_SMU = r"smu(?P<channel>[ab])"
_ITEM = r"smu[ab]\.(?:measure\.[iv]\(\)|source\.(?:func|levelv|limiti|output|compliance))"
RULES: Final = (
    Rule(rf"{_SMU}\.source\.levelv=(?P<volts>{NUMBER})"),
    Rule(rf"{_SMU}\.source\.limiti=(?P<amps>{NUMBER})"),
    Rule(rf"delay\((?P<seconds>{NUMBER})\)"),
    Rule(rf"{_SMU}\.source\.(rangev={NUMBER}|output=[01]|func=1|offmode=[02])"),
    Rule(rf"{_SMU}\.measure\.(nplc={NUMBER}|autorangei=1|filter\.enable=[01]|filter\.count={NUMBER})"),
    Rule(rf"{_SMU}\.(abort|reset)\(\)", ends=True),
    Rule(r"errorqueue\.clear\(\)|\*IDN\?|\*CLS"),
    Rule(rf"print\({_ITEM}(, {_ITEM})*\)"),
    Rule(r"print\(errorqueue\.(count|next\(\))\)"),
)
"""All that it sends. Current sources, scripts and sweeps are not among it, so the gate refuses them."""


class ResourceAdapter(Adapter):  # type: ignore[misc]  # pymeasure has no type information
    """pymeasure's adapter over a connection that is open already, and behind a gate."""

    def __init__(self, resource: Any) -> None:
        super().__init__()
        self.connection = resource

    def _write(self, command: str, **kwargs: Any) -> None:
        self.connection.write(command, **kwargs)

    def _read(self, **kwargs: Any) -> str:
        reply: str = self.connection.read(**kwargs)
        return reply

    def __repr__(self) -> str:
        return f"<ResourceAdapter({self.connection!r})>"


@dataclass(frozen=True)
class _Wanted:
    """A pulse that was set up: V, V, s."""

    base: float
    peak: float
    width: float


class _Box:
    """One instrument: its messages, each acknowledged by the length of its error queue."""

    def __init__(self, resource: Any, name: str, clock: Clock, troubles: Troubles) -> None:
        resource.read_termination = resource.write_termination = "\n"
        self.resource, self.name = resource, name
        with warnings.catch_warnings():
            # It says that it doesn't know whether the instrument speaks SCPI: it speaks TSP, and we know.
            warnings.simplefilter("ignore", FutureWarning)
            self.inst = Keithley2600(ResourceAdapter(resource), name)
        self._clock, self._troubles = clock, troubles

    def ask(self, message: str) -> str:
        with on_the_line(self.name):
            reply: str = self.inst.ask(message)
        return reply.strip()

    def tell(self, statements: Sequence[str]) -> None:
        """Send statements, and have the instrument say that they raised no error."""
        reply = self.ask(";".join([*statements, "print(errorqueue.count)"]))
        with readable(f"{self.name}, errorqueue.count"):
            count = float(reply)
        if count:
            self.check_errors()

    def check_errors(self) -> None:
        problems = []
        for _ in range(_QUEUE):
            with on_the_line(self.name), readable(f"{self.name}, errorqueue.next()"):
                code, text = self.inst.next_error
                if float(code) == 0:
                    break
                problems.append(f"error {int(float(code))}: {text}")
        if problems:
            raise InstrumentError(f"{self.name} reports {'; '.join(problems)}")

    def mend(self) -> None:
        try:
            with on_the_line(self.name):
                self.resource.clear()  # else a reply that comes late would be taken for the next one
        except LinkError:
            reopen(self.resource, self.name, self._clock, self._troubles)
            with on_the_line(self.name):
                self.resource.clear()


class SourceMeasurePair:
    """Keithley 2600s as an analyzer; fulfils `instruments.roles.AnalyzerDriver`.

    Args:
        resources: open pyvisa resources behind their gates, one an instrument.
        clock: where waiting happens.
        troubles: told of what was repeated.
        limits: for source ranges and the compliance of pulses.
        lines: channel -> line.
        line_frequency: of the mains, Hz.
    """

    def __init__(
        self,
        resources: Sequence[Any],
        clock: Clock,
        troubles: Troubles,
        limits: Limits,
        lines: Mapping[int, str],
        line_frequency: float = 50.0,
    ) -> None:
        names = ("Keithley 2600", "second Keithley 2600")
        self._boxes = [_Box(r, n, clock, troubles) for r, n in zip(resources, names, strict=False)]
        self._clock, self._troubles, self._limits, self._lines = clock, troubles, limits, lines
        self._period = 1 / line_frequency
        self._wanted: dict[int, _Wanted] = {}
        self._known: dict[tuple[int, str], str] = {}
        self._nplc = 1.0

    def identify(self) -> str:
        """The identification strings; InstrumentError if one of them is no 2600 of two channels."""
        found = []
        for box in self._boxes:
            who = box.ask("*IDN?")
            parts = [part.strip() for part in who.split(",")]
            model = parts[1].removeprefix("Model ") if len(parts) == 4 else ""
            if not parts[0].startswith("Keithley") or model[:4] not in ("2602", "2604", "2612", "2614", "2634", "2636"):
                raise InstrumentError(
                    f"expected a Keithley 2600 of two channels, found {who!r}; check the address in the station file"
                )
            found.append(who)
        return " + ".join(found)

    def check_errors(self) -> list[str]:
        """Read the error queues until they are empty; InstrumentError with what was in them."""
        for box in self._boxes:
            box.check_errors()
        return []

    def settings(self) -> dict[str, str]:
        """What every channel is set to, as the instruments say, by name; changes nothing."""
        found = {}
        for number, box in enumerate(self._boxes):
            for letter in "ab":
                names = [f"smu{letter}.source.{name}" for name in ("func", "levelv", "limiti", "output")]
                values = box.ask(f"print({', '.join(names)})").split("\t")
                if len(values) != len(names):
                    raise LinkError(f"{box.name}: {values!r:.60} are not {len(names)} settings")
                found.update({f"{number + 1}.{name}": value for name, value in zip(names, values, strict=True)})
        return found

    # Measuring and forcing

    def use_high_speed_adc(self, channels: Sequence[int], averaging: int = 1) -> None:
        """Integrate for `averaging` (1..1023) times 0.2 ms."""
        if not 1 <= averaging <= 1023:
            raise LimitError(f"Keithley 2600: {averaging} averages are outside 1 to 1023")
        self._nplc = min(HIGH_SPEED_PLC * averaging, 25.0)

    def use_high_resolution_adc(self, channels: Sequence[int], plc: int = 1) -> None:
        """Integrate for `plc` power-line cycles, 1..25."""
        if not 1 <= plc <= 25:
            raise LimitError(f"Keithley 2600: {plc} power line cycles are outside 1 to 25")
        self._nplc = float(plc)

    def force_voltage(self, channel: int, volts: float, compliance: float) -> None:
        """Force V with a current compliance in A, closing the output if need be; nothing is sent if it does already."""
        wanted = {"source.limiti": _number(compliance), "source.levelv": _number(volts), "source.output": "1"}
        if self._known.get((channel, "source.output")) == "1" and abs(volts) < abs(self._level(channel)):
            wanted = dict(sorted(wanted.items()))  # down first: the level before the compliance
        self._set(channel, wanted)

    def _level(self, channel: int) -> float:
        return float(self._known.get((channel, "source.levelv"), 0.0))

    def _set(self, channel: int, wanted: Mapping[str, str]) -> None:
        """Tell what isn't known to hold; settings that were lost on the way are told again, all of them."""
        box, _ = self._place(channel)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._tell(channel, wanted)
                return
            except LinkError as error:
                if attempt == ATTEMPTS:
                    raise
                self._troubles.note(f"{box.name} is told its settings again ({error})")
                box.mend()

    def _tell(self, channel: int, wanted: Mapping[str, str]) -> None:
        box, letter = self._place(channel)
        fresh = (channel, "source.func") not in self._known
        settings = {**(self._beginning(channel) if fresh else {}), **wanted}
        changed = {key: text for key, text in settings.items() if self._known.get((channel, key)) != text}
        if not changed:
            return
        statements = [f"smu{letter}.reset()"] if fresh else []
        try:
            box.tell([*statements, *(f"smu{letter}.{key}={text}" for key, text in changed.items())])
        except BaseException:
            self._forget(box)
            raise
        self._known.update({(channel, key): text for key, text in changed.items()})

    def _beginning(self, channel: int) -> dict[str, str]:
        line: Range | None = getattr(self._limits, self._lines.get(channel, ""), None)
        most = max(abs(line.low), abs(line.high)) if line is not None else 1.0
        return {
            "source.func": "1", "source.offmode": "2", "source.rangev": _number(most), "measure.autorangei": "1",
            "measure.nplc": _number(self._nplc),
        }  # fmt: skip

    def spot_current(self, channel: int) -> SpotReading:
        """Measure a current now; the output must be on."""
        self._set(channel, {"measure.nplc": _number(self._nplc)})
        box, letter = self._place(channel)
        try:
            reply = box.ask(f"print(smu{letter}.measure.i(), smu{letter}.source.compliance)")
            with readable(f"{box.name}, smu{letter}.measure.i()"):
                value, limited = reply.split("\t")
                amps = {"true": True, "false": False}[limited.strip()], float(value)
        except LinkError:
            self._forget(box)
            raise
        over = abs(amps[1]) > 1e30  # 9.91e37: over the range
        return SpotReading(math.nan if over else amps[1], 8 * amps[0] + over, amps[0])

    # Pulses

    def pulse_setup(
        self, channel: int, base: float, peak: float, width: float, edge: float = 0.0, load: float = 1e6
    ) -> None:
        """Say which pulse a channel gives when fired; nothing is sent. Edge and load are an SPGU's and don't matter.

        Raises:
            LimitError: it has a height and is shorter or longer than a source-measure unit can make it.
        """
        self._place(channel)
        if peak != base and not SHORTEST <= width <= LONGEST:
            raise LimitError(
                f"Keithley 2600: a pulse of {width:g} s is outside {SHORTEST:g} s to {LONGEST:g} s; nothing was sent. "
                "State the station's shortest pulse under limits: pulse_width"
            )
        self._wanted[channel] = _Wanted(base, peak, width)

    def fire(self, channels: Sequence[int]) -> None:
        """Give the pulses that were set up; those of several channels one after the other.

        Raises:
            DoubtError: it was sent, or may have been, and not acknowledged. Nothing is repeated.
        """
        missing = [channel for channel in channels if channel not in self._wanted]
        if missing or not channels:
            raise LimitError(f"Keithley 2600: channels {list(channels)} can't fire; set a pulse up first")
        limit = _number(self._limits.compliance.high)
        for channel, pulse in self._wanted.items():  # whoever isn't pulsed holds its base, as an SPGU would
            self._set(channel, {"source.limiti": limit, "source.levelv": _number(pulse.base), "source.output": "1"})
        for channel in channels:
            pulse = self._wanted[channel]
            if pulse.peak != pulse.base:
                self._pulse(channel, pulse)

    def _pulse(self, channel: int, pulse: _Wanted) -> None:
        box, letter = self._place(channel)
        smu = f"smu{letter}.source.levelv"
        try:
            box.tell([f"{smu}={_number(pulse.peak)}", f"delay({_number(pulse.width)})", f"{smu}={_number(pulse.base)}"])
        except LinkError as error:
            self._forget(box)
            raise DoubtError(f"a pulse may have been given or not ({error})") from error
        except BaseException:
            self._forget(box)
            raise

    def connect_selector(self, port: int, state: Literal["smu", "pgu", "open"]) -> None:
        """Refused: there is no selector."""
        raise LimitError("Keithley 2600: it has no SMU/PGU selector; leave `selector` out of the wiring")

    @contextmanager
    def together(self) -> Iterator[None]:
        """Nothing travels together: what costs here is milliseconds of settling, not messages."""
        yield

    # Trouble and safety

    def mend(self) -> None:
        """After trouble on the line: buffers emptied, a lost connection opened again, nothing taken for granted.

        Raises:
            LinkError: a connection stays lost.
        """
        self._known.clear()
        for box in self._boxes:
            box.mend()

    def safe(self) -> list[str]:
        """Every output to 0 V and open: every step, whatever fails before it; gives what went wrong."""
        self._known.clear()
        self._wanted.clear()
        problems: list[str] = []
        for box in self._boxes:
            for attempt in range(ATTEMPTS):
                found = self._make_safe(box)
                if not found or attempt == ATTEMPTS - 1:
                    break
                self._troubles.note(f"making the {box.name} safe is repeated ({'; '.join(found)})")
            problems += found
        return problems

    def _make_safe(self, box: _Box) -> list[str]:
        def off(letter: str) -> Callable[[], None]:
            smu = f"smu{letter}"
            steps = [f"{smu}.abort()", f"{smu}.source.levelv=0", f"{smu}.source.offmode=2", f"{smu}.source.output=0"]
            return lambda: box.tell(steps)

        def confirm() -> None:
            for letter in "ab":
                state = box.ask(f"print(smu{letter}.source.output)")
                with readable(f"{box.name}, source.output"):
                    if float(state) != 0:
                        raise InstrumentError(f"{box.name}: output {letter} stays on")

        problems = []
        for step in (box.mend, off("a"), off("b"), confirm):
            try:
                step()
            except Exception as error:
                problems.append(" ".join(str(error).split()))
        return problems

    def _forget(self, box: _Box) -> None:
        base = 2 * self._boxes.index(box)
        for key in [key for key in self._known if key[0] in (base + 1, base + 2)]:
            del self._known[key]

    def _place(self, channel: int) -> tuple[_Box, str]:
        number = channel - 1
        if not 0 <= number < 2 * len(self._boxes):
            raise LimitError(
                f"Keithley 2600: there is no channel {channel} among 1 to {2 * len(self._boxes)}; "
                "name the other instrument by the option `second`"
            )
        return self._boxes[number // 2], "ab"[number % 2]


def _number(value: float) -> str:
    return f"{value:.9G}"


def make(opening: Opening) -> SourceMeasurePair:
    """The driver of a station file's section."""
    resources = [opening.link(channels={"a": 1, "b": 2})]
    if "second" in opening.options:
        resources.append(opening.link(str(opening.options["second"]), channels={"a": 3, "b": 4}))
    frequency = opening.options.get("line_frequency", 50)
    if frequency not in (50, 60):
        raise LimitError(f"instruments.analyzer.options.line_frequency: mains have 50 or 60 Hz, not {frequency!r}")
    return SourceMeasurePair(
        resources, opening.clock, opening.troubles, opening.limits, opening.lines, float(frequency)
    )
