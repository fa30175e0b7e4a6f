/** Answers of an encoder: batches of texts with different adapters in, rows of logits out. */

import { type Adapter, prefixTokens, promptTokens } from "./adapter.js";
import { type Floats, zeros } from "./floats.js";
import { joinedHeads } from "./heads.js";
import type { Layer } from "./layer.js";
import type { Manifest } from "./manifest.js";
import { optionalFeeds } from "./optional_inputs.js";
import type { Classification } from "./results.js";
import { type Feeds, pastNames, type Session } from "./session.js";
import { withSuffix } from "./suffix.js";

/** Rows in one run; more gain nothing on a CPU and cost memory. */
const MAX_ROWS = 32;

/** One text and the task it is for. */
export interface EncoderRow {
  /** [T]. */
  readonly tokenIds: readonly number[];
  readonly adapter: Adapter;
}

/** What gives the scores of classes: an encoder, or a decoder with label words. */
export interface Classifier {
  /** The logits [C] of every row, C being the number of its own adapter's labels; 1 for a regression. */
  classLogits(rows: readonly EncoderRow[]): Promise<Float32Array[]>;
}

/** The graph of an encoder, shared or standalone. */
export class Encoder implements Classifier {
  constructor(
    private readonly session: Session,
    private readonly manifest: Manifest,
  ) {}

  /** See `Classifier`. Rows of like length run together, at most 32, whatever their adapters are. */
  classLogits(rows: readonly EncoderRow[]): Promise<Float32Array[]> {
    return inGroups(rows, MAX_ROWS, (group) => this.#run(group));
  }

  async #run(texts: readonly EncoderRow[]): Promise<Float32Array[]> {
    const { graph, form, tokenizer } = this.manifest;
    const rows = texts.map(({ tokenIds, adapter }) => withSuffix(tokenIds, adapter, graph.vocabSize));
    const adapters = texts.map((text) => text.adapter);
    const longest = Math.max(...rows.map((ids) => ids.length));
    const input_ids = paddedIds(rows, longest, tokenizer.padTokenId ?? 0);
    const lengths = rows.map((ids) => ids.length);
    if (form !== "shared") {
      return this.#logits({ input_ids, attention_mask: masksOf([[]], lengths, longest) });
    }
    const heads = [...new Set(adapters)];
    const prefixes = adapters.map(prefixTokens);
    const prompts = adapters.map(promptTokens);
    const pasts = joinedPasts(adapters.map((adapter) => adapter.past), Math.max(...prefixes), graph.layers);
    const feeds: Feeds = {
      input_ids,
      attention_mask: masksOf([prefixes, prompts], lengths, longest),
      prompt_embeds: joinedPrompts(adapters, Math.max(...prompts), graph.embeddingSize),
      ...joinedHeads(heads, graph.hiddenSize, graph.denseHeads),
      ...optionalFeeds(adapters, graph),
    };
    pastNames(graph.layers.length).forEach((name, i) => (feeds[name] = pasts[i]!));
    const logits = await this.#logits(feeds);
    const firstClass = new Map<Adapter, number>();
    let classes = 0;
    for (const adapter of heads) {
      firstClass.set(adapter, classes);
      classes += adapter.head!.bias.data.length;
    }
    return logits.map((row, r) => {
      const first = firstClass.get(adapters[r]!)!;
      return row.slice(first, first + adapters[r]!.head!.bias.data.length);
    });
  }

  /** Logits [B, C], row by row. */
  async #logits(feeds: Feeds): Promise<Float32Array[]> {
    const { data, dims } = (await this.session.run(feeds, ["logits"]))["logits"]!;
    const [rows, classes] = dims as [number, number];
    return Array.from({ length: rows }, (_, row) => data.slice(row * classes, (row + 1) * classes));
  }
}

