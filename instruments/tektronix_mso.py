"""Tektronix 4, 5 and 6 Series MSO oscilloscopes.

Certain (programmer manuals, Tektronix's published command lists): every header used here; V = YZERO + YMULT (code -
YOFF); events are asked for by `*ESR?` and then `ALLEv?`; ACQUIRE:STATE is 0 once a single sequence is complete.
Uncertain: what sample rates there are, hence the rate is read back and the record made as long as it takes; and
whether XZERO is the time of the first point or, with PT_OFF, of the trigger: of the two readings the one is taken that
agrees with the pre-trigger time that was set, and none other. Clipped samples have no code of their own; the first and
the last code of the 12-bit converter are taken for them.
"""

import math
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

DIVISIONS = 10
LOWEST, HIGHEST = -32768, 32752
_MODEL = re.compile(r"TEKTRONIX,(MSO[456]|LPD6)", re.IGNORECASE)
_COMMAND_ERRORS = 0b111100
"""Bits of the standard event register: command, execution, device and query errors."""
_SCALES = ("NR_Pt", "XINcr", "XZEro", "PT_Off", "YMUlt", "YOFf", "YZEro")


@dataclass(frozen=True)
class _Setup:
    channels: tuple[tuple[int, ChannelSetup], ...]
    timebase: Timebase
    trigger: Trigger
    high_resolution: bool


