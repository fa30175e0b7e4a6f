/** In Chromium: a page and its worker give Node's answers, keep what they downloaded, and run without a network. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { build } from "esbuild";
import type { Browser, Page } from "playwright-core";

import { GOLDEN, loaded } from "./backends.js";
import { launched, served, servedPage, skip } from "./chromium.js";

const TEXT = "once upon a time";

describe("in Chromium", { skip, timeout: 120_000 }, () => {
  let server: Awaited<ReturnType<typeof served>>;
  let browser: Browser;
  let page: Page;
  const files = new Map<string, Uint8Array>();

  before(async () => {
    const { outputFiles } = await build({
      entryPoints: { page: "test/browser/page.ts", worker: "test/browser/worker.ts" },
      bundle: true,
      write: false,
      format: "esm",
      platform: "browser",
      outdir: ".",
      // the build without WebGPU is the smaller one
      alias: { "onnxruntime-web": "onnxruntime-web/wasm" },
      conditions: ["onnxruntime-web-use-extern-wasm"],
    });
    for (const file of outputFiles) files.set(`/${file.path.split("/").at(-1)}`, file.contents);
    server = await servedPage(files);
    browser = await launched();
    page = await browser.newPage();
    await page.goto(server.origin);
    await page.waitForFunction("globalThis.loaded");
  });

  after(async () => {
    await browser?.close();
    server?.close();
  });

  /** Runs a script of the page's. */
  const run = (script: string): Promise<any> => page.evaluate(`(async () => { ${script} })()`);

  it("a page labels texts as Node does", async () => {
    const expected = await (await loaded("encoder-shared")).classify([TEXT, "I am so happy"], { adapter: "mood" });
    const found = await run(`
      const model = await loaded("golden/encoder-shared");
      const answers = await model.classify(["${TEXT}", "I am so happy"], { adapter: "mood" });
      return answers.map(({ label, score }) => ({ label, score }));
    `);
    found.forEach(({ label, score }: any, i: number) => {
      assert.equal(label, expected[i]!.label);
      assert.ok(Math.abs(score - expected[i]!.score) < 1e-4);
    });
  });

  it("a page takes and refuses signatures as Node does, on every curve", async () => {
    const { keys, cases } = JSON.parse(readFileSync(join(GOLDEN, "signatures.json"), "utf8"));
    const found = await run(`
      const { keys, cases } = await (await fetch("golden/signatures.json")).json();
      const answers = [];
      for (const { keys: names, bundle, file, signature } of cases) {
        const [bytes, signed] = await Promise.all([
          fetch("golden/" + (file ?? bundle + "/bundle.json")).then((x) => x.arrayBuffer()),
          new TextEncoder().encode(signature ?? ""),
        ]);
        const trust = signatures(names.map((name) => keys[name]));
        const call = trust[file ? "file" : "bundle"](new Uint8Array(bytes), signed);
        answers.push(await call.then(() => null, (error) => error.name));
      }
      return answers;
    `);
    assert.deepEqual(found, cases.map(({ expected }: { expected: string | null }) => expected));
    assert.ok(Object.keys(keys).length === 3 && found.includes(null));
  });

  it("a page's texts, drawn ones too, are Node's, token by token", async () => {
    const options = { maxNewTokens: 20, temperature: 1, seed: 9, adapter: ["three", "seven", "soft", null] };
    const texts = [TEXT, "a", "will it rain?", ""];
    const expected = await (await loaded("decoder-shared")).generate(texts, options);
    const found = await run(`
      const model = await loaded("golden/decoder-shared");
      const answers = await model.generate(${JSON.stringify(texts)}, ${JSON.stringify(options)});
      return answers.map(({ tokenIds, text }) => ({ tokenIds, text }));
    `);
    assert.deepEqual(found, expected.map(({ tokenIds, text }) => ({ tokenIds, text })));
  });

  it("a worker streams, and what is left early ends", async () => {
    const { text } = await (await loaded("decoder-shared")).generate(TEXT, { maxNewTokens: 20 });
    const found = await run(`
      globalThis.model = await loadedInWorker("golden/decoder-shared");
      let text = "", pieces = 0;
      for await (const chunk of model.stream("${TEXT}", { maxNewTokens: 20 })) text += chunk.text, pieces++;
      for await (const chunk of model.stream("${TEXT}", { maxNewTokens: 100 })) break;
      const left = await model.generate("${TEXT}", { signal: AbortSignal.abort() });
      return { text, pieces, reason: left.finishReason };
    `);
    assert.deepEqual([found.text, found.reason], [text, "cancelled"]);
    assert.ok(found.pieces > 1);
  });

  it("a second visit downloads no model, and without a network the model is there", async () => {
    const before = server.asked.length;
    const script = `
      const model = await loadedInWorker("golden/decoder-shared");
      return (await model.generate("${TEXT}", { maxNewTokens: 5 })).tokenIds;
    `;
    const first = await run(script);
    const models = server.asked.slice(before).filter((path) => path.startsWith("/golden/"));
    assert.deepEqual(models, ["/golden/decoder-shared/bundle.json"]);
    await page.route("**/golden/**", (route) => route.abort("internetdisconnected"));
    assert.deepEqual(await run(script), first);
    const name = await run(`return loaded("golden/decoder-standalone").catch((error) => error.name);`);
    assert.equal(name, "TypeError");
    await page.unroute("**/golden/**");
  });

  it("the origin private file system is a store too", async () => {
    const script = `
      const store = fileStore("models");
      const model = await loaded("golden/decoder-shared", { store });
      return [(await model.generate("${TEXT}", { maxNewTokens: 5 })).tokenIds, await store.keys()];
    `;
    const [first, keys] = await run(script);
    assert.equal(keys.length, 7);
    await page.route("**/golden/**", (route) => route.abort("internetdisconnected"));
    assert.deepEqual((await run(script))[0], first);
    await page.unroute("**/golden/**");
  });

  it("a thousand requests leave heap and WebAssembly memory as they were", async () => {
    const session = await page.context().newCDPSession(page);
    await run(`
      globalThis.writer = await loaded("golden/decoder-shared");
      globalThis.reader = await loaded("golden/encoder-shared");
    `);
    const asked = (count: number) => run(`
      for (let i = 0; i < ${count}; i++) {
        await reader.classify(["what is the weather", "a"], { adapter: ["mood", "weather"] });
        await writer.generate(["${TEXT}", "a"], { maxNewTokens: 4, adapter: ["three", "soft"], temperature: 1 });
      }
    `);
    const heapBytes = async () => {
      await session.send("HeapProfiler.collectGarbage");
      const { usedSize, backingStorageSize } = (await session.send("Runtime.getHeapUsage")) as any;
      return usedSize + backingStorageSize;
    };
    // engines compile what runs often, and keep that
    await asked(250);
    const [heap, memory] = [await heapBytes(), await run("return memoryBytes();")];
    await asked(500);
    const grown = (await heapBytes()) - heap;
    // a request's smallest tensors, kept, would be a megabyte
    assert.ok(heap > 1e6 && grown < 5e5, `${heap} bytes, then ${grown} more`);
    assert.ok(memory > 1e6);
    assert.equal(await run("return memoryBytes();"), memory);
  });

  it("an adapter that was altered is refused with a message, in a worker too", async () => {
    const message = await run(`
      const bytes = new Uint8Array(await (await fetch("golden/decoder-shared/adapters/soft.safetensors")).arrayBuffer());
      return model.addAdapter(new Blob([bytes.slice(0, -4)])).catch((error) => error.name + ": " + error.message);
    `);
    assert.match(message, /^AdapterError: .*is not a whole safetensors file of numbers/);
  });

  it("what goes wrong in a worker is said on the page", async () => {
    const said = (bundle: string, script: string) =>
      run(`return loadedInWorker("${bundle}", "${script}").catch((error) => error.name + ": " + error.message);`);
    assert.match(await said("golden/none", "/worker.js"), /^BundleError: .*golden\/none\/bundle\.json: the server answers 404/);
    assert.match(await said("golden/decoder-shared", "/none.js"), /^EdgetuneError: the worker failed/);
  });
});
