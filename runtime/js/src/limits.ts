/** What ends a call from outside of its texts: the time that it may take, and its caller's wish. */

import type { Options } from "./options.js";
import type { FinishReason } from "./results.js";

/** Asked before each run of the graph; a run that has begun is not broken off. */
export class Limits {
  readonly #signal: AbortSignal | null;
  readonly #end: number;

  /** `started` is when the call began, in `performance.now` milliseconds. */
  constructor(options: Options, started: number) {
    this.#signal = options.signal;
    this.#end = options.maxTimeS === null ? Infinity : started + options.maxTimeS * 1000;
  }

  /** Why no further run may begin; null: it may. */
  reason(): FinishReason | null {
    if (this.#signal?.aborted) return "cancelled";
    return performance.now() >= this.#end ? "time" : null;
  }
}
