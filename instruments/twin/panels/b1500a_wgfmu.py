"""WGFMU modules (B1530A) of the simulated B1500A: channels, remote switches, and waveforms played on the wires.

A channel's remote-sense and switch unit (RSU) sits in the cable of an SMU: `rsu: "701=1,702=3"` among the panel's
options says in whose. In SMU mode, or disconnected, it passes that SMU on; else the SMU sees an open end. FLEX has no
commands for a WGFMU; `instruments.twin.wgfmu` gives what the maker's library gives.

How a waveform meets the cells: a line between two levels that takes up to 10 us is an edge and acts as a step in its
middle, as with the SPGU's pulses (whose width is that above half amplitude); a slower one is a sweep and acts as a
staircase of 25 mV. The clock runs along, so whatever else happens on the bench happens in between.

A reading's own error is white noise: 47 nA rms for 0.95 us in the 100 uA range (data sheet), falling with the root of
the time, the same share of the range in all ranges (an assumption); 0.1 mV rms likewise for a voltage. Beyond the range
a reading stays at its end. Left out: settling after a step or a range change, the converter's 14 bits (finer than the
noise), delays between force and measurement (kept, without effect), the 50 ohm of PG mode into a cell.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from instruments.clock import NS
from instruments.errors import ConfigError
from instruments.twin.fixture import Reading
from instruments.twin.wgfmu_patterns import CONVERSION, Pattern
from instruments.wgfmu_functions import TICK, CurrentRange, ForceRange, MeasureMode, OperationMode, VoltageRange

if TYPE_CHECKING:
    from instruments.twin.bench import Bench

WGFMU_MODEL = "B1530A"
MOST_AMPS = 10e-3
EDGE, SWEEP_STEP = 10e-6, 25e-3
NOISE_SHARE, NOISE_VOLTS, NOISE_WINDOW = 47e-9 / 100e-6, 1e-4, 0.95e-6
RELAY_SECONDS = 100e-6
MOST_PIECES = 2_000_000
"""Levels and windows that one execution may have; beyond it the simulation would take minutes."""
_TICK_NS = round(TICK * NS)


@dataclass
class WgfmuChannel:
    """One output and its settings; initial ones of the User's Guide."""

    number: int
    smu: int | None
    connected: bool = False
    mode: OperationMode = OperationMode.SMU
    force_range: ForceRange = ForceRange.AUTO
    measure: MeasureMode = MeasureMode.VOLTAGE
    voltage_range: VoltageRange = VoltageRange.V10
    current_range: CurrentRange = CurrentRange.MA10
    enabled: bool = True
    force_delay: float = 0.0
    measure_delay: float = 0.0
    trigger: tuple[int, int] = (8000, 8100)
    volts: float = 0.0
    applied: OperationMode = OperationMode.SMU
    sequence: list[tuple[Pattern, int]] = field(default_factory=list)

    @property
    def drives(self) -> bool:
        """Whether it, not its SMU, is on the line."""
        return self.connected and self.applied != OperationMode.SMU


class Wires:
    """The fixture as the SMUs see it: one whose cable a WGFMU has taken is at an open end."""

    def __init__(self, bench: "Bench") -> None:
        self._fixture = bench.fixture
        self._clock = bench.clock
        self._taken: set[int] = set()
        self._kept: dict[int, tuple[float | None, float]] = {}

    def take(self, smu: int) -> None:
        """The line behind an SMU's cable goes over to a WGFMU."""
        self._taken.add(smu)

    def give_back(self, smu: int) -> None:
        """The SMU is on its line again, with what it forces now."""
        if smu in self._taken:
            self._taken.discard(smu)
            self._fixture.force(smu, *self._kept.get(smu, (None, math.inf)))

    def force(self, channel: int, volts: float | None, compliance: float = math.inf) -> None:
        """As the fixture's."""
        self._kept[channel] = (volts, compliance)
        if channel not in self._taken:
            self._fixture.force(channel, volts, compliance)

    def measure(self, channel: int, integration: float) -> Reading:
        """As the fixture's; nothing flows into an open end."""
        if channel in self._taken:
            self._fixture.dwell(integration)
            return Reading(0.0, False)
        return self._fixture.measure(channel, integration)

    def voltage(self, channel: int) -> float:
        """As the fixture's."""
        if channel in self._taken:
            return self._kept.get(channel, (0.0, 0.0))[0] or 0.0
        return self._fixture.voltage(channel)


