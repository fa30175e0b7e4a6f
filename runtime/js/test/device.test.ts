/** What runs a graph: asked for, or found; a browser's GPU is stood in for. */

import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";

import * as node from "onnxruntime-node";
import * as web from "onnxruntime-web";

import { BundleError, load, type LoadOptions } from "../dist/index.js";
import { golden, goldenFiles, loaded } from "./backends.js";

const before = Object.getOwnPropertyDescriptor(globalThis, "navigator");

function withGpu(adapter: object | null | Error): void {
  const requestAdapter = () => (adapter instanceof Error ? Promise.reject(adapter) : Promise.resolve(adapter));
  Object.defineProperty(globalThis, "navigator", { value: { gpu: { requestAdapter } }, configurable: true });
}

afterEach(() => {
  if (before) Object.defineProperty(globalThis, "navigator", before);
  else delete (globalThis as any).navigator;
});

/** onnxruntime-web, of which sessions on WebGPU are opened in WebAssembly, or not; and the providers that it was asked for. */
function backend(fails = false) {
  const asked: unknown[] = [];
  const create = async (bytes: Uint8Array, { executionProviders, ...options }: any) => {
    asked.push(executionProviders);
    if (fails && executionProviders) throw new Error("no kernel for it");
    return web.InferenceSession.create(bytes, options);
  };
  return { asked, module: { Tensor: web.Tensor, env: web.env, InferenceSession: { create } } };
}

const REAL = { info: { isFallbackAdapter: false } };
const GPU = ["webgpu"];

/** The golden decoder, with weights that are said to be in another precision. */
async function inPrecision(precision: string): Promise<Map<string, Blob>> {
  const files = goldenFiles("decoder-shared");
  const manifest = JSON.parse(await files.get("bundle.json")!.text());
  return files.set("bundle.json", new Blob([JSON.stringify({ ...manifest, precision })]));
}

describe("what runs a graph", () => {
  const cases: [string, object | null | Error, LoadOptions, string, asked: string[], device: string][] = [
    ["a GPU, where there is one", REAL, {}, "fp32", GPU, "webgpu"],
    ["a GPU for weights in int4", REAL, {}, "int4", GPU, "webgpu"],
    ["an adapter of before `info`", { isFallbackAdapter: false }, {}, "fp32", GPU, "webgpu"],
    ["WebAssembly for products in int8", REAL, {}, "int8", [], "wasm"],
    ["the GPU for those too, if it is asked for", REAL, { device: "webgpu" }, "int8", GPU, "webgpu"],
    ["WebAssembly, where a GPU is imitated", { info: { isFallbackAdapter: true } }, {}, "fp32", [], "wasm"],
    ["an imitated one too, if it is asked for", { info: { isFallbackAdapter: true } }, { device: "webgpu" }, "fp32", GPU, "webgpu"],
    ["WebAssembly, where there is none", null, {}, "fp32", [], "wasm"],
    ["WebAssembly, where the browser fails", new Error("lost"), {}, "fp32", [], "wasm"],
    ["WebAssembly, if it is asked for", REAL, { device: "wasm" }, "fp32", [], "wasm"],
  ]; // prettier-ignore
  for (const [name, adapter, options, precision, asked, device] of cases) {
    it(name, async () => {
      withGpu(adapter);
      const build = backend();
      const model = await load(await inPrecision(precision), { backend: build.module, threads: 1, ...options });
      assert.equal(model.device, device);
      assert.deepEqual(build.asked, asked.length ? [asked] : [undefined]);
    });
  }

  it("providers of one's own are all that is tried, and the first is what runs", async () => {
    withGpu(REAL);
    for (const [given, device] of [[["wasm"], "wasm"], [[{ name: "webgpu" }, "wasm"], "webgpu"]] as const) {
      const build = backend();
      const sessionOptions = { executionProviders: [...given] } as any;
      const model = await load(goldenFiles("decoder-shared"), { backend: build.module, threads: 1, sessionOptions });
      assert.deepEqual(build.asked, [given]);
      assert.equal(model.device, device);
    }
  });

  it("a graph that cannot be opened on the GPU runs in WebAssembly, and answers the same", async () => {
    const expected = await (await loaded("decoder-shared")).generate("once", { maxNewTokens: 6 });
    withGpu(REAL);
    for (const options of [{}, { device: "webgpu" }] as const) {
      const build = backend(true);
      const model = await load(goldenFiles("decoder-shared"), { backend: build.module, threads: 1, ...options });
      assert.deepEqual(build.asked, [GPU, undefined]);
      assert.equal(model.device, "wasm");
      assert.deepEqual((await model.generate("once", { maxNewTokens: 6 })).tokenIds, expected.tokenIds);
    }
  });

  it("a graph that cannot be opened at all is a BundleError", async () => {
    withGpu(REAL);
    const create = () => Promise.reject(new Error("no kernel for it"));
    const module = { Tensor: web.Tensor, env: web.env, InferenceSession: { create } };
    await assert.rejects(load(goldenFiles("decoder-shared"), { backend: module }), (error: unknown) => {
      assert.ok(error instanceof BundleError);
      assert.match(error.message, /no kernel for it/);
      return true;
    });
  });

  it("a build without WebGPU runs in WebAssembly beside a GPU", async () => {
    withGpu(REAL);
    const model = await load(goldenFiles("decoder-shared"), { backend: web, threads: 1 });
    assert.equal(model.device, "wasm");
  });

  it("it is the processor in Node", async () => {
    assert.equal((await load(golden("encoder-shared"), { backend: node, threads: 1 })).device, "cpu");
  });
});
