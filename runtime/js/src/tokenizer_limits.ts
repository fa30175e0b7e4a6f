/** What a tokenizer's file may make of a text. */

/** How many times as long a text may become before it is tokenised. */
const MOST_GROWTH = 64;
/** Characters that may be put in front of it. */
const MOST_ADDED = 1000;

/** Throws an Error where replacements, one behind the other, make a short text a huge one. */
export function checkGrowth({ normalizer, decoder }: any): void {
  let [growth, added] = [1, 0];
  // walks through all of it
  JSON.stringify([normalizer, decoder], (_, rule) => {
    const { type, pattern, content, prepend } = rule ?? {};
    if (type === "Replace") {
      // what a regular expression matches may have one character, or none
      growth *= Math.max(1, content.length / (pattern.String === undefined ? 0.5 : pattern.String.length || 1));
    }
    if (type === "Prepend") added += prepend.length;
    return rule;
  });
  if (growth > MOST_GROWTH || added > MOST_ADDED) throw new Error("makes texts huge");
}
