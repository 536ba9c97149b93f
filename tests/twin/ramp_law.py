"""A law as somebody outside the project would write it, in as few lines as it takes: tests name it in preset files."""

from dataclasses import dataclass, field

import numpy as np

from instruments.twin.laws.parts import Defects, ReadNoise, Relaxation, blank, book, bounded, constant, record


@dataclass(frozen=True)
class RampLaw:
    """Conductance moves in proportion to what a pulse exceeds a threshold by, as often as one likes."""

    record = record()

    slope: float = constant(20e-6, "S/V", positive=True)
    v_on: float = constant(1.0, "V")
    g_leak: float = 1e-10
    v_quiet: float = 0.5
    relaxation: Relaxation = field(default_factory=Relaxation)
    noise: ReadNoise = field(default_factory=ReadNoise)
    defects: Defects = field(default_factory=Defects)

    def disturbs(self, volts):
        return volts > self.v_on

    def gate_within(self, gate, volts, amps):
        return gate

    def fresh(self, shape, rng, now_ns=0):
        cells = blank(self.record, shape, now_ns)
        cells["v_t"], cells["g_min"], cells["g_max"], cells["formed"] = 0.6, 5e-6, 150e-6, 1
        cells["g"] = 20e-6
        self.noise.fresh(cells, rng)
        self.defects.fresh(cells, rng)
        self.defects.pin(cells)
        return cells

    def conductance(self, c, now_ns):
        return self.relaxation.now(c, now_ns, self.g_leak)

    def sense(self, c, now_ns, integration, rng):
        return self.noise.seen(c, self.conductance(c, now_ns), now_ns, integration, rng)

    def set_pulse(self, c, volts, gate, width, now_ns, rng):
        return self._pulse(c, volts, gate, width, now_ns, rng, 1)

    def reset_pulse(self, c, volts, gate, width, now_ns, rng):
        return self._pulse(c, volts, gate, width, now_ns, rng, -1)

    def _pulse(self, c, volts, gate, width, now_ns, rng, way):
        before = self.conductance(c, now_ns)
        step = way * self.slope * np.maximum(np.asarray(volts) - self.v_on, 0.0)
        after = bounded(c, before, np.where(np.asarray(gate) > c["v_t"], before + step, before))
        self.relaxation.move(c, before, after, now_ns, rng)
        return book(c, np.square(volts) * after * width)


class Unfinished:
    """No dataclass, and not even pulses."""

    record = record()


@dataclass(frozen=True)
class Homeless(RampLaw):
    """Its record lacks most of what every record has."""

    record = np.dtype([("g", "f8"), ("stuck", "i1")])


@dataclass(frozen=True)
class Careless(RampLaw):
    """Draws a chip of another shape than asked for."""

    def fresh(self, shape, rng, now_ns=0):
        return super().fresh((2, *shape), rng, now_ns)
