/**
 * What is different on phones: React Native 0.88 with its Hermes, and onnxruntime-react-native 1.24, as their sources are.
 *
 * - `InferenceSession.create` heeds options, external data among them, with a path alone.
 * - The native side reads a typed array from the beginning of its buffer, wherever the array begins.
 * - There is no `crypto`, no Cache API; a URL's parts cannot be written, a `Blob` has no `arrayBuffer`, and an answer of
 *   `fetch` has no stream.
 */

import assert from "node:assert/strict";
import { createHash, webcrypto } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import * as node from "onnxruntime-node";

import { load, type Source } from "../dist/index.js";
import { golden, goldenNames, loaded } from "./backends.js";

type Tensors = Record<string, node.Tensor>;

/** What the native side takes a tensor for. */
function seen(tensor: node.Tensor): node.Tensor {
  const data = tensor.data as Float32Array;
  const Numbers = data.constructor as Float32ArrayConstructor;
  return new node.Tensor(tensor.type as "float32", new Numbers(data.buffer as ArrayBuffer, 0, data.length), tensor.dims);
}

/** onnxruntime-react-native, of which this machine can run the rest. */
const backend = {
  Tensor: node.Tensor,
  env: { versions: { "react-native": "1.24.3" }, wasm: {} },
  InferenceSession: {
    async create(given: string | Uint8Array, options: node.InferenceSession.SessionOptions) {
      const session = await (typeof given === "string"
        ? node.InferenceSession.create(given, options)
        : node.InferenceSession.create(new Uint8Array(given.buffer as ArrayBuffer)));
      return {
        inputNames: session.inputNames,
        outputNames: session.outputNames,
        run(feeds: Tensors, outputs: readonly string[]) {
          return session.run(Object.fromEntries(Object.entries(feeds).map(([name, x]) => [name, seen(x)])), outputs);
        },
        release: () => session.release(),
      };
    },
  },
};

/** A folder of an app's files: what `samples/react-native/bundle_folder.ts` makes of `expo-file-system`. */
function folder(name: string): Source {
  const pathOf = (path: string) => join(golden(name), path);
  return {
    where: name,
    isRemote: false,
    pathOf,
    read: async (path) => new Uint8Array(readFileSync(pathOf(path))),
    hash: async (path) => {
      const bytes = readFileSync(pathOf(path));
      return { sha256: createHash("sha256").update(bytes).digest("hex"), sizeBytes: bytes.length };
    },
  };
}

/** React Native's: its parts can be read alone. */
class PhoneUrl {
  readonly #inner: URL;

  constructor(given: string, base?: string) {
    this.#inner = new Url(given, base);
  }

  get href() {
    return this.#inner.href;
  }

  get origin() {
    return this.#inner.origin;
  }

  get pathname() {
    return this.#inner.pathname;
  }

  get search() {
    return this.#inner.search;
  }

  get protocol() {
    return this.#inner.protocol;
  }

  toString() {
    return this.href;
  }
}

const Url = URL;
const own = Object.getOwnPropertyDescriptors(globalThis);

describe("on a phone", () => {
  before(async () => {
    // what other tests load is loaded while there is all of Node
    await Promise.all(goldenNames().map((name) => loaded(name)));
    const subtle = { digest: (name: string, bytes: BufferSource) => webcrypto.subtle.digest(name, bytes) };
    Object.defineProperty(globalThis, "crypto", { configurable: true, value: { subtle } });
    Object.defineProperty(globalThis, "URL", { configurable: true, value: PhoneUrl });
    Object.defineProperty(globalThis, "Blob", { configurable: true, value: class Blob {} });
    for (const name of ["MessageChannel", "AbortSignal"]) {
      Object.defineProperty(globalThis, name, { configurable: true, value: undefined });
    }
  });

  after(() => {
    for (const name of ["crypto", "URL", "Blob", "MessageChannel", "AbortSignal"]) {
      Object.defineProperty(globalThis, name, own[name as "URL"]!);
    }
  });

  for (const name of goldenNames()) {
    it(`${name} answers as elsewhere, one text and several`, async () => {
      const [here, there] = [await loaded(name), await load(folder(name), { backend, threads: 1 })];
      const texts = ["once upon a time", "what is the weather", "a"];
      if (here.task === "generate") {
        const options = { maxNewTokens: 12 };
        for (const given of [texts, texts.slice(0, 1)]) {
          const [a, b] = [await there.generate(given, options), await here.generate(given, options)];
          assert.deepEqual(a.map((x) => x.tokenIds), b.map((x) => x.tokenIds));
        }
        const [drawn, expected] = await Promise.all(
          [there, here].map((model) => model.generate(texts, { ...options, temperature: 1, seed: 7 })),
        );
        assert.deepEqual(drawn!.map((x) => x.text), expected!.map((x) => x.text));
      } else {
        assert.deepEqual(await there.classify(texts), await here.classify(texts));
      }
    });
  }

  it("a stream can be left, and a fresh seed needs no Web Cryptography", async () => {
    const model = await load(folder("decoder-shared"), { backend, threads: 1 });
    for await (const chunk of model.stream("once upon a time", { temperature: 1, maxNewTokens: 20 })) {
      assert.ok(chunk.text.length > 0);
      break;
    }
  });

  it("a bundle of one file comes from a URL, with a key in it, by a fetch without streams", async () => {
    const asked: string[] = [];
    const fetch = async (url: string) => {
      asked.push(url);
      const path = url.slice("https://example.org/a%20b/".length).split("?")[0]!;
      const { buffer } = new Uint8Array(readFileSync(join(golden("encoder-shared"), path)));
      return { ok: true, status: 200, arrayBuffer: async () => buffer } as Response;
    };
    const options = { fetch, backend: { ...node, env: { versions: {} } } };
    const model = await load("https://example.org/a%20b/bundle.json?key=1#top", options);
    assert.deepEqual(await model.classify("a"), await (await loaded("encoder-shared")).classify("a"));
    assert.ok(asked.length > 3 && asked.every((url) => /^https:\/\/example\.org\/a%20b\/[^?]+\?key=1$/.test(url)));
  });

  it("an adapter that was altered is refused", async () => {
    const source = folder("encoder-shared");
    const read: Source["read"] = async (path, reading) => {
      const bytes = await source.read(path, reading);
      if (path.endsWith("mood.safetensors")) bytes[bytes.length - 1]! ^= 1;
      return bytes;
    };
    await assert.rejects(load({ ...source, read }, { backend }), /mood\.safetensors: its SHA-256 is not the one/);
  });
});
