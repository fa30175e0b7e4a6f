/** Virtual tokens behind the text: ids from V on, V being the vocabulary's size, that select an adapter's vectors. */

import { type Adapter, suffixTokens } from "./adapter.js";
import { type Floats, zeros } from "./floats.js";

/** Token ids [T] with those of the adapter's suffix behind them, [T + Q]. */
export function withSuffix(
  tokenIds: readonly number[],
  adapter: Adapter | null,
  vocabSize: number,
): readonly number[] {
  const count = suffixTokens(adapter);
  return count ? [...tokenIds, ...Array.from({ length: count }, (_, i) => vocabSize + i)] : tokenIds;
}

/** [B, Q, size], shorter suffixes at the beginning of their rows; Q is 1 at least, for a graph to have an entry. */
export function joinedSuffixes(adapters: readonly (Adapter | null)[], size: number): Floats {
  const longest = Math.max(1, ...adapters.map(suffixTokens));
  const joined = zeros([adapters.length, longest, size]);
  adapters.forEach((adapter, row) => {
    if (adapter?.suffix) joined.data.set(adapter.suffix.data, row * longest * size);
  });
  return joined;
}
