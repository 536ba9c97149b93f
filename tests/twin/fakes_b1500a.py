"""A bench without a chip (a resistor between SMU 1 and ground) and a wire without VISA."""

from collections import deque
from collections.abc import Mapping

import numpy as np
from pymeasure.adapters import Adapter

from instruments.clock import VirtualClock
from instruments.twin.fixture import RELAY_SECONDS, PulseShape, Reading
from instruments.twin.panels.b1500a import B1500APanel


class FakeFixture:
    """10 kohm behind SMU 1, an open end behind every other channel; what happens is written down."""

    def __init__(self, clock, ohms=10e3):
        self.clock = clock
        self.ohms = ohms
        self.sources: dict[int, tuple[float, float]] = {}
        self.forced: list[tuple[int, float | None]] = []
        self.pulses: list[tuple[dict[int, PulseShape], int, float]] = []
        self.selectors: list[tuple[int, int]] = []

    def force(self, channel, volts, compliance=float("inf")):
        self.forced.append((channel, volts))
        if volts is None:
            self.sources.pop(channel, None)
        else:
            self.sources[channel] = (volts, compliance)

    def measure(self, channel, integration):
        self.clock.sleep(integration)
        volts, compliance = self.sources.get(channel, (0.0, float("inf")))
        current = volts / self.ohms if channel == 1 else 0.0
        if abs(current) >= compliance:
            return Reading(compliance if current > 0 else -compliance, True)
        return Reading(current, False)

    def voltage(self, channel):
        return self.sources.get(channel, (0.0, 0.0))[0]

    def dwell(self, seconds):
        self.clock.sleep(seconds)

    def pulse(self, shapes: Mapping[int, PulseShape], count, period):
        self.pulses.append((dict(shapes), count, period))
        self.clock.sleep(count * period)

    def select_source(self, port, state):
        self.selectors.append((port, state))
        self.clock.sleep(RELAY_SECONDS)


class FakeBench:
    """Clock, chance and fixture, as panels see them."""

    def __init__(self, ohms=10e3):
        self.clock = VirtualClock()
        self.fixture = FakeFixture(self.clock, ohms)
        self.draws = 0

    def rng(self, stream):
        self.draws += 1
        return np.random.default_rng([7, self.draws])


class Silence(TimeoutError):
    """Nothing to read."""


class PanelAdapter(Adapter):
    """A byte stream between pymeasure and a panel: query replies first, then data, each with CR LF."""

    def __init__(self, panel):
        super().__init__()
        self.panel = panel
        self.sent: list[str] = []
        self._replies: deque[bytes] = deque()
        self._open = b""

    def _write(self, command, **kwargs):
        self.sent.append(command)
        self._replies.extend(self.panel.handle(command.encode()))

    def _fill(self):
        if not self._open:
            line = self._replies.popleft() if self._replies else self.panel.pull()
            if line is None:
                raise Silence
            self._open = line + b"\r\n"

    def _read(self, **kwargs):
        self._fill()
        line, _, self._open = self._open.partition(b"\r\n")
        return line.decode()

    def _read_bytes(self, count, break_on_termchar=False, **kwargs):
        self._fill()
        out, self._open = self._open[:count], self._open[count:]
        return out

    @property
    def unread(self):
        """What a message has left behind in the middle of a line."""
        return self._open


def make_panel(ohms=10e3, **options):
    bench = FakeBench(ohms)
    return bench, B1500APanel(bench, options)
