"""What is behind an oscilloscope's front panel, whatever language that speaks: input, converter, trigger, record.

An input is a first-order low-pass, white noise, and a converter of so many bits over a span that is a little wider
than the screen; what is beyond the span comes out as its first or last code. In high-resolution mode consecutive
conversions are averaged: more bits, less noise, down to a sixteenth, where what is left is not white any more.

While nothing runs, inputs lie at 0 V. When a record is taken is `scope_digitizer`'s.

Left out: gain and offset errors, jitter of the trigger, interpolation between samples, loading of the circuit.
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

RUN_LINE, RUN_LINE_VOLTS = "run", 3.3
"""The board's run line: 0 V, and so many volts from a run's start to its end."""
_LOOK_BACK = 1e-3  # s before a run in which its first edge may be looked for
_COARSE, _FINE = 2001, 101  # points of the searches for an edge; three of them resolve a 1 s run to 50 ns
_QUIETEST = 1 / 16
_MOST_KEPT, _LARGEST_KEPT = 8, 1 << 24
"""Replies that are kept with a record, and bytes of the largest of them."""


class Run(Protocol):
    """What a record is taken from: one run of the board, or nothing."""

    @property
    def start(self) -> float:
        """First tick of the run, s on the bench's clock."""
        ...

    @property
    def duration(self) -> float:
        """Seconds."""
        ...

    def sample(self, nodes: Sequence[str], times: Floats) -> Floats:
        """Volts at the nodes, shape (len(nodes), len(times)); times in s relative to `start`."""
        ...


@dataclass(frozen=True)
class Silence:
    """No run: every node at 0 V."""

    start: float
    duration: float = 0.0

    def sample(self, nodes: Sequence[str], times: Floats) -> Floats:
        """Zeros, shape (len(nodes), len(times))."""
        return np.zeros((len(nodes), len(times)))


@dataclass(frozen=True)
class Converter:
    """What an instrument's converters can do.

    Attributes:
        bits: of one conversion.
        most_bits: in high-resolution mode.
        rate: conversions per second.
    """

    bits: int
    most_bits: int
    rate: float

    def resolution(self, step: float, high: bool) -> tuple[int, float]:
        """Bits, and the noise that is left of an unaveraged sample's, for samples `step` seconds apart."""
        averaged = max(1.0, step * self.rate) if high else 1.0
        bits = min(self.most_bits, self.bits + int(math.log(averaged, 4)))
        return bits, max(_QUIETEST, averaged**-0.5)


@dataclass(frozen=True)
class Input:
    """One channel.

    Attributes:
        node: what its probe hangs on; None for an open end (0 V).
        span: from the first to past the last code, V > 0.
        centre: in the middle of it, V.
        bandwidth: -3 dB, Hz.
        noise: of a sample, V rms.
        inverted: the signal is turned over.
        ac: its mean is taken away.
    """

    node: str | None
    span: float
    centre: float
    bandwidth: float
    noise: float
    inverted: bool = False
    ac: bool = False


@dataclass(frozen=True)
class Edge:
    """What to trigger on: a crossing of `level` volts at a node (None: never), or nothing at all if `auto`.

    A crossing in one direction, `rising` or not; or, with `either`, in any.
    """

    node: str | None
    level: float
    rising: bool
    auto: bool
    either: bool = False


@dataclass(frozen=True)
class Plan:
    """How a record is taken.

    Attributes:
        inputs: by channel number.
        edge: trigger.
        first: time of the first sample, s after the trigger (negative: before it).
        step: between samples, s.
        points: samples.
        bits: of the converter, 1..16.
    """

    inputs: Mapping[int, Input]
    edge: Edge
    first: float
    step: float
    points: int
    bits: int

    @property
    def last(self) -> float:
        """Time of the last sample, s after the trigger."""
        return self.first + self.step * (self.points - 1)


