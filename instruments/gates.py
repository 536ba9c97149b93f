"""The limits at the wire, for any instrument: a driver tells its grammar as a table, this reads every message by it.

`instruments.limits.FlexGate` knows FLEX. A driver of another language brings `Rule`s: one for every form of command it
may send. A command that no rule matches is refused, so that one nobody thought of can't slip through; what a rule says
is a voltage, a current or a width is held against the station's limits. `guard` puts the gate where every byte to the
instrument must pass, whoever writes: pyvisa resources send by `write_raw` alone.

What this can't do: a driver that opens a connection of its own is not seen, and a table may lie. Both are seen on the
twin, where the conformance suite compares what a driver was asked, what passed its gate, and what reached the wires.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Final, cast

from instruments.errors import ConfigError, LimitError
from instruments.limits import Limits, Range

NUMBER: Final = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
"""A decimal number, for the patterns of rules."""
_KINDS: Final = {"volts": "V", "reach": "V", "amps": "A", "seconds": "s"}
_GROUP: Final = re.compile(r"(channel|paths|volts|reach|amps|seconds)[0-9]?")
_SOURCES: Final = re.compile(
    r"(?:^|[;:\s])(?:WGEN|AFG|AWG|OUTP|SOUR(?:CE)?[0-9]?:(?:VOLT|FUNC|APPL|CURR)|CAL(?:IBRATE)?\b|DEMO|SELF)",
    re.IGNORECASE,
)

Gate = Callable[[str], None]


@dataclass(frozen=True)
class Rule:
    """One form of command that a driver may send.

    Attributes:
        pattern: regular expression that matches a whole command, case ignored. What it drives stands in named groups,
            a digit after the name telling several apart: `volts` (V, signed), `reach` (V either way: the compliance of
            a current source), `amps` (A either way), `seconds` (s, the length of a pulse), `channel` (the channel's
            label), `paths` (crosspoints to close). A pattern without such a group drives nothing.
        line: limit that the volts are held against where there is no channel: "bit_line", "source_line", "word_line",
            "read", "compute" or "board".
        opens: for a matrix: the command opens the crosspoints of `paths`, or all of them where there is no such group.
        ends: everything that was driven ends with it; it needs no wired channel.
    """

    pattern: str
    line: str = ""
    opens: bool = False
    ends: bool = False

    @cached_property
    def matcher(self) -> re.Pattern[str]:
        """The compiled pattern.

        Raises:
            ConfigError: it can't be compiled, or its groups are unknown.
        """
        try:
            found = re.compile(self.pattern, re.IGNORECASE)
        except re.error as error:
            raise ConfigError(f"rule {self.pattern!r}: {error}") from error
        odd = [name for name in found.groupindex if _GROUP.fullmatch(name) is None]
        if odd:
            raise ConfigError(f"rule {self.pattern!r}: group {odd[0]!r} is none of channel, paths, {', '.join(_KINDS)}")
        if self.line and self.line not in Limits.__dataclass_fields__:
            raise ConfigError(f"rule {self.pattern!r}: {self.line!r} is no limit")
        return found


@dataclass
class RuleGate:
    """Holds messages against the limits by a driver's table.

    Args:
        name: of the instrument, for errors.
        rules: the table.
        limits: what the device stands.
        channels: label -> line that the channel is wired to; a channel that is not named may not be driven.
        between: what separates the commands of one message.
        crosspoint: for a matrix: regular expression of one crosspoint in `paths`, groups `input` and `output`.
    """

    name: str
    rules: Sequence[Rule]
    limits: Limits
    channels: Mapping[str, str] = field(default_factory=dict)
    between: str = r"[;\r\n]"
    crosspoint: str = r"[0-9](?P<input>[0-9]{2})(?P<output>[0-9]{2})"

    def __post_init__(self) -> None:
        for rule in self.rules:
            _ = rule.matcher
        self.closed: set[tuple[int, int]] = set()
        self._find = lru_cache(maxsize=1024)(self._search)

    def __call__(self, message: str) -> None:
        """Raise LimitError if any command of `message` is unknown or would pass a limit."""
        closed = set(self.closed)
        for part in re.split(self.between, message):
            command = part.strip()
            if command:
                rule, match = self._find(command)
                self._check(command, rule, match, closed)
        self.closed = closed

    def _search(self, command: str) -> tuple[Rule, re.Match[str]]:
        if command.isascii() and command.isprintable():
            for rule in self.rules:
                match = rule.matcher.fullmatch(command)
                if match is not None:
                    return rule, match
        raise LimitError(
            f"{self.name}: {command[:80]!r} is not among the commands whose drive is checked against the limits, so it "
            "was not sent; a rule of the driver's table must match it"
        )

    def _check(self, command: str, rule: Rule, match: re.Match[str], closed: set[tuple[int, int]]) -> None:
        groups = {name: text for name, text in match.groupdict().items() if text is not None}
        interval = self._interval(command, rule, groups)
        for name, text in groups.items():
            kind = name.rstrip("0123456789")
            if kind == "seconds":
                self.limits.pulse_width.check(self._number(text, command), f"{self.name}: {command}: pulse width")
            elif kind == "amps":
                self.limits.compliance.check(abs(self._number(text, command)), f"{self.name}: {command}: current")
            elif kind in ("volts", "reach"):
                value = self._number(text, command)
                for volts in (value, -value) if kind == "reach" else (value,):
                    interval.check(volts, f"{self.name}: {command}")
        if "paths" in groups or rule.opens:
            self._switch(command, rule, groups.get("paths"), closed)

    def _interval(self, command: str, rule: Rule, groups: Mapping[str, str]) -> Range:
        if rule.line:
            return cast(Range, getattr(self.limits, rule.line))
        label = groups.get("channel", "").lower()
        wired = self.channels.get(label)
        if wired is not None:
            return cast(Range, getattr(self.limits, wired))
        if label and not rule.ends and len(groups) > 1 and any(self._drives(n, t) for n, t in groups.items()):
            raise LimitError(
                f"{self.name}: {command}: channel {label!r} is not wired to the array and may not be driven; nothing "
                "was sent. Name it under `wiring:` in the station file"
            )
        return Range(0.0, 0.0)

    @staticmethod
    def _drives(name: str, text: str) -> bool:
        try:
            return name.rstrip("0123456789") in ("volts", "reach") and float(text) != 0
        except ValueError:
            return True

    def _number(self, text: str, command: str) -> float:
        try:
            return float(text)
        except ValueError:
            raise LimitError(
                f"{self.name}: {command}: {text!r} is no number that can be checked, so it was not sent"
            ) from None

    def _switch(self, command: str, rule: Rule, text: str | None, closed: set[tuple[int, int]]) -> None:
        if text is None:
            closed.clear()
            return
        found = [(int(m["input"]), int(m["output"])) for m in re.finditer(self.crosspoint, text)]
        if not found:
            raise LimitError(f"{self.name}: {command}: no crosspoint in it can be read, so it was not sent")
        if rule.opens:
            closed.difference_update(found)
            return
        closed.update(found)
        refuse_short(closed, f"{self.name}: {command}")


def refuse_short(closed: Collection[tuple[int, int]], what: str) -> None:
    """Raise LimitError where two inputs, sources both, would meet at one output of a matrix.

    Args:
        closed: crosspoints (input, output) as they would be.
        what: is asked for, for the message.
    """
    joined: dict[int, int] = {}
    for source, line in sorted(closed):
        if joined.setdefault(line, source) != source:
            raise LimitError(
                f"{what}: inputs {joined[line]} and {source} would meet at output {line}, two sources on one line; "
                "nothing was sent. Open one of them first"
            )


def no_sources(message: str) -> None:
    """The gate of oscilloscopes: what makes their generators, outputs or self-tests drive something is refused."""
    if _SOURCES.search(message):
        raise LimitError(f"oscilloscope: {message[:80]!r} could make it drive something, so it was not sent")


class Watch:
    """Who listens to what passes a guard; the conformance suite does."""

    def __init__(self) -> None:
        self.passed: list[bytes] | None = None

    def note(self, message: bytes) -> None:
        """A message has passed."""
        if self.passed is not None:
            self.passed.append(bytes(message))


def guard(resource: Any, gate: Gate, watch: Watch) -> Any:
    """Put a gate into an open pyvisa resource: from now on every byte it writes must pass.

    The resource stays what it was, so that a driver can lock it, clear it and open it again.

    Args:
        resource: a message-based pyvisa resource.
        gate: called with every message, terminator included; what it raises keeps the message back.
        watch: told of what passed.
    """
    kind = type(resource)
    send = kind.write_raw

    def write_raw(self: Any, message: bytes) -> int:
        gate(bytes(message).decode("ascii", "replace"))
        watch.note(message)
        return cast(int, send(self, message))

    resource.__class__ = type(f"Guarded{kind.__name__}", (kind,), {"write_raw": write_raw})
    return resource
