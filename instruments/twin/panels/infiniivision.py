"""Front panel of a simulated Keysight InfiniiVision X-Series oscilloscope: SCPI grammar and scaling.

Certain (programmer's guides of the 2000, 3000T and 4000 X-Series): headers and word parameters; at most 12 bits in
high-resolution mode; RUN is bit 3 of the operation condition; `:AER?` and `:TER?` clear themselves; replies
`-113,"Undefined header"` and `+0,"No error"`.
Uncertain: which values of scale and time base the instrument accepts as they are (here any, to three digits), how
often it re-arms, bit 5 (waiting for a trigger), which error number stands for a parameter it does not like.

Served: acquisition, channels, time base, edge trigger, waveforms, status, set-ups; measurements, images and the panel's
plain settings in `infiniivision_more`. The probe attenuation scales what is set and read, as if the probe divided.
Digital channels, waveform generator, protocols, segments and files on a stick are undefined headers. In a trigger mode
other than EDGE no trigger comes; averages and peak detection are of one record, the former with less noise and more
bits. `:AUToscale` has no signal to scale by: it shows 1 V per division at once.
"""

import bisect
import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from instruments.twin.panels.infiniivision_inputs import Inputs, three_digits
from instruments.twin.panels.infiniivision_more import LIMITED, Extras
from instruments.twin.panels.infiniivision_system import System
from instruments.twin.panels.infiniivision_waveform import LEVELS, SCREEN_LEVELS, WaveformFormat
from instruments.twin.panels.scope_options import ScopeOptions
from instruments.twin.panels.scpi import (
    Call,
    Entry,
    Interpreter,
    ScpiError,
    Tree,
    block,
    choice,
    number,
)
from instruments.twin.panels.scpi_state import OPERATION_COMPLETE, Settings, Status, shown
from instruments.twin.scope_digitizer import Digitizer
from instruments.twin.scope_front_end import Converter, Edge, Input, Plan, Record

if TYPE_CHECKING:
    from instruments.twin.bench import Bench
    from instruments.twin.scope_front_end import Run

IDENTITY = "KEYSIGHT TECHNOLOGIES,DSO-X 3024T,MY00000000,07.50.2021102830"
_DECADES = [m * 10**k for k in (2, 3, 4, 5, 6) for m in (1, 2, 5)]
POINTS = sorted({250, 62_500, *_DECADES} - {200})
SWITCHING = 30e-3
"""Time for an attenuator relay or a new time base to settle, s (estimate)."""
QUEUE_LENGTH = 30
_REFERENCES = {"LEFT": 0.1, "CENT": 0.5, "RIGH": 0.9, "CUST": 0.5}
_SLOW = ("CHANnel<n>:RANGe", "CHANnel<n>:COUPling", "TIMebase:RANGe")


