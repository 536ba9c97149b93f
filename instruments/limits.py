"""The one gate through which every voltage and current passes on its way to a cell.

`Limits` says what a device stands; `FlexGate` reads every message before it goes to the analyzer and refuses those that
would pass a limit, whoever wrote them: our own procedures, or a pymeasure method called from a notebook.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from instruments.errors import ConfigError, LimitError
from instruments.quantity import si, to_si


@dataclass(frozen=True)
class Range:
    """A closed interval of an SI quantity."""

    low: float
    high: float
    unit: str = "V"

    def check(self, value: float, what: str) -> None:
        """Raise LimitError unless low <= value <= high (a relative slack of 1e-9 absorbs rounding)."""
        slack = 1e-9 * max(abs(self.low), abs(self.high))
        if not self.low - slack <= value <= self.high + slack:
            raise LimitError(
                f"{what}: {si(value, self.unit)} is outside {si(self.low, self.unit)}..{si(self.high, self.unit)}; "
                "nothing was sent. Change the request, or the limits of the station file if the device stands more"
            )


@dataclass(frozen=True)
class Limits:
    """What the cells and the board stand.

    Defaults: compute voltages from the paper (clamped to -0.2..0.4 V so as not to program, Fig. 3c); programming
    voltages from memristor_RL's arrayinterface_v2.m (SET 2.5 V, RESET 1.7 V, gate to 1.5 V) with head-room for forming
    at 3.3 V (NI-RRAM-Python) and a fully opened gate.
    """

    bit_line: Range = field(default_factory=lambda: Range(-0.5, 3.5))
    source_line: Range = field(default_factory=lambda: Range(-0.5, 2.5))
    word_line: Range = field(default_factory=lambda: Range(0.0, 4.0))
    read: Range = field(default_factory=lambda: Range(-0.3, 0.3))
    compute: Range = field(default_factory=lambda: Range(-0.2, 0.4))
    board: Range = field(default_factory=lambda: Range(-1.0, 1.0))
    """What the board's DACs and integrators may put out; clamps on the board keep `compute` at the cells."""
    compliance: Range = field(default_factory=lambda: Range(0.0, 1e-3, "A"))
    pulse_width: Range = field(default_factory=lambda: Range(10e-9, 10e-3, "s"))
    conductance: Range = field(default_factory=lambda: Range(10e-6, 120e-6, "S"))
    """Targets that a procedure may ask for."""

    def __post_init__(self) -> None:
        for item in fields(self):
            interval: Range = getattr(self, item.name)
            if interval.low > interval.high:
                raise ConfigError(f"limits: {item.name} is empty: {interval.low:g}..{interval.high:g} {interval.unit}")
        for inner, outer in (("read", "bit_line"), ("compute", "bit_line")):
            a, b = getattr(self, inner), getattr(self, outer)
            if a.low < b.low or a.high > b.high:
                raise ConfigError(
                    f"limits contradict each other: {inner} {a.low:g}..{a.high:g} V does not lie within {outer}"
                )

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any] | None) -> "Limits":
        """Parse a `limits:` section: name: [low, high] or name: {low:, high:} with unit strings.

        Raises:
            ConfigError: unknown name, not two quantities, or limits that contradict each other.
        """
        standard = cls()
        known: dict[str, str] = {f.name: getattr(standard, f.name).unit for f in fields(cls)}
        chosen: dict[str, Range] = {}
        for name, pair in (data or {}).items():
            if name not in known:
                raise ConfigError(f"limits: unknown limit {name!r}; known: {', '.join(sorted(known))}")
            if not isinstance(pair, (list, tuple)) or len(pair) != 2:
                raise ConfigError(f"limits: {name} needs two values, such as [-0.2 V, 0.4 V], not {pair!r}")
            low, high = (to_si(v, known[name], what=f"limits.{name}") for v in pair)
            chosen[name] = Range(low, high, known[name])
        return cls(**chosen)

    def with_ranges(self, **ranges: Range) -> "Limits":
        """A copy with some limits replaced (checked anew)."""
        return Limits(**{f.name: ranges.get(f.name, getattr(self, f.name)) for f in fields(self)})


