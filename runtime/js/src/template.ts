/** Templates of classifiers that answer with words: the text filled in. */

export const TEXT = "{text}";
export const PAIR = "{text_pair}";
export const MASK = "{mask}";
const PLACES = /\{text\}|\{text_pair\}|\{mask\}/g;

/** The template with its places taken; what the texts hold is left alone, but for mask tokens, which they lose. */
export function filled(template: string, text: string, pair = "", mask = ""): string {
  const told = (part: string) => (mask ? part.replaceAll(mask, "") : part);
  const taken: Record<string, string> = { [TEXT]: told(text), [PAIR]: told(pair), [MASK]: mask };
  return template.replace(PLACES, (place) => taken[place]!);
}
