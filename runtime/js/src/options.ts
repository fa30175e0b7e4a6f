/** The options of a generation, resolved: the call's own, else the task's, else the built-in ones. */

import type { GenerationDefaults } from "./adapter_metadata.js";
import { ContextLengthError, InputError, OptionError } from "./errors.js";
import { checkRanges } from "./option_checks.js";
import { freshSeed } from "./randomness.js";
import type { Chunk } from "./results.js";
import { shown } from "./shown.js";

export const DEFAULT_MAX_NEW_TOKENS = 256;

/** What `generate` and `stream` take by name; what is left out is the task's own, else the built-in one. */
export interface GenerationOptions {
  /** Built-in: 256, or as many as fit. */
  readonly maxNewTokens?: number | null | undefined;
  /** End tokens are not chosen before there are this many new ones. */
  readonly minNewTokens?: number | undefined;
  /** Built-in: 0, the most probable token. */
  readonly temperature?: number | null | undefined;
  /** Tokens are drawn from the k most probable. */
  readonly topK?: number | null | undefined;
  /** Tokens are drawn from the fewest most probable ones whose probabilities sum to this much. */
  readonly topP?: number | null | undefined;
  /** Tokens are drawn from those at least this much as probable as the most probable one. */
  readonly minP?: number | null | undefined;
  /** Logits of tokens of the text so far, prompt included, are divided by this where positive, else multiplied. */
  readonly repetitionPenalty?: number | null | undefined;
  /** Taken off the logit of each token that is among the new ones. */
  readonly presencePenalty?: number | null | undefined;
  /** Taken off the logit of a token as many times as it is among the new ones. */
  readonly frequencyPenalty?: number | null | undefined;
  /** Token id → what is added to its logit; −∞ bans it. A map, or an object whose keys are ids. */
  readonly logitBias?: ReadonlyMap<number, number> | Readonly<Record<number, number>> | null | undefined;
  /** Left out: a fresh one. Result i of text r of a list is drawn with seed + r · n + i. */
  readonly seed?: number | null | undefined;
  /** Results of each text. The text is computed once. */
  readonly n?: number | undefined;
  /** The text ends before the first of these strings. */
  readonly stop?: string | readonly string[] | null | undefined;
  /** Seconds after the call's start from which no step begins; what there is by then is returned. */
  readonly maxTimeS?: number | null | undefined;
  /** Once it is aborted no step begins; what there is by then is returned, as `"cancelled"`. */
  readonly signal?: AbortSignal | null | undefined;
  /** Called with each chunk as soon as there is one. */
  readonly onChunk?: ((chunk: Chunk) => unknown) | null | undefined;
  /** Each token's log-probability is returned, with this many of the most probable tokens'; 0: its own alone. */
  readonly logprobs?: number | null | undefined;
}

/** What a caller asked for, in range; null: the task's default, else the built-in one. */
export interface Options {
  readonly maxNewTokens: number | null;
  readonly minNewTokens: number;
  readonly temperature: number | null;
  readonly topK: number | null;
  readonly topP: number | null;
  readonly minP: number | null;
  readonly repetitionPenalty: number | null;
  readonly presencePenalty: number | null;
  readonly frequencyPenalty: number | null;
  readonly logitBias: ReadonlyMap<number, number>;
  readonly seed: number;
  readonly n: number;
  readonly stop: readonly string[] | null;
  readonly maxTimeS: number | null;
  readonly signal: AbortSignal | null;
  readonly onChunk: ((chunk: Chunk) => unknown) | null;
  readonly logprobs: number | null;
}

/** Options of one row, complete and in range. */
export interface Resolved extends Options {
  readonly maxNewTokens: number;
  readonly temperature: number;
  readonly stop: readonly string[];
}

const NAMES = [
  "maxNewTokens", "minNewTokens", "temperature", "topK", "topP", "minP", "repetitionPenalty", "presencePenalty",
  "frequencyPenalty", "logitBias", "seed", "n", "stop", "maxTimeS", "signal", "onChunk", "logprobs",
] as const; // prettier-ignore

/**
 * Options by name, in range; names among `others` are not looked at.
 *
 * Throws InputError for an option that there is not and for a value of another kind, OptionError for one out of its
 * range; each names the option.
 */
export function optionsFrom(given: GenerationOptions, others: readonly string[] = []): Options {
  for (const name of Object.keys(given)) {
    if (!NAMES.includes(name as never) && !others.includes(name)) throw unknownOption(name);
  }
  checkRanges(given);
  const { stop } = given;
  return {
    ...(Object.fromEntries(NAMES.map((name) => [name, given[name] ?? null])) as unknown as Options),
    minNewTokens: given.minNewTokens ?? 0,
    logitBias: biasFrom(given.logitBias ?? {}),
    seed: given.seed ?? freshSeed(),
    n: given.n ?? 1,
    stop: typeof stop === "string" ? [stop] : (stop ?? null),
  };
}

function unknownOption(name: string): InputError {
  const plain = (text: string) => text.replaceAll("_", "").toLowerCase();
  const near = NAMES.find((known) => plain(known) === plain(name));
  const known = `There are ${NAMES.join(", ")} here; the Python runtime has more.`;
  return new InputError(`no option ${shown(name)}. ${near ? `Is it "${near}"?` : known}`);
}

function biasFrom(bias: ReadonlyMap<number, number> | Readonly<Record<number, number>>): Map<number, number> {
  if (bias instanceof Map) return new Map(bias);
  return new Map(Object.entries(bias).map(([id, value]) => [Number(id), value as number]));
}

/**
 * Options of row `row`, whose virtual tokens and text take `used` positions of `maxPositions`.
 *
 * Throws ContextLengthError if they do not fit, naming the numbers.
 */
export function resolved(
  options: Options,
  task: GenerationDefaults,
  row: number,
  used: number,
  maxPositions: number | null,
  where = "the text",
): Resolved {
  const room = maxPositions === null ? Infinity : maxPositions - used;
  if (room < 1) {
    throw new ContextLengthError(
      `${where} takes ${used} positions with its virtual tokens, and the base holds ${maxPositions} with a new token. ` +
        "Shorten the text.",
    );
  }
  let wanted = options.maxNewTokens ?? task.maxNewTokens ?? DEFAULT_MAX_NEW_TOKENS;
  if (wanted > room && options.maxNewTokens !== null) {
    throw new ContextLengthError(
      `${where} takes ${used} positions with its virtual tokens, and the base holds ${maxPositions}. Ask for at most ` +
        `${room} new tokens, or shorten the text.`,
    );
  }
  wanted = Math.max(Math.min(wanted, room), 1);
  if (options.minNewTokens > wanted) {
    throw new OptionError(
      `minNewTokens: ${options.minNewTokens} is more than the ${wanted} new tokens that are allowed.`,
    );
  }
  return {
    ...options,
    maxNewTokens: wanted,
    temperature: options.temperature ?? task.temperature ?? 0,
    topK: (options.topK ?? task.topK) || null,
    topP: options.topP ?? task.topP,
    seed: (options.seed + row * options.n) % 2 ** 32,
    stop: (options.stop ?? task.stop ?? []).filter((s) => s),
  };
}
