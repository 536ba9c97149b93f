"""Search measurements of the simulated B1500A: the source's value at which a reading comes to a target.

Linear (MM 14) and binary (MM 15). Sources: Programming Guide of the B1500A and of its sibling E5260/E5270 (search
measurements, data output format, commands). Uncertain: the error of a search without source or without target.

A target that isn't met gives the closest point, as one that is.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from instruments.twin.panels.b1500a_modes import Measurements
from instruments.twin.panels.b1500a_setup import Sources
from instruments.twin.panels.b1500a_smu import Smu, SmuBank, compliance_value, range_code, source_value
from instruments.twin.panels.flex import Entry, FlexError, OutputData, choice, real, whole

LINEAR, BINARY = 14, 15
MOST_HALVINGS = 16
FINEST = 1 / 20_000
"""Of a source's range: a step below it ends a binary search."""


@dataclass(frozen=True)
class Source:
    """The source that searches, and the one that follows it with a sign and an offset."""

    unit: Smu
    kind: str
    code: int
    start: float
    stop: float
    compliance: float
    step: float = 0.0
    follower: tuple[Smu, float, float, float] | None = None
    """Channel, sign, offset, compliance."""


@dataclass(frozen=True)
class Target:
    """What is measured and looked for; `mode` and `condition` as in LGI or BGI."""

    unit: Smu
    kind: str
    code: int
    value: float
    mode: int
    condition: float = 0.0


@dataclass
class SearchSetup:
    """Settings of one of the two searches; initial values."""

    source: Source | None = None
    target: Target | None = None
    wait: tuple[float, float] = (0.0, 0.0)
    abort: int = 1
    post: int = 1
    cautious: bool = False
    tells: bool = False


