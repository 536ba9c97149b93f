"""A bench that knows nothing but a clock, chance and a run of sines; and both oscilloscopes on it through VISA."""

import contextlib

import numpy as np
import pyvisa

from instruments.clock import VirtualClock
from instruments.twin.visa import TwinVisaLibrary

YAML = """
spec: "1.1"
devices:
  infiniivision:
    eom: {TCPIP INSTR: {q: "\\n", r: "\\n"}}
    error: ERROR
    handler: "instruments.twin.panels.infiniivision:InfiniiVisionPanel"
    options: {probes: "1=x,2=y,3=nx,4=ny", external: run}
    timing: {message: "0.5 ms", byte: "50 ns"}
  tektronix:
    eom: {TCPIP INSTR: {q: "\\n", r: "\\n"}}
    error: ERROR
    handler: "instruments.twin.panels.tektronix_mso:TektronixPanel"
    options: {probes: "1=x,2=y,3=nx,4=ny", external: run}
    timing: {message: "0.5 ms", byte: "50 ns"}
resources:
  TCPIP0::192.168.1.20::inst0::INSTR: {device: infiniivision}
  TCPIP0::192.168.1.21::inst0::INSTR: {device: tektronix}
"""
ADDRESSES = {"infiniivision": "TCPIP0::192.168.1.20::inst0::INSTR", "tektronix": "TCPIP0::192.168.1.21::inst0::INSTR"}
WAVES = {"x": (1.0, 3.0, 0.0), "y": (0.5, 5.0, 0.2), "nx": (2.0, 2.0, -0.1), "ny": (0.1, 7.0, 0.0)}


class FakeRun:
    """Sines (amplitude V, frequency Hz, offset V) that go on for ever, and the run line: 3.3 V while it lasts."""

    def __init__(self, start, duration=1.2, waves=WAVES):
        self.start = start
        self.duration = duration
        self.waves = waves

    def sample(self, nodes, times):
        times = np.asarray(times, float)
        return np.array([self._node(node, times) for node in nodes])

    def _node(self, node, times):
        if node == "run":
            return np.where((times >= 0) & (times < self.duration), 3.3, 0.0)
        if node not in self.waves:
            raise ValueError(f"no node {node!r}")
        amplitude, frequency, offset = self.waves[node]
        return amplitude * np.sin(2 * np.pi * frequency * times) + offset


class FakeBench:
    """Clock, chance and scopes."""

    def __init__(self):
        self.clock = VirtualClock()
        self.scopes = []
        self.draws = 0

    def rng(self, stream):
        self.draws += 1
        return np.random.default_rng([7, self.draws])

    def close(self):
        pass

    def run(self, delay=0.0, duration=1.2, waves=WAVES):
        """A run that starts after `delay` and is announced to the scopes at its end; the clock stays where it is."""

        def process():
            yield self.clock.env.timeout(round(delay * 1e9))
            run = FakeRun(self.clock.now(), duration, waves)
            yield self.clock.env.timeout(round(duration * 1e9))
            for scope in self.scopes:
                scope.on_run(run)

        self.clock.env.process(process())


def open_bench(folder, text=YAML):
    """A bench and its VISA resource manager."""
    path = folder / "scopes.yaml"
    path.write_text(text)
    bench = FakeBench()
    manager = pyvisa.ResourceManager(TwinVisaLibrary.from_file(path, bench=bench))
    return bench, manager


class FakeResource:
    """Recorded exchanges: pairs of a message and its reply (None: no reply; bytes: a block)."""

    def __init__(self, pairs=()):
        self.pairs = list(pairs)
        self.read_termination = self.write_termination = "?"
        self.locks = 0

    def _expect(self, message):
        assert self.pairs, f"unexpected {message!r}"
        wanted, reply = self.pairs.pop(0)
        assert message == wanted
        return reply

    def write(self, message):
        assert self._expect(message) is None
        return len(message)

    def query(self, message):
        return self._expect(message) + "\n"

    def query_binary_values(self, message, datatype="B", is_big_endian=False, container=list, chunk_size=None):
        reply = self._expect(message)
        return container(np.frombuffer(reply, (">" if is_big_endian else "<") + datatype))

    def clear(self):
        assert self._expect("clear") is None

    def lock_context(self):
        self.locks += 1
        return contextlib.nullcontext()
