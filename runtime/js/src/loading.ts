/** A bundle, opened: the manifest, its files, the tokenizer, the adapters and the graph, in this order. */

import type { InferenceSession } from "onnxruntime-common";

import { type Adapter, foldedAdapter, readAdapter } from "./adapter.js";
import { AdapterSet } from "./adapter_set.js";
import { type Backend, foundBackend, takesPaths } from "./backend.js";
import { type Access, BundleFiles, type LoadProgress, openedManifest } from "./bundle_files.js";
import { SharedDecoder } from "./decoder.js";
import { type Device, hasGpu } from "./device.js";
import { Encoder } from "./encoder.js";
import { AdapterError } from "./errors.js";
import { graphFile, type Manifest, weightFiles } from "./manifest.js";
import { Model } from "./model.js";
import { checkWhole } from "./option_checks.js";
import { checkGraph, type GraphFiles, openSession } from "./session.js";
import { listed, shown } from "./shown.js";
import { type BundleSource, type Fetch, sourceFrom } from "./source.js";
import { StandaloneDecoder } from "./standalone.js";
import { cacheStore, type Store } from "./store.js";
import { readTokenizer } from "./tokenizer.js";
import type { Trust } from "./trust.js";

/** What `load` takes beside the bundle. */
export interface LoadOptions {
  /**
   * The module `onnxruntime-web`, `onnxruntime-node` or `onnxruntime-react-native`. Left out: the one of the platform is
   * imported, if it is installed.
   */
  readonly backend?: unknown;
  /** Threads of the graph; left out: the backend's own default. */
  readonly threads?: number | undefined;
  /**
   * `"webgpu"`: the GPU where there is one and the build of `onnxruntime-web` has it, else WebAssembly. `"wasm"`,
   * `"cpu"`: no GPU. Left out: as `"webgpu"`, but neither for weights in int8, whose products WebGPU lacks, nor on a GPU
   * that is imitated in software. `model.device` says what it has become.
   */
  readonly device?: Device | undefined;
  /** More that ONNX Runtime takes; with `executionProviders` nothing else is tried. */
  readonly sessionOptions?: InferenceSession.SessionOptions | undefined;
  /** Whether every file that is read is compared with its SHA-256; left out: true. */
  readonly verify?: boolean | undefined;
  /** Who must have signed the bundle, and what `addAdapter` takes: `signatures` of `edgetune-runtime/signatures`. */
  readonly trust?: Trust | undefined;
  /**
   * Whether special tokens that a text holds, such as `<|im_end|>`, are characters like others; left out: true. False:
   * they control the model.
   */
  readonly splitSpecialTokens?: boolean | undefined;
  /** Which of the bundle's adapters are read, beside the default one; left out: all. */
  readonly adapters?: readonly string[] | undefined;
  /** Where downloads are kept; null: nowhere. Left out: in the Cache API where there is one. */
  readonly store?: Store | null | undefined;
  /** Called as bytes come. */
  readonly onProgress?: ((progress: LoadProgress) => unknown) | undefined;
  /** Once it is aborted, `load` rejects with its reason. */
  readonly signal?: AbortSignal | undefined;
  /** In place of the global `fetch`, for headers or an address of one's own. */
  readonly fetch?: Fetch | undefined;
}

/**
 * The model in a bundle: see `BundleSource` for what can be passed.
 *
 * Rejects with BundleError if the bundle is missing, incomplete, altered or of an unknown version, AdapterError if one of
 * its adapters does not fit, SignatureError, a BundleError, if no key that `trust` knows has signed it, OptionError or
 * InputError for an option that is not, MissingExtraError where no ONNX Runtime is installed.
 */
