/** JSON from somebody else: bounded in length and depth, each key once. */

import { isObject, type Json } from "./checked.js";

/** Of one text. */
const MOST_BYTES = 2 ** 21;

/** The object in a text, or its bytes; throws an Error for what is none, too long or too deep, or says a key twice. */
export function objectFrom(data: unknown): Json {
  if ((data as string).length > MOST_BYTES) throw new Error("too long");
  const text = typeof data === "string" ? data : new TextDecoder("utf-8", { fatal: true }).decode(data as Uint8Array);
  // the value itself counts as one
  let keys = -1;
  // walks through all of it, and fails where it is too deep
  const value: unknown = JSON.parse(text, function (this: unknown, _, x) {
    if (!Array.isArray(this)) keys++;
    return x;
  });
  // there is a colon behind each key, and none elsewhere but in strings
  if (text.replace(/"(\\.|[^"\\]+)*"/g, "").split(":").length - 1 !== keys) throw new Error("a key twice");
  if (!isObject(value)) throw new Error("no object");
  return value;
}
