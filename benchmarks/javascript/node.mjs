/**
 * One engine in Node: each line on its standard input, ["turn", prompt ids, steps] or ["next"], is answered.
 *
 *     node node.mjs ours|theirs PATH --threads 2 [--dtype q4] [--adapter FILE]
 *
 * Answers are lines of JSON; the first line of all says which version runs.
 */

import { createRequire } from "node:module";
import { dirname, basename } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

import { answered, local, ours, theirs } from "./engines.mjs";

const require = createRequire(import.meta.url);
const version = (name) => require(`./node_modules/${name}/package.json`).version;
const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { threads: { type: "string" }, dtype: { type: "string" }, adapter: { type: "string" } },
});
const [engine, path] = positionals;
const threads = Number(values.threads);

async function loaded() {
  if (engine === "ours") {
    return ours(await import("edgetune-runtime"), { source: path, threads, adapter: values.adapter });
  }
  const library = local(await import("@huggingface/transformers"), dirname(path));
  return theirs(library, { source: basename(path), dtype: values.dtype, device: "cpu", threads });
}

const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const running = await loaded();
say(
  engine === "ours"
    ? `edgetune-runtime in Node ${process.versions.node}, onnxruntime-node ${version("onnxruntime-node")}`
    : `transformers.js ${version("@huggingface/transformers")} in Node ${process.versions.node}`,
);
for await (const line of createInterface({ input: process.stdin })) say(await answered(running, JSON.parse(line)));
