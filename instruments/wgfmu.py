"""Pulses and reads in one pattern: the B1530A waveform generator and fast measurement unit (WGFMU) of a B1500A.

A WGFMU isn't programmed by FLEX messages: the language between it and the analyzer is not published. Its maker gives a
library instead (`wgfmu.dll` for Windows, with a header `wgfmu.h`, both in the B1530A User's Guide). Public are
the library's functions, constants, parameter ranges and error codes; nothing beneath them. So the driver stands on a
protocol, `WgfmuLibrary`, that has the library's functions under Python names (`WGFMU_createPattern` is
`create_pattern`) and raises `WgfmuError` where they return a negative code. There are two of them: the vendor's, bound
by `instruments.wgfmu_library` where it is installed, and the twin's, `instruments.twin.wgfmu`.

What hasn't been tried without a laboratory: the vendor's library itself (its binding is tested against a compiled
stand-in with the header's signatures), and how the real unit's current settles after a change of level.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from instruments.errors import LimitError
from instruments.limits import Limits, Range
from instruments.wgfmu_functions import (
    CHANNEL_NOT_FOUND,
    TICK,
    CurrentRange,
    EventData,
    Floats,
    ForceRange,
    MeasureMode,
    OperationMode,
    WgfmuError,
    WgfmuLibrary,
)


@dataclass(frozen=True)
class Sampling:
    """When a channel measures within a waveform.

    Attributes:
        time: of the first point, s from the waveform's start.
        points: how many, >= 1.
        interval: between them, 10 ns..1.34 s.
        average: over which each is taken, 10 ns..20 ms, at most `interval` (0: one conversion).
    """

    time: float
    points: int = 1
    interval: float = TICK
    average: float = 0.0


@dataclass(frozen=True)
class Waveform:
    """What one channel plays and measures.

    Attributes:
        times: corners, s, rising from 0, multiples of 10 ns.
        volts: at the corners, straight lines between them.
        samplings: what it measures on the way, in order.
    """

    times: tuple[float, ...]
    volts: tuple[float, ...]
    samplings: tuple[Sampling, ...] = ()

    def __post_init__(self) -> None:
        rising = all(b - a > TICK / 2 for a, b in zip(self.times, self.times[1:], strict=False))
        if len(self.times) != len(self.volts) or len(self.times) < 2 or self.times[0] != 0 or not rising:
            raise LimitError(
                "WGFMU: a waveform needs as many times as volts, two at least, from 0 s on, 10 ns apart or more"
            )
        if not all(map(math.isfinite, (*self.times, *self.volts))):
            raise LimitError("WGFMU: a waveform's times and volts must be finite numbers")

    @classmethod
    def pulses(
        cls,
        steps: Sequence[tuple[float, float]],
        edge: float = 100e-9,
        rest: float = 1e-6,
        read: Sequence[int] = (),
        average: float = 1e-6,
    ) -> "Waveform":
        """Pulses from 0 V, one after the other.

        Args:
            steps: (volts, width in s) of each pulse; the width is that between the middles of its edges.
            edge: rise and fall, s.
            rest: at 0 V before each pulse and after the last, s.
            read: numbers of the pulses in which the current is measured, over `average` before the trailing edge.
            average: s.
        """
        times, volts, samplings = [0.0], [0.0], []
        for number, (level, width) in enumerate(steps):
            begin = times[-1] + rest
            if width <= edge:
                raise LimitError(f"WGFMU: a pulse of {width:g} s has no top with edges of {edge:g} s")
            times += [begin, begin + edge, begin + width, begin + width + edge]
            volts += [0.0, level, level, 0.0]
            if number in read:
                if average > width - edge:
                    raise LimitError(f"WGFMU: can't average over {average:g} s on a pulse of {width:g} s")
                samplings.append(Sampling(begin + width - average, 1, max(average, TICK), average))
        return cls((*times, times[-1] + rest), (*volts, 0.0), tuple(samplings))

    def longest_beyond(self, inner: Range) -> float:
        """The longest time, s, that it stays outside a range of voltages; edges count in full."""
        longest, since = 0.0, None
        for k, level in enumerate(self.volts):
            if not inner.low <= level <= inner.high:
                since = self.times[max(k - 1, 0)] if since is None else since
                longest = max(longest, self.times[min(k + 1, len(self.times) - 1)] - since)
            else:
                since = None
        return longest


@dataclass(frozen=True, eq=False)
class Trace:
    """What a channel measured: times from the start (s) and amps, each of shape (points,)."""

    times: Floats = field(default_factory=lambda: np.zeros(0))
    amps: Floats = field(default_factory=lambda: np.zeros(0))


class Wgfmu:
    """Plays waveforms on several channels at once and hands back what they measured.

    A WGFMU has no current compliance: it gives up to 10 mA, and only the gate of a 1T1R cell bounds a SET.

    Args:
        library: the vendor's, or the twin's.
        channels: channel -> line ("bit_line", "source_line", "word_line").
        limits: what the lines stand; every level is checked before anything is sent.
    """

    def __init__(self, library: WgfmuLibrary, channels: Mapping[int, str], limits: Limits) -> None:
        self.library, self.channels, self.limits = library, dict(channels), limits

    def open(self, address: str) -> None:
        """Connect to the analyzer and reset its WGFMU channels.

        Raises:
            WgfmuError: nobody answers, or a channel of ours isn't there.
        """
        self.library.open_session(address)
        missing = sorted(set(self.channels) - set(self.library.channel_ids()))
        if missing:
            self.library.close_session()
            raise WgfmuError(CHANNEL_NOT_FOUND, f"{missing[0]} at {address}")
        self.library.initialize()

    def close(self) -> None:
        """Open the outputs and give the analyzer back."""
        try:
            self.safe()
        finally:
            self.library.close_session()

    def safe(self) -> None:
        """Stop, and open every output: the remote switches pass the SMUs on again."""
        self.library.initialize()

    def play(self, waveforms: Mapping[int, Waveform], current_range: CurrentRange, loops: int = 1) -> dict[int, Trace]:
        """Play waveforms on several channels at once, from their common start, and wait for the end.

        Args:
            waveforms: by channel.
            current_range: in which currents are measured.
            loops: how often, 1 or more.

        Returns:
            What each channel measured (nothing, for one without samplings). The outputs stay connected at the
            waveforms' last levels.

        Raises:
            LimitError: a level is outside the limits of its line, or the channel isn't wired; nothing was sent.
            WgfmuError: the library refuses.
        """
        for channel, waveform in waveforms.items():
            line = self.channels.get(channel)
            if line is None:
                raise LimitError(f"WGFMU: channel {channel} is wired to no line; nothing was sent")
            allowed: Range = getattr(self.limits, line)
            for level in waveform.volts:
                allowed.check(level, f"WGFMU channel {channel}, {line.replace('_', ' ')}")
            if line != "word_line":
                self.limits.pulse_width.check(
                    max(waveform.longest_beyond(self.limits.read), self.limits.pulse_width.low),
                    f"WGFMU channel {channel}: time beyond read voltages",
                )
        lib = self.library
        lib.clear()
        for channel, waveform in waveforms.items():
            self._load(channel, waveform, current_range, loops)
        lib.execute()
        lib.wait_until_completed()
        traces = {}
        for channel, waveform in waveforms.items():
            traces[channel] = Trace()
            if waveform.samplings:
                there, _ = lib.measure_value_size(channel)
                traces[channel] = Trace(*lib.measure_values(channel, 0, there))
        return traces

    def _load(self, channel: int, waveform: Waveform, current_range: CurrentRange, loops: int) -> None:
        lib, name = self.library, f"channel{channel}"
        lib.set_operation_mode(channel, OperationMode.FAST_IV)
        lib.set_force_voltage_range(channel, ForceRange.AUTO)
        lib.set_measure_mode(channel, MeasureMode.CURRENT)
        lib.set_measure_current_range(channel, current_range)
        lib.set_measure_enabled(channel, bool(waveform.samplings))
        lib.create_pattern(name, waveform.volts[0])
        lib.add_vectors(name, np.diff(waveform.times).tolist(), waveform.volts[1:])
        for number, s in enumerate(waveform.samplings):
            lib.set_measure_event(name, f"read{number}", s.time, s.points, s.interval, s.average, EventData.AVERAGED)
        lib.add_sequence(channel, name, loops)
        lib.connect(channel)
