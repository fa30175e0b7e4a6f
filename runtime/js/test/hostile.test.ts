/** Files that are made to do harm end in an error of ours: those that every language refuses, and what Node adds. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";

import { chatTemplate } from "../dist/chat_template.js";
import { AdapterError, BundleError, EdgetuneError, InputError, load } from "../dist/index.js";
import { objectFrom } from "../dist/json_text.js";
import { readTokenizer } from "../dist/tokenizer.js";
import { BACKENDS, GOLDEN, golden, goldenFiles, loaded } from "./backends.js";

type Parts = string | (string | [string, number])[];
interface MadeAdapter {
  header: Parts | null;
  length: string | null;
  zeros: number;
}

const HOSTILE = JSON.parse(readFileSync(join(GOLDEN, "hostile.json"), "utf8"));
const SHARED = "decoder-shared";
/** The graph of it that is read here. */
const GRAPH = "model.new_positions.onnx";

function textOf(parts: Parts): string {
  if (typeof parts === "string") return parts;
  return parts.map((x) => (typeof x === "string" ? x : x[0].repeat(x[1]))).join("");
}

function adapterOf({ header, length, zeros }: MadeAdapter): Uint8Array {
  if (header === null) return new Uint8Array();
  const text = Buffer.from(textOf(header));
  const front = Buffer.alloc(8);
  front.writeBigUInt64LE(BigInt(length ?? text.length));
  return new Uint8Array(Buffer.concat([front, text, Buffer.alloc(zeros)]));
}

/** The golden bundle with another file, and a manifest that lists it: what somebody can do who has no key. */
function withFile(name: string, bytes: Uint8Array): Map<string, Blob> {
  const files = goldenFiles(SHARED);
  files.set(name, new Blob([bytes as Uint8Array<ArrayBuffer>]));
  if (name === "bundle.json") return files;
  const manifest = JSON.parse(readFileSync(join(golden(SHARED), "bundle.json"), "utf8"));
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  manifest.files[name] = { sha256, size_bytes: bytes.length };
  return files.set("bundle.json", new Blob([JSON.stringify(manifest)]));
}

/** Ours, short, and not by way of memory or stack that ran out elsewhere. */
async function refused(call: () => Promise<unknown>, kind: new (...given: any[]) => Error): Promise<void> {
  await assert.rejects(call, (error: unknown) => {
    assert.ok(error instanceof kind, String(error));
    assert.ok(error.message.length < 3000);
    return true;
  });
}

const options = { backend: BACKENDS.node, threads: 1 };

describe("manifests", () => {
  for (const [name, parts] of Object.entries<Parts>(HOSTILE.manifests)) {
    it(name, async () => {
      // a lone surrogate is no UTF-8
      const bytes = name === "no text" ? Uint8Array.of(0xed, 0xa0, 0x80) : new TextEncoder().encode(textOf(parts));
      await refused(() => load(withFile("bundle.json", bytes), options), BundleError);
    });
  }

  it("that say a key twice at any depth", async () => {
    const text = readFileSync(join(golden(SHARED), "bundle.json"), "utf8");
    for (const place of ['"graph": {', '"files": {', '"tokenizer": {']) {
      assert.ok(text.includes(place));
      const bytes = new TextEncoder().encode(text.replace(place, `${place}"x": 1, "x": 2, `));
      await assert.rejects(load(withFile("bundle.json", bytes), options), /a key twice/);
    }
  });
});

describe("adapters", () => {
  for (const [name, made] of Object.entries<MadeAdapter>(HOSTILE.adapters)) {
    it(name, async () => {
      const bytes = adapterOf(made);
      const model = await loaded(SHARED);
      await refused(() => model.addAdapter(bytes, { name: "x" }), AdapterError);
      await refused(() => load(withFile("adapters/three.safetensors", bytes), options), EdgetuneError);
    });
  }

  for (const [name, parts] of Object.entries<Parts>(HOSTILE.metadata)) {
    it(`metadata: ${name}`, async () => {
      const header = JSON.stringify({ __metadata__: { edgetune: textOf(parts) } });
      const model = await loaded(SHARED);
      await refused(() => model.addAdapter(adapterOf({ header, length: null, zeros: 0 }), { name: "x" }), AdapterError);
    });
  }

  for (const [name, bits] of [["NaN", 0x7fc00000], ["infinity", 0x7f800000]] as const) {
    it(`with ${name} in them`, async () => {
      const bytes = new Uint8Array(readFileSync(join(golden(SHARED), "adapters", "three.safetensors")));
      new DataView(bytes.buffer).setUint32(bytes.length - 4, bits, true);
      const model = await loaded(SHARED);
      await assert.rejects(model.addAdapter(bytes, { name: "x" }), /holds NaN or infinity/);
    });
  }
});

describe("tokenizers", () => {
  const own = JSON.parse(readFileSync(join(golden(SHARED), "tokenizer.json"), "utf8"));
  for (const [name, parts] of Object.entries<object>(HOSTILE.tokenizers)) {
    it(name, () => {
      const bytes = new TextEncoder().encode(JSON.stringify({ ...own, ...parts }));
      assert.throws(() => readTokenizer(bytes, "x"), BundleError);
    });
  }
});

