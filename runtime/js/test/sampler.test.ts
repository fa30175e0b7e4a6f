/** A seed draws the token that the plain rules draw. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { uniformNumbers } from "../dist/randomness.js";
import { type Cuts, drawn, FIRST_LOOK, makeSampler, mostProbable, ranked } from "../dist/sampler.js";

function logitsOf(...probabilities: number[]): Float32Array {
  return Float32Array.from(probabilities, Math.log);
}

/** The rules of `sampler.ts` without any short cut. */
function plainlyDrawn(logits: Float32Array, u: number, temperature: number, { topK, topP, minP }: Cuts): number {
  const order = [...logits.keys()].sort((a, b) => logits[b]! - logits[a]! || a - b).slice(0, topK ?? undefined);
  const peak = Math.max(...logits);
  const weights = order.map((i) => Math.exp((logits[i]! - peak) / temperature));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  let running = 0;
  let kept: number[] = [];
  for (const weight of weights) {
    kept.push((running += weight));
    if (topP != null && running >= topP * total) break;
  }
  if (minP != null) kept = kept.filter((_, i) => weights[i]! >= minP);
  return order[kept.findIndex((sum) => sum > u * kept.at(-1)!)]!;
}

it("temperature zero takes the lowest of equal tokens", () => {
  const logits = Float32Array.of(0, 3, 1, 3);
  assert.equal(makeSampler(0, {}, 0)(logits), 1);
  assert.equal(mostProbable(logits), 1);
});

it("draws are those worked by hand", () => {
  const logits = logitsOf(0.2, 0.5, 0.3); // descending: 1, 2, 0 with running sums 0.5, 0.8, 1.0
  const all = (us: number[], temperature: number, cuts: Cuts = {}) =>
    us.map((u) => drawn(logits, u, temperature, cuts));
  assert.deepEqual(all([0, 0.49, 0.51, 0.79, 0.81, 0.999], 1), [1, 1, 2, 2, 0, 0]);
  // topP 0.7 keeps 1 and 2, whose running sums are then 0.625 and 1.0 of their own
  assert.deepEqual(all([0.62, 0.63, 0.999], 1, { topP: 0.7 }), [1, 2, 2]);
  assert.deepEqual(all([0, 0.999], 1, { topK: 1 }), [1, 1]);
  // temperature 0.5 squares the probabilities: 0.25, 0.09, 0.04 of 0.38
  assert.deepEqual(all([0.65, 0.67, 0.88, 0.91], 0.5), [1, 2, 2, 0]);
});

it("first draws of a seed are those that Python's tests pin", () => {
  const sample = makeSampler(1, {}, 42);
  const logits = logitsOf(0.1, 0.2, 0.3, 0.4);
  assert.deepEqual([1, 2, 3, 4].map(() => sample(logits)), [2, 3, 3, 1]);
});

it("of equal tokens at the edge of topK the lower ids stay", () => {
  assert.deepEqual(ranked(Float32Array.of(1, 2, 2, 2, 0), 2), [1, 2]);
});

it("masked tokens are never drawn", () => {
  const logits = new Float32Array(1000).fill(-Infinity);
  logits[17] = logits[900] = 0;
  const sample = makeSampler(1, {}, 1);
  assert.deepEqual(new Set(Array.from({ length: 100 }, () => sample(logits))), new Set([17, 900]));
});

it("a small temperature is nearly greedy and does not overflow", () => {
  assert.equal(drawn(Float32Array.of(80, 90, -90), 0.999, 1e-6), 1);
});

const EVERY: Cuts[] = [
  {}, { topK: 3 }, { topP: 0.9 }, { topP: 0.3, topK: 300 }, { topP: 1 }, { minP: 0.2 }, { minP: 1e-9 },
  { minP: 0.05, topP: 0.6 }, { minP: 0.5, topK: 20 }, { minP: 1e-3, topP: 0.999 }, { minP: 1 },
]; // prettier-ignore

describe("short cuts draw what the plain rules draw", () => {
  for (const size of [5, FIRST_LOOK, FIRST_LOOK + 1, 1500, 5000]) {
    it(`of ${size} tokens`, () => {
      const uniform = uniformNumbers(size);
      for (const spread of [0.01, 1, 8]) {
        for (const cuts of EVERY) {
          for (const temperature of [0.3, 1, 2.5]) {
            // the sum of four is nearly normal; rounded: with many equals
            const normal = () => uniform() + uniform() + uniform() + uniform() - 2;
            const logits = Float32Array.from({ length: size }, () => Math.round(normal() * spread * 200) / 100);
            const u = uniform();
            const found = drawn(logits, u, temperature, cuts);
            assert.equal(found, plainlyDrawn(logits, u, temperature, cuts), JSON.stringify({ cuts, temperature, u }));
          }
        }
      }
    });
  }
});

it("tokens come as often as their probabilities say", () => {
  const probabilities = [0.05, 0.4, 0.25, 0.1, 0.2];
  const sample = makeSampler(1, {}, 3);
  const logits = logitsOf(...probabilities);
  const count = 20000;
  const seen = new Array<number>(5).fill(0);
  for (let i = 0; i < count; i++) seen[sample(logits)]!++;
  probabilities.forEach((p, i) => assert.ok(Math.abs(seen[i]! / count - p) < 4 * Math.sqrt(0.25 / count)));
});
