/**
 * Control tokens, such as `<|im_end|>`, and the same characters where somebody merely typed them.
 *
 * A text that holds typed ones is read by a second tokenizer, in which the control tokens have secret names: what is left
 * of the old ones are characters. What a bundle's template writes is given the secret names beforehand.
 */

import { Tokenizer as Inner } from "@huggingface/tokenizers";

/** Digits that nobody can guess, drawn anew in each process. */
export const SECRET = crypto.getRandomValues(new Uint32Array(2)).join("");

/** Those that a tokenizer's file calls special. */
export class ControlTokens {
  /** Longer ones first. */
  readonly names: readonly string[];
  readonly #known: Set<string>;
  #second: Inner | undefined;

  /** `json` gives what `tokenizer.json` says, anew each time. */
  constructor(
    private readonly inner: Inner,
    private readonly json: () => any,
  ) {
    const special: string[] = inner.added_tokens.filter((x: any) => x.special && x.content).map((x: any) => x.content);
    this.names = special.sort((a, b) => b.length - a.length);
    this.#known = new Set(special);
  }

  /** Whether the text holds any. What stands for unknown characters is one only where its name is in the text. */
  areIn(text: string, found = tokens(this.inner, text)): boolean {
    const unknown = this.inner.model.unk_token;
    return found.some((x) => this.#known.has(x) && (x !== unknown || text.includes(x)));
  }

  /** The text's control tokens by their secret names. */
  named(text: string): string {
    return text.replace(new RegExp(this.names.map(escaped).join("|"), "g"), (x) => SECRET + x);
  }

  /** The tokens of a text; with secret names in it they alone control. */
  tokens(text: string, splits: boolean): string[] {
    const found = tokens(this.inner, text);
    if (!text.includes(SECRET) && !(splits && this.areIn(text, found))) return found;
    return tokens((this.#second ??= this.#apart()), text).map((x) => x.replace(SECRET, ""));
  }

  #apart(): Inner {
    const json = this.json();
    const { vocab, merges } = json.model;
    const rename = (thing: any, key: string | number) => {
      if (this.#known.has(thing[key])) thing[key] = SECRET + thing[key];
    };
    for (const token of json.added_tokens) rename(token, "content");
    if (Array.isArray(vocab)) for (const piece of vocab) rename(piece, 0);
    else for (const name of this.names) delete vocab[name];
    // a token that two others make is one of its pieces' no more
    json.model.merges = merges?.filter((pair: unknown) => !this.#known.has(String(pair).replace(/[ ,]/, "")));
    return new Inner(json, {});
  }
}

function tokens(inner: Inner, text: string): string[] {
  return inner.tokenize(text, { add_special_tokens: false });
}

/** Characters for a regular expression. */
export function escaped(text: string): string {
  return text.replace(/\W/g, "\\$&");
}
