/** Classification with a decoder: the scores of label words among the next token's (Schick & Schütze 2021). */

import { type Classifier, type EncoderRow, inGroups } from "./encoder.js";
import type { Decoder } from "./engine.js";
import { MAX_ROWS } from "./generation.js";

/** A decoder that answers as `Encoder` does. */
export class WordClassifier implements Classifier {
  constructor(private readonly decoder: Decoder) {}

  /** Of each label the mean of its words' logits after the row's last token; rows run together, at most 16. */
  classLogits(rows: readonly EncoderRow[]): Promise<Float32Array[]> {
    return inGroups(rows, MAX_ROWS, async (group) => {
      const [logits] = await this.decoder.prefill(
        group.map((row) => row.tokenIds),
        group.map((row) => row.adapter),
      );
      return group.map(({ adapter }, r) =>
        Float32Array.from(adapter.metadata.labelWords, (words) => {
          const sum = words.reduce((total, token) => total + logits[r]![token]!, 0);
          return sum / words.length;
        }),
      );
    });
  }
}
