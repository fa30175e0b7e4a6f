/** Text to token ids and back, over a `tokenizer.json`. */

import { Tokenizer as Inner } from "@huggingface/tokenizers";

import { ControlTokens } from "./control_tokens.js";
import { BundleError, said } from "./errors.js";
import { checkGrowth } from "./tokenizer_limits.js";

/** A text and what belongs behind it. */
export interface Pair {
  readonly text: string;
  readonly pair: string;
}

/** A text, or a text and its pair. */
export type Text = string | Pair;

/** What puts special tokens around a text's tokens, and its pair's. */
type PostProcessor = (
  tokens: string[],
  pair: string[] | null,
  addSpecialTokens: boolean,
) => { tokens: string[]; tokens_pair?: string[] | null };

/**
 * A tokenizer that never pads, and truncates only where a call says so.
 *
 * Control tokens that a text holds are characters like others, unless `splitSpecialTokens` is false.
 */
export class Tokenizer {
  readonly #inner: Inner;
  /** Those that its file calls special. */
  readonly control: ControlTokens;

  /** `json` gives what `tokenizer.json` says, anew each time. */
  constructor(
    json: () => any,
    readonly splitSpecialTokens = true,
  ) {
    const file = json();
    checkGrowth(file);
    this.#inner = new Inner(file, {});
    this.control = new ControlTokens(this.#inner, json);
  }

  /** Token ids of a text or a pair; `splitSpecialTokens` is the tokenizer's own, if it is left out. */
  encode(text: Text, addSpecialTokens = true, splitSpecialTokens = this.splitSpecialTokens): number[] {
    const [first, pair] = this.#parts(text, splitSpecialTokens);
    return this.#joined(first, pair, addSpecialTokens);
  }

  /**
   * At most `maxTokens` token ids, special ones included, and how many there were before the cut.
   *
   * A cut takes the text's last tokens and keeps the special tokens behind it; of a pair, the longer is cut first.
   */
  encodeWithin(text: Text, maxTokens: number): [ids: number[], length: number] {
    const [first, pair] = this.#parts(text);
    const ids = this.#joined(first, pair, true);
    if (ids.length <= maxTokens) return [ids, ids.length];
    const special = this.#joined([], pair && [], true).length;
    const [keep, keepPair] = longestFirst(first.length, pair?.length ?? 0, Math.max(maxTokens - special, 0));
    return [this.#joined(first.slice(0, keep), pair && pair.slice(0, keepPair), true), ids.length];
  }

  /** The text that the tokenizer takes for that token; empty for an id that it does not have. */
  token(tokenId: number): string {
    return this.#inner.id_to_token(tokenId) ?? "";
  }

  /** The text of `tokenIds`, without special tokens. */
  decode(tokenIds: readonly number[]): string {
    const known = tokenIds.filter((id) => this.#inner.id_to_token(id) !== undefined);
    if (!known.length) return "";
    return this.#inner.decode(known, { skip_special_tokens: true, clean_up_tokenization_spaces: false });
  }

  #parts(text: Text, splits = this.splitSpecialTokens): [string[], string[] | null] {
    const tokens = (part: string) => this.control.tokens(readable(part), splits);
    return typeof text === "string" ? [tokens(text), null] : [tokens(text.text), tokens(text.pair)];
  }

  #joined(first: string[], pair: string[] | null, addSpecialTokens: boolean): number[] {
    const process = this.#inner.post_processor as unknown as PostProcessor | null;
    const found = process?.(first, pair, addSpecialTokens) ?? { tokens: first, tokens_pair: pair };
    const unknown = this.#inner.model?.unk_token_id ?? 0;
    // some processors hand the pair through as it is
    return [...found.tokens, ...(found.tokens_pair ?? [])].map((x) => this.#inner.token_to_id(x) ?? unknown);
  }
}

/** How many tokens of a pair stay, cut from the longer one first, as the tokenizers library does it. */
export function longestFirst(a: number, b: number, room: number): [number, number] {
  if (a + b <= room) return [a, b];
  const short = Math.min(a, b);
  const half = Math.floor(room / 2);
  const [less, more] = 2 * short <= room ? [short, room - short] : [half, room - half];
  return a <= b ? [less, more] : [more, less];
}

/** `text`, with lone surrogates, which no UTF-8 can hold, as U+FFFD. */
export function readable(text: string): string {
  return text.replace(/\p{Surrogate}/gu, "\ufffd");
}

/** The tokenizer in the bytes of a `tokenizer.json`; throws BundleError if it is none. */
export function readTokenizer(bytes: Uint8Array, where: string, splitSpecialTokens = true): Tokenizer {
  try {
    return new Tokenizer(() => JSON.parse(new TextDecoder().decode(bytes)), splitSpecialTokens);
  } catch (error) {
    throw new BundleError(
      `${where}: is no tokenizer (${said(error)}). Update @huggingface/tokenizers.`,
    );
  }
}
