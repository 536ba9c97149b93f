"""The kernel's random numbers in numpy: what `normals.py` compiles, bit for bit but for the last places of the floats.

Key (two words) and counter (trajectory, place) make a number. Six words of key, drawn once from the generator handed
in, serve three purposes: start, diffusion, read noise.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint32]
Floats = npt.NDArray[np.float32]

_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
ROUNDS = 13
SEGMENT = 16
"""Words of the diffusion from one state of xoroshiro64, before the counter gives the next."""
READ_SEGMENT = 8
"""Steps whose read noise comes from one state."""

RADIUS_BITS, RADIUS_ODD = 0x1FFFFE, 1
"""An odd number of 21 bits out of a word, uniform: 2^21 times the radius' uniform number."""
LOGARITHM = (2.0972620129252912, -4.25604989042669, 2.9398801593275774, -0.894357230819522, 0.11314352505896685)
"""-2 ln m + 2 ln 2 (m - 1) in powers of m, 1 <= m <= 2, off by 1.2e-4 at most and by nothing on average."""
OCTAVE = -2.0 * float(np.log(2.0)) * 2.0**-23
"""What one in the integer of a float's bits adds to -2 ln of it, when its mantissa counts as linear."""
TOP_BITS = (127 + 21) << 23
"""The integer of 2^21's bits: there the logarithm begins."""
COSINE = (0.9999933001931778, -1.2334845425550134, 0.25258031550635957, -0.019095778289571718)
"""cos(pi s / 2) in powers of s^2, |s| <= 1, off by 6e-6 at most."""
SINE = (1.570320017479928, -0.6421131563997005, 0.07186084288344008)
"""sin(pi s / 2) / s in powers of s^2, |s| <= 1; times s off by 7e-5 at most."""
ROOT_GUESS = 0x5F370000
"""Less half of a float's bits: those of its inverse square root within 4 %."""
ROOT = (1.8800025440983608, -1.2589480970066087, 0.3789418349747378)
"""1 / sqrt(h) in powers of h, 0.929 < h < 1.065, off by a relative 2.5e-5 at most."""


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
    """Return the sum of a state's words, and the next state of xoroshiro64."""
    word = s0 + s1
    s1 = s1 ^ s0
    return word, _rotated(s0, 26) ^ s1 ^ (s1 << np.uint32(9)), _rotated(s1, 13)


def pair(word: Words, sign: Words) -> Floats:
    """Return two normal numbers of each word and the highest bit of another, shape (2, ...)."""
    square, cosine, sine = polar(word, sign)
    return root(square) * np.stack([cosine, sine])


def polar(word: Words, sign: Words) -> tuple[Floats, Floats, Floats]:
    """Return each pair of normal numbers as r^2, cosine and sine."""
    f = ((word & np.uint32(RADIUS_BITS)) | np.uint32(RADIUS_ODD)).astype(np.float32)
    bits = f.view(np.uint32)
    m = ((bits & np.uint32(0x7FFFFF)) | np.uint32(0x3F800000)).view(np.float32)
    below = (bits - np.uint32(TOP_BITS)).view(np.int32).astype(np.float32)
    square = np.float32(OCTAVE) * below + _power_series(LOGARITHM, m)
    s = word.view(np.int32).astype(np.float32) * np.float32(2.0**-31)
    q = s * s
    cosine = (_power_series(COSINE, q).view(np.uint32) ^ (sign & np.uint32(0x80000000))).view(np.float32)
    return square, cosine, _power_series(SINE, q) * s


def root(square: Floats) -> Floats:
    """Return the square root as the kernel computes it, off by a relative 2.5e-5 at most."""
    guess = (np.uint32(ROOT_GUESS) - (square.view(np.uint32) >> np.uint32(1))).view(np.float32)
    value = square * guess
    return value * _power_series(ROOT, value * guess)


def _power_series(coefficients: tuple[float, ...], x: Floats) -> Floats:
    total = np.full_like(x, coefficients[-1])
    for c in coefficients[-2::-1]:
        total = total * x + np.float32(c)
    return total
