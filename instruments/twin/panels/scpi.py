"""SCPI, the command language of most bench instruments: messages, headers, parameters, errors.

Sources: IEEE 488.2 (messages, arbitrary blocks, common commands, standard event register) and SCPI-1999 (short and
long forms, header paths that go on behind a semicolon, error numbers and texts). What a particular instrument adds
to that is its own panel's.

Only the exact short form and the exact long form of a mnemonic are understood, as SCPI asks, unless a `Tree` is told to
take every form in between, as Tektronix's instruments do. After an error the rest of a message is executed all the
same.
"""

import functools
import math
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from instruments.twin.panels.scpi_messages import Unit, parse

ERROR_TEXTS = {
    0: "No error",
    -104: "Data type error",
    -108: "Parameter not allowed",
    -109: "Missing parameter",
    -113: "Undefined header",
    -114: "Header suffix out of range",
    -131: "Invalid suffix",
    -151: "Invalid string data",
    -161: "Invalid block data",
    -221: "Settings conflict",
    -222: "Data out of range",
    -224: "Illegal parameter value",
    -230: "Data corrupt or stale",
    -252: "Missing media",
    -350: "Queue overflow",
    -363: "Input buffer overrun",
}
_SUFFIXED = re.compile(r"([A-Z_*]+)([0-9]{1,3})")
_NUMBER = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z]*)")
_PREFIXES = {"": 1.0, "G": 1e9, "MA": 1e6, "K": 1e3, "M": 1e-3, "U": 1e-6, "N": 1e-9, "P": 1e-12}
_CACHED_HEADERS = 512
_CACHED_MESSAGES, _LONGEST_CACHED = 512, 256
"""How many messages are remembered parsed, and bytes of the longest of them: programs repeat themselves."""

Reply = str | bytes


class ScpiError(Exception):
    """What the instrument refuses: a key of `ERROR_TEXTS`, and a detail that some dialects tell."""

    def __init__(self, code: int, detail: str = "") -> None:
        """Keep code and detail."""
        super().__init__(code, detail)
        self.code = code
        self.detail = "".join(c if c.isascii() and c.isprintable() and c != '"' else "?" for c in detail[:60])

    @property
    def text(self) -> str:
        """The standard's text."""
        return ERROR_TEXTS[self.code]

    @property
    def event(self) -> int:
        """Its bit in the standard event status register: 32 command, 16 execution, 8 device error."""
        if self.code > -200:
            return 32
        return 16 if self.code > -300 else 8


# Commands


@dataclass(frozen=True)
class Call:
    """What a command is called with: parameters, and the numbers in its header (CHANnel2: 2)."""

    args: tuple[str, ...]
    suffixes: tuple[int, ...]

    def only(self, most: int = 1, least: int = 1) -> tuple[str, ...]:
        """The parameters, if there are `least` to `most`; ScpiError -109 or -108 otherwise."""
        if len(self.args) < least:
            raise ScpiError(-109)
        if len(self.args) > most:
            raise ScpiError(-108)
        return self.args


@dataclass(frozen=True)
class Entry:
    """What a header does as a command and as a query (None: undefined).

    With `waits` the query, or the command where there is no query, is not executed before what is going on is over.
    """

    write: Callable[[Call], None] | None = None
    read: Callable[[Call], Reply | None] | None = None
    waits: bool = False

    def waits_for(self, query: bool) -> bool:
        """Whether the command or the query waits."""
        return self.waits and (query or self.read is None)


@dataclass(frozen=True)
class Found:
    """A header that was looked up: entry, numbers, and its spelling in long and in short form."""

    entry: Entry
    suffixes: tuple[int, ...]
    long: str
    short: str


class _Step(NamedTuple):
    """A unit that was looked up."""

    unit: Unit
    found: Found | None
    call: Call


@dataclass
class _Node:
    children: dict[str, tuple[str, bool, "_Node"]] = field(default_factory=dict)
    entry: Entry | None = None


@functools.lru_cache(maxsize=4096)
def forms(mnemonic: str) -> tuple[str, str]:
    """Long and short form in capitals: ("CHANNEL", "CHAN") for "CHANnel"."""
    return mnemonic.upper(), "".join(c for c in mnemonic if not c.islower())


