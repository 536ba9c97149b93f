"""Front panel of a simulated Keysight B1500A: FLEX grammar and dispatch.

Served: identification, status and errors, output switches, SMU sources, high-speed spot, staircase, pulsed, sampling,
search and multi channel measurements, A/D converters, time stamps, SPGU in pulse generator mode, SMU/PGU selector,
triggers and digital port without anything behind them. A command for a CMU meets no such channel (error 121).
Everything else (quasi-static C-V, binary data, ALWG, programs) is answered by error 100, as an unknown command, or 120.
A WGFMU has no FLEX commands; see `b1500a_wgfmu`. `*CLS` is unknown to the real B1500A too.

After an error the rest of a message is executed all the same; whether the real frame goes on isn't published.

Settings live as long as the bench is open: opening it is switching the frame on. SSR and FL are remembered without an
effect, since the fixture has no series resistor and no filter.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from instruments.errors import ConfigError
from instruments.twin.panels.b1500a_frame import Frame
from instruments.twin.panels.b1500a_learn import learn
from instruments.twin.panels.b1500a_modes import Measurements
from instruments.twin.panels.b1500a_pulses import Pulses
from instruments.twin.panels.b1500a_search import Searches
from instruments.twin.panels.b1500a_setup import Sources
from instruments.twin.panels.b1500a_smu import SMU_MODELS, Smu, SmuBank, direct, range_code
from instruments.twin.panels.b1500a_spgu import SpguBank, SpguChannel
from instruments.twin.panels.b1500a_wgfmu import WGFMU_MODEL, WgfmuBank
from instruments.twin.panels.flex import (
    ERROR_TEXTS,
    STYLES,
    Entry,
    ErrorQueue,
    FlexError,
    OutputData,
    StatusByte,
    choice,
    real,
    split,
    whole,
)

if TYPE_CHECKING:
    from instruments.twin.bench import Bench

IDENTITY = "Agilent Technologies,B1500A,0,A.06.02.2023.0401"
MODULES = "B1517A,B1517A,B1517A,B1517A,0,B1525A,0,0,0,0"
SPGU_MODEL = "B1525A"
CMU_HEADERS = """
    ACT ACV ADJ ADJ? CLCORR CORRDT CORRDT? CORROPEN? CORRSER? CORRST CORRST? DCORR DCORR? DCV FC IMP LMN MDCV PDCV
    PWDCV TACV TC TDCV TMACV TMDCV TTC WACV WDCV WFC WMACV WMDCV WMFC WTACV WTDCV WTFC
"""
"""Commands for a CMU, which is none of the modules here: their channel doesn't exist."""
SLOTS = 10


