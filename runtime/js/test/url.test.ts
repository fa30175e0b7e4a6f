/** Bundles over a network: kept for the next visit, checked again, and there without a network; over a local server. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, before, beforeEach, describe, it } from "node:test";

import { fileStore } from "../dist/file_store.js";
import { AdapterError, BundleError, cacheStore, load, type Store } from "../dist/index.js";
import { BACKENDS, GOLDEN, golden } from "./backends.js";

let server: Server;
let origin: string;
/** Paths that were asked for. */
let asked: string[] = [];
/** What is done in place of an answer. */
let instead: ((request: IncomingMessage, response: ServerResponse) => boolean) | null = null;

before(async () => {
  server = createServer((request, response) => {
    asked.push(request.url!);
    if (instead?.(request, response)) return;
    try {
      response.end(readFileSync(join(GOLDEN, decodeURIComponent(new URL(request.url!, "http://x").pathname))));
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

after(() => {
  server.closeAllConnections();
  server.close();
});

beforeEach(() => {
  asked = [];
  instead = null;
});

/** A store in memory, as an app may write one. */
class MemoryStore implements Store {
  readonly kept = new Map<string, Uint8Array>();

  async get(key: string) {
    return this.kept.get(key);
  }

  async put(key: string, bytes: Uint8Array) {
    assert.match(key, /^[\w.-]+$/);
    this.kept.set(key, bytes.slice());
  }

  async delete(key: string) {
    this.kept.delete(key);
  }

  async keys() {
    return [...this.kept.keys()];
  }
}

/** The Cache API, as far as a store uses it. */
function fakeCaches(): CacheStorage {
  const caches = new Map<string, Map<string, ArrayBuffer>>();
  const open = async (name: string) => {
    const held = caches.get(name) ?? new Map<string, ArrayBuffer>();
    caches.set(name, held);
    return {
      match: async (url: string) => held.has(url) ? new Response(held.get(url)) : undefined,
      put: async (url: string, response: Response) => void held.set(new URL(url).href, await response.arrayBuffer()),
      delete: async (url: string) => held.delete(url),
      keys: async () => [...held.keys()].map((url) => new Request(url)),
    };
  };
  return { open } as unknown as CacheStorage;
}

/** The origin private file system, as far as a store uses it. */
function fakeFiles() {
  const missing = () => new DOMException("no such file", "NotFoundError");
  const folders = new Map<string, Map<string, Uint8Array>>();
  const handleOf = (files: Map<string, Uint8Array>) => ({
    async getFileHandle(name: string, options?: { create: boolean }) {
      if (!files.has(name) && !options?.create) throw missing();
      return {
        getFile: async () => new Blob([files.get(name)! as Uint8Array<ArrayBuffer>]),
        async createWritable() {
          let written = new Uint8Array();
          return {
            write: async (bytes: Uint8Array) => void (written = bytes.slice() as Uint8Array<ArrayBuffer>),
            close: async () => void files.set(name, written),
          };
        },
      };
    },
    async removeEntry(name: string) {
      if (!files.delete(name)) throw missing();
    },
    keys: () => files.keys(),
  });
  const root = {
    async getDirectoryHandle(name: string) {
      folders.set(name, folders.get(name) ?? new Map());
      return handleOf(folders.get(name)!);
    },
  };
  return { getDirectory: async () => root as unknown as FileSystemDirectoryHandle };
}

const OPTIONS = { backend: BACKENDS.node, threads: 1 };
const ALL = 6 + 1; // three adapters, the graph, its weights, the tokenizer; the manifest

async function tokensOf(url: string, options: object = {}): Promise<readonly number[]> {
  const model = await load(url, { ...OPTIONS, ...options });
  const { tokenIds } = await model.generate("once upon a time", { maxNewTokens: 6 });
  await model.release();
  return tokenIds;
}

it("a URL gives the answers of the folder, whatever its end", async () => {
  const expected = await tokensOf(golden("decoder-shared"));
  assert.equal(expected.length, 6);
  for (const end of ["", "/", "/bundle.json"]) {
    assert.deepEqual(await tokensOf(`${origin}/decoder-shared${end}`), expected);
  }
  assert.equal(asked.length, 3 * ALL);
  assert.deepEqual(await tokensOf(`${origin}/decoder-shared?key=1`), expected);
  assert.ok(asked.includes("/decoder-shared/adapters/soft.safetensors?key=1"));
});

it("a web backend takes graph and weights from a URL as bytes", async () => {
  const expected = await tokensOf(golden("decoder-shared"));
  assert.deepEqual(await tokensOf(`${origin}/decoder-shared`, { backend: BACKENDS.web }), expected);
});

describe("a second visit asks for the manifest alone, and a third needs no network", () => {
  const stores: [string, () => Store][] = [
    ["a store of one's own", () => new MemoryStore()],
    ["the Cache API", () => cacheStore("models", fakeCaches())],
    ["the origin private file system", () => fileStore("models", fakeFiles())],
  ];
  for (const [name, made] of stores) {
    it(name, async () => {
      const store = made();
      const first = await tokensOf(`${origin}/decoder-shared`, { store });
      assert.equal(asked.length, ALL);
      assert.equal((await store.keys()).length, ALL);
      const seen: number[] = [];
      const onProgress = ({ loadedBytes, totalBytes }: any) => seen.push(loadedBytes / totalBytes);
      assert.deepEqual(await tokensOf(`${origin}/decoder-shared`, { store, onProgress }), first);
      assert.deepEqual(asked.slice(ALL), ["/decoder-shared/bundle.json"]);
      assert.equal(seen.at(-1), 1);
      const offline = () => Promise.reject(new TypeError("fetch failed"));
      assert.deepEqual(await tokensOf(`${origin}/decoder-shared`, { store, fetch: offline }), first);
      await assert.rejects(load(`${origin}/decoder-standalone`, { ...OPTIONS, store, fetch: offline }), TypeError);
      for (const key of await store.keys()) await store.delete(key);
      assert.deepEqual(await store.keys(), []);
      await store.delete("sha256-00");
      assert.equal(await store.get("sha256-00"), undefined);
    });
  }
});

it("two bundles on one base share what is the same", async () => {
  const store = new MemoryStore();
  await tokensOf(`${origin}/decoder-shared`, { store });
  asked = [];
  await tokensOf(`${origin}/decoder-standalone`, { store });
  assert.deepEqual(asked.sort(), ["/decoder-standalone/bundle.json", "/decoder-standalone/model.onnx"]);
});

it("a kept file that is broken is downloaded again", async () => {
  const store = new MemoryStore();
  const first = await tokensOf(`${origin}/decoder-shared`, { store });
  for (const [key, bytes] of store.kept) if (key.startsWith("sha256-")) bytes[0]! ^= 1;
  asked = [];
  assert.deepEqual(await tokensOf(`${origin}/decoder-shared`, { store }), first);
  assert.equal(asked.length, ALL);
  asked = [];
  await tokensOf(`${origin}/decoder-shared`, { store });
  assert.equal(asked.length, 1);
});

it("a store that is full keeps nothing, says so, and the model runs", async (t) => {
  const warned = t.mock.method(console, "warn", () => undefined);
  const store = new MemoryStore();
  store.put = () => Promise.reject(new DOMException("full", "QuotaExceededError"));
  assert.equal((await tokensOf(`${origin}/decoder-shared`, { store })).length, 6);
  assert.match(String(warned.mock.calls[0]!.arguments[0]), /could not be kept/);
});

it("what a server changed on the way is refused, and not kept", async () => {
  const store = new MemoryStore();
  instead = (request, response) => {
    if (!request.url!.endsWith("tokenizer.json")) return false;
    response.end(readFileSync(join(golden("decoder-shared"), "tokenizer.json")).fill(32, 5, 6));
    return true;
  };
  await assert.rejects(load(`${origin}/decoder-shared`, { ...OPTIONS, store }), /tokenizer\.json: its SHA-256 is not/);
  const sizes = [...store.kept.values()].map((bytes) => bytes.length);
  assert.ok(!sizes.includes(4366));
});

it("a file that never ends is not read to its end", { timeout: 30_000 }, async () => {
  instead = (request, response) => {
    if (!request.url!.endsWith("model.new_positions.onnx")) return false;
    const timer = setInterval(() => response.write(Buffer.alloc(1 << 16)), 1);
    response.on("close", () => clearInterval(timer));
    return true;
  };
  await assert.rejects(load(`${origin}/decoder-shared`, OPTIONS), /model\.new_positions\.onnx: has \d+ bytes where/);
});

it("what is not there is a BundleError that names the address and the answer", async () => {
  await assert.rejects(load(`${origin}/nothing`, OPTIONS), (error: unknown) => {
    assert.ok(error instanceof BundleError);
    assert.match(error.message, /nothing\/bundle\.json: the server answers 404/);
    return true;
  });
  // a server that says no is believed, though an older visit kept everything
  const store = new MemoryStore();
  await tokensOf(`${origin}/decoder-shared`, { store });
  instead = (_, response) => Boolean(response.writeHead(410).end());
  await assert.rejects(load(`${origin}/decoder-shared`, { ...OPTIONS, store }), BundleError);
});

it("an aborted download ends with the signal's reason", async () => {
  const controller = new AbortController();
  instead = (request) => {
    if (!request.url!.endsWith("model.onnx.data")) return false;
    setTimeout(() => controller.abort(new Error("the user left")), 20);
    return true; // and never answers
  };
  await assert.rejects(load(`${origin}/decoder-shared`, { ...OPTIONS, signal: controller.signal }), /the user left/);
});

it("an adapter is added from a URL, a Blob, bytes and a path", async () => {
  const model = await load(golden("encoder-shared"), OPTIONS);
  const path = join(golden("encoder-shared"), "adapters", "mood.safetensors");
  const expected = await model.classify("I am so happy", { adapter: "mood" });
  const bytes = new Uint8Array(readFileSync(path));
  const files = [`${origin}/encoder-shared/adapters/mood.safetensors`, path, new Blob([bytes]), bytes, bytes.buffer];
  for (const [i, file] of files.entries()) {
    const info = await model.addAdapter(file, { name: `mood ${i}` });
    assert.deepEqual([info.name, info.task, info.labels], [`mood ${i}`, "classify", ["happy", "sad"]]);
    assert.deepEqual(await model.classify("I am so happy", { adapter: `mood ${i}` }), expected);
  }
  await assert.rejects(model.addAdapter(`${origin}/encoder-shared/adapters/none.safetensors`), AdapterError);
  await assert.rejects(model.addAdapter("no/such.safetensors"), /no\/such\.safetensors: cannot be read/);
});