@dataclass(frozen=True)
class Window:
    """One point to measure: ns from the start, its length, values it gives, range; where its values go."""

    start: int
    length: int
    values: int
    range: CurrentRange
    place: int


def parse_rsu(text: str, channels: Sequence[int], smus: Sequence[int]) -> dict[int, int]:
    """WGFMU channel -> the SMU in whose cable its RSU sits, from "701=1,702=3"; ConfigError if it can't be."""
    found: dict[int, int] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        left, _, right = (part.strip() for part in item.partition("="))
        pair = (int(left), int(right)) if left.isdecimal() and right.isdecimal() else (0, 0)
        if pair[0] not in channels or pair[1] not in smus or pair[1] in found.values():
            raise ConfigError(
                f"B1500A rsu: {item!r}; write for example '701=1': a WGFMU channel ({', '.join(map(str, channels))}) "
                f"and the SMU ({', '.join(map(str, smus))}) whose cable goes through its switch, each once"
            )
        found[pair[0]] = pair[1]
    return found


class WgfmuBank:
    """All WGFMU channels of the frame."""

    def __init__(self, bench: "Bench", slots: Sequence[int], rsu: str, smus: Sequence[int]) -> None:
        """A module in slot n has channels n01 and n02; `rsu` as in `parse_rsu`."""
        self.bench = bench
        numbers = [slot * 100 + k for slot in slots for k in (1, 2)]
        self.rsu = parse_rsu(rsu, numbers, smus)
        self.wires = Wires(bench)
        self.units = {n: WgfmuChannel(n, self.rsu.get(n)) for n in numbers}

    def reset(self) -> None:
        """Disconnected, SMU mode."""
        for unit in self.units.values():
            self.switch(unit, False)
        self.units = {n: WgfmuChannel(n, self.rsu.get(n)) for n in self.units}

    def switch(self, unit: WgfmuChannel, on: bool) -> None:
        """Close or open an output."""
        if unit.connected != on:
            unit.connected = on
            self._route(unit)
            self.bench.clock.sleep(RELAY_SECONDS)

    def apply(self, unit: WgfmuChannel) -> None:
        """Take over the operation mode."""
        if unit.applied != unit.mode:
            unit.applied = unit.mode
            self._route(unit)

    def force(self, unit: WgfmuChannel, volts: float) -> None:
        """Force a level, limited by what the output can give."""
        unit.volts = volts
        if unit.drives and unit.smu is not None:
            self.bench.fixture.force(unit.smu, volts, MOST_AMPS)

    def _route(self, unit: WgfmuChannel) -> None:
        if unit.smu is None:
            return
        if unit.drives:
            self.wires.take(unit.smu)
            self.force(unit, unit.volts)
        else:
            unit.volts = 0.0
            self.wires.give_back(unit.smu)

    def reading(self, unit: WgfmuChannel, current: float, window: float, scale: CurrentRange) -> float:
        """What a channel reports for a true current (A) over `window` s: V or A by its mode."""
        noise = float(self.bench.rng("b1500a.wgfmu").standard_normal())
        noise *= math.sqrt(NOISE_WINDOW / max(window, CONVERSION))
        if unit.measure == MeasureMode.VOLTAGE:
            most = 5.0 if unit.voltage_range == VoltageRange.V5 else 10.0
            return min(most, max(-most, unit.volts + NOISE_VOLTS * noise))
        return min(scale.amps, max(-scale.amps, current + NOISE_SHARE * scale.amps * noise))

    def current(self, unit: WgfmuChannel, seconds: float) -> float:
        """True current out of a channel, A, averaged over `seconds`, which pass."""
        if unit.smu is None or not unit.drives:
            self.bench.fixture.dwell(seconds)
            return 0.0
        return self.bench.fixture.measure(unit.smu, seconds).current

    def play(self, units: Sequence[WgfmuChannel]) -> dict[int, list[tuple[float, float]]]:
        """Play the channels' sequences at once.

        Returns:
            (time, value) of each channel's measurements; time in s from the start, in the middle of what was averaged.

        Raises:
            ValueError: more than `MOST_PIECES` levels and windows.
        """
        levels = {u.number: list(_staircase(u.sequence)) for u in units}
        windows = {u.number: list(_windows(u)) if u.enabled else [] for u in units}
        results: dict[int, list[tuple[float, float]]] = {
            n: [(0.0, 0.0)] * sum(w.values for w in found) for n, found in windows.items()
        }
        boundaries = {0, *(max((_length(u.sequence) for u in units), default=0),)}
        boundaries |= {t for steps in levels.values() for t, _ in steps}
        boundaries |= {t for found in windows.values() for w in found for t in (w.start, w.start + w.length)}
        pending = {n: list(reversed(steps)) for n, steps in levels.items()}
        waiting = {n: list(reversed(found)) for n, found in windows.items()}
        sums: dict[int, float] = {}
        moments = sorted(boundaries)
        for here, there in zip(moments, [*moments[1:], moments[-1]], strict=True):
            for u in units:
                steps = pending[u.number]
                while steps and steps[-1][0] <= here:
                    self.force(u, steps.pop()[1])
            seconds = (there - here) / NS
            active = [u for u in units if waiting[u.number] and waiting[u.number][-1].start <= here]
            if not active:
                self.bench.fixture.dwell(seconds)
                continue
            for first, u in enumerate(active):
                window = waiting[u.number][-1]
                flowing = self.current(u, 0.0 if first else seconds)
                sums[u.number] = sums.get(u.number, 0.0) + flowing * (there - here)
                if there >= window.start + window.length:
                    waiting[u.number].pop()
                    mean = sums.pop(u.number) / window.length
                    self._store(u, window, mean, results[u.number])
        return results

    def _store(self, unit: WgfmuChannel, window: Window, mean: float, into: list[tuple[float, float]]) -> None:
        if window.values == 1:
            middle = window.start + (window.length // 2 if window.length > _TICK_NS else 0)
            into[window.place] = (middle / NS, self.reading(unit, mean, window.length / NS, window.range))
            return
        for k in range(window.values):
            at = window.start / NS + k * CONVERSION
            into[window.place + k] = (at, self.reading(unit, mean, CONVERSION, window.range))


def _length(sequence: Sequence[tuple[Pattern, int]]) -> int:
    return sum(pattern.end * loops for pattern, loops in sequence) * _TICK_NS


def pieces(sequence: Sequence[tuple[Pattern, int]]) -> int:
    """How many corners and measured values a sequence has."""
    return sum(
        loops * (len(pattern.times) + sum(e.points * e.values for e in pattern.measures)) for pattern, loops in sequence
    )


def _staircase(sequence: Sequence[tuple[Pattern, int]]) -> Iterator[tuple[int, float]]:
    """(ns from the start, volts from then on)."""
    begun = 0
    for pattern, loops in sequence:
        steps = list(_steps(pattern))
        for _ in range(loops):
            yield from ((begun + at, level) for at, level in steps)
            begun += pattern.end * _TICK_NS


def _steps(pattern: Pattern) -> Iterator[tuple[int, float]]:
    yield 0, pattern.volts[0]
    corners = list(zip(pattern.times, pattern.volts, strict=True))
    for (t0, v0), (t1, v1) in itertools.pairwise(corners):
        if v0 == v1:
            continue
        begun, lasts = t0 * _TICK_NS, (t1 - t0) * _TICK_NS
        if (t1 - t0) * TICK <= EDGE * (1 + 1e-9):
            yield begun + lasts // 2, v1
            continue
        count = max(1, math.ceil(abs(v1 - v0) / SWEEP_STEP))
        yield from ((begun + lasts * k // count, v0 + (v1 - v0) * (k + 0.5) / count) for k in range(count))
        yield begun + lasts, v1


def _windows(unit: WgfmuChannel) -> Iterator[Window]:
    begun, place, scale = 0, 0, unit.current_range
    for pattern, loops in unit.sequence:
        changes = sorted(pattern.ranges)
        events = sorted(pattern.measures, key=lambda e: e.start)
        for _ in range(loops):
            ahead = list(changes)
            for event in events:
                for k in range(event.points):
                    at = event.start + k * event.interval
                    while ahead and ahead[0][0] <= at:
                        scale = ahead.pop(0)[1]
                    length = max(1, event.average) * _TICK_NS
                    yield Window(begun + at * _TICK_NS, length, event.values, scale, place)
                    place += event.values
            for _, last in ahead:
                scale = last
            begun += pattern.end * _TICK_NS
