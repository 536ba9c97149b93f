"""Remote procedure calls as VXI-11 needs them: RFC 5531 calls and replies, RFC 4506 data, records on TCP."""

import asyncio
import struct
from dataclasses import dataclass

CALL, REPLY, VERSION = 0, 1, 2
SUCCESS, NO_PROGRAM, NO_VERSION, NO_PROCEDURE, GARBAGE = 0, 1, 2, 3, 4
_LAST = 1 << 31


class MalformedError(Exception):
    """Not a record, not a call, or not the arguments that were announced."""


class Reader:
    """Takes XDR data apart; MalformedError where they end too early."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def unsigned(self) -> int:
        """An unsigned integer."""
        return int(struct.unpack(">I", self._take(4))[0])

    def signed(self) -> int:
        """A signed integer."""
        return int(struct.unpack(">i", self._take(4))[0])

    def opaque(self) -> bytes:
        """Bytes of variable length."""
        size = self.unsigned()
        data = self._take(size)
        self._take(-size % 4)
        return data

    def _take(self, size: int) -> bytes:
        if size > len(self._data) - self._at:
            raise MalformedError("the record is too short")
        self._at += size
        return self._data[self._at - size : self._at]


def numbers(*values: int) -> bytes:
    """Integers, signed or not, as XDR."""
    return b"".join(struct.pack(">I", value & 0xFFFFFFFF) for value in values)


def opaque(data: bytes) -> bytes:
    """Bytes of variable length as XDR."""
    return numbers(len(data)) + data + b"\0" * (-len(data) % 4)


@dataclass(frozen=True)
class Call:
    """Who is called, and its arguments."""

    xid: int
    program: int
    version: int
    procedure: int
    arguments: Reader

    @classmethod
    def parse(cls, record: bytes) -> "Call":
        """Take a record apart.

        Raises:
            MalformedError: it is no call.
        """
        reader = Reader(record)
        xid, kind, rpc = reader.unsigned(), reader.unsigned(), reader.unsigned()
        if (kind, rpc) != (CALL, VERSION):
            raise MalformedError("no call of version 2")
        program, version, procedure = reader.unsigned(), reader.unsigned(), reader.unsigned()
        for _ in ("credentials", "verifier"):
            reader.unsigned()
            reader.opaque()
        return cls(xid, program, version, procedure, reader)

    def answer(self, state: int, results: bytes = b"") -> bytes:
        """A record with the reply, marked."""
        body = numbers(self.xid, REPLY, 0, 0, 0, state) + results
        return numbers(_LAST | len(body)) + body


async def read_record(reader: asyncio.StreamReader, limit: int) -> bytes | None:
    """The next record of a connection; None at its end.

    Raises:
        MalformedError: it is larger than `limit` bytes.
    """
    record = b""
    while True:
        try:
            (mark,) = struct.unpack(">I", await reader.readexactly(4))
            size = mark & ~_LAST
            if len(record) + size > limit:
                raise MalformedError(f"a record of more than {limit} bytes")
            record += await reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        if mark & _LAST:
            return record