export async function load(bundle: BundleSource, options: LoadOptions = {}): Promise<Model> {
  const { verify = true, trust, signal, onProgress } = options;
  checkWhole("threads", options.threads, 1);
  const source = sourceFrom(bundle, options.fetch);
  const store = options.store === undefined ? ownStore(source.isRemote) : options.store;
  const access: Access = { source, store, verify, trust, signal, onProgress };
  signal?.throwIfAborted();
  const backend = await foundBackend(options.backend);
  const manifest = await openedManifest(access);
  const files = new BundleFiles(access, manifest);
  const names = chosenNames(manifest, options.adapters);
  const paths = names.map((name) => manifest.adapters.get(name)!);
  const { file, chatTemplate } = manifest.tokenizer;
  const chatFiles = chatTemplate === null ? [] : [chatTemplate];
  files.expect([file, ...chatFiles, ...paths, graphFile(manifest.graph), ...weightFiles(manifest)]);
  const [tokenizer, [template], adapters, graph] = await Promise.all([
    files.read(file).then((bytes) => readTokenizer(bytes, files.where(file), options.splitSpecialTokens)),
    Promise.all(chatFiles.map((path) => files.read(path))),
    Promise.all(names.map((name) => bundledAdapter(files, manifest, name))),
    graphFiles(files, manifest, backend, access),
  ]);
  signal?.throwIfAborted();
  const where = files.where(graphFile(manifest.graph));
  const { device, sessionOptions: given } = options;
  const onGpu = !given?.executionProviders && (device ? device === "webgpu" : manifest.precision !== "int8" && (await hasGpu()));
  const session = await openSession(graph, where, { backend, onGpu, sessionOptions: sessionOptions(backend, options) });
  checkGraph(session, manifest, where);
  const known = manifest.standalone ? [foldedAdapter(manifest.standalone)] : adapters;
  const isEncoder = manifest.kind === "encoder";
  const Engine = manifest.standalone ? StandaloneDecoder : SharedDecoder;
  return new Model({
    manifest,
    tokenizer,
    adapters: new AdapterSet(manifest, known),
    session,
    trust,
    encoder: isEncoder ? new Encoder(session, manifest) : null,
    decoder: isEncoder ? null : new Engine(session, manifest.graph),
    chatTemplate: template ? new TextDecoder().decode(template) : null,
  });
}

/** Downloads are kept where the platform keeps such things. */
function ownStore(isRemote: boolean): Store | null {
  return isRemote && "caches" in globalThis ? cacheStore() : null;
}

function chosenNames(manifest: Manifest, wanted: readonly string[] | undefined): string[] {
  const known = [...manifest.adapters.keys()];
  const missing = wanted?.find((name) => !manifest.adapters.has(name));
  if (missing !== undefined) {
    throw new AdapterError(`adapters: no adapter ${shown(missing)} in this bundle. Known: ${listed(known)}.`);
  }
  return known.filter((name) => !wanted || wanted.includes(name) || name === manifest.defaultAdapter);
}

async function bundledAdapter(files: BundleFiles, manifest: Manifest, name: string): Promise<Adapter> {
  const path = manifest.adapters.get(name)!;
  return readAdapter(await files.read(path), files.where(path), manifest, name);
}

async function graphFiles(
  files: BundleFiles,
  manifest: Manifest,
  backend: Backend,
  { source, verify }: Access,
): Promise<GraphFiles> {
  const file = graphFile(manifest.graph);
  const beside = weightFiles(manifest);
  if (source.pathOf && source.hash && takesPaths(backend)) {
    if (verify) await Promise.all([file, ...beside].map((path) => files.check(path)));
    return { path: source.pathOf(file) };
  }
  const [bytes, ...data] = await Promise.all([file, ...beside].map((path) => files.read(path)));
  return { bytes: bytes!, beside: beside.map((path, i) => ({ path: path.split("/").at(-1)!, data: data[i]! })) };
}

function sessionOptions(backend: Backend, { threads, sessionOptions }: LoadOptions): InferenceSession.SessionOptions {
  if (threads === undefined) return sessionOptions ?? {};
  // builds for browsers take it from here, before the first session
  if (!takesPaths(backend) && backend.env?.wasm) backend.env.wasm.numThreads = threads;
  return { intraOpNumThreads: threads, ...sessionOptions };
}
