/** The ONNX graph of a bundle, opened with ONNX Runtime. */

import type { InferenceSession, Tensor } from "onnxruntime-common";

import { type Backend, type Numbers } from "./backend.js";
import { type Device, deviceOf } from "./device.js";
import { BundleError, said } from "./errors.js";
import type { Floats } from "./floats.js";
import { type Manifest } from "./manifest.js";
import { optionalInputs } from "./optional_inputs.js";
import { turn } from "./turn.js";

/** What a graph is fed, by name. */
export type Feeds = Record<string, Numbers>;

/** How a graph is opened. */
export interface Resources {
  readonly backend: Backend;
  /** What ONNX Runtime takes; what is left out here is its own default. */
  readonly sessionOptions: InferenceSession.SessionOptions;
  /** Whether WebGPU is tried first. */
  readonly onGpu: boolean;
}

/** The bytes of a graph and of the files beside it, or where a backend finds it itself. */
export type GraphFiles =
  | { readonly path: string }
  | { readonly bytes: Uint8Array; readonly beside: readonly { readonly path: string; readonly data: Uint8Array }[] };

const OPTIONS: InferenceSession.SessionOptions = {
  // errors only: warnings are for the exporter
  logSeverityLevel: 3,
  // a pattern would be stored for every new length of the mask, and save nothing
  enableMemPattern: false,
};

/** A graph that is ready to run. Runs go one after the other. */
export class Session {
  #last: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly inner: InferenceSession,
    private readonly backend: Backend,
    readonly device: Device,
  ) {}

  get inputNames(): readonly string[] {
    return this.inner.inputNames;
  }

  get outputNames(): readonly string[] {
    return this.inner.outputNames;
  }

  /** The outputs of the graph by name. */
  async run(feeds: Feeds, outputs: readonly string[]): Promise<Record<string, Floats>> {
    const tensors: Record<string, Tensor> = {};
    for (const [name, { data, dims }] of Object.entries(feeds)) {
      const kind = data instanceof Float32Array ? "float32" : "int64";
      tensors[name] = new this.backend.Tensor(kind, data as Float32Array, dims);
    }
    return (await this.#inTurn(() => this.inner.run(tensors, outputs))) as unknown as Record<string, Floats>;
  }

  /** Its memory is free; it cannot run any more. */
  async release(): Promise<void> {
    await this.#inTurn(() => this.inner.release());
  }

  #inTurn<T>(action: () => Promise<T>): Promise<T> {
    // a backend may compute before it returns: events get their turn first
    const done = this.#last.then(turn).then(action);
    this.#last = done.catch(() => undefined);
    return done;
  }
}

/** A session over the graph; throws BundleError, naming `where`, if the backend cannot open it. */
export async function openSession(files: GraphFiles, where: string, resources: Resources): Promise<Session> {
  const { backend, onGpu, sessionOptions } = resources;
  const opened = async (more: InferenceSession.SessionOptions) => {
    const options = { ...OPTIONS, ...sessionOptions, ...more };
    const inner =
      "path" in files
        ? await backend.InferenceSession.create(files.path, options)
        : await backend.InferenceSession.create(files.bytes, {
            ...options,
            ...(files.beside.length && { externalData: files.beside }),
          });
    return new Session(inner, backend, deviceOf(backend, options));
  };
  try {
    // a build without WebGPU says so at once, and a graph may need what WebGPU lacks
    const found = onGpu && (await opened({ executionProviders: ["webgpu"] }).catch(() => null));
    return found || (await opened({}));
  } catch (error) {
    throw new BundleError(`${where}: ONNX Runtime cannot open the graph (${said(error)}). Export it again.`);
  }
}

/** The output with the new positions of all keys and values, one behind the other. */
export const NEW_POSITIONS = "present.new";

/** Names of the inputs of all keys and values, in the order in which adapters hold them. */
export function pastNames(layers: number): string[] {
  return named("past_key_values", layers);
}

/** Names of the outputs that belong to `pastNames`. */
export function presentNames(layers: number): string[] {
  return named("present", layers);
}

function named(name: string, layers: number): string[] {
  return Array.from({ length: layers }, (_, i) => [`${name}.${i}.key`, `${name}.${i}.value`]).flat();
}

/** The graph has the inputs and outputs of its form; throws BundleError, naming one that is not there. */
export function checkGraph(session: Session, manifest: Manifest, where: string): void {
  const { graph, kind, form } = manifest;
  const layers = graph.layers.length;
  const inputs = ["input_ids", "attention_mask"];
  const outputs = ["logits"];
  if (kind === "decoder") {
    inputs.push(...pastNames(layers));
    outputs.push(...(graph.newPositionsFile === null ? presentNames(layers) : [NEW_POSITIONS]));
  } else if (form === "shared") {
    inputs.push("prompt_embeds", ...pastNames(layers), "head.weight", "head.bias");
    if (graph.denseHeads) inputs.push("head.dense.weight", "head.dense.bias", "head.dense.activation");
  }
  if (form === "shared") inputs.push(...optionalInputs(graph));
  const missing = (wanted: string[], have: readonly string[]) => wanted.find((name) => !have.includes(name));
  const input = missing(inputs, session.inputNames);
  const lost = input ?? missing(outputs, session.outputNames);
  if (lost !== undefined) {
    throw new BundleError(
      `${where}: the graph has no ${input === undefined ? "output" : "input"} \`${lost}\`. Export the bundle again.`,
    );
  }
}

