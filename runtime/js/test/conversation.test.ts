/** Conversations are those that every language records, and compute only what is new. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";

import { chat } from "../dist/chat.js";
import { chatTemplate } from "../dist/chat_template.js";
import {
  BundleError,
  type Chunk,
  ContextLengthError,
  ConversationError,
  InputError,
  load,
  OptionError,
  TaskError,
} from "../dist/index.js";
import { BACKENDS, type BackendName, GOLDEN, goldenFiles, loaded } from "./backends.js";

const CHAT = JSON.parse(readFileSync(join(GOLDEN, "chat.json"), "utf8"));
const template: string = CHAT.template;

function camelCased(options: Record<string, any>): Record<string, any> {
  const name = (key: string) => key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
  return Object.fromEntries(Object.entries(options).map(([key, value]) => [name(key), value]));
}

for (const backend of Object.keys(BACKENDS) as BackendName[]) {
  describe(`on onnxruntime-${backend} conversations are the recorded ones`, () => {
    for (const { bundle, chat: given, turns, messages } of CHAT.conversations) {
      it(`${bundle} ${JSON.stringify(given)}`, async () => {
        const model = await loaded(bundle, backend);
        const conversation = await chat(model, { template, ...camelCased(given) });
        for (const turn of turns) {
          const { text, tokenIds, finishReason } = await conversation.send(turn.text);
          assert.deepEqual({ text, token_ids: tokenIds, finish_reason: finishReason }, turn.expected);
          assert.equal(conversation.tokenCount, turn.token_count);
        }
        assert.deepEqual(conversation.messages, messages);
      });
    }

    it("forks go their own ways", async () => {
      for (const bundle of ["decoder-shared", "decoder-standalone"]) {
        const model = await loaded(bundle, backend);
        const options = { template, maxNewTokens: 5 };
        const first = await chat(model, options);
        await first.send("once upon");
        const second = first.fork();
        const [a, b] = [await first.send("why"), await second.send("will it rain")];
        const c = await first.send("no");
        const again = await chat(model, { ...options, messages: second.messages.slice(0, -2) });
        assert.deepEqual((await again.send("will it rain")).tokenIds, b.tokenIds);
        const whole = await chat(model, { ...options, messages: first.messages.slice(0, -2) });
        assert.deepEqual((await whole.send("no")).tokenIds, c.tokenIds);
        assert.equal(first.messages.length, 6);
        assert.ok(a.tokenIds.length);
      }
    });
  });
}

/** Where @huggingface/jinja is not jinja: README.md names it. It holds that '' == false, which Llama 2's template asks. */
function isKnown(name: string, messages: { role: string; content: string }[]): boolean {
  return name === "llama_2" && messages[0]!.role === "system" && messages[0]!.content === "";
}

describe("templates write what every language writes", () => {
  for (const [name, source] of Object.entries<string>(CHAT.templates)) {
    if (name === "json") continue;
    it(name, async () => {
      const rendered = await chatTemplate(source, CHAT.tokens, "template");
      for (const { template: of, messages, text } of CHAT.rendered) {
        if (of !== name) continue;
        if (isKnown(name, messages)) continue;
        if (text === null) assert.throws(() => rendered(messages), InputError);
        else assert.equal(rendered(messages), text);
      }
    });
  }
});

it("a template that calls what @huggingface/jinja does not have is refused", async () => {
  const rendered = await chatTemplate(CHAT.templates.json, CHAT.tokens, "template");
  assert.throws(() => rendered([{ role: "user", content: "Hi" }]), InputError);
});

it("a loop that is left keeps what it was given, and the next turn goes on from it", async () => {
  const model = await loaded("decoder-shared");
  const conversation = await chat(model, { template, maxNewTokens: 20, adapter: "seven" });
  let answer = "";
  for await (const chunk of conversation.stream("once upon")) {
    answer += chunk.text;
    if (answer.length > 3) break;
  }
  assert.deepEqual(conversation.messages, [
    { role: "user", content: "once upon" },
    { role: "assistant", content: answer },
  ]);
  const next = await conversation.send("why", { maxNewTokens: 4 });
  const anew = await chat(model, { template, adapter: "seven", messages: conversation.messages.slice(0, 2) });
  assert.deepEqual((await anew.send("why", { maxNewTokens: 4 })).tokenIds, next.tokenIds);
});

it("one turn is written at a time, and an error leaves the conversation as it was", async () => {
  const model = await loaded("decoder-shared");
  const conversation = await chat(model, { template, maxNewTokens: 8 });
  const stream = conversation.stream("once upon");
  await stream.next();
  await assert.rejects(conversation.send("why"), ConversationError);
  assert.throws(() => conversation.fork(), ConversationError);
  const chunks: Chunk[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  assert.equal(chunks.at(-1)!.finishReason, "length");
  const before = conversation.messages;
  assert.equal(before.length, 2);
  await assert.rejects(conversation.send("why ".repeat(60)), ContextLengthError);
  const onChunk = () => {
    throw new Error("the app's own");
  };
  await assert.rejects(conversation.send("why", { onChunk }), /the app's own/);
  assert.deepEqual(conversation.messages, before);
  assert.equal((await conversation.send("why", { signal: AbortSignal.abort() })).finishReason, "cancelled");
  assert.deepEqual(conversation.messages, before);
  assert.equal((await conversation.send("why")).tokenIds.length, 8);
});

it("a bundle's own template is read, with the names of its tokens", async () => {
  const files = goldenFiles("decoder-shared");
  const manifest = JSON.parse(await files.get("bundle.json")!.text());
  const source = template.replace("bos_token", "begin_token");
  manifest.tokenizer.chat_template_file = "chat_template.jinja";
  manifest.tokenizer.special_tokens = { begin_token: "<s>" };
  manifest.files["chat_template.jinja"] = {
    sha256: createHash("sha256").update(source).digest("hex"),
    size_bytes: source.length,
  };
  files.set("chat_template.jinja", new Blob([source])).set("bundle.json", new Blob([JSON.stringify(manifest)]));
  const [own, given] = [await load(files, { backend: BACKENDS.node, threads: 1 }), await loaded("decoder-shared")];
  const a = await (await chat(own, { maxNewTokens: 8 })).send("hello");
  const b = await (await chat(given, { template, maxNewTokens: 8 })).send("hello");
  assert.deepEqual(a.tokenIds, b.tokenIds);
  files.set("chat_template.jinja", new Blob([source.replace(":", ";")]));
  await assert.rejects(load(files, { backend: BACKENDS.node }), /chat_template\.jinja: its SHA-256 is not/);
});

it("what is no conversation is refused", async () => {
  const model = await loaded("decoder-shared");
  await assert.rejects(chat(model), /this bundle has no chat template/);
  await assert.rejects(chat(model, { template: "{% for %}" }), BundleError);
  await assert.rejects(chat(model, { template: 5 as never }), InputError);
  await assert.rejects(chat(model, { template, overflow: "wrap" as never }), OptionError);
  await assert.rejects(chat(model, { template, n: 2 }), OptionError);
  await assert.rejects(chat(model, { template, messages: ["hi"] as never }), /message 0: is "hi"/);
  const messages = [{ role: "system", content: "a" }];
  await assert.rejects(chat(model, { template, system: "b", messages }), /begin with a system text already/);
  await assert.rejects(chat(await loaded("encoder-shared"), { template }), TaskError);
  await assert.rejects(chat(await loaded("methods/decoder"), { template, adapter: "words" }), TaskError);
  const conversation = await chat(model, { template });
  assert.throws(() => conversation.stream(5 as never), InputError);
});
