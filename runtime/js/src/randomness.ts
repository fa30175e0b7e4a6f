/**
 * A portable stream of random numbers: 32-bit integer arithmetic only, the same in every language.
 *
 * The generator is xoshiro128** 1.1 (Blackman and Vigna 2021, "Scrambled linear pseudorandom number generators"). Its
 * four words of state are the first four outputs of splitmix32, which starts at the seed modulo 2³²:
 *
 *     state = (state + 0x9E3779B9) mod 2³²;  z = state
 *     z = (z ^ (z >> 16)) * 0x85EBCA6B mod 2³²
 *     z = (z ^ (z >> 13)) * 0xC2B2AE35 mod 2³²
 *     output z ^ (z >> 16)
 *
 * A uniform number is the next output divided by 2³², so it lies in [0, 1).
 */

/** A stream of 32-bit integers that spreads close seeds far apart. */
export function splitmix32(seed: number): () => number {
  let state = seed % 2 ** 32 >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let z = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return (z ^ (z >>> 16)) >>> 0;
  };
}

/** A stream of 32-bit integers from a state of four words, not all zero. */
export function xoshiro128(a: number, b: number, c: number, d: number): () => number {
  return () => {
    const result = Math.imul(rotated(Math.imul(b, 5), 7), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = rotated(d, 11);
    return result;
  };
}

/** The 32 bits of `x`, turned left. */
export function rotated(x: number, bits: number): number {
  return ((x << bits) | (x >>> (32 - bits))) >>> 0;
}

/** A stream of numbers in [0, 1), each a multiple of 2⁻³². */
export function uniformNumbers(seed: number): () => number {
  const words = splitmix32(seed);
  const next = xoshiro128(words(), words(), words(), words());
  return () => next() / 2 ** 32;
}

/** 32 bits from the system. */
export function freshSeed(): number {
  const bits = globalThis.crypto?.getRandomValues?.(new Uint32Array(1))[0];
  return bits ?? Math.floor(Math.random() * 2 ** 32);
}
