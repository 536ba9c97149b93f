"""What an SCPI instrument remembers: its plain settings, its standard event register and service requests.

Source: IEEE 488.2 (standard event status register, status byte, common commands).
"""

import json
import zlib
from collections.abc import Callable

from instruments.twin.panels.scpi import Call, Entry, ScpiError, Tree, number

OPERATION_COMPLETE, POWER_ON = 1, 128
EVENT_SUMMARY, REQUEST = 32, 64

Value = float | str | bool


def shown(value: Value) -> str:
    """A value as replies give it: NR3 for floats, 1 or 0 for switches, words as they are."""
    if isinstance(value, bool):
        return str(int(value))
    return value if isinstance(value, str) else f"{value:+.5E}"


class Settings:
    """Settings that are set, queried and reset in the same way, each for every number in its header.

    Args:
        tree: where they are defined.
        check: raises ScpiError for header numbers that don't exist.
        changed: called with the name after each setting.
    """

    def __init__(self, tree: Tree, check: Callable[[tuple[int, ...]], None], changed: Callable[[str], None]) -> None:
        self._tree, self._check, self._changed = tree, check, changed
        self._defaults: dict[str, Value] = {}
        self.values: dict[str, Value] = {}

    def define(
        self,
        pattern: str,
        default: Value,
        read: Callable[[str], Value],
        show: Callable[[Value], str] = shown,
        name: str | None = None,
    ) -> None:
        """Add a setting.

        Args:
            pattern: header.
            default: value after a reset.
            read: parameter to value.
            show: value to reply.
            name: under which it is kept; the pattern if None. Two headers may show one value in two ways.
        """
        key = name or pattern
        self._defaults.setdefault(key, default)

        def write(call: Call) -> None:
            self._check(call.suffixes)
            self.put(key, read(call.only()[0]), *call.suffixes)
            self._changed(key)

        def query(call: Call) -> str:
            self._check(call.suffixes)
            return show(self.get(key, *call.suffixes))

        self._tree.add(pattern, Entry(write, query))

    def get(self, name: str, *suffixes: int) -> Value:
        """Present value."""
        value = self.values.get(_key(name, suffixes) if suffixes else name)
        return self._defaults[name] if value is None else value

    def number(self, name: str, *suffixes: int) -> float:
        """Present value of a numeric setting or of a switch."""
        return float(self.get(name, *suffixes))

    def put(self, name: str, value: Value, *suffixes: int) -> None:
        """Set a value."""
        self.values[_key(name, suffixes)] = value

    def reset(self) -> None:
        """Everything as delivered."""
        self.values.clear()

    def saved(self) -> bytes:
        """All settings as a learn string, for `restore`."""
        text = json.dumps(self.values)
        return f"{zlib.crc32(text.encode()):08x} {text}".encode()

    def restore(self, parameter: str) -> None:
        """Take over a definite-length block with what `saved` gave; ScpiError -161 for anything else."""
        digits = parameter[1:2]
        content = parameter[2 + int(digits) :] if digits and digits in "123456789" else ""
        check, _, text = content.partition(" ")
        if not parameter.startswith("#") or check != f"{zlib.crc32(text.encode()):08x}":
            raise ScpiError(-161, "not a set-up of this instrument")
        self.values = json.loads(text)


def _key(name: str, suffixes: tuple[int, ...]) -> str:
    if len(suffixes) == 1:
        return f"{name}@{suffixes[0]}"
    return name + "".join(f"@{n}" for n in suffixes)


class Status:
    """Standard event register, service requests, and the common commands of IEEE 488.2.

    Args:
        identity: reply to `*IDN?`.
        reset: what `*RST` does besides.
        forget: what `*CLS` empties besides.
        summary: further bits of the status byte.
    """

    def __init__(
        self, identity: str, reset: Callable[[], None], forget: Callable[[], None], summary: Callable[[], int]
    ) -> None:
        self.events = POWER_ON
        self._masks = {"*ESE": 0, "*SRE": 0}
        self.identity = identity
        self._reset, self._forget, self._summary = reset, forget, summary

    def byte(self) -> int:
        """The status byte; bit 6 is the summary of the enabled ones."""
        value = self._summary() & ~REQUEST
        if self.events & self._masks["*ESE"]:
            value |= EVENT_SUMMARY
        return value | REQUEST if value & self._masks["*SRE"] else value

    def take_events(self) -> int:
        """Read and clear the standard event register."""
        events, self.events = self.events, 0
        return events

    def commands(self) -> dict[str, Entry]:
        """The common commands but `*OPC`, `*OPC?`, `*WAI` and `*TRG`, which are about acquisitions."""
        return {
            "*IDN": Entry(None, lambda call: self.identity),
            "*RST": Entry(lambda call: self._reset()),
            "*CLS": Entry(lambda call: self._clear()),
            "*ESR": Entry(None, lambda call: str(self.take_events())),
            "*ESE": self._mask("*ESE"),
            "*SRE": self._mask("*SRE"),
            "*STB": Entry(None, lambda call: str(self.byte())),
            "*TST": Entry(None, lambda call: "0"),
            "*OPT": Entry(None, lambda call: "0"),
        }

    def _clear(self) -> None:
        self.events = 0
        self._forget()

    def _mask(self, name: str) -> Entry:
        def write(call: Call) -> None:
            self._masks[name] = int(number(call.only()[0], 0, 255))

        return Entry(write, lambda call: str(self._masks[name]))
