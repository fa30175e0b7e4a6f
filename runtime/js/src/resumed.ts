/** A decoder that remembers what it has read: a text that begins in the same way goes on from there. */

import type { Adapter } from "./adapter.js";
import type { Decoder, ExtendableDecoder, RowLogits } from "./engine.js";
import { withSuffix } from "./suffix.js";

/**
 * A `Decoder` of one row, behind one adapter, whose `prefill` computes only tokens that are new.
 *
 * The keys and values of a text's beginning do not depend on what comes behind it. So of the tokens in the cache the
 * longest common beginning with the new text stays, what differs is forgotten, and the rest runs over what stayed. The
 * state belongs to the decoder, not to the call; a run that fails loses it, and the next computes the whole text.
 */
export class ResumedDecoder implements Decoder {
  #state: unknown = null;
  #held: number[] = [];

  constructor(
    private readonly inner: ExtendableDecoder,
    readonly adapter: Adapter | null,
    private readonly vocabSize: number,
  ) {}

  /** What the cache holds: texts, what was written behind them, and the ids of a suffix (from V on). */
  get tokenIds(): readonly number[] {
    return this.#state === null ? [] : this.#held;
  }

  /** See `Decoder`; one row. Its last token runs in any case: the logits are those behind it. */
  async prefill(rows: readonly (readonly number[])[]): Promise<[RowLogits, unknown]> {
    const ids = withSuffix(rows[0]!, this.adapter, this.vocabSize);
    const state = this.#state;
    this.#state = null;
    const kept = state === null ? 0 : Math.min(commonLength(this.#held, ids), ids.length - 1);
    const [logits, next] = kept
      ? await this.inner.extend(ids.slice(kept), this.inner.truncated(kept, state))
      : await this.inner.prefill(rows, [this.adapter]);
    this.#held = [...ids];
    this.#state = next;
    return [logits, next];
  }

  /** See `Decoder`. */
  async step(tokenIds: readonly number[], state: unknown): Promise<[RowLogits, unknown]> {
    this.#state = null;
    const [logits, next] = await this.inner.step(tokenIds, state);
    this.#held.push(tokenIds[0]!);
    this.#state = next;
    return [logits, next];
  }

  /** See `Decoder`: there is one row, and it stays. */
  withRows(_: readonly number[], state: unknown): unknown {
    return state;
  }

  /** Another one that holds the same, and shares nothing that changes. */
  copy(): ResumedDecoder {
    const other = new ResumedDecoder(this.inner, this.adapter, this.vocabSize);
    other.#state = this.#state === null ? null : this.inner.copied(this.#state);
    other.#held = [...this.#held];
    return other;
  }
}

/** How many tokens two texts have in common at their beginnings. */
function commonLength(first: readonly number[], second: readonly number[]): number {
  const place = first.findIndex((id, i) => id !== second[i]);
  return place < 0 ? first.length : place;
}
