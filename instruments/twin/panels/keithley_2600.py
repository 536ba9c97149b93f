"""Front panel of a simulated Keithley 2602B (or 2612B, 2636B) SourceMeter: TSP attributes, ranges, error queue.

Certain (Series 2600B reference manual): the names, values and defaults of what is served; `errorqueue.next()` gives
code, message, severity and node, separated by tabs; an output that is off rests at 0 V with `offlimiti`, or is open
with `offmode` 2; `source.compliance`; the ranges.
Uncertain, and stated as a model: noise (one step of the range's resolution, rms, a power-line cycle, falling with the
root of the time), time to settle and to switch the output relay, which number stands for which refused value.

Served: both channels as voltage and current sources with limits, measurements (i, v, iv, r, p) into the two buffers,
status of a limit, error queue, `delay`, identification. Sweeps, triggers, scripts and the digital port are errors.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from instruments.errors import ConfigError
from instruments.twin.panels.tsp import (
    Attribute,
    Table,
    TspError,
    Value,
    World,
    basic_functions,
    execute,
    quantity,
    shown,
    whole,
)

if TYPE_CHECKING:
    from instruments.twin.bench import Bench

_V26 = (0.1, 1.0, 6.0, 40.0)
_V261 = (0.2, 2.0, 20.0, 200.0)
_AMPS = tuple(float(f"1e{k}") for k in range(-7, 1))
MODELS: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "2602B": (_V26, (*_AMPS, 3.0)),
    "2612B": (_V261, (*_AMPS[:-1], 1.0, 1.5)),
    "2636B": (_V261, (1e-9, 1e-8, *_AMPS[:-1], 1.0, 1.5)),
}
"""Voltage ranges, current ranges."""
SETTLE, SWITCH = 50e-6, 1e-3
RESOLUTION = 1e-5
"""Of a current range (100 uA: 1 nA), and of a voltage range."""
QUEUE = 100
EMPTY = (0.0, "Queue Is Empty", 0.0, 1.0)
OVERFLOW = 9.91e37
PROBE = 10e-3
_DEFAULTS: Mapping[str, float] = {
    "source.func": 1, "source.output": 0, "source.offmode": 0, "source.offlimiti": 1e-3, "source.levelv": 0,
    "source.leveli": 0, "source.limitv": 20, "source.limiti": 0.1, "source.limitp": 0, "source.rangev": 0,
    "source.rangei": 0, "source.autorangev": 1, "source.autorangei": 1, "source.delay": 0, "source.settling": 0,
    "source.highc": 0, "source.sink": 0, "source.offfunc": 1, "measure.rangev": 0, "measure.rangei": 0,
    "measure.autorangev": 1, "measure.autorangei": 1, "measure.nplc": 1, "measure.autozero": 2, "measure.delay": 0,
    "measure.count": 1, "measure.interval": 0, "measure.filter.enable": 0, "measure.filter.count": 1,
    "measure.filter.type": 1, "measure.lowrangei": 1e-7, "measure.lowrangev": 0.1, "sense": 0,
}  # fmt: skip
_CHOICES: Mapping[str, tuple[int, ...]] = {
    "source.func": (0, 1), "source.output": (0, 1, 2), "source.offmode": (0, 1, 2), "sense": (0, 1, 3),
    "measure.autozero": (0, 1, 2), "measure.filter.type": (0, 1, 2), "source.settling": (0, 1, 2, 128, 129, 130),
    **{name: (0, 1) for name in _DEFAULTS if name.split(".")[-1].startswith(("autorange", "high", "sink", "enable"))},
    "source.offfunc": (0, 1),
}  # fmt: skip


@dataclass
class Unit:
    """One channel.

    Attributes:
        channel: its number on the bench.
        values: settings by name.
        limited: whether the last measurement, or the last look, found the limit reached.
    """

    letter: str
    channel: int
    values: dict[str, float] = field(default_factory=lambda: dict(_DEFAULTS))
    limited: bool = False
    buffers: dict[str, list[float]] = field(default_factory=lambda: {"nvbuffer1": [], "nvbuffer2": []})


class Keithley2600Panel:
    """One SourceMeter of two channels (see `Panel` for the protocol).

    Options: `channels: "a=1,b=2"` the numbers that its channels have in the bench's wiring; `model`, `serial`.
    """

    def __init__(self, bench: "Bench", options: Mapping[str, str]) -> None:
        """Attach to a bench; see the class for options.

        Raises:
            ConfigError: an option is unknown or can't be read.
        """
        unknown = set(options) - {"channels", "model", "serial", "line_frequency"}
        if unknown:
            raise ConfigError(f"keithley_2600: unknown option {sorted(unknown)[0]!r}")
        self.model = options.get("model", "2602B")
        if self.model not in MODELS:
            raise ConfigError(f"keithley_2600: model {self.model!r} is none of {', '.join(MODELS)}")
        self._volts, self._amps = MODELS[self.model]
        self._serial = options.get("serial", "4000001")
        self._frequency = float(options.get("line_frequency", "50"))
        self._bench = bench
        pairs = dict(item.split("=") for item in options.get("channels", "a=1,b=2").replace(" ", "").split(","))
        if set(pairs) != {"a", "b"} or not all(number.isdecimal() for number in pairs.values()):
            raise ConfigError('keithley_2600: channels must be such as "a=1,b=2"')
        self.units = {letter: Unit(letter, int(number)) for letter, number in pairs.items()}
        self.errors: deque[TspError] = deque(maxlen=QUEUE)
        self._replies: list[bytes] = []
        self._events, self._masks = 128, {"*ESE": 0, "*SRE": 0}
        self._append: dict[str, Value] = {f"smu{letter}.nvbuffer{n}": 0.0 for letter in self.units for n in (1, 2)}
        self._world = self._make_world()

    # The panel's protocol

    def handle(self, message: bytes) -> list[bytes] | None:
        """Execute a message; errors go to the queue, replies are what it prints."""
        self._replies = []
        text = message.decode("latin-1").strip()
        try:
            if text.startswith("*"):
                for part in text.split(";"):
                    self._common(part.strip())
            elif text:
                execute(text, self._world)
        except TspError as error:
            self.errors.append(error)
        replies, self._replies = self._replies, []
        return replies

    def pull(self) -> bytes | None:
        """Nothing but replies."""
        return None

    def status_byte(self) -> int:
        """Bit 2: the error queue holds something; bit 6 its summary, if enabled."""
        byte = 4 if self.errors else 0
        return byte | 64 if byte & self._masks["*SRE"] else byte

    def clear(self) -> None:
        """Device clear: outputs stay as they are."""
        self._replies = []

    def trigger(self) -> None:
        """No trigger model is served, so nothing waits for it."""

    def enter_error(self, code: int) -> None:
        """A fault: an entry that nobody asked for."""
        self.errors.append(TspError(code, "Entry of a fault profile"))

    # IEEE 488.2

    def _common(self, text: str) -> None:
        header, _, argument = text.partition(" ")
        header = header.upper()
        if header == "*IDN?":
            self._say(f"Keithley Instruments Inc., Model {self.model}, {self._serial}, 3.3.1")
        elif header == "*RST":
            self._reset_all()
        elif header == "*CLS":
            self.errors.clear()
            self._events = 0
        elif header == "*ESR?":
            self._say(str(self._events))
            self._events = 0
        elif header in ("*OPC?", "*TST?"):
            self._say("1" if header == "*OPC?" else "0")
        elif header == "*STB?":
            self._say(str(self.status_byte()))
        elif header in ("*OPC", "*WAI", "*TRG"):
            self._events |= header == "*OPC"
        elif header in self._masks and argument.isdecimal():
            self._masks[header] = int(argument) & 255
        elif header.rstrip("?") in self._masks and header.endswith("?"):
            self._say(str(self._masks[header[:-1]]))
        elif text:
            raise TspError(-113, "Undefined header")

    def _say(self, text: str) -> None:
        self._replies.append(text.encode("latin-1", "replace"))

    # Names

    def _make_world(self) -> World:
        world = World()
        a, f = world.attributes, world.functions
        for unit in self.units.values():
            self._define(world, unit)
        fixed: dict[str, Value] = {
            "localnode.model": self.model, "localnode.serialno": self._serial, "localnode.revision": "3.3.1",
            "localnode.version": "3.3.1", "localnode.linefreq": self._frequency, "localnode.description": "",
        }  # fmt: skip
        for name, value in fixed.items():
            a[name] = Attribute(lambda value=value: value)  # type: ignore[misc]  # a default binds the loop's value
        free: dict[str, Value] = {
            "localnode.prompts": 0.0, "localnode.showerrors": 0.0, "format.data": 1.0, "format.asciiprecision": 6.0,
            "format.byteorder": 1.0, "display.screen": 2.0, "beeper.enable": 1.0,
        }  # fmt: skip
        for name in free:
            a[name] = self._free(free, name)
        a["errorqueue.count"] = Attribute(lambda: float(len(self.errors)))
        f["errorqueue.next"] = lambda args: list(self._next_error())
        f["errorqueue.clear"] = lambda args: self._do(self.errors.clear)
        f["print"] = lambda args: self._do(
            lambda: self._say("\t".join(shown(v, int(float(free["format.asciiprecision"] or 6))) for v in args))
        )
        f["delay"] = lambda args: self._do(
            lambda: self._bench.fixture.dwell(quantity(args[0] if args else None, 0.0, 100e3, "delay"))
        )
        f["printbuffer"] = lambda args: self._do(lambda: self._print_buffer(args))
        f["reset"] = lambda args: self._do(self._reset_all)
        for name in ("waitcomplete", "collectgarbage", "status.reset", "display.clear", "beeper.beep"):
            f[name] = lambda args: []
        f["display.settext"] = lambda args: []
        f.update(basic_functions(world))
        return world

    @staticmethod
    def _free(store: dict[str, Value], name: str) -> Attribute:
        return Attribute(lambda: store[name], lambda value: store.__setitem__(name, value))

    @staticmethod
    def _do(action: Callable[[], object]) -> list[Value]:
        action()
        return []

    def _next_error(self) -> tuple[float, str, float, float]:
        if not self.errors:
            return EMPTY
        error = self.errors.popleft()
        return float(error.code), error.text, float(error.severity), 1.0

    def _define(self, world: World, unit: Unit) -> None:
        smu = f"smu{unit.letter}"
        for name in _DEFAULTS:
            world.attributes[f"{smu}.{name}"] = Attribute(
                lambda name=name: unit.values[name],  # type: ignore[misc]  # a default binds the loop's name
                lambda value, name=name: self._set(unit, name, value),  # type: ignore[misc]  # as above
            )
        a, f = world.attributes, world.functions
        a[f"{smu}.source.compliance"] = Attribute(lambda: self._look(unit))
        a[f"status.measurement.instrument.{smu}.condition"] = Attribute(
            lambda: float(unit.limited) * (2.0 if unit.values["source.func"] == 1 else 1.0)
        )
        constants = {"OUTPUT_OFF": 0, "OUTPUT_ON": 1, "OUTPUT_HIGH_Z": 2, "OUTPUT_NORMAL": 0, "OUTPUT_ZERO": 1,
                     "OUTPUT_DCAMPS": 0, "OUTPUT_DCVOLTS": 1, "AUTORANGE_OFF": 0, "AUTORANGE_ON": 1,
                     "SENSE_LOCAL": 0, "SENSE_REMOTE": 1, "FILTER_OFF": 0, "FILTER_ON": 1}  # fmt: skip
        for name, number in constants.items():
            a[f"{smu}.{name}"] = Attribute(lambda number=number: float(number))  # type: ignore[misc]  # as above
        for name, kept in unit.buffers.items():
            place = f"{smu}.{name}"
            a[f"{place}.n"] = Attribute(lambda kept=kept: float(len(kept)))  # type: ignore[misc]  # as above
            a[f"{place}.appendmode"] = self._free(self._append, place)
            a[f"{place}.readings.n"] = a[f"{place}.n"]
            f[f"{place}.clear"] = lambda args, kept=kept: self._do(kept.clear)  # type: ignore[misc]  # as above
        f[f"{smu}.reset"] = lambda args: self._do(lambda: self._reset(unit))
        f[f"{smu}.abort"] = lambda args: []
        for kind in ("i", "v", "r", "p", "iv"):
            f[f"{smu}.measure.{kind}"] = lambda args, kind=kind: self._measured(unit, kind, args)  # type: ignore[misc]  # as above

    # Settings

    def _set(self, unit: Unit, name: str, value: Value) -> None:
        values = unit.values
        if name in _CHOICES:
            values[name] = whole(value, _CHOICES[name], name)
        else:
            values[name] = self._ranged(unit, name, value)
        if name == "source.output":
            self._bench.clock.sleep(SWITCH)
        if name.startswith(("source.lev", "source.lim", "source.func", "source.output", "source.off")):
            self._drive(unit)

    def _ranged(self, unit: Unit, name: str, value: Value) -> float:
        volts, amps = self._volts[-1] * 1.01, self._amps[-1] * 1.01
        kind = name.split(".")[-1]
        if kind.startswith("range"):
            scales = self._volts if kind.endswith("v") else self._amps
            asked = abs(quantity(value, -scales[-1] * 1.01, scales[-1] * 1.01, name))
            unit.values[name.replace("range", "autorange")] = 0
            return next(scale for scale in (*scales, math.inf) if asked <= scale * 1.01)
        bounds = {
            "levelv": (-volts, volts), "leveli": (-amps, amps), "limitv": (10e-3, volts), "limiti": (10e-9, amps),
            "limitp": (0.0, 40.0), "offlimiti": (10e-9, amps), "nplc": (0.001, 25.0), "count": (1.0, 60e3),
        }  # fmt: skip
        low, high = bounds.get(kind, (0.0, 1e4))
        number = quantity(value, low, high, name)
        for level in ("v", "i"):
            if kind == f"level{level}" and not unit.values[f"source.autorange{level}"]:
                scale = unit.values[f"source.range{level}"]
                if abs(number) > scale * 1.01:
                    raise TspError(5005, "Value too big for range")
        return number

    def _reset(self, unit: Unit) -> None:
        unit.values = dict(_DEFAULTS)
        unit.limited = False
        self._drive(unit)

    def _reset_all(self) -> None:
        for unit in self.units.values():
            self._reset(unit)

    # Physics, by way of the wires

    def _drive(self, unit: Unit) -> None:
        v, fixture = unit.values, self._bench.fixture
        if v["source.output"] != 1:
            high_z = v["source.offmode"] == 2 or v["source.output"] == 2
            fixture.force(unit.channel, None if high_z else 0.0, v["source.offlimiti"])
            unit.limited = False
        elif v["source.func"] == 1:
            fixture.force(unit.channel, v["source.levelv"], v["source.limiti"])
        else:
            fixture.force(unit.channel, math.copysign(v["source.limitv"], v["source.leveli"]), abs(v["source.leveli"]))
        self._bench.clock.sleep(SETTLE)

    def _look(self, unit: Unit) -> bool:
        if unit.values["source.output"] == 1:
            self._sense(unit, SETTLE)
        return unit.limited

    def _sense(self, unit: Unit, seconds: float) -> float:
        reading = self._bench.fixture.measure(unit.channel, seconds)
        if unit.values["source.func"] == 1:
            unit.limited = reading.in_compliance
        else:
            unit.limited = not reading.in_compliance and unit.values["source.leveli"] != 0
        return reading.current

    def _measured(self, unit: Unit, kind: str, args: list[Value]) -> list[Value]:
        """`measure.count` measurements, kept in the buffers that are named; the last one is the result."""
        kept = [self._buffer(one) for one in args]
        for place, buffer in zip(args, kept, strict=True):
            if not self._append[str(place)]:
                buffer.clear()
        values: list[Value] = []
        for _ in range(int(unit.values["measure.count"])):
            values = self._measure(unit, kind)
            for value, buffer in zip(values, kept, strict=False):
                buffer.append(float(value or 0.0))
        return values

    def _buffer(self, place: Value) -> list[float]:
        smu, _, name = str(place).removesuffix(".readings").partition(".")
        unit = self.units.get(smu.removeprefix("smu"))
        if not isinstance(place, Table) or unit is None or name not in unit.buffers:
            raise TspError(-286, "TSP Runtime error at line 1: expected a reading buffer")
        return unit.buffers[name]

    def _print_buffer(self, args: list[Value]) -> None:
        if len(args) < 3:
            raise TspError(-286, "TSP Runtime error at line 1: printbuffer: first, last and a buffer are needed")
        first, last = (int(quantity(one, 1, 60e3, "printbuffer")) for one in args[:2])
        kept = [self._buffer(one) for one in args[2:]]
        if any(last > len(buffer) for buffer in kept):
            raise TspError(1102, "Parameter Too Big")
        rows = (shown(buffer[i]) for i in range(first - 1, last) for buffer in kept)
        self._say(", ".join(rows))

    def _measure(self, unit: Unit, kind: str) -> list[Value]:
        seconds = unit.values["measure.nplc"] / self._frequency
        amps = self._sense(unit, seconds)
        volts = self._voltage(unit)
        i, v = self._reading(unit, "i", amps, seconds), self._reading(unit, "v", volts, seconds)
        results: dict[str, list[Value]] = {
            "i": [i], "v": [v], "iv": [i, v], "p": [i * v], "r": [v / i if i else OVERFLOW],
        }  # fmt: skip
        return results[kind]

    def _voltage(self, unit: Unit) -> float:
        """Volts at the output; for a regulating current source from the load's resistance, found at 10 mV."""
        fixture, v = self._bench.fixture, unit.values
        forced = fixture.voltage(unit.channel)
        if v["source.func"] == 1 or unit.limited or v["source.leveli"] == 0:
            return forced
        probe = math.copysign(min(PROBE, v["source.limitv"]), v["source.leveli"])
        fixture.force(unit.channel, probe, abs(v["source.leveli"]))
        found = fixture.measure(unit.channel, SETTLE).current
        fixture.force(unit.channel, forced, abs(v["source.leveli"]))
        volts = forced if found == 0 else abs(v["source.leveli"] * probe / found)
        return math.copysign(min(abs(volts), v["source.limitv"]), v["source.leveli"])

    def _reading(self, unit: Unit, kind: str, true: float, seconds: float) -> float:
        scales = self._amps if kind == "i" else self._volts
        scale = unit.values[f"measure.range{kind}"]
        if unit.values[f"measure.autorange{kind}"] or scale == 0:
            scale = next((s for s in scales if abs(true) <= s * 1.02), scales[-1])
        if abs(true) > scale * 1.02:
            return OVERFLOW
        step = scale * RESOLUTION
        sigma = step * math.sqrt(1 / self._frequency / seconds)
        noisy = true + sigma * float(self._bench.rng("keithley_2600.adc").standard_normal())
        return round(noisy / step) * step
