/**
 * On a page: a model that lives in a worker, with the calls of `Model`.
 *
 *     const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
 *     const model = await loadInWorker(worker, "https://example.org/bundle");
 *     (await model.classify("What a lovely day")).label;
 */

import type { LoadProgress } from "./bundle_files.js";
import type { Device } from "./device.js";
import { EdgetuneError } from "./errors.js";
import type { TokenIds } from "./inputs.js";
import type { LoadOptions } from "./loading.js";
import type { AddAdapterOptions, GenerateOptions, Model } from "./model.js";
import { type Asked, type Call, type Description, errorFrom, type Port, type Told } from "./protocol.js";
import type { AdapterInfo, Chunk } from "./results.js";
import type { BundleSource, FileLike } from "./source.js";
import type { WarmUpOptions } from "./warming.js";

/** What `load` takes, but for what the worker decides. */
export type RemoteLoadOptions = Omit<LoadOptions, "backend" | "store" | "fetch" | "trust">;

/**
 * The model in a bundle, in a worker in which `serve` was called. A `Source` of one's own cannot be sent there.
 *
 * Rejects as `load` does, and with EdgetuneError if the worker cannot be started.
 */
export async function loadInWorker(
  worker: Port,
  bundle: Exclude<BundleSource, { read: unknown }>,
  options: RemoteLoadOptions = {},
): Promise<RemoteModel> {
  const { signal, onProgress, ...given } = options;
  const line = new Line(worker);
  const onEvent = onProgress && ((event: unknown) => onProgress(event as LoadProgress));
  const description = line.asked("load", [fromHere(bundle), given], signal, onEvent);
  return new RemoteModel(line, (await description) as Description);
}

/** Its calls are those of `Model`; errors of a stream's arguments come with its first chunk. */
export class RemoteModel implements Pick<Model, "classify" | "regress" | "generate" | "stream" | "addAdapter"> {
  readonly #line: Line;
  #description: Description;

  /** Remote models are made by `loadInWorker`. */
  constructor(line: Line, description: Description) {
    this.#line = line;
    this.#description = description;
  }

  /** See `Model`. */
  get kind(): "encoder" | "decoder" {
    return this.#description.kind;
  }

  /** See `Model`. */
  get task(): string {
    return this.#description.task;
  }

  /** See `Model`. */
  get device(): Device {
    return this.#description.device;
  }

  /** See `Model`. */
  get adapters(): ReadonlyMap<string, AdapterInfo> {
    return this.#description.adapters;
  }

  /** See `Model`. */
  get defaultAdapter(): string | null {
    return this.#description.defaultAdapter;
  }

  /** See `Model`. */
  readonly classify: Model["classify"] = (texts: unknown, options: unknown = {}): Promise<any> =>
    this.#line.asked("classify", [texts, options]);

  /** See `Model`. */
  readonly regress: Model["regress"] = (texts: unknown, options: unknown = {}): Promise<any> =>
    this.#line.asked("regress", [texts, options]);

  /** See `Model`. */
  readonly generate: Model["generate"] = (texts: unknown, options: GenerateOptions<any> = {}): Promise<any> => {
    const { signal, onChunk, ...given } = options;
    const onEvent = onChunk ? (event: unknown) => void onChunk(event as Chunk) : undefined;
    return this.#line.asked("generate", [texts, given], undefined, onEvent, signal);
  };

  /** See `Model`. */
  async *stream(text: string | TokenIds, options: GenerateOptions = {}): AsyncGenerator<Chunk, void, undefined> {
    const { signal, onChunk, ...given } = options;
    const left = new AbortController();
    const either = signal ? AbortSignal.any([signal, left.signal]) : left.signal;
    const chunks: Chunk[] = [];
    let more: (() => void) | null = null;
    let isOver = false;
    const wake = () => more?.();
    const onEvent = (event: unknown) => {
      chunks.push(event as Chunk);
      wake();
    };
    const done = this.#line.asked("stream", [text, given], undefined, onEvent, either);
    const over = () => {
      isOver = true;
      wake();
    };
    done.then(over, over);
    try {
      while (!isOver || chunks.length) {
        const chunk = chunks.shift();
        if (chunk) {
          onChunk?.(chunk);
          yield chunk;
        } else {
          await new Promise<void>((resolve) => (more = resolve));
        }
      }
      await done;
    } finally {
      left.abort();
    }
  }

