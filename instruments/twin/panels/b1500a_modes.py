"""What XE and the spot commands of the simulated B1500A do: spot, staircase, pulsed and sampling measurements.

A measurement runs to its end while the command is executed; its line of data waits in the output buffer afterwards.
"""

import math
from collections.abc import Callable, Iterable, Sequence

from instruments.twin.panels.b1500a_setup import (
    DECADES,
    MULTI_SWEEP,
    PULSED_SPOT,
    PULSED_SWEEP,
    SAMPLING,
    SPOT,
    STAIRCASE,
    Setup,
    Sources,
    Sweep,
    Synchronous,
    staircase,
)
from instruments.twin.panels.b1500a_smu import Smu, SmuBank, range_code
from instruments.twin.panels.flex import OVER_RANGE, Entry, FlexError, OutputData, choice

Follower = tuple[Synchronous, tuple[float, ...]]
"""A source that follows the primary one, and its levels."""


class Measurements:
    """The commands that measure."""

    def __init__(self, bank: SmuBank, data: OutputData, sources: Sources) -> None:
        """Measure with `bank` what `sources` was told, into `data`; other parts may add to `modes`."""
        self.bank, self.data, self.sources = bank, data, sources
        self.smu = sources.smu
        self.modes: dict[int, Callable[[], Iterable[str]]] = {
            SPOT: self._spots,
            STAIRCASE: self._staircase,
            MULTI_SWEEP: self._staircase,
            PULSED_SPOT: self._pulsed_spot,
            PULSED_SWEEP: self._pulsed_sweep,
            SAMPLING: self._sampling,
        }
        self.zero_time = bank.bench.clock.now()

    @property
    def setup(self) -> Setup:
        """The present measurement settings."""
        return self.sources.setup

    def commands(self) -> dict[str, Entry]:
        """The commands this part serves."""
        return {
            "XE": Entry(self.xe, 0, 0),
            "TSC": Entry(self.tsc, 1, 1),
            "TSR": Entry(self.tsr, 0, 1),
            "TSQ": Entry(self.tsq, 0, 0),
            "TI": Entry(lambda a: self.spot("I", a), 1, 2),
            "TV": Entry(lambda a: self.spot("V", a), 1, 2),
            "TTI": Entry(lambda a: self.spot("I", a, stamped=True), 1, 2),
            "TTV": Entry(lambda a: self.spot("V", a, stamped=True), 1, 2),
            "TIV": Entry(self.both, 1, 3),
            "TTIV": Entry(lambda a: self.both(a, stamped=True), 1, 3),
        }

    def tsc(self, args: Sequence[str]) -> None:
        """TSC onoff: time stamps before the data."""
        self.setup.time_stamp = bool(choice(args[0], (0, 1)))

    def tsr(self, args: Sequence[str]) -> None:
        """TSR [ch]: the time stamp's clock starts again, here at once even where it should at the channel's next DV."""
        if args:
            self.ready(self.smu(args[0]))
        self.zero_time = self.bank.bench.clock.now()

    def tsq(self, args: Sequence[str]) -> None:
        """TSQ: the time since TSR, as data."""
        self.data.emit([self.data.plain(1, "T", self.elapsed())])

    def elapsed(self) -> float:
        """Seconds since TSR, or since the frame was switched on."""
        return self.bank.bench.clock.now() - self.zero_time

    def spot(self, kind: str, args: Sequence[str], stamped: bool = False) -> None:
        """TI, TV ch[,range] and, with the time first, TTI, TTV: one high-speed spot measurement."""
        unit = self.ready(self.smu(args[0]))
        code = range_code(unit, kind, args[1], fixed=True) if len(args) > 1 else 0
        stamp = [self.data.plain(unit.channel, "T", self.elapsed())] if stamped else []
        self.data.emit([*stamp, self._measured(unit, kind, code)[0]])

    def both(self, args: Sequence[str], stamped: bool = False) -> None:
        """TIV ch[,irange[,vrange]] and, with the time first, TTIV: current and voltage of one channel."""
        unit = self.ready(self.smu(args[0]))
        codes = [range_code(unit, k, a, fixed=True) for k, a in zip("IV", args[1:], strict=False)] + [0, 0]
        stamp = [self.data.plain(unit.channel, "T", self.elapsed())] if stamped else []
        self.data.emit([*stamp, self._measured(unit, "I", codes[0])[0], self._measured(unit, "V", codes[1])[0]])

    def ready(self, unit: Smu) -> Smu:
        """The channel, if its output switch is on; FlexError 200 otherwise."""
        if not unit.on:
            raise FlexError(200, f"CHANNEL{unit.channel}")
        return unit

    def _measured(self, unit: Smu, kind: str, code: int, pulsed: bool = False) -> tuple[str, int]:
        flags, value, scale = self.bank.measure(unit, kind, code, pulsed)
        return self.data.measured(flags, unit.channel, kind, value, scale), flags

    def _point(self, pulsed: bool = False) -> tuple[list[str], bool]:
        """Measure every channel of MM once: items, and whether one of them was limited."""
        items, limited = [], False
        for channel in self.setup.channels:
            unit = self.bank.units[channel]
            for kind in unit.measures:
                if self.setup.time_stamp:
                    items.append(self.data.plain(channel, "T", self.elapsed()))
                item, _ = self._measured(unit, kind, unit.i_range if kind == "I" else unit.v_range, pulsed)
                items.append(item)
            limited |= unit.limited
        return items, limited

    def xe(self, args: Sequence[str]) -> None:
        """XE: run the measurement that MM chose."""
        if self.setup.mode == 0:
            raise FlexError(122, "MM has not been sent")
        for channel in self.setup.channels:
            self.ready(self.bank.units[channel])
        self.data.emit(list(self.modes[self.setup.mode]()))

    def _spots(self) -> Iterable[str]:
        return self._point()[0]

    def _staircase(self) -> Iterable[str]:
        sweep = self.setup.sweep
        if sweep is None:
            raise FlexError(220)
        others = self._followers(sweep)
        for unit in (sweep.unit, *(s.unit for s, _ in others)):
            self.ready(unit)
        clock = self.bank.bench.clock
        hold, delay, step = self.setup.wait[:3]
        stopped = False
        for k, level in enumerate(sweep.levels):
            if stopped:
                yield from self._invalid(sweep, k, others)
                continue
            self.bank.source(sweep.unit, sweep.kind, level, self._limit(sweep, level))
            for follower, values in others:
                self.bank.source(follower.unit, follower.kind, values[k], follower.compliance)
            clock.sleep((hold if k == 0 else 0.0) + delay)
            begun = clock.now()
            items, limited = self._point()
            clock.sleep(max(0.0, step - (clock.now() - begun)))
            yield from items
            yield from self.levels(sweep, k, others)
            stopped = limited and self.setup.abort[0] == 2
        rest = sweep.levels[0 if self.setup.abort[1] == 1 or stopped else -1]
        self.bank.source(sweep.unit, sweep.kind, rest, sweep.compliance)
        for follower, values in others:
            last = values[0 if self.setup.abort[1] == 1 or stopped else -1]
            self.bank.source(follower.unit, follower.kind, last, follower.compliance)

    def _followers(self, sweep: Sweep) -> list[Follower]:
        setup = self.setup
        if setup.mode == MULTI_SWEEP:
            found = [setup.followers[n] for n in sorted(setup.followers)]
        else:
            found = [setup.synchronous] if setup.synchronous else []
        return [(s, staircase(sweep.mode, s.start, s.stop, self._steps(sweep))) for s in found]

    def _steps(self, sweep: Sweep) -> int:
        return len(sweep.levels) // (2 if sweep.mode > 2 else 1)

    def _limit(self, sweep: Sweep, level: float) -> float:
        if sweep.power is None or level == 0.0:
            return sweep.compliance
        return min(sweep.compliance, sweep.power / abs(level))

    def levels(self, sweep: Sweep, k: int, others: Sequence[Follower] = ()) -> Iterable[str]:
        """Source data of step k, if FMT asked for them."""
        last = k == len(sweep.levels) - 1
        if self.data.mode == 1:
            yield self.data.source(last, sweep.unit.channel, sweep.kind, sweep.levels[k], sweep.scale)
        elif 2 <= self.data.mode <= 1 + len(others):
            follower, values = others[self.data.mode - 2]
            yield self.data.source(last, follower.unit.channel, follower.kind, values[k], sweep.scale)

    def _invalid(self, sweep: Sweep, k: int, others: Sequence[Follower]) -> Iterable[str]:
        for channel in self.setup.channels:
            for kind in self.bank.units[channel].measures:
                yield self.data.measured(OVER_RANGE, channel, kind, math.inf, 1.0)
        yield from self.levels(sweep, k, others)

    def pulse(self, unit: Smu, kind: str, base: float, peak: float, compliance: float, hold: float) -> list[str]:
        """One pulse of a PV, PI, PWV or PWI source, measured at its end."""
        clock = self.bank.bench.clock
        _, width, period = self.setup.pulse_wait
        self.bank.source(unit, kind, base, compliance)
        self.bank.bench.fixture.dwell(hold)
        begun = clock.now()
        self.bank.source(unit, kind, peak, compliance)
        measuring = self.bank.units[self.setup.channels[0]]
        spare = width - (clock.now() - begun) - self.bank.integration(measuring, pulsed=True)
        self.bank.bench.fixture.dwell(max(0.0, spare))
        items = self._point(pulsed=True)[0]
        self.bank.source(unit, kind, base, compliance)
        clock.sleep(max(0.0, period - (clock.now() - begun)))
        return items

    def _pulsed_spot(self) -> Iterable[str]:
        pulse = self.setup.pulse
        if pulse is None:
            raise FlexError(222)
        unit = self.ready(pulse.unit)
        return self.pulse(unit, pulse.kind, pulse.base, pulse.peak, pulse.compliance, self.setup.pulse_wait[0])

    def _pulsed_sweep(self) -> Iterable[str]:
        sweep = self.setup.pulse_sweep
        if sweep is None:
            raise FlexError(221)
        self.ready(sweep.unit)
        for k, level in enumerate(sweep.levels):
            hold = self.setup.pulse_wait[0] if k == 0 else 0.0
            yield from self.pulse(sweep.unit, sweep.kind, sweep.base, level, sweep.compliance, hold)
            yield from self.levels(sweep, k)

    def _sampling(self) -> Iterable[str]:
        hold, interval, number, base_hold = self.setup.sampling_wait
        clock = self.bank.bench.clock
        sources = list(self.setup.sampling.values())
        for bias in sources:
            self.ready(bias.unit)
        for bias in sources:
            self.bank.source(bias.unit, bias.kind, bias.base, bias.compliance)
        self.bank.bench.fixture.dwell(base_hold)
        for bias in sources:
            self.bank.source(bias.unit, bias.kind, bias.peak, bias.compliance)
        begun = clock.now() + hold
        for k in range(int(number)):
            due = begun + self._instant(k, interval)
            self.bank.bench.fixture.dwell(max(0.0, due - clock.now()))
            if self.data.mode >= 1:
                yield self.data.plain(self.setup.channels[0], "X", k + 1)
            items, limited = self._point()
            yield from items
            if limited and self.setup.sampling_abort[0] == 2:
                break
        if self.setup.sampling_abort[1] == 1:
            for bias in sources:
                self.bank.source(bias.unit, bias.kind, bias.base, bias.compliance)

    def _instant(self, k: int, interval: float) -> float:
        """When sample k (from 0) is due, s after the bias hold."""
        if self.setup.sampling_mode == 1:
            return k * interval
        return interval * 10 ** (k / DECADES[self.setup.sampling_mode])
