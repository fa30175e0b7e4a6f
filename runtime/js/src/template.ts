/** Templates of classifiers that answer with words: the text filled in. */

export const TEXT = "{text}";
export const PAIR = "{text_pair}";
export const MASK = "{mask}";
const PLACES = /\{text\}|\{text_pair\}|\{mask\}/g;

/** The template with its places taken; what the texts hold is left alone. */
export function filled(template: string, text: string, pair: string, mask: string): string {
  const taken: Record<string, string> = { [TEXT]: text, [PAIR]: pair, [MASK]: mask };
  return template.replace(PLACES, (place) => taken[place]!);
}
