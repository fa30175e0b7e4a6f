/** The script of a worker thread, as an app in Node writes it. */

import { parentPort } from "node:worker_threads";

import * as ort from "onnxruntime-node";

import type { Port } from "../dist/protocol.js";
import { serve } from "../dist/worker.js";

serve({ backend: ort }, parentPort as unknown as Port);
