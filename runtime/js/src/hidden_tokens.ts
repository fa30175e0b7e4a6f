/** Control tokens that users typed into messages, hidden while a template writes its own around them. */

import { type ControlTokens, escaped, SECRET } from "./control_tokens.js";

/** Hidden UTF-16 units: characters of the last plane behind the secret. */
const FIRST = 0x100000;
const HIDDEN = new RegExp(SECRET + "([\\u{100000}-\\u{10ffff}]+)", "gu");

/** `text` without visible control tokens; what a tokenizer takes for one all the same hides the whole of it. */
export function hidden(control: ControlTokens, text: string): string {
  // beside whole names what may become one with what stands behind the text
  const open = control.names.map((name) => name.split("").reduceRight((rest, c) => `${escaped(c)}(?:${rest}|$)`, ""));
  const found = text.replace(new RegExp([...control.names.map(escaped), ...open, "(?!)"].join("|"), "g"), masked);
  return control.areIn(found) ? masked(text) : found;
}

/**
 * What a template made of hidden texts, for a tokenizer: the template's control tokens by their secret names, and whether
 * something was hidden, so that others do not control.
 */
export function unhidden(control: ControlTokens, text: string): [text: string, splits: boolean] {
  if (!text.includes(SECRET)) return [text, false];
  const shown = control.named(text).replace(HIDDEN, (_, held: string) =>
    held.replace(/./gu, (c) => String.fromCharCode(c.codePointAt(0)! - FIRST)),
  );
  return [shown, true];
}

function masked(text: string): string {
  return SECRET + text.replace(/[^]/g, (c) => String.fromCodePoint(FIRST + c.charCodeAt(0)));
}
