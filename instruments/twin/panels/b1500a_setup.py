"""What a measurement of the simulated B1500A is to be: modes, sweep, pulse and sampling sources, their timing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from instruments.twin.panels.b1500a_smu import Smu, compliance_value, full_scale, range_code, scales, source_value
from instruments.twin.panels.flex import Entry, FlexError, choice, real, whole

SPOT, STAIRCASE, PULSED_SPOT, PULSED_SWEEP, SAMPLING, MULTI_SWEEP = 1, 2, 3, 4, 10, 16
SEARCHES = (14, 15)
"""Modes whose channel is told by the search's own commands."""
SINGLE = (PULSED_SPOT, PULSED_SWEEP, 5, 9)
"""Modes that measure with one channel."""
MODES = (SPOT, STAIRCASE, PULSED_SPOT, PULSED_SWEEP, 5, 9, SAMPLING, 14, 15, MULTI_SWEEP, 27, 28)
DECADES = {2: 10, 3: 25, 4: 50, 5: 100, 6: 250, 7: 5000}  # ML mode -> samples a decade


@dataclass(frozen=True)
class Sweep:
    """A staircase or pulsed sweep source: levels, and what the source needs to force them."""

    unit: Smu
    kind: str
    levels: tuple[float, ...]
    compliance: float
    scale: float
    mode: int
    code: int
    base: float = 0.0
    power: float | None = None


@dataclass(frozen=True)
class Synchronous:
    """A second staircase that follows the primary one: start, stop."""

    unit: Smu
    kind: str
    start: float
    stop: float
    compliance: float
    code: int
    power: float | None = None


@dataclass(frozen=True)
class Bias:
    """Base and bias (sampling) or base and pulse (pulsed spot) of a constant source."""

    unit: Smu
    kind: str
    base: float
    peak: float
    compliance: float
    code: int


@dataclass
class Setup:
    """All measurement settings beside the channels' own; initial values of the Programming Guide."""

    mode: int = 0
    channels: tuple[int, ...] = ()
    sweep: Sweep | None = None
    synchronous: Synchronous | None = None
    followers: dict[int, Synchronous] = field(default_factory=dict)
    """Sources of a multi channel sweep beside the primary one, by their number."""
    pulse: Bias | None = None
    pulse_sweep: Sweep | None = None
    sampling: dict[int, Bias] = field(default_factory=dict)
    wait: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0)
    pulse_wait: tuple[float, ...] = (0.0, 1e-3, 10e-3)
    abort: tuple[int, int] = (1, 1)
    sampling_abort: tuple[int, int] = (1, 2)
    sampling_wait: tuple[float, ...] = (0.0, 2e-3, 1000, 0.0)
    sampling_mode: int = 1
    time_stamp: bool = False


def staircase(mode: int, start: float, stop: float, steps: int) -> tuple[float, ...]:
    """Levels of a sweep: modes 1 linear, 2 logarithmic, 3 and 4 the same there and back."""
    fractions = [k / (steps - 1) if steps > 1 else 0.0 for k in range(steps)]
    if mode in (2, 4):
        levels = [start * (stop / start) ** f for f in fractions]
    else:
        levels = [start + (stop - start) * f for f in fractions]
    return tuple(levels + levels[::-1] if mode > 2 else levels)


