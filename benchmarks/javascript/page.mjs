/** One engine in a page: `start` loads it, `ask` measures. */

import { answered, local, ours, theirs } from "./engines.mjs";

const at = (path) => new URL(path, location.href).href;

let running;
globalThis.ask = (question) => answered(running, question);

globalThis.start = async (engine, path, { threads, dtype, device }) => {
  if (engine === "ours") {
    const [runtime, backend] = await Promise.all([import("edgetune-runtime"), import("onnxruntime-web")]);
    backend.env.wasm.numThreads = threads;
    backend.env.wasm.wasmPaths = at("/ort/");
    running = await ours(runtime, { source: path, backend, threads, adapter: at("/adapter.safetensors") });
    return `edgetune-runtime, onnxruntime-web ${backend.env.versions.web}`;
  }
  const library = local(await import("@huggingface/transformers"), "/");
  Object.assign(library.env.backends.onnx.wasm, { numThreads: threads, wasmPaths: at("/their-ort/") });
  library.env.useBrowserCache = false;
  running = await theirs(library, { source: path, dtype, device, threads });
  return `transformers.js ${library.env.version}`;
};
globalThis.ready = true;
