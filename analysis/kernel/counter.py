"""The kernel's random numbers in numpy: the same bits as `normals.py`, exact functions of them.

Key (two words) and counter (trajectory, step) make a number. Six words of key, drawn once from the generator handed
in, serve three purposes: start, diffusion, read noise.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint32]
Floats = npt.NDArray[np.float32]

_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
ROUNDS = 13


def draw_keys(rng: np.random.Generator) -> Words:
    """Return the six words that all numbers of a run follow from."""
    return rng.integers(0, 2**32, 6, dtype=np.uint32)


def _rotated(x: Words, count: int) -> Words:
    return (x << np.uint32(count)) | (x >> np.uint32(32 - count))


def threefry(first: Words, second: Words | np.uint32, key: Words, rounds: int = ROUNDS) -> tuple[Words, Words]:
    """Return both words of Threefry-2x32 at counters (first, second) under key (2,)."""
    # Arrays of one word: numpy warns where a scalar wraps.
    k0, k1 = key[:1], key[1:2]
    schedule = (k0, k1, k0 ^ k1 ^ np.uint32(0x1BD11BDA))
    x, y = first + schedule[0], np.broadcast_to(second + schedule[1], first.shape).astype(np.uint32)
    for r in range(rounds):
        x = x + y
        y = _rotated(y, _ROTATIONS[r % 8]) ^ x
        if r % 4 == 3:
            s = r // 4 + 1
            x, y = x + schedule[s % 3], y + (schedule[(s + 1) % 3] + np.uint32(s))
    return x, y


def xoroshiro(s0: Words, s1: Words) -> tuple[Words, Words, Words]:
    """Return one word of xoroshiro64* and its next state."""
    word = s0 * np.uint32(0x9E3779BB)
    s1 = s1 ^ s0
    return word, _rotated(s0, 26) ^ s1 ^ (s1 << np.uint32(9)), _rotated(s1, 13)


def pair(radius: Words, angle: Words) -> Floats:
    """Return two normal numbers of each two words, shape (2, ...)."""
    u = (radius >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24) + np.float32(2.0**-25)
    return _box_muller(u, angle.view(np.int32))


def pair_of_word(word: Words) -> Floats:
    """Return two normal numbers of each word, shape (2, ...)."""
    u = (word >> np.uint32(12)).astype(np.float32) * np.float32(2.0**-20) + np.float32(2.0**-21)
    return _box_muller(u, (word << np.uint32(20)).view(np.int32))


def _box_muller(u: Floats, angle: npt.NDArray[np.int32]) -> Floats:
    r = np.sqrt(np.float32(-2.0) * np.log(u))
    phase = angle.astype(np.float32) * np.float32(np.pi * 2.0**-31)
    return np.stack([r * np.cos(phase), r * np.sin(phase)])