  /** See `Model`. */
  async addAdapter(file: FileLike, options: AddAdapterOptions = {}): Promise<AdapterInfo> {
    const { signal, signature, ...given } = options;
    const args = [fromHere(file), { ...given, signature: fromHere(signature) }];
    const answer = await this.#line.asked("addAdapter", args, signal);
    const [info, description] = answer as [AdapterInfo, Description];
    this.#description = description;
    return info;
  }

  /** As `Model.removeAdapter`, once the worker has done it. */
  async removeAdapter(name: string): Promise<void> {
    this.#description = (await this.#line.asked("removeAdapter", [name])) as Description;
  }

  /** As `warmUp` of `edgetune-runtime/warming`, over there. */
  async warmUp(options: WarmUpOptions = {}): Promise<void> {
    await this.#line.asked("warmUp", [options]);
  }

  /** Its memory is free; the worker goes on until it is terminated. */
  async release(): Promise<void> {
    await this.#line.asked("release", []);
  }
}

interface Waiting {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly onEvent: ((event: unknown) => void) | undefined;
}

/** Calls over a port, each with its answer. */
class Line {
  readonly #waiting = new Map<number, Waiting>();
  #calls = 0;

  constructor(private readonly port: Port) {
    port.addEventListener("message", ({ data }: { data: Told }) => this.#hear(data));
    port.addEventListener("error", ({ message }: { message?: string }) => {
      const error = new EdgetuneError(
        `the worker failed (${message || "its script cannot be run"}). Check its address and that it calls serve().`,
      );
      for (const { reject } of this.#waiting.values()) reject(error);
      this.#waiting.clear();
    });
    port.start?.();
  }

  /** The answer. `signal` ends the call with its reason; `stop` ends it over there, with what there is by then. */
  asked(
    call: Call,
    args: readonly unknown[],
    signal?: AbortSignal | null,
    onEvent?: (event: unknown) => void,
    stop?: AbortSignal | null,
  ): Promise<unknown> {
    const id = ++this.#calls;
    const abort = () => this.#send({ edgetune: "abort", id });
    const rejectHere = () => this.#waiting.get(id)?.reject(signal!.reason);
    const done = new Promise<unknown>((resolve, reject) => {
      signal?.throwIfAborted();
      this.#waiting.set(id, { resolve, reject, onEvent });
      this.#send({ edgetune: "call", id, call, args });
      signal?.addEventListener("abort", abort);
      signal?.addEventListener("abort", rejectHere);
      stop?.addEventListener("abort", abort);
      if (stop?.aborted) abort();
    });
    return done.finally(() => {
      this.#waiting.delete(id);
      signal?.removeEventListener("abort", abort);
      signal?.removeEventListener("abort", rejectHere);
      stop?.removeEventListener("abort", abort);
    });
  }

  #send(asked: Asked): void {
    this.port.postMessage(asked);
  }

  #hear(told: Told): void {
    const waiting = this.#waiting.get(told?.id);
    if (told?.edgetune === "event") waiting?.onEvent?.(told.event);
    else if (told?.edgetune === "result") waiting?.resolve(told.result);
    else if (told?.edgetune === "error") waiting?.reject(errorFrom(told.name, told.message));
  }
}

/** URLs cannot be sent as such, and a worker would read them relative to its own script. */
function fromHere<T>(given: T): T | string {
  const page = (globalThis as { document?: Document }).document?.baseURI;
  if (given instanceof URL) return given.href;
  return typeof given === "string" && page !== undefined ? new URL(given, page).href : given;
}
