"""Counter-based normal numbers, a vector of trajectories at a time; `counter.py` says the same in numpy.

Every number belongs to a key, a trajectory and a step, and to nothing else: neither threads nor the order of the work
can change it. Bits come from Threefry-2x32 with 13 rounds (Salmon et al. 2011, the fewest that pass BigCrush). The read
noise needs fifteen words a step; it takes them from xoroshiro64* (Blackman and Vigna 2018) whose whole state is the
step's Threefry words, so that states of different steps are different.

Normal numbers are Box and Muller's with polynomials for logarithm, sine and cosine. Errors of a number against exact
arithmetic on the same bits: 3e-6 (1 + |z|) for the diffusion, 1.2e-4 (1 + |z|) for the read noise. Discretisation:
24 + 32 bits, |z| < 5.9, for the diffusion; 20 + 12 bits, |z| < 5.4, for the read noise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

from analysis.kernel.simd import (
    bits_of,
    fma,
    from_bits,
    multiply_bits,
    rotate,
    shift_left,
    shift_right,
    shift_signed,
    splat,
    splat_bits,
    to_floats,
)

_C = TypeVar("_C", bound=Callable[..., Any])
_F, _U = np.float32, np.uint32


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
    """One word of xoroshiro64* and the next state."""
    word = multiply_bits(s0, splat_bits(_U(0x9E3779BB)))
    s1 = s1 ^ s0
    return word, rotate(s0, 26) ^ s1 ^ shift_left(s1, 9), rotate(s1, 13)


@compiled(inline=True)
def _split(u: Any) -> Any:
    """Exponent and r of 0 < u < 1: u = 2^exponent (1 + r) with 2/3 <= 1 + r < 4/3."""
    bits = bits_of(u)
    exponent = shift_signed(bits - splat_bits(_U(0x3F2AAAAB)), 23)
    return to_floats(exponent), from_bits(bits - shift_left(exponent, 23)) - splat(_F(1.0))


@compiled(inline=True)
def polar(radius: Any, angle: Any) -> Any:
    """A pair of normal numbers from two words, as r^2, cosine and sine: the numbers are r cosine and r sine."""
    e, r = _split(fma(to_floats(shift_right(radius, 8)), splat(_F(2.0**-24)), splat(_F(2.0**-25))))
    # -2 ln(1 + r) / r, off by 2e-6
    p = fma(splat(_F(-0.33458203077316284)), r, splat(_F(0.3797963559627533)))
    p = fma(p, r, splat(_F(-0.39717435836791992)))
    p = fma(p, r, splat(_F(0.49799391627311707)))
    p = fma(p, r, splat(_F(-0.6667066812515259)))
    p = fma(p, r, splat(_F(1.0000126361846924)))
    p = fma(p, r, splat(_F(-2.0)))
    s = to_floats(angle) * splat(_F(2.0**-31))
    q = s * s
    # cos(pi s) / (1 - 4 s^2), off by 2.4e-6, and sin(pi s) / (s - s^3), off by 4e-7
    c = fma(splat(_F(0.005243917461484671)), q, splat(_F(-0.05632537230849266)))
    c = fma(c, q, splat(_F(0.3191783130168915)))
    c = fma(c, q, splat(_F(-0.9347619414329529)))
    c = fma(c, q, splat(_F(0.9999992251396179)))
    d = fma(splat(_F(0.005895343143492937)), q, splat(_F(-0.07434302568435669)))
    d = fma(d, q, splat(_F(0.5237346291542053)))
    d = fma(d, q, splat(_F(-2.0260818004608154)))
    d = fma(d, q, splat(_F(3.141591787338257)))
    square = fma(e, splat(_F(-1.3862943611198906)), p * r)
    return square, c * fma(q, splat(_F(-4.0)), splat(_F(1.0))), d * (s - s * q)


@compiled(inline=True)
def polar_of_word(word: Any) -> Any:
    """The same from one word, coarser: its upper 20 bits are the radius, its lower 12 the angle."""
    e, r = _split(fma(to_floats(shift_right(word, 12)), splat(_F(2.0**-20)), splat(_F(2.0**-21))))
    # off by 4e-5
    p = fma(splat(_F(-0.4529380202293396)), r, splat(_F(0.5507434010505676)))
    p = fma(p, r, splat(_F(-0.6643832325935364)))
    p = fma(p, r, splat(_F(0.9985473155975342)))
    p = fma(p, r, splat(_F(-2.000014305114746)))
    s = to_floats(shift_left(word, 20)) * splat(_F(2.0**-31))
    q = s * s
    # off by 1.2e-4 and 1.7e-5
    c = fma(splat(_F(-0.045837536454200745)), q, splat(_F(0.31262341141700745)))
    c = fma(c, q, splat(_F(-0.9334509372711182)))
    c = fma(c, q, splat(_F(0.9999582171440125)))
    d = fma(splat(_F(-0.06255234032869339)), q, splat(_F(0.5163654685020447)))
    d = fma(d, q, splat(_F(-2.0246078968048096)))
    d = fma(d, q, splat(_F(3.1415457725524902)))
    square = fma(e, splat(_F(-1.3862943611198906)), p * r)
    return square, c * fma(q, splat(_F(-4.0)), splat(_F(1.0))), d * (s - s * q)
