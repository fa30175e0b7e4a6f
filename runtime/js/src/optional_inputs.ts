/** Inputs that only those graphs have that were exported with an adapter that needs them. */

import type { Adapter } from "./adapter.js";
import { skippedBy } from "./layer_lengths.js";
import type { Graph } from "./manifest.js";
import type { Feeds } from "./session.js";
import { joinedSuffixes } from "./suffix.js";

const SUFFIX = "suffix_embeds";
const SKIPPED = "skipped";

/** Their names. */
export function optionalInputs(graph: Graph): string[] {
  return [...(graph.suffixes ? [SUFFIX] : []), ...(graph.layerLengths ? [SKIPPED] : [])];
}

/** `suffix_embeds [B, Q, E]` and `skipped [B, L]` of the rows' adapters, where the graph takes them. */
export function optionalFeeds(adapters: readonly (Adapter | null)[], graph: Graph): Feeds {
  const layers = graph.layers.length;
  const pasts = adapters.map((adapter) => adapter?.past ?? []);
  return {
    ...(graph.suffixes && { [SUFFIX]: joinedSuffixes(adapters, graph.embeddingSize) }),
    ...(graph.layerLengths && { [SKIPPED]: { data: skippedBy(pasts, layers), dims: [pasts.length, layers] } }),
  };
}
