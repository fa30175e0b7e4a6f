/** Whole bundles load, altered ones do not, from a folder and from files; over the golden bundles. */

import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { pathToFileURL } from "node:url";

import { AdapterError, BundleError, InputError, load, MissingExtraError, OptionError } from "../dist/index.js";
import { BACKENDS, golden, goldenFiles, goldenNames } from "./backends.js";

const OPTIONS = { backend: BACKENDS.node, threads: 1 };

/** A copy of a golden bundle that a test may alter; it is gone afterwards. */
async function withCopy(name: string, use: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "edgetune-"));
  try {
    cpSync(golden(name), folder, { recursive: true });
    await use(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function alter(path: string, change: (text: string) => string): void {
  writeFileSync(path, change(readFileSync(path, "utf8")));
}

/** The files of a golden bundle that are read here: of two graphs over the same weights the one of new positions. */
function readFiles(name: string): string[] {
  const { files, graph } = JSON.parse(readFileSync(join(golden(name), "bundle.json"), "utf8"));
  return Object.keys(files).filter((file) => file !== graph.file || !graph.new_positions_file);
}

describe("an altered file is refused, by its name", () => {
  for (const name of goldenNames()) {
    for (const file of readFiles(name)) {
      it(`${name}/${file}`, () =>
        withCopy(name, async (folder) => {
          const bytes = readFileSync(join(folder, file));
          bytes[bytes.length >> 1]! ^= 1;
          writeFileSync(join(folder, file), bytes);
          await assert.rejects(load(folder, OPTIONS), (error: unknown) => {
            assert.ok(error instanceof BundleError);
            assert.match(error.message, /SHA-256/);
            assert.ok(error.message.includes(file), error.message);
            return true;
          });
        }));
    }
  }
});

it("a file that is cut off, or not there, is refused by its name", () =>
  withCopy("decoder-shared", async (folder) => {
    const path = join(folder, "model.onnx.data");
    writeFileSync(path, readFileSync(path).subarray(1));
    await assert.rejects(load(folder, OPTIONS), /model\.onnx\.data: has 155647 bytes where bundle\.json lists 155648/);
    rmSync(path);
    await assert.rejects(load(folder, OPTIONS), /model\.onnx\.data: cannot be read/);
  }));

it("without verification a file of another hash is read", () =>
  withCopy("encoder-shared", async (folder) => {
    alter(join(folder, "tokenizer.json"), (text) => text.replace('"1.0"', '"1.1"'));
    await assert.rejects(load(folder, OPTIONS), BundleError);
    assert.equal((await load(folder, { ...OPTIONS, verify: false })).kind, "encoder");
  }));

describe("a manifest that this runtime does not know is refused, and says what it found", () => {
  const changes: [string, string, string, RegExp][] = [
    ["another version", '"format_version": 1', '"format_version": 2', /`format_version` is 2, and this runtime reads 1/],
    ["another format", '"edgetune-bundle"', '"other"', /`format` is "other"/],
    ["an unknown form", '"form": "shared"', '"form": "loose"', /`form` should be one of "shared", "standalone"/],
    ["an encoder-decoder", '"kind": "decoder"', '"kind": "encoder-decoder"', /"encoder-decoder" with the task "generate" is not run/],
    ["a task of another kind", '"task": "generate"', '"task": "tag"', /with the task "tag" is not run/],
    ["a default that is not there", '"default_adapter": "three"', '"default_adapter": "x"', /the default adapter "x"/],
    ["a file outside of it", '"tokenizer.json": {', '"../tokenizer.json": {', /not a plain path inside it/],
    ["a file that is not listed", '"new_positions_file": "model', '"new_positions_file": "m', /does not list the file "m\.new_positions\.onnx"/],
    ["a field of another type", '"hidden_size": 32', '"hidden_size": "32"', /`hidden_size` should be a whole number/],
    ["no whole JSON", '"format"', "", /is not whole JSON/],
  ];
  for (const [what, before, after, message] of changes) {
    it(what, () =>
      withCopy("decoder-shared", async (folder) => {
        alter(join(folder, "bundle.json"), (text) => {
          assert.ok(text.includes(before));
          return text.replace(before, after);
        });
        await assert.rejects(load(folder, OPTIONS), (error: unknown) => {
          assert.ok(error instanceof BundleError);
          assert.match(error.message, message);
          return true;
        });
      }));
  }
});

it("a place that is no bundle is refused", async () => {
  await assert.rejects(load("no/such/folder", OPTIONS), /no\/such\/folder: no such folder/);
  await assert.rejects(load(join(golden("decoder-shared"), "bundle.json"), OPTIONS), /is a file, and a bundle is a folder/);
  await assert.rejects(load(tmpdir(), OPTIONS), /holds no bundle\.json/);
  await assert.rejects(load(7 as never, OPTIONS), InputError);
  await assert.rejects(load([] as never, OPTIONS), InputError);
});

it("a path, a file URL, files by path and the files of a chosen folder give the same model", async () => {
  const blobs = goldenFiles("decoder-shared");
  const chosen = [...blobs].map(([path, blob]) => {
    const file = new File([blob], path.split("/").at(-1)!);
    return Object.defineProperty(file, "webkitRelativePath", { value: `my bundle/${path}` });
  });
  const sources = [
    golden("decoder-shared"),
    pathToFileURL(golden("decoder-shared")),
    pathToFileURL(golden("decoder-shared")).href,
    blobs,
    Object.fromEntries(blobs),
    chosen,
  ];
  const texts = [];
  for (const source of sources) {
    const model = await load(source, OPTIONS);
    assert.deepEqual([...model.adapters.keys()], ["three", "seven", "soft"]);
    texts.push((await model.generate("once upon a time", { maxNewTokens: 8, adapter: "seven" })).tokenIds);
    await model.release();
  }
  assert.equal(texts[0]!.length, 8);
  for (const tokenIds of texts) assert.deepEqual(tokenIds, texts[0]);
});

it("progress counts every byte that is read once", async () => {
  const manifest = JSON.parse(readFileSync(join(golden("decoder-shared"), "bundle.json"), "utf8"));
  const sizes = readFiles("decoder-shared").map((file) => manifest.files[file].size_bytes as number);
  const total = sizes.reduce((sum, n) => sum + n, 0);
  for (const source of [golden("decoder-shared"), goldenFiles("decoder-shared")]) {
    const seen: number[] = [];
    const files = new Set<string>();
    await load(source, {
      ...OPTIONS,
      onProgress({ file, loadedBytes, totalBytes }) {
        assert.equal(totalBytes, total);
        seen.push(loadedBytes);
        files.add(file);
      },
    });
    assert.equal(seen.at(-1), total);
    assert.ok(seen.every((n, i) => i === 0 || n > seen[i - 1]!));
    assert.deepEqual([...files].sort(), readFiles("decoder-shared").sort());
  }
});

it("adapters that are not wanted are not read", async () => {
  const model = await load(golden("decoder-shared"), { ...OPTIONS, adapters: ["soft"] });
  // the default one is always there
  assert.deepEqual([...model.adapters.keys()], ["three", "soft"]);
  await assert.rejects(model.generate("a", { adapter: "seven" }), AdapterError);
  await assert.rejects(load(golden("decoder-shared"), { ...OPTIONS, adapters: ["hard"] }), AdapterError);
});

it("the installed backend is found, and what is none is refused", async () => {
  assert.equal((await load(golden("encoder-shared"), { threads: 1 })).kind, "encoder");
  await assert.rejects(load(golden("encoder-shared"), { backend: {} }), OptionError);
  await assert.rejects(load(golden("encoder-shared"), { threads: 0 }), OptionError);
  assert.equal(new MissingExtraError("x").name, "MissingExtraError");
});

it("a signal that is aborted ends loading with its reason", async () => {
  const reason = new Error("the user left");
  await assert.rejects(load(golden("encoder-shared"), { ...OPTIONS, signal: AbortSignal.abort(reason) }), reason);
  const controller = new AbortController();
  const onProgress = () => controller.abort(reason);
  await assert.rejects(
    load(golden("encoder-shared"), { ...OPTIONS, signal: controller.signal, onProgress }),
    reason,
  );
});
