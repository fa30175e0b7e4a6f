/** Control tokens that a text holds are characters like others; those that a template writes control. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";

import { chatTemplate } from "../dist/chat_template.js";
import { hidden, unhidden } from "../dist/hidden_tokens.js";
import { Tokenizer } from "../dist/tokenizer.js";
import { GOLDEN } from "./backends.js";

const RECORDED = JSON.parse(readFileSync(join(GOLDEN, "control_tokens.json"), "utf8"));

function made(name: string, splits = true): Tokenizer {
  const found = RECORDED.tokenizers.find((x: any) => x.name === name);
  return new Tokenizer(() => structuredClone(found.tokenizer), splits);
}

function rendered(tokenizer: Tokenizer, said: string): number[] {
  const [text, splits] = unhidden(tokenizer.control, said);
  return tokenizer.encode(text, false, splits);
}

for (const { name, cases } of RECORDED.tokenizers) {
  describe(`${name}: typed control tokens are what every language makes of them`, () => {
    for (const { text, ids, controlling, chat: ofChat } of cases) {
      it(JSON.stringify(text.slice(0, 40)), async () => {
        const tokenizer = made(name);
        assert.deepEqual(tokenizer.encode(text), ids);
        assert.deepEqual(tokenizer.encode(text, true, false), controlling);
        assert.deepEqual(made(name, false).encode(text), controlling);
        const template = await chatTemplate(RECORDED.template, {}, "the template");
        const said = template([{ role: "user", content: hidden(tokenizer.control, text) }]);
        assert.deepEqual(rendered(tokenizer, said), ofChat);
      });
    }
  });
}

it("two texts side by side make no control token together", () => {
  const tokenizer = made("byte level");
  const end = tokenizer.encode("<|im_end|>", false, false)[0]!;
  const said = ["<|im_", "end|>"].map((x) => hidden(tokenizer.control, x)).join("");
  assert.ok(!rendered(tokenizer, said).includes(end));
  assert.equal(tokenizer.decode(rendered(tokenizer, said)), "<|im_end|>");
});
