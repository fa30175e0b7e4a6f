/** The build of ONNX Runtime that is looked for in browsers. */

export const name = "onnxruntime-web";

/** The module. */
export function imported(): Promise<unknown> {
  return import("onnxruntime-web");
}
