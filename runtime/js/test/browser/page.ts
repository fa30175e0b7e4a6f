/** What the test's page offers: this package and ONNX Runtime, as an app bundles them. */

import * as ort from "onnxruntime-web";

import { fileStore } from "../../dist/file_store.js";
import { load } from "../../dist/index.js";
import { loadInWorker } from "../../dist/remote.js";
import { signatures } from "../../dist/signatures.js";

ort.env.wasm.wasmPaths = "/ort/";
ort.env.wasm.numThreads = 1;

/** Those that ONNX Runtime has made. */
const memories: WebAssembly.Memory[] = [];
WebAssembly.Memory = class extends WebAssembly.Memory {
  constructor(descriptor: WebAssembly.MemoryDescriptor) {
    super(descriptor);
    memories.push(this);
  }
};

Object.assign(globalThis, {
  memoryBytes: () => memories.reduce((sum, memory) => sum + memory.buffer.byteLength, 0),
  loaded: (bundle: any, options: object = {}) => load(bundle, { backend: ort, ...options }),
  loadedInWorker: (bundle: any, script = "/worker.js") =>
    loadInWorker(new Worker(script, { type: "module" }), bundle),
  fileStore,
  signatures,
});
