/** The sample for Node does what its page says. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { it } from "node:test";

import { golden, loaded } from "./backends.js";

const SAMPLE = join("..", "..", "samples", "node", "ask.mjs");

/** Runs it where this package is found by its name. */
function asked(args: string[], input: string) {
  copyFileSync(SAMPLE, join("build", "ask.mjs"));
  return spawnSync(process.execPath, [join("build", "ask.mjs"), ...args], { input, encoding: "utf8" });
}

it("is a program of at most thirty lines", () => {
  assert.ok(readFileSync(SAMPLE, "utf8").trimEnd().split("\n").length <= 30);
});

it("labels lines with a bundle's own task, or with the one that is named", async () => {
  const model = await loaded("encoder-shared");
  for (const adapter of [undefined, "mood"]) {
    const lines = ["what is the weather", "I am so happy"];
    const { status, stdout, stderr } = asked([golden("encoder-shared"), ...(adapter ? [adapter] : [])], lines.join("\n"));
    assert.equal(status, 0, stderr);
    const answers = await model.classify(lines, { adapter });
    const expected = lines.map((line, i) => `${answers[i]!.label}\t${answers[i]!.score.toFixed(2)}\t${line}\n`);
    assert.equal(stdout, expected.join(""));
  }
});

it("goes on from lines with a decoder", async () => {
  const model = await loaded("decoder-shared");
  const { status, stdout } = asked([golden("decoder-shared"), "soft"], "once upon a time\n");
  const { text } = await model.generate("once upon a time", { adapter: "soft" });
  assert.equal(status, 0);
  assert.equal(stdout, `${text}\n`);
});

it("says what is wrong in one line", () => {
  const { status, stdout, stderr } = asked([golden("encoder-shared"), "weeather"], "hello\n");
  assert.deepEqual([status, stdout], [1, ""]);
  assert.equal(stderr, 'ask: no adapter "weeather" here. Known: "weather", "mood". Add one with addAdapter.\n');
});