def abbreviates(word: str, mnemonic: str) -> bool:
    """Whether an upper-case word is a mnemonic's short form, its long form, or anything in between."""
    long, short = forms(mnemonic)
    return word.startswith(short) and long.startswith(word)


class Tree:
    """All headers of an instrument; a lenient one takes forms between the short and the long one, too."""

    def __init__(self, lenient: bool = False) -> None:
        self._root = _Node()
        self._lenient = lenient
        self._known: dict[tuple[str, ...], Found | None] = {}

    def add(self, pattern: str, entry: Entry) -> None:
        """Define a header: `TRIGger[:EDGE]:LEVel` (an optional part), `CHANnel<n>:RANGe` (numbered), `*IDN`."""
        if "[" in pattern:
            head, _, rest = pattern.partition("[")
            middle, _, tail = rest.partition("]")
            self.add(head + tail, entry)
            self.add(head + middle + tail, entry)
            return
        node = self._root
        for mnemonic in pattern.split(":"):
            name = mnemonic.removesuffix("<n>")
            for form in forms(name):
                child = node.children.setdefault(form, (name, name != mnemonic, _Node()))
                if form == forms(name)[0]:
                    longest = child
                node.children[form] = longest
            node = longest[2]
        node.entry = entry

    def add_all(self, commands: Mapping[str, Entry]) -> None:
        """Define several headers."""
        for pattern, entry in commands.items():
            self.add(pattern, entry)

    def find(self, path: tuple[str, ...]) -> Found | None:
        """Look a header up; None if it isn't defined."""
        if path not in self._known:
            if len(self._known) >= _CACHED_HEADERS:
                self._known.clear()
            self._known[path] = self._search(path)
        return self._known[path]

    def headers(self) -> Iterator[tuple[str, Entry]]:
        """Every header in its long form, numbers left out, and what it does."""
        waiting: list[tuple[str, _Node]] = [("", self._root)]
        while waiting:
            path, node = waiting.pop()
            if node.entry is not None:
                yield path, node.entry
            named = {child[0].upper(): child[2] for child in node.children.values()}
            waiting += [(f"{path}:{name}" if path else name, child) for name, child in named.items()]

    def _child(self, node: _Node, token: str) -> tuple[str, bool, _Node] | None:
        found = node.children.get(token)
        if found is None and self._lenient:
            return next((c for c in node.children.values() if abbreviates(token, c[0])), None)
        return found

    def _search(self, path: tuple[str, ...]) -> Found | None:
        node, suffixes, spelled = self._root, [], []
        for token in path:
            child, number = self._child(node, token), 1
            if child is None:
                match = _SUFFIXED.fullmatch(token)
                child = self._child(node, match[1]) if match else None
                if match is None or child is None or not child[1]:
                    return None
                number = int(match[2])
            name, numbered, node = child
            suffixes += [number] if numbered else []
            spelled.append([form + (str(number) if numbered else "") for form in forms(name)])
        if node.entry is None:
            return None
        longs, shorts = (":".join(parts) for parts in zip(*spelled, strict=True))
        return Found(node.entry, tuple(suffixes), longs, shorts)


