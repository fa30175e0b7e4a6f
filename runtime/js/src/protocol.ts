/** What a page and its worker say to each other. */

import type { Device } from "./device.js";
import * as errors from "./errors.js";
import type { AdapterInfo } from "./results.js";

/** One end: a `Worker`, the global scope inside of it, or a `MessagePort`. */
export interface Port {
  postMessage(message: unknown): void;
  addEventListener(type: string, listener: (event: any) => void): void;
  /** Ports deliver only once they are started. */
  start?(): void;
}

/** Functions that can be called over there. */
export type Call =
  | "load" | "classify" | "regress" | "generate" | "stream" | "addAdapter" | "removeAdapter" | "warmUp" | "release"; // prettier-ignore

/** From the page. */
export type Asked =
  | { readonly edgetune: "call"; readonly id: number; readonly call: Call; readonly args: readonly unknown[] }
  | { readonly edgetune: "abort"; readonly id: number };

/** From the worker: any number of events of a call, then its result or its error. */
export type Told =
  | { readonly edgetune: "event"; readonly id: number; readonly event: unknown }
  | { readonly edgetune: "result"; readonly id: number; readonly result: unknown }
  | { readonly edgetune: "error"; readonly id: number; readonly name: string; readonly message: string };

/** What the page knows of the model. */
export interface Description {
  readonly kind: "encoder" | "decoder";
  readonly task: string;
  readonly device: Device;
  readonly defaultAdapter: string | null;
  readonly adapters: ReadonlyMap<string, AdapterInfo>;
}

/** The error of that name, of this package's own family where it is one of them. */
export function errorFrom(name: string, message: string): Error {
  const Known = (errors as Record<string, unknown>)[name] as (new (message: string) => Error) | undefined;
  return typeof Known === "function" && name.endsWith("Error")
    ? new Known(message)
    : Object.assign(new Error(message), { name });
}
