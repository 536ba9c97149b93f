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

_LINES = ("bit_line", "source_line", "word_line")


CEILING = 10.0
"""V; a limit above this is a slip of the pen: forming takes 3 to 4 V."""


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
    column_current: Range = field(default_factory=lambda: Range(0.0, 10e-3, "A"))
    """What a bit line stands for the length of a pulse when a whole column is pulsed: 32 cells of 100 uS at 2.5 V
    take 8 mA. An assumption (some mA/um for microseconds in 180 nm metal); ask whoever made the chip."""

    def __post_init__(self) -> None:
        for item in fields(self):
            interval: Range = getattr(self, item.name)
            if interval.low > interval.high:
                raise ConfigError(f"limits: {item.name} is empty: {interval.low:g}..{interval.high:g} {interval.unit}")
        for name in (*_LINES, "board"):
            a = getattr(self, name)
            if not a.low <= 0 <= a.high:
                raise ConfigError(f"limits: {name} {a.low:g}..{a.high:g} V must include 0 V, where outputs rest")
        for inner, outer in (("read", "bit_line"), ("compute", "bit_line")):
            a, b = getattr(self, inner), getattr(self, outer)
            if a.low < b.low or a.high > b.high:
                raise ConfigError(
                    f"limits contradict each other: {inner} {a.low:g}..{a.high:g} V does not lie within {outer}"
                )

    def check_board(self, name: str, volts: float) -> None:
        """Raise LimitError unless the board may put out `volts` as `name`.

        Args:
            name: "word line", "source line", "inhibited bit line" and "column read" reach cells and have their limits;
                anything else is the computing circuit's.
            volts: V.
        """
        lines = {
            "word line": self.word_line, "source line": self.source_line, "inhibited bit line": self.bit_line,
            "column read": self.read,
        }  # fmt: skip
        lines.get(name, self.board).check(volts, f"board, {name}")

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any] | None) -> "Limits":
        """Parse a `limits:` section: name: [low, high], unit strings or bare SI numbers.

        Raises:
            ConfigError: unknown name, not two quantities, or limits that contradict each other or go beyond
                `CEILING`.
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
            if known[name] == "V" and max(abs(low), abs(high)) > CEILING:
                raise ConfigError(f"limits: {name} {low:g}..{high:g} V: no 1T1R cell stands more than {CEILING:g} V")
            chosen[name] = Range(low, high, known[name])
        return cls(**chosen)

    def with_ranges(self, **ranges: Range) -> "Limits":
        """A copy with some limits replaced (checked anew)."""
        return Limits(**{f.name: ranges.get(f.name, getattr(self, f.name)) for f in fields(self)})


@dataclass(frozen=True)
class _Drive:
    """Where a command's levels and its compliance stand among its parameters; number 0 is the channel."""

    levels: tuple[int, ...]
    compliance: int


_VOLTS = {
    "DV": _Drive((2,), 3), "TDV": _Drive((2,), 3), "WV": _Drive((3, 4), 6), "WSV": _Drive((2, 3), 4),
    "PV": _Drive((2, 3), 4), "PWV": _Drive((3, 4, 5), 7), "MV": _Drive((2, 3), 4),
}  # fmt: skip
_AMPS = {name[:-1] + "I": drive for name, drive in _VOLTS.items()}  # current sources are laid out alike
# What puts out nothing but what passed the gate before, and the queries that stimulate nothing (so not *TST?, *CAL?,
# DIAG?, CORR?, or CORRSER?, which can change the load behind the gate's back).
_QUIET = """
    *CLS *OPC *SRE *ESE AB BC FMT PAD TM TSC TSR TSQ WAT PA PAX OS OSX WS WSX TGP TGPC TGSI TGSO TGXO TGMO
    CN CNX CL DZ RZ IN XE TI TV TIV TTI TTV TTIV MM WT WM MT ML MSC MCC AAD AIT AITM AV AZ CM CMM RI RV RM FL SSR
    SPM SPRM SPPER SPUPD SRP SPP ODSW STGP ERMOD ERSSP FC IMP WTDCV
    *IDN? *OPC? *OPT? *LRN? *STB? *SRE? *ESR? UNT? ERR? ERRX? EMG? LOP? NUB? WNU? AITM? SIM? SPRM? SPPER? SPM? SPV?
    SPT? SER? SPST? ODSW? STGP? ALS? ERMOD? ERSSP?
"""
_HARMLESS = frozenset(_QUIET.split())
_COMMAND = re.compile(r"(\*?[A-Za-z]+\??)\s*(.*)")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_CHANNEL = re.compile(r"\d{1,4}", re.ASCII)
_SPGU_OHM = 50.0
_LEAST_LOAD, _MOST_LOAD = 0.1, 1e6


