/** What the runtime hands back: plain values. */

/** Why a generation ended: an end token, a stop string, the most tokens allowed, `maxTimeS`, or `signal`. */
export type FinishReason = "eos" | "stop" | "length" | "time" | "cancelled";

/** One task that a model can do. */
export interface AdapterInfo {
  readonly name: string;
  /** `"classify"`, `"regress"` or `"generate"`. */
  readonly task: string;
  /** How it was tuned: `"prompt"`, `"prefix"` or `"prompt+prefix"`. */
  readonly method: string;
  /** P: positions that it takes, in front of the text and behind it. */
  readonly virtualTokens: number;
  /** In the order of the head's rows; empty unless it classifies. */
  readonly labels: readonly string[];
  /** Of its file; 0 where it is folded into the graph. */
  readonly sizeBytes: number;
}

/** The probabilities of one text's labels. */
export interface Classification {
  /**
   * The most probable label; of equals, the first in the adapter's order. Null where a `threshold` was given and the
   * text is out of scope: no label is as probable as that.
   */
  readonly label: string | null;
  /** The probability of the most probable label. */
  readonly score: number;
  /** Label → probability, most probable first; cut to `topK` entries where that was given. */
  readonly scores: ReadonlyMap<string, number>;
}

/** The prediction for one text. */
export interface Regression {
  /** In the units of the rows that the task was tuned on. */
  readonly value: number;
}

/** How long one generation took, on the wall clock. */
export interface Timing {
  /** From the call (or the start of its batch) until the first token was chosen. */
  readonly firstTokenMs: number;
  /** Rate of the tokens after the first; 0 where there were none. */
  readonly tokensPerSecond: number;
}

/** How probable a token was: natural logarithms of the model's own distribution at that place. */
export interface TokenLogprob {
  readonly tokenId: number;
  /** Of the token that was chosen; at most 0. */
  readonly logprob: number;
  /** Token id → log-probability of the most probable tokens, descending, as many as `logprobs` asked for. */
  readonly top: ReadonlyMap<number, number>;
}

/** One finished text. */
export interface Generation {
  /** Special tokens are skipped; a stop string and all that follows it is cut off. */
  readonly text: string;
  /** Every new token, those of a stop string included, an end token never. */
  readonly tokenIds: readonly number[];
  readonly finishReason: FinishReason;
  readonly timing: Timing;
  /** One for each of `tokenIds`, where they were asked for. */
  readonly logprobs: readonly TokenLogprob[] | null;
  /** The further results of the same text, where `n` asked for several. */
  readonly others: readonly Generation[];
}

/** A piece of a text on its way. The pieces of a stream, joined, are exactly what `generate` returns. */
export interface Chunk {
  readonly text: string;
  /** The tokens chosen since the chunk before. They may be ahead of the text: half a character is held back. */
  readonly tokenIds: readonly number[];
  /** Null for all chunks but the last. */
  readonly finishReason: FinishReason | null;
  /** Of the whole generation, on the last chunk. */
  readonly timing: Timing | null;
  /** One for each of `tokenIds`, where they were asked for. */
  readonly logprobs: readonly TokenLogprob[] | null;
  /** Which result of its call: the text's place in the list times `n`, plus which of the `n`. */
  readonly index: number;
}
