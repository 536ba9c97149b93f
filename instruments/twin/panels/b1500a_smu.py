"""SMUs of the simulated B1500A: output, ranges, A/D converters, and the error a reading carries.

The reading's error is the panel's own (noise and steps of the converter); everything physical comes from the fixture.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from instruments.twin.panels.b1500a_wgfmu import Wires
from instruments.twin.panels.flex import LIMITED, OTHER_LIMITED, OVER_RANGE, FlexError, choice, real, whole

if TYPE_CHECKING:
    from instruments.twin.bench import Bench

CURRENT_RANGES = {9 + k: float(f"1e{k - 11}") for k in range(12)}  # code 9: 10 pA ... 19: 100 mA, 20: 1 A
_VOLTAGE_CODES = {0.5: (5,), 5.0: (50,), 2.0: (11, 20), 20.0: (12, 200), 40.0: (13, 400), 100.0: (14, 1000)}
VOLTAGE_RANGES = {code: volts for volts, codes in {**_VOLTAGE_CODES, 200.0: (15, 2000)}.items() for code in codes}
_MEDIUM = (0.1, 100.0)
SMU_MODELS: Mapping[str, tuple[float, float, float]] = {  # lowest current range, most current, most voltage
    "B1517A": (1e-11, *_MEDIUM),
    "B1511A": (1e-9, *_MEDIUM),
    "B1511B": (1e-9, *_MEDIUM),
    "B1510A": (1e-9, 1.0, 200.0),
}
POWER_ON_COMPLIANCE = 100e-6
PROBE = 10e-3


@dataclass(frozen=True)
class SmuTiming:
    """What an SMU takes time for, seconds.

    `sample` is the shortest measurement of HR/MP/HPSMU (User's Guide, SMU supplemental characteristics: 16 us) and
    `samples_per_cycle`, `unit` (high-resolution converter) come from the AIT tables of the Programming Guide; `line`
    is a 50 Hz mains. `switch`, `settle` and `range_change` are estimates: no published figure was found.
    """

    switch: float = 5e-3
    settle: float = 100e-6
    range_change: float = 500e-6
    sample: float = 16e-6
    samples_per_cycle: int = 128
    unit: float = 80e-6
    line: float = 20e-3


@dataclass(frozen=True)
class SmuAccuracy:
    """Steps and noise of the converters, as fractions of the range.

    Steps: User's Guide and data sheet tables of measurement resolution (100 uA range: 5 nA high-speed, 100 pA
    high-resolution; 2 V: 100 uV and 2 uV). Noise is a stated model: one step rms for one high-speed sample, two
    steps rms for one power line cycle of the other converter, falling with the root of the time.
    """

    fast_step: float = 1 / 20_000
    fine_step: float = 1 / 1_000_000
    fast_noise_steps: float = 1.0
    fine_noise_steps: float = 2.0


@dataclass
class Adc:
    """AIT settings (mode, N) of both converters and auto zero; initial values of the Programming Guide."""

    fast: tuple[int, float] = (0, 1)
    fine: tuple[int, float] = (0, 6)
    pulsed: tuple[int, float] = (0, 1)
    auto_zero: bool = False


@dataclass
class Smu:
    """One SMU channel's settings."""

    channel: int
    model: str
    on: bool = False
    kind: str = "V"
    range_code: int = 0
    level: float = 0.0
    compliance: float = POWER_ON_COMPLIANCE
    polarity: int = 0
    limit_range: int = 0
    limited: bool = False
    kept: tuple[Any, ...] | None = None
    i_range: int = 0
    v_range: int = 0
    operation: int = 0
    series: int = 0
    filter: int = 0
    converter: int = 0
    ranging: tuple[int, ...] = (1, 50)
    last_scale: float = field(default=1e-4)

    @property
    def measures(self) -> str:
        """What CMM makes it measure: I, V or IV."""
        side, force = ("I", "V") if self.kind == "V" else ("V", "I")
        return {0: side, 1: "I", 2: "V", 3: force, 4: side + force}[self.operation]


def full_scale(smu: Smu, kind: str, code: int) -> float:
    """Full scale of a range code (its sign ignored), V or A; 0 for automatic; FlexError 124 if the module lacks it."""
    if code == 0:
        return 0.0
    table = VOLTAGE_RANGES if kind == "V" else CURRENT_RANGES
    scale = table.get(abs(code))
    lowest, most_current, most_voltage = SMU_MODELS[smu.model]
    if scale is None or (kind == "I" and not lowest <= scale <= most_current) or (kind == "V" and scale > most_voltage):
        raise FlexError(124, f"CHANNEL{smu.channel}")
    return scale


def active_code(smu: Smu, kind: str, code: int, largest: float) -> int:
    """Code of the range in use for a level: the smallest that holds it and is not below `code` (0 automatic)."""
    least = max(full_scale(smu, kind, code), abs(largest) * (1 - 1e-9) / (1.15 if kind == "I" else 1.0))
    scale = next((s for s in scales(smu, kind) if s >= least), scales(smu, kind)[-1])
    if kind == "V":
        return round(scale * 10)
    return 20 + round(math.log10(scale))


