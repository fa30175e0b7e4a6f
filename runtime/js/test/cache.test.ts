/** Rows of a cache become others and go on, and what is in use stays. */

import assert from "node:assert/strict";
import { it } from "node:test";

import { capacityFor, KeyValueCache } from "../dist/cache.js";
import { ContextLengthError } from "../dist/index.js";

const LAYERS = [{ keyValueHeads: 2, headSize: 3 }, { keyValueHeads: 1, headSize: 2 }];

/** One row of the buffers, [1, K, S, D]. */
function rowBuffers(cache: KeyValueCache, row: number) {
  return cache.buffers.map(({ data, dims }) => {
    const size = data.length / dims[0]!;
    return { data: data.subarray(row * size, (row + 1) * size), dims: [1, ...dims.slice(1)] };
  });
}

/** The numbers of a row, of its positions in use, buffer by buffer and head by head. */
function rowOf(cache: KeyValueCache, row: number): number[] {
  return rowBuffers(cache, row).flatMap(({ data, dims: [, heads, length, size] }) =>
    Array.from({ length: heads! }, (_, head) => {
      const first = head * length! * size!;
      return [...data.subarray(first, first + cache.lengths[row]! * size!)];
    }).flat(),
  );
}

/** Three rows of 1, 3 and 2 positions, each number another. */
function filledCache(): KeyValueCache {
  const cache = KeyValueCache.empty(LAYERS, 3, 4);
  let next = 1;
  [1, 3, 2].forEach((length, row) => {
    const past = LAYERS.flatMap(({ keyValueHeads: heads, headSize: size }) =>
      [0, 1].map(() => ({
        data: Float32Array.from({ length: heads * length * size }, () => next++),
        dims: [1, heads, length, size],
      })),
    );
    cache.put(row, past);
  });
  return cache;
}

for (const rows of [[0, 2], [1, 2], [2], [0, 1, 2], [2, 1, 0], [0, 0, 1, 1, 2, 2], [1, 1], [2, 0]]) {
  it(`rows ${rows.join(", ")} are what those were`, () => {
    const cache = filledCache();
    const before = [0, 1, 2].map((row) => rowOf(cache, row));
    assert.equal(before.flat().length, new Set(before.flat()).size);
    cache.take(rows);
    assert.equal(cache.rows, rows.length);
    assert.deepEqual(rows.map((_, i) => rowOf(cache, i)), rows.map((row) => before[row]));
    cache.grow(9);
    assert.equal(cache.capacity, 9);
    assert.deepEqual(rows.map((_, i) => rowOf(cache, i)), rows.map((row) => before[row]));
  });
}

for (const [kind, length] of [["what is new", 2], ["whole caches", 6]] as const) {
  it(`of ${kind} each row takes what comes behind it, a layer that lacks positions earlier`, () => {
    const cache = filledCache();
    cache.grow(6);
    const before = [0, 1, 2].map((row) => rowBuffers(cache, row).map(({ data }) => [...data]));
    const missing = (row: number, buffer: number) => (row === 1 && buffer >= 2 ? 2 : 0);
    let next = 1000;
    const found = LAYERS.flatMap(({ keyValueHeads: heads, headSize: size }) =>
      [0, 1].map(() => ({
        data: Float32Array.from({ length: 3 * heads * length * size }, () => next++),
        dims: [3, heads, length, size],
      })),
    );
    cache.add(2, found, missing);
    assert.deepEqual(cache.lengths, [3, 5, 4]);
    for (let row = 0; row < 3; row++) {
      rowBuffers(cache, row).forEach(({ data, dims: [, heads, room, size] }, i) => {
        const at = [1, 3, 2][row]! - missing(row, i);
        const of = found[i]!;
        for (let head = 0; head < heads!; head++) {
          for (let position = 0; position < room!; position++) {
            const isNew = position >= at && position < at + 2;
            const inFound = ((row * heads! + head) * length + position - (length === 2 ? at : 0)) * size!;
            const inCache = (head * room! + position) * size!;
            for (let x = 0; x < size!; x++) {
              const expected = isNew ? of.data[inFound + x]! : before[row]![i]![inCache + x]!;
              assert.equal(data[inCache + x], expected);
            }
          }
        }
      });
    }
  });
}

it("room is made by 32 positions, up to the base's limit", () => {
  assert.deepEqual([1, 32, 33].map((n) => capacityFor(n, null)), [32, 32, 64]);
  assert.equal(capacityFor(390, 400), 400);
  assert.throws(() => capacityFor(401, 400), ContextLengthError);
});
