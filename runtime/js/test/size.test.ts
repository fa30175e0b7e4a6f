/** What an app downloads of this package is small. */

import assert from "node:assert/strict";
import { it } from "node:test";
import { gzipSync } from "node:zlib";

import { build } from "esbuild";
import { minify } from "terser";

/** Bytes of an entry with all that it imports, but for ONNX Runtime, minified, after gzip. */
async function gzipBytes(entry: string, conditions: string[] = []): Promise<number> {
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    minify: true,
    write: false,
    format: "esm",
    platform: "browser",
    conditions,
    external: ["onnxruntime-web"],
  });
  const { code } = await minify(outputFiles[0]!.text, { module: true, compress: { passes: 3 } });
  return gzipSync(code!, { level: 9 }).length;
}

it("the package with its tokenizers, minified, without ONNX Runtime, is at most 30 kB after gzip", async (t) => {
  const size = await gzipBytes("dist/index.js");
  t.diagnostic(`${size} bytes`);
  assert.ok(size > 10_000, "it holds the tokenizers");
  assert.ok(size <= 30_000, `${size} bytes`);
});

it("what a page needs to talk to a worker is at most 3 kB after gzip", async (t) => {
  const size = await gzipBytes("dist/remote.js");
  t.diagnostic(`${size} bytes`);
  assert.ok(size <= 3_000, `${size} bytes`);
});
