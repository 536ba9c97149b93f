"""FLEX, the command language of the Keysight B1500A family: splitting, numbers, errors, status, output data.

Sources: B1500A Programming Guide (edition 11: command input format, data output format, status byte, `ERRX?`);
pymeasure's `AgilentB1500` and QCoDeS's `KeysightB1500` for what their parsers need.

Certain (read in the guide, or reported from a real B1500A or its sibling E5270B): the texts of errors 0, 100, 102, 103,
120, 122, 123, 124, 200, 305 and the shape `code,"text; detail"`. The text of 121 is the E5270B's with this frame's
channel numbers. The texts of 202 to 222 are from memory of the guide. All details behind the semicolon are the
twin's own.
"""

import functools
import math
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

ERROR_TEXTS = {
    0: "No Error.",
    100: "Undefined GPIB command.",
    102: "Incorrect numeric data syntax.",
    103: "Incorrect terminator position.",
    120: "Incorrect parameter value.",
    121: "Channel number must be 1 to 10.",
    122: "Number of channels must be corrected.",
    123: "Compliance must be set correctly.",
    124: "Incorrect range value for this channel.",
    150: "Command input buffer is full.",
    200: "Channel output switch must be ON.",
    202: "Interlock circuit must be closed.",
    205: "DZ must be sent before RZ.",
    210: "Ch's sweep measurement should be set.",
    220: "Send WV or WI to set primary sweep source.",
    221: "Send PWV or PWI to set pulse sweep source.",
    222: "Send PV or PI to set pulse source.",
    305: "Excess current in HPSMU.",
}
QUEUE_LENGTH = 30  # Programming Guide, ERRX?: the queue stores 30 codes
OVERFLOW = "+199.999E+99"
STYLES = (1, 2, 11, 12, 21, 22)
"""FMT: 12 or 13 digits with (1) or without (2) header; 3, 4, 13, 14 (binary) and 5, 15, 25 are not simulated."""

OVER_RANGE, OSCILLATING, OTHER_LIMITED, LIMITED = 1, 2, 4, 8
FIRST_OR_MIDDLE, LAST = 1, 2
_LETTERS = "ABCDEFGHIJ"
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_COMMAND = re.compile(r"(\*?[A-Za-z]+\??)(.*)", re.DOTALL)
_SEPARATOR = re.compile(r"\s*,\s*|\s+")


class FlexError(Exception):
    """A command the instrument refuses: its code, and a detail that `ERRX?` adds behind a semicolon."""

    def __init__(self, code: int, detail: str = "") -> None:
        """Keep the code (a key of `ERROR_TEXTS`) and the detail."""
        super().__init__(code, detail)
        self.code = code
        self.detail = detail

    @property
    def text(self) -> str:
        """What stands between the quotes."""
        # The detail may quote what was sent, and that may be anything.
        shown = "".join(c if c.isascii() and c.isprintable() and c != '"' else "?" for c in self.detail)
        return ERROR_TEXTS[self.code] + (f"; {shown}" if shown else "")


@dataclass(frozen=True)
class Entry:
    """One command: what runs it (arguments in, query reply or None out) and how many parameters it takes."""

    run: Callable[[Sequence[str]], str | None]
    least: int
    most: int


