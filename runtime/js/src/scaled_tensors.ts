/** Keys and values that a file holds as int8 with a scale for each head and token. */

import type { Stored } from "./adapter_file.js";
import { AdapterError } from "./errors.js";

const SCALE = ".scale";

/**
 * The same tensors, each int8 one [1, K, P, D] multiplied with its scale [1, K, P, 1].
 *
 * Throws AdapterError for a scale that is not of an int8 tensor beside it.
 */
export function expanded(where: string, tensors: ReadonlyMap<string, Stored>): Map<string, Stored> {
  const found = new Map(tensors);
  for (const [name, scale] of tensors) {
    if (!name.endsWith(SCALE)) continue;
    const own = name.slice(0, -SCALE.length);
    const stored = tensors.get(own);
    if (
      stored?.kind !== "I8" ||
      scale.kind !== "F32" ||
      scale.dims.join() !== [...stored.dims.slice(0, -1), 1].join()
    ) {
      throw new AdapterError(
        `${where}: \`${name}\` is no float32 scale of an int8 tensor beside it. Export it again.`,
      );
    }
    const { dims, buffer } = stored;
    const [values, scales] = [new Int8Array(buffer), new Float32Array(scale.buffer)];
    const size = dims.at(-1)!;
    const wide = Float32Array.from(values, (value, i) => value * scales[Math.floor(i / size)]!);
    found.set(own, { kind: "F32", dims, buffer: wide.buffer });
    found.delete(name);
  }
  return found;
}
