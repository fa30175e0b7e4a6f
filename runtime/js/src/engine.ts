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
