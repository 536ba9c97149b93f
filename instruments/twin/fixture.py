"""The wires: analyzer channels, SMU/PGU selectors, the board's switches, and the lines of the array behind them.

Wiring of a 1T1R array (paper, Methods): the cells of a row share word line (gates) and source line, those of a column
the bit line. In programming mode the board connects one row's WL and SL and one column's BL to the analyzer, grounds
the other word lines and inhibits the other bit lines; in every other mode the analyzer sees no cell.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from instruments.errors import ConfigError
from instruments.twin.column import ColumnWires

if TYPE_CHECKING:
    from instruments.twin.bench import Bench
    from instruments.twin.dac import RunTrace

MODES = ("safe", "program", "compute")
RELAY_SECONDS = 100e-6
"""Switching time of an SMU/PGU selector port and of the SPGU's output relay (B1525A data)."""
HALF_SELECT = 0.15
"""Share of a RESET pulse that inhibited cells of the selected row see (a model constant: bit lines held at 85 %)."""
OPEN_CURRENT = 1e-13
"""Standard deviation of the current an SMU reads with nothing connected, A."""


class PulseShape(NamedTuple):
    """One SPGU pulse as delivered: volts, seconds."""

    base: float
    peak: float
    delay: float
    width: float
    leading: float
    trailing: float


class Reading(NamedTuple):
    """A current out of a channel (A) and whether its compliance limited it."""

    current: float
    in_compliance: bool


@dataclass(frozen=True)
class Terminal:
    """One line of the array as seen from the analyzer: SMU channel, SPGU channel and selector port, or None."""

    smu: int | None = None
    pgu: int | None = None
    selector: int | None = None


@dataclass(frozen=True)
class Wiring:
    """Which channel reaches which line."""

    bit_line: Terminal = Terminal(1, 601, 0)
    source_line: Terminal = Terminal(3, 602, 1)
    word_line: Terminal = Terminal(2)

    @classmethod
    def from_mapping(cls, data: Mapping[str, Mapping[str, Any]] | None) -> "Wiring":
        """Parse a `wiring:` section.

        Raises:
            ConfigError: unknown line or key, a value that is no whole number, or a channel used twice.
        """
        if not data:
            return cls()
        if not isinstance(data, Mapping):
            raise ConfigError(f"wiring: must be a mapping of lines, not {data!r}")
        lines: dict[str, Terminal] = {}
        seen: dict[tuple[str, int], str] = {}
        for line, terminal in data.items():
            if line not in ("bit_line", "source_line", "word_line"):
                raise ConfigError(f"wiring: unknown line {line!r}; allowed: bit_line, source_line, word_line")
            numbers: dict[str, int] = {}
            if not isinstance(terminal, Mapping):
                raise ConfigError(f"wiring: {line} needs smu, pgu or selector numbers, not {terminal!r}")
            for key, value in terminal.items():
                if key not in ("smu", "pgu", "selector") or not (str(value).isascii() and str(value).isdecimal()):
                    raise ConfigError(
                        f"wiring: {line}.{key}: {value!r} is not allowed; give smu, pgu or selector a number"
                    )
                numbers[key] = int(value)
                if (key, int(value)) in seen:
                    raise ConfigError(
                        f"wiring: {key} {value} serves both {seen[key, int(value)]} and {line}; use two channels"
                    )
                seen[key, int(value)] = line
            lines[line] = Terminal(**numbers)
        return cls(**lines)


@dataclass
class _Source:
    volts: float
    compliance: float


