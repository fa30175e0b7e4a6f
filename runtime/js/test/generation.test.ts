/** Streams, limits and batches of every decoder, on both backends; over the golden bundles. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { type Chunk, ContextLengthError, type GenerateOptions, InputError, type Model, OptionError, TaskError } from "../dist/index.js";
import { BACKENDS, type BackendName, loaded } from "./backends.js";

const TEXT = "once upon a time";

async function streamed(model: Model, options: GenerateOptions): Promise<Chunk[]> {
  const chunks: Chunk[] = [];
  for await (const chunk of model.stream(TEXT, options)) chunks.push(chunk);
  return chunks;
}

for (const backend of Object.keys(BACKENDS) as BackendName[]) {
  for (const name of ["decoder-shared", "decoder-standalone"]) {
    describe(`${name} on onnxruntime-${backend}`, () => {
      it("an aborted signal ends the text before the next step, and what there is is returned", async () => {
        const model = await loaded(name, backend);
        const whole = await model.generate(TEXT, { maxNewTokens: 30 });
        const controller = new AbortController();
        let count = 0;
        const onChunk = (chunk: Chunk) => {
          count += chunk.tokenIds.length;
          if (count >= 5) controller.abort();
        };
        const cut = await model.generate(TEXT, { maxNewTokens: 30, signal: controller.signal, onChunk });
        assert.equal(cut.finishReason, "cancelled");
        assert.ok(cut.tokenIds.length >= 5 && cut.tokenIds.length < 30);
        assert.deepEqual(cut.tokenIds, whole.tokenIds.slice(0, cut.tokenIds.length));
        const never = await model.generate(TEXT, { signal: AbortSignal.abort() });
        assert.deepEqual([never.text, never.tokenIds, never.finishReason], ["", [], "cancelled"]);
      });

      it("an abort from outside comes through between two steps", async () => {
        const model = await loaded(name, backend);
        const controller = new AbortController();
        const running = model.generate(TEXT, { maxNewTokens: 100, minNewTokens: 100, signal: controller.signal });
        setImmediate(() => setImmediate(() => controller.abort()));
        assert.equal((await running).finishReason, "cancelled");
      });

      it("a time that is over ends the text", async () => {
        const model = await loaded(name, backend);
        const result = await model.generate(TEXT, { maxTimeS: 1e-9 });
        assert.deepEqual([result.tokenIds, result.finishReason], [[], "time"]);
      });

      it("a loop that is left early runs no further step", async () => {
        const model = await loaded(name, backend);
        let chunks = 0;
        for await (const chunk of model.stream(TEXT, { onChunk: () => chunks++ })) {
          assert.equal(chunk.finishReason, null);
          break;
        }
        await model.generate(TEXT, { maxNewTokens: 5 });
        assert.equal(chunks, 1);
      });

      it("calls that overlap give what they give alone", async () => {
        const model = await loaded(name, backend);
        const seeds = [1, 2, 3];
        const draw = (seed: number) => model.generate(TEXT, { maxNewTokens: 12, temperature: 1, seed });
        const alone = [];
        for (const seed of seeds) alone.push((await draw(seed)).tokenIds);
        const together = await Promise.all(seeds.map(draw));
        assert.deepEqual(together.map((x) => x.tokenIds), alone);
        assert.notDeepEqual(alone[0], alone[1]);
      });

      it("a batch gives what its rows give alone, however long they are", async () => {
        const model = await loaded(name, backend);
        const texts = [TEXT, "", "what is the weather in the city today? will it rain", [5, 6, 7], "I am"];
        const options = { maxNewTokens: 12, temperature: 1, stop: "e" };
        const together = await model.generate(texts, { ...options, seed: 70 });
        for (const [r, text] of texts.entries()) {
          const alone = await model.generate(text as string, { ...options, seed: 70 + r });
          assert.deepEqual([...together[r]!.tokenIds], [...alone.tokenIds]);
          assert.equal(together[r]!.text, alone.text);
        }
      });

      it("the base's last position is used, and one more is refused", async () => {
        const model = await loaded(name, backend);
        const virtual = model.adapters.get("three")!.virtualTokens;
        const room = model.manifest.graph.maxPositions! - virtual - 5;
        const ids = [5, 6, 7, 8, 9];
        const full = await model.generate(ids, { maxNewTokens: room, minNewTokens: room });
        assert.equal(full.tokenIds.length, room);
        assert.equal((await model.generate(ids, { minNewTokens: room })).tokenIds.length, room);
        await assert.rejects(model.generate(ids, { maxNewTokens: room + 1 }), ContextLengthError);
        await assert.rejects(model.generate(new Array(128).fill(5)), ContextLengthError);
      });

      it("log-probabilities are those of the model's own logits", async () => {
        const model = await loaded(name, backend);
        const ids = model.tokenizer.encode(TEXT);
        const { tokenIds, logprobs } = await model.generate(ids, { maxNewTokens: 4, logprobs: 2, repetitionPenalty: 2 });
        const rows = await model.stepLogits([...ids, ...tokenIds.slice(0, -1)]);
        assert.equal(logprobs!.length, 4);
        for (const [i, { tokenId, logprob, top }] of logprobs!.entries()) {
          const row = [...rows[ids.length - 1 + i]!];
          const total = Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0));
          assert.equal(tokenId, tokenIds[i]);
          assert.ok(Math.abs(logprob - (row[tokenId]! - total)) < 1e-4);
          const best = row.map((x, id) => [x, id] as const).sort((a, b) => b[0] - a[0]).slice(0, 2);
          assert.deepEqual([...top.keys()], best.map(([, id]) => id));
        }
      });

      it("timing and chunks tell what happened", async () => {
        const chunks = await streamed(await loaded(name, backend), { maxNewTokens: 10 });
        const { timing } = chunks.at(-1)!;
        assert.ok(timing!.firstTokenMs > 0 && timing!.tokensPerSecond > 0);
        assert.ok(chunks.slice(0, -1).every((chunk) => chunk.finishReason === null && chunk.timing === null));
        assert.deepEqual(chunks.map((chunk) => chunk.index), chunks.map(() => 0));
      });
    });
  }
}

it("errors of a stream's arguments are thrown at once", async () => {
  const model = await loaded("decoder-shared");
  assert.throws(() => model.stream([TEXT] as never), InputError);
  assert.throws(() => model.stream(TEXT, { n: 2 }), OptionError);
  assert.throws(() => model.stream(TEXT, { temperature: -1 }), OptionError);
  assert.throws(() => model.stream([400, 1]), /token id 400 is not of the vocabulary of 320/);
  const encoder = await loaded("encoder-shared");
  assert.throws(() => encoder.stream(TEXT), TaskError);
  await assert.rejects(encoder.generate(TEXT), /holds an encoder, which does not generate/);
  await assert.rejects(model.classify(TEXT), TaskError);
  await assert.rejects(model.regress(TEXT), TaskError);
});

it("options of another kind or another name are named", async () => {
  const model = await loaded("decoder-shared");
  const refused: [object, new (...args: any) => Error, RegExp][] = [
    [{ max_new_tokens: 5 }, InputError, /no option "max_new_tokens"\. Is it "maxNewTokens"\?/],
    [{ numBeams: 4 }, InputError, /no option "numBeams".* the Python runtime has more/],
    [{ warmth: 4 }, InputError, /no option "warmth"\. There are maxNewTokens, /],
    [{ maxNewTokens: 2.5 }, InputError, /maxNewTokens: is 2\.5\. Pass a whole number/],
    [{ maxNewTokens: 0 }, OptionError, /maxNewTokens: is 0\. Pass a whole number of at least 1/],
    [{ topP: 2 }, OptionError, /topP: is 2\. Pass a number that is above 0 and at most 1/],
    [{ temperature: NaN }, OptionError, /temperature: is NaN/],
    [{ n: null }, InputError, /n: is null/],
    [{ stop: 5 }, InputError, /stop: is 5/],
    [{ stop: ["a", ""] }, OptionError, /stop: is \["a",""\]/],
    [{ logitBias: { 5: "much" } }, InputError, /logitBias: holds "much" for token 5/],
    [{ logitBias: new Map([[5, Infinity]]) }, OptionError, /logitBias: holds Infinity for token 5/],
    [{ logitBias: { 999: 1 } }, InputError, /logitBias: token id 999 is not of the vocabulary/],
    [{ signal: {} }, InputError, /signal: is/],
    [{ onChunk: 5 }, InputError, /onChunk: is 5/],
    [{ adapter: 5 }, InputError, /adapter: is 5/],
    [{ adapter: ["three", "soft"] }, InputError, /adapter: is \["three","soft"\]. Pass a name, null, or a list of 1 of them/],
  ];
  for (const [options, kind, message] of refused) {
    await assert.rejects(model.generate(TEXT, options as never), (error: unknown) => {
      assert.ok(error instanceof kind, String(error));
      assert.match(error.message, message);
      return true;
    });
  }
});

it("texts that are none are named by their place", async () => {
  const model = await loaded("decoder-shared");
  await assert.rejects(model.generate(7 as never), /^InputError: the text is 7\. Pass a string, token ids\.$/);
  await assert.rejects(model.generate([TEXT, null] as never), /text 1 is null/);
  await assert.rejects(model.generate({ text: "a", pair: "b" } as never), /Only a classifier takes pairs/);
  await assert.rejects(model.generate([[1.5]] as never), /text 0 is \[1\.5\]/);
  assert.deepEqual(await model.generate([]), []);
});

it("token ids are taken in any list of whole numbers", async () => {
  const model = await loaded("decoder-shared");
  const ids = [5, 6, 7];
  const expected = await model.generate(ids, { maxNewTokens: 4 });
  for (const given of [Int32Array.from(ids), Uint32Array.from(ids), BigInt64Array.from(ids, BigInt)]) {
    assert.deepEqual((await model.generate(given, { maxNewTokens: 4 })).tokenIds, expected.tokenIds);
  }
});

it("adapters come and go in memory alone", async () => {
  const model = await loaded("decoder-shared");
  const before = await model.generate(TEXT, { maxNewTokens: 6, adapter: "soft" });
  assert.throws(() => model.removeAdapter("three"), /"three" is the bundle's default adapter/);
  assert.throws(() => model.removeAdapter("none"), /no adapter "none" here/);
  const running = model.generate(TEXT, { maxNewTokens: 6, adapter: "soft" });
  model.removeAdapter("soft");
  assert.deepEqual([...model.adapters.keys()], ["three", "seven"]);
  assert.deepEqual((await running).tokenIds, before.tokenIds);
  await assert.rejects(model.generate(TEXT, { adapter: "soft" }), /no adapter "soft" here\. Known: "three", "seven"/);
  const file = "../../tests/golden/decoder-shared/adapters/soft.safetensors";
  await model.addAdapter(file);
  await assert.rejects(model.addAdapter(file), /an adapter "soft" is here already/);
  await model.addAdapter(file, { replace: true });
  assert.deepEqual((await model.generate(TEXT, { maxNewTokens: 6, adapter: "soft" })).tokenIds, before.tokenIds);
  const standalone = await loaded("decoder-standalone");
  await assert.rejects(standalone.addAdapter(file), /has its adapter folded in and takes no other/);
  await assert.rejects(standalone.generate(TEXT, { adapter: null }), /has no bare base/);
});
