/** The decoder of the standalone form: an ordinary graph whose past goes in and comes back. */

import type { Adapter } from "./adapter.js";
import { checkRoom, KeyValueCache } from "./cache.js";
import { idsOf, maskOf, rowsOf } from "./decoder.js";
import type { ExtendableDecoder, RowLogits } from "./engine.js";
import { type Floats, zeros } from "./floats.js";
import type { Graph } from "./manifest.js";
import { type Feeds, pastNames, presentNames, type Session } from "./session.js";

/** The past of one row. */
export interface RowState {
  /** 2·L of [1, K, P + length, D], or of length 0 at first. */
  readonly past: readonly Floats[];
  /** Tokens of text; the virtual tokens do not count. */
  readonly length: number;
}

/** Runs rows one by one, so that each has its own length; see `Decoder`. A call's adapters are not looked at. */
export class StandaloneDecoder implements ExtendableDecoder<RowState[]> {
  readonly #names: readonly [past: string[], present: string[]];

  constructor(
    private readonly session: Session,
    private readonly graph: Graph,
  ) {
    this.#names = [pastNames(graph.layers.length), presentNames(graph.layers.length)];
  }

  /** See `Decoder`. */
  prefill(rows: readonly (readonly number[])[], _: readonly (Adapter | null)[]): Promise<[RowLogits, RowState[]]> {
    return this.#each(rows, rows.map(() => this.#empty()));
  }

  /** See `Decoder`. */
  step(tokenIds: readonly number[], state: RowState[]): Promise<[RowLogits, RowState[]]> {
    return this.#each(tokenIds.map((id) => [id]), state);
  }

  /** See `ExtendableDecoder`. */
  extend(tokenIds: readonly number[], state: RowState[]): Promise<[RowLogits, RowState[]]> {
    return this.#each([tokenIds], state);
  }

  /** See `ExtendableDecoder`. What stays is copied. */
  truncated(length: number, [row]: RowState[]): RowState[] {
    const { past, length: before } = row!;
    if (length >= before) return [row!];
    if (length <= 0) return [this.#empty()];
    const cache = new KeyValueCache(past, [past[0]!.dims[2]! - (before - length)]);
    cache.grow(cache.longest);
    return [{ past: cache.buffers, length }];
  }

  /** See `ExtendableDecoder`. A past is never written to: nothing is copied. */
  copied(state: RowState[]): RowState[] {
    return [...state];
  }

  /** See `Decoder`. Nothing is copied. */
  withRows(rows: readonly number[], state: RowState[]): RowState[] {
    return rows.map((row) => state[row]!);
  }

  async #each(rows: readonly (readonly number[])[], state: readonly RowState[]): Promise<[RowLogits, RowState[]]> {
    const logits: RowLogits = [];
    const states: RowState[] = [];
    for (const [r, ids] of rows.entries()) {
      const [found, next] = await this.#run(ids, state[r]!);
      logits.push(found);
      states.push(next);
    }
    return [logits, states];
  }

  /** Tokens [T] behind the row's past → logits [V] of the last and the row's next state. */
  async #run(tokenIds: readonly number[], row: RowState): Promise<[Float32Array, RowState]> {
    const [pastOf, presentOf] = this.#names;
    const length = row.length + tokenIds.length;
    checkRoom(length, this.graph.maxPositions);
    const feeds: Feeds = { input_ids: idsOf([tokenIds]), attention_mask: maskOf([length], length) };
    pastOf.forEach((name, i) => (feeds[name] = row.past[i]!));
    const found = await this.session.run(feeds, ["logits", ...presentOf]);
    return [rowsOf(found["logits"]!)[0]!, { past: presentOf.map((name) => found[name]!), length }];
  }

  #empty(): RowState {
    const past = this.graph.layers.flatMap(({ keyValueHeads, headSize }) => {
      const empty = zeros([1, keyValueHeads, 0, headSize]);
      return [empty, empty];
    });
    return { past, length: 0 };
  }
}
