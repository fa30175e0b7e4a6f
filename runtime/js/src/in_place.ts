/** Whether a backend writes outputs into memory that it was given, which keeps the cache of a decoder from being copied. */

import { type Floats, zeros } from "./floats.js";
import type { Graph } from "./manifest.js";
import { optionalFeeds } from "./optional_inputs.js";
import { type Feeds, pastNames, presentNames, type Session } from "./session.js";

const UNTOUCHED = 12345;

/**
 * Told by one run on one token: onnxruntime-node writes there, onnxruntime-web (1.30) leaves given memory as it was and
 * says nothing, and onnxruntime-react-native (1.24) writes to the beginning of the buffer that the memory is part of. So
 * only a look tells, at memory that is not the beginning of its buffer, as that of a batch's second row is not.
 */
export async function writesInPlace(session: Session, graph: Graph): Promise<boolean> {
  const layers = graph.layers.length;
  const buffers = graph.layers.flatMap(({ keyValueHeads, headSize }) => {
    const shape = [1, keyValueHeads, 1, headSize];
    return [secondRow(shape), secondRow(shape)];
  });
  const named = (names: string[]) => Object.fromEntries(names.map((name, i) => [name, buffers[i]!]));
  const into: Record<string, Floats> = named(presentNames(layers));
  const feeds: Feeds = {
    input_ids: { data: new BigInt64Array(1), dims: [1, 1] },
    attention_mask: { data: BigInt64Array.of(1n), dims: [1, 1] },
    ...named(pastNames(layers)),
    ...optionalFeeds([null], graph),
  };
  const first = buffers[0]!.data.fill(UNTOUCHED);
  try {
    await session.run(feeds, Object.keys(into), into);
  } catch {
    // a backend may refuse memory that it was given
    return false;
  }
  return first.every((x) => x !== UNTOUCHED);
}

function secondRow(dims: readonly number[]): Floats {
  const { data } = zeros([2, ...dims]);
  return { data: data.subarray(data.length / 2), dims };
}