class Searches:
    """The commands and measurements of this part."""

    def __init__(self, bank: SmuBank, data: OutputData, sources: Sources, measurements: Measurements) -> None:
        """Join `measurements`."""
        self.bank, self.data, self.sources, self.measurements = bank, data, sources, measurements
        self.reset()
        measurements.modes.update({LINEAR: lambda: self._search("L"), BINARY: lambda: self._search("B")})

    def reset(self) -> None:
        """Initial settings."""
        self.setups = {"L": SearchSetup(), "B": SearchSetup()}

    def commands(self) -> dict[str, Entry]:
        """The commands this part serves."""
        found: dict[str, Entry] = {
            "LSM": Entry(lambda a: self._stopping(self.setups["L"], a), 1, 2),
            "BSM": Entry(self.bsm, 2, 3),
            "LSTM": Entry(lambda a: self._wait("L", a), 2, 2),
            "BST": Entry(lambda a: self._wait("B", a), 2, 2),
        }
        for letter, targets, sources in (("L", (4, 4), (5, 6)), ("B", (5, 5), (4, 5))):
            for kind in "VI":
                found[f"{letter}G{kind}"] = Entry(self._bound(self._target, letter, kind), *targets)
                found[f"{letter}S{kind}"] = Entry(self._bound(self._source, letter, kind), *sources)
                found[f"{letter}SS{kind}"] = Entry(self._bound(self._follower, letter, kind), 3, 4)
            found[f"{letter}SVM"] = Entry(self._bound(self._telling, letter, ""), 1, 1)
        return found

    @staticmethod
    def _bound(
        run: Callable[[str, str, Sequence[str]], None], letter: str, kind: str
    ) -> Callable[[Sequence[str]], None]:
        return lambda args: run(letter, kind, args)

    # Settings

    def _target(self, letter: str, kind: str, args: Sequence[str]) -> None:
        """LGV, LGI ch,mode,range,target; BGV, BGI ch,mode,condition,range,target."""
        unit, mode = self.sources.smu(args[0]), choice(args[1], (0, 1))
        condition = 0.0
        if letter == "B":
            condition = float(whole(args[2], 1, MOST_HALVINGS)) if mode else abs(real(args[2]))
        code = range_code(unit, kind, args[-2], fixed=True)
        self.setups[letter].target = Target(unit, kind, code, real(args[-1]), mode, condition)

    def _source(self, letter: str, kind: str, args: Sequence[str]) -> None:
        """LSV, LSI ch,range,start,stop,step[,comp]; BSV, BSI ch,range,start,stop[,comp]."""
        unit = self.sources.smu(args[0])
        code = range_code(unit, kind, args[1])
        start, stop = (source_value(unit, kind, code, a) for a in args[2:4])
        if start == stop:
            raise FlexError(120, "start and stop are the same")
        step = abs(real(args[4])) if letter == "L" else 0.0
        if letter == "L" and step == 0.0:
            raise FlexError(120, "a step of zero")
        rest = args[5 if letter == "L" else 4 :]
        if not rest and unit.kind != kind:
            raise FlexError(123, f"CHANNEL{unit.channel}")
        largest = max(abs(start), abs(stop))
        compliance = compliance_value(unit, kind, largest, rest[0]) if rest else unit.compliance
        self.setups[letter].source = Source(unit, kind, code, start, stop, compliance, step)

    def _follower(self, letter: str, kind: str, args: Sequence[str]) -> None:
        """LSSV, LSSI, BSSV, BSSI ch,polarity,offset[,comp]: sign (0 negative, 1 positive) times source, plus offset."""
        setup, unit = self.setups[letter], self.sources.smu(args[0])
        source = setup.source
        if source is None or source.kind != kind:
            raise FlexError(220)
        sign, offset = choice(args[1], (0, 1)) * 2.0 - 1.0, source_value(unit, kind, source.code, args[2])
        compliance = compliance_value(unit, kind, offset, args[3]) if len(args) > 3 else unit.compliance
        setup.source = Source(
            source.unit, kind, source.code, source.start, source.stop, source.compliance, source.step,
            (unit, sign, offset, compliance),
        )  # fmt: skip

    def _telling(self, letter: str, kind: str, args: Sequence[str]) -> None:
        """LSVM, BSVM mode: 0 gives the source's value, 1 the reading besides."""
        self.setups[letter].tells = bool(choice(args[0], (0, 1)))

    def _wait(self, letter: str, args: Sequence[str]) -> None:
        """LSTM, BST hold,delay, s."""
        self.setups[letter].wait = (real(args[0], 0.0, 655.35), real(args[1], 0.0, 65.535))

    def bsm(self, args: Sequence[str]) -> None:
        """BSM mode,abort[,post]: 0 normal, 1 cautious."""
        self.setups["B"].cautious = bool(choice(args[0], (0, 1)))
        self._stopping(self.setups["B"], args[1:])

    @staticmethod
    def _stopping(setup: SearchSetup, args: Sequence[str]) -> None:
        """LSM abort[,post]: afterwards 1 start, 2 stop, 3 where the search ended."""
        setup.abort, setup.post = choice(args[0], (1, 2)), choice(args[1], (1, 2, 3)) if len(args) > 1 else 1

    # Measurements

    def _search(self, letter: str) -> Iterable[str]:
        setup = self.setups[letter]
        source, target = setup.source, setup.target
        if source is None:
            raise FlexError(220)
        if target is None:
            raise FlexError(122, "no search target")
        for unit in (source.unit, target.unit, *([source.follower[0]] if source.follower else [])):
            self.measurements.ready(unit)
        self._force(source, source.start)
        self.bank.bench.fixture.dwell(setup.wait[0])
        run = self._linear if letter == "L" else self._binary
        level, flags, value, scale = run(setup, source, target)
        after = {1: source.start, 2: source.stop, 3: level}[setup.post]
        self._force(source, after)
        full = self.sources.scale(source.unit, source.kind, source.code, max(abs(source.start), abs(source.stop)))
        yield self.data.measured(0, source.unit.channel, source.kind, level, full)
        if setup.tells:
            yield self.data.measured(flags, target.unit.channel, target.kind, value, scale)

    def _force(self, source: Source, level: float) -> None:
        self.bank.source(source.unit, source.kind, level, source.compliance)
        if source.follower is not None:
            unit, sign, offset, compliance = source.follower
            self.bank.source(unit, source.kind, sign * level + offset, compliance)

    def _at(self, setup: SearchSetup, source: Source, target: Target, level: float) -> tuple[float, int, float, float]:
        self._force(source, level)
        self.bank.bench.fixture.dwell(setup.wait[1])
        return level, *self.bank.measure(target.unit, target.kind, target.code)

    def _linear(self, setup: SearchSetup, source: Source, target: Target) -> tuple[float, int, float, float]:
        steps = math.floor(abs(source.stop - source.start) / source.step + 1e-9)
        direction = math.copysign(source.step, source.stop - source.start)
        points: list[tuple[float, int, float, float]] = []
        for k in range(steps + 1):
            points.append(self._at(setup, source, target, source.start + k * direction))
            value = points[-1][2]
            if value >= target.value if target.mode else value <= target.value:
                break
            if setup.abort == 2 and target.unit.limited:
                break
        return min(points[-2:], key=lambda point: abs(point[2] - target.value))

    def _binary(self, setup: SearchSetup, source: Source, target: Target) -> tuple[float, int, float, float]:
        ends = [self._at(setup, source, target, level) for level in (source.start, source.stop)]
        points, (low, high) = list(ends), (source.start, source.stop)
        if (ends[0][2] - target.value) * (ends[1][2] - target.value) <= 0:
            rising = ends[1][2] >= ends[0][2]
            least = FINEST * max(abs(source.start), abs(source.stop))
            most = int(target.condition) if target.mode else MOST_HALVINGS
            for _ in range(most):
                if abs(high - low) / 2 < least:
                    break
                point = self._at(setup, source, target, (low + high) / 2)
                points.append(point)
                if not target.mode and abs(point[2] - target.value) <= target.condition:
                    break
                if (point[2] < target.value) == rising:
                    low = point[0]
                else:
                    high = point[0]
        return min(points, key=lambda point: abs(point[2] - target.value))
