/**
 * Inside a worker: holds a model and answers a page that has `loadInWorker`, so that the page never freezes.
 *
 *     import * as ort from "onnxruntime-web";
 *     import { serve } from "edgetune-runtime/worker";
 *     serve({ backend: ort });
 */

import { said } from "./errors.js";
import { load, type LoadOptions } from "./loading.js";
import type { Model } from "./model.js";
import type { Asked, Call, Description, Port, Told } from "./protocol.js";
import { warmUp } from "./warming.js";

/** What the worker decides: these cannot be sent from the page. */
export type ServeOptions = Pick<LoadOptions, "backend" | "store" | "fetch" | "trust">;

/** Answers on `port`; left out, to whoever made this worker. One worker holds one model. */
export function serve(options: ServeOptions = {}, port: Port = globalThis as unknown as Port): void {
  const running = new Map<number, AbortController>();
  const tell = (told: Told) => port.postMessage(told);
  let loading: Promise<Model> | null = null;

  const answers: Record<Call, (args: any[], signal: AbortSignal, event: (x: unknown) => void) => unknown> = {
    load: async ([bundle, given], signal, onProgress) => {
      loading = load(bundle, { ...given, ...options, signal, onProgress });
      return described(await loading);
    },
    classify: async ([texts, given]) => (await loading!).classify(texts, given),
    regress: async ([texts, given]) => (await loading!).regress(texts, given),
    generate: async ([texts, given], signal, onChunk) => (await loading!).generate(texts, { ...given, signal, onChunk }),
    stream: async ([text, given], signal, event) => {
      for await (const chunk of (await loading!).stream(text, { ...given, signal })) event(chunk);
    },
    addAdapter: async ([file, given], signal) => {
      const model = await loading!;
      const info = await model.addAdapter(file, { ...given, signal });
      return [info, described(model)];
    },
    removeAdapter: async ([name]) => {
      const model = await loading!;
      model.removeAdapter(name);
      return described(model);
    },
    warmUp: async ([given]) => warmUp(await loading!, given),
    release: async () => (await loading!).release(),
  };

  port.addEventListener("message", async ({ data }: { data: Asked }) => {
    if (data?.edgetune === "abort") running.get(data.id)?.abort();
    if (data?.edgetune !== "call") return;
    const { id, call, args } = data;
    const controller = new AbortController();
    running.set(id, controller);
    try {
      const event = (x: unknown) => tell({ edgetune: "event", id, event: x });
      tell({ edgetune: "result", id, result: await answers[call]([...args], controller.signal, event) });
    } catch (error) {
      tell({ edgetune: "error", id, name: (error as Error)?.name ?? "Error", message: said(error) });
    } finally {
      running.delete(id);
    }
  });
  port.start?.();
}

function described({ kind, task, device, defaultAdapter, adapters }: Model): Description {
  return { kind, task, device, defaultAdapter, adapters };
}
