"""Keysight B1500A: pymeasure's driver (mended) with what a memory laboratory needs added.

Added: high-speed spot measurements, forcing with a remembered output state, SPGU pulses with minimal traffic, the
SMU/PGU selector, and `safe`.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from instruments.b1500a_messages import GuardedB1500
from instruments.b1500a_pulses import HIGH_IMPEDANCE, Pulse, PulsePlanner, join, number
from instruments.clock import Clock
from instruments.errors import DoubtError, InstrumentError, LimitError, LinkError
from instruments.link import ATTEMPTS, Troubles

SelectorState = Literal["smu", "pgu", "open"]
SELECTOR_STATES = {"open": 0, "smu": 1, "pgu": 2}
# The number in full: what is left of a reply that was cut must not pass for a smaller one.
_ITEM = re.compile(
    r"(?P<status>[0-9]{3}|[A-Z])(?P<channel>[A-J])(?P<kind>[IV])(?P<value>[+-][0-9]+\.[0-9]+E[+-][0-9]{2})"
)
_SLOTS = dict(enumerate("ABCDEFGHIJ", 1)) | {100 * n + 1: letter for n, letter in enumerate("ABCDEFGHIJ", 1)}
_LETTERS = {"V": 1, "X": 2, "T": 4, "C": 8}
_SHORT_RUN = 1e-3  # s; a run this short is over before another message could ask about it


@dataclass(frozen=True)
class SpotReading:
    """A current out of a channel.

    Attributes:
        current: A; NaN when the converter was over its range.
        status: sum of 1 over range, 2 oscillating, 4 another channel limited, 8 this channel limited.
        in_compliance: whether this channel was at its current limit.
    """

    current: float
    status: int
    in_compliance: bool


@dataclass(frozen=True)
class VoltageReading:
    """A voltage at a channel, V (NaN when over range); status and in_compliance as in `SpotReading`."""

    voltage: float
    status: int
    in_compliance: bool


class B1500A(GuardedB1500):
    """The analyzer of a memory laboratory. SI units throughout; channels are numbers (1..10 SMU, 601, 602 SPGU)."""

    def __init__(
        self,
        adapter: Any,
        *,
        clock: Clock,
        gate: Callable[[str], None] | None = None,
        ports: Sequence[int] = (0, 1),
        troubles: Troubles | None = None,
        **kwargs: Any,
    ) -> None:
        """Attach to an instrument; nothing is sent.

        What is done when the line fails is told in `instruments.link`.

        Args:
            adapter: a pymeasure adapter or a VISA resource name.
            clock: where waiting happens.
            gate: called with every message before it is sent; what it raises keeps the message from being sent.
            ports: SMU/PGU selector ports of the station (0..3), which `safe` opens.
            troubles: told of what was repeated.
            **kwargs: for pymeasure's `Instrument`.
        """
        self.ports = tuple(ports)
        self._pulses = PulsePlanner()
        self._known: dict[str, str] = {}
        self._waiting: list[tuple[str, str]] | None = None
        super().__init__(adapter, clock=clock, gate=gate, troubles=troubles, **kwargs)

    # Settings

    def forget(self) -> None:
        """Take nothing for granted about the instrument's state: the next calls send everything anew."""
        self._known.clear()
        self._pulses.forget()

    def _tell(self, settings: Iterable[tuple[str, str]]) -> None:
        """Send those settings (key, command) that aren't known to hold, in one message, and look for errors."""
        if self._waiting is not None:
            self._waiting += settings
            return
        changed = self._changed(settings)
        if not changed:
            return
        with self._guard:
            try:
                self._send(join(changed.values()))
                self.check_errors()
            except BaseException:
                self.forget()
                raise
            self._known.update(changed)

    def _changed(self, settings: Iterable[tuple[str, str]]) -> dict[str, str]:
        """Of several settings of one thing the last counts; what is known to hold is left out."""
        return {key: text for key, text in dict(settings).items() if self._known.get(key) != text}

    @contextmanager
    def together(self) -> Iterator[None]:
        """Settings made in this block travel in one message with the measurement or the pulse made in it.

        A GPIB message costs milliseconds whatever its length, and a write-verify loop is made of messages. The limits
        see the whole before any of it is sent; errors are asked for once, afterwards. Not for nesting.
        """
        self._waiting = []
        try:
            yield
            waiting, self._waiting = self._waiting, None
            self._tell(waiting or [])
        finally:
            self._waiting = None

    def _take_waiting(self) -> dict[str, str]:
        waiting, self._waiting = self._waiting, None if self._waiting is None else []
        return self._changed(waiting or [])

    def check_errors(self) -> list[Any]:
        """Read the error queue until it is empty; if it wasn't, nothing is taken for granted any more.

        Raises:
            InstrumentError: with the instrument's codes and texts.
        """
        try:
            return super().check_errors()
        except InstrumentError:
            self.forget()
            raise

    def identify(self) -> str:
        """The identification string.

        Raises:
            InstrumentError: the instrument is no B1500A.
        """
        identity = self.ask("*IDN?").strip()
        if "B1500A" not in identity:
            raise InstrumentError(f"expected a B1500A, found {identity!r}; check the address in the station file")
        return identity

    def settings(self) -> dict[str, str]:
        """What the instrument is set to, as it says: outputs, measurement mode, ranges. Changes nothing."""
        return {query: self.ask(query).strip() for query in ("*LRN? 0", "*LRN? 31", "*LRN? 32")}

    # Measuring and forcing

    def use_high_speed_adc(self, channels: Iterable[int], averaging: int = 1) -> None:
        """Measure `channels` with their high-speed converters, `averaging` samples (1..1023; about 16 us each)."""
        if not 1 <= averaging <= 1023:
            raise LimitError(f"B1500A: {averaging} averages are outside 1 to 1023")
        self._tell([("AIT0", f"AIT 0,1,{averaging}"), *((f"AAD{c}", f"AAD {c},0") for c in channels)])

    def use_high_resolution_adc(self, channels: Iterable[int], plc: int = 1) -> None:
        """Measure `channels` with the high-resolution converter over `plc` line cycles (1..100; 20 ms at 50 Hz)."""
        if not 1 <= plc <= 100:
            raise LimitError(f"B1500A: {plc} power line cycles are outside 1 to 100")
        self._tell([("AIT1", f"AIT 1,2,{plc}"), *((f"AAD{c}", f"AAD {c},1") for c in channels)])

    def force_voltage(self, channel: int, volts: float, compliance: float, vrange: int = 0) -> None:
        """Force a voltage, closing the output switch if need be; nothing is sent if the channel does that already.

        Args:
            channel: SMU.
            volts: V, -100..100.
            compliance: current limit, A, > 0.
            vrange: output range code, 0 automatic (11: 2 V, 12: 20 V, 13: 40 V, 14: 100 V).
        """
        level = f"DV {channel},{vrange},{number(volts)},{number(compliance)}"
        self._tell([(f"CN{channel}", f"CN {channel}"), (f"D{channel}", level)])

    def spot_current(self, channel: int, current_range: int = 0) -> SpotReading:
        """Measure a current now: one message, one reply.

        Args:
            channel: SMU, its output on.
            current_range: code; 0 automatic, 11..19 limited automatic from 1 nA..100 mA, negative fixed.
        """
        value, status = self._spot("TI", channel, current_range)
        return SpotReading(value, status, bool(status & 8))

    def spot_voltage(self, channel: int, voltage_range: int = 0) -> VoltageReading:
        """Measure a voltage now; range codes as in `force_voltage`, negative fixed."""
        value, status = self._spot("TV", channel, voltage_range)
        return VoltageReading(value, status, bool(status & 8))

    def _spot(self, command: str, channel: int, code: int) -> tuple[float, int]:
        self._tell([("FMT", "FMT 21,0")])
        what = f"B1500A: {command} {channel}"
        with self._guard:
            try:
                with self._exclusive():
                    settings = self._take_waiting()
                    self._send(join([*settings.values(), f"{command} {channel},{code}"]))
                    reply = self.read()
            except LinkError as error:
                self.mend()
                problems = self._errors()
                if problems:
                    raise InstrumentError(f"{what} brought no data; it reports {'; '.join(problems)}") from error
                raise LinkError(f"{what} brought no data ({error})") from error
            if settings:
                try:
                    self.check_errors()
                except BaseException:
                    self.forget()
                    raise
                self._known.update(settings)
        match = _ITEM.fullmatch(reply.strip())
        if match is None or (match["channel"], match["kind"]) != (_SLOTS[channel], command[1]):
            self.forget()
            raise LinkError(f"{what} brought {reply[:60]!r}, which is no reading of it")
        status = int(match["status"]) if match["status"].isdigit() else _LETTERS.get(match["status"], 0)
        value = float(match["value"])
        return (math.nan, status | 1) if abs(value) > 1e99 else (value, status)

    # SPGU and selector

    def pulse_setup(
        self,
        channel: int,
        base: float,
        peak: float,
        width: float,
        edge: float = 20e-9,
        load: float = HIGH_IMPEDANCE,
        delay: float = 0.0,
    ) -> None:
        """Say which pulse a channel gives when fired; nothing is sent yet. Units and ranges: `Pulse`."""
        self._pulses.wanted[channel] = Pulse(base, peak, width, edge, load, delay)

    def fire(
        self, channels: Sequence[int], *, count: int = 1, period: float | None = None, acknowledged: bool = True
    ) -> None:
        """Give the pulses that were set up, together, `count` times, and return when they are over.

        One message with what changed since the last one, and one error query. A run longer than 1 ms is asked for
        its end.

        Args:
            channels: SPGU channels; others that were set up before rest at 0 V.
            count: 1..1e6.
            period: s, up to 10; the shortest possible if None.
            acknowledged: False leaves the error query out, for a caller who sees in another way whether the pulses
                came (and calls `check_errors` once in a while).

        Raises:
            LimitError: before anything is sent.
            DoubtError: it was sent, or may have been, and not acknowledged. Nothing is repeated.
            InstrumentError: the instrument refused, or never finished.
        """
        with self._guard:
            try:
                self._fire(channels, count, period, acknowledged)
            except LinkError as error:
                self.forget()
                raise DoubtError(f"a pulse may have been given or not ({error})") from error
            except BaseException:
                self.forget()
                raise

    def _fire(self, channels: Sequence[int], count: int, period: float | None, acknowledged: bool) -> None:
        plan = self._pulses.plan(channels, count, period)
        settings = self._take_waiting()
        self._send(join([*settings.values(), *plan.messages]))
        if acknowledged:
            self.check_errors()
        self._known.update(settings)
        self._pulses.accept(plan)
        if plan.duration <= _SHORT_RUN:
            self.clock.sleep(plan.duration)
            return
        deadline = self.clock.now() + 2 * plan.duration + 1.0
        while (state := self.ask("SPST?").strip()) != "0":
            if state != "1":
                raise LinkError(f"B1500A: {state[:60]!r} is no state of the SPGU")
            if self.clock.now() > deadline:
                raise InstrumentError(f"B1500A: a pulse train of {plan.duration:g} s hasn't ended after twice that")
            self.clock.sleep(max(_SHORT_RUN, plan.duration / 20))

    def connect_selector(self, port: int, state: SelectorState) -> None:
        """Connect a selector port (0..3) to its SMU, its SPGU channel or nothing; not sent if it is so already."""
        self.connect_selectors({port: state})

    def connect_selectors(self, states: Mapping[int, SelectorState]) -> None:
        """Connect several selector ports with one message."""
        for port, state in states.items():
            if state not in SELECTOR_STATES or not 0 <= port <= 3:
                raise LimitError(f"B1500A selector: port {port} can't be {state!r}; ports 0 to 3 can be smu, pgu, open")
        switched = ((f"ERSSP{port}", f"ERSSP {port},{SELECTOR_STATES[state]}") for port, state in states.items())
        self._tell([("ERMOD", "ERMOD 1"), *switched])

    # Safety

    def safe(self) -> list[str]:
        """Stop pulses, force 0 V everywhere, open the selector and every output; every step, whatever fails before it.

        The gate sees these messages but can't keep them back. May be called at any time and again. If anything went
        wrong on a VISA connection, all of it is done again, on a new one if need be, 3 times at most.

        Returns:
            What went wrong the last time, empty if nothing did.
        """
        for attempt in range(ATTEMPTS):
            problems = self._make_safe()
            if not problems or attempt == ATTEMPTS - 1 or self._connection() is None:
                break
            self.troubles.note(f"making the analyzer safe is repeated ({'; '.join(problems)})")
            try:
                self.mend()
            except InstrumentError as error:
                problems.append(str(error))
                break
        return problems

    def _make_safe(self) -> list[str]:
        problems: list[str] = []
        self.forget()
        connection = self._connection()
        if connection is not None:
            try:
                connection.clear()  # an interrupted query may have left half a reply
            except Exception as error:
                problems.append(f"device clear: {error}")
        selector = [f"ERSSP {port},0" for port in self.ports]
        for message in ("SPP", "DZ", *([";".join(["ERMOD 1", *selector])] if selector else []), "CL"):
            try:
                self._gate(message)
            except Exception as error:
                problems.append(f"{message}: the gate objects: {error}")
            try:
                self._put(message)
            except Exception as error:
                problems.append(f"{message}: {error}")
        try:
            problems += self._errors()
        except Exception as error:
            problems.append(f"ERRX?: {error}")
        return problems

    def shutdown(self) -> None:
        """Make the outputs safe; pymeasure calls this at the end of a `with` block."""
        self.safe()
        super().shutdown()
