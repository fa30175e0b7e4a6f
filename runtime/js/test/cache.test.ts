/** Rows of a cache become others, and what is in use stays; a backend that can writes in place. */

import assert from "node:assert/strict";
import { it } from "node:test";

import { capacityFor, KeyValueCache } from "../dist/cache.js";
import { ContextLengthError } from "../dist/index.js";
import { writesInPlace } from "../dist/in_place.js";
import { readManifest } from "../dist/manifest.js";
import { openSession } from "../dist/session.js";
import { BACKENDS, goldenFiles } from "./backends.js";

const LAYERS = [{ keyValueHeads: 2, headSize: 3 }, { keyValueHeads: 1, headSize: 2 }];

/** The numbers of a row, of its positions in use, buffer by buffer and head by head. */
function rowOf(cache: KeyValueCache, row: number): number[] {
  return cache.row(row).flatMap(({ data, dims: [, heads, length, size] }) =>
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

it("room is made by 32 positions, up to the base's limit", () => {
  assert.deepEqual([1, 32, 33].map((n) => capacityFor(n, null)), [32, 32, 64]);
  assert.equal(capacityFor(390, 400), 400);
  assert.throws(() => capacityFor(401, 400), ContextLengthError);
});

it("onnxruntime-node writes the cache in place, and a backend that does not is told apart", async () => {
  const files = goldenFiles("decoder-shared");
  const bytes = async (path: string) => new Uint8Array(await files.get(path)!.arrayBuffer());
  const { graph } = readManifest(await bytes("bundle.json"), "bundle.json");
  const beside = [{ path: "model.onnx.data", data: await bytes("model.onnx.data") }];
  const opened = async (backend: (typeof BACKENDS)[keyof typeof BACKENDS]) =>
    openSession({ bytes: await bytes("model.onnx"), beside }, "x", { backend, sessionOptions: {} });
  const session = await opened(BACKENDS.node);
  assert.equal(await writesInPlace(session, graph), true);
  // as if its outputs lay elsewhere
  const { Tensor } = BACKENDS.node;
  const elsewhere = function (kind: "float32", data: Float32Array, dims: readonly number[]) {
    return new Tensor(kind, data.slice(), dims);
  };
  const apart = { ...BACKENDS.node, Tensor: elsewhere as unknown as typeof Tensor };
  assert.equal(await writesInPlace(await opened(apart), graph), false);
});
