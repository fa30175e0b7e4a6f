/** What callers may pass as a text: strings, pairs and token ids, one or many. */

import { InputError } from "./errors.js";
import { shown } from "./shown.js";
import type { Pair } from "./tokenizer.js";

/** Token ids [T]. */
export type TokenIds = readonly number[] | Int32Array | Uint32Array | BigInt64Array;

/** What a caller may pass as one text. */
export type OneText = string | Pair | TokenIds;

/** A name, null for the bare base, left out for the bundle's default; or a list with one of them per text. */
export type AdapterChoice = string | null | undefined;
export type AdapterChoices = AdapterChoice | readonly AdapterChoice[];

/** One text: a string, a pair of strings, or token ids [T]. */
export type Row = string | Pair | readonly number[];

/** The rows in `texts`, and whether it was one text rather than a list of them; throws InputError, saying which is none. */
export function rowsFrom(texts: unknown, pairs: boolean): [rows: Row[], isOne: boolean] {
  const isOne = !Array.isArray(texts) || isTokenIds(texts);
  if (isOne) return [[rowFrom(texts, place(0, true), pairs)], true];
  return [texts.map((text, i) => rowFrom(text, place(i), pairs)), false];
}

/** What a message calls the text at `index`. */
export function place(index: number, isOne = false): string {
  return isOne ? "the text" : `text ${index}`;
}

/** One adapter choice per row; throws InputError if a list of choices is not as long as the list of texts. */
export function adaptersFor(choice: unknown, count: number): AdapterChoice[] {
  const fits = (x: unknown) => typeof x === "string" || x === null || x === undefined;
  if (fits(choice)) return new Array<AdapterChoice>(count).fill(choice as AdapterChoice);
  if (Array.isArray(choice) && choice.every(fits) && choice.length === count) return [...choice];
  throw new InputError(
    `adapter: is ${shown(choice)}. Pass a name, null, or a list of ${count} of them.`,
  );
}

/** Token ids [T]; throws InputError, naming the first that is not of the vocabulary. */
export function checkedTokenIds(tokenIds: readonly number[], vocabSize: number, where: string): readonly number[] {
  const wrong = tokenIds.find((id) => !Number.isSafeInteger(id) || id < 0 || id >= vocabSize);
  if (wrong === undefined) return tokenIds;
  throw new InputError(
    `${where}: token id ${shown(wrong)} is not of the vocabulary of ${vocabSize}. Check the tokenizer.`,
  );
}

/** Whether a row is token ids. */
export function isIds(row: Row): row is readonly number[] {
  return Array.isArray(row);
}

function rowFrom(text: unknown, where: string, pairs: boolean): Row {
  if (typeof text === "string") return text;
  if (isTokenIds(text) || (Array.isArray(text) && !text.length)) return Array.from(text as ArrayLike<number>, Number);
  const { text: first, pair } = (text ?? {}) as Partial<Pair>;
  if (typeof first !== "string" || typeof pair !== "string") {
    throw new InputError(`${where} is ${shown(text)}. Pass a string, token ids${pairs ? ", or {text, pair}" : ""}.`);
  }
  if (!pairs) throw new InputError(`${where} is ${shown(text)}. Only a classifier takes pairs.`);
  return { text: first, pair };
}

function isTokenIds(value: unknown): boolean {
  if (value instanceof Int32Array || value instanceof Uint32Array || value instanceof BigInt64Array) return true;
  return Array.isArray(value) && value.length > 0 && value.every((x) => Number.isInteger(x));
}
