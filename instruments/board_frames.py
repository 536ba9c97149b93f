"""Frames of the board's extended dialect: `@<seq> <body>*<CRC>`; board_protocol.md is the specification.

Pure text, shared by the driver and the simulated board; no VISA.
"""

import binascii
import re
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

FRAME_BYTES: Final = 512
"""Longest frame, CR LF included."""

TICK_SECONDS: Final = 5e-3
PUBLISHED_TICKS: Final = 241
"""Active ticks of a run with a built-in coefficient set."""
DEAD_SECONDS: Final = 5.005
"""After a run starts, the published firmware ignores Go for so long."""

_BODY: Final = re.compile(rb"(0|[1-9][0-9]{0,2}|-) ([\x20-\x29\x2b-\x3f\x41-\x7e]+)")
_DIGITS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

MOST_VALUE: Final = 131_071
"""Largest value of three digits; the smallest is one more below zero."""

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


def pack_values(values: list[int]) -> str:
    """Whole numbers -131072..131071 as three base64 digits each, high six bits first, 131072 added."""
    raised = [value + MOST_VALUE + 1 for value in values]
    if raised and not (min(raised) >= 0 and max(raised) <= 2 * MOST_VALUE + 1):
        raise ValueError(f"three digits hold {-MOST_VALUE - 1}..{MOST_VALUE}")
    return "".join(_DIGITS[n >> 12] + _DIGITS[n >> 6 & 63] + _DIGITS[n & 63] for n in raised)


def unpack_values(text: str) -> list[int]:
    """Inverse of `pack_values`.

    Raises:
        ValueError: a number of digits that is no multiple of three, or one that is none of the alphabet.
    """
    n = [_DIGITS.index(digit) for digit in text]
    return [
        (high << 12 | middle << 6 | low) - MOST_VALUE - 1
        for high, middle, low in zip(n[::3], n[1::3], n[2::3], strict=True)
    ]


def pack_mask(rows: list[bool]) -> str:
    """Rows as hexadecimal digits, four rows a digit, the first row the highest bit of the first."""
    padded = [*rows, *[False] * (-len(rows) % 4)]
    return "".join(f"{8 * a + 4 * b + 2 * c + d:X}" for a, b, c, d in zip(*[iter(padded)] * 4, strict=True))


def unpack_mask(text: str, rows: int) -> npt.NDArray[np.bool_]:
    """Inverse of `pack_mask`, shape (rows,).

    Raises:
        ValueError: not as many digits as `rows` take, or other characters, or no row at all.
    """
    if not re.fullmatch(rf"[0-9A-F]{{{-(-rows // 4)}}}", text):
        raise ValueError(f"{rows} rows are {-(-rows // 4)} hexadecimal digits")
    found = np.array([digit == "1" for letter in text for digit in f"{int(letter, 16):04b}"])[:rows]
    if not found.any():
        raise ValueError("no row is asked for")
    return found
