"""Frames of the board's extended dialect: `@<seq> <body>*<CRC>`; board_protocol.md is the specification.

Pure text, shared by the driver and the simulated board; no VISA.
"""

import binascii
import re
from dataclasses import dataclass
from typing import Final

FRAME_BYTES: Final = 512
"""Longest frame, CR LF included."""

TICK_SECONDS: Final = 5e-3
PUBLISHED_TICKS: Final = 241
"""Active ticks of a run with a built-in coefficient set."""
DEAD_SECONDS: Final = 5.005
"""After a run starts, the published firmware ignores Go for so long."""

_BODY: Final = re.compile(rb"(0|[1-9][0-9]{0,2}|-) ([\x20-\x29\x2b-\x3f\x41-\x7e]+)")
_DIGITS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

# Codes of `ERR` replies.
BAD_FRAME, UNKNOWN_VERB, BAD_ARGUMENTS, OUT_OF_RANGE = 10, 20, 21, 22
WRONG_MODE, BUSY, TABLE_FAULT, PLAIN_OFF = 30, 31, 40, 50


class FrameError(ValueError):
    """A frame is damaged: no frame at all, or its checksum does not match."""


@dataclass(frozen=True)
class Frame:
    """A checked frame: sequence number 0..255 (None where a reply could not tell), and the text after it."""

    seq: int | None
    body: str


def crc16(data: bytes) -> int:
    """CRC-16/CCITT-FALSE: polynomial 0x1021, start 0xFFFF, not reflected; of b"123456789" it is 0x29B1."""
    return binascii.crc_hqx(data, 0xFFFF)


def encode_frame(seq: int | None, body: str) -> bytes:
    """Frame without CR LF.

    Raises:
        FrameError: characters that a frame can't carry, a sequence number beyond 0..255, or too long.
    """
    head = "-" if seq is None else str(seq)
    text = f"{head} {body}".encode("ascii", errors="replace")
    frame = b"@%b*%04X" % (text, crc16(text))
    if decode_frame(frame) != Frame(seq, body):
        raise FrameError(f"a frame can't carry {body!r}")
    return frame


def decode_frame(line: bytes) -> Frame:
    """Check and take apart one line (CR LF removed).

    Raises:
        FrameError: damaged, in whatever way.
    """
    if len(line) + 2 > FRAME_BYTES or line[:1] != b"@" or line[-5:-4] != b"*":
        raise FrameError("not a frame")
    text = line[1:-5]
    if line[-4:] != b"%04X" % crc16(text):
        raise FrameError("checksum does not match")
    match = _BODY.fullmatch(text)
    if match is None or (match[1] != b"-" and int(match[1]) > 255):
        raise FrameError("malformed sequence number or text")
    return Frame(None if match[1] == b"-" else int(match[1]), match[2].decode("ascii"))


def pack_codes(codes: list[int]) -> str:
    """DAC codes 0..4095 as two base64 digits each, high six bits first."""
    return "".join(_DIGITS[code >> 6] + _DIGITS[code & 63] for code in codes)


def unpack_codes(text: str) -> list[int]:
    """Inverse of `pack_codes`.

    Raises:
        ValueError: an odd number of digits, or none of the alphabet.
    """
    values = [_DIGITS.index(digit) for digit in text]
    return [(high << 6) | low for high, low in zip(values[::2], values[1::2], strict=True)]