@functools.lru_cache(maxsize=4096)  # a programming loop sends the same few messages thousands of times
def _parse(message: str) -> tuple[tuple[str, tuple[str, ...], str], ...]:
    """(Upper-case header, parameters, text) of every command of a message."""
    parsed = []
    for part in re.split(r"[;\r\n]", message):
        command = part.strip(" \t")
        if not command:
            continue
        match = _COMMAND.fullmatch(command)
        if match is None or not (command.isascii() and command.isprintable()):
            raise LimitError(f"{command[:60]!r} is no command whose drive can be checked, so it was not sent")
        parameters = tuple(p.strip() for p in match[2].split(",")) if match[2] else ()
        parsed.append((match[1].upper(), parameters, command))
    return tuple(parsed)


@dataclass(frozen=True)
class _Generator:
    """What an SPGU channel was told: its load (ohm, None if that isn't known) and each signal's levels (V)."""

    load: float | None = None
    levels: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


class FlexGate:
    """Checks FLEX messages against the limits of the lines that their channels are wired to.

    A command passes if it is known to drive nothing, or if everything it would drive lies within the limits: voltages,
    the voltage compliance of current sources (what they reach at an open end), current compliances, pulse widths. Any
    other command is refused, so that one nobody thought of can't slip through (search, quasi-pulsed, multi-channel and
    CMU sources, arbitrary waveforms, stored programs, channel translation).

    The gate follows the SPGU's load setting (`SER`): into a cell, a channel told to expect R ohm delivers 1 + 50/R
    times the voltage it was told, twice for the initial 50 ohm, and that is the voltage that counts. Before the first
    `SER` or `*RST` the load is unknown and the channel may not be told a voltage.

    It knows only what passed through it: what another program left set up in the instrument, it can't see.

    Args:
        limits: what the device stands.
        channels: channel number -> line name; channels that are not wired may not be driven at all.
    """

    def __init__(self, limits: Limits, channels: Mapping[int, str]) -> None:
        self.limits = limits
        self.channels = {_canonical(number): line for number, line in channels.items()}
        self._told: dict[int, _Generator] = {}

    def __call__(self, message: str) -> None:
        """Raise LimitError if any command of `message` would pass a limit; note SPGU settings otherwise."""
        told = dict(self._told)
        for name, parameters, command in _parse(message):
            if name not in _HARMLESS:
                self._check(name, parameters, command, told)
        self._told = told

    def _check(self, name: str, parameters: Sequence[str], command: str, told: dict[int, _Generator]) -> None:
        if name == "*RST":
            told.clear()
            told.update({channel: _Generator(_SPGU_OHM) for channel in self.channels})
        elif name == "SIM" and parameters == ("0",):
            pass  # pulse generator; 1 would play arbitrary waveforms
        elif name == "PT":
            self._width(_number(parameters, 1, command), command)
        elif name == "SPT":
            self._width(_number(parameters, 3, command), command)
            for i in range(4, max(len(parameters), 5)):
                self._width(max(_number(parameters, i, command), self.limits.pulse_width.low), command)
        elif name in ("SPV", "SER"):
            channel = _channel(parameters, command)
            before = told.get(channel, _Generator())
            if name == "SER":
                load = _number(parameters, 1, command)
                if not _LEAST_LOAD <= load <= _MOST_LOAD:
                    raise LimitError(
                        f"{command}: an SPGU takes loads of {_LEAST_LOAD:g} ohm to {_MOST_LOAD:g} ohm and would "
                        "keep the one it has; nothing was sent"
                    )
                after = _Generator(load, before.levels)
            else:
                levels = tuple(_number(parameters, i, command) for i in range(2, max(len(parameters), 3)))
                after = _Generator(before.load, {**before.levels, parameters[1]: levels})
            self._generator(channel, after, command)
            told[channel] = after
        elif name in _VOLTS:
            drive = _VOLTS[name]
            self._volts(_channel(parameters, command), [_number(parameters, i, command) for i in drive.levels], command)
            if drive.compliance < len(parameters):
                amps = abs(_number(parameters, drive.compliance, command))
                self.limits.compliance.check(amps, f"{command}: compliance")
        elif name in _AMPS:
            self._current(_AMPS[name], parameters, command)
        else:
            raise LimitError(
                f"{command}: {name} is not among the commands whose drive is checked against the limits, so it was not "
                "sent; use DV, WV, PV, MV, SPV and their kin"
            )

    def _width(self, seconds: float, command: str) -> None:
        self.limits.pulse_width.check(seconds, f"{command}: pulse width")

    def _generator(self, channel: int, state: _Generator, command: str) -> None:
        levels = [v for signal in state.levels.values() for v in signal]
        if state.load is None:
            if any(levels) and channel in self.channels:
                raise LimitError(
                    f"{command}: what channel {channel} would deliver depends on its load setting, which is unknown; "
                    f"nothing was sent. Send SER {channel},1000000 first (a cell is a high impedance)"
                )
            gain = 1.0
        else:
            # Into a high impedance a source of 50 ohm told to expect a load R delivers V (1 + 50/R). At the largest R,
            # which is how one says "high impedance", that is 0.005 %, far below the instrument's accuracy.
            gain = 1 + _SPGU_OHM / state.load if state.load < _MOST_LOAD else 1.0
        self._volts(channel, [gain * v for v in levels], command)

    def _current(self, drive: _Drive, parameters: Sequence[str], command: str) -> None:
        channel = _channel(parameters, command)
        levels = [_number(parameters, i, command) for i in drive.levels]
        for amps in levels:
            self.limits.compliance.check(abs(amps), f"{command}: forced current")
        if drive.compliance >= len(parameters):
            raise LimitError(f"{command}: a current source needs its voltage compliance stated; nothing was sent")
        reach = abs(_number(parameters, drive.compliance, command))
        # At an open end (a cell that has just been reset) a current source goes to its voltage compliance.
        signs = {-1.0 if amps < 0 else 1.0 for amps in levels}
        if parameters[drive.compliance + 1 : drive.compliance + 2] == ("1",):  # the polarity is set by hand
            signs = {-1.0, 1.0}
        self._volts(channel, [sign * reach for sign in signs], command)

    def _volts(self, channel: int, volts: Sequence[float], command: str) -> None:
        line = self.channels.get(channel)
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


def _canonical(number: int) -> int:
    """One number for a channel that has two: slot n is n01."""
    return number if number > 10 else number * 100 + 1


def _channel(parameters: Sequence[str], command: str) -> int:
    if not parameters or _CHANNEL.fullmatch(parameters[0]) is None:
        raise LimitError(f"{command}: can't tell which channel this would drive, so it was not sent")
    return _canonical(int(parameters[0]))


def _number(parameters: Sequence[str], place: int, command: str) -> float:
    if place >= len(parameters) or _NUMBER.fullmatch(parameters[place]) is None:
        raise LimitError(f"{command}: can't tell what this would drive, so it was not sent; check its parameters")
    return float(parameters[place])