class Sources:
    """The commands that set measurements up; nothing is driven before XE."""

    def __init__(self, smu: Callable[[str], Smu]) -> None:
        """`smu` resolves a channel parameter or raises FlexError 121."""
        self.smu = smu
        self.setup = Setup()

    def reset(self) -> None:
        """Back to the initial settings."""
        self.setup = Setup()

    def commands(self) -> dict[str, Entry]:
        """The commands this part serves."""
        return {
            "MM": Entry(self.mm, 1, 11),
            "WV": Entry(lambda a: self.w("V", a), 6, 8),
            "WI": Entry(lambda a: self.w("I", a), 6, 8),
            "WSV": Entry(lambda a: self.ws("V", a), 4, 6),
            "WSI": Entry(lambda a: self.ws("I", a), 4, 6),
            "WNX": Entry(self.wnx, 6, 8),
            "WNCC": Entry(lambda a: self.setup.followers.clear(), 0, 0),
            "WT": Entry(self.wt, 2, 5),
            "WM": Entry(self.wm, 1, 2),
            "PT": Entry(self.pt, 2, 4),
            "PV": Entry(lambda a: self.p("V", a), 4, 5),
            "PI": Entry(lambda a: self.p("I", a), 4, 5),
            "PWV": Entry(lambda a: self.pw("V", a), 7, 8),
            "PWI": Entry(lambda a: self.pw("I", a), 7, 8),
            "MV": Entry(lambda a: self.m("V", a), 4, 5),
            "MI": Entry(lambda a: self.m("I", a), 4, 5),
            "MCC": Entry(self.mcc, 0, 10),
            "MT": Entry(self.mt, 3, 4),
            "ML": Entry(self.ml, 1, 1),
            "MSC": Entry(self.msc, 1, 2),
        }

    def mm(self, args: Sequence[str]) -> None:
        """MM mode[,ch...]: measurement mode and the channels that measure, in the order of their data."""
        mode = choice(args[0], MODES)
        units = [self.smu(text) for text in args[1:]]
        if (not units and mode not in SEARCHES) or (mode in SINGLE and len(units) > 1):
            raise FlexError(122)
        self.setup.mode, self.setup.channels = mode, tuple(u.channel for u in units)

    def w(self, kind: str, args: Sequence[str]) -> None:
        """WV, WI ch,mode,range,start,stop,step[,comp[,Pcomp]]."""
        unit, mode = self.smu(args[0]), choice(args[1], (1, 2, 3, 4))
        code = range_code(unit, kind, args[2])
        start, stop = (source_value(unit, kind, code, a) for a in args[3:5])
        if mode in (2, 4) and start * stop <= 0:
            raise FlexError(120, "a logarithmic sweep can't pass zero")
        levels = staircase(mode, start, stop, whole(args[5], 1, 10001))
        self.setup.sweep = self._sweep(unit, kind, levels, code, mode, args[6:])
        self.setup.followers.clear()  # they belong to the primary source they were set after

    def _sweep(
        self,
        unit: Smu,
        kind: str,
        levels: tuple[float, ...],
        code: int,
        mode: int,
        rest: Sequence[str],
        base: float = 0.0,
    ) -> Sweep:
        largest = max((abs(v) for v in (*levels, base)), default=0.0)
        if rest:
            compliance = compliance_value(unit, kind, largest, rest[0])
        elif unit.kind == kind:
            compliance = unit.compliance
        else:
            raise FlexError(123, f"CHANNEL{unit.channel}")
        power = real(rest[1], 1e-3, 40.0) if len(rest) > 1 else None
        return Sweep(unit, kind, levels, compliance, self.scale(unit, kind, code, largest), mode, code, base, power)

    def scale(self, unit: Smu, kind: str, code: int, largest: float) -> float:
        """Full scale of the output range that holds `largest` and is not below `code`."""
        least = full_scale(unit, kind, code)
        return next((s for s in scales(unit, kind) if s >= max(least, largest * (1 - 1e-9))), scales(unit, kind)[-1])

    def ws(self, kind: str, args: Sequence[str]) -> None:
        """WSV, WSI ch,range,start,stop[,comp[,Pcomp]]; the primary source comes first and is of the same kind."""
        sweep = self.setup.sweep
        if sweep is None or sweep.kind != kind:
            raise FlexError(220)
        unit = self.smu(args[0])
        code = range_code(unit, kind, args[1])
        start, stop = (source_value(unit, kind, code, a) for a in args[2:4])
        rest = self._sweep(unit, kind, (start, stop), code, sweep.mode, args[4:])
        self.setup.synchronous = Synchronous(unit, kind, start, stop, rest.compliance, code, rest.power)

    def wnx(self, args: Sequence[str]) -> None:
        """WNX N,ch,mode,range,start,stop[,comp[,Pcomp]]: source 2..10 of a multi channel sweep; mode 1 V, 2 A."""
        sweep = self.setup.sweep
        if sweep is None:
            raise FlexError(220)
        number, unit, kind = whole(args[0], 2, 10), self.smu(args[1]), "VI"[choice(args[2], (1, 2)) - 1]
        code = range_code(unit, kind, args[3])
        start, stop = (source_value(unit, kind, code, a) for a in args[4:6])
        if sweep.mode in (2, 4) and start * stop <= 0:
            raise FlexError(120, "a logarithmic sweep can't pass zero")
        rest = self._sweep(unit, kind, (start, stop), code, sweep.mode, args[6:])
        self.setup.followers[number] = Synchronous(unit, kind, start, stop, rest.compliance, code, rest.power)

    def mcc(self, args: Sequence[str]) -> None:
        """MCC [ch,...]: forget MV and MI of these channels, or of all."""
        for channel in [self.smu(text).channel for text in args] or list(self.setup.sampling):
            self.setup.sampling.pop(channel, None)

    def wt(self, args: Sequence[str]) -> None:
        """WT hold,delay[,step delay[,source trigger delay[,measurement trigger delay]]], seconds."""
        limits = (655.35, 65.535, 1.0, 65.535, 65.535)
        values = [real(a, 0.0, top) for a, top in zip(args, limits, strict=False)]
        self.setup.wait = (*values, *[0.0] * (5 - len(values)))

    def wm(self, args: Sequence[str]) -> None:
        """WM abort[,post]: 1 off, 2 on; after the sweep 1 start value, 2 stop value."""
        self.setup.abort = (choice(args[0], (1, 2)), choice(args[1], (1, 2)) if len(args) > 1 else 1)

    def pt(self, args: Sequence[str]) -> None:
        """PT hold,width[,period[,trigger delay]]: pulse width 50 us..2 s, period up to 5 s (0: shortest)."""
        width = real(args[1], 50e-6, 2.0)
        period = real(args[2], 0.0, 5.0) if len(args) > 2 else 0.0
        shortest = max(width + 2e-3, 5e-3)
        if period == 0.0:
            period = shortest
        elif period < width + 100e-6:
            raise FlexError(120, "the period must exceed the width")
        self.setup.pulse_wait = (real(args[0], 0.0, 655.35), width, period)

    def p(self, kind: str, args: Sequence[str]) -> None:
        """PV, PI ch,range,base,pulse[,comp]: pulsed spot source."""
        self.setup.pulse = self._bias(kind, args)

    def m(self, kind: str, args: Sequence[str]) -> None:
        """MV, MI ch,range,base,bias[,comp]: sampling source."""
        bias = self._bias(kind, args)
        self.setup.sampling[bias.unit.channel] = bias

    def _bias(self, kind: str, args: Sequence[str]) -> Bias:
        unit = self.smu(args[0])
        code = range_code(unit, kind, args[1])
        base = source_value(unit, kind, code, args[2])
        peak = source_value(unit, kind, code, args[3])
        largest = max(abs(base), abs(peak))
        compliance = compliance_value(unit, kind, largest, args[4]) if len(args) > 4 else unit.compliance
        return Bias(unit, kind, base, peak, compliance, code)

    def pw(self, kind: str, args: Sequence[str]) -> None:
        """PWV, PWI ch,mode,range,base,start,stop,step[,comp]: pulsed sweep source."""
        unit, mode = self.smu(args[0]), choice(args[1], (1, 2, 3, 4))
        code = range_code(unit, kind, args[2])
        base, start, stop = (source_value(unit, kind, code, a) for a in args[3:6])
        if mode in (2, 4) and start * stop <= 0:
            raise FlexError(120, "a logarithmic sweep can't pass zero")
        levels = staircase(mode, start, stop, whole(args[6], 1, 10001))
        self.setup.pulse_sweep = self._sweep(unit, kind, levels, code, mode, args[7:], base)

    def mt(self, args: Sequence[str]) -> None:
        """MT bias hold,interval,number[,base hold]: sampling times in seconds, number of samples."""
        interval = real(args[1], 1e-4, 65.535)
        number = whole(args[2], 1, 100001)
        base = real(args[3], 0.0, 655.35) if len(args) > 3 else 0.0
        self.setup.sampling_wait = (real(args[0], -0.09, 655.35), interval, number, base)

    def ml(self, args: Sequence[str]) -> None:
        """ML mode: 1 linear, 2..7 logarithmic with 10, 25, 50, 100, 250, 5000 samples a decade."""
        self.setup.sampling_mode = choice(args[0], (1, *DECADES))

    def msc(self, args: Sequence[str]) -> None:
        """MSC abort[,post]: 1 off, 2 on; after sampling 1 base, 2 bias."""
        self.setup.sampling_abort = (choice(args[0], (1, 2)), choice(args[1], (1, 2)) if len(args) > 1 else 2)
