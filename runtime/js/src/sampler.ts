/**
 * One token from one row of logits.
 *
 * The order of steps is fixed, so that every language draws the same token from the same seed. What `processors` does to
 * the logits comes first; then:
 *
 * 1. candidates in descending order of logit, of equals the lower id first; `topK` keeps the first k
 * 2. weights exp((logit − largest logit) / temperature) in float64; their total is that of all candidates
 * 3. `topP` keeps the shortest beginning whose weights sum to at least topP · total (at least one candidate)
 * 4. `minP` keeps those of them whose weight is at least minP (that of the first is 1)
 * 5. u uniform in [0, 1) from `randomness`: the first kept candidate whose running sum exceeds u · (sum of the kept)
 */

import { uniformNumbers } from "./randomness.js";

/** Logits [V] → token id. */
export type Sampler = (logits: Float32Array) => number;

/** Candidates sorted at first: nearly always enough, and sorting a whole vocabulary costs as much as a small model. */
export const FIRST_LOOK = 256;
/** Groups of logits at least, of each of which the largest bounds from below what has to be sorted. */
const COLUMNS = 1024;

/** How candidates are cut; null: not. */
export interface Cuts {
  readonly topK?: number | null;
  readonly topP?: number | null;
  readonly minP?: number | null;
}

/**
 * A function that draws a token id from logits [V]; it holds the state of its random numbers.
 *
 * Temperature 0 takes the most probable token, of equals the lowest id; nothing is drawn then.
 */
export function makeSampler(temperature: number, cuts: Cuts, seed: number): Sampler {
  if (temperature === 0) return mostProbable;
  const uniform = uniformNumbers(seed);
  return (logits) => drawn(logits, uniform(), temperature, cuts);
}

/** The token id with the largest of logits [V], of equals the lowest. */
export function mostProbable(logits: Float32Array): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i]! > logits[best]!) best = i;
  return best;
}

/** The token id that the number `u` in [0, 1) selects from logits [V]. */
export function drawn(logits: Float32Array, u: number, temperature: number, cuts: Cuts = {}): number {
  const vocabulary = logits.length;
  const { topK = null, topP = null, minP = null } = cuts;
  if (topK !== null && topK < vocabulary) {
    const ids = ranked(logits, topK);
    return ids[selected(weightsOf(logits, ids, temperature), null, u, topP, minP)!]!;
  }
  // where `minP` alone cuts, what lies below does not count
  const needsTotal = FIRST_LOOK < vocabulary && (!minP || (topP !== null && topP < 1));
  const total = needsTotal ? totalWeight(logits, temperature) : 0;
  for (let look = FIRST_LOOK; look < vocabulary; look *= 8) {
    const ids = ranked(logits, look);
    const place = selected(weightsOf(logits, ids, temperature), total, u, topP, minP);
    if (place !== null) return ids[place]!;
  }
  const ids = ranked(logits, vocabulary);
  return ids[selected(weightsOf(logits, ids, temperature), null, u, topP, minP)!]!;
}

/** The ids of the `count` largest logits, descending, of equals the lower id first. */
export function ranked(logits: Float32Array, count: number): number[] {
  const least = count < logits.length ? bound(logits, count) : -Infinity;
  const ids: number[] = [];
  for (let i = 0; i < logits.length; i++) if (logits[i]! >= least) ids.push(i);
  // equal infinities have no difference
  return ids.sort((a, b) => (logits[a] === logits[b] ? a - b : logits[b]! - logits[a]!)).slice(0, count);
}

/** A number that at least `count` of the logits [V] reach, and few more than those. */
function bound(logits: Float32Array, count: number): number {
  const columns = Math.max(COLUMNS, 4 * count);
  if (logits.length < 2 * columns) return logits.slice().sort()[logits.length - count]!;
  const largest = logits.slice(0, columns);
  for (let i = columns, column = 0; i < logits.length; i++) {
    if (logits[i]! > largest[column]!) largest[column] = logits[i]!;
    if (++column === columns) column = 0;
  }
  // that many groups have one logit each that reaches it
  return largest.sort()[columns - count]!;
}

function totalWeight(logits: Float32Array, temperature: number): number {
  const peak = logits[mostProbable(logits)]!;
  let total = 0;
  for (const x of logits) total += Math.exp((x - peak) / temperature);
  return total;
}

/** Of the candidates `ids`, the most probable first. */
function weightsOf(logits: Float32Array, ids: readonly number[], temperature: number): Float64Array {
  const peak = logits[ids[0]!]!;
  return Float64Array.from(ids, (id) => Math.exp((logits[id]! - peak) / temperature));
}

/**
 * Place of the selected candidate, or null where `weights` are a beginning that does not reach that far.
 *
 * `total` is that of all candidates; null where `weights` are all of them.
 */
function selected(
  weights: Float64Array,
  total: number | null,
  u: number,
  topP: number | null,
  minP: number | null,
): number | null {
  const sums = runningSums(weights);
  const whole = total === null;
  let last = sums.length - 1;
  let everything = total ?? sums[last]!;
  let cut = false;
  if (topP !== null && topP < 1) {
    const end = firstWhere(sums, (sum) => sum >= topP * everything);
    if (end > last && !(whole || minP)) return null;
    cut = end <= last;
    last = Math.min(end, last);
  }
  if (minP) {
    const end = firstWhere(weights, (weight) => weight < minP) - 1;
    cut ||= end < sums.length - 1;
    last = Math.min(end, last);
  }
  if (cut || whole) everything = sums[last]!;
  else if (minP) return null;
  const place = firstWhere(sums, (sum) => sum > u * everything);
  if (place <= last) return place;
  return cut || whole ? last : null;
}

function runningSums(weights: Float64Array): Float64Array {
  let sum = 0;
  return weights.map((weight) => (sum += weight));
}

/** The first place whose value fits, or the length where none does. */
function firstWhere(values: Float64Array, fits: (value: number) => boolean): number {
  const place = values.findIndex(fits);
  return place < 0 ? values.length : place;
}
