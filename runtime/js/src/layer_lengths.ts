/** Prefixes that are longer in some layers than in others. */

import { type Floats, sizeOf } from "./floats.js";

/** P of keys and values, 2·L of [1, K, P_l, D]: that of the longest layer; 0 for none. */
export function longestOf(past: readonly Floats[]): number {
  return past.reduce((longest, x) => Math.max(longest, x.dims[2]!), 0);
}

/** [B, L]: of its row's P positions those that a layer lacks; `pasts` are B of 2·L, or empty. */
export function skippedBy(pasts: readonly (readonly Floats[])[], layers: number): BigInt64Array {
  const found = new BigInt64Array(pasts.length * layers);
  pasts.forEach((past, row) => {
    for (let layer = 0; 2 * layer < past.length; layer++) {
      found[row * layers + layer] = BigInt(longestOf(past) - past[2 * layer]!.dims[2]!);
    }
  });
  return found;
}

/** 2·L of [1, K, P, D]: as a cache holds them, each layer's own positions first. */
export function evened(past: readonly Floats[]): Floats[] {
  const longest = longestOf(past);
  return past.map((x) => {
    const [one, heads, length, size] = x.dims as [number, number, number, number];
    if (length === longest) return x;
    const dims = [one, heads, longest, size];
    const data = new Float32Array(sizeOf(dims));
    for (let head = 0; head < heads; head++) {
      data.set(x.data.subarray(head * length * size, (head + 1) * length * size), head * longest * size);
    }
    return { data, dims };
  });
}
