/** What each option of a generation may hold: kinds and ranges. */

import { InputError, OptionError } from "./errors.js";
import type { GenerationOptions } from "./options.js";
import { shown } from "./shown.js";

/** Whole numbers, each with the least that it may be. */
const WHOLE = { maxNewTokens: 1, minNewTokens: 0, topK: 1, seed: 0, n: 1, logprobs: 0 } as const;

const ANY = () => true;
/** Numbers, each with the range that it lies in. */
const NUMBERS = {
  temperature: ["0 or more", (x: number) => x >= 0],
  topP: ["above 0 and at most 1", (x: number) => x > 0 && x <= 1],
  minP: ["0 to 1", (x: number) => x >= 0 && x <= 1],
  repetitionPenalty: ["above 0", (x: number) => x > 0],
  presencePenalty: ["finite", ANY],
  frequencyPenalty: ["finite", ANY],
  maxTimeS: ["above 0", (x: number) => x > 0],
} as const;

/** Throws InputError for a value of another kind, OptionError for one out of its range, each naming the option. */
export function checkRanges(options: GenerationOptions): void {
  for (const name of ["minNewTokens", "n"] as const) {
    if (options[name] === null) throw new InputError(`${name}: is null. Pass a number, or leave it out.`);
  }
  for (const name of Object.keys(WHOLE) as (keyof typeof WHOLE)[]) checkWhole(name, options[name], WHOLE[name]);
  for (const name of Object.keys(NUMBERS) as (keyof typeof NUMBERS)[]) checkNumber(name, options[name]);
  const { stop, logitBias, signal, onChunk } = options;
  if (stop != null && typeof stop !== "string" && !Array.isArray(stop)) {
    throw new InputError(`stop: is ${shown(stop)}. Pass a string or a list of strings.`);
  }
  if (stop != null && ![stop].flat().every((s) => typeof s === "string" && s)) {
    throw new OptionError(`stop: is ${shown(stop)}. Pass a string or a list of strings.`);
  }
  if (logitBias != null) checkBias(logitBias);
  if (signal != null && typeof signal.aborted !== "boolean") {
    throw new InputError(`signal: is ${shown(signal)}. Pass the signal of an AbortController.`);
  }
  if (onChunk != null && typeof onChunk !== "function") {
    throw new InputError(`onChunk: is ${shown(onChunk)}. Pass a function that takes a chunk.`);
  }
}

/** `value` is absent or a whole number of at least `least`. */
export function checkWhole(name: string, value: unknown, least: number): void {
  if (value == null) return;
  if (!Number.isSafeInteger(value)) throw new InputError(`${name}: is ${shown(value)}. Pass a whole number.`);
  if ((value as number) < least) {
    throw new OptionError(`${name}: is ${value}. Pass a whole number of at least ${least}.`);
  }
}

function checkNumber(name: keyof typeof NUMBERS, value: unknown): void {
  if (value == null) return;
  if (typeof value !== "number") throw new InputError(`${name}: is ${shown(value)}. Pass a number.`);
  const [expected, fits] = NUMBERS[name];
  if (!Number.isFinite(value) || !fits(value)) {
    throw new OptionError(`${name}: is ${value}. Pass a number that is ${expected}.`);
  }
}

/** It is token ids with a number each; −∞ bans a token. */
function checkBias(bias: NonNullable<GenerationOptions["logitBias"]>): void {
  if (typeof bias !== "object" || Array.isArray(bias)) {
    throw new InputError(`logitBias: is ${shown(bias)}. Pass an object of token ids and numbers.`);
  }
  const entries: [unknown, unknown][] = bias instanceof Map ? [...bias] : Object.entries(bias);
  for (const [token, value] of entries) {
    checkWhole("logitBias", typeof token === "string" ? Number(token) : token, 0);
    if (typeof value !== "number") {
      throw new InputError(`logitBias: holds ${shown(value)} for token ${token}. Pass a number.`);
    }
    if (Number.isNaN(value) || value === Infinity) {
      throw new OptionError(
        `logitBias: holds ${value} for token ${token}. Pass a number, or -Infinity to ban it.`,
      );
    }
  }
}
