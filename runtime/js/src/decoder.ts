/** The decoder of the shared form: one graph, any adapter per row, a cache that grows in place where it can. */

import type { Adapter } from "./adapter.js";
import { capacityFor, checkRoom, KeyValueCache } from "./cache.js";
import type { ExtendableDecoder, RowLogits } from "./engine.js";
import { type Floats, zeros } from "./floats.js";
import { writesInPlace } from "./in_place.js";
import { evened, longestOf } from "./layer_lengths.js";
import type { Graph } from "./manifest.js";
import { optionalFeeds } from "./optional_inputs.js";
import { type Feeds, pastNames, presentNames, type Session } from "./session.js";
import { withSuffix } from "./suffix.js";

/** The cache of one batch. It belongs to one call. */
export interface SharedState {
  readonly cache: KeyValueCache;
  /** The adapters of its rows, for inputs that stay the same from step to step. */
  readonly adapters: readonly (Adapter | null)[];
}

/** Runs rows with different adapters in one batch. It holds no state of a call: see `Decoder` for its functions. */
export class SharedDecoder implements ExtendableDecoder<SharedState> {
  readonly #names: readonly [past: string[], present: string[]];
  #inPlace: Promise<boolean> | null = null;

  constructor(
    private readonly session: Session,
    private readonly graph: Graph,
  ) {
    this.#names = [pastNames(graph.layers.length), presentNames(graph.layers.length)];
  }

  /** See `Decoder`. Rows go one by one, as the operator wants it. */
  async prefill(
    rows: readonly (readonly number[])[],
    adapters: readonly (Adapter | null)[],
  ): Promise<[RowLogits, SharedState]> {
    const texts = rows.map((ids, r) => withSuffix(ids, adapters[r]!, this.graph.vocabSize));
    const pasts = adapters.map((adapter) => adapter?.past ?? []);
    const longest = Math.max(...texts.map((ids, r) => ids.length + longestOf(pasts[r]!)));
    const inPlace = await this.#writesInPlace();
    checkRoom(longest, this.graph.maxPositions);
    const capacity = inPlace ? capacityFor(longest, this.graph.maxPositions) : longest;
    const cache = KeyValueCache.empty(this.graph.layers, rows.length, capacity);
    const logits: RowLogits = [];
    for (const [r, ids] of texts.entries()) {
      const length = longestOf(pasts[r]!) + ids.length;
      const feeds = {
        input_ids: idsOf([ids]),
        attention_mask: maskOf([length], length),
        ...optionalFeeds([adapters[r]!], this.graph),
      };
      if (inPlace) cache.put(r, pasts[r]!);
      const past = inPlace ? cache.row(r) : pasts[r]!.length ? evened(pasts[r]!) : this.#emptyPast();
      const [found, present] = await this.#run(feeds, past, inPlace);
      if (!inPlace) cache.put(r, present);
      cache.lengths[r] = length;
      logits.push(found.data);
    }
    return [logits, { cache, adapters }];
  }

  /** See `Decoder`. Throws ContextLengthError where the base is full. */
  step(tokenIds: readonly number[], state: SharedState): Promise<[RowLogits, SharedState]> {
    return this.#goneOn(tokenIds.map((id) => [id]), state);
  }

  /** See `ExtendableDecoder`. Throws ContextLengthError where the base is full. */
  extend(tokenIds: readonly number[], state: SharedState): Promise<[RowLogits, SharedState]> {
    return this.#goneOn([tokenIds], state);
  }

  /** See `ExtendableDecoder`. Nothing is copied. */
  truncated(length: number, state: SharedState): SharedState {
    const virtual = longestOf(state.adapters[0]?.past ?? []);
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

  /** As many more tokens for every row, B of [U]; more than one for one row alone. */
  async #goneOn(rows: readonly (readonly number[])[], state: SharedState): Promise<[RowLogits, SharedState]> {
    const { cache, adapters } = state;
    const count = rows[0]!.length;
    const inPlace = await this.#writesInPlace();
    const longest = cache.longest + count;
    checkRoom(longest, this.graph.maxPositions);
    if (inPlace && longest > cache.capacity) cache.grow(capacityFor(longest, this.graph.maxPositions));
    // what comes back is as long as what is fed: nothing that is not in use
    if (!inPlace && cache.capacity > cache.longest) cache.grow(cache.longest);
    const lengths = cache.lengths.map((length) => length + count);
    const feeds = {
      input_ids: idsOf(rows),
      attention_mask: maskOf(lengths, longest),
      ...optionalFeeds(adapters, this.graph),
    };
    const [logits, present] = await this.#run(feeds, cache.buffers, inPlace);
    cache.buffers = present;
    cache.lengths = lengths;
    return [rowsOf(logits), state];
  }

  /** Logits [B, 1, V], and the keys and values with what is new: the same buffers where it is written in place. */
  async #run(feeds: Feeds, past: readonly Floats[], inPlace: boolean): Promise<[Floats, Floats[]]> {
    const [pastOf, presentOf] = this.#names;
    const all = { ...feeds, ...byName(pastOf, past) };
    const into = inPlace ? byName(presentOf, past) : {};
    const found = await this.session.run(all, ["logits", ...presentOf], into);
    return [found["logits"]!, presentOf.map((name) => found[name]!)];
  }

  #writesInPlace(): Promise<boolean> {
    return (this.#inPlace ??= writesInPlace(this.session, this.graph));
  }

  #emptyPast(): Floats[] {
    return this.graph.layers.flatMap(({ keyValueHeads, headSize }) => {
      const empty = zeros([1, keyValueHeads, 0, headSize]);
      return [empty, empty];
    });
  }
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

function byName(names: readonly string[], values: readonly Floats[]): Record<string, Floats> {
  return Object.fromEntries(names.map((name, i) => [name, values[i]!]));
}
