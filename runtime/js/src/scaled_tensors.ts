/** Keys and values that a file holds as int8 with a scale for each head and token. */

import type { Stored } from "./adapter_file.js";
import { AdapterError } from "./errors.js";

const SCALE = ".scale";

/** Throws AdapterError for a scale that is not of an int8 tensor [1, K, P, D] beside it. */
export function checkScales(where: string, tensors: ReadonlyMap<string, Stored>): void {
  for (const [name, scale] of tensors) {
    if (!name.endsWith(SCALE)) continue;
    const values = tensors.get(name.slice(0, -SCALE.length));
    if (values?.kind !== "I8" || scale.kind !== "F32") {
      throw new AdapterError(
        `${where}: \`${name}\` is no float32 scale of an int8 tensor beside it. Export it again.`,
      );
    }
    const fitting = [...values.dims.slice(0, -1), 1];
    if (scale.dims.join() !== fitting.join()) {
      throw new AdapterError(
        `${where}: \`${name}\` has the shape [${scale.dims.join(", ")}], and [${fitting.join(", ")}] fits its tensor.`,
      );
    }
  }
}

/** The same tensors, each int8 one [1, K, P, D] multiplied with its scale [1, K, P, 1]. */
export function expanded(tensors: ReadonlyMap<string, Stored>): Map<string, Stored> {
  const found = new Map([...tensors].filter(([name]) => !name.endsWith(SCALE)));
  for (const [name, x] of tensors) {
    if (!name.endsWith(SCALE)) continue;
    const own = name.slice(0, -SCALE.length);
    const { dims, buffer } = tensors.get(own)!;
    const [values, scales] = [new Int8Array(buffer), new Float32Array(x.buffer)];
    const size = dims.at(-1)!;
    const wide = Float32Array.from(values, (value, i) => value * scales[Math.floor(i / size)]!);
    found.set(own, { kind: "F32", dims, buffer: wide.buffer });
  }
  return found;
}
