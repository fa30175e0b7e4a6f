/**
 * What is done to a row's logits before a token is chosen: one small function for each option.
 *
 * A processor takes logits [V], float32, and the new tokens so far, and writes to the logits. They run in this order in
 * every language, each in float32:
 *
 * 1. `repetitionPenalty` r: of each token of the prompt and the new ones, a logit below 0 times r, another divided by r
 * 2. `frequencyPenalty` and `presencePenalty`: logit − frequency · count − presence, of each of the new tokens
 * 3. `logitBias`: added
 * 4. end tokens while there are fewer than `minNewTokens`: −∞
 *
 * What a row does not ask for is not in its list.
 */

import type { Resolved } from "./options.js";

/** Logits [V] and the new tokens so far; it writes to the logits. */
export type Processor = (logits: Float32Array, newIds: readonly number[]) => void;

/** The processors of one row with the prompt [T], in their order; they hold state, and are this row's alone. */
export function processorsFor(options: Resolved, prompt: readonly number[], endIds: readonly number[]): Processor[] {
  const found: Processor[] = [];
  const { repetitionPenalty: repetition, presencePenalty: presence, frequencyPenalty: frequency } = options;
  if (repetition !== null && repetition !== 1) found.push(repetitionPenalty(repetition, prompt));
  if (presence || frequency) found.push(newTokenPenalties(presence ?? 0, frequency ?? 0));
  if (options.logitBias.size) found.push(logitBias(options.logitBias));
  if (options.minNewTokens && endIds.length) found.push(noEndBefore(options.minNewTokens, endIds));
  return found;
}

/** Tokens that the text has already, prompt included, become less probable (Keskar et al. 2019, "CTRL"). */
export function repetitionPenalty(penalty: number, prompt: readonly number[]): Processor {
  const factor = Math.fround(penalty);
  const seen = new Set(prompt);
  let lookedAt = 0;
  return (logits, newIds) => {
    for (; lookedAt < newIds.length; lookedAt++) seen.add(newIds[lookedAt]!);
    for (const id of seen) logits[id] = logits[id]! < 0 ? logits[id]! * factor : logits[id]! / factor;
  };
}

/** Tokens become less probable with every time that they are among the new ones (OpenAI's definition). */
export function newTokenPenalties(presence: number, frequency: number): Processor {
  const counts = new Map<number, number>();
  const [once, each] = [Math.fround(presence), Math.fround(frequency)];
  let lookedAt = 0;
  return (logits, newIds) => {
    for (; lookedAt < newIds.length; lookedAt++) {
      counts.set(newIds[lookedAt]!, (counts.get(newIds[lookedAt]!) ?? 0) + 1);
    }
    for (const [id, times] of counts) logits[id] = logits[id]! - Math.fround(Math.fround(times * each) + once);
  };
}

/** Each token's number is added to its logit. */
export function logitBias(bias: ReadonlyMap<number, number>): Processor {
  return (logits) => {
    for (const [id, value] of bias) logits[id] = logits[id]! + Math.fround(value);
  };
}

/** No end token is chosen while there are fewer new ones than `count`. */
export function noEndBefore(count: number, endIds: readonly number[]): Processor {
  return (logits, newIds) => {
    if (newIds.length < count) for (const id of endIds) logits[id] = -Infinity;
  };
}
