"""SPGU modules and the SMU/PGU selector of the simulated B1500A.

Sources: Programming Guide (SER, STGP, SPGU status), data sheet (B1525A: +-40 V into an open end, +-20 V into 50 ohm,
50 ohm source, period 20 ns..10 s, width 10 ns..period - 10 ns, edges 8 ns..400 ms, relay 100 us). How the numbers of
SP.. query replies are printed is not published; they are parsed as numbers everywhere.

An SPGU knows its load only from SER and scales its source for it. A cell is a high impedance whatever SER says: with
the initial SER of 50 ohm it gets twice the voltage that was set.

Limits of the model: ODSW, STGP and ALWG data are accepted or refused but do nothing; three-level pulses (SPM 3) run if
their two parts follow each other and every running channel has them. Settings act at SPUPD. SRP lasts until the train
is over, so SPST? says 1 in free run only; the pulses of a free run are delivered when SPP ends it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from instruments.twin.fixture import RELAY_SECONDS, PulseShape
from instruments.twin.panels.flex import Entry, FlexError, brief, choice, real, whole

if TYPE_CHECKING:
    from instruments.twin.bench import Bench

SOURCE_OHM = 50.0
OPEN_LIMIT = 40.0
FREE, COUNT, DURATION = 0, 1, 2
MOST_FREE_PULSES = 1_000_000
SELECTOR_MODE = 1


@dataclass(frozen=True)
class Signal:
    """Timing and levels of one of a channel's two pulse signals, s and V; the initial values are assumptions."""

    delay: float = 0.0
    width: float = 100e-9
    leading: float = 20e-9
    trailing: float = 20e-9
    base: float = 0.0
    peak: float = 0.0

    @property
    def end(self) -> float:
        """When its trailing edge is over, s after the period's start."""
        return self.delay + self.width + self.trailing

    def shape(self, gain: float) -> PulseShape:
        """The pulse at an open end."""
        return PulseShape(self.base * gain, self.peak * gain, self.delay, self.width, self.leading, self.trailing)


@dataclass(frozen=True)
class Settings:
    """What SPUPD applies: output mode (0 DC, 1, 2, 3), DC level, both signals, load."""

    mode: int = 0
    level: float = 0.0
    signals: tuple[Signal, Signal] = (Signal(), Signal())
    load: float = 50.0

    @property
    def gain(self) -> float:
        """Open-end volts for each volt set."""
        return (SOURCE_OHM + self.load) / self.load

    @property
    def used(self) -> tuple[Signal, ...]:
        """The signals its mode puts out."""
        return {0: (), 1: self.signals[:1], 2: self.signals[1:], 3: self.signals}[self.mode]

    @property
    def base(self) -> float:
        """What the channel rests at, V as set."""
        return self.used[0].base if self.used else self.level


@dataclass
class SpguChannel:
    """One output."""

    number: int
    on: bool = False
    asked: Settings = field(default_factory=Settings)
    applied: Settings = field(default_factory=Settings)
    switch: tuple[float, ...] = (0, 0, 0.0, 0.0)
    trigger: int = 0


