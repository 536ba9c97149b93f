"""The screen of a simulated oscilloscope as an image file: graticule and traces, nothing written on it."""

import struct
import zlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

WIDTH, HEIGHT = 800, 480
COLOURS = (
    (255, 230, 0), (0, 200, 80), (80, 130, 255), (255, 70, 160), (255, 140, 0), (0, 210, 210), (190, 0, 0),
    (160, 0, 220),
)  # fmt: skip
_GRID = (70, 70, 70)


def draw(traces: Mapping[int, npt.NDArray[np.float64]], divisions: tuple[int, int], inverted: bool = False) -> Pixels:
    """The screen.

    Args:
        traces: by channel number, from 1: height on the screen at evenly spaced times, 0 bottom to 1 top.
        divisions: horizontal and vertical.
        inverted: dark on white, for paper.

    Returns:
        RGB, shape (HEIGHT, WIDTH, 3).
    """
    screen = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    across, up = divisions
    screen[:, np.linspace(0, WIDTH - 1, across + 1).astype(int)] = _GRID
    screen[np.linspace(0, HEIGHT - 1, up + 1).astype(int), :] = _GRID
    for channel, trace in traces.items():
        for column, part in enumerate(np.array_split(trace, WIDTH) if len(trace) else ()):
            if len(part):
                low, high = np.clip((1 - np.array([part.max(), part.min()])) * (HEIGHT - 1), 0, HEIGHT - 1).astype(int)
                screen[low : high + 1, column] = COLOURS[(channel - 1) % len(COLOURS)]
    return 255 - screen if inverted else screen


def png(screen: Pixels) -> bytes:
    """As a PNG file (ISO/IEC 15948: 8-bit RGB, no filter)."""
    height, width, _ = screen.shape
    rows = b"".join(b"\x00" + row.tobytes() for row in screen)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def bmp(screen: Pixels) -> bytes:
    """As a 24-bit BMP file; rows of WIDTH pixels need no padding."""
    height, width, _ = screen.shape
    pixels = screen[::-1, :, ::-1].tobytes()
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(pixels), 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(pixels), 0, 0, 14 + len(head)) + head + pixels
