"""Keysight InfiniiVision X-Series oscilloscopes (1000 to 6000 X, SCPI).

Certain (programmer's guides): every header used here; WORD data are unsigned 16-bit codes of which 0 is a hole, 1 is
clipped low and 0xFFFF clipped high; `:AER?` and `:TER?` are cleared by reading; a reference at the centre puts the
screen's middle `position` seconds after the trigger.
Uncertain: how each series rounds ranges and time bases, and how many points it really gives. Hence both are read back:
a range that came out smaller is an error, and the preamble has the last word on increments and points.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from instruments.clock import Clock
from instruments.errors import InstrumentError, LimitError
from instruments.oscilloscope import (
    Capture,
    ChannelSetup,
    Codes,
    MessageResource,
    ScopeLink,
    Timebase,
    Trigger,
    three_digits_up,
    wait_until,
)

RUN = 8
"""Bit of the operation condition register: acquiring, or waiting for a trigger."""
LOWEST, HIGHEST = -32767, 32767
"""Signed forms of the codes for clipped (and -32768 for a hole)."""
_POINTS = (100, 250, 500, *(m * 10**k for k in (3, 4, 5, 6) for m in (1, 2, 5)))
_MODEL = re.compile(r"(AGILENT|KEYSIGHT) TECHNOLOGIES,(DSO|MSO|EDU)-?X", re.IGNORECASE)


@dataclass(frozen=True)
class _Setup:
    channels: tuple[tuple[int, ChannelSetup], ...]
    timebase: Timebase
    trigger: Trigger
    high_resolution: bool


class InfiniiVision:
    """An InfiniiVision; fulfils `Oscilloscope`.

    Args:
        resource: open pyvisa resource.
        clock: where waiting happens.
        channels: how many inputs it has.
    """

    def __init__(self, resource: MessageResource, clock: Clock, channels: int = 4) -> None:
        self._link = ScopeLink(resource, "InfiniiVision")
        self._clock = clock
        self._inputs = channels
        self._setup: _Setup | None = None
        self._blank: Capture | None = None
        self._earliest = 0.0

    def identify(self) -> str:
        """The identification string.

        Raises:
            InstrumentError: it is no InfiniiVision X-Series.
        """
        identity = self._link.ask("*IDN?")
        if _MODEL.match(identity) is None:
            raise InstrumentError(f"expected an InfiniiVision, found {identity!r}; check the station file's address")
        return identity

    def settings(self) -> dict[str, str]:
        """What the instrument is set to, as it says, by query. Changes nothing."""
        channels = [
            f":CHANnel{n}:{name}?" for n in range(1, self._inputs + 1) for name in ("DISPlay", "RANGe", "OFFSet")
        ]
        queries = [":TIMebase:RANGe?", ":TRIGger:EDGE:SOURce?", ":TRIGger:EDGE:LEVel?", *channels]
        return {query: self._link.ask(query) for query in queries}

    def configure(
        self,
        channels: Mapping[int, ChannelSetup],
        timebase: Timebase,
        trigger: Trigger,
        *,
        high_resolution: bool = True,
    ) -> None:
        """Set everything up (see `Oscilloscope`)."""
        setup = _Setup(tuple(sorted(channels.items())), timebase, trigger, high_resolution)
        if setup == self._setup:
            return
        named = [*channels, *([] if trigger.source == "EXT" else [trigger.source])]
        if not channels or not all(1 <= n <= self._inputs for n in named):
            raise LimitError(f"InfiniiVision: channels {named} are not among 1 to {self._inputs}")
        self._setup = self._blank = None
        for message in self._messages(setup):
            self._link.write(message)
        self.check_errors()
        self._check_ranges(setup)
        self._setup = setup

    def _messages(self, setup: _Setup) -> list[str]:
        shown = dict(setup.channels)
        time, trigger = setup.timebase, setup.trigger
        points = next(p for p in _POINTS if p >= time.points)
        source = "EXTernal" if trigger.source == "EXT" else f"CHANnel{trigger.source}"
        slope = {"rising": "POSitive", "falling": "NEGative"}[trigger.slope]
        messages = ["*CLS;:STOP"]
        for n in range(1, self._inputs + 1):
            if n in shown:
                screen = f"RANGe {three_digits_up(shown[n].range_v):.6G};OFFSet {shown[n].offset_v:.6G}"
                messages.append(f":CHANnel{n}:DISPlay 1;COUPling DC;INVert 0;BWLimit 0;{screen}")
            else:
                messages.append(f":CHANnel{n}:DISPlay 0")
        duration = three_digits_up(time.duration_s)
        position = duration / 2 - time.pre_trigger_s
        messages += [
            f":TIMebase:MODE MAIN;REFerence CENTer;RANGe {duration:.6G};POSition {position:.9G}",
            f":TRIGger:MODE EDGE;SWEep NORMal;:TRIGger:EDGE:SOURce {source};SLOPe {slope};LEVel {trigger.level_v:.6G}",
            f":ACQuire:TYPE {'HRESolution' if setup.high_resolution else 'NORMal'}",
            f":WAVeform:FORMat WORD;UNSigned 1;BYTeorder LSBFirst;POINts:MODE RAW;:WAVeform:POINts {points}",
        ]
        return messages

    def _check_ranges(self, setup: _Setup) -> None:
        asked = {f":CHANnel{n}:RANGe?": channel.range_v for n, channel in setup.channels}
        asked[":TIMebase:RANGe?"] = setup.timebase.duration_s
        given = self._link.numbers(";".join(asked), ";")
        for (query, wanted), got in zip(asked.items(), given, strict=True):
            if got < wanted * 0.99:
                raise InstrumentError(f"InfiniiVision: {query} {got:g} where {wanted:g} was asked for; ask for less")

    def check_errors(self) -> None:
        """Read the error queue until it is empty.

        Raises:
            InstrumentError: it wasn't.
        """
        problems: list[str] = []
        while not (reply := self._link.ask(":SYSTem:ERRor?")).startswith(("+0,", "0,")):
            problems.append(reply)
            if len(problems) > 30:
                break
        if problems:
            self._setup = None
            raise InstrumentError(f"InfiniiVision: {'; '.join(problems)}")

    def arm(self) -> None:
        """Wait for one trigger (see `Oscilloscope`)."""
        setup = self._require_setup()
        self._link.write(":SINGle")
        before = setup.timebase.pre_trigger_s
        self._earliest = self._clock.now() + setup.timebase.duration_s
        self._clock.sleep(before)
        if not wait_until(self._clock, lambda: self._bit(":AER?", 1), 1.0 + before, 2e-3):
            raise InstrumentError("InfiniiVision: it does not arm its trigger; look at the instrument")

    def wait(self, timeout: float) -> None:
        """Until the record is complete (see `Oscilloscope`)."""
        setup = self._require_setup()
        period = max(1e-3, setup.timebase.duration_s / 100)

        def complete() -> bool:
            return not self._bit(":OPERegister:CONDition?", RUN)

        # What was armed at that time can't be complete before its own length is over.
        if not wait_until(self._clock, complete, timeout, period, self._earliest):
            self._link.write(":STOP")
            raise InstrumentError(
                f"InfiniiVision: no complete record within {timeout:g} s; is the trigger's cable on "
                f"{setup.trigger.source}, is {setup.trigger.level_v:g} V within its swing?"
            )

    def _bit(self, query: str, mask: int) -> bool:
        return bool(int(self._link.numbers(query)[0]) & mask)

    def read(self) -> Capture:
        """The record (see `Oscilloscope`): one block a channel; the preambles only once after a change of set-up."""
        setup = self._require_setup()
        if self._blank is None:
            self._blank = self._preambles(setup)
        blank = self._blank
        codes: Codes = np.empty(blank.codes.shape, np.int16)
        for row, n in enumerate(blank.channels):
            words = self._link.words(f":WAVeform:SOURce CHANnel{n};:WAVeform:DATA?", codes.shape[1], "H")
            np.bitwise_xor(words, 0x8000, out=codes[row].view(np.uint16))
        return replace(blank, codes=codes)

    def _preambles(self, setup: _Setup) -> Capture:
        channels = tuple(n for n, _ in setup.channels)
        rows = [self._link.numbers(f":WAVeform:SOURce CHANnel{n};:WAVeform:PREamble?") for n in channels]
        if any(len(row) != 10 or row[0] != 1 or row[2:7] != rows[0][2:7] for row in rows):
            raise InstrumentError(f"InfiniiVision: preambles {rows} are not ten fields for WORD data of one time axis")
        _, _, points, _, x_increment, x_origin, x_reference, *_ = rows[0]
        y = np.array([row[7:] for row in rows]).T
        empty: Codes = np.empty((len(channels), int(points)), np.int16)
        # Codes are kept as signed numbers.
        first = x_origin - x_reference * x_increment
        return Capture(empty, channels, y[0], y[1], y[2] - 0x8000, x_increment, first, LOWEST, HIGHEST)

    def safe(self) -> list[str]:
        """Stop acquiring; gives what went wrong. The next `configure` sends everything."""
        self._setup = self._blank = None
        problems: list[str] = []
        for step in (self._link.clear, lambda: self._link.write(":STOP"), self.check_errors):
            try:
                step()
            except Exception as error:
                problems.append(str(error))
        return problems

    def _require_setup(self) -> _Setup:
        if self._setup is None:
            raise InstrumentError("InfiniiVision: configure() first")
        return self._setup