describe("chat templates", () => {
  const messages = [{ role: "user", content: "hi" }] as const;
  for (const [name, parts] of Object.entries<Parts>(HOSTILE.templates)) {
    it(name, async () => {
      await refused(async () => (await chatTemplate(textOf(parts), {}, "x"))(messages), EdgetuneError);
    });
  }

  it("have a budget for each rendering, which grows with the messages", async () => {
    const loop = await chatTemplate("{% for m in messages %}{{ loop.index }}{{ m.content|trim }}{% endfor %}", {}, "x");
    const many = Array.from({ length: 4001 }, (_, i) => ({ role: i % 2 ? "assistant" : "user", content: "hello" }) as const);
    for (let again = 0; again < 3; again++) assert.equal(loop(many).slice(0, 12), "1hello2hello");
    const content = "a b\n <c> ".repeat(50_000);
    const source = "{% macro f(x) %}{{ x|replace('<', '&lt;') }}{% endmacro %}{% for m in messages %}{{ f(m.content) }}{% endfor %}";
    const long = await chatTemplate(source, {}, "x");
    assert.equal(long([{ role: "user", content }]).length, content.length + 3 * 50_000);
  });

  it("find the date, and what they refuse themselves is told", async () => {
    const dated = await chatTemplate("{{ strftime_now('%Y') }}", {}, "x");
    assert.match(dated(messages), /^20\d\d$/);
    const refusing = await chatTemplate("{{ raise_exception('no system') }}", {}, "x");
    assert.throws(() => refusing(messages), (error) => error instanceof InputError && /no system/.test(error.message));
  });
});

it("JSON says a key once, at every place, whatever its strings hold", () => {
  const fine = '{"a": {"b": [{"c": ":\\":{"}, {"c": "\\\\"}], "d": {}}, "__proto__": [], "é:": null, "f": ["x:", ":"]}';
  assert.deepEqual(Object.keys(objectFrom(fine)), ["a", "__proto__", "é:", "f"]);
  assert.deepEqual(objectFrom(new TextEncoder().encode('{"a": 1.5e3}')), { a: 1500 });
  for (const text of ['{"a":1,"a":1}', '{"x":[{"a":1,"\\u0061":2}]}', "[]", "1", "null", '{"a":1', '{"__proto__":1,"__proto__":2}']) {
    assert.throws(() => objectFrom(text));
  }
});

describe("folders in Node", () => {
  /** A copy of the golden bundle, for the time of a test. */
  async function copied(test: (folder: string) => Promise<void>): Promise<void> {
    const outer = mkdtempSync(join(tmpdir(), "edgetune-hostile-"));
    try {
      cpSync(golden(SHARED), join(outer, "bundle"), { recursive: true });
      await test(join(outer, "bundle"));
    } finally {
      rmSync(outer, { recursive: true });
    }
  }

  for (const name of ["tokenizer.json", "bundle.json", GRAPH, "adapters/seven.safetensors", "adapters"]) {
    it(`links of ${name} do not lead out of them`, () =>
      copied(async (folder) => {
        renameSync(join(folder, name), join(folder, "..", "outside"));
        symlinkSync(join(folder, "..", "outside"), join(folder, name));
        await assert.rejects(load(folder, options), (error) => error instanceof BundleError && /link/.test(error.message));
        await assert.rejects(load(folder, { ...options, verify: false }), BundleError);
      }));
  }

  it("links within them and a link to them are followed", () =>
    copied(async (folder) => {
      renameSync(join(folder, "tokenizer.json"), join(folder, "real.json"));
      symlinkSync("real.json", join(folder, "tokenizer.json"));
      symlinkSync(folder, join(folder, "..", "link"));
      assert.equal((await load(join(folder, "..", "link"), options)).kind, "decoder");
    }));

  for (const name of ["tokenizer.json", "bundle.json", "adapters/seven.safetensors"]) {
    it(`nobody waits for a pipe in the place of ${name}`, () =>
      copied(async (folder) => {
        rmSync(join(folder, name));
        execFileSync("mkfifo", [join(folder, name)]);
        await assert.rejects(load(folder, options), BundleError);
      }));
  }

  it("a graph takes no weights from outside of them", () =>
    copied(async (folder) => {
      // the name of the file with the weights, in the graph, of the same length
      const graph = readFileSync(join(folder, GRAPH));
      const name = Buffer.from("model.onnx.data");
      assert.ok(graph.includes(name));
      renameSync(join(folder, "model.onnx.data"), join(folder, "..", "weights.data"));
      for (let at = graph.indexOf(name); at >= 0; at = graph.indexOf(name)) graph.write("../weights.data", at);
      writeFileSync(join(folder, GRAPH), graph);
      const manifest = JSON.parse(readFileSync(join(folder, "bundle.json"), "utf8"));
      delete manifest.files["model.onnx.data"];
      const sha256 = createHash("sha256").update(graph).digest("hex");
      manifest.files[GRAPH] = { sha256, size_bytes: graph.length };
      writeFileSync(join(folder, "bundle.json"), JSON.stringify(manifest));
      await assert.rejects(load(folder, options), /cannot open the graph \(.*(escapes|outside|invalid)/is);
    }));
});