@functools.lru_cache(maxsize=4096)
def split(message: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """(Upper-case header, parameters) of every command of a `;`-separated message; empty ones are left out."""
    return tuple(_commands(message))


def _commands(message: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    for part in message.split(";"):
        text = part.strip()
        if not text:
            continue
        match = _COMMAND.fullmatch(text)
        if match is None:
            yield text, ()
            continue
        rest = match[2].strip()
        yield match[1].upper(), tuple(_SEPARATOR.split(rest)) if rest else ()


def real(text: str, low: float = -math.inf, high: float = math.inf) -> float:
    """A numeric parameter in low..high; FlexError 102 if it's no number, 120 if it's outside."""
    if _NUMBER.fullmatch(text) is None:
        raise FlexError(102, repr(text))
    value = float(text)
    if low <= value <= high:
        return value
    # A hair of tolerance: limits are decimal numbers and so are parameters, but floats aren't.
    below, above = (1e-9 * abs(limit) if math.isfinite(limit) else 0.0 for limit in (low, high))
    if not low - below <= value <= high + above:
        raise FlexError(120, f"{text} is not in {low:g} to {high:g}")
    return value


def whole(text: str, low: int, high: int) -> int:
    """An integer parameter in low..high; FlexError 102 or 120."""
    value = real(text, low, high)
    if value != int(value):
        raise FlexError(120, f"{text} is not an integer")
    return int(value)


def choice(text: str, allowed: Sequence[int]) -> int:
    """An integer parameter out of a set; FlexError 102 or 120."""
    value = whole(text, min(allowed), max(allowed))
    if value not in allowed:
        raise FlexError(120, f"{text} is not one of {', '.join(map(str, allowed))}")
    return value


def brief(value: float) -> str:
    """A number as `*LRN?` and the query forms give it: up to nine digits, capital E, no blanks."""
    return f"{value:.9G}"


class ErrorQueue:
    """First in, first out, 30 deep; what comes when it is full is lost."""

    def __init__(self) -> None:
        """Start empty."""
        self._queue: deque[FlexError] = deque()

    def push(self, error: FlexError) -> None:
        """Remember an error."""
        if len(self._queue) < QUEUE_LENGTH:
            self._queue.append(error)

    def pop(self) -> FlexError:
        """Take the oldest error, or code 0."""
        return self._queue.popleft() if self._queue else FlexError(0)

    def clear(self) -> list[int]:
        """Empty the queue and return its codes, oldest first."""
        codes = [error.code for error in self._queue]
        self._queue.clear()
        return codes


@dataclass
class StatusByte:
    """Bit 0 data ready, 3 interlock (never set here), 4 set ready, 5 error, 6 RQS (Programming Guide, Status Byte)."""

    mask: int = 0
    error: bool = False
    busy: bool = False
    requested: bool = False

    def value(self, data_ready: bool) -> int:
        """The byte, without clearing anything (as `*STB?` reads it)."""
        return data_ready | (not self.busy) << 4 | self.error << 5 | self.requested << 6

    def poll(self, data_ready: bool) -> int:
        """The byte as a serial poll reads it: clears the error bit (unless masked) and the service request."""
        value = self.value(data_ready)
        self.requested = False
        if self.mask & 32:
            self.error = False
        return value

    def raise_error(self) -> None:
        """Set bit 5, and request service where it is unmasked."""
        self.error = True
        self.requested |= bool(self.mask & 32)

    def ready(self) -> None:
        """An operation is completed: set bit 4, and request service where it is unmasked."""
        self.busy = False
        self.requested |= bool(self.mask & 16)


def letter(channel: int) -> str:
    """The letter of an SMU channel (1..10) in output data."""
    return _LETTERS[channel - 1]


def severity(flags: int) -> str:
    """The status letter of FMT 1 and 11 for a measurement's flags; the gravest one where several are set."""
    for bit, mark in ((OVER_RANGE, "V"), (OSCILLATING, "X"), (LIMITED, "C"), (OTHER_LIMITED, "T")):
        if flags & bit:
            return mark
    return "N"


def figures(value: float, full_scale: float, digits: int = 6) -> str:
    """A number as output data have it: its decimals and exponent by its range."""
    if not math.isfinite(value):
        return OVERFLOW if digits == 6 else OVERFLOW.replace("E", "0E")
    if abs(value) >= 10 ** (math.floor(math.log10(full_scale) + 1e-9) + 1):
        full_scale = abs(value)
    decade = math.floor(math.log10(full_scale) + 1e-9)
    exponent = 3 * math.floor(decade / 3)
    decimals = digits - 1 - (decade - exponent)
    mantissa = round(value / 10**exponent, decimals) + 0.0  # + 0.0 turns -0.0 into 0.0
    return f"{mantissa:+0{digits + 2}.{decimals}f}E{exponent:+03d}"


@dataclass
class OutputData:
    """The measurement side of the output: one line per trigger, apart from query replies.

    The format's exponent follows the range, `+000.005E-09` being 5 pA on the 100 nA range. Items are 15, 16 or 18
    characters (FMT 1, 11, 21); with the comma or the first terminator character after them 16, 17, 19. In the styles
    ending in 2 there is the number alone.
    """

    style: int = 1
    mode: int = 0
    lines: deque[bytes] = field(default_factory=deque)

    def _item(self, status: str, channel: int, kind: str, value: float, full_scale: float) -> str:
        header = "" if self.style % 10 == 2 else status + letter(channel) + kind
        return header + figures(value, full_scale, 6 if self.style < 10 else 7)

    def measured(self, flags: int, channel: int, kind: str, value: float, full_scale: float) -> str:
        """A measured value: kind V or I, flags as in FMT 21 (1 over, 2 unstable, 4 other, 8 this limited)."""
        status = f"{flags:03d}" if self.style == 21 else severity(flags)
        return self._item(status, channel, kind, value, full_scale)

    def source(self, last: bool, channel: int, kind: str, value: float, full_scale: float) -> str:
        """A sweep source's value: W or 001 within the sweep, E or 002 at its end."""
        if self.style == 21:
            return self._item("002" if last else "001", channel, kind.lower(), value, full_scale)
        return self._item("E" if last else "W", channel, kind, value, full_scale)

    def plain(self, channel: int, kind: str, value: float) -> str:
        """A time (T, seconds) or a sampling index (X)."""
        return self._item("000" if self.style == 21 else "N", channel, kind, value, max(abs(value), 1.0))

    def emit(self, items: Sequence[str]) -> None:
        """Store one line of items."""
        if items:
            self.lines.append(",".join(items).encode("ascii"))
