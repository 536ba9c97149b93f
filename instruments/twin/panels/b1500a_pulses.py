"""Pulses of the simulated B1500A beyond one pulsed source: on several channels, under a sweep, quasi-pulsed.

Served: multi channel pulsed spot (MM 27) and sweep (MM 28), staircase sweep with pulsed bias (MM 5), quasi-pulsed spot
(MM 9). Sources: B1500A Programming Guide (measurement modes; BDM, BDT, BDV, MCPNT, MCPNX, MCPT, MCPWNX, MCPWS) and
programs published for it. Uncertain: limits of MCPT and MCPNT, which are taken from PT.

The slope of a quasi-pulse and what its settling detection does at the limit are not simulated: the source is at `stop`
at once and goes back after the measurement.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from instruments.twin.panels.b1500a_modes import Measurements
from instruments.twin.panels.b1500a_setup import Bias, Sources, Sweep, staircase
from instruments.twin.panels.b1500a_smu import Smu, SmuBank, compliance_value, range_code, source_value
from instruments.twin.panels.flex import Entry, FlexError, OutputData, choice, real, whole

PULSED_BIAS, QUASI_PULSED, MULTI_PULSE, MULTI_PULSE_SWEEP = 5, 9, 27, 28
LEAST_QUASI_PULSE = 10.0
"""Volts that start and stop of BDV are apart, at least."""
DEFAULT_WIDTH = 1e-3


@dataclass(frozen=True)
class Swept:
    """A pulsed source of a multi channel pulsed sweep: from `start` to `stop`, each pulse from `base`."""

    unit: Smu
    kind: str
    base: float
    start: float
    stop: float
    compliance: float
    scale: float
    power: float | None = None


@dataclass
class PulseSetup:
    """Settings of this part; initial values."""

    timing: tuple[float, float, float, int] = (0.0, 0.0, 0.0, 1)
    """MCPT: hold, period (0: shortest), measurement delay (0: at the end of the pulse), averages."""
    widths: dict[int, tuple[float, float]] = field(default_factory=dict)
    pulses: dict[int, Bias] = field(default_factory=dict)
    shape: tuple[int, int] = (1, 1)
    swept: dict[int, Swept] = field(default_factory=dict)
    quasi: Bias | None = None
    quasi_wait: tuple[float, float] = (0.0, 0.0)
    quasi_mode: tuple[int, int] = (0, 0)


class Pulses:
    """The commands and measurements of this part."""

    def __init__(self, bank: SmuBank, data: OutputData, sources: Sources, measurements: Measurements) -> None:
        """Join `measurements`."""
        self.bank, self.data, self.sources, self.measurements = bank, data, sources, measurements
        self.own = PulseSetup()
        measurements.modes.update(
            {
                PULSED_BIAS: self._pulsed_bias,
                QUASI_PULSED: self._quasi_pulsed,
                MULTI_PULSE: self._multi_pulse,
                MULTI_PULSE_SWEEP: self._multi_sweep,
            }
        )

    def reset(self) -> None:
        """Initial settings."""
        self.own = PulseSetup()

    def commands(self) -> dict[str, Entry]:
        """The commands this part serves."""
        return {
            "MCPT": Entry(self.mcpt, 1, 4),
            "MCPNT": Entry(self.mcpnt, 3, 3),
            "MCPNX": Entry(self.mcpnx, 6, 7),
            "MCPWS": Entry(self.mcpws, 2, 2),
            "MCPWNX": Entry(self.mcpwnx, 7, 9),
            "BDM": Entry(self.bdm, 1, 2),
            "BDT": Entry(self.bdt, 2, 2),
            "BDV": Entry(self.bdv, 4, 5),
        }

    # Settings

    def mcpt(self, args: Sequence[str]) -> None:
        """MCPT hold[,period[,delay[,average]]]: period 5 ms..5 s, 0 or -1 for the shortest."""
        period = max(0.0, real(args[1], -1.0, 5.0)) if len(args) > 1 else 0.0
        if 0.0 < period < 5e-3:
            raise FlexError(120, "a period is 5 ms at least")
        delay = real(args[2], 0.0, 2.0) if len(args) > 2 else 0.0
        self.own.timing = (
            real(args[0], 0.0, 655.35), period, delay, whole(args[3], 1, 1023) if len(args) > 3 else 1,
        )  # fmt: skip

    def mcpnt(self, args: Sequence[str]) -> None:
        """MCPNT ch,delay,width: when the channel's pulse begins and how long it is, s."""
        unit = self.sources.smu(args[0])
        self.own.widths[unit.channel] = (real(args[1], 0.0, 2.0), real(args[2], 50e-6, 2.0))

    def mcpnx(self, args: Sequence[str]) -> None:
        """MCPNX N,ch,mode,range,base,pulse[,comp]: source N (1..10) of a multi channel pulsed spot; mode 1 V, 2 A."""
        number, unit, kind, code = self._source(args)
        base, peak = (source_value(unit, kind, code, a) for a in args[4:6])
        compliance = self._compliance(unit, kind, max(abs(base), abs(peak)), args[6:])
        self.own.pulses[number] = Bias(unit, kind, base, peak, compliance, code)

    def mcpws(self, args: Sequence[str]) -> None:
        """MCPWS mode,steps of a multi channel pulsed sweep; modes as WV's."""
        self.own.shape = (choice(args[0], (1, 2, 3, 4)), whole(args[1], 1, 10001))

    def mcpwnx(self, args: Sequence[str]) -> None:
        """MCPWNX N,ch,mode,range,base,start,stop[,comp[,Pcomp]]: pulsed source N of the sweep."""
        number, unit, kind, code = self._source(args)
        base, start, stop = (source_value(unit, kind, code, a) for a in args[4:7])
        largest = max(abs(base), abs(start), abs(stop))
        compliance = self._compliance(unit, kind, largest, args[7:])
        power = real(args[8], 1e-3, 40.0) if len(args) > 8 else None
        scale = self.sources.scale(unit, kind, code, largest)
        self.own.swept[number] = Swept(unit, kind, base, start, stop, compliance, scale, power)

    def _source(self, args: Sequence[str]) -> tuple[int, Smu, str, int]:
        unit, kind = self.sources.smu(args[1]), "VI"[choice(args[2], (1, 2)) - 1]
        return whole(args[0], 1, 10), unit, kind, range_code(unit, kind, args[3])

    @staticmethod
    def _compliance(unit: Smu, kind: str, largest: float, rest: Sequence[str]) -> float:
        if rest:
            return compliance_value(unit, kind, largest, rest[0])
        if unit.kind != kind:
            raise FlexError(123, f"CHANNEL{unit.channel}")
        return unit.compliance

    def bdm(self, args: Sequence[str]) -> None:
        """BDM interval[,mode]: settling detection 0 short, 1 long; mode 0 measures voltage, 1 current."""
        self.own.quasi_mode = (choice(args[0], (0, 1)), choice(args[1], (0, 1)) if len(args) > 1 else 0)

    def bdt(self, args: Sequence[str]) -> None:
        """BDT hold,delay, s."""
        self.own.quasi_wait = (real(args[0], 0.0, 655.35), real(args[1], 0.0, 6.5535))

    def bdv(self, args: Sequence[str]) -> None:
        """BDV ch,range,start,stop[,Icomp]: the quasi-pulsed source; start and stop at least 10 V apart."""
        unit = self.sources.smu(args[0])
        code = range_code(unit, "V", args[1])
        start, stop = (source_value(unit, "V", code, a) for a in args[2:4])
        if abs(start - stop) < LEAST_QUASI_PULSE * (1 - 1e-9):
            raise FlexError(120, "start and stop are less than 10 V apart")
        compliance = self._compliance(unit, "V", max(abs(start), abs(stop)), args[4:])
        self.own.quasi = Bias(unit, "V", start, stop, compliance, code)

    # Measurements

    def _pulsed_bias(self) -> Iterable[str]:
        sweep, pulse, m = self.sources.setup.sweep, self.sources.setup.pulse, self.measurements
        if sweep is None:
            raise FlexError(220)
        if pulse is None:
            raise FlexError(222)
        m.ready(sweep.unit)
        m.ready(pulse.unit)
        for k, level in enumerate(sweep.levels):
            self.bank.source(sweep.unit, sweep.kind, level, sweep.compliance)
            hold = self.sources.setup.pulse_wait[0] if k == 0 else 0.0
            yield from m.pulse(pulse.unit, pulse.kind, pulse.base, pulse.peak, pulse.compliance, hold)
            yield from m.levels(sweep, k)
        rest = sweep.levels[0 if self.sources.setup.abort[1] == 1 else -1]
        self.bank.source(sweep.unit, sweep.kind, rest, sweep.compliance)

    def _quasi_pulsed(self) -> Iterable[str]:
        own, bench = self.own.quasi, self.bank.bench
        if own is None:
            raise FlexError(222)
        self.measurements.ready(own.unit)
        hold, delay = self.own.quasi_wait
        self.bank.source(own.unit, "V", own.base, own.compliance)
        bench.fixture.dwell(hold)
        self.bank.source(own.unit, "V", own.peak, own.compliance)
        bench.fixture.dwell(delay)
        unit = self.bank.units[self.sources.setup.channels[0]]
        kind = "VI"[self.own.quasi_mode[1]]
        flags, value, scale = self.bank.measure(unit, kind, unit.i_range if kind == "I" else unit.v_range)
        self.bank.source(own.unit, "V", own.base, own.compliance)
        yield self.data.measured(flags, unit.channel, kind, value, scale)

    def _multi_pulse(self) -> Iterable[str]:
        found = self.own.pulses
        if not found:
            raise FlexError(222)
        yield from self._together([found[n] for n in sorted(found)], self.own.timing[0])

    def _multi_sweep(self) -> Iterable[str]:
        numbers, (mode, steps) = sorted(self.own.swept), self.own.shape
        if not numbers:
            raise FlexError(221)
        swept = [self.own.swept[n] for n in numbers]
        if mode in (2, 4) and any(s.start * s.stop <= 0 for s in swept):
            raise FlexError(120, "a logarithmic sweep can't pass zero")
        levels = [staircase(mode, s.start, s.stop, steps) for s in swept]
        first = swept[0]
        told = Sweep(first.unit, first.kind, levels[0], first.compliance, first.scale, mode, 0, first.base, first.power)
        constant = [self.own.pulses[n] for n in sorted(self.own.pulses)]
        for k in range(len(levels[0])):
            pulses = [
                Bias(s.unit, s.kind, s.base, values[k], s.compliance, 0)
                for s, values in zip(swept, levels, strict=True)
            ]
            yield from self._together([*pulses, *constant], self.own.timing[0] if k == 0 else 0.0)
            yield from self.measurements.levels(told, k)

    def _together(self, pulses: Sequence[Bias], hold: float) -> list[str]:
        """Every source's pulse once, or as often as is averaged over, measured in between."""
        _, period, delay, repeats = self.own.timing
        bank, clock = self.bank, self.bank.bench.clock
        for pulse in pulses:
            bank.source(self.measurements.ready(pulse.unit), pulse.kind, pulse.base, pulse.compliance)
        bank.bench.fixture.dwell(hold)
        spans = {p.unit.channel: self.own.widths.get(p.unit.channel, (0.0, DEFAULT_WIDTH)) for p in pulses}
        ends = [begin + width for begin, width in spans.values()]
        needed = bank.integration(bank.units[self.sources.setup.channels[0]], pulsed=True)
        at = delay or max(0.0, min(ends) - needed)
        period = max(period, max(ends) + 1e-4)
        found: list[list[tuple[int, float, float]]] = []
        for _ in range(repeats):
            begun = clock.now()
            events: list[tuple[float, int, Callable[[], object]]] = [(at, 1, lambda: found.append(self._measured()))]
            for pulse in pulses:
                begin, width = spans[pulse.unit.channel]
                events.append((begin, 0, _forcing(bank, pulse, pulse.peak)))
                events.append((begin + width, 2, _forcing(bank, pulse, pulse.base)))
            for due, _, action in sorted(events, key=lambda event: event[:2]):
                bank.bench.fixture.dwell(max(0.0, begun + due - clock.now()))
                action()
            clock.sleep(max(0.0, period - (clock.now() - begun)))
        return self._averaged(found)

    def _measured(self) -> list[tuple[int, float, float]]:
        units = [self.bank.units[channel] for channel in self.sources.setup.channels]
        return [
            self.bank.measure(unit, kind, unit.i_range if kind == "I" else unit.v_range, pulsed=True)
            for unit in units
            for kind in unit.measures
        ]

    def _averaged(self, found: Sequence[Sequence[tuple[int, float, float]]]) -> list[str]:
        units = [self.bank.units[channel] for channel in self.sources.setup.channels]
        places = [(unit.channel, kind) for unit in units for kind in unit.measures]
        items: list[str] = []
        for (channel, kind), readings in zip(places, zip(*found, strict=True), strict=True):
            flags = 0
            for flag, _, _ in readings:
                flags |= flag
            mean = sum(value for _, value, _ in readings) / len(readings)
            if self.sources.setup.time_stamp:
                items.append(self.data.plain(channel, "T", self.measurements.elapsed()))
            items.append(self.data.measured(flags, channel, kind, mean, max(scale for _, _, scale in readings)))
        return items


def _forcing(bank: SmuBank, pulse: Bias, level: float) -> Callable[[], object]:
    return lambda: bank.source(pulse.unit, pulse.kind, level, pulse.compliance)
