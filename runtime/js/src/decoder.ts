/** The decoder of the shared form: one graph, any adapter per row, a cache that what a run adds is put into. */

import type { Adapter } from "./adapter.js";
import { capacityFor, KeyValueCache } from "./cache.js";
import type { ExtendableDecoder, RowLogits } from "./engine.js";
import { type Floats, sizeOf } from "./floats.js";
import { longestOf, missingIn } from "./layer_lengths.js";
import type { Graph } from "./manifest.js";
import { optionalFeeds } from "./optional_inputs.js";
import { type Feeds, NEW_POSITIONS, pastNames, presentNames, type Session } from "./session.js";
import { withSuffix } from "./suffix.js";

/** The cache of one batch. It belongs to one call. */
export interface SharedState {
  readonly cache: KeyValueCache;
  /** The adapters of its rows, for inputs that stay the same from step to step. */
  readonly adapters: readonly (Adapter | null)[];
}

/** Runs rows with different adapters in one batch. It holds no state of a call: see `Decoder` for its functions. */
export class SharedDecoder implements ExtendableDecoder<SharedState> {
  constructor(
    private readonly session: Session,
    private readonly graph: Graph,
  ) {}

  /** See `Decoder`. Rows go one by one, as the operator wants it. */
  async prefill(
    rows: readonly (readonly number[])[],
    adapters: readonly (Adapter | null)[],
  ): Promise<[RowLogits, SharedState]> {
    const texts = rows.map((ids, r) => withSuffix(ids, adapters[r]!, this.graph.vocabSize));
    const longest = Math.max(...texts.map((ids, r) => ids.length + longestOf(pastOf(adapters[r]!))));
    const { layers, maxPositions } = this.graph;
    const empty = (count: number) => KeyValueCache.empty(layers, count, capacityFor(longest, maxPositions));
    const cache = empty(rows.length);
    const logits: RowLogits = [];
    for (const [r, ids] of texts.entries()) {
      // a row of its own: some backends read a buffer from its beginning, wherever an array in it begins
      const row = rows.length > 1 ? empty(1) : cache;
      row.put(0, pastOf(adapters[r]!));
      logits.push(...(await this.#run([ids], { cache: row, adapters: [adapters[r]!] }))[0]);
      const [length] = row.lengths;
      if (row !== cache) cache.put(r, row.buffers);
      cache.lengths[r] = length!;
    }
    return [logits, { cache, adapters }];
  }

  /** See `Decoder`. Throws ContextLengthError where the base is full. */
  step(tokenIds: readonly number[], state: SharedState): Promise<[RowLogits, SharedState]> {
    return this.#run(tokenIds.map((id) => [id]), state);
  }

  /** See `ExtendableDecoder`. Throws ContextLengthError where the base is full. */
  extend(tokenIds: readonly number[], state: SharedState): Promise<[RowLogits, SharedState]> {
    return this.#run([tokenIds], state);
  }

  /** See `ExtendableDecoder`. Nothing is copied. */
  truncated(length: number, state: SharedState): SharedState {
    const virtual = longestOf(pastOf(state.adapters[0]!));
    state.cache.lengths = [Math.min(virtual + length, state.cache.lengths[0]!)];
    return state;
  }

  /** See `ExtendableDecoder`. */
  copied(state: SharedState): SharedState {
    return { cache: state.cache.copy(), adapters: state.adapters };
  }

  /** See `Decoder`. Rows that become others are copied. */
  withRows(rows: readonly number[], state: SharedState): SharedState {
    state.cache.take(rows);
    return { cache: state.cache, adapters: rows.map((row) => state.adapters[row]!) };
  }

  /** As many more tokens for every row, B of [T], more than one for one row alone. */
  async #run(rows: readonly (readonly number[])[], state: SharedState): Promise<[RowLogits, SharedState]> {
    const { cache, adapters } = state;
    const { layers, maxPositions, newPositionsFile } = this.graph;
    const count = rows[0]!.length;
    const width = cache.longest + count;
    const capacity = capacityFor(width, maxPositions);
    if (capacity > cache.capacity) cache.grow(capacity);
    const feeds: Feeds = {
      input_ids: idsOf(rows),
      attention_mask: maskOf(cache.lengths.map((length) => length + count), width),
      ...optionalFeeds(adapters, this.graph),
    };
    pastNames(layers.length).forEach((name, i) => (feeds[name] = cache.buffers[i]!));
    const names = newPositionsFile === null ? presentNames(layers.length) : [NEW_POSITIONS];
    const { logits, ...found } = await this.session.run(feeds, ["logits", ...names]);
    const values = names.map((name) => found[name]!);
    const added = newPositionsFile === null ? values : parted(values[0]!.data, cache.buffers, count);
    cache.add(count, added, (row, buffer) => missingIn(pastOf(adapters[row]!), buffer));
    return [rowsOf(logits!), state];
  }
}

function pastOf(adapter: Adapter | null): readonly Floats[] {
  return adapter?.past ?? [];
}

/** What is one behind the other, as [B, K, count, D] for each of the buffers [B, K, S, D]. */
function parted(data: Float32Array, buffers: readonly Floats[], count: number): Floats[] {
  let at = 0;
  return buffers.map(({ dims: [rows, heads, , size] }) => {
    const dims = [rows!, heads!, count, size!];
    return { data: data.subarray(at, (at += sizeOf(dims))), dims };
  });
}

/** Token ids [B, T], rows of one length. */
export function idsOf(rows: readonly (readonly number[])[]): { data: BigInt64Array; dims: number[] } {
  return { data: BigInt64Array.from(rows.flat(), BigInt), dims: [rows.length, rows[0]!.length] };
}

/** The mask [B, width], ones up to each row's length. */
export function maskOf(lengths: readonly number[], width: number): { data: BigInt64Array; dims: number[] } {
  const data = new BigInt64Array(lengths.length * width);
  lengths.forEach((length, row) => data.fill(1n, row * width, row * width + length));
  return { data, dims: [lengths.length, width] };
}

/** The last position's logits of each row of [B, T, V]. */
export function rowsOf(logits: Floats): RowLogits {
  const [rows, length, vocabulary] = logits.dims as [number, number, number];
  return Array.from({ length: rows }, (_, row) => {
    const end = (row + 1) * length * vocabulary;
    return logits.data.subarray(end - vocabulary, end);
  });
}
