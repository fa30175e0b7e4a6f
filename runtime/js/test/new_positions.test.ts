/** Bundles with a graph of new positions write, bit for bit, what the same bundles write without it. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";

import { chat } from "../dist/chat.js";
import { BundleError, load, type Model } from "../dist/index.js";
import { BACKENDS, type BackendName, GOLDEN, goldenFiles, loaded } from "./backends.js";

const FILE = "model.new_positions.onnx";
const CHAT = JSON.parse(readFileSync(join(GOLDEN, "chat.json"), "utf8"));
const TEXTS = ["once upon a time", "a", "what is the weather in the city today?", "I am so happy to see you"];
const ADAPTERS = {
  "decoder-shared": ["three", null, "seven", "soft"],
  "methods/decoder": ["uneven", null, "both", "after"],
};

/** The files of a bundle as an export of before has left them, or with another manifest. */
async function withManifest(name: string, change: (manifest: any) => void): Promise<Map<string, Blob>> {
  const files = goldenFiles(name);
  const manifest = JSON.parse(await files.get("bundle.json")!.text());
  change(manifest);
  return files.set("bundle.json", new Blob([JSON.stringify(manifest)]));
}

async function ofBefore(name: string, backend: BackendName): Promise<Model> {
  const files = await withManifest(name, (manifest) => {
    delete manifest.graph.new_positions_file;
    delete manifest.files[FILE];
  });
  files.delete(FILE);
  return load(files, { backend: BACKENDS[backend], threads: 1 });
}

for (const backend of Object.keys(BACKENDS) as BackendName[]) {
  for (const [name, adapters] of Object.entries(ADAPTERS)) {
    describe(`${name} on onnxruntime-${backend}`, () => {
      /** What `ask` gives of both, which is the same. */
      const agreed = async <T>(ask: (model: Model) => Promise<T>): Promise<T> => {
        const found = await ask(await loaded(name, backend));
        assert.deepEqual(found, await ask(await ofBefore(name, backend)));
        return found;
      };
      const written = (texts: any, options: any) =>
        agreed(async (model) => {
          const found = await model.generate(texts, options);
          return [found].flat().map(({ tokenIds, finishReason, logprobs, others }) => [
            tokenIds, finishReason, logprobs, others.map((other) => other.tokenIds),
          ]); // prettier-ignore
        });

      it("the most probable tokens, past where the cache grows, with their probabilities", async () => {
        for (const adapter of adapters) {
          const [[ids]] = (await written(TEXTS[0], { adapter, maxNewTokens: 60, minNewTokens: 60, logprobs: 2 })) as any;
          assert.equal(ids.length, 60);
        }
      });

      it("logits of steps", async () => {
        const ids = Array.from({ length: 40 }, (_, i) => 7 + 3 * i);
        for (const adapter of adapters) {
          if (adapter === "after" || adapter === "both") continue; // virtual tokens behind the text
          const steps = await agreed((model) => model.stepLogits(ids, { adapter }));
          assert.equal(steps.length, ids.length);
        }
      });

      it("a batch whose rows have different adapters and lengths, and end one after the other", async () => {
        const options = { adapter: adapters, maxNewTokens: 48, temperature: 1.5, seed: 3, logitBias: { 1: 2.5 } };
        const rows = (await written(TEXTS, options)) as any;
        assert.ok(new Set(rows.map(([ids]: any) => ids.length)).size > 1, "some end before others");
      });

      it("several drawn results of each text", async () => {
        await written(TEXTS, { adapter: adapters, maxNewTokens: 12, temperature: 0.9, topK: 20, seed: 11, n: 3 });
      });

      it("conversations that go on, are cut back, and fork", async () => {
        for (const adapter of adapters) {
          await agreed(async (model) => {
            const conversation = await chat(model, { template: CHAT.template, adapter, maxNewTokens: 4, overflow: "slide" });
            const ids: unknown[] = [];
            const say = async (to: typeof conversation, text: string) => {
              const { tokenIds } = await to.send(text);
              ids.push([tokenIds, to.tokenCount]);
            };
            await say(conversation, "once upon");
            await say(conversation, "so");
            const fork = conversation.fork();
            await say(conversation, "why is it so");
            await say(fork, "a tree");
            for (let i = 0; i < 3; i++) await say(conversation, "and then it was a sad day");
            return ids;
          });
        }
      });
    });
  }
}

it("its graph is the one that is read, and must be listed", async () => {
  const asked: string[] = [];
  const files = goldenFiles("decoder-shared");
  const source = {
    read: async (path: string) => {
      asked.push(path);
      return new Uint8Array(await files.get(path)!.arrayBuffer());
    },
  };
  await load(source as any, { backend: BACKENDS.node, threads: 1 });
  assert.ok(asked.includes(FILE) && asked.includes("model.onnx.data") && !asked.includes("model.onnx"), asked.join());
  const unlisted = await withManifest("decoder-shared", (manifest) => delete manifest.files[FILE]);
  await assert.rejects(load(unlisted, { backend: BACKENDS.node }), BundleError);
  const other = await withManifest("decoder-shared", (manifest) => (manifest.graph.new_positions_file = "model.onnx"));
  await assert.rejects(load(other, { backend: BACKENDS.node }), /no output `present\.new`/);
});
