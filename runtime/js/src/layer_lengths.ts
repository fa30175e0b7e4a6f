/** Prefixes that are longer in some layers than in others. */

import type { Floats } from "./floats.js";

/** P of keys and values, 2·L of [1, K, P_l, D]: that of the longest layer; 0 for none. */
export function longestOf(past: readonly Floats[]): number {
  return past.reduce((longest, x) => Math.max(longest, x.dims[2]!), 0);
}

/** Of the P positions of keys and values, 2·L of [1, K, P_l, D], those that one of them lacks; 0 where there are none. */
export function missingIn(past: readonly Floats[], buffer: number): number {
  return past.length ? longestOf(past) - past[buffer]!.dims[2]! : 0;
}

/** [B, L]: of its row's P positions those that a layer lacks; `pasts` are B of 2·L, or empty. */
export function skippedBy(pasts: readonly (readonly Floats[])[], layers: number): BigInt64Array {
  const found = pasts.map((past) => Array.from({ length: layers }, (_, layer) => missingIn(past, 2 * layer)));
  return BigInt64Array.from(found.flat(), BigInt);
}
