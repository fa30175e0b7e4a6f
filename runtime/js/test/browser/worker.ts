/** The test's worker, as an app writes it. */

import * as ort from "onnxruntime-web";

import { serve } from "../../dist/worker.js";

ort.env.wasm.wasmPaths = "/ort/";
ort.env.wasm.numThreads = 1;
serve({ backend: ort });