@dataclass(frozen=True, eq=False)
class Record:
    """One acquisition.

    Attributes:
        plan: how it was taken.
        codes: by channel, int16, shape (points,): left-justified, `span`/65536 volts each, 0 at `centre`.
        run: what it was taken from.
        trigger: time of the trigger in that run, s.
    """

    plan: Plan
    codes: Mapping[int, npt.NDArray[np.int16]]
    run: Run
    trigger: float
    views: dict[int, "Record"] = field(default_factory=dict)
    _told: dict[Hashable, bytes] = field(default_factory=dict)

    def told(self, how: Hashable, make: Callable[[], bytes]) -> bytes:
        """What `make` gives, or gave when it was asked `how` before: a held record is often read again and again."""
        data = self._told.get(how)
        if data is None:
            data = make()
            if len(self._told) >= _MOST_KEPT:
                self._told.clear()
            if len(data) <= _LARGEST_KEPT:
                self._told[how] = data
        return data


def first_crossing(run: Run, edge: Edge, since: float) -> float | None:
    """Time in the run, s, of the first crossing not before `since`, to about 50 ns; None if there is none."""
    if edge.node is None:
        return None
    if edge.node == RUN_LINE:
        # Known beforehand; to sample a run may mean to compute it once more.
        known = [0.0] if edge.rising else []
        known += [run.duration] if edge.either or not edge.rising else []
        return next((at for at in sorted(known) if at >= since and 0.0 < edge.level <= RUN_LINE_VOLTS), None)
    low, high = max(since, -_LOOK_BACK), run.duration + _LOOK_BACK
    for points in (_COARSE, _FINE, _FINE):
        if high <= low:
            return None
        times = np.linspace(low, high, points)
        above = run.sample([edge.node], times)[0] >= edge.level
        before, after = (~above[:-1], above[1:]) if edge.rising else (above[:-1], ~above[1:])
        crossings = np.flatnonzero(above[:-1] != above[1:] if edge.either else before & after)
        if not len(crossings):
            return None
        low, high = float(times[crossings[0]]), float(times[crossings[0] + 1])
    return high


def low_pass(volts: Floats, step: float, bandwidth: float) -> Floats:
    """First-order low-pass, its input taken as straight lines between samples; at rest before the first one."""
    tau = 1 / (2 * math.pi * bandwidth)
    if step > 40 * tau:
        return volts  # settled to 1e-17 within a sample
    from scipy.signal import lfilter  # rarely needed, and slow to load

    a, ramp = math.exp(-step / tau), -math.expm1(-step / tau) * tau / step
    settled: Floats = lfilter([1 - ramp, ramp - a], [1, -a], volts, zi=[volts[0] * ramp])[0] if len(volts) else volts
    return settled


def digitise(run: Run, trigger: float, plan: Plan, rng: np.random.Generator) -> dict[int, npt.NDArray[np.int16]]:
    """Codes of every input (see `Record`)."""
    times: Floats = np.arange(plan.points, dtype=np.float64) * plan.step + (trigger + plan.first)
    nodes = sorted({i.node for i in plan.inputs.values() if i.node is not None})
    traces = dict(zip(nodes, run.sample(nodes, times), strict=True)) if nodes else {}
    half, unused = 2 ** (plan.bits - 1), 16 - plan.bits
    codes = {}
    for channel, wired in plan.inputs.items():
        scale = 2 * half / wired.span
        steps = rng.standard_normal(plan.points, dtype=np.float32)
        steps *= wired.noise * scale
        if wired.node is not None:
            volts = low_pass(np.asarray(traces[wired.node], float), plan.step, wired.bandwidth)
            if wired.ac:
                volts = volts - volts.mean()
            # Single precision is 2**-24 of full scale, which no converter here comes near.
            steps += volts * (-scale if wired.inverted else scale)
        steps -= wired.centre * scale
        np.rint(steps, out=steps)
        np.clip(steps, -half, half - 1, out=steps)
        codes[channel] = steps.astype(np.int16) << unused
    return codes
