"""The closed-loop analog solver: a score network on three crossbars, fed back through multipliers and integrators.

A `Circuit` is one board with its conductances and its offsets. `run` lets it solve its equation,

    dVx/dt = -Kf V_fx Vx + Kg V_g2 Vscore + Kn V_noise,    Vscore = output_gain * network(Vx, V_t1 .. V_t14),

from pre-charged capacitors and returns what an oscilloscope could see at any node. `static` asks the network for its
steady output on a grid (the vector field of the paper's Fig. 3d). 0.1 V is one unit of the algorithm; all quantities
are SI. The module knows no instrument and no clock; randomness comes from the generator that is handed in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from instruments.twin.circuit_kernel import simulate
from instruments.twin.circuit_parameters import (
    CircuitParams,
    Clamp,
    Crossbar,
    Integrator,
    LayerArrays,
    LoopGains,
    Multiplier,
    Offsets,
    OpAmp,
    ReadNoise,
    Rectifier,
)
from instruments.twin.circuit_plan import build_parts, build_plan, effective_conductance
from instruments.twin.circuit_state import Plan, new_state

__all__ = [
    "Circuit",
    "CircuitParams",
    "Clamp",
    "Crossbar",
    "Drives",
    "Integrator",
    "LoopGains",
    "Multiplier",
    "Offsets",
    "OpAmp",
    "ReadNoise",
    "Rectifier",
    "Result",
    "Static",
    "effective_conductance",
    "node_columns",
]

Array = npt.NDArray[np.float64]

N_CODES = 4096
"""12-bit DAC (MAX5742); code c is (c - 2048)/2048 V behind the board's level shifter."""


def _plain(values: npt.ArrayLike) -> Array:
    """As the one array type that the kernel is compiled for."""
    return np.require(values, dtype=np.float64, requirements=["C", "W"])


