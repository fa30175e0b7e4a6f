/** ONNX Runtime, in whichever build the device has: handed in, or found. */

import type { Env, InferenceSessionFactory, TensorConstructor } from "onnxruntime-common";

import { MissingExtraError, OptionError, said } from "./errors.js";
import { shown } from "./shown.js";

/** What this package uses of `onnxruntime-web`, `onnxruntime-node` or `onnxruntime-react-native`. */
export interface Backend {
  readonly InferenceSession: InferenceSessionFactory;
  readonly Tensor: TensorConstructor;
  readonly env: Env;
}

/** Numbers with a shape, as graphs are fed. */
export interface Numbers {
  readonly data: Float32Array | BigInt64Array;
  readonly dims: readonly number[];
}

/** The backend that was handed in, else the one that is installed; throws MissingExtraError, OptionError. */
export async function foundBackend(given?: unknown): Promise<Backend> {
  const module = (given ?? (await installed())) as Partial<Backend> & { default?: unknown };
  // a CommonJS module, imported, has its names below `default`
  const found = (module.InferenceSession ? module : (module.default ?? module)) as Partial<Backend>;
  if (typeof found.InferenceSession?.create !== "function" || typeof found.Tensor !== "function") {
    throw new OptionError(
      `backend: is ${shown(given)}. Pass the module "onnxruntime-web".`,
    );
  }
  return found as Backend;
}

/** Whether it opens a graph by its path, with its weights mapped from the file. */
export function takesPaths(backend: Backend): boolean {
  const versions = backend.env?.versions as Record<string, unknown> | undefined;
  return Boolean(versions?.["node"] ?? versions?.["react-native"]);
}

async function installed(): Promise<unknown> {
  const { name, imported } = await import("#backend");
  try {
    return await imported();
  } catch (error) {
    throw new MissingExtraError(
      `${name}: cannot be imported (${said(error)}). Install it beside edgetune-runtime: npm install ${name}`,
    );
  }
}

