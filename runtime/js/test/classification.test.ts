/** What holds for every encoder: batches, cuts, thresholds; over the golden bundles, on both backends. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { InputError, OptionError, TaskError } from "../dist/index.js";
import { BACKENDS, type BackendName, golden, loaded } from "./backends.js";
import { load } from "../dist/index.js";

const TEXTS = ["what is the weather", "I am so happy", "", { text: "the sun", pair: "" }, [2, 5, 3]];

for (const backend of Object.keys(BACKENDS) as BackendName[]) {
  describe(`on onnxruntime-${backend}`, () => {
    it("forty texts of two tasks give what each gives alone", async () => {
      const model = await loaded("encoder-shared", backend);
      const many = Array.from({ length: 40 }, (_, i) => TEXTS[i % TEXTS.length]!);
      const adapter = many.map((_, i) => (i % 3 ? "mood" : "weather"));
      const together = await model.classify(many, { adapter });
      for (const [i, text] of many.entries()) {
        const alone = await model.classify(text, { adapter: adapter[i]! });
        assert.equal(together[i]!.label, alone.label);
        assert.ok(Math.abs(together[i]!.score - alone.score) < 1e-5);
      }
    });

    it("logits are those that probabilities come from", async () => {
      const model = await loaded("encoder-shared", backend);
      const ids = model.tokenizer.encode("what is the weather");
      const [logits] = await model.classLogits([ids], { adapter: "weather" });
      const weights = [...logits!].map(Math.exp);
      const total = weights.reduce((sum, x) => sum + x, 0);
      const { scores } = await model.classify("what is the weather", { adapter: "weather" });
      ["rain", "sun", "snow"].forEach((label, i) => {
        assert.ok(Math.abs(scores.get(label)! - weights[i]! / total) < 1e-6);
      });
    });
  });
}

it("topK cuts the scores, and below a threshold there is no label", async () => {
  const model = await loaded("encoder-shared");
  const whole = await model.classify("what is the weather", { adapter: "weather" });
  const cut = await model.classify("what is the weather", { adapter: "weather", topK: 2 });
  assert.deepEqual([...cut.scores], [...whole.scores].slice(0, 2));
  const above = { adapter: "weather", threshold: whole.score };
  assert.equal((await model.classify("what is the weather", above)).label, whole.label);
  const below = await model.classify("what is the weather", { ...above, threshold: whole.score + 1e-6 });
  assert.deepEqual([below.label, below.score], [null, whole.score]);
  await assert.rejects(model.classify("a", { topK: 0 }), OptionError);
  await assert.rejects(model.classify("a", { threshold: 2 }), OptionError);
  await assert.rejects(model.classify("a", { threshold: NaN }), OptionError);
  await assert.rejects(model.classify(["a", 5] as never), InputError);
  await assert.rejects(model.regress("a"), TaskError);
});

it("a text that is too long loses its last tokens and keeps the special ones, with one warning", async (t) => {
  const warned = t.mock.method(console, "warn", () => undefined);
  const model = await load(golden("encoder-shared"), { backend: BACKENDS.node, threads: 1 });
  const room = 48 - model.adapters.get("weather")!.virtualTokens;
  const long = "the sun ".repeat(60);
  const ids = model.tokenizer.encode(long);
  const cut = [...ids.slice(0, room - 1), ids.at(-1)!];
  const options = { adapter: "weather" };
  const expected = await model.classify(cut, options);
  assert.equal(warned.mock.callCount(), 0);
  assert.deepEqual(await model.classify(long, options), expected);
  assert.deepEqual(await model.classify(ids, options), expected);
  assert.equal(warned.mock.callCount(), 1);
  assert.match(String(warned.mock.calls[0]!.arguments[0]), /cut to 45: the base holds 48 positions/);
});

it("of a pair the longer is cut first", async () => {
  const { tokenizer } = await loaded("encoder-shared");
  const encode = (text: string, pair: string, room: number) => tokenizer.encodeWithin({ text, pair }, room);
  const words = (n: number) => "sun ".repeat(n).trim();
  const of = (n: number) => tokenizer.encode(words(n)).slice(1, -1);
  const [cls, sep] = [2, 3];
  const each = of(1).length;
  assert.deepEqual(encode(words(2), words(9), 3 + 8 * each), [
    [cls, ...of(2), sep, ...of(6), sep],
    3 + 11 * each,
  ]);
  assert.deepEqual(encode(words(9), words(2), 3 + 8 * each)[0], [cls, ...of(6), sep, ...of(2), sep]);
  assert.deepEqual(encode(words(9), words(9), 3 + 8 * each)[0], [cls, ...of(4), sep, ...of(4), sep]);
});
