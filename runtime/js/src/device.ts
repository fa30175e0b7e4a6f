/** Where a graph runs. */

import type { InferenceSession } from "onnxruntime-common";

import { type Backend, takesPaths } from "./backend.js";

/** `"cpu"` is the processor outside of browsers. */
export type Device = "webgpu" | "wasm" | "cpu";

/** Whether there is a GPU that a page may use; one that is imitated in software is none. */
export async function hasGpu(): Promise<boolean> {
  const adapter = await (globalThis.navigator as any)?.gpu?.requestAdapter().catch(() => null);
  return !!adapter && !(adapter.info ?? adapter).isFallbackAdapter;
}

/** What runs a graph that was opened with these options: the first provider that they name, else the build's own. */
export function deviceOf(backend: Backend, { executionProviders: [first] = [] }: InferenceSession.SessionOptions) {
  return ((first as any)?.name ?? first ?? (takesPaths(backend) ? "cpu" : "wasm")) as Device;
}
