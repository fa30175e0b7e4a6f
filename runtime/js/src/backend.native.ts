/** The build of ONNX Runtime that is looked for on phones. */

export const name = "onnxruntime-react-native";

/** The module. */
export function imported(): Promise<unknown> {
  // @ts-ignore: it is installed where it runs, on phones, alone
  return import("onnxruntime-react-native");
}