class TektronixMSO:
    """A Tektronix MSO; fulfils `Oscilloscope`.

    Args:
        resource: open pyvisa resource.
        clock: where waiting happens.
        channels: how many inputs it has.
    """

    def __init__(self, resource: MessageResource, clock: Clock, channels: int = 4) -> None:
        self._link = ScopeLink(resource, "Tektronix MSO")
        self._clock = clock
        self._inputs = channels
        self._setup: _Setup | None = None
        self._blank: Capture | None = None
        self._earliest = 0.0

    def identify(self) -> str:
        """The identification string.

        Raises:
            InstrumentError: it is no 4, 5 or 6 Series MSO.
        """
        identity = self._link.ask("*IDN?")
        if _MODEL.search(identity) is None:
            raise InstrumentError(f"expected a Tektronix MSO, found {identity!r}; check the station file's address")
        return identity

    def settings(self) -> dict[str, str]:
        """What the instrument is set to, as it says, by query. Changes nothing."""
        channels = [f"CH{n}:{name}?" for n in range(1, self._inputs + 1) for name in ("SCAle", "OFFSet")]
        queries = ["HORizontal:SCAle?", "TRIGger:A:EDGE:SOUrce?", *channels]
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
            raise LimitError(f"Tektronix MSO: channels {named} are not among 1 to {self._inputs}")
        self._setup = self._blank = None
        for message in self._messages(setup):
            self._link.write(message)
        self._set_times(timebase)
        self.check_errors()
        self._check_scales(setup)
        self._setup = setup

    def _messages(self, setup: _Setup) -> list[str]:
        shown, trigger = dict(setup.channels), setup.trigger
        source, level = "AUXiliary", "TRIGger:AUXLevel"
        if trigger.source != "EXT":
            source, level = f"CH{trigger.source}", f"TRIGger:A:LEVel:CH{trigger.source}"
        slope = {"rising": "RISe", "falling": "FALL"}[trigger.slope]
        messages = ["*CLS;:HEADer 0;:ACQuire:STATE STOP"]
        for n in range(1, self._inputs + 1):
            message = f":DISplay:GLObal:CH{n}:STATE {n in shown:d}"
            if n in shown:
                scale = three_digits_up(shown[n].range_v / DIVISIONS)
                message += (
                    f";:CH{n}:COUPling DC;INVert 0;BANdwidth FULl;POSition 0;SCAle {scale:.6G};"
                    f"OFFSet {shown[n].offset_v:.6G}"
                )
            messages.append(message)
        messages += [
            f":TRIGger:A:TYPe EDGE;MODe NORMal;:TRIGger:A:EDGE:SOUrce {source};COUPling DC;SLOpe {slope};"
            f":{level} {trigger.level_v:.6G}",
            f":ACQuire:STOPAfter SEQuence;MODe {'HIRes' if setup.high_resolution else 'SAMple'}",
            ":DATa:ENCdg SRIbinary;WIDth 2;STARt 1;STOP 1000000000",
        ]
        return messages

    def _set_times(self, timebase: Timebase) -> None:
        duration = timebase.duration_s
        self._link.write(
            ":HORizontal:MODe MANual;:HORizontal:MODe:MANual:CONFIGure HORIZontalscale;"
            f":HORizontal:MODe:SAMPLERate {timebase.points / duration:.9G}"
        )
        rate = self._link.numbers(":HORizontal:MODe:SAMPLERate?")[0]
        if rate * duration < 0.99 * timebase.points:
            raise InstrumentError(
                f"Tektronix MSO: {rate:g} samples/s are too few for {timebase.points} points in {duration:g} s"
            )
        length = math.ceil(rate * duration * (1 - 1e-9))
        # In per cent of the record; the record may be a little longer than what was asked for.
        position = 100 * timebase.pre_trigger_s * rate / length
        self._link.write(
            f":HORizontal:MODe:RECOrdlength {length};:HORizontal:DELay:MODe 0;:HORizontal:POSition {position:.9G}"
        )
        given = self._link.numbers(":HORizontal:MODe:RECOrdlength?")[0]
        if given < length:
            raise InstrumentError(f"Tektronix MSO: a record of {given:g} points where {length} were asked for")

    def _check_scales(self, setup: _Setup) -> None:
        given = self._link.numbers(";".join(f":CH{n}:SCAle?" for n, _ in setup.channels), ";")
        for (n, channel), scale in zip(setup.channels, given, strict=True):
            if scale * DIVISIONS < channel.range_v * 0.99:
                raise InstrumentError(
                    f"Tektronix MSO: CH{n} shows {scale * DIVISIONS:g} V where {channel.range_v:g} V were asked for"
                )

    def check_errors(self) -> None:
        """Ask for events.

        Raises:
            InstrumentError: there were errors.
        """
        if int(self._link.numbers("*ESR?")[0]) & _COMMAND_ERRORS:
            self._setup = None
            raise InstrumentError(f"Tektronix MSO: {self._link.ask('ALLEv?')}")

    def arm(self) -> None:
        """Wait for one trigger (see `Oscilloscope`)."""
        setup = self._require_setup()
        self._link.write(":ACQuire:STATE RUN")
        before = setup.timebase.pre_trigger_s
        self._earliest = self._clock.now() + setup.timebase.duration_s
        self._clock.sleep(before)
        if not wait_until(self._clock, lambda: self._link.ask(":TRIGger:STATE?") != "ARMED", 1.0 + before, 2e-3):
            raise InstrumentError("Tektronix MSO: it does not arm its trigger; look at the instrument")

    def wait(self, timeout: float) -> None:
        """Until the record is complete (see `Oscilloscope`)."""
        setup = self._require_setup()
        period = max(1e-3, setup.timebase.duration_s / 100)

        def complete() -> bool:
            return self._link.ask(":ACQuire:STATE?") == "0"

        # What was armed at that time can't be complete before its own length is over.
        if not wait_until(self._clock, complete, timeout, period, self._earliest):
            self._link.write(":ACQuire:STATE STOP")
            raise InstrumentError(
                f"Tektronix MSO: no complete record within {timeout:g} s; is the trigger's cable on "
                f"{'AUX IN' if setup.trigger.source == 'EXT' else setup.trigger.source}, "
                f"is {setup.trigger.level_v:g} V within its swing?"
            )

    def read(self) -> Capture:
        """The record (see `Oscilloscope`): one block a channel; the preambles only once after a change of set-up."""
        setup = self._require_setup()
        if self._blank is None:
            self._blank = self._preambles(setup)
        blank = self._blank
        codes: Codes = np.empty(blank.codes.shape, np.int16)
        for row, n in enumerate(blank.channels):
            codes[row] = self._link.words(f":DATa:SOUrce CH{n};:CURVe?", codes.shape[1], "h")
        return replace(blank, codes=codes)

    def _preambles(self, setup: _Setup) -> Capture:
        channels = tuple(n for n, _ in setup.channels)
        query = ":WFMOutpre:" + ";".join(f"{name}?" for name in _SCALES)
        rows = [self._link.numbers(f":DATa:SOUrce CH{n};{query}", ";") for n in channels]
        if any(len(row) != len(_SCALES) or row[:4] != rows[0][:4] for row in rows):
            raise InstrumentError(f"Tektronix MSO: preambles {rows} are not of one time axis")
        points, step, zero, offset = rows[0][:4]
        first = self._first_time(zero, step, offset, setup.timebase.pre_trigger_s)
        y = np.array([row[4:] for row in rows]).T
        empty: Codes = np.empty((len(channels), int(points)), np.int16)
        return Capture(empty, channels, y[0], y[2], y[1], step, first, LOWEST, HIGHEST)

    def _first_time(self, zero: float, step: float, offset: float, before: float) -> float:
        readings = (zero, zero - offset * step)
        best = min(readings, key=lambda time: abs(time + before))
        if abs(best + before) > 2 * step:
            raise InstrumentError(
                f"Tektronix MSO: the record starts at {readings[0]:g} or {readings[1]:g} s, not at {-before:g} s"
            )
        return best

    def safe(self) -> list[str]:
        """Stop acquiring; gives what went wrong. The next `configure` sends everything."""
        self._setup = self._blank = None
        problems: list[str] = []
        for step in (self._link.clear, lambda: self._link.write(":ACQuire:STATE STOP"), self.check_errors):
            try:
                step()
            except Exception as error:
                problems.append(str(error))
        return problems

    def _require_setup(self) -> _Setup:
        if self._setup is None:
            raise InstrumentError("Tektronix MSO: configure() first")
        return self._setup
