/** The builds of ONNX Runtime that run here, and the golden bundles. */

import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";

import * as node from "onnxruntime-node";
import * as web from "onnxruntime-web";

import { type LoadOptions, type Model, load } from "../dist/index.js";

// one thread: other tests run beside these
web.env.wasm.numThreads = 1;

/** By name; that for browsers runs its WebAssembly in Node as well. */
export const BACKENDS = { node, web } as const;

export type BackendName = keyof typeof BACKENDS;

/** `tests/golden`, which every language's tests read; from `runtime/js`, where the tests are started. */
export const GOLDEN = process.env["EDGETUNE_GOLDEN"] ?? join("..", "..", "tests", "golden");

/** Their names: `decoder-shared`, …, `methods/decoder`, …. */
export function goldenNames(): string[] {
  return readdirSync(GOLDEN, { recursive: true, encoding: "utf8" })
    .filter((path) => basename(path) === "bundle.json")
    .map(dirname)
    .sort();
}

/** The folder of one. */
export function golden(name: string): string {
  return join(GOLDEN, name);
}

/** The files of one, as a browser has those that a user chose. */
export function goldenFiles(name: string): Map<string, Blob> {
  const paths = readdirSync(golden(name), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
  return new Map(paths.map((path) => [path.slice(golden(name).length + 1), new Blob([readFileSync(path)])]));
}

const models = new Map<string, Promise<Model>>();

/** Loads every bundle once with each backend. */
export function loaded(name: string, backend: BackendName = "node", options: LoadOptions = {}): Promise<Model> {
  const key = `${backend} ${name}`;
  if (!models.has(key)) {
    models.set(key, load(golden(name), { backend: BACKENDS[backend], threads: 1, ...options }));
  }
  return models.get(key)!;
}
