"""SCPI messages taken apart: units with headers and parameters. Source: IEEE 488.2, SCPI-1999."""

import re
from dataclasses import dataclass

_MARKS = re.compile(r"[\"'#;,]")
_UNIT = re.compile(r"\s*([^\s?]*)(\??)\s*(.*)", re.DOTALL)


@dataclass(frozen=True)
class Unit:
    """One command or query of a message: upper-case header path, parameters, whether its message ends with it."""

    path: tuple[str, ...]
    query: bool
    args: tuple[str, ...]
    last: bool


def split(text: str, separator: str) -> list[str]:
    """Cut at `separator` (";" or ",") outside quotes and definite-length blocks."""
    if not any(mark in text for mark in "\"'#"):
        return text.split(separator)
    parts, start, at = [], 0, 0
    while (found := _MARKS.search(text, at)) is not None:
        mark, at = found[0], found.end()
        if mark == separator:
            parts.append(text[start : at - 1])
            start = at
        elif mark in "\"'":
            closing = text.find(mark, at)
            at = len(text) if closing < 0 else closing + 1
        elif mark == "#":
            at = _block_end(text, at)
    return [*parts, text[start:]]


def _block_end(text: str, at: int) -> int:
    digits = int(text[at]) if text[at : at + 1] and text[at] in "123456789" else 0
    count = text[at + 1 : at + 1 + digits]
    if digits and len(count) == digits and count.isascii() and count.isdigit():
        return min(len(text), at + 1 + digits + int(count))
    return at


def parse(message: str) -> list[Unit]:
    """The units of a message; a header without a leading colon goes on from the path of the one before it."""
    units: list[Unit] = []
    base: tuple[str, ...] = ()
    parts = [part for part in split(message, ";") if part.strip()]
    for number, part in enumerate(parts, 1):
        match = _UNIT.match(part)
        assert match is not None
        header, args = match[1].upper(), match[3].strip()
        if header.startswith("*"):
            path: tuple[str, ...] = (header,)
        else:
            rooted = header.startswith(":")
            path = (() if rooted else base) + tuple(header[rooted:].split(":"))
            base = path[:-1]
        given = tuple(arg.strip() for arg in split(args, ",")) if args else ()
        units.append(Unit(path, bool(match[2]), given, number == len(parts)))
    return units
