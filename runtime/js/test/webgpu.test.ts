/** On WebGPU, by Chromium's software adapter: Node's labels and tokens; and what is chosen where. */

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { build } from "esbuild";
import type { Browser, Page } from "playwright-core";

import { loaded } from "./backends.js";
import { launched, served, servedPage, skip } from "./chromium.js";

const SOFTWARE = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"];
const ON_GPU = { device: "webgpu" };
const MAKE_REAL = `Object.defineProperty(GPUAdapterInfo.prototype, "isFallbackAdapter", { get: () => false });`;

describe("on WebGPU", { skip, timeout: 420_000 }, () => {
  let server: Awaited<ReturnType<typeof served>>;
  let browser: Browser;
  let page: Page;

  before(async () => {
    const { outputFiles } = await build({
      entryPoints: ["test/browser/page.ts"],
      bundle: true,
      write: false,
      format: "esm",
      platform: "browser",
      alias: { "onnxruntime-web": "onnxruntime-web/webgpu" },
      conditions: ["onnxruntime-web-use-extern-wasm"],
    });
    const files = new Map([["/page.js", outputFiles[0]!.contents]]);
    server = await servedPage(files);
    browser = await launched(SOFTWARE);
    page = await browser.newPage();
    await page.goto(server.origin);
    await page.waitForFunction("globalThis.loaded");
  });

  after(async () => {
    await browser?.close();
    server?.close();
  });

  const adapterHere = () => page.evaluate("navigator.gpu?.requestAdapter().then(Boolean)");
  const run = (script: string): Promise<any> => page.evaluate(`(async () => { ${script} })()`);

  it("labels are Node's", async (t) => {
    if (!(await adapterHere())) return t.skip("this Chromium has no WebGPU adapter");
    const texts = ["once upon a time", "I am so happy"];
    const expected = await (await loaded("encoder-shared")).classify(texts, { adapter: "mood" });
    const found = await run(`
      const model = await loaded("golden/encoder-shared", ${JSON.stringify(ON_GPU)});
      const answers = await model.classify(${JSON.stringify(texts)}, { adapter: "mood" });
      return answers.map(({ label, score }) => ({ label, score }));
    `);
    found.forEach(({ label, score }: any, i: number) => {
      assert.equal(label, expected[i]!.label);
      assert.ok(Math.abs(score - expected[i]!.score) < 1e-4);
    });
  });

  it("tokens of two adapters in one batch are Node's", async (t) => {
    if (!(await adapterHere())) return t.skip("this Chromium has no WebGPU adapter");
    const texts = ["once upon a time", "a"];
    const options = { maxNewTokens: 3, adapter: ["three", "seven"] };
    const expected = await (await loaded("decoder-shared")).generate(texts, options);
    const found = await run(`
      const model = await loaded("golden/decoder-shared", ${JSON.stringify(ON_GPU)});
      const answers = await model.generate(${JSON.stringify(texts)}, ${JSON.stringify(options)});
      return answers.map(({ tokenIds }) => tokenIds);
    `);
    assert.deepEqual(found, expected.map(({ tokenIds }) => tokenIds));
  });

  /** A page of its own, since what is chosen stays; `script` says what it finds. */
  const found = async (origin: string, script: string): Promise<any> => {
    const apart = await browser.newPage();
    await apart.goto(origin);
    await apart.waitForFunction("globalThis.loaded");
    const answer = await apart.evaluate(`(async () => { ${script} })()`);
    await apart.close();
    return answer;
  };
  const written = `
    const { tokenIds } = await model.generate("once upon a time", { maxNewTokens: 40, minNewTokens: 40, adapter: "three" });
    return [model.device, tokenIds];`;
  const tokens = async () => {
    const model = await loaded("decoder-shared");
    return (await model.generate("once upon a time", { maxNewTokens: 40, minNewTokens: 40, adapter: "three" })).tokenIds;
  };

  it("a GPU is found by itself, and one that is imitated in software is not taken for one", async (t) => {
    if (!(await adapterHere())) return t.skip("this Chromium has no WebGPU adapter");
    const load = `const model = await loaded("golden/decoder-shared");`;
    assert.deepEqual(await found(server.origin, MAKE_REAL + load + written), ["webgpu", await tokens()]);
    assert.deepEqual(await found(server.origin, load + written), ["wasm", await tokens()]);
  });

  it("where no GPU can be had, it is WebAssembly that runs", async (t) => {
    if (!(await adapterHere())) return t.skip("this Chromium has no WebGPU adapter");
    const script = `
      navigator.gpu.requestAdapter = async () => null;
      const model = await loaded("golden/decoder-shared", ${JSON.stringify(ON_GPU)});`;
    assert.deepEqual(await found(server.origin, script + written), ["wasm", await tokens()]);
  });

  it("a build without WebGPU runs in WebAssembly beside a GPU, without a warning", async (t) => {
    if (!(await adapterHere())) return t.skip("this Chromium has no WebGPU adapter");
    const { outputFiles } = await build({
      entryPoints: ["test/browser/page.ts"],
      bundle: true,
      write: false,
      format: "esm",
      platform: "browser",
      alias: { "onnxruntime-web": "onnxruntime-web/wasm" },
      conditions: ["onnxruntime-web-use-extern-wasm"],
    });
    const plain = await servedPage(new Map([["/page.js", outputFiles[0]!.contents]]));
    const script = `
      ${MAKE_REAL}
      const warnings = [];
      console.warn = (...what) => warnings.push(what.join(" "));
      const model = await loaded("golden/decoder-shared");
      return [model.device, warnings];`;
    assert.deepEqual(await found(plain.origin, script), ["wasm", []]);
    plain.close();
  });
});
