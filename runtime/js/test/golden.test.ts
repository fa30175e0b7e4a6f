/** What a bundle answers is what `expected.json` beside it says: the answers that every language gives. */

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";

import * as edgetune from "../dist/index.js";
import type { Chunk, Classification, Generation, Model } from "../dist/index.js";
import { BACKENDS, type BackendName, golden, goldenNames, loaded } from "./backends.js";

interface Case {
  readonly call: string;
  readonly inputs: any;
  readonly options?: Record<string, any>;
  readonly expected: any;
  readonly tolerance?: number;
}

/** Cases of calls that no graph with an input of a default value can answer here: `onnxruntime-node` ignores it. */
const ONLY_PYTHON = ["logits", "decode", "random"];

/** Calls that take a text or a list of them. */
const ANSWERS = ["classify", "regress", "generate"];

function casesOf(name: string): Case[] {
  return ["expected.json", "options.json"]
    .map((file) => join(golden(name), file))
    .filter(existsSync)
    .flatMap((path) => JSON.parse(readFileSync(path, "utf8")) as Case[])
    .filter((x) => !ONLY_PYTHON.includes(x.call));
}

function camelCased(options: Record<string, any> = {}): Record<string, any> {
  const name = (key: string) => key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
  return Object.fromEntries(Object.entries(options).map(([key, value]) => [name(key), value]));
}

function isBatch(inputs: any): boolean {
  return Array.isArray(inputs) && typeof inputs[0] !== "number";
}

function answer(model: Model, { call, inputs, options }: Case): Promise<any> {
  if (call === "encode") return Promise.resolve(model.tokenizer.encode(inputs));
  const name = call.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
  return (model as any)[name](inputs, camelCased(options));
}

function checkClass(got: Classification, expected: any, tolerance: number): void {
  assert.equal(got.label, expected.label);
  assert.deepEqual([...got.scores.keys()], Object.keys(expected.scores));
  assert.ok(Math.abs(got.score - expected.score) <= tolerance);
  for (const [label, score] of got.scores) assert.ok(Math.abs(score - expected.scores[label]) <= tolerance);
}

function checkGeneration(got: Generation, expected: any): void {
  const { text, tokenIds, finishReason } = got;
  assert.deepEqual(
    { token_ids: [...tokenIds], text, finish_reason: finishReason },
    { token_ids: expected.token_ids, text: expected.text, finish_reason: expected.finish_reason },
  );
  if (!expected.others) return;
  assert.equal(got.others.length, expected.others.length);
  got.others.forEach((other, i) => checkGeneration(other, expected.others[i]));
}

function checkNumbers(got: Float32Array[], expected: number[][], tolerance: number): void {
  assert.equal(got.length, expected.length);
  got.forEach((row, i) => {
    assert.equal(row.length, expected[i]!.length);
    row.forEach((x, j) => assert.ok(Math.abs(x - expected[i]![j]!) <= tolerance, `${i}, ${j}: ${x}`));
  });
}

function check(call: string, got: any, expected: any, tolerance: number): void {
  if (call === "classify") checkClass(got, expected, tolerance);
  else if (call === "regress") assert.ok(Math.abs(got.value - expected.value) <= tolerance);
  else if (call === "generate") checkGeneration(got, expected);
  else if (call === "encode") assert.deepEqual(got, expected);
  else checkNumbers(got, expected, tolerance);
}

async function checkCase(model: Model, testCase: Case): Promise<void> {
  const { call, inputs, expected, tolerance = 1e-4 } = testCase;
  if (expected.error) {
    const kind = (edgetune as any)[expected.error];
    await assert.rejects(answer(model, testCase), (error: unknown) => error instanceof kind);
    return;
  }
  const got = await answer(model, testCase);
  if (ANSWERS.includes(call) && isBatch(inputs)) {
    assert.equal(got.length, expected.length);
    expected.forEach((one: any, i: number) => check(call, got[i], one, tolerance));
  } else {
    check(call, got, expected, tolerance);
  }
  if (call === "generate" && !isBatch(inputs) && !(testCase.options?.["n"] > 1)) {
    const chunks: Chunk[] = [];
    for await (const chunk of model.stream(inputs, camelCased(testCase.options))) chunks.push(chunk);
    assert.equal(chunks.map((chunk) => chunk.text).join(""), expected.text);
    assert.deepEqual(chunks.flatMap((chunk) => chunk.tokenIds), expected.token_ids);
    const reasons = chunks.map((chunk) => chunk.finishReason).filter((reason) => reason !== null);
    assert.deepEqual(reasons, [expected.finish_reason]);
  }
}

for (const backend of Object.keys(BACKENDS) as BackendName[]) {
  for (const name of goldenNames()) {
    describe(`${name} on onnxruntime-${backend} answers what every language answers`, () => {
      for (const [i, testCase] of casesOf(name).entries()) {
        it(`${i} ${testCase.call} ${JSON.stringify(testCase.options ?? {})}`, async () => {
          await checkCase(await loaded(name, backend), testCase);
        });
      }
    });
  }
}
