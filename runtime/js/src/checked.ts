/** Fields of a JSON object, each read with the type that the format gives it. */

import { EdgetuneError } from "./errors.js";
import { listed, shown } from "./shown.js";

/** Any object of JSON. */
export type Json = Record<string, unknown>;

/** Whether it is an object of JSON, neither a list nor null. */
export function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** One JSON object; `where` (a file, then a path of keys) and the error to throw go with it. */
export class Fields {
  constructor(
    readonly data: Json,
    readonly where: string,
    readonly error: new (message: string) => EdgetuneError,
  ) {}

  /** The error that says what `key` holds instead of what was expected. */
  fail(key: string, expected: string): EdgetuneError {
    return new this.error(
      `${this.where}: \`${key}\` should be ${expected}, and holds ${this.#shown(key)}. Export it again.`,
    );
  }

  #shown(key: string): string {
    return shown(this.has(key) ? this.data[key] : undefined);
  }

  /** Whether `key` is there, be it null. */
  has(key: string): boolean {
    return Object.hasOwn(this.data, key);
  }

  /** Whether `key` is absent or null. */
  isEmpty(key: string): boolean {
    return !this.has(key) || this.data[key] === null;
  }

  /** `key` holds `value`; a format or a version that this runtime knows. */
  exactly(key: string, value: string | number): void {
    if (this.has(key) && this.data[key] === value) return;
    throw new this.error(
      `${this.where}: \`${key}\` is ${this.#shown(key)}, and this runtime reads ` +
        `${shown(value)}. Update edgetune-runtime, or export again.`,
    );
  }

  /** Whatever `key` holds; an absent key is an error. */
  value(key: string): unknown {
    if (!this.has(key)) throw this.fail(key, "there");
    return this.data[key];
  }

  /** A string; `fallback` where it is absent. */
  text(key: string, fallback?: string): string {
    const found = !this.has(key) && fallback !== undefined ? fallback : this.value(key);
    if (typeof found !== "string") throw this.fail(key, "a string");
    return found;
  }

  /** A string, or null where it is null or absent. */
  optionalText(key: string): string | null {
    return this.isEmpty(key) ? null : this.text(key);
  }

  /** One of a few strings; the first of them where `key` is absent and may be. */
  oneOf<T extends string>(key: string, choices: readonly T[], mayBeAbsent = false): T {
    if (mayBeAbsent && !this.has(key)) return choices[0]!;
    const found = this.text(key) as T;
    if (!choices.includes(found)) throw this.fail(key, `one of ${listed(choices)} (a newer runtime may know others)`);
    return found;
  }

  /** A whole number, 0 or more; `fallback` where it is absent. */
  whole(key: string, fallback?: number): number {
    const found = !this.has(key) && fallback !== undefined ? fallback : this.value(key);
    if (!isWhole(found)) throw this.fail(key, "a whole number");
    return found;
  }

  /** A whole number, 1 or more. */
  positive(key: string): number {
    const found = this.whole(key);
    if (found < 1) throw this.fail(key, "a positive number");
    return found;
  }

  /** A whole number, or null where it is null or absent. */
  optionalWhole(key: string): number | null {
    return this.isEmpty(key) ? null : this.whole(key);
  }

  /** A finite number, or null where it is null or absent. */
  optionalNumber(key: string): number | null {
    if (this.isEmpty(key)) return null;
    const found = this.data[key];
    if (typeof found !== "number" || !Number.isFinite(found)) throw this.fail(key, "a number");
    return found;
  }

  /** True or false; false where it is absent. */
  flag(key: string): boolean {
    const found = this.has(key) ? this.data[key] : false;
    if (typeof found !== "boolean") throw this.fail(key, "true or false");
    return found;
  }

  /** A list of whole numbers; empty where it is null or absent. */
  wholes(key: string): number[] {
    return this.#list(key, "whole numbers", isWhole);
  }

  /** A list of lists of whole numbers, none of them empty; empty where it is null or absent. */
  listsOfWholes(key: string): number[][] {
    const fits = (part: unknown) => Array.isArray(part) && part.length > 0 && part.every(isWhole);
    return this.#list(key, "lists of whole numbers", fits);
  }

  /** A list of strings; empty where it is null or absent. */
  texts(key: string): string[] {
    return this.#list(key, "strings", (x) => typeof x === "string");
  }

  #list(key: string, of: string, fits: (part: unknown) => boolean, isThere = !this.isEmpty(key)): any[] {
    const found = isThere ? this.value(key) : [];
    if (!Array.isArray(found) || !found.every(fits)) throw this.fail(key, `a list of ${of}`);
    return found;
  }

  /** An object; its own errors name the key as well. */
  object(key: string): Fields {
    const found = this.value(key);
    if (!isObject(found)) throw this.fail(key, "an object");
    return new Fields(found, `${this.where}: ${key}`, this.error);
  }

  /** The objects of an object, by their keys, in order. */
  objects(key: string): [string, Fields][] {
    const inner = this.object(key);
    return Object.keys(inner.data).map((name) => [name, inner.object(name)]);
  }

  /** A list of objects. */
  listOfObjects(key: string): Fields[] {
    return this.#list(key, "objects", isObject, true).map((x, i) => new Fields(x, `${this.where}: ${key}[${i}]`, this.error));
  }
}

/** Whether it is a whole number, 0 or more. */
export function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
