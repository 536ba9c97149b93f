"""Front panel of a simulated Tektronix 4, 5 or 6 Series MSO: grammar, events, scaling.

Certain (programmer manuals of the MSO44/46 and MSO54/56/58, Tektronix's published command lists): headers and word
parameters; the event queue that `*ESR?` must open; `*OPC?` waits for a single sequence; `CH<x>:CLIPping?`;
`TRIGger:STATE?`; headers before replies while HEADER is on, which it isn't at first: programs published for these
families read plain numbers without ever asking for them.
Uncertain: the sample rates there are (here 1.25, 2.5, 3.125 and 6.25 in each decade, the next higher one is taken);
error texts and numbers but for 113 and those without an event (real instruments clip many values and warn instead);
codes beyond the converter, which are here its first and last.

Served: acquisition, channels, horizontal, edge trigger, waveform transfer, status; measurements, files, images and the
panel's plain settings in `tektronix_more`. Everything else is an undefined header. With a trigger of another type than
EDGE no trigger comes; averages, peak detection and envelopes are of one record, the first with less noise.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from instruments.twin.panels.scope_options import ScopeOptions
from instruments.twin.panels.scpi import (
    Call,
    Entry,
    Found,
    Interpreter,
    Reply,
    ScpiError,
    Tree,
    abbreviated,
    boolean,
    forms,
    number,
    quoted,
)
from instruments.twin.panels.scpi_state import OPERATION_COMPLETE, Settings, Status, Value
from instruments.twin.panels.tektronix_more import Extras
from instruments.twin.panels.tektronix_transfer import Transfer
from instruments.twin.panels.tektronix_waveform import SPAN_DIVISIONS, engineering
from instruments.twin.scope_digitizer import Digitizer
from instruments.twin.scope_front_end import Converter, Edge, Input, Plan

if TYPE_CHECKING:
    from instruments.twin.bench import Bench
    from instruments.twin.scope_front_end import Run

IDENTITY = "TEKTRONIX,MSO54,C000000,CF:91.1CT FV:1.44.3.433"
DIVISIONS = 10
SWITCHING = 30e-3
"""Time for an attenuator relay or a new time base to settle, s (estimate)."""
QUEUE_LENGTH = 32
RATES = [m * 10.0**k for k in range(0, 10) for m in (1.25, 2.5, 3.125, 6.25)]


class TektronixPanel:
    """One oscilloscope (see `Panel` for the protocol).

    Attributes:
        probes: the bench's node at each channel's probe; may be changed at any time.
        external: the node at the auxiliary trigger input.
    """

    def __init__(self, bench: "Bench", options: Mapping[str, str]) -> None:
        """Attach to a bench.

        Args:
            bench: clock, chance, and a list `scopes` to join.
            options: see `ScopeOptions`; by default an instrument of 500 MHz, 6.25 GS/s and 62.5 million points with a
                noise of 0.15 % of the screen.

        Raises:
            ConfigError: an option is unknown or can't be read.
        """
        about = ScopeOptions.read(
            options, idn=IDENTITY, noise="0.0015", bandwidth="500 MHz", memory="62.5e6", rate="6.25 GHz"
        )
        self._about = about
        self.channels, self.probes, self.external = about.channels, dict(about.probes), about.external
        self._converter = Converter(12, 16, about.rate)
        self._clock = bench.clock
        self._events: deque[ScpiError] = deque()
        self._open_events: deque[ScpiError] = deque()
        self._output: deque[bytes] = deque()
        self._settling = 0.0
        self._wants_opc = False
        tree = Tree(lenient=True)
        self.settings = Settings(tree, self.check_channel, self._changed)
        self.digitizer = Digitizer(bench.clock, lambda: bench.rng("oscilloscope"), self._plan, self._finished)
        self.status = Status(about.identity, self._reset, self._forget, lambda: 0)
        self._define_inputs()
        self._define_times(tree)
        Transfer(self, tree)
        tree.add_all(self.status.commands())
        tree.add_all(self._actions())
        self._extras = Extras(self, tree)
        self._interpreter = Interpreter(tree, self._refuse, self._busy, self._dress)
        self._reset()
        bench.scopes.append(self)

    # The panel's protocol

    def handle(self, message: bytes) -> list[bytes] | None:
        """Execute a message; errors become events."""
        replies = self._interpreter.feed(message)
        settling, self._settling = self._settling, 0.0
        if settling:
            self._clock.sleep(settling)
        return replies

    def pull(self) -> bytes | None:
        """Replies that an acquisition had held up."""
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
        """Device clear: buffers, and whatever waits for an acquisition; that goes on."""
        self._interpreter.clear()
        self._output.clear()
        self._wants_opc = False

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

    def _changed(self, name: str) -> None:
        if name in ("CH<n>:SCAle", "CH<n>:COUPling", "rate"):
            self._settling = SWITCHING

    def _define_inputs(self) -> None:
        define = self.settings.define
        define("CH<n>:SCAle", 1.0, lambda t: float(f"{number(t, 500e-6, 10, 'V'):.3g}"), engineering)
        define("CH<n>:BANdwidth", self._about.bandwidth, self._read_bandwidth, engineering)
        define("CH<n>:TERmination", 1e6, _termination, engineering)
        define("CH<n>:LABel:NAMe", "", quoted, lambda v: f'"{v}"')
        for pattern in ("DISplay:GLObal:CH<n>:STATE", "SELect:CH<n>"):
            define(pattern, False, boolean, name="shown")
        sources = ("AUXiliary", "LINE", *(f"CH{n}" for n in range(1, self.channels + 1)))
        define("TRIGger:A:EDGE:SOUrce", "CH1", lambda t: abbreviated(t, sources))

    def _read_bandwidth(self, text: str) -> float:
        full = self._about.bandwidth
        return full if text.upper() in ("FULL", "FUL") else min(number(text, 1, math.inf, "Hz"), full)

    def _define_times(self, tree: Tree) -> None:
        define, put = self.settings.define, self.settings.put
        define("HORizontal[:MODe]:SAMPLERate", 6.25e6, self._read_rate, engineering, "rate")
        define("HORizontal[:MODe]:RECOrdlength", 1000.0, self._read_length, _count, "length")

        def set_scale(call: Call) -> None:
            # In the automatic mode the instrument chooses the rate for about the present record length.
            scale = number(call.only()[0], 2e-10, 1000, "s")
            if self.settings.get("HORizontal:MODe") == "AUTO":
                put("rate", self._read_rate(repr(self._length() / (10 * scale))))
            put("length", self._read_length(repr(10 * scale * self._rate())))
            self._changed("rate")

        scale = Entry(set_scale, lambda call: engineering(self._length() / self._rate() / 10))
        tree.add("HORizontal[:MODe]:SCAle", scale)

    def _read_rate(self, text: str) -> float:
        asked = number(text, 0.0, self._about.rate, "Hz")
        return min((r for r in RATES if r >= asked * (1 - 1e-9)), default=self._about.rate)

    def _read_length(self, text: str) -> float:
        return float(min(max(round(number(text, 1)), 100), self._about.memory))

    def _rate(self) -> float:
        return self.settings.number("rate")

    def _length(self) -> float:
        return self.settings.number("length")

    def _plan(self) -> Plan:
        get, value = self.settings.get, self.settings.number
        step, points = 1 / self._rate(), int(self._length())
        delay = value("HORizontal:DELay:TIMe") if get("HORizontal:DELay:MODe") else 0.0
        # With a delay the time stands for the middle of the record, whatever the position was.
        before = 0.5 if get("HORizontal:DELay:MODe") else value("HORizontal:POSition") / 100
        bits, quieter = self._resolution(step)
        inputs = {}
        for n in range(1, self.channels + 1):
            if get("shown", n):
                scale = value("CH<n>:SCAle", n)
                inputs[n] = Input(
                    node=self.probes.get(n),
                    span=scale * SPAN_DIVISIONS,
                    centre=value("CH<n>:OFFSet", n) - value("CH<n>:POSition", n) * scale,
                    bandwidth=value("CH<n>:BANdwidth", n),
                    noise=self._about.noise * scale * DIVISIONS * quieter,
                    inverted=bool(get("CH<n>:INVert", n)),
                    ac=get("CH<n>:COUPling", n) != "DC",
                )
        source = str(get("TRIGger:A:EDGE:SOUrce"))
        if source.startswith("CH"):
            node, level = self.probes.get(int(source[2:])), value("TRIGger:A:LEVel:CH<n>", int(source[2:]))
        else:
            node, level = (self.external if source == "AUX" else None), value("TRIGger:AUXLevel")
        if get("TRIGger:A:TYPe") != "EDG":
            node = None
        slope, auto = get("TRIGger:A:EDGE:SLOpe"), get("TRIGger:A:MODe") == "AUTO"
        edge = Edge(node, level, slope != "FALL", auto, slope == "EIT")
        return Plan(inputs, edge, delay - round(before * points) * step, step, points, bits)

    def _resolution(self, step: float) -> tuple[int, float]:
        mode, converter = self.settings.get("ACQuire:MODe"), self._converter
        if mode != "AVE":
            return converter.resolution(step, mode == "HIR")
        count = self.settings.number("ACQuire:NUMAVg")
        return min(converter.most_bits, converter.bits + int(math.log(count, 4))), count**-0.5

    # Acquiring

    def _actions(self) -> dict[str, Entry]:
        digitizer = self.digitizer
        return {
            "ACQuire:STATE": Entry(self._set_state, lambda call: f"{digitizer.running:d}"),
            "ACQuire:NUMACq": Entry(None, lambda call: str(digitizer.count)),
            "TRIGger": Entry(self._force),
            "TRIGger:STATE": Entry(None, lambda call: self._trigger_state()),
            "BUSY": Entry(None, lambda call: f"{self._busy():d}"),
            "HEADer": Entry(self._set_flag("header"), lambda call: f"{self.flag('header'):d}"),
            "VERBose": Entry(self._set_flag("verbose"), lambda call: f"{self.flag('verbose'):d}"),
            "FACtory": Entry(lambda call: self.factory()),
            "ALLEv": Entry(None, lambda call: ",".join(self._take_events(QUEUE_LENGTH + 1))),
            "EVMsg": Entry(None, lambda call: self._take_events(1)[0]),
            "EVENT": Entry(None, lambda call: self._take_events(1)[0].partition(",")[0]),
            "EVQty": Entry(None, lambda call: str(len(self._open_events))),
            "*ESR": Entry(None, lambda call: self._open()),
            "*OPC": Entry(self._complete, lambda call: "1", waits=True),
            "*WAI": Entry(lambda call: None, waits=True),
            "*TRG": Entry(lambda call: digitizer.force()),
        }

    def _set_state(self, call: Call) -> None:
        word = call.only()[0]
        known = {"RUN": True, "STOP": False}.get(word.upper())
        if boolean(word) if known is None else known:
            self.digitizer.arm(self.settings.get("ACQuire:STOPAfter") == "SEQ")
        else:
            self.digitizer.stop()
            self._finished()

    def _force(self, call: Call) -> None:
        abbreviated(call.only()[0], ("FORCe",))
        self.digitizer.force()

    def _busy(self) -> bool:
        return self.digitizer.running and self.settings.get("ACQuire:STOPAfter") == "SEQ"

    def _trigger_state(self) -> str:
        if not self.digitizer.running:
            return "SAVE"
        if self.digitizer.triggered:
            return "TRIGGER"
        return "READY" if self.digitizer.ready else "ARMED"

    def _complete(self, call: Call) -> None:
        if self._busy():
            self._wants_opc = True
        else:
            self.status.events |= OPERATION_COMPLETE

    def _finished(self) -> None:
        if self._wants_opc:
            self._wants_opc, self.status.events = False, self.status.events | OPERATION_COMPLETE
        if self._interpreter.held:
            self._output.extend(self._interpreter.resume())
            self._settling = 0.0  # no time may pass within an event

    # Replies and events

    def flag(self, name: str) -> bool:
        """Whether replies have headers (header), and mnemonics their long form (verbose)."""
        return bool(self.settings.values.get(name, name == "verbose"))

    def _set_flag(self, name: str) -> Callable[[Call], None]:
        def write(call: Call) -> None:
            self.settings.values[name] = boolean(call.only()[0])

        return write

    def _dress(self, found: Found, reply: Reply) -> Reply:
        if not self.flag("header") or found.long.startswith("*") or found.long == "WAVFRM":
            return reply
        header = f":{found.long if self.flag('verbose') else found.short}"
        header += ":" if found.long == "WFMOUTPRE" else " "
        return header.encode() + reply if isinstance(reply, bytes) else header + reply

    def _refuse(self, error: ScpiError) -> None:
        self.status.events |= error.event
        if len(self._events) < QUEUE_LENGTH:
            self._events.append(error)
        else:
            self._events[-1] = ScpiError(-350)

    def _open(self) -> str:
        self._open_events, self._events = self._events, deque()
        return str(self.status.take_events())

    def _take_events(self, most: int) -> list[str]:
        if not self._open_events:
            if self._events:
                return ['1,"No events to report - new events pending *ESR?"']
            return ['0,"No events to report - queue empty"']
        taken = [self._open_events.popleft() for _ in range(min(most, len(self._open_events)))]
        return [f'{-e.code},"{e.text}{"; " if e.detail else ""}{e.detail}"' for e in taken]

    def _forget(self) -> None:
        self._events.clear()
        self._open_events.clear()
        self._wants_opc = False

    def _reset(self) -> None:
        # Whether replies have headers outlives a reset.
        kept = {name: self.settings.values[name] for name in ["header", "verbose"] if name in self.settings.values}
        self.settings.reset()
        self.settings.values.update(kept)
        self.settings.put("shown", True, 1)
        self._extras.forget()
        self.digitizer.free_run()

    def factory(self) -> None:
        """Everything as delivered."""
        self._reset()
        self.settings.reset()
        self.settings.put("shown", True, 1)

    def word(self, mnemonic: str) -> str:
        """A mnemonic as replies give it now."""
        return forms(mnemonic)[not self.flag("verbose")]

    @property
    def most_rate(self) -> float:
        """Fastest sample rate, Hz."""
        return self._converter.rate

    def send(self, content: bytes) -> None:
        """Put out bytes that are no reply to a query."""
        self._output.append(content)

    @property
    def bandwidth(self) -> float:
        """Of the instrument, Hz."""
        return self._about.bandwidth

    def duration(self) -> float:
        """Of a record, s."""
        return self._length() / self._rate()


def _count(value: Value) -> str:
    return str(int(float(value)))


def _termination(text: str) -> float:
    """50 or 1e6 ohms; what drives the input here is an ideal source, so the reading stays the same."""
    ohms = number(text, 50.0, 1e6)
    if ohms not in (50.0, 1e6):
        raise ScpiError(-224, text)
    return ohms
