/** One row of a generation on its way: logits go in, pieces of text come out. */

import type { Adapter } from "./adapter.js";
import { Detokenizer } from "./detokenizer.js";
import { tokenLogprob } from "./logprobs.js";
import type { Resolved } from "./options.js";
import { type Processor, processorsFor } from "./processors.js";
import type { Chunk, FinishReason, Timing, TokenLogprob } from "./results.js";
import { makeSampler, type Sampler } from "./sampler.js";
import { StopStrings } from "./stopping.js";
import type { Tokenizer } from "./tokenizer.js";

/** One text to go on with. */
export interface Request {
  /** [T], T ≥ 1. */
  readonly tokenIds: readonly number[];
  readonly adapter: Adapter | null;
  readonly options: Resolved;
}

/** The same for result `number` of the text, with a seed of its own. */
export function sampleOf(request: Request, number: number): Request {
  const { options } = request;
  return { ...request, options: { ...options, seed: (options.seed + number) % 2 ** 32 } };
}

/** One row on its way: takes logits, gives chunks. */
export class Progress {
  /** To be fed next. */
  lastToken = 0;
  readonly #options: Resolved;
  readonly #endIds: readonly number[];
  readonly #started: number;
  readonly #processors: Processor[];
  readonly #sample: Sampler;
  readonly #detokenizer: Detokenizer;
  readonly #stops: StopStrings;
  readonly #newIds: number[] = [];
  #firstAt = 0;
  /** Of the new tokens that have not gone out. */
  #logprobs: TokenLogprob[] = [];
  /** Tokens chosen, an end token included. */
  #taken = 0;
  /** How many of the new tokens have gone out. */
  #sent = 0;

  constructor(request: Request, tokenizer: Tokenizer, endIds: readonly number[], started: number) {
    const { options, tokenIds } = request;
    this.#options = options;
    this.#endIds = endIds;
    this.#started = started;
    this.#processors = processorsFor(options, tokenIds, endIds);
    this.#sample = makeSampler(options.temperature, options, options.seed);
    this.#detokenizer = new Detokenizer((ids) => tokenizer.decode(ids));
    this.#stops = new StopStrings(options.stop);
  }

  /**
   * The chunk that one more token from logits [V] makes; null where its text is not certain yet.
   *
   * A chunk with a finish reason is the last. `logits` may be written to.
   */
  take(logits: Float32Array): Chunk | null {
    const { logprobs, maxNewTokens } = this.#options;
    const own = logprobs !== null && this.#processors.length ? logits.slice() : logits;
    for (const process of this.#processors) process(logits, this.#newIds);
    const token = (this.lastToken = this.#sample(logits));
    this.#taken++;
    this.#firstAt ||= performance.now();
    if (this.#endIds.includes(token)) return this.#finished("eos", "");
    this.#newIds.push(token);
    if (logprobs !== null) this.#logprobs.push(tokenLogprob(own, token, logprobs));
    const [text, stopped] = this.#stops.push(this.#detokenizer.push(token));
    if (stopped) return this.#finished("stop", text);
    if (this.#newIds.length === maxNewTokens) return this.#finished("length", text);
    return text ? this.#chunk(text, null, null) : null;
  }

  /** The last chunk, of a row that goes no further. */
  ended(reason: FinishReason): Chunk {
    return this.#finished(reason, "");
  }

  #finished(reason: FinishReason, text: string): Chunk {
    const now = performance.now();
    this.#firstAt ||= now;
    if (reason !== "stop") {
      const [rest, stopped] = this.#stops.push(this.#detokenizer.end());
      text += stopped ? rest : rest + this.#stops.end();
      if (stopped) reason = "stop";
    }
    const laterTokens = this.#taken - 1;
    const seconds = (now - this.#firstAt) / 1000;
    const tokensPerSecond = laterTokens > 0 && seconds > 0 ? laterTokens / seconds : 0;
    return this.#chunk(text, reason, { firstTokenMs: this.#firstAt - this.#started, tokensPerSecond });
  }

  #chunk(text: string, finishReason: FinishReason | null, timing: Timing | null): Chunk {
    const tokenIds = this.#newIds.slice(this.#sent);
    this.#sent = this.#newIds.length;
    const logprobs = this.#options.logprobs === null ? null : this.#logprobs;
    this.#logprobs = [];
    return { text, tokenIds, finishReason, timing, logprobs, index: 0 };
  }
}