def range_code(smu: Smu, kind: str, text: str, fixed: bool = False) -> int:
    """Parse a range parameter; `fixed` allows negative codes (fixed measurement ranges)."""
    code = whole(text, -2000 if fixed else 0, 2000)
    full_scale(smu, kind, code)
    return code


def scales(smu: Smu, kind: str) -> list[float]:
    """The module's ranges, ascending."""
    lowest, most_current, most_voltage = SMU_MODELS[smu.model]
    if kind == "V":
        return sorted({v for v in VOLTAGE_RANGES.values() if v <= most_voltage})
    return sorted(v for v in CURRENT_RANGES.values() if lowest <= v <= most_current)


def most_current(smu: Smu, volts: float) -> float:
    """The current an SMU can give at a voltage, A (User's Guide: 100 mA to 20 V, 50 mA to 40 V, 20 mA to 100 V)."""
    steps: tuple[tuple[float, float], ...] = ((20.0, 0.1), (40.0, 0.05), (100.0, 0.02))
    if smu.model == "B1510A":
        steps = ((20.0, 1.0), (40.0, 0.5), (100.0, 0.125), (200.0, 0.05))
    return next((amps for limit, amps in steps if abs(volts) <= limit), 0.0)


def source_value(smu: Smu, kind: str, code: int, text: str) -> float:
    """Parse an output level, V or A, inside the range (or the module, if automatic)."""
    scale = full_scale(smu, kind, code) or (SMU_MODELS[smu.model][2] if kind == "V" else SMU_MODELS[smu.model][1])
    reach = scale * (1.15 if kind == "I" and scale < SMU_MODELS[smu.model][1] else 1.0)
    return real(text, -reach, reach)


def compliance_value(smu: Smu, kind: str, level: float, text: str) -> float:
    """Parse a compliance (A for a voltage source, V for a current source), positive inside; FlexError 123."""
    value = abs(real(text))
    most = most_current(smu, level) if kind == "V" else SMU_MODELS[smu.model][2]
    if value == 0.0 or value > most * (1 + 1e-9):
        raise FlexError(123, f"CHANNEL{smu.channel}")
    return value


