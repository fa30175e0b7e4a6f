/** The stream of random numbers is the published one, in every language. */

import assert from "node:assert/strict";
import { it } from "node:test";

import { rotated, splitmix32, uniformNumbers, xoshiro128 } from "../dist/randomness.js";

function taken(draw: () => number, count: number): number[] {
  return Array.from({ length: count }, draw);
}

it("xoshiro gives the reference numbers", () => {
  // xoshiro128starstar.c of Blackman and Vigna, version 1.1, from the state {1, 2, 3, 4}
  const expected = [
    11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849, 3729100597, 4258142804,
  ];
  assert.deepEqual(taken(xoshiro128(1, 2, 3, 4), 10), expected);
});

it("streams are those that Python's tests pin", () => {
  const pinned: [number, number[], number[]][] = [
    [0, [0x92ca2f0e, 0x3cd6e3f3, 0x1b147dcc, 0x4c081dbf], [3809008728, 1133695204, 53579671, 2891528803]],
    [1, [0x96a0f96b, 0x12bc8390, 0x971e9964, 0x79adc7e7], [2442144158, 3238099751, 3819917871, 2104621829]],
    [42, [0x3805ea2c, 0xeb5cd984, 0x1327aacb, 0xc5ba443d], [2837322924, 544945897, 479756282, 3500138142]],
  ];
  for (const [seed, words, integers] of pinned) {
    assert.deepEqual(taken(splitmix32(seed), 4), words);
    assert.deepEqual(taken(xoshiro128(...(words as [number, number, number, number])), 4), integers);
    assert.deepEqual(taken(uniformNumbers(seed), 4), integers.map((n) => n / 2 ** 32));
  }
});

it("a seed counts modulo two to the 32", () => {
  assert.deepEqual(taken(uniformNumbers(5), 3), taken(uniformNumbers(5 + 2 ** 32), 3));
});

it("rotating keeps 32 bits", () => {
  assert.equal(rotated(0x80000001, 1), 3);
});
