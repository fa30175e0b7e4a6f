/** The shape of one layer's keys and values, as the manifest lists it. */

import type { Fields } from "./checked.js";

export interface Layer {
  /** K. */
  readonly keyValueHeads: number;
  /** D. */
  readonly headSize: number;
}

/** The layers that `key` lists. */
export function layersFrom(fields: Fields, key: string): Layer[] {
  return fields
    .listOfObjects(key)
    .map((x) => ({ keyValueHeads: x.positive("key_value_heads"), headSize: x.positive("head_size") }));
}
