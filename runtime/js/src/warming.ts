/**
 * A first run of the graph that nobody waits for:
 *
 *     import { warmUp } from "edgetune-runtime/warming";
 *     await warmUp(model);
 */

import { AdapterError, OptionError } from "./errors.js";
import type { Model } from "./model.js";
import { listed, shown } from "./shown.js";

/** Of the text that the graph runs on. */
const TOKENS = 16;
/** Those that a generator writes: the first comes of the text, the second of a step. */
const NEW_TOKENS = 2;

/** What `warmUp` takes beside the model. */
export interface WarmUpOptions {
  /**
   * Adapters that are going to be used, null being the bare base; left out: the bundle's default. All go through the
   * same graph: that with the most virtual tokens is in front of the text.
   */
  readonly adapters?: readonly (string | null)[] | undefined;
  /** Tokens of the text, at most as many as fit; left out: 16. */
  readonly tokens?: number | undefined;
}

/**
 * Does now what the first answer would otherwise wait for; answers are the same with it and without.
 *
 * The graph runs once on a text, and a generator's a step further. An app calls it before its user has asked anything.
 * Rejects with AdapterError for a name that is not here and for an encoder without an adapter, OptionError for `tokens`
 * below 1.
 */
export async function warmUp(model: Model, options: WarmUpOptions = {}): Promise<void> {
  const { adapters = [model.defaultAdapter], tokens = TOKENS } = options;
  if (!Number.isSafeInteger(tokens) || tokens < 1) {
    throw new OptionError(`tokens: is ${shown(tokens)}. Pass a whole number of at least 1.`);
  }
  const virtual = (name: string | null) => (name === null ? 0 : infoOf(model, name).virtualTokens);
  const sizes = adapters.map(virtual);
  const taken = Math.max(0, ...sizes);
  const adapter = adapters[sizes.indexOf(taken)] ?? null;
  const { graph, tokenizer } = model.manifest;
  const room = (graph.maxPositions ?? Infinity) - taken - NEW_TOKENS;
  const filling = tokenizer.bosTokenId ?? tokenizer.padTokenId ?? 0;
  const ids = new Array<number>(Math.max(1, Math.min(tokens, room))).fill(filling);
  if (adapter !== null && infoOf(model, adapter).task !== "generate") {
    if (tokenizer.maskTokenId !== null) ids[0] = tokenizer.maskTokenId;
    await model.classLogits([ids], { adapter });
  } else if (model.kind === "encoder") {
    throw new AdapterError("an encoder answers with an adapter, and none is to be warmed up. Name one.");
  } else {
    const count = Math.max(1, Math.min(NEW_TOKENS, room + NEW_TOKENS - ids.length));
    // the greedy choice, whatever the task's own options are
    const plain = { temperature: 0, stop: [] };
    await model.generate(ids, { ...plain, adapter, maxNewTokens: count, minNewTokens: count });
  }
}

function infoOf(model: Model, name: string) {
  const info = model.adapters.get(name);
  if (info) return info;
  throw new AdapterError(`no adapter ${shown(name)} here. Known: ${listed(model.adapters.keys())}.`);
}
