"""The board in computing mode: a run's DAC tables through the chip's conductances, for oscilloscopes to see.

When the simulated firmware ends a run it hands over what it put on the wires; `Solver.computed` then builds the circuit
from the chip as it is at that moment and from this board's own offsets, and tells every oscilloscope. Nothing is
computed before somebody looks at a node, and looking twice shows the same run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from instruments.errors import ConfigError
from instruments.quantity import to_si
from instruments.twin.circuit import Circuit, CircuitParams, Drives, LoopGains, Multiplier, Offsets, OpAmp, ReadNoise
from instruments.twin.dac import COLUMNS, Route, RunTrace
from instruments.twin.firmware import TICK_NS, WORD_NS

if TYPE_CHECKING:
    from instruments.twin.bench import Bench

Array = npt.NDArray[np.float64]

SHAPES = ((14, 3), (14, 15), (2, 15))
"""Outputs and inputs (with bias) of the three layers on the board (paper, Methods)."""
RUN_LINE_VOLTS = 3.3

_NODES: dict[str, tuple[str, int]] = {
    "x": ("x", 0), "y": ("x", 1), "nx": ("n", 0), "ny": ("n", 1), "score_x": ("score", 0), "score_y": ("score", 1),
    "fx_x": ("products", 0), "fx_y": ("products", 1), "g2_nx": ("products", 2), "g2_ny": ("products", 3),
    **{f"h{layer}_{i + 1}": (f"hidden{layer}", i) for layer in (1, 2) for i in range(14)},
    **{name: ("drives", i) for i, name in enumerate(COLUMNS)},
}  # fmt: skip
NODES = (*_NODES, "run")
"""Names of the nodes that a probe can hang on."""


class Listener(Protocol):
    """An oscilloscope panel."""

    def on_run(self, run: "BenchRun") -> None:
        """A run has ended; must not let time pass."""
        ...


@dataclass(frozen=True)
class SolverOptions:
    """The `circuit:` section of a bench file: how this board differs from an ideal one.

    Attributes:
        op_amp_offset, multiplier_offset: standard deviations, V.
        multiplier_gain: relative standard deviation.
        wire_resistance: ohm a crossbar segment.
        white: conductance noise within a run, S, in 500 Hz.
        loop_drift, loop_score, loop_noise, output_gain: the board's own resistors.
        write_skew: whether the DACs' words are 64 us apart, as bit-banged, or all at once.
    """

    op_amp_offset: float = 0.25e-3
    multiplier_offset: float = 5e-3
    multiplier_gain: float = 0.0025
    wire_resistance: float = 0.0
    white: float = 0.05e-6
    loop_drift: float = 4.0
    loop_score: float = 4.0
    loop_noise: float = 1.0
    output_gain: float = 5.0
    write_skew: bool = False

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any] | None) -> "SolverOptions":
        """Parse the section (values are strings, as pyvisa-sim reads them).

        Raises:
            ConfigError: unknown name or wrong unit.
        """
        units = {"op_amp_offset": "V", "multiplier_offset": "V", "wire_resistance": "ohm", "white": "S"}
        known = {f.name for f in fields(cls)}
        values: dict[str, Any] = {}
        if not isinstance(data or {}, Mapping):
            raise ConfigError(f"bench circuit: must be a mapping, not {data!r:.80}")
        for name, text in (data or {}).items():
            if name not in known:
                raise ConfigError(f"bench circuit: unknown setting {name!r}; known: {', '.join(sorted(known))}")
            if name == "write_skew":
                values[name] = str(text).lower() == "true"
            else:
                values[name] = to_si(text, units.get(name, "dimensionless"), what=f"circuit.{name}")
                if values[name] < 0:
                    raise ConfigError(f"bench circuit: {name} must not be negative")
        return cls(**values)


class BenchRun:
    """One run of the board, to be looked at after it happened.

    Attributes:
        start: s on the bench's clock when the run line rose.
        duration: s.
        trace: what the firmware put on the wires.
        circuit: the circuit as it was.
    """

    def __init__(self, trace: RunTrace, circuit: Circuit, initial: tuple[float, float], skew: bool, key: int) -> None:
        self.trace = trace
        self.circuit = circuit
        self.start = trace.start
        self.duration = trace.ticks * TICK_NS / 1e9
        self._initial = initial
        # The closing write switches the loop off; the table that counts is that of the active ticks.
        self._drives = Drives(trace.volts[:-1], TICK_NS / 1e9, WORD_NS / 1e9 if skew else 0.0)
        self._key = key

    def sample(self, nodes: Sequence[str], times: npt.ArrayLike) -> Array:
        """Voltages (len(nodes), len(times)) at `times` s after the start, not decreasing; the same at every call.

        Raises:
            ValueError: unknown node.
        """
        unknown = [n for n in nodes if n not in NODES]
        if unknown:
            raise ValueError(f"no node {unknown[0]!r}; there are {', '.join(NODES)}")
        instants = np.asarray(times, dtype=np.float64)
        probes = sorted({_NODES[n][0] for n in nodes if n in _NODES}) or ["x"]
        rng = np.random.Generator(np.random.Philox(key=self._key))
        result = self.circuit.run(self._initial, self._drives, self.duration, instants, rng, probes)
        seen = np.empty((len(nodes), len(instants)))
        for row, name in zip(seen, nodes, strict=True):
            if name == "run":
                row[:] = np.where((instants >= 0) & (instants < self.duration), RUN_LINE_VOLTS, 0.0)
            else:
                probe, column = _NODES[name]
                row[:] = result.probes[probe][0, :, column]
        return seen

    def final(self) -> tuple[Array, float]:
        """True integrator voltages (2,) at the end, and the energy of the arrays (cells and fixed resistors), J."""
        rng = np.random.Generator(np.random.Philox(key=self._key))
        result = self.circuit.run(self._initial, self._drives, self.duration, (), rng)
        return result.final[0], float(result.cell_energy[0] + result.fixed_energy[0])


class Solver:
    """This bench's board as an analog computer.

    Args:
        bench: world.
        options: the board.
    """

    def __init__(self, bench: "Bench", options: SolverOptions) -> None:
        self.bench = bench
        self.options = options
        self.listeners: list[Listener] = []
        self.runs = 0
        self.last: BenchRun | None = None
        self._board = np.random.Generator(np.random.Philox(key=[bench.seed, 0xB0A2D]))
        zeros = (np.zeros(SHAPES[0]), np.zeros(SHAPES[1]), np.zeros(SHAPES[2]))
        op_amp = OpAmp(offset_sigma=options.op_amp_offset)
        multiplier = Multiplier(
            input_offset_sigma=options.multiplier_offset,
            output_offset_sigma=options.multiplier_offset,
            gain_sigma=options.multiplier_gain,
        )
        self._offsets = Offsets.sample(zeros, op_amp, multiplier, self._board)

    def computed(self, trace: RunTrace) -> None:
        """The firmware ended a run: make it visible.

        In any other mode than computing, or with arrays too small for the network, there is nothing to see.
        """
        arrays, rows, cols = self.bench.fixture.shape
        if self.bench.fixture.mode != "compute" or cols < 15 or rows < (14 if arrays >= 3 else 30):
            return
        initial = trace.initial if trace.initial is not None else (0.0, 0.0)
        key = int(self.bench.rng("solver").integers(2**63))
        run = BenchRun(trace, self._circuit(trace), initial, self.options.write_skew, key)
        self.runs += 1
        self.last = run
        for listener in self.listeners:
            listener.on_run(run)

    def _circuit(self, trace: RunTrace) -> Circuit:
        o, chip = self.options, self.bench.chip
        analog = trace.analog
        g = chip.conductance((), self.bench.clock.now_ns)
        layers, telegraph = [], []
        for number, shape in enumerate(SHAPES, 1):
            where = _lines(trace.routes.get(number), number, shape, g.shape)
            layers.append(g[where])
            telegraph.append(chip.cells["rtn"][where] * g[where])
        params = CircuitParams(
            feedback=(analog.get("RF1", 1e5), analog.get("RF2", 1e5), analog.get("RF3", 1e5)),
            output_gain=analog.get("OUT", o.output_gain),
            gains=LoopGains(
                analog.get("KX", o.loop_drift), analog.get("KN", o.loop_score), analog.get("KZ", o.loop_noise)
            ),
            op_amp=OpAmp(offset_sigma=o.op_amp_offset),
            read_noise=ReadNoise(
                white_absolute=o.white,
                # What a second's window holds of the cells' 1/f noise: the read model at its own time scale.
                slow_absolute=1.7 * chip.law.noise.read_sigma,
                telegraph_fraction=1.0 if chip.law.noise.rtn_share else 0.0,
                telegraph_rate=1 / np.sqrt(chip.law.noise.rtn_tau_min * chip.law.noise.rtn_tau_max),
            ),
        )  # fmt: skip
        if o.wire_resistance:
            params = replace(params, crossbar=replace(params.crossbar, wire_resistance=o.wire_resistance))
        return Circuit(
            params, (layers[0], layers[1], layers[2]), offsets=self._offsets,
            telegraph=(telegraph[0], telegraph[1], telegraph[2]),
        )  # fmt: skip


def _lines(route: Route | None, layer: int, shape: tuple[int, int], chip: tuple[int, ...]) -> Any:
    """Index of a layer's cells in the chip.

    Without a route it is array layer - 1 from its first lines on, or, on a board of fewer arrays, rows 0, 14 and 28 on
    of array 0.
    """
    if route is None:
        array, first = (layer - 1, 0) if chip[0] >= 3 else (0, 14 * (layer - 1))
        route = (array, tuple(range(first, first + shape[0])), tuple(range(shape[1])))
    array, rows, cols = route
    if (len(rows), len(cols)) != shape:
        raise ConfigError(f"layer {layer} is wired to {len(rows)} rows and {len(cols)} columns; the board has {shape}")
    return array, np.array(rows)[:, None], np.array(cols)[None, :]
