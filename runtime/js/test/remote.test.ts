/** A model behind a port answers as the model itself does, errors, streams and signals included. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, it } from "node:test";
import { Worker } from "node:worker_threads";

import { type Chunk, ContextLengthError, InputError, type LoadProgress, type Model, OptionError, AdapterError, BundleError } from "../dist/index.js";
import { loadInWorker, type RemoteModel } from "../dist/remote.js";
import { serve } from "../dist/worker.js";
import { BACKENDS, golden, goldenFiles, loaded } from "./backends.js";

const TEXT = "once upon a time";
const ports: MessagePort[] = [];
let here: Model;
let there: RemoteModel;

/** A port behind which `serve` answers. */
function served(): MessagePort {
  const { port1, port2 } = new MessageChannel();
  serve({ backend: BACKENDS.node }, port2);
  ports.push(port1, port2);
  return port1;
}

before(async () => {
  here = await loaded("decoder-shared");
  there = await loadInWorker(served(), golden("decoder-shared"), { threads: 1 });
});

after(() => ports.forEach((port) => port.close()));

it("it is described as the model is", () => {
  assert.deepEqual(
    [there.kind, there.task, there.defaultAdapter, there.adapters],
    [here.kind, here.task, here.defaultAdapter, here.adapters],
  );
});

it("texts come whole and in pieces", async () => {
  const options = { maxNewTokens: 10, temperature: 1, seed: 3, adapter: "soft" };
  const expected = await here.generate(TEXT, options);
  const pieces: string[] = [];
  const found = await there.generate(TEXT, { ...options, onChunk: (chunk) => pieces.push(chunk.text) });
  assert.deepEqual([found.text, found.tokenIds], [expected.text, expected.tokenIds]);
  assert.equal(pieces.join(""), expected.text);
  const chunks: Chunk[] = [];
  for await (const chunk of there.stream(TEXT, options)) chunks.push(chunk);
  assert.equal(chunks.map((chunk) => chunk.text).join(""), expected.text);
  assert.equal(chunks.at(-1)!.finishReason, "length");
  const [a, b] = await there.generate([TEXT, "a"], { maxNewTokens: 3, adapter: ["three", null] });
  assert.deepEqual([a!.tokenIds.length, b!.tokenIds.length], [3, 3]);
});

it("errors are of their class", async () => {
  await assert.rejects(there.generate(TEXT, { temperature: -1 }), OptionError);
  await assert.rejects(there.generate(5 as never), InputError);
  await assert.rejects(there.generate(TEXT, { maxNewTokens: 1000 }), (error: unknown) => {
    assert.ok(error instanceof ContextLengthError);
    assert.match(error.message, /Ask for at most \d+ new tokens, or shorten the text/);
    return true;
  });
  await assert.rejects(there.stream(TEXT, { adapter: "none" }).next(), AdapterError);
  await assert.rejects(loadInWorker(served(), "no/such/folder"), BundleError);
});

it("a signal ends a text over there, and so does a loop that is left", async () => {
  const controller = new AbortController();
  const onChunk = () => controller.abort();
  const cut = await there.generate(TEXT, { maxNewTokens: 100, minNewTokens: 100, signal: controller.signal, onChunk });
  assert.equal(cut.finishReason, "cancelled");
  assert.ok(cut.tokenIds.length < 100);
  assert.equal((await there.generate(TEXT, { signal: AbortSignal.abort() })).finishReason, "cancelled");
  let count = 0;
  for await (const _ of there.stream(TEXT, { maxNewTokens: 100, onChunk: () => count++ })) break;
  assert.equal((await there.generate(TEXT, { maxNewTokens: 3 })).tokenIds.length, 3);
  assert.equal(count, 1);
});

it("adapters come and go over there", async () => {
  const bytes = readFileSync(join(golden("decoder-shared"), "adapters", "soft.safetensors"));
  const info = await there.addAdapter(new Blob([bytes]), { name: "new" });
  assert.equal(info.virtualTokens, 4);
  assert.deepEqual([...there.adapters.keys()], ["three", "seven", "soft", "new"]);
  const [a, b] = await there.generate([TEXT, TEXT], { maxNewTokens: 5, adapter: ["soft", "new"] });
  assert.deepEqual(a!.tokenIds, b!.tokenIds);
  await there.removeAdapter("new");
  assert.deepEqual([...there.adapters.keys()], ["three", "seven", "soft"]);
  await assert.rejects(there.removeAdapter("three"), AdapterError);
});

it("files go over, progress comes back, and loading can be aborted", async () => {
  const seen: LoadProgress[] = [];
  const model = await loadInWorker(served(), goldenFiles("encoder-shared"), {
    threads: 1,
    onProgress: (x) => seen.push(x),
  });
  assert.equal(seen.at(-1)!.loadedBytes, seen.at(-1)!.totalBytes);
  const texts = ["what is the weather", { text: "the sun", pair: "rain" }];
  const expected = await (await loaded("encoder-shared")).classify(texts, { adapter: "mood" });
  const found = await model.classify(texts, { adapter: "mood" });
  assert.deepEqual(found.map((x) => [...x.scores.keys()]), expected.map((x) => [...x.scores.keys()]));
  await model.release();
  const reason = new Error("the user left");
  await assert.rejects(
    loadInWorker(served(), golden("encoder-shared"), { signal: AbortSignal.abort(reason) }),
    reason,
  );
  const controller = new AbortController();
  const loading = loadInWorker(served(), golden("encoder-shared"), {
    signal: controller.signal,
    onProgress: () => controller.abort(reason),
  });
  await assert.rejects(loading, reason);
});

it("a thread of its own answers, and its failure ends the calls that wait", async () => {
  const worker = new Worker(new URL("thread.js", import.meta.url));
  const port = Object.assign(worker as unknown as { postMessage(x: unknown): void }, {
    addEventListener: (type: string, listener: (event: any) => void) =>
      worker.on(type, (data) => listener(type === "message" ? { data } : data)),
  });
  const model = await loadInWorker(port, golden("decoder-shared"), { threads: 1 });
  const expected = await here.generate(TEXT, { maxNewTokens: 8 });
  assert.deepEqual((await model.generate(TEXT, { maxNewTokens: 8 })).tokenIds, expected.tokenIds);
  const ended = model.generate(TEXT, { maxNewTokens: 5 }).catch((error: unknown) => error);
  worker.emit("error", new Error("out of memory"));
  assert.match(String(await ended), /the worker failed \(out of memory\)/);
  await worker.terminate();
});