@dataclass(frozen=True, eq=False)
class Drives:
    """What the DACs put out: a staircase of (n_tick, 18) or, one table per run, (n, n_tick, 18) volts.

    Columns: g2, fx, t1 .. t14, noise1, noise2 (with fewer embedding channels for smaller networks). The last row
    stays on after its tick.
    """

    volts: Array
    tick: float = 5e-3
    """s; the published firmware's."""
    write_time: float = 0.0
    """s between two channels of one tick: the firmware's bit-banged words take at least 64 us each, in column order.
    Before its first write a channel is at 0 V (the DACs are reset before a run)."""

    def __post_init__(self) -> None:
        """Refuse tables that no board could play."""
        if self.volts.ndim not in (2, 3) or self.volts.shape[-1] < 5 or self.volts.shape[-2] < 1:
            raise ValueError(f"drives are (n_tick, 18) or (n, n_tick, 18) volts, not {self.volts.shape}")
        if self.tick <= 0 or not 0 <= self.write_time * self.volts.shape[-1] < self.tick:
            raise ValueError("tick must be positive and longer than all its writes together")
        if not np.isfinite(self.volts).all():
            raise ValueError("drives must be finite")

    @classmethod
    def from_codes(cls, codes: npt.ArrayLike, tick: float = 5e-3, write_time: float = 0.0) -> "Drives":
        """From DAC codes 0 .. 4095, shaped as `volts`."""
        values = np.asarray(codes, dtype=np.float64)
        if values.min() < 0 or values.max() >= N_CODES:
            raise ValueError("DAC codes are 0 to 4095")
        return cls(values / (N_CODES // 2) - 1.0, tick, write_time)

    @classmethod
    def from_volts(
        cls, volts: npt.ArrayLike, tick: float = 5e-3, write_time: float = 0.0, quantise: bool = True
    ) -> "Drives":
        """From volts; `quantise` truncates to the DAC's codes as the firmware does, and limits to its range."""
        volts = np.asarray(volts, dtype=np.float64)
        if not quantise:
            return cls(volts, tick, write_time)
        return cls.from_codes(np.clip(np.floor(2048.0 * (1.0 + volts)), 0, N_CODES - 1), tick, write_time)

    @property
    def duration(self) -> float:
        """Seconds until the last tick ends."""
        return float(self.volts.shape[-2] * self.tick)

    def segments(self) -> tuple[Array, Array]:
        """Times (S,) s at which a channel changes, and tables (1 or n, S, 18) V that hold from there."""
        table = _plain(self.volts if self.volts.ndim == 3 else self.volts[None])
        ticks, channels = table.shape[1:]
        starts: Array = np.arange(ticks, dtype=np.float64) * self.tick
        if self.write_time == 0:
            return starts, table
        before = np.concatenate([np.zeros_like(table[:, :1]), table[:, :-1]], axis=1)
        # Segment c of a tick: channels up to c have been written. The first write ends one write time into the tick.
        written = np.tri(channels + 1, channels, -1, dtype=bool)
        split = np.where(written, table[:, :, None], before[:, :, None])
        times = starts[:, None] + np.arange(channels + 1) * self.write_time
        return times.ravel(), _plain(split.reshape(len(table), -1, channels))


def node_columns(hidden: int, channels: int) -> Mapping[str, slice]:
    """Where each probe's nodes lie in the circuit's list of node voltages.

    `x` integrators, `n` network outputs in front of the output gain, `score` behind it, `products` the multipliers
    fx*x, fx*y, g2*nx, g2*ny, `inputs` the clamped inputs on the first array's lines, `hidden1`, `hidden2`, `drives`
    all DAC channels, `embedding` those of the embedding.
    """
    end = 12 + 2 * hidden
    return {
        "x": slice(0, 2),
        "n": slice(2, 4),
        "score": slice(4, 6),
        "products": slice(6, 10),
        "inputs": slice(10, 12),
        "hidden1": slice(12, 12 + hidden),
        "hidden2": slice(12 + hidden, end),
        "drives": slice(end, end + channels),
        "embedding": slice(end + 2, end + channels - 2),
    }


@dataclass(frozen=True, eq=False)
class Result:
    """What a run showed. n runs, m sample times; volts, seconds, joules."""

    times: Array
    """(m,)"""
    probes: Mapping[str, Array]
    """Name -> (n, m, width), see `node_columns`."""
    final: Array
    """(n, 2) integrator outputs when the run ended."""
    cell_energy: Array
    """(n,) integral of V^2 G over the memory cells of the three arrays."""
    fixed_energy: Array
    """(n,) the same for the 20 kOhm resistors of the shared negative weight."""

    @property
    def x(self) -> Array:
        """(n, m, 2) integrator voltages."""
        return self.probes["x"]


@dataclass(frozen=True, eq=False)
class Static:
    """Steady state of the network at m points: `probes` name -> (m, width) V, and `slope` (m, 2) V/s of x."""

    probes: Mapping[str, Array]
    slope: Array

    @property
    def n(self) -> Array:
        """(m, 2) network outputs in front of the output gain."""
        return self.probes["n"]


@dataclass(frozen=True, eq=False)
class Circuit:
    """One board: parameters, the arrays' conductances, its offsets.

    Args:
        params: the schematic.
        conductances: three arrays (n_out, n_in + 1) in S; the last column is the bias input. 2-14-14-2 on the board.
        offsets: this board's errors; none by default.
        injection: constant currents into the TIA nodes, (n_out,) A for each layer; none by default.
        telegraph: level distances of the cells' RTN, S, shaped as the conductances; none by default.
    """

    params: CircuitParams
    conductances: LayerArrays
    offsets: Offsets | None = None
    injection: LayerArrays | None = None
    telegraph: LayerArrays | None = None
    plan: Plan = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the shapes and prepare the constants."""
        first, second, third = (np.asarray(g, dtype=np.float64) for g in self.conductances)
        hidden = first.shape[0]
        shapes = [(hidden, 3), (hidden, hidden + 1), (2, hidden + 1)]
        if [first.shape, second.shape, third.shape] != shapes:
            raise ValueError(f"conductances must be {shapes}, not {[first.shape, second.shape, third.shape]}")
        if not all(np.isfinite(g).all() and (g >= 0).all() for g in (first, second, third)):
            raise ValueError("conductances must be finite and not negative")
        arrays = (first, second, third)
        for extra, wanted in ((self.injection, [(hidden,), (hidden,), (2,)]), (self.telegraph, shapes)):
            if extra is not None and [e.shape for e in extra] != wanted:
                raise ValueError(f"injection or RTN must be {wanted}, not {[e.shape for e in extra]}")
        zeros = (np.zeros(hidden), np.zeros(hidden), np.zeros(2))
        quiet = (np.zeros_like(first), np.zeros_like(second), np.zeros_like(third))
        plan = build_plan(
            self.params,
            arrays,
            self.offsets or Offsets.zero(arrays),
            self.injection or zeros,
            self.telegraph or quiet,
        )
        object.__setattr__(self, "plan", plan)

    @property
    def hidden(self) -> int:
        """Width of the hidden layers, and number of embedding channels."""
        return int(self.plan.n_out[0])

    @property
    def settling_time(self) -> float:
        """Seconds: the three layers' slowest time constants, one after the other; 0 with ideal amplifiers."""
        if not np.isfinite(self.params.op_amp.gain_bandwidth):
            return 0.0
        rate = self.plan.output_rate
        return float(sum(1.0 / rate[layer, : self.plan.n_out[layer]].min() for layer in range(3)))

    def lagged(self, duration: float) -> bool:
        """Whether a run of `duration` seconds is so fast that the network's own dynamics are simulated."""
        if self.params.dynamics == "auto":
            return duration < 2000.0 * self.settling_time
        return self.params.dynamics == "lagged" and self.settling_time > 0.0

    def run(
        self,
        initial_state: npt.ArrayLike,
        drives: Drives,
        duration: float | None = None,
        sample_times: npt.ArrayLike = (),
        rng: np.random.Generator | None = None,
        probes: Sequence[str] = ("x",),
    ) -> Result:
        """Close the loop at t = 0, open it after `duration`, and sample nodes.

        Args:
            initial_state: (2,) or (n, 2) V on the pre-charged integrators.
            drives: the DACs' tables; one for all or one for each run.
            duration: s; all ticks by default.
            sample_times: (m,) s, not decreasing. Before 0 the capacitors hold the initial state, after `duration`
                the final one (less the leak).
            rng: needed with read noise. One 64-bit key is drawn for each run, in order: a batch may be split.
            probes: names of `node_columns`.

        Raises:
            ValueError: shapes that don't match, unsorted times, unknown probe, read noise without a generator.
        """
        initial = _plain(np.atleast_2d(initial_state))
        times = _plain(np.ravel(sample_times))
        starts, tables = drives.segments()
        if initial.ndim != 2 or initial.shape[1] != 2:
            raise ValueError(f"initial state is (2,) or (n, 2) volts, not {initial.shape}")
        if not np.isfinite(initial).all():
            raise ValueError("the initial state must be finite")
        if tables.shape[2] != self.hidden + 4:
            raise ValueError(f"this circuit has {self.hidden + 4} drive channels, the table {tables.shape[2]}")
        if len(tables) not in (1, len(initial)):
            raise ValueError(f"{len(tables)} drive tables for {len(initial)} runs")
        if (np.diff(times) < 0).any():
            raise ValueError("sample times must not decrease")
        noisy = bool(self.plan.white.any())
        varied = bool(self.plan.slow.any() or self.plan.telegraph.any())
        if rng is None and (noisy or varied):
            raise ValueError("a circuit with read noise needs a random generator")
        keys = np.zeros(len(initial), dtype=np.uint64)
        if rng is not None:
            keys = rng.integers(0, 2**64, len(initial), dtype=np.uint64)
        columns, where = self._columns(probes)
        length = drives.duration if duration is None else float(duration)
        samples = np.empty((len(initial), len(times), len(columns)))
        final, energy = np.empty((len(initial), 2)), np.empty((len(initial), 2))
        lagged = self.lagged(length)
        probing = any(name != "x" for name in probes)
        parts = build_parts(starts, length, self._step(lagged), self.plan.telegraph_rate)
        simulate(
            self.plan, new_state(self.plan), parts, initial, tables, lagged, times, columns, probing, keys, noisy,
            varied, samples, final, energy,
        )  # fmt: skip
        found = {name: samples[:, :, part] for name, part in where.items()}
        return Result(times, found, final, energy[:, 0], energy[:, 1])

    def static(
        self,
        x: npt.ArrayLike,
        drives_at_t: npt.ArrayLike,
        probes: Sequence[str] = ("n", "score", "products", "drives"),
    ) -> Static:
        """Steady state without read noise at integrator voltages x (m, 2) V under drives (18,) or (m, 18) V."""
        points = _plain(np.atleast_2d(x))
        rows = _plain(np.atleast_2d(drives_at_t))
        if rows.shape[1] != self.hidden + 4 or len(rows) not in (1, len(points)):
            raise ValueError(f"drives are ({self.hidden + 4},) or (m, {self.hidden + 4}) volts, not {rows.shape}")
        columns, where = self._columns([*probes, "products", "drives"])
        samples = np.empty((len(points), 1, len(columns)))
        scratch = np.empty((len(points), 2))
        keys = np.zeros(len(points), dtype=np.uint64)
        parts = build_parts(np.zeros(1), 0.0, 1.0, 0.0)
        simulate(
            self.plan, new_state(self.plan), parts, points, rows[:, None].copy(), False, np.zeros(1), columns, True,
            keys, False, False, samples, scratch, scratch.copy(),
        )  # fmt: skip
        found = {name: samples[:, 0, part] for name, part in where.items()}
        product, plan = found["products"], self.plan
        slope = (
            plan.drift_gain * product[:, :2]
            + plan.score_slope * product[:, 2:]
            + plan.noise_slope * found["drives"][:, -2:]
            + plan.constant_slope
            - plan.leak * points
        )
        return Static({name: found[name] for name in probes}, slope)

    def _columns(self, probes: Sequence[str]) -> tuple[npt.NDArray[np.int64], dict[str, slice]]:
        nodes = node_columns(self.hidden, self.hidden + 4)
        unknown = [name for name in probes if name not in nodes]
        if unknown:
            raise ValueError(f"no probe {unknown[0]!r}; there are {', '.join(nodes)}")
        columns: list[int] = []
        where: dict[str, slice] = {}
        for name in sorted(set(probes), key=lambda name: nodes[name].start):
            indices = range(nodes[name].start, nodes[name].stop)
            where[name] = slice(len(columns), len(columns) + len(indices))
            columns.extend(indices)
        return np.array(columns, dtype=np.int64), where

    def _step(self, lagged: bool) -> float:
        if not lagged:
            return self.params.max_step
        # An eighth of the fastest TIA's time constant; the lags themselves are exact for any step.
        return float(min(self.params.max_step, 0.125 / self.plan.output_rate[np.isfinite(self.plan.output_rate)].max()))