@dataclass
class Fixture:
    """State of the wires, and the physics behind a measurement or a pulse.

    Channels that are not wired to the array drive an open end.
    """

    bench: "Bench"
    wiring: Wiring
    mode: str = "safe"
    selected: tuple[int, int, int] | None = None
    shunt: float = 0.0
    """A fault: conductance between the bit line and ground, S (a slipped probe, a drop of solder)."""
    _sources: dict[int, _Source] = field(default_factory=dict)
    _selectors: dict[int, int] = field(default_factory=dict)
    _stressed_ns: int = 0

    def __post_init__(self) -> None:
        self._stressed_ns = self.bench.clock.now_ns
        self.column = ColumnWires(self.bench)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(arrays, rows, cols)."""
        a, r, c = self.bench.chip.cells.shape
        return a, r, c

    @property
    def arrays(self) -> int:
        """Number of arrays on the board."""
        return self.shape[0]

    @property
    def rows(self) -> int:
        """Rows of an array."""
        return self.shape[1]

    @property
    def cols(self) -> int:
        """Columns of an array."""
        return self.shape[2]

    def connect(self, mode: str, array: int, row: int, col: int) -> None:
        """The board's switches. Row or column -1: none selected."""
        if mode not in MODES:
            raise ValueError(f"mode must be one of {MODES}, not {mode!r}")
        self._stress()
        self.mode = mode
        self.selected = (array, row, col) if min(array, row, col) >= 0 else None
        self.column.connect(None)

    def connect_column(self, array: int, col: int) -> None:
        """The board's switches in programming mode: one bit line with the board's own row drivers, no cell."""
        self.connect("program", -1, -1, -1)
        self.column.connect((array, col))

    def computed(self, trace: "RunTrace") -> None:
        """The board's firmware ended a run."""
        self.bench.solver.computed(trace)

    def force(self, channel: int, volts: float | None, compliance: float = float("inf")) -> None:
        """A DC source changes: volts and current compliance (A), or None when its output switch opens."""
        self._stress()
        if volts is None:
            self._sources.pop(channel, None)
        else:
            self._sources[channel] = _Source(volts, compliance)

    @property
    def sources(self) -> tuple[int, ...]:
        """Channels whose outputs are closed."""
        return tuple(self._sources)

    def voltage(self, channel: int) -> float:
        """What a channel forces now, V; 0 when open."""
        source = self._sources.get(channel)
        return source.volts if source else 0.0

    def select_source(self, port: int, state: int) -> None:
        """An SMU/PGU selector port: 0 open, 1 SMU, 2 PGU, 3 PGU open. Takes its relay's time."""
        self._stress()
        self._selectors[port] = state
        self.bench.clock.sleep(RELAY_SECONDS)

    def dwell(self, seconds: float) -> None:
        """Time passes under the present DC drives; what they do to the cell is applied at the end."""
        self.bench.clock.sleep(seconds)
        self._stress()

    def measure(self, channel: int, integration: float) -> Reading:
        """Current out of a channel, A, integrated for `integration` s (which pass)."""
        self.dwell(integration)
        noise = OPEN_CURRENT * float(self.bench.rng("open").standard_normal())
        line = self._line_of(channel)
        cell = self._conducting_cell()
        if cell is None or line not in ("bit_line", "source_line"):
            return Reading(noise, False)
        across = self._level("bit_line") - self._level("source_line")
        gate = self._level("word_line")
        now = self.bench.clock.now_ns
        g = self._sensed(cell, gate, integration)
        leak = self.bench.law.g_leak * (self.rows - 1) + self.shunt
        current = across * (g + leak) * (1.0 if line == "bit_line" else -1.0)
        source = self._sources.get(channel)
        limited = source is not None and abs(current) > source.compliance
        moving = self._moving(across)
        if source is not None and limited:
            across *= source.compliance / abs(current)
            current = source.compliance * (1.0 if current > 0 else -1.0)
        # A drive strong enough to move the cell has been booked as one; its energy must not be booked twice.
        energy = 0.0 if moving else across * across * g * integration
        self.bench.ledger.drive(now * 1e-9, "read", cell, across, gate, integration, energy)
        return Reading(current + noise, limited)

    def pulse(self, shapes: Mapping[int, PulseShape], count: int, period: float) -> None:
        """A run of the SPGU: every enabled channel's pulse, `count` times; count*period seconds pass."""
        clock = self.bench.clock
        self._stress()
        if not self._reached(tuple(shapes)):
            clock.sleep(count * period)
            return
        for _ in range(count):
            clock.sleep(period)
            if not self._reached(tuple(shapes)):
                continue
            levels = {}
            width = 0.0
            for line in ("bit_line", "source_line"):
                terminal: Terminal = getattr(self.wiring, line)
                if terminal.pgu is not None and terminal.pgu in shapes and self._route(line) == "pgu":
                    shape = shapes[terminal.pgu]
                    levels[line] = shape.peak
                    # The time above half amplitude: the flat top and half of each edge.
                    width = max(width, shape.width) if shape.peak != shape.base else width
                else:
                    levels[line] = self._level(line)
            if width > 0 and self.column.place is not None:
                self.column.pulse(levels["bit_line"], width)
            elif width > 0:
                self._apply(levels["bit_line"] - levels["source_line"], width)
        self._stressed_ns = clock.now_ns

    def _stress(self) -> None:
        """What DC drives did since the wires were last touched: above read level they act as one long pulse.

        Quasi-static sweeps switch the cell this way, and so does a bias that somebody forgot.
        """
        now = self.bench.clock.now_ns
        seconds, self._stressed_ns = (now - self._stressed_ns) * 1e-9, now
        if seconds > 0 and self.column.place is not None:
            self.column.stress(self._level("bit_line"), seconds)
        if seconds <= 0 or self._conducting_cell() is None:
            return
        across = self._level("bit_line") - self._level("source_line")
        if self._moving(across):
            self._apply(across, seconds)

    def _moving(self, across: float) -> bool:
        return bool(abs(across) > self.bench.law.v_quiet)

    def _apply(self, across: float, width: float) -> None:
        bench = self.bench
        assert self.selected is not None
        array, row, col = self.selected
        now = bench.clock.now_ns
        gate = self._level("word_line")
        where = (slice(array, array + 1), row, col)
        if across >= 0:
            energy = bench.chip.set_pulse(where, across, self._limited_gate(gate), width, now, bench.rng("set"))
            bench.ledger.drive(now * 1e-9, "set", self.selected, across, gate, width, float(energy[0]))
            return
        energy = bench.chip.reset_pulse(where, -across, gate, width, now, bench.rng("reset"))
        bench.ledger.drive(now * 1e-9, "reset", self.selected, across, gate, width, float(energy[0]))
        half = -across * HALF_SELECT
        others = (array, row, [c for c in range(self.cols) if c != col])
        bench.ledger.half(bench.chip.inhibited_pulse(others, half, gate, width, now, lambda: bench.rng("half")))

    def _limited_gate(self, gate: float) -> float:
        """The SET ceiling is the lower of the gate's and that of an SMU's current compliance on the bit line."""
        if self._route("bit_line") != "smu" or self.wiring.bit_line.smu is None:
            return gate
        source = self._sources.get(self.wiring.bit_line.smu)
        if source is None or source.volts <= 0 or source.compliance == float("inf"):
            return gate
        return float(self.bench.law.gate_within(gate, source.volts, source.compliance))

    def _sensed(self, cell: tuple[int, int, int], gate: float, integration: float) -> float:
        chip, now = self.bench.chip, self.bench.clock.now_ns
        array, row, col = cell
        if gate <= float(chip.cells["v_t"][cell]):
            return float(self.bench.law.g_leak)
        where = (slice(array, array + 1), row, col)
        return float(chip.sense(where, now, max(integration, 1e-6), self.bench.rng("sense"))[0])

    def _reached(self, pulsing: tuple[int, ...]) -> bool:
        """Whether a pulse would reach cells: the selected one, or those of a column that waits for it."""
        if not self.column.waits():
            return self._conducting_cell(pulsing) is not None
        terminal = self.wiring.bit_line
        return self._route("bit_line") == "pgu" and (terminal.pgu in pulsing or terminal.pgu in self._sources)

    def _conducting_cell(self, pulsing: tuple[int, ...] = ()) -> tuple[int, int, int] | None:
        """The selected cell if both of its ends are driven."""
        if self.mode != "program" or self.selected is None:
            return None
        for line in ("bit_line", "source_line"):
            terminal: Terminal = getattr(self.wiring, line)
            route = self._route(line)
            if route == "smu" and terminal.smu in self._sources:
                continue
            if route == "pgu" and (terminal.pgu in pulsing or terminal.pgu in self._sources):
                continue
            return None
        return self.selected

    def _route(self, line: str) -> str:
        terminal: Terminal = getattr(self.wiring, line)
        if terminal.selector is None:
            return "smu" if terminal.smu is not None else "pgu"
        return {1: "smu", 2: "pgu"}.get(self._selectors.get(terminal.selector, 0), "open")

    def _level(self, line: str) -> float:
        terminal: Terminal = getattr(self.wiring, line)
        channel = {"smu": terminal.smu, "pgu": terminal.pgu}.get(self._route(line))
        return self.voltage(channel) if channel is not None else 0.0

    def _line_of(self, channel: int) -> str | None:
        for line in ("bit_line", "source_line", "word_line"):
            terminal: Terminal = getattr(self.wiring, line)
            if channel == terminal.smu:
                return line
        return None
