"""The WGFMU's instrument library for a simulated B1500A: the functions of the maker's, played on the bench's wires.

`TwinWgfmu(manager.visalib)` stands where `wgfmu_library.load()` stands on a real bench. Beyond what `WgfmuLibrary` asks
for it has the setup checks, pattern operations and delays of the public header, under the same names.

`execute` returns when the sequences are over (the bench's clock has run along), so a status is never RUNNING and
nothing can be aborted half-way; the real library returns at once.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from pyvisa.errors import Error as VisaError

from instruments.twin.panels.b1500a_wgfmu import MOST_PIECES, WgfmuBank, WgfmuChannel, pieces
from instruments.twin.wgfmu_patterns import MOST_LOOPS, MOST_VOLTS, MeasureEvent, Pattern, checked, named, ticks
from instruments.wgfmu_functions import (
    CHANNEL_NOT_FOUND,
    COMMUNICATION,
    CONTEXT,
    NOT_READY,
    NOT_RUNNING,
    NOT_SUPPORTED,
    OUT_OF_RANGE,
    PATTERN_EXISTS,
    PATTERN_NOT_FOUND,
    TICK,
    CurrentRange,
    Floats,
    ForceRange,
    MeasureMode,
    OperationMode,
    Status,
    VoltageRange,
    WgfmuError,
)

DELAY_STEP = 625e-12
_SPANS = {
    ForceRange.V3: (-3.0, 3.0), ForceRange.V5: (-5.0, 5.0),
    ForceRange.V10_NEGATIVE: (-10.0, 0.0), ForceRange.V10_POSITIVE: (0.0, 10.0),
}  # fmt: skip
_RUNS = (OperationMode.FAST_IV, OperationMode.PG)


class Instruments(Protocol):
    """What is wanted of the simulated VISA library: its devices by resource name."""

    @property
    def instruments(self) -> Any:
        """A mapping to devices, each with its `panel`."""
        ...


class TwinWgfmu:
    """A `WgfmuLibrary` on a twin."""

    def __init__(self, visa: Instruments) -> None:
        """`visa`: the `visalib` of a resource manager for `...@twin`."""
        self._visa = visa
        self._bank: WgfmuBank | None = None
        self.clear()

    # Sessions

    def open_session(self, address: str) -> None:
        """WGFMU_openSession; -5 if no simulated B1500A with a WGFMU is there."""
        try:
            panel = self._visa.instruments[address].panel
        except (KeyError, VisaError):
            panel = None
        bank = getattr(panel, "wgfmus", None)
        if not isinstance(bank, WgfmuBank) or not bank.units:
            raise WgfmuError(COMMUNICATION, f"no B1530A at {address}")
        self._bank = bank

    def close_session(self) -> None:
        """WGFMU_closeSession."""
        self._bank = None

    @property
    def bank(self) -> WgfmuBank:
        """The analyzer's modules; -5 without a session."""
        if self._bank is None:
            raise WgfmuError(COMMUNICATION, "no session is open")
        return self._bank

    def initialize(self) -> None:
        """WGFMU_initialize."""
        self.bank.reset()
        self._results.clear()

    def clear(self) -> None:
        """WGFMU_clear."""
        self._patterns: dict[str, Pattern] = {}
        self._sequences: dict[int, list[tuple[str, int]]] = {}
        self._results: dict[int, tuple[Floats, Floats]] = {}
        self._ran: float | None = None

    def channel_ids(self) -> list[int]:
        """WGFMU_getChannelIds."""
        return list(self.bank.units)

    def _unit(self, channel: int) -> WgfmuChannel:
        unit = self.bank.units.get(channel)
        if unit is None:
            raise WgfmuError(CHANNEL_NOT_FOUND, str(channel))
        return unit

    # Channels

    def _choose(self, channel: int, name: str, kind: Callable[[int], Any], value: int) -> None:
        unit = self._unit(channel)
        try:
            chosen = kind(value)
        except ValueError:
            raise WgfmuError(OUT_OF_RANGE, f"{name.replace('_', ' ')} {value}") from None
        setattr(unit, name, chosen)
        self._results.pop(channel, None)

    def set_operation_mode(self, channel: int, mode: int) -> None:
        """WGFMU_setOperationMode."""
        self._choose(channel, "mode", OperationMode, mode)

    def set_force_voltage_range(self, channel: int, force_range: int) -> None:
        """WGFMU_setForceVoltageRange."""
        self._choose(channel, "force_range", ForceRange, force_range)

    def set_measure_mode(self, channel: int, mode: int) -> None:
        """WGFMU_setMeasureMode; for currents the voltage range becomes 5 V."""
        self._choose(channel, "measure", MeasureMode, mode)
        if mode == MeasureMode.CURRENT:
            self._unit(channel).voltage_range = VoltageRange.V5

    def set_measure_voltage_range(self, channel: int, voltage_range: int) -> None:
        """WGFMU_setMeasureVoltageRange."""
        self._choose(channel, "voltage_range", VoltageRange, voltage_range)

    def set_measure_current_range(self, channel: int, current_range: int) -> None:
        """WGFMU_setMeasureCurrentRange."""
        self._choose(channel, "current_range", CurrentRange, current_range)

    def set_measure_enabled(self, channel: int, enabled: bool) -> None:
        """WGFMU_setMeasureEnabled."""
        self._unit(channel).enabled = bool(enabled)

    def set_force_delay(self, channel: int, delay: float) -> None:
        """WGFMU_setForceDelay: -50..50 ns, in 625 ps steps."""
        self._unit(channel).force_delay = round(checked(delay, -50e-9, 50e-9, "delay") / DELAY_STEP) * DELAY_STEP

    def set_measure_delay(self, channel: int, delay: float) -> None:
        """WGFMU_setMeasureDelay: -50..50 ns, in 625 ps steps."""
        self._unit(channel).measure_delay = round(checked(delay, -50e-9, 50e-9, "delay") / DELAY_STEP) * DELAY_STEP

    def set_trigger_out_mode(self, channel: int, mode: int, polarity: int) -> None:
        """WGFMU_setTriggerOutMode: 8000..8004, 8100 or 8101; kept, without effect."""
        if mode not in range(8000, 8005) or polarity not in (8100, 8101):
            raise WgfmuError(OUT_OF_RANGE, f"trigger {mode}, {polarity}")
        self._unit(channel).trigger = (mode, polarity)

    def connect(self, channel: int) -> None:
        """WGFMU_connect."""
        self.bank.switch(self._unit(channel), True)

    def disconnect(self, channel: int) -> None:
        """WGFMU_disconnect."""
        self.bank.switch(self._unit(channel), False)

    # Patterns

    def pattern(self, name: str) -> Pattern:
        """A pattern by name; -2 or -10."""
        found = self._patterns.get(named(name))
        if found is None:
            raise WgfmuError(PATTERN_NOT_FOUND, name)
        return found

    def _new(self, name: str, pattern: Pattern) -> None:
        if named(name) in self._patterns:
            raise WgfmuError(PATTERN_EXISTS, name)
        self._patterns[name] = pattern

    def create_pattern(self, pattern: str, volts: float) -> None:
        """WGFMU_createPattern."""
        self._new(pattern, Pattern.at(volts))

    def add_vector(self, pattern: str, duration: float, volts: float) -> None:
        """WGFMU_addVector."""
        self.add_vectors(pattern, [duration], [volts])

    def add_vectors(self, pattern: str, durations: Sequence[float], volts: Sequence[float]) -> None:
        """WGFMU_addVectors."""
        self.pattern(pattern).add(durations, volts)

    def set_vector(self, pattern: str, time: float, volts: float) -> None:
        """WGFMU_setVector."""
        self.pattern(pattern).put(time, volts)

    def create_merged_pattern(self, pattern: str, first: str, second: str, axis: int) -> None:
        """WGFMU_createMergedPattern; events are not copied."""
        self._new(pattern, self.pattern(first).merged(self.pattern(second), axis))

    def create_multiplied_pattern(self, pattern: str, source: str, time: float, volts: float) -> None:
        """WGFMU_createMultipliedPattern; events are not copied."""
        self._new(pattern, self.pattern(source).multiplied(time, volts))

    def create_offset_pattern(self, pattern: str, source: str, time: float, volts: float) -> None:
        """WGFMU_createOffsetPattern; events are not copied."""
        self._new(pattern, self.pattern(source).shifted(time, volts))

    def set_measure_event(
        self, pattern: str, event: str, time: float, points: int, interval: float, average: float, data: int
    ) -> None:
        """WGFMU_setMeasureEvent."""
        found = self.pattern(pattern)
        new = MeasureEvent.checked(event, time, points, interval, average, data, found.end)
        ends = new.start + (new.points - 1) * new.interval + max(1, new.average)
        # As the library does, with a warning: an event overwrites those it overlaps.
        found.measures = [
            e for e in found.measures
            if e.start >= ends or e.start + (e.points - 1) * e.interval + max(1, e.average) <= new.start
        ] + [new]  # fmt: skip

    def set_range_event(self, pattern: str, event: str, time: float, current_range: int) -> None:
        """WGFMU_setRangeEvent."""
        found = self.pattern(pattern)
        named(event)
        if current_range not in tuple(CurrentRange):
            raise WgfmuError(OUT_OF_RANGE, f"current range {current_range}")
        at = ticks(checked(time, 0.0, found.end * TICK, "time"))
        found.ranges = [r for r in found.ranges if r[0] != at] + [(at, CurrentRange(current_range))]

    def set_trigger_out_event(self, pattern: str, event: str, time: float, duration: float) -> None:
        """WGFMU_setTriggerOutEvent; kept, without effect."""
        found = self.pattern(pattern)
        named(event)
        at = ticks(checked(time, 0.0, found.end * TICK, "time"))
        found.triggers.append((at, ticks(checked(duration, 0.0, found.end * TICK, "duration"))))

    def pattern_force_values(self, pattern: str) -> tuple[Floats, Floats]:
        """WGFMU_getPatternForceValues: corners, s and V."""
        found = self.pattern(pattern)
        return np.array(found.times) * TICK, np.array(found.volts)

    def pattern_interpolated_force_value(self, pattern: str, time: float) -> float:
        """WGFMU_getPatternInterpolatedForceValue, V."""
        found = self.pattern(pattern)
        return float(found.level([checked(time, 0.0, found.end * TICK, "time") / TICK])[0])

    # Sequences

    def add_sequence(self, channel: int, pattern: str, loops: float) -> None:
        """WGFMU_addSequence; loops are rounded."""
        self._unit(channel)
        self.pattern(pattern)
        count = round(checked(loops, 1, MOST_LOOPS, "loops"))
        self._sequences.setdefault(channel, []).append((pattern, count))
        self._results.pop(channel, None)

    def execute(self) -> None:
        """WGFMU_execute, to the end."""
        bank = self.bank
        units = [u for u in bank.units.values() if u.connected and u.mode in _RUNS]
        for unit in units:
            unit.sequence = [(self.pattern(name), count) for name, count in self._sequences.get(unit.number, [])]
            self._check(unit)
        if sum(pieces(u.sequence) for u in units) > MOST_PIECES:
            raise WgfmuError(CONTEXT, f"the twin plays at most {MOST_PIECES} corners and values at a time")
        for unit in units:
            bank.apply(unit)
        begun = bank.bench.clock.now()
        for number, values in bank.play(units).items():
            times, readings = zip(*values, strict=True) if values else ((), ())
            self._results[number] = np.array(times, dtype=np.float64), np.array(readings, dtype=np.float64)
        self._ran = bank.bench.clock.now() - begun if units else None

    def _check(self, unit: WgfmuChannel) -> None:
        for pattern, _ in unit.sequence:
            if pattern.end == 0:
                raise WgfmuError(CONTEXT, f"channel {unit.number}: a pattern without a vector")
            currents = bool(pattern.measures) and unit.enabled and unit.measure == MeasureMode.CURRENT
            if currents and unit.mode == OperationMode.PG:
                raise WgfmuError(CONTEXT, f"channel {unit.number} can't measure currents in PG mode")
            low, high = self._span(unit)
            for volts in pattern.volts:
                if not low <= volts <= high:
                    raise WgfmuError(CONTEXT, f"channel {unit.number}: {volts:g} V is not in {low:g} to {high:g} V")

    def _span(self, unit: WgfmuChannel) -> tuple[float, float]:
        widest = (-5.0, 5.0) if unit.mode == OperationMode.PG else (-MOST_VOLTS, MOST_VOLTS)
        return _SPANS.get(unit.force_range, widest)

    def update(self) -> None:
        """WGFMU_update: settings take effect, outputs go to their patterns' first levels."""
        for unit in self.bank.units.values():
            if unit.mode in _RUNS:
                self.bank.apply(unit)
                if sequence := self._sequences.get(unit.number):
                    self.bank.force(unit, self.pattern(sequence[0][0]).volts[0])

    def wait_until_completed(self) -> None:
        """WGFMU_waitUntilCompleted; -13 if nothing was executed."""
        if self._ran is None:
            raise WgfmuError(NOT_RUNNING)

    def abort(self) -> None:
        """WGFMU_abort; whatever was executed is over."""
        _ = self.bank

    def status(self) -> tuple[int, float, float]:
        """WGFMU_getStatus."""
        if self._ran is None:
            return Status.IDLE, 0.0, 0.0
        return Status.COMPLETED, self._ran, self._ran

    # Data

    def measure_value_size(self, channel: int) -> tuple[int, int]:
        """WGFMU_getMeasureValueSize."""
        self._unit(channel)
        count = len(self._results[channel][0]) if channel in self._results else 0
        return count, count

    def measure_values(self, channel: int, offset: int, size: int) -> tuple[Floats, Floats]:
        """WGFMU_getMeasureValues; -14 before there are any, -1 for an offset that there isn't."""
        self._unit(channel)
        if channel not in self._results:
            raise WgfmuError(NOT_READY)
        times, values = self._results[channel]
        if not 0 <= offset < max(1, len(times)) or size < 0:
            raise WgfmuError(OUT_OF_RANGE, f"offset {offset} of {len(times)} values")
        return times[offset : offset + size], values[offset : offset + size]

    def dc_force_voltage(self, channel: int, volts: float) -> None:
        """WGFMU_dcforceVoltage; -4 outside DC mode."""
        unit = self._dc(channel)
        low, high = self._span(unit)
        self.bank.apply(unit)
        self.bank.force(unit, checked(volts, low, high, "voltage"))

    def dc_measure_value(self, channel: int) -> float:
        """WGFMU_dcmeasureValue; -4 outside DC mode."""
        return self.dc_measure_averaged_value(channel, 1, 1)

    def dc_measure_averaged_value(self, channel: int, points: int, interval: int) -> float:
        """WGFMU_dcmeasureAveragedValue: 1..65535 points, each 1..65535 conversions of 5 ns apart."""
        unit = self._dc(channel)
        seconds = checked(points, 1, 65535, "points") * checked(interval, 1, 65535, "interval") * 5e-9
        self.bank.apply(unit)
        return self.bank.reading(unit, self.bank.current(unit, seconds), points * 5e-9, unit.current_range)

    def _dc(self, channel: int) -> WgfmuChannel:
        unit = self._unit(channel)
        if unit.mode != OperationMode.DC:
            raise WgfmuError(NOT_SUPPORTED, f"channel {channel} is not in DC mode")
        return unit