class Interpreter:
    """Executes messages in order; what the instrument must wait for holds up all that follows.

    Args:
        tree: the headers.
        refuse: takes every error.
        busy: whether an entry with `waits` has something to wait for now.
        dress: turns a query's reply into what is sent (headers, in dialects that have them).

    Attributes:
        held: nothing is executed until `resume`; a command may set it.
    """

    def __init__(
        self,
        tree: Tree,
        refuse: Callable[[ScpiError], None],
        busy: Callable[[], bool],
        dress: Callable[[Found, Reply], Reply] = lambda found, reply: reply,
    ) -> None:
        self.tree = tree
        self.held = False
        self._refuse, self._busy, self._dress = refuse, busy, dress
        self._steps: deque[_Step] = deque()
        self._replies: list[bytes] = []
        self._parsed: dict[bytes, tuple[_Step, ...]] = {}

    def feed(self, message: bytes) -> list[bytes]:
        """Execute a message; the replies of its queries are one reply, joined by semicolons."""
        steps = self._parsed.get(message)
        if steps is None:
            steps = self._parse(message)
        self._steps.extend(steps)
        return self._run()

    def resume(self) -> list[bytes]:
        """Go on after a wait; the replies that became ready."""
        self.held = False
        return self._run()

    def clear(self) -> None:
        """Forget what has not been executed."""
        self._steps.clear()
        self._replies.clear()
        self.held = False

    def _parse(self, message: bytes) -> tuple[_Step, ...]:
        steps = []
        for unit in parse(message.decode("latin-1")):
            found = self.tree.find(unit.path)
            steps.append(_Step(unit, found, Call(unit.args, found.suffixes if found is not None else ())))
        parsed = tuple(steps)
        if len(message) <= _LONGEST_CACHED:
            if len(self._parsed) >= _CACHED_MESSAGES:
                self._parsed.clear()
            self._parsed[message] = parsed
        return parsed

    def _run(self) -> list[bytes]:
        complete: list[bytes] = []
        steps = self._steps
        while steps and not self.held:
            step = steps.popleft()
            unit, found, call = step
            if found is not None and found.entry.waits and found.entry.waits_for(unit.query) and self._busy():
                steps.appendleft(step)
                self.held = True
                break
            try:
                reply = self._execute(unit, found, call)
            except ScpiError as error:
                self._refuse(error)
                reply = None
            if reply is not None:
                self._replies.append(reply if isinstance(reply, bytes) else reply.encode("latin-1", "replace"))
            if unit.last and self._replies:
                complete.append(self._replies[0] if len(self._replies) == 1 else b";".join(self._replies))
                self._replies.clear()
        return complete

    def _execute(self, unit: Unit, found: Found | None, call: Call) -> Reply | None:
        if found is not None and unit.query and found.entry.read is not None:
            reply = found.entry.read(call)
            return None if reply is None else self._dress(found, reply)
        if found is None or unit.query or found.entry.write is None:
            raise ScpiError(-113, ":".join(unit.path) + "?" * unit.query)
        found.entry.write(call)
        return None


# Parameters


def number(text: str, low: float = -math.inf, high: float = math.inf, unit: str = "") -> float:
    """A number in low..high, with an optional unit ("500mV"); ScpiError -104, -131 or -222."""
    if len(text) < 16 and text.isascii() and text.isdigit() and low <= (plain := float(text)) <= high:
        return plain
    limit = {"MIN": low, "MINIMUM": low, "MAX": high, "MAXIMUM": high}.get(text.upper())
    if limit is not None and math.isfinite(limit):
        return limit
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise ScpiError(-104, text)
    suffix = match[2].upper()
    factor = 1.0
    if suffix:
        prefix = suffix.removesuffix(unit.upper())
        if not unit or not suffix.endswith(unit.upper()) or prefix not in _PREFIXES:
            raise ScpiError(-131, text)
        factor = 1e6 if suffix == "MHZ" else _PREFIXES[prefix]
    value = float(match[1]) * factor
    # A hair of tolerance: limits and parameters are decimal numbers, but floats aren't.
    below, above = (1e-9 * abs(limit) if math.isfinite(limit) else 0.0 for limit in (low, high))
    if not (low - below <= value <= high + above and math.isfinite(value)):
        raise ScpiError(-222, text)
    return value


def choice(text: str, options: Iterable[str]) -> str:
    """The short form of one of several words, given in either form; ScpiError -224."""
    word = text.upper()
    for option in options:
        long, short = forms(option)
        if word in (long, short):
            return short
    raise ScpiError(-224, text)


def abbreviated(text: str, options: Iterable[str]) -> str:
    """As `choice`, with any form between the short and the long one."""
    for option in options:
        if abbreviates(text.upper(), option):
            return forms(option)[1]
    raise ScpiError(-224, text)


def boolean(text: str) -> bool:
    """ON, OFF or a number; ScpiError -104."""
    known = {"ON": True, "OFF": False}.get(text.upper())
    return number(text) != 0 if known is None else known


def quoted(text: str) -> str:
    """What is between the quotes; ScpiError -151 if there aren't any."""
    if len(text) < 2 or text[0] not in "\"'" or text[-1] != text[0]:
        raise ScpiError(-151, text)
    return text[1:-1]


def block(content: bytes, digits: int | None = None) -> bytes:
    """An arbitrary block of definite length; the length field is as short as possible or `digits` wide."""
    size = str(len(content)).zfill(digits or 1)
    return b"#%d%s" % (len(size), size.encode()) + content
