// Holds one model, so that the page never waits for it.
import * as ort from "onnxruntime-web";
import { serve } from "edgetune-runtime/worker";

ort.env.wasm.wasmPaths = new URL("ort/", self.location.href).href;
serve({ backend: ort });