class B1500APanel:
    """One mainframe and its modules (see `Panel` for the protocol)."""

    def __init__(self, bench: "Bench", options: Mapping[str, str]) -> None:
        """Attach to a bench.

        Args:
            bench: clock, chance and wires.
            options: `modules`: ten comma-separated model numbers by slot, 0 for an empty one (B1510A, B1511A/B, B1517A,
                B1525A, B1530A); `rsu`: in which SMU's cable a WGFMU channel's switch sits ("701=1,702=3"); `idn`: the
                identification string.

        Raises:
            ConfigError: more than ten slots, or a module that isn't simulated.
        """
        self.bench = bench
        slots = [m.strip() for m in options.get("modules", MODULES).split(",")]
        slots += ["0"] * (SLOTS - len(slots))
        unknown = [m for m in slots if m not in {"0", SPGU_MODEL, WGFMU_MODEL, *SMU_MODELS}]
        if unknown or len(slots) > SLOTS:
            known = ", ".join(["0", SPGU_MODEL, WGFMU_MODEL, *SMU_MODELS])
            raise ConfigError(
                f"B1500A modules {options.get('modules')!r}: give at most {SLOTS} slots, each one of {known}"
            )
        self.slots = slots
        self.identity = options.get("idn", IDENTITY)
        models = {n: m for n, m in enumerate(slots, 1) if m in SMU_MODELS}
        wgfmus = [n for n, m in enumerate(slots, 1) if m == WGFMU_MODEL]
        self.wgfmus = WgfmuBank(bench, wgfmus, options.get("rsu", ""), list(models))
        self.smus = SmuBank(bench, models, self.wgfmus.wires)
        self.spgus = SpguBank(bench, [n for n, m in enumerate(slots, 1) if m == SPGU_MODEL])
        self.data = OutputData()
        self.sources = Sources(self.smu)
        self.measurements = Measurements(self.smus, self.data, self.sources)
        self.pulses = Pulses(self.smus, self.data, self.sources, self.measurements)
        self.searches = Searches(self.smus, self.data, self.sources, self.measurements)
        self.frame = Frame(self)
        self.errors = ErrorQueue()
        self.status = StatusByte()
        self.switches = {"TM": 1, "CM": 0, "PAD": 0}
        self.commands: dict[str, Entry] = {
            **{header: Entry(self._no_cmu, 0, 16) for header in CMU_HEADERS.split()},  # some are an SPGU's, too
            **self._system(),
            **self._outputs(),
            **self._converters(),
            **self.sources.commands(),
            **self.measurements.commands(),
            **self.pulses.commands(),
            **self.searches.commands(),
            **self.spgus.commands(),
            **self.frame.commands(),
        }

    # The panel's protocol

    def handle(self, message: bytes) -> list[bytes] | None:
        """Execute a message; errors go to the queue, replies are returned in order."""
        replies = []
        self.status.busy = True
        for header, args in split(message.decode("ascii", "replace")):
            try:
                reply = self._execute(header, args)
            except FlexError as error:
                self._refuse(error)
                continue
            if reply is not None:
                replies.append(reply.encode("ascii"))
        self.status.ready()
        return replies

    def pull(self) -> bytes | None:
        """Next line of measurement data."""
        return self.data.lines.popleft() if self.data.lines else None

    def overrun(self) -> None:
        """A message larger than the input buffer was thrown away."""
        self._refuse(FlexError(150))

    def status_byte(self) -> int:
        """Serial poll."""
        return self.status.poll(bool(self.data.lines))

    def clear(self) -> None:
        """Device clear: data and errors' status bit; outputs stay."""
        self.data.lines.clear()
        self.status.error = self.status.requested = False

    def trigger(self) -> None:
        """Group execute trigger: the same as XE."""
        self.handle(b"XE")

    def _execute(self, header: str, args: Sequence[str]) -> str | None:
        entry = self.commands.get(header)
        if entry is None:
            raise FlexError(100, header[:20])
        if not entry.least <= len(args) <= entry.most:
            raise FlexError(103, f"{header} takes {entry.least} to {entry.most} parameters")
        return entry.run(args)

    def _no_cmu(self, args: Sequence[str]) -> None:
        raise FlexError(121, "there is no CMU")

    def _refuse(self, error: FlexError) -> None:
        self.errors.push(error)
        self.status.raise_error()

    def smu(self, text: str) -> Smu:
        """Resolve an SMU channel parameter (n, or n01)."""
        number = whole(text, 1, 1002)
        unit = self.smus.units.get(number if number <= SLOTS else number // 100 if number % 100 == 1 else 0)
        if unit is None:
            raise FlexError(121, f"CHANNEL{number} is no SMU channel")
        return unit

    def _any(self, text: str) -> Smu | SpguChannel:
        number = whole(text, 1, 1002)
        slot = number // 100 if number > SLOTS else number
        model = self.slots[slot - 1] if 1 <= slot <= SLOTS else "0"
        return self.spgus.unit(text) if model == SPGU_MODEL else self.smu(text)

    def _chosen(self, args: Sequence[str]) -> list[Smu | SpguChannel]:
        if args:
            return [self._any(text) for text in args]
        return [*self.smus.units.values(), *self.spgus.units.values()]

    # System

    def _system(self) -> dict[str, Entry]:
        return {
            "*IDN?": Entry(lambda a: self.identity, 0, 0),
            "*RST": Entry(self._reset, 0, 0),
            "*OPC?": Entry(lambda a: "1", 0, 0),
            "*LRN?": Entry(self._learn, 1, 1),
            "*STB?": Entry(lambda a: str(self.status.value(bool(self.data.lines))), 0, 0),
            "*SRE": Entry(self._enable, 1, 1),
            "*SRE?": Entry(lambda a: str(self.status.mask), 0, 0),
            "UNT?": Entry(self._units, 0, 1),
            "ERR?": Entry(self._error_codes, 0, 1),
            "ERRX?": Entry(self._error, 0, 1),
            "EMG?": Entry(self._error_text, 1, 1),
            "LOP?": Entry(lambda a: "LOP" + ",".join(self._operation(n) for n in range(1, SLOTS + 1)), 0, 0),
            "NUB?": Entry(lambda a: str(sum(line.count(b",") + 1 for line in self.data.lines)), 0, 0),
            "FMT": Entry(self._format, 1, 2),
            "BC": Entry(lambda a: self.data.lines.clear(), 0, 0),
            "AB": Entry(lambda a: self.spgus.spp(a), 0, 0),
            "PA": Entry(lambda a: self.bench.fixture.dwell(max(0.0, real(a[0], -99.9999, 99.9999))), 1, 1),
            "TM": Entry(self._switch("TM", (1, 2, 3, 4)), 1, 1),
            "CM": Entry(self._switch("CM", (0, 1)), 1, 1),
            "PAD": Entry(self._switch("PAD", (0, 1)), 1, 1),
        }

    def _units(self, args: Sequence[str]) -> str:
        modules = ";".join(f"{m},0" for m in self.slots)
        # Mode 1 adds the mainframes of an old kind that may be chained; there are none.
        return modules + (";0,0" if args and choice(args[0], (0, 1)) else "")

    def _switch(self, name: str, allowed: tuple[int, ...]) -> Callable[[Sequence[str]], None]:
        def run(args: Sequence[str]) -> None:
            self.switches[name] = choice(args[0], allowed)

        return run

    def _reset(self, args: Sequence[str]) -> None:
        self.smus.reset()
        self.spgus.reset()
        self.wgfmus.reset()
        self.frame.reset()
        self.sources.reset()
        self.pulses.reset()
        self.searches.reset()
        self.data.style, self.data.mode = 1, 0
        self.data.lines.clear()
        self.switches.update(TM=1, CM=0, PAD=0)
        self.status.error = self.status.requested = False

    def _learn(self, args: Sequence[str]) -> str:
        kind = whole(args[0], 0, 200)
        told = self.frame.learn(kind)
        return learn(kind, self.smus, self.sources.setup, self.data, self.switches) if told is None else ";".join(told)

    def _operation(self, slot: int) -> str:
        unit = self.smus.units.get(slot)
        if unit is None or not unit.on:
            return "00"
        if unit.kind == "V":
            return ("12" if unit.level >= 0 else "13") if unit.limited else "01"
        return "11" if unit.limited else ("02" if unit.level >= 0 else "03")

    def _enable(self, args: Sequence[str]) -> None:
        self.status.mask = whole(args[0], 0, 255) & ~64

    def _error_codes(self, args: Sequence[str]) -> str:
        mode = choice(args[0], (0, 1)) if args else 0
        codes = [*self.errors.clear(), 0, 0, 0, 0]
        self.status.error = False
        return str(codes[0]) if mode else ",".join(map(str, codes[:4]))

    def _error(self, args: Sequence[str]) -> str:
        mode = choice(args[0], (0, 1)) if args else 0
        error = self.errors.pop()
        self.status.error = False
        return f"{error.code:+d}" if mode else f'{error.code:+d},"{error.text}"'

    def _error_text(self, args: Sequence[str]) -> str:
        return ERROR_TEXTS[choice(args[0], tuple(ERROR_TEXTS))]

    def _format(self, args: Sequence[str]) -> None:
        style = choice(args[0], STYLES)
        mode = whole(args[1], 0, 10) if len(args) > 1 else 0
        self.data.style, self.data.mode = style, mode
        self.data.lines.clear()

    # Outputs

    def _outputs(self) -> dict[str, Entry]:
        return {
            "CN": Entry(lambda a: self._connect(a, True), 0, 15),
            "CNX": Entry(lambda a: self._connect(a, True), 0, 15),
            "CL": Entry(lambda a: self._connect(a, False), 0, 15),
            "IN": Entry(self._initialize, 0, 15),
            "DZ": Entry(self._zero, 0, 15),
            "RZ": Entry(self._restore, 0, 15),
            "DV": Entry(lambda a: direct(self.smus, self.smu(a[0]), "V", a), 3, 6),
            "DI": Entry(lambda a: direct(self.smus, self.smu(a[0]), "I", a), 3, 6),
            "TDV": Entry(lambda a: self._stamped("V", a), 3, 6),
            "TDI": Entry(lambda a: self._stamped("I", a), 3, 6),
            "SSR": Entry(lambda a: setattr(self.smu(a[0]), "series", choice(a[1], (0, 1))), 2, 2),
            "FL": Entry(self._filter, 1, 11),
        }

    def _stamped(self, kind: str, args: Sequence[str]) -> None:
        unit = self.smu(args[0])
        direct(self.smus, unit, kind, args)
        self.data.emit([self.data.plain(unit.channel, "T", self.measurements.elapsed())])

    def _connect(self, args: Sequence[str], on: bool) -> None:
        for unit in self._chosen(args):
            if isinstance(unit, Smu):
                self.smus.switch(unit, on)
            else:
                self.spgus.switch(unit, on)

    def _initialize(self, args: Sequence[str]) -> None:
        for unit in self._chosen(args):
            if isinstance(unit, Smu):
                self.smus.initialize(unit)
            else:
                self.spgus.zero(unit)

    def _zero(self, args: Sequence[str]) -> None:
        for unit in self._chosen(args):
            if isinstance(unit, Smu):
                self.smus.zero(unit)
            else:
                self.spgus.zero(unit)

    def _restore(self, args: Sequence[str]) -> None:
        units = [self.smu(text) for text in args] or [u for u in self.smus.units.values() if u.kept is not None]
        if not units:
            raise FlexError(205)
        for unit in units:
            self.smus.restore(unit)

    def _filter(self, args: Sequence[str]) -> None:
        state = choice(args[0], (0, 1))
        for unit in [self.smu(text) for text in args[1:]] or list(self.smus.units.values()):
            unit.filter = state

    # A/D converters and measurement ranges

    def _converters(self) -> dict[str, Entry]:
        return {
            "AAD": Entry(lambda a: setattr(self.smu(a[0]), "converter", choice(a[1], (0, 1, 2))), 2, 2),
            "AIT": Entry(self._integration, 2, 3),
            "AV": Entry(self._averaging, 1, 2),
            "AZ": Entry(lambda a: setattr(self.smus.adc, "auto_zero", bool(choice(a[0], (0, 1)))), 1, 1),
            "CMM": Entry(lambda a: setattr(self.smu(a[0]), "operation", choice(a[1], (0, 1, 2, 3, 4))), 2, 2),
            "RI": Entry(lambda a: self._range("I", a), 2, 2),
            "RV": Entry(lambda a: self._range("V", a), 2, 2),
            "RM": Entry(self._ranging, 2, 3),
        }

    def _integration(self, args: Sequence[str]) -> None:
        converter = choice(args[0], (0, 1, 2))
        mode = choice(args[1], (0, 1, 2, 3) if converter != 1 else (0, 1, 2))
        most = {0: 1023, 1: 127, 2: 1023}[converter]
        if mode == 3:
            value = real(args[2], 2e-6, 20e-3) if len(args) > 2 else 2e-6
        elif mode == 2:
            value = float(whole(args[2], 1, 100)) if len(args) > 2 else 1.0
        else:
            initial = {0: 1.0, 1: 6.0 if mode == 0 else 3.0, 2: 1.0}[converter]
            value = float(whole(args[2], 1, most)) if len(args) > 2 else initial
        setattr(self.smus.adc, ("fast", "fine", "pulsed")[converter], (mode, value))

    def _averaging(self, args: Sequence[str]) -> None:
        number = whole(args[0], -100, 1023)
        mode = choice(args[1], (0, 1)) if len(args) > 1 else 0
        if number == 0:
            raise FlexError(120, "0 averages")
        self.smus.adc.fast = (mode, float(number)) if number > 0 else (2, float(-number))

    def _range(self, kind: str, args: Sequence[str]) -> None:
        unit = self.smu(args[0])
        code = range_code(unit, kind, args[1], fixed=True)
        if kind == "I":
            unit.i_range = code
        else:
            unit.v_range = code

    def _ranging(self, args: Sequence[str]) -> None:
        unit, mode = self.smu(args[0]), choice(args[1], (1, 2, 3))
        unit.ranging = (mode, whole(args[2], 11, 100) if len(args) > 2 else 50)
