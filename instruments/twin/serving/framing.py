"""Messages out of a stream of bytes: lines, and IEEE 488.2 blocks in which a line feed is no end."""

import re

_BLOCK = re.compile(rb"[\s,]#([1-9])")
"""A definite-length block stands where a parameter begins."""
_HEAD = 12
"""Bytes of the longest beginning of a block, with what stands before it."""


class LineFramer:
    """Cuts a byte stream at line feeds outside definite-length blocks; a carriage return before one is dropped.

    Args:
        limit: most bytes of a message; a longer one is skipped up to its line feed.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._from = 0
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes | None]:
        """The messages that these bytes complete; None for each that was too long."""
        if not self._buffer and not self._skipping and data[-1:] == b"\n" and b"#" not in data:
            # Whole lines without a block: nearly always.
            if data.find(b"\n") == len(data) - 1:
                return [data[:-1].removesuffix(b"\r")] if len(data) <= self._limit else [None]
            if len(data) <= self._limit:
                lines: list[bytes | None] = [line.removesuffix(b"\r") for line in data.split(b"\n")]
                lines.pop()
                return lines
        self._buffer += data
        found: list[bytes | None] = []
        start = 0
        while True:
            end = self._buffer.find(b"\n", self._from)
            if self._skipping:
                if end < 0:
                    start = len(self._buffer)
                    break
                self._skipping = False
                start = self._from = end + 1
                continue
            past = self._block_end(start, end)
            if past is not None and past - start <= self._limit:
                self._from = past
                if past > len(self._buffer):
                    break  # the block isn't complete
                continue
            if end < 0:
                if len(self._buffer) - start > self._limit:
                    found.append(None)
                    self._skipping = True
                    start = len(self._buffer)
                # What was looked at isn't looked at again, but for the beginning of a block that may be cut.
                self._from = max(self._from, start, len(self._buffer) - _HEAD)
                break
            if end - start > self._limit:
                found.append(None)
            else:
                found.append(bytes(self._buffer[start:end]).removesuffix(b"\r"))
            start = self._from = end + 1
        del self._buffer[:start]
        self._from = 0 if self._skipping else max(0, self._from - start)
        return found

    def _block_end(self, start: int, end: int) -> int | None:
        """Where a block ends that begins between the place looked at and the line feed; None if there is none."""
        begin = max(start, self._from)
        match = _BLOCK.search(self._buffer, begin, end if end >= 0 else len(self._buffer))
        while match is not None:
            digits = self._buffer[match.end() : match.end() + int(match[1])]
            if len(digits) == int(match[1]) and digits.isdigit():
                return match.end() + len(digits) + int(digits)
            match = _BLOCK.search(self._buffer, match.end(), end if end >= 0 else len(self._buffer))
        return None
