/** The heads of all tasks of a batch as one: block by block, so that no task sees another's. */

import type { Adapter } from "./adapter.js";
import { ACTIVATIONS } from "./adapter_metadata.js";
import { type Floats, zeros } from "./floats.js";
import type { Feeds } from "./session.js";

/**
 * The graph's inputs `head.*` for these tasks, one below the other; `dense`: the graph takes hidden layers.
 *
 * The graph's heads read [H + F]: the pooled vector and, behind it, all hidden layers. A linear head reads the first,
 * one with a hidden layer its own columns of the second.
 */
export function joinedHeads(adapters: readonly Adapter[], hiddenSize: number, dense: boolean): Feeds {
  const heads = adapters.map((adapter) => adapter.head!);
  const hidden = heads.map((head) => head.denseBias?.data.length ?? 0);
  const width = hiddenSize + hidden.reduce((sum, n) => sum + n, 0);
  const bias = stacked(heads.map((head) => head.bias), []);
  const weight = zeros([bias.dims[0]!, width]);
  let [row, column] = [0, hiddenSize];
  heads.forEach((head, i) => {
    const [classes, own] = head.weight.dims as [number, number];
    const first = hidden[i] ? column : 0;
    for (let c = 0; c < classes; c++, row++) {
      weight.data.set(head.weight.data.subarray(c * own, (c + 1) * own), row * width + first);
    }
    column += hidden[i]!;
  });
  const feeds: Feeds = { "head.weight": weight, "head.bias": bias };
  if (!dense) return feeds;
  const numbers = adapters.flatMap(({ metadata }, i) =>
    new Array<bigint>(hidden[i]!).fill(BigInt(ACTIVATIONS.indexOf(metadata.activation))),
  );
  return {
    ...feeds,
    "head.dense.weight": stacked(heads.map((head) => head.denseWeight), [hiddenSize]),
    "head.dense.bias": stacked(heads.map((head) => head.denseBias), []),
    "head.dense.activation": { data: BigInt64Array.from(numbers), dims: [numbers.length] },
  };
}

/** The parts that are there, [n, …rest], one below the other; none of them: [0, …rest]. */
function stacked(parts: readonly (Floats | null)[], rest: readonly number[]): Floats {
  const found = parts.filter((part) => part !== null);
  const joined = zeros([found.reduce((sum, part) => sum + part.dims[0]!, 0), ...rest]);
  let at = 0;
  for (const part of found) {
    joined.data.set(part.data, at);
    at += part.data.length;
  }
  return joined;
}
