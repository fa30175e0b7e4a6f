/** Numbers with a shape: what adapters hold and graphs are fed. */

export interface Floats {
  readonly data: Float32Array;
  readonly dims: readonly number[];
}

/** How many numbers a shape holds. */
export function sizeOf(dims: readonly number[]): number {
  return dims.reduce((size, n) => size * n, 1);
}

/** Zeros of a shape. */
export function zeros(dims: readonly number[]): Floats {
  return { data: new Float32Array(sizeOf(dims)), dims };
}

/** float32 from the 16 bits of float16 numbers. */
export function fromHalf(bits: Uint16Array): Float32Array {
  const found = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) {
    const [x, exponent] = [bits[i]!, (bits[i]! >> 10) & 31];
    const fraction = x & 1023;
    const size =
      exponent === 0
        ? fraction * 2 ** -24
        : exponent === 31
          ? fraction ? NaN : Infinity
          : (1 + fraction / 1024) * 2 ** (exponent - 15);
    found[i] = x & 0x8000 ? -size : size;
  }
  return found;
}