class SmuBank:
    """All SMUs of the frame and the A/D converters they share."""

    def __init__(self, bench: "Bench", models: Mapping[int, str], wires: Wires | None = None) -> None:
        """Attach to the fixture, by way of `wires`: `models` maps channel (slot) to module type."""
        self.bench = bench
        self.wires: Wires = wires or Wires(bench)
        self.timing = SmuTiming()
        self.accuracy = SmuAccuracy()
        self.units = {channel: Smu(channel, model) for channel, model in models.items()}
        self.adc = Adc()

    def reset(self) -> None:
        """Open every output and go back to the power-on settings."""
        for unit in self.units.values():
            self.switch(unit, False)
        self.units = {u.channel: Smu(u.channel, u.model) for u in self.units.values()}
        self.adc = Adc()

    def switch(self, unit: Smu, on: bool) -> None:
        """Close or open an output switch; a closed one starts at 0 V, 100 uA."""
        if unit.on == on:
            return
        unit.on = on
        unit.limited = False
        if on:
            unit.kind, unit.level, unit.compliance, unit.range_code, unit.kept = "V", 0.0, POWER_ON_COMPLIANCE, 0, None
            self.wires.force(unit.channel, 0.0, POWER_ON_COMPLIANCE)
        else:
            self.wires.force(unit.channel, None)
        self.bench.clock.sleep(self.timing.switch)

    def source(self, unit: Smu, kind: str, level: float, compliance: float) -> None:
        """Force a level and let it settle. A current source is its voltage limit behind a current limit."""
        unit.kind, unit.level, unit.compliance = kind, level, compliance
        unit.limited = False
        if kind == "V":
            self.wires.force(unit.channel, level, compliance)
        else:
            self.wires.force(unit.channel, math.copysign(compliance, level) if level else 0.0, abs(level))
        self.bench.clock.sleep(self.timing.settle)

    def initialize(self, unit: Smu) -> None:
        """IN: an output that is on goes to 0 V, 100 uA; what belongs to the channel, to its initial settings."""
        fresh = Smu(unit.channel, unit.model)
        unit.i_range, unit.v_range, unit.operation, unit.ranging = 0, 0, fresh.operation, fresh.ranging
        unit.series, unit.filter, unit.converter, unit.kept = fresh.series, fresh.filter, fresh.converter, None
        if unit.on:
            unit.range_code = unit.polarity = unit.limit_range = 0
            self.source(unit, "V", 0.0, POWER_ON_COMPLIANCE)

    def zero(self, unit: Smu) -> None:
        """DZ: 0 V at 100 uA, what was there kept for RZ."""
        if unit.on and unit.kept is None:
            unit.kept = (unit.kind, unit.level, unit.compliance)
            self.source(unit, "V", 0.0, POWER_ON_COMPLIANCE)

    def restore(self, unit: Smu) -> None:
        """RZ: back to what DZ replaced."""
        if unit.kept is None:
            raise FlexError(205, f"CHANNEL{unit.channel}")
        kind, level, compliance = unit.kept
        unit.kept = None
        self.source(unit, kind, level, compliance)

    def integration(self, unit: Smu, pulsed: bool = False) -> float:
        """Seconds the unit's converter integrates, by AIT, AV and AZ.

        In automatic mode the instrument multiplies its own number by N; that number is not published and taken as 1
        from 1 uA up, 4 per decade below (high speed) and as one 80 us unit (high resolution).
        """
        t = self.timing
        fine = unit.converter == 1 and not pulsed
        mode, n = self.adc.pulsed if pulsed else self.adc.fine if fine else self.adc.fast
        if mode == 2:
            seconds = n * t.line
        elif mode == 3:
            seconds = max(1, math.floor(n / t.sample + 1e-9)) * t.sample
        else:
            decades = max(0, round(math.log10(1e-6 / unit.last_scale))) if mode == 0 else 0
            seconds = n * (t.unit if fine else t.sample) * 4**decades
        return seconds * (2 if fine and self.adc.auto_zero else 1)

    def _finish(self, unit: Smu, value: float, scale: float, seconds: float) -> float:
        """Add the converter's noise and round to its steps."""
        a, t = self.accuracy, self.timing
        if unit.converter == 1:
            step, sigma = scale * a.fine_step, a.fine_noise_steps * math.sqrt(t.line / seconds)
        else:
            step, sigma = scale * a.fast_step, a.fast_noise_steps * math.sqrt(t.sample / seconds)
        noisy = value + sigma * step * float(self.bench.rng("b1500a.adc").standard_normal())
        return round(noisy / step) * step

    def _voltage(self, unit: Smu) -> float:
        """Volts at the output; for a regulating current source from the load's resistance, found at 10 mV."""
        fixture = self.wires
        forced = fixture.voltage(unit.channel)
        if unit.kind == "V" or unit.limited or unit.level == 0.0:
            return forced
        probe = math.copysign(min(PROBE, unit.compliance), unit.level)
        fixture.force(unit.channel, probe, abs(unit.level))
        reading = fixture.measure(unit.channel, self.timing.sample)
        fixture.force(unit.channel, forced, abs(unit.level))
        volts = forced if reading.current == 0.0 else abs(unit.level * probe / reading.current)
        return math.copysign(min(abs(volts), unit.compliance), unit.level)

    def measure(self, unit: Smu, kind: str, code: int, pulsed: bool = False) -> tuple[int, float, float]:
        """Measure V or I on a range code (0 automatic, positive limited automatic, negative fixed).

        Returns:
            (flags, value, full scale): flags as in `flex`, value in V or A (inf where over range).
        """
        seconds = self.integration(unit, pulsed)
        reading = self.wires.measure(unit.channel, seconds)
        if unit.kind == "V":
            unit.limited = reading.in_compliance
        else:
            # The fixture's limit is this source's set current: not reaching it means the voltage limit holds.
            unit.limited = not reading.in_compliance and unit.level != 0.0
        true = reading.current if kind == "I" else self._voltage(unit)
        least = full_scale(unit, kind, code)
        top = scales(unit, kind)[-1]
        margin = 1.15 if kind == "I" else 1.0 + 1e-9
        if code < 0:
            scale = least
        else:
            fits = (s for s in scales(unit, kind) if s >= least and abs(true) <= margin * s)
            scale = next(fits, top)
        if kind == "I" and scale != unit.last_scale:
            if code >= 0:
                self.bench.clock.sleep(self.timing.range_change)
            unit.last_scale = scale
        flags = LIMITED if unit.limited else 0
        if any(u.limited and u.on for u in self.units.values() if u is not unit):
            flags |= OTHER_LIMITED
        if abs(true) > margin * scale:
            return flags | OVER_RANGE, math.inf, scale
        return flags, self._finish(unit, true, scale, seconds), scale


def parse_source(unit: Smu, kind: str, args: Sequence[str]) -> tuple[int, float, float]:
    """Parse `range,level[,compliance]` of DV, DI and their kin into (range code, level, compliance)."""
    code = range_code(unit, kind, args[0])
    level = source_value(unit, kind, code, args[1])
    if len(args) > 2:
        return code, level, compliance_value(unit, kind, level, args[2])
    if unit.kind != kind:
        raise FlexError(123, f"CHANNEL{unit.channel}")
    return code, level, unit.compliance


def direct(bank: SmuBank, unit: Smu, kind: str, args: Sequence[str]) -> None:
    """DV, DI ch,range,level[,comp[,polarity[,comp range]]]: force at once."""
    code, level, compliance = parse_source(unit, kind, args[1:4])
    polarity = choice(args[4], (0, 1)) if len(args) > 4 else unit.polarity
    limit_range = range_code(unit, "I" if kind == "V" else "V", args[5], fixed=True) if len(args) > 5 else 0
    if not unit.on:
        raise FlexError(200, f"CHANNEL{unit.channel}")
    unit.kept = None
    unit.range_code, unit.polarity, unit.limit_range = code, polarity, limit_range
    bank.source(unit, kind, level, compliance)
