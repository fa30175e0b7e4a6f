"""A portable stream of random numbers: 32-bit integer arithmetic only, the same in every language.

The generator is xoshiro128** 1.1 (Blackman and Vigna 2021, "Scrambled linear pseudorandom number generators"). Its
four words of state are the first four outputs of splitmix32, which starts at the seed modulo 2³²:

    state = (state + 0x9E3779B9) mod 2³²;  z = state
    z = (z ^ (z >> 16)) * 0x85EBCA6B mod 2³²
    z = (z ^ (z >> 13)) * 0xC2B2AE35 mod 2³²
    output z ^ (z >> 16)

A uniform number is the next output divided by 2³², so it lies in [0, 1).
"""

from __future__ import annotations

from collections.abc import Callable

MASK = 0xFFFFFFFF


def splitmix32(seed: int) -> Callable[[], int]:
    """A stream of 32-bit integers that spreads close seeds far apart."""
    state = seed & MASK

    def next_integer() -> int:
        nonlocal state
        state = (state + 0x9E3779B9) & MASK
        z = ((state ^ (state >> 16)) * 0x85EBCA6B) & MASK
        z = ((z ^ (z >> 13)) * 0xC2B2AE35) & MASK
        return z ^ (z >> 16)

    return next_integer


def xoshiro128(a: int, b: int, c: int, d: int) -> Callable[[], int]:
    """A stream of 32-bit integers from a state of four words, not all zero."""

    def next_integer() -> int:
        nonlocal a, b, c, d
        result = (rotated((b * 5) & MASK, 7) * 9) & MASK
        shifted = (b << 9) & MASK
        c ^= a
        d ^= b
        b ^= c
        a ^= d
        c ^= shifted
        d = rotated(d, 11)
        return result

    return next_integer


def rotated(x: int, bits: int) -> int:
    """The 32 bits of `x`, turned left."""
    return ((x << bits) | (x >> (32 - bits))) & MASK


def uniform_numbers(seed: int) -> Callable[[], float]:
    """A stream of numbers in [0, 1), each a multiple of 2⁻³²."""
    words = splitmix32(seed)
    next_integer = xoshiro128(words(), words(), words(), words())
    return lambda: next_integer() / 4294967296.0
