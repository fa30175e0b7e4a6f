/** What generation needs of a decoder, of either form. */

import type { Adapter } from "./adapter.js";

/** Logits of every row, [B, V]. They may be written to, until the next step. */
export type RowLogits = Float32Array[];

/** State goes in and comes back; the one that went in is used up. */
export interface Decoder<State = unknown> {
  /** Texts, B of [T], each amid its adapter's virtual tokens → logits [B, V] of the last positions, state. */
  prefill(
    rows: readonly (readonly number[])[],
    adapters: readonly (Adapter | null)[],
  ): Promise<[logits: RowLogits, state: State]>;

  /** One more token per row, [B] → logits [B, V], state. */
  step(tokenIds: readonly number[], state: State): Promise<[logits: RowLogits, state: State]>;

  /** The state whose row i is row `rows[i]` of this one; a row may go on as several, or not at all. */
  withRows(rows: readonly number[], state: State): State;
}

/** A decoder whose rows can go on by several tokens at once, and back. A state of these functions has one row. */
export interface ExtendableDecoder<State = unknown> extends Decoder<State> {
  /** More tokens [U] behind what the state holds, in one run → logits [1, V] of the last, state. */
  extend(tokenIds: readonly number[], state: State): Promise<[logits: RowLogits, state: State]>;

  /**
   * The state after its first `length` tokens: text, ids of a suffix and steps count, virtual tokens in front do not.
   * What stood behind is forgotten.
   */
  truncated(length: number, state: State): State;

  /** Another state that holds the same, and shares nothing that changes. */
  copied(state: State): State;
}
