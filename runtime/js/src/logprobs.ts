/** Log-probabilities of tokens. */

import type { TokenLogprob } from "./results.js";
import { mostProbable, ranked } from "./sampler.js";

/** Of one token under logits [V], with those of the `count` most probable ones; computed in float64. */
export function tokenLogprob(logits: Float32Array, tokenId: number, count: number): TokenLogprob {
  const total = logTotal(logits);
  const top = count ? ranked(logits, Math.min(count, logits.length)) : [];
  return {
    tokenId,
    logprob: logits[tokenId]! - total,
    top: new Map(top.map((id) => [id, logits[id]! - total])),
  };
}

/** The logarithm of the sum of exp(logits [V]). */
function logTotal(logits: Float32Array): number {
  const peak = logits[mostProbable(logits)]!;
  let sum = 0;
  for (const x of logits) sum += Math.exp(x - peak);
  return peak + Math.log(sum);
}
