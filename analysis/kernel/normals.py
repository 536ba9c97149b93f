"""Counter-based normal numbers, a vector of trajectories at a time; `counter.py` says the same in numpy.

Every number belongs to a key, a trajectory and a place, and to nothing else: neither threads nor the order of the work
can change it. Threefry-2x32 with 13 rounds (Salmon et al. 2011, the fewest that pass BigCrush) makes two words of a
trajectory's number and a step's; they are a state of xoroshiro64 (Blackman and Vigna 2018), which yields the words of
sixteen steps' diffusion, or of eight steps' read noise. States at different counters are different. Its words are the
sums of its state's halves, as in xoroshiro128+; their lowest bits, the weakest, are the last of a radius.

One word makes two normal numbers by Box and Muller's method with polynomials for logarithm, sine, cosine and root, off
by 1.2e-4 (1 + |z|) at most and by less than 1e-5 in the variance. The radius has 20 bits: |z| < 5.4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

from analysis.kernel.counter import COSINE, LOGARITHM, OCTAVE, RADIUS_BITS, RADIUS_ODD, ROOT, ROOT_GUESS, SINE, TOP_BITS
from analysis.kernel.simd import (
    bits_of,
    fma,
    from_bits,
    rotate,
    shift_left,
    shift_right,
    splat,
    splat_bits,
    to_floats,
)

_C = TypeVar("_C", bound=Callable[..., Any])
_F, _U = np.float32, np.uint32
_RADIUS_BITS, _RADIUS_ODD, _TOP_BITS, _OCTAVE = _U(RADIUS_BITS), _U(RADIUS_ODD), _U(TOP_BITS), _F(OCTAVE)
_L0, _L1, _L2, _L3, _L4 = (_F(c) for c in LOGARITHM)
_ROOT_GUESS = _U(ROOT_GUESS)
_R0, _R1, _R2 = (_F(c) for c in ROOT)
_C0, _C1, _C2, _C3 = (_F(c) for c in COSINE)
_S0, _S1, _S2 = (_F(c) for c in SINE)


def compiled(*, inline: bool) -> Callable[[_C], _C]:
    """Compile with the disk cache, or without it where no cache folder can be written (read-only install).

    Small functions go into their callers (`inline`): between functions vectors would travel through memory.
    """
    # Nothing is allocated inside, so numba's reference counting is left out.
    options = {"error_model": "numpy", "nogil": True, "_nrt": False, "forceinline": inline}

    def decorate(function: _C) -> _C:
        try:
            return cast(_C, numba.njit(cache=True, **options)(function))
        except RuntimeError:
            return cast(_C, numba.njit(**options)(function))

    return decorate


@compiled(inline=True)
def _four_rounds(x: Any, y: Any, first: bool) -> Any:
    x = x + y
    y = (rotate(y, 13) if first else rotate(y, 17)) ^ x
    x = x + y
    y = (rotate(y, 15) if first else rotate(y, 29)) ^ x
    x = x + y
    y = (rotate(y, 26) if first else rotate(y, 16)) ^ x
    x = x + y
    y = (rotate(y, 6) if first else rotate(y, 24)) ^ x
    return x, y


@compiled(inline=True)
def threefry(first: Any, second: Any, k0: np.uint32, k1: np.uint32) -> Any:
    """Two words at the counter (first, second) under the key (k0, k1)."""
    k2 = _U(k0 ^ k1 ^ _U(0x1BD11BDA))
    x, y = _four_rounds(first + splat_bits(k0), second + splat_bits(k1), True)
    x, y = _four_rounds(x + splat_bits(k1), y + splat_bits(k2 + _U(1)), False)
    x, y = _four_rounds(x + splat_bits(k2), y + splat_bits(k0 + _U(2)), True)
    x, y = x + splat_bits(k0), y + splat_bits(k1 + _U(3))
    x = x + y
    return x, rotate(y, 17) ^ x


@compiled(inline=True)
def xoroshiro(s0: Any, s1: Any) -> Any:
    """The sum of a state's words, and the next state."""
    word = s0 + s1
    s1 = s1 ^ s0
    return word, rotate(s0, 26) ^ s1 ^ shift_left(s1, 9), rotate(s1, 13)


@compiled(inline=True)
def polar(word: Any, sign: Any) -> Any:
    """A pair of normal numbers from a word, as r^2, cosine and sine: the numbers are r cosine and r sine.

    Bits 1 to 20 are the radius, the whole word the half turn's angle: what the angle shares with the radius lies below
    a 4096th of a turn. The cosine's sign is the highest bit of another word.
    """
    f = to_floats(word & splat_bits(_RADIUS_BITS) | splat_bits(_RADIUS_ODD))
    bits = bits_of(f)
    m = from_bits(bits & splat_bits(_U(0x7FFFFF)) | splat_bits(_U(0x3F800000)))
    p = fma(splat(_L4), m, splat(_L3))
    p = fma(p, m, splat(_L2))
    p = fma(p, m, splat(_L1))
    p = fma(p, m, splat(_L0))
    s = to_floats(word) * splat(_F(2.0**-31))
    q = s * s
    c = fma(splat(_C3), q, splat(_C2))
    c = fma(c, q, splat(_C1))
    c = fma(c, q, splat(_C0))
    d = fma(splat(_S2), q, splat(_S1))
    d = fma(d, q, splat(_S0))
    below = to_floats(bits - splat_bits(_TOP_BITS))
    c = from_bits(bits_of(c) ^ (sign & splat_bits(_U(0x80000000))))
    return fma(splat(_OCTAVE), below, p), c, d * s


@compiled(inline=True)
def root(square: Any) -> Any:
    """Square root of numbers from 0, off by a relative 2.5e-5 at most; exact ones keep the divider busy too long."""
    guess = from_bits(splat_bits(_ROOT_GUESS) - shift_right(bits_of(square), 1))
    value = square * guess
    share = value * guess
    return value * fma(fma(splat(_R2), share, splat(_R1)), share, splat(_R0))
