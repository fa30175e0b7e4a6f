/** The generation loop: rows of a batch, each with its own adapter and options, token by token. */

import type { Decoder } from "./engine.js";
import { Limits } from "./limits.js";
import { Progress, type Request, sampleOf } from "./progress.js";
import type { Chunk, Generation } from "./results.js";
import type { Tokenizer } from "./tokenizer.js";

/** Rows that decode together; each holds a cache of its own. */
export const MAX_ROWS = 16;

/**
 * Chunks of all requests, each as soon as it is certain, with the place of its result: `n` for each request.
 *
 * `started` is when the call began, in `performance.now` milliseconds. A row that ends leaves the batch.
 */
export async function* generatedChunks(
  decoder: Decoder,
  tokenizer: Tokenizer,
  endIds: readonly number[],
  requests: readonly Request[],
  started: number,
): AsyncGenerator<Chunk, void, undefined> {
  if (!requests.length) return;
  const { n, onChunk } = requests[0]!.options;
  const texts = Math.max(Math.floor(MAX_ROWS / n), 1);
  const limits = new Limits(requests[0]!.options, started);
  for (let start = 0; start < requests.length; start += texts) {
    const group = requests.slice(start, start + texts);
    const began = start === 0 ? started : performance.now();
    const rows = group.flatMap((request) =>
      Array.from({ length: n }, (_, i) => new Progress(sampleOf(request, i), tokenizer, endIds, began)),
    );
    for await (const [row, chunk] of batchChunks(decoder, group, rows, limits)) {
      const found = { ...chunk, index: start * n + row };
      onChunk?.(found);
      yield found;
    }
  }
}

async function* batchChunks(
  decoder: Decoder,
  requests: readonly Request[],
  rows: readonly Progress[],
  limits: Limits,
): AsyncGenerator<[number, Chunk], void, undefined> {
  let going = rows.map((progress, index) => ({ index, progress }));
  let reason = limits.reason();
  if (reason === null) {
    let [logits, state] = await decoder.prefill(
      requests.map((r) => r.tokenIds),
      requests.map((r) => r.adapter),
    );
    if (rows.length > requests.length) {
      const n = rows.length / requests.length;
      const sources = rows.map((_, i) => Math.floor(i / n));
      logits = sources.map((source) => logits[source]!.slice());
      state = decoder.withRows(sources, state);
    }
    for (;;) {
      const left: number[] = [];
      for (const [place, { index, progress }] of going.entries()) {
        const chunk = progress.take(logits[place]!);
        if (chunk !== null) yield [index, chunk];
        if (chunk === null || chunk.finishReason === null) left.push(place);
      }
      if (left.length < going.length) {
        going = left.map((place) => going[place]!);
        if (going.length) state = decoder.withRows(left, state);
      }
      if (!going.length || (reason = limits.reason()) !== null) break;
      const tokens = going.map(({ progress }) => progress.lastToken);
      [logits, state] = await decoder.step(tokens, state);
    }
  }
  for (const { index, progress } of going) yield [index, progress.ended(reason ?? "cancelled")];
}

/** The results of all chunks of one call, `n` for each text; the first holds the others. */
export function generationsFrom(chunks: readonly Chunk[], texts: number, n: number): Generation[] {
  const rows = Array.from({ length: texts * n }, () => [] as Chunk[]);
  for (const chunk of chunks) rows[chunk.index]!.push(chunk);
  const found = rows.map(generationFrom);
  return Array.from({ length: texts }, (_, i) => ({
    ...found[i * n]!,
    others: found.slice(i * n + 1, (i + 1) * n),
  }));
}

/** All chunks of one row, joined. */
function generationFrom(chunks: readonly Chunk[]): Generation {
  const { finishReason, timing, logprobs } = chunks.at(-1)!;
  return {
    text: chunks.map((chunk) => chunk.text).join(""),
    tokenIds: chunks.flatMap((chunk) => chunk.tokenIds),
    finishReason: finishReason!,
    timing: timing!,
    logprobs: logprobs && chunks.flatMap((chunk) => chunk.logprobs ?? []),
    others: [],
  };
}
