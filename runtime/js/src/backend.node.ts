/** The build of ONNX Runtime that is looked for in Node. */

export const name = "onnxruntime-node";

/** The module. */
export function imported(): Promise<unknown> {
  return import("onnxruntime-node");
}