class SpguBank:
    """All SPGU channels; the operating mode, period and repetition are common to them."""

    def __init__(self, bench: "Bench", slots: Iterable[int]) -> None:
        """Attach to the fixture: a module in slot n has channels n01 and n02."""
        self.bench = bench
        self.units = {n: SpguChannel(n) for slot in slots for n in (slot * 100 + 1, slot * 100 + 2)}
        self._initial()

    def _initial(self) -> None:
        self.operation = 0
        self.run_mode = FREE
        self.condition = 1.0
        self.period = 1e-6
        self.port_mode = 0
        self.ports: dict[int, int] = {}
        self.running_since: float | None = None

    def reset(self) -> None:
        """Open every output and go back to the initial settings; the selector stays as it is."""
        for unit in self.units.values():
            self.switch(unit, False)
        self.units = {n: SpguChannel(n) for n in self.units}
        ports = self.ports
        self._initial()
        self.ports = ports

    def commands(self) -> dict[str, Entry]:
        """The commands this part serves."""
        return {
            "SIM": Entry(self.sim, 1, 1),
            "SIM?": Entry(lambda a: str(self.operation), 0, 0),
            "SPRM": Entry(self.sprm, 1, 2),
            "SPRM?": Entry(lambda a: f"{self.run_mode},{brief(self.condition)}", 0, 0),
            "SPPER": Entry(self.spper, 1, 1),
            "SPPER?": Entry(lambda a: brief(self.period), 0, 0),
            "SPM": Entry(self.spm, 2, 2),
            "SPM?": Entry(lambda a: str(self.unit(a[0]).asked.mode), 1, 1),
            "SPV": Entry(self.spv, 3, 4),
            "SPV?": Entry(self.spv_query, 2, 2),
            "SPT": Entry(self.spt, 5, 6),
            "SPT?": Entry(self.spt_query, 2, 2),
            "SER": Entry(self.ser, 2, 2),
            "SER?": Entry(lambda a: brief(self.unit(a[0]).asked.load), 1, 1),
            "SPUPD": Entry(self.spupd, 1, 10),
            "SRP": Entry(self.srp, 0, 0),
            "SPP": Entry(self.spp, 0, 0),
            "SPST?": Entry(lambda a: "1" if self.running_since is not None else "0", 0, 0),
            "ODSW": Entry(self.odsw, 2, 5),
            "ODSW?": Entry(lambda a: ",".join(brief(v) for v in self.unit(a[0]).switch), 1, 1),
            "STGP": Entry(self.stgp, 2, 2),
            "STGP?": Entry(lambda a: str(self.unit(a[0]).trigger), 1, 1),
            "CORRSER?": Entry(self.corrser, 5, 5),
            "ERMOD": Entry(self.ermod, 1, 2),
            "ERMOD?": Entry(lambda a: str(self.port_mode), 0, 0),
            "ERSSP": Entry(self.erssp, 2, 2),
            "ERSSP?": Entry(lambda a: str(self.ports.get(whole(a[0], 0, 3), 0)), 1, 1),
        }

    def unit(self, text: str) -> SpguChannel:
        """Resolve a channel parameter (n01, n02, or n for n01)."""
        number = whole(text, 1, 1002)
        found = self.units.get(number if number > 10 else number * 100 + 1)
        if found is None:
            raise FlexError(121, f"CHANNEL{number} is no SPGU channel")
        return found

    def switch(self, unit: SpguChannel, on: bool) -> None:
        """Close or open an output relay; closed, the channel puts out what was last applied."""
        if unit.on == on:
            return
        unit.on = on
        self._end_run()
        self.bench.fixture.force(unit.number, unit.applied.base * unit.applied.gain if on else None)
        self.bench.clock.sleep(RELAY_SECONDS)

    def zero(self, unit: SpguChannel) -> None:
        """DZ: stop and rest at 0 V."""
        self._end_run()
        unit.applied = unit.asked = replace(unit.asked, mode=0, level=0.0)
        if unit.on:
            self.bench.fixture.force(unit.number, 0.0)

    # Set-up

    def sim(self, args: Sequence[str]) -> None:
        """SIM mode: 0 pulse generator; 1 (ALWG) is not simulated. Outputs go to 0 V."""
        self.operation = choice(args[0], (0, 1))
        if self.operation == 1:
            self.operation = 0
            raise FlexError(120, "ALWG mode is not simulated")
        self._end_run()
        for unit in self.units.values():
            if unit.on:
                self.bench.fixture.force(unit.number, 0.0)

    def sprm(self, args: Sequence[str]) -> None:
        """SPRM mode[,condition]: 0 free run, 1 that many pulses (1..1e6), 2 that many seconds (1 us..1 year)."""
        mode = choice(args[0], (FREE, COUNT, DURATION))
        if mode != FREE and len(args) < 2:
            raise FlexError(103)
        if mode == COUNT:
            self.condition = whole(args[1], 1, 1_000_000)
        elif mode == DURATION:
            self.condition = real(args[1], 1e-6, 31_556_926.0)
        self._end_run()
        self.run_mode = mode

    def spper(self, args: Sequence[str]) -> None:
        """SPPER period: 20 ns..10 s."""
        self.period = real(args[0], 20e-9, 10.0)

    def spm(self, args: Sequence[str]) -> None:
        """SPM ch,mode: 0 DC, 1 or 2 the signal of that number, 3 both (three levels)."""
        unit = self.unit(args[0])
        unit.asked = replace(unit.asked, mode=choice(args[1], (0, 1, 2, 3)))

    def spv(self, args: Sequence[str]) -> None:
        """SPV ch,src,base[,peak]: src 0 the DC level, 1 or 2 a pulse signal; +-40 V."""
        unit, src = self.unit(args[0]), choice(args[1], (0, 1, 2))
        base = real(args[2], -OPEN_LIMIT, OPEN_LIMIT)
        peak = real(args[3], -OPEN_LIMIT, OPEN_LIMIT) if len(args) > 3 else 0.0
        if src == 0:
            unit.asked = replace(unit.asked, level=base)
        else:
            self._change(unit, src, base=base, peak=peak)

    def _change(self, unit: SpguChannel, src: int, **values: float) -> None:
        signals = list(unit.asked.signals)
        signals[src - 1] = replace(signals[src - 1], **values)
        unit.asked = replace(unit.asked, signals=(signals[0], signals[1]))

    def spv_query(self, args: Sequence[str]) -> str:
        """SPV? ch,src: base and peak."""
        unit, src = self.unit(args[0]), choice(args[1], (0, 1, 2))
        if src == 0:
            return f"{brief(unit.asked.level)},0"
        signal = unit.asked.signals[src - 1]
        return f"{brief(signal.base)},{brief(signal.peak)}"

    def spt(self, args: Sequence[str]) -> None:
        """SPT ch,src,delay,width,leading[,trailing]: 0..10 s, 10 ns..period - 10 ns, edges 8 ns..0.4 s."""
        unit, src = self.unit(args[0]), choice(args[1], (1, 2))
        leading = real(args[4], 8e-9, 0.4)
        trailing = real(args[5], 8e-9, 0.4) if len(args) > 5 else leading
        width = real(args[3], 10e-9, self.period - 10e-9)
        self._change(unit, src, delay=real(args[2], 0.0, 10.0), width=width, leading=leading, trailing=trailing)

    def spt_query(self, args: Sequence[str]) -> str:
        """SPT? ch,src: delay, width, leading and trailing edge."""
        signal = self.unit(args[0]).asked.signals[choice(args[1], (1, 2)) - 1]
        return ",".join(brief(v) for v in (signal.delay, signal.width, signal.leading, signal.trailing))

    def ser(self, args: Sequence[str]) -> None:
        """SER ch,load: the load the channel is told to drive, 0.1 ohm..1 Mohm."""
        unit = self.unit(args[0])
        unit.asked = replace(unit.asked, load=real(args[1], 0.1, 1e6))

    def odsw(self, args: Sequence[str]) -> None:
        """ODSW ch,state[,normal[,delay,width]]: the pulse switch."""
        unit = self.unit(args[0])
        state = choice(args[1], (0, 1))
        normal = choice(args[2], (0, 1)) if len(args) > 2 else 0
        if len(args) == 4:
            raise FlexError(103)
        times = [real(a, 0.0, self.period) for a in args[3:]] or [0.0, 0.0]
        unit.switch = (state, normal, *times)

    def stgp(self, args: Sequence[str]) -> None:
        """STGP ch,state: trigger output 0..3."""
        self.unit(args[0]).trigger = choice(args[1], (0, 1, 2, 3))

    def corrser(self, args: Sequence[str]) -> str:
        """CORRSER? ch,mode,delay,interval,count: load measured (mode 1: and taken as SER).

        The cell is beyond what it can resolve, so it answers its largest value. The layout of the real reply isn't
        published; `load,terminal volts` is the twin's.
        """
        unit, mode = self.unit(args[0]), choice(args[1], (0, 1))
        times = real(args[2], 0.0, 1.0) + real(args[3], 0.0, 1.0) * whole(args[4], 1, 65535)
        if not unit.on:
            raise FlexError(200, f"CHANNEL{unit.number}")
        self.bench.clock.sleep(times)
        if mode == 1:
            unit.asked = replace(unit.asked, load=1e6)
        return f"1000000,{brief(self.bench.fixture.voltage(unit.number))}"

    def ermod(self, args: Sequence[str]) -> None:
        """ERMOD mode[,rule]: what the digital port controls; 1 is the SMU/PGU selector."""
        mode = choice(args[0], (0, 1, 2, 4, 8, 16, 32))
        if len(args) > 1:
            choice(args[1], (0, 1))
        self.port_mode = mode

    def erssp(self, args: Sequence[str]) -> None:
        """ERSSP port,status: selector port 0..3 to 0 open, 1 SMU, 2 PGU, 3 PGU open."""
        port, state = whole(args[0], 0, 3), choice(args[1], (0, 1, 2, 3))
        if self.port_mode != SELECTOR_MODE:
            raise FlexError(120, "ERSSP needs ERMOD 1")
        self.ports[port] = state
        self.bench.fixture.select_source(port, state)

    # Output

    def spupd(self, args: Sequence[str]) -> None:
        """SPUPD ch[,...]: apply the set-up; the outputs rest at their base voltage."""
        units = [self.unit(text) for text in args]
        for unit in units:
            self._check(unit)
        for unit in units:
            unit.applied = unit.asked
            if unit.on:
                self.bench.fixture.force(unit.number, unit.applied.base * unit.applied.gain)

    def _check(self, unit: SpguChannel) -> None:
        asked = unit.asked
        levels = [v for s in asked.used for v in (s.base, s.peak)] or [asked.level]
        if max(abs(v) for v in levels) * asked.gain > OPEN_LIMIT * (1 + 1e-9):
            raise FlexError(120, f"CHANNEL{unit.number} can't give that voltage into {brief(asked.load)} ohm")
        if any(s.width > self.period - 9.99e-9 or s.end > self.period * (1 + 1e-9) for s in asked.used):
            raise FlexError(120, f"CHANNEL{unit.number}: the pulse is longer than the period")
        if asked.mode == 3 and asked.signals[1].delay < asked.signals[0].end:
            raise FlexError(120, f"CHANNEL{unit.number}: overlapping three-level pulses are not simulated")

    def srp(self, args: Sequence[str]) -> None:
        """SRP: run every channel whose switch is on."""
        active = [u for u in self.units.values() if u.on]
        if not active:
            raise FlexError(200, "no SPGU channel is on")
        pulsing = [u for u in active if u.applied.mode != 0]
        if len({u.applied.mode == 3 for u in pulsing}) > 1:
            raise FlexError(120, "two- and three-level pulses at once are not simulated")
        for unit in pulsing:
            self._check(replace(unit, asked=unit.applied))
        if self.run_mode == FREE:
            self.running_since = self.bench.clock.now()
        else:
            count = self.condition if self.run_mode == COUNT else max(1.0, self.condition / self.period + 1e-6)
            self._deliver(pulsing, int(count))

    def _deliver(self, pulsing: Sequence[SpguChannel], count: int) -> None:
        pulse: Callable[[Mapping[int, PulseShape], int, float], None] = self.bench.fixture.pulse
        if not pulsing:
            self.bench.clock.sleep(count * self.period)
        elif pulsing[0].applied.mode != 3:
            pulse({u.number: u.applied.used[0].shape(u.applied.gain) for u in pulsing}, count, self.period)
        else:
            first = max(u.applied.signals[0].end for u in pulsing)
            early = {u.number: u.applied.signals[0].shape(u.applied.gain) for u in pulsing}
            late = {
                u.number: replace(s, delay=max(0.0, s.delay - first)).shape(u.applied.gain)
                for u in pulsing
                for s in u.applied.signals[1:]
            }
            for _ in range(count):
                pulse(early, 1, first)
                pulse(late, 1, self.period - first)

    def spp(self, args: Sequence[str]) -> None:
        """SPP: stop; the outputs rest at their base voltage."""
        self._end_run()

    def _end_run(self) -> None:
        if self.running_since is None:
            return
        elapsed = self.bench.clock.now() - self.running_since
        self.running_since = None
        pulsing = [u for u in self.units.values() if u.on and u.applied.mode != 0]
        self._deliver(pulsing, min(MOST_FREE_PULSES, max(1, int(elapsed / self.period + 1e-6))))
