"""SPGU pulses: what one is, and the shortest message that makes the instrument give it.

The planner only writes text; it sends nothing. It remembers what the instrument was told, so that a programming loop
that changes nothing but the amplitude sends nothing but the amplitude.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from instruments.errors import LimitError

HIGH_IMPEDANCE = 1e6
"""Load to declare for a cell, ohm: the SPGU's largest. Its initial 50 ohm would double the voltage at a cell."""
LONGEST_MESSAGE = 240
"""Characters in one message; the instrument's input takes 256 with the terminator."""
TICK = 10e-9
"""Resolution of the SPGU's period, s."""


@dataclass(frozen=True)
class Pulse:
    """One pulse of one SPGU channel, as the instrument is told it (data sheet limits of the B1525A).

    Attributes:
        base: resting level, V, -40..40.
        peak: top level, V, -40..40.
        width: s, 10 ns..10 s (50 ns for the stated accuracy).
        edge: leading and trailing edge, s, 8 ns..0.4 s.
        load: declared load, ohm, 0.1..1e6.
        delay: s after the period's start, 0..10.
    """

    base: float
    peak: float
    width: float
    edge: float = 20e-9
    load: float = HIGH_IMPEDANCE
    delay: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what no SPGU can give, before anything is sent."""
        for name, low, high, unit in (
            ("base", -40.0, 40.0, "V"),
            ("peak", -40.0, 40.0, "V"),
            ("width", 10e-9, 10.0, "s"),
            ("edge", 8e-9, 0.4, "s"),
            ("load", 0.1, 1e6, "ohm"),
            ("delay", 0.0, 10.0, "s"),
        ):
            value = getattr(self, name)
            if not low <= value <= high:  # also refuses NaN
                raise LimitError(f"SPGU pulse: {name} {value:g} {unit} is outside {low:g} to {high:g} {unit}")

    @property
    def shortest_period(self) -> float:
        """The shortest period it fits into, s, on the instrument's 10 ns grid."""
        return math.ceil((self.delay + self.width + self.edge) / TICK - 1e-6) * TICK + TICK


def number(value: float) -> str:
    """A number for a FLEX parameter, nine digits at most."""
    return f"{value:.9G}"


@dataclass(frozen=True)
class Plan:
    """What to send for one run.

    Attributes:
        messages: in order; nearly always one.
        duration: how long the run takes once started, s.
        told: what the instrument will have been told.
    """

    messages: tuple[str, ...]
    duration: float
    told: dict[str, str]


@dataclass
class PulsePlanner:
    """Which pulse each channel is to give, and what has been sent."""

    wanted: dict[int, Pulse] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)
    period: float = 0.0

    def forget(self) -> None:
        """The instrument's state is unknown (error, reset, or others wrote): tell everything anew."""
        self.told = {}
        self.period = 0.0

    def plan(self, channels: Sequence[int], count: int, period: float | None) -> Plan:
        """Plan a run of `count` (1..1e6) pulses on `channels`; other channels set up before stay at their base of 0 V.

        Raises:
            LimitError: no or unknown channel, a count out of range, or a period too short for a pulse.
        """
        missing = [c for c in channels if c not in self.wanted]
        if missing or not channels:
            raise LimitError(
                f"SPGU: channels {list(channels)} can't fire; set a pulse up first for {missing or 'one of them'}"
            )
        if not 1 <= count <= 1_000_000:
            raise LimitError(f"SPGU: {count} pulses are outside 1 to 1000000")
        shortest = max(self.wanted[c].shortest_period for c in channels)
        period = max(shortest, 2 * TICK) if period is None else period
        if not shortest * (1 - 1e-9) <= period <= 10.0:
            raise LimitError(f"SPGU: a period of {period:g} s is outside {shortest:g} s (the longest pulse) to 10 s")
        told = dict(self.told)
        commands = self._changes(told, [("SIM", "SIM 0"), ("SPRM", f"SPRM 1,{count}")])
        timing = self._changes(told, [("SPPER", f"SPPER {number(period)}")])
        settings: list[str] = []
        updated: list[int] = []
        for channel in dict.fromkeys([*channels, *self.wanted]):
            changes = self._changes(told, self._channel(channel, channel in channels))
            if changes or (timing and channel in channels):
                settings += changes
                updated.append(channel)
        # A width must fit the period at every moment, so a longer period comes first and a shorter one last.
        commands += [*timing, *settings] if period >= self.period else [*settings, *timing]
        if updated:
            commands.append("SPUPD " + ",".join(map(str, updated)))
        return Plan(tuple(join([*commands, "SRP"])), count * period, told)

    def accept(self, plan: Plan) -> None:
        """The instrument took the plan without an error."""
        self.told = plan.told
        self.period = float(plan.told["SPPER"].split()[1])

    @staticmethod
    def _changes(told: dict[str, str], commands: Iterable[tuple[str, str]]) -> list[str]:
        changed = [(key, text) for key, text in commands if told.get(key) != text]
        told.update(changed)
        return [text for _, text in changed]

    def _channel(self, channel: int, fires: bool) -> list[tuple[str, str]]:
        if not fires:
            return [(f"SPM{channel}", f"SPM {channel},0"), (f"DC{channel}", f"SPV {channel},0,0")]
        p = self.wanted[channel]
        edge = number(p.edge)
        return [
            (f"CN{channel}", f"CN {channel}"),
            (f"SER{channel}", f"SER {channel},{number(p.load)}"),
            (f"SPM{channel}", f"SPM {channel},1"),
            (f"SPT{channel}", f"SPT {channel},1,{number(p.delay)},{number(p.width)},{edge},{edge}"),
            (f"SPV{channel}", f"SPV {channel},1,{number(p.base)},{number(p.peak)}"),
        ]


def join(commands: Iterable[str]) -> list[str]:
    """Join commands with `;` into as few messages as the input buffer allows."""
    messages: list[str] = []
    for command in commands:
        if messages and len(messages[-1]) + 1 + len(command) <= LONGEST_MESSAGE:
            messages[-1] += ";" + command
        else:
            messages.append(command)
    return messages