/** The results of all rows, in their order; rows of like length run together, at most `most`. */
export async function inGroups(
  rows: readonly EncoderRow[],
  most: number,
  run: (group: EncoderRow[]) => Promise<Float32Array[]>,
): Promise<Float32Array[]> {
  const order = rows.map((_, r) => r).sort((a, b) => rows[a]!.tokenIds.length - rows[b]!.tokenIds.length);
  const results = new Array<Float32Array>(rows.length);
  for (let start = 0; start < order.length; start += most) {
    const group = order.slice(start, start + most);
    const found = await run(group.map((r) => rows[r]!));
    group.forEach((r, i) => (results[r] = found[i]!));
  }
  return results;
}

/** Token ids [B, longest], padded behind. */
function paddedIds(rows: readonly (readonly number[])[], longest: number, padTokenId: number) {
  const data = new BigInt64Array(rows.length * longest).fill(BigInt(padTokenId));
  rows.forEach((ids, row) => data.set(BigInt64Array.from(ids, BigInt), row * longest));
  return { data, dims: [rows.length, longest] };
}

/**
 * [B, past + P + T]: of each kind of virtual tokens in front ones at the end of its columns, so that shorter ones sit
 * next to the text; then ones for the text.
 */
function masksOf(front: readonly (readonly number[])[], lengths: readonly number[], longest: number) {
  const widths = front.map((each) => Math.max(0, ...each));
  const width = widths.reduce((sum, n) => sum + n, longest);
  const data = new BigInt64Array(lengths.length * width);
  lengths.forEach((length, row) => {
    let column = row * width;
    front.forEach((each, i) => {
      data.fill(1n, column + widths[i]! - (each[row] ?? 0), column + widths[i]!);
      column += widths[i]!;
    });
    data.fill(1n, column, column + length);
  });
  return { data, dims: [lengths.length, width] };
}

/** [B, longest, size], shorter prompts at the end of their rows. */
function joinedPrompts(adapters: readonly Adapter[], longest: number, size: number): Floats {
  const joined = zeros([adapters.length, longest, size]);
  adapters.forEach((adapter, row) => {
    const first = (row + 1) * longest - promptTokens(adapter);
    if (adapter.prompt) joined.data.set(adapter.prompt.data, first * size);
  });
  return joined;
}

/** 2·L of [B, K, longest, D], shorter prefixes at the end of their rows; `pasts` are B of 2·L, or empty. */
function joinedPasts(pasts: readonly (readonly Floats[])[], longest: number, layers: readonly Layer[]): Floats[] {
  return layers.flatMap(({ keyValueHeads, headSize }, layer) =>
    [0, 1].map((part) => {
      const joined = zeros([pasts.length, keyValueHeads, longest, headSize]);
      pasts.forEach((past, row) => {
        const x = past[2 * layer + part];
        const own = (x?.dims[2] ?? 0) * headSize;
        for (let head = 0; x && head < keyValueHeads; head++) {
          const end = (row * keyValueHeads + head + 1) * longest * headSize;
          joined.data.set(x.data.subarray(head * own, (head + 1) * own), end - own);
        }
      });
      return joined;
    }),
  );
}

/** Softmax of [C] in float64. */
export function probabilitiesOf(logits: Float32Array): Float64Array {
  const peak = Math.max(...logits);
  const weights = Float64Array.from(logits, (x) => Math.exp(x - peak));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

/** The probabilities of `labels` from logits [C], in falling order, of equals the first first. */
export function classificationFrom(
  logits: Float32Array,
  labels: readonly string[],
  topK = Infinity,
  threshold = 0,
): Classification {
  const probabilities = probabilitiesOf(logits);
  const order = labels.map((_, i) => i).sort((a, b) => probabilities[b]! - probabilities[a]! || a - b);
  const score = probabilities[order[0]!]!;
  const scores = new Map(order.slice(0, topK).map((i) => [labels[i]!, probabilities[i]!]));
  return { label: score < threshold ? null : labels[order[0]!]!, score, scores };
}