class InfiniiVisionPanel:
    """One oscilloscope (see `Panel` for the protocol).

    Attributes:
        probes: the bench's node at each channel's probe; may be changed at any time.
        external: the node at the external trigger input.
    """

    def __init__(self, bench: "Bench", options: Mapping[str, str]) -> None:
        """Attach to a bench.

        Args:
            bench: clock, chance, and a list `scopes` to join.
            options: see `ScopeOptions`; by default an instrument of 200 MHz, 2.5 GS/s and 4 million points with a
                noise of 0.3 % of the screen.

        Raises:
            ConfigError: an option is unknown or can't be read.
        """
        about = ScopeOptions.read(
            options, idn=IDENTITY, noise="0.003", bandwidth="200 MHz", memory="4e6", rate="2.5 GHz"
        )
        self._about = about
        self.channels, self.probes, self.external = about.channels, dict(about.probes), about.external
        self._converter = Converter(8, 12, about.rate)
        self.clock = bench.clock
        self._errors: deque[ScpiError] = deque()
        self._output: deque[bytes] = deque()
        self._settling = 0.0
        self._latched = 0
        tree = Tree()
        self.settings = Settings(tree, self.check_channel, self._changed)
        self.digitizer = Digitizer(bench.clock, lambda: bench.rng("oscilloscope"), self._plan, self._finished)
        self._system = System(self)
        self.status = Status(about.identity, self._reset, self._forget, self._system.summary)
        self._inputs = Inputs(self, tree)
        self._define_times(tree)
        self._define_waveform(tree)
        tree.add_all(self.status.commands())
        tree.add_all(self._actions())
        tree.add_all(self._system.commands())
        self._extras = Extras(self, tree)
        self._interpreter = Interpreter(tree, self._refuse, lambda: False)
        self._reset()
        bench.scopes.append(self)

    # The panel's protocol

    def handle(self, message: bytes) -> list[bytes] | None:
        """Execute a message; errors go to the queue."""
        replies = self._interpreter.feed(message)
        settling, self._settling = self._settling, 0.0
        if settling:
            self.clock.sleep(settling)
        return replies

    def pull(self) -> bytes | None:
        """Replies that a `:DIGitize` had held up."""
        return self._output.popleft() if self._output else None

    @property
    def held(self) -> bool:
        """Whether messages wait until an acquisition is over."""
        return self._interpreter.held

    def overrun(self) -> None:
        """A message larger than the input buffer was thrown away."""
        self._refuse(ScpiError(-363))

    @property
    def tree(self) -> Tree:
        """All headers."""
        return self._interpreter.tree

    def status_byte(self) -> int:
        """Serial poll."""
        return self.status.byte()

    def clear(self) -> None:
        """Device clear: buffers, and a `:DIGitize` that is waiting."""
        if self._interpreter.held:
            self.digitizer.stop()
        self._interpreter.clear()
        self._output.clear()

    def trigger(self) -> None:
        """Group execute trigger."""
        self.digitizer.force()

    def on_run(self, run: "Run") -> None:
        """A run of the board is over."""
        self.digitizer.on_run(run)

    # What it is set to

    def check_channel(self, suffixes: tuple[int, ...]) -> None:
        """ScpiError -114 for a channel that isn't there."""
        if suffixes and not 1 <= suffixes[0] <= self.channels:
            raise ScpiError(-114, f"channel {suffixes[0]}")

    def attenuation(self, call: Call) -> float:
        """Of a channel's probe."""
        return self._inputs.attenuation(call)

    @property
    def bandwidth(self) -> float:
        """Of the instrument, Hz."""
        return self._about.bandwidth

    def _changed(self, name: str) -> None:
        if name in _SLOW:
            self._settling = SWITCHING

    def _define_times(self, tree: Tree) -> None:
        define = self.settings.define
        define("TIMebase:RANGe", 1e-3, lambda t: three_digits(number(t, 20e-9, 500, "s")))
        define(
            "TIMebase:SCALe",
            1e-3,
            lambda t: three_digits(number(t, 2e-9, 50, "s")) * 10,
            lambda v: shown(float(v) / 10),
            "TIMebase:RANGe",
        )
        tree.add("ACQuire:POINts", Entry(None, lambda call: f"+{self._memory_points()}"))
        tree.add("ACQuire:SRATe", Entry(None, lambda call: shown(self._memory_points() / self._range())))

    def _define_waveform(self, tree: Tree) -> None:
        define = self.settings.define
        define("WAVeform:SOURce", "CHAN1", lambda t: self._extras.sources.name(self._extras.sources.number(t)))
        define("WAVeform:POINts", "1000", self._asked_points, lambda v: f"+{self._available()}")
        tree.add("WAVeform:PREamble", Entry(None, lambda call: self._preamble()))
        tree.add("WAVeform:DATA", Entry(None, self._data))
        fields = ("TYPE", "COUNt", "XINCrement", "XORigin", "XREFerence", "YINCrement", "YORigin", "YREFerence")
        for name, at in zip(fields, (1, 3, 4, 5, 6, 7, 8, 9), strict=True):
            tree.add(f"WAVeform:{name}", Entry(None, self._field(at)))

    def _asked_points(self, text: str) -> str:
        word = text.upper()
        if word in ("NORM", "NORMAL", "RAW"):
            self.settings.put("WAVeform:POINts:MODE", word[:4])
            word = "MAX"
        return "1e12" if word in ("MAX", "MAXIMUM") else str(int(number(text, 1, 1e9)))

    def _available(self) -> int:
        """Points that there are to hand out."""
        record = self.digitizer.record
        channel = self._extras.sources.number(str(self.settings.get("WAVeform:SOURce")))
        if record is None or channel > 0 or (found := self._extras.sources.record(record, channel)) is None:
            return self._points()
        return found.plan.points

    def _field(self, at: int) -> Callable[[Call], str]:
        return lambda call: self._preamble().split(",")[at]

    # Acquiring

    def _range(self) -> float:
        return self.settings.number("TIMebase:RANGe")

    def _memory_points(self) -> int:
        return max(100, min(self._about.memory, round(self._converter.rate * self._range())))

    def _points(self) -> int:
        raw = self.settings.get("WAVeform:POINts:MODE") != "NORM"
        most = min(self._memory_points(), self._about.memory if raw else 62_500)
        asked = min(float(self.settings.get("WAVeform:POINts")), most)
        return POINTS[bisect.bisect_right(POINTS, max(asked, POINTS[0])) - 1]

    def _plan(self) -> Plan:
        get, value = self.settings.get, self.settings.number
        points = self._points()
        step = self._range() / points
        first = value("TIMebase:POSition") - _REFERENCES[str(get("TIMebase:REFerence"))] * self._range()
        bits, quieter = self._resolution(step)
        inputs = {}
        for n in range(1, self.channels + 1):
            if get("CHANnel<n>:DISPlay", n) or n in self._extras.sources.needed():
                screen = value("CHANnel<n>:RANGe", n)
                inputs[n] = Input(
                    node=self.probes.get(n),
                    span=screen * LEVELS / SCREEN_LEVELS,
                    centre=value("CHANnel<n>:OFFSet", n),
                    bandwidth=min(self._about.bandwidth, LIMITED if get("CHANnel<n>:BWLimit", n) else math.inf),
                    noise=self._about.noise * screen * quieter,
                    inverted=bool(get("CHANnel<n>:INVert", n)),
                    ac=get("CHANnel<n>:COUPling", n) == "AC",
                )
        source = str(get("TRIGger[:EDGE]:SOURce"))
        node = self.external if source == "EXT" else self.probes.get(int(source[4:])) if source[:4] == "CHAN" else None
        level = float(self.settings.values.get(f"level {source}", 0.0))
        if get("TRIGger:MODE") != "EDGE":
            node = None
        slope, auto = get("TRIGger[:EDGE]:SLOPe"), get("TRIGger:SWEep") == "AUTO"
        edge = Edge(node, level, slope != "NEG", auto, slope == "EITH")
        return Plan(inputs, edge, first, step, points, bits)

    def _resolution(self, step: float) -> tuple[int, float]:
        kind, converter = self.settings.get("ACQuire:TYPE"), self._converter
        if kind != "AVER":
            return converter.resolution(step, kind == "HRES")
        count = self.settings.number("ACQuire:COUNt")
        return min(converter.most_bits, converter.bits + int(math.log(count, 4))), count**-0.5

    def _actions(self) -> dict[str, Entry]:
        arm, digitizer = self.digitizer.arm, self.digitizer
        return {
            "RUN": Entry(lambda call: arm(False)),
            "SINGle": Entry(lambda call: arm(True)),
            "STOP": Entry(lambda call: digitizer.stop()),
            "DIGitize": Entry(self._digitize),
            "AUToscale": Entry(self._autoscale),
            "TRIGger:FORCe": Entry(lambda call: digitizer.force()),
            "AER": Entry(None, lambda call: f"+{digitizer.take_arm_event():d}"),
            "TER": Entry(None, lambda call: f"+{digitizer.take_trigger_event():d}"),
            "OPERegister:CONDition": Entry(None, lambda call: f"+{self._condition()}"),
            "OPERegister[:EVENt]": Entry(None, lambda call: f"+{self._take_latched()}"),
            "SYSTem:ERRor[:NEXT]": Entry(None, self._next_error),
            "SYSTem:PRESet": Entry(lambda call: self._reset()),
            "SYSTem:SETup": Entry(
                lambda call: self.settings.restore(call.only()[0]), lambda call: block(self.settings.saved(), 8)
            ),
            "*OPC": Entry(self._complete, lambda call: "1"),
            "*WAI": Entry(lambda call: None),
            "*TRG": Entry(lambda call: digitizer.force()),
        }

    def _digitize(self, call: Call) -> None:
        sources = [int(choice(a, self._inputs.sources()[1:])[4:]) for a in call.args]
        for n in range(1, self.channels + 1) if sources else ():
            self.settings.put("CHANnel<n>:DISPlay", n in sources, n)
        self.digitizer.arm(True)
        self._interpreter.held = True

    def _autoscale(self, call: Call) -> None:
        for n in range(1, self.channels + 1):
            self.settings.put("CHANnel<n>:RANGe", 8.0, n)
            self.settings.put("CHANnel<n>:OFFSet", 0.0, n)
        self.settings.put("TRIGger:SWEep", "AUTO")
        self.digitizer.arm(False)

    def _complete(self, call: Call) -> None:
        self.status.events |= OPERATION_COMPLETE

    def _finished(self) -> None:
        self._latched |= 8
        if self._interpreter.held:
            self._output.extend(self._interpreter.resume())
            self._settling = 0.0  # no time may pass within an event

    def _condition(self) -> int:
        return 8 * self.digitizer.running + 32 * self.digitizer.ready

    def latched(self) -> int:
        """The operation event register, without clearing it."""
        return self._latched

    def counted(self) -> str:
        """What the counter shows."""
        return self._extras.counted()

    def step(self) -> float:
        """Between the samples of the next record, s."""
        return self._plan().step

    def _take_latched(self) -> int:
        latched, self._latched = self._latched, 0
        return latched

    # Waveforms

    def _waveform(self) -> tuple[WaveformFormat, Record | None, Plan, int]:
        """Format, record (None: there is none yet), its plan, and the selected channel."""
        get = self.settings.get
        form = WaveformFormat(
            str(get("WAVeform:FORMat")), bool(get("WAVeform:UNSigned")), get("WAVeform:BYTeorder") == "LSBF"
        )
        record = self.digitizer.view(self._points())
        plan = record.plan if record is not None else self._plan()
        source = str(get("WAVeform:SOURce"))
        channel = int(source[4:]) if source[:4] == "CHAN" else self._extras.sources.number(source)
        if record is not None and channel <= 0 and (record := self._extras.sources.record(record, channel)) is not None:
            plan = record.plan
        if channel not in plan.inputs:
            raise ScpiError(-230, f"channel {channel} is not acquired")
        return form, record, plan, channel

    def _preamble(self) -> str:
        form, record, plan, channel = self._waveform()
        kind = str(self.settings.get("ACQuire:TYPE"))
        count = int(self.settings.number("ACQuire:COUNt")) if kind == "AVER" else 1
        if record is None:
            return form.preamble(plan, plan.inputs[channel], kind, count)
        how = form, channel, kind, count
        return record.told(how, lambda: form.preamble(plan, plan.inputs[channel], kind, count).encode()).decode()

    def _data(self, call: Call) -> bytes:
        form, record, plan, channel = self._waveform()
        if record is None:
            raise ScpiError(-230, "nothing acquired")
        codes = record.codes[channel]
        return record.told((form, channel), lambda: form.data(codes, plan, plan.inputs[channel]))

    # System

    def _refuse(self, error: ScpiError) -> None:
        self.status.events |= error.event
        if len(self._errors) < QUEUE_LENGTH:
            self._errors.append(error)
        else:
            self._errors[-1] = ScpiError(-350)

    def _next_error(self, call: Call) -> str:
        error = self._errors.popleft() if self._errors else ScpiError(0)
        return f'{error.code:+d},"{error.text}"'

    def _forget(self) -> None:
        self._errors.clear()
        self._latched = 0
        self.digitizer.take_trigger_event()
        self.digitizer.take_arm_event()

    def _reset(self) -> None:
        self.settings.reset()
        self.settings.put("CHANnel<n>:DISPlay", True, 1)
        self._extras.forget()
        self.digitizer.free_run()
