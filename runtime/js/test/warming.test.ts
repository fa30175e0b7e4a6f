/** A model that was warmed up has run its graph, and answers as one that was not. */

import assert from "node:assert/strict";
import { it } from "node:test";

import * as ort from "onnxruntime-node";

import { AdapterError, load, type Model, OptionError } from "../dist/index.js";
import { loadInWorker } from "../dist/remote.js";
import { warmUp } from "../dist/warming.js";
import { serve } from "../dist/worker.js";
import { golden, goldenNames, loaded } from "./backends.js";

const TEXT = "once upon a time";
/** The tokens of the probe that tells whether a backend writes in place. */
const PROBE = 1;

/** ONNX Runtime, and how many tokens each run of a graph of it was on. */
function counting() {
  const widths: number[] = [];
  const create = async (...given: [any, any]) => {
    const session = await ort.InferenceSession.create(...given);
    const run = session.run.bind(session);
    session.run = (feeds: any, ...more: any[]) => {
      widths.push(feeds["input_ids"].dims[1]);
      return (run as any)(feeds, ...more);
    };
    return session;
  };
  return { widths, backend: { ...ort, InferenceSession: { create } } };
}

async function answerOf(model: Model): Promise<unknown> {
  if (model.task === "classify") return model.classify(TEXT);
  if (model.task === "regress") return model.regress(TEXT);
  const { text, tokenIds, finishReason } = await model.generate(TEXT, { maxNewTokens: 5 });
  return { text, tokenIds, finishReason };
}

for (const name of goldenNames()) {
  it(`${name}: its graph has run, and it answers the same`, async () => {
    const { widths, backend } = counting();
    const cold = await loaded(name);
    const warm = await load(golden(name), { backend, threads: 1 });
    assert.deepEqual(widths, []);
    await warmUp(warm, { tokens: 8 });
    // virtual tokens behind the text are tokens of the graph, those in front are not
    const widest = Math.max(...widths);
    assert.ok(widest >= 8 && widest < 16);
    if (warm.task === "generate") assert.equal(widths.at(-1), PROBE, "a step follows");
    assert.deepEqual(await answerOf(warm), await answerOf(cold));
  });
}

it("the longest of several adapters is in front, and the base alone can be warmed up", async () => {
  const { widths, backend } = counting();
  const model = await load(golden("decoder-shared"), { backend, threads: 1 });
  await warmUp(model, { adapters: [null, ...model.adapters.keys()] });
  await warmUp(model, { adapters: [null], tokens: 5 });
  assert.ok(widths.includes(5) && widths.includes(16));
});

for (const name of ["decoder-shared", "encoder-shared", "decoder-standalone"]) {
  it(`${name}: more tokens than fit are as many as fit`, async () => {
    const { widths, backend } = counting();
    const model = await load(golden(name), { backend, threads: 1 });
    await warmUp(model, { tokens: 10_000 });
    const taken = model.adapters.get(model.defaultAdapter!)!.virtualTokens;
    assert.equal(Math.max(...widths), model.manifest.graph.maxPositions! - taken - 2);
  });
}

it("refuses what cannot be warmed up", async () => {
  const encoder = await load(golden("encoder-shared"), { threads: 1 });
  await assert.rejects(warmUp(encoder, { adapters: [] }), (e: Error) => e instanceof AdapterError && /Name one/.test(e.message));
  await assert.rejects(warmUp(encoder, { adapters: ["nobody"] }), (e: Error) => e instanceof AdapterError && /nobody/.test(e.message));
  for (const tokens of [0, 1.5, NaN]) await assert.rejects(warmUp(encoder, { tokens }), OptionError);
});

it("a model in a worker is warmed up over there", async () => {
  const { widths, backend } = counting();
  const { port1, port2 } = new MessageChannel();
  serve({ backend }, port2);
  const model = await loadInWorker(port1, golden("encoder-shared"), { threads: 1 });
  await model.warmUp({ tokens: 4 });
  assert.deepEqual(widths, [4]);
  await assert.rejects(model.warmUp({ adapters: ["nobody"] }), AdapterError);
  port1.close();
});