_LINES = ("bit_line", "source_line", "word_line")
# Where the voltages (V) or currents (A) stand among a command's parameters, after the channel (parameter 0).
_VOLTS: dict[str, tuple[int, ...]] = {
    "DV": (2,), "TDV": (2,), "WV": (3, 4), "WSV": (2, 3), "PV": (2, 3), "PWV": (3, 4, 5), "MV": (2, 3), "LSV": (2, 3),
    "LSSV": (2, 3), "BSV": (2, 3), "BSSV": (2, 3), "WNX": (4, 5), "QSV": (3, 4), "PTDV": (2, 3), "MCPNX": (4, 5),
}  # fmt: skip
_COMPLIANCE: dict[str, int] = {"DV": 3, "TDV": 3, "WV": 6, "WSV": 4, "PV": 4, "PWV": 7, "MV": 4}
_AMPS: dict[str, tuple[int, ...]] = {
    "DI": (2,), "TDI": (2,), "WI": (3, 4), "WSI": (2, 3), "PI": (2, 3), "PWI": (3, 4, 5), "MI": (2, 3), "LSI": (2, 3),
    "BSI": (2, 3),
}  # fmt: skip
_COMMAND = re.compile(r"\s*([A-Za-z*]+\??)\s*(.*?)\s*$")


@functools.lru_cache(maxsize=4096)  # a programming loop sends the same few messages thousands of times
def _parse(message: str) -> tuple[tuple[str, tuple[str, ...], str], ...]:
    """(Upper-case header, parameters, text) of every command of a message."""
    parsed = []
    for command in message.split(";"):
        match = _COMMAND.match(command)
        if match is not None and match[1]:
            parameters = tuple(p.strip() for p in re.split(r"[,\s]+", match[2])) if match[2] else ()
            parsed.append((match[1].upper(), parameters, command.strip()))
    return tuple(parsed)


class FlexGate:
    """Checks FLEX messages against the limits of the lines that their channels are wired to.

    Args:
        limits: what the device stands.
        channels: channel number -> line name; channels that are not wired may not be driven at all.

    The gate follows the SPGU's load setting (`SER`): into a cell, a channel left at its 50 ohm default delivers twice
    the voltage it was told, and that is the voltage that counts.
    """

    def __init__(self, limits: Limits, channels: Mapping[int, str]) -> None:
        self.limits = limits
        self.channels = dict(channels)
        self._load: dict[int, float] = {}

    def __call__(self, message: str) -> None:
        """Raise LimitError if any command of `message` would pass a limit; note load settings otherwise."""
        loads = dict(self._load)
        for name, parameters, command in _parse(message):
            if name == "*RST":
                loads.clear()
            else:
                self._check(name, parameters, command, loads)
        self._load = loads

    def _check(self, name: str, parameters: Sequence[str], command: str, loads: dict[int, float]) -> None:
        if name not in _VOLTS and name not in _AMPS and name not in ("SPV", "SER", "SPT", "ALW", "STGP"):
            return
        channel = int(self._number(parameters, 0, command))
        if name == "SER":
            loads[channel] = self._number(parameters, 1, command)
            return
        line = self.channels.get(channel, self.channels.get(channel // 100 if channel > 100 else channel))
        if name == "SPT":
            self.limits.pulse_width.check(self._number(parameters, 3, command), f"{command}: pulse width")
            return
        if name == "SPV":
            # Into a high impedance a source of 50 ohm told to expect a load R delivers V (1 + 50/R).
            gain = 1 + 50 / max(loads.get(channel, 50.0), 1e-3)
            self._volts(
                channel,
                line,
                [gain * self._number(parameters, i, command) for i in (2, 3) if i < len(parameters)],
                command,
            )
        elif name in _VOLTS:
            self._volts(
                channel,
                line,
                [self._number(parameters, i, command) for i in _VOLTS[name] if i < len(parameters)],
                command,
            )
            place = _COMPLIANCE.get(name, 99)
            if place < len(parameters) and parameters[place]:
                self.limits.compliance.check(abs(self._number(parameters, place, command)), f"{command}: compliance")
        elif name in _AMPS:
            for i in _AMPS[name]:
                if i < len(parameters):
                    self.limits.compliance.check(
                        abs(self._number(parameters, i, command)), f"{command}: forced current"
                    )

    def _volts(self, channel: int, line: str | None, volts: list[float], command: str) -> None:
        if line is None:
            if any(v != 0 for v in volts):
                raise LimitError(
                    f"{command}: channel {channel} is not wired to the array and may not be driven; nothing was sent. "
                    "Name it under `wiring:` in the station file"
                )
            return
        interval: Range = getattr(self.limits, line)
        for value in volts:
            interval.check(value, f"{command}: {line.replace('_', ' ')}")

    @staticmethod
    def _number(parameters: Sequence[str], place: int, command: str) -> float:
        try:
            return float(parameters[place])
        except (IndexError, ValueError):
            raise LimitError(
                f"{command}: can't tell what this would drive, so it was not sent; check its parameters"
            ) from None
