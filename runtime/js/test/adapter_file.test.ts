/** An adapter's file is read whole or refused, with what is wrong in it. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";

import { readAdapterFile } from "../dist/adapter_file.js";
import { AdapterError, BaseMismatchError } from "../dist/index.js";
import { fromHalf } from "../dist/floats.js";
import { golden, loaded } from "./backends.js";

interface Made {
  metadata: Record<string, unknown>;
  tensors: Record<string, { dtype: string; shape: number[]; bytes: Uint8Array }>;
}

/** The parts of a safetensors file. */
function partsOf(bytes: Uint8Array): Made {
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  const { __metadata__: about, ...rest } = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  const tensors = Object.fromEntries(
    Object.entries<any>(rest).map(([name, { dtype, shape, data_offsets: [start, end] }]) => {
      return [name, { dtype, shape, bytes: bytes.slice(8 + length + start, 8 + length + end) }];
    }),
  );
  return { metadata: JSON.parse(about.edgetune), tensors };
}

/** A safetensors file of parts. */
function fileOf({ metadata, tensors }: Made): Uint8Array {
  let at = 0;
  const header: Record<string, unknown> = { __metadata__: { edgetune: JSON.stringify(metadata) } };
  for (const [name, { dtype, shape, bytes }] of Object.entries(tensors)) {
    header[name] = { dtype, shape, data_offsets: [at, (at += bytes.length)] };
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return new Uint8Array(Buffer.concat([length, text, ...Object.values(tensors).map((x) => x.bytes)]));
}

function bytesOf(bundle: string, name: string): Uint8Array {
  return new Uint8Array(readFileSync(join(golden(bundle), "adapters", `${name}.safetensors`)));
}

function altered(change: (parts: Made) => void, bundle = "decoder-shared", name = "three"): Uint8Array {
  const parts = partsOf(bytesOf(bundle, name));
  change(parts);
  return fileOf(parts);
}

it("float16 numbers are read exactly", () => {
  const pairs: [number, number][] = [
    [0x0000, 0], [0x3c00, 1], [0xc000, -2], [0x7bff, 65504], [0x0400, 2 ** -14], [0x0001, 2 ** -24],
    [0x03ff, 1023 * 2 ** -24], [0x3555, 0.333251953125], [0x7c00, Infinity], [0xfc00, -Infinity],
  ]; // prettier-ignore
  assert.deepEqual([...fromHalf(Uint16Array.from(pairs, ([bits]) => bits))], pairs.map(([, value]) => value));
  assert.ok(Object.is(fromHalf(Uint16Array.of(0x8000))[0], -0));
  assert.ok(Number.isNaN(fromHalf(Uint16Array.of(0x7e00))[0]));
});

it("int8 keys and values are multiplied with the scale of their head and token", () => {
  const name = "past_key_values.0.key";
  const bytes = altered(({ tensors }) => {
    const values = Int8Array.from({ length: 2 * 3 * 8 }, (_, i) => i - 20);
    const scales = Float32Array.of(0.5, 1, 2, 3, 4, 5);
    tensors[name] = { dtype: "I8", shape: [1, 2, 3, 8], bytes: new Uint8Array(values.buffer) };
    tensors[`${name}.scale`] = { dtype: "F32", shape: [1, 2, 3, 1], bytes: new Uint8Array(scales.buffer) };
  });
  const { data } = readAdapterFile(bytes, "x").tensors.taken(name, [1, 2, null, 8]);
  assert.equal(data[0], -20 * 0.5);
  assert.equal(data[8], -12 * 1);
  assert.equal(data[47], 27 * 5);
});

it("what stands in a file of another order of tensors is the same adapter", async () => {
  const model = await loaded("decoder-shared");
  const bytes = altered((parts) => {
    parts.tensors = Object.fromEntries(Object.entries(parts.tensors).reverse());
  });
  await model.addAdapter(bytes, { name: "turned" });
  const [a, b] = await model.generate(["once", "once"], { adapter: ["three", "turned"], maxNewTokens: 8 });
  assert.deepEqual(a!.tokenIds, b!.tokenIds);
});

it("keys that are the values too are stored once", async () => {
  const model = await loaded("decoder-shared");
  const once = altered(({ tensors }) => {
    for (const i of [0, 1]) {
      tensors[`past_key_values.${i}.key_value`] = tensors[`past_key_values.${i}.key`]!;
      delete tensors[`past_key_values.${i}.key`];
      delete tensors[`past_key_values.${i}.value`];
    }
  });
  const twice = altered(({ tensors }) => {
    for (const i of [0, 1]) tensors[`past_key_values.${i}.value`] = tensors[`past_key_values.${i}.key`]!;
  });
  await model.addAdapter(once, { name: "once" });
  await model.addAdapter(twice, { name: "twice" });
  const [a, b] = await model.generate(["once", "once"], { adapter: ["once", "twice"], maxNewTokens: 8 });
  assert.deepEqual(a!.tokenIds, b!.tokenIds);
});

describe("what is no adapter of this base is refused", () => {
  const cases: [string, Uint8Array, RegExp, (new (...args: any) => Error)?][] = [
    ["an empty file", new Uint8Array(), /not a whole safetensors file of numbers/],
    ["a text", new TextEncoder().encode("hello, hello, hello"), /its header is longer/],
    ["a file that is cut off", bytesOf("decoder-shared", "three").subarray(0, -1), /not a whole safetensors/],
    ["a file with something behind", Uint8Array.of(...bytesOf("decoder-shared", "three"), 0), /do not fill it/],
    ["another version", altered((x) => (x.metadata["format_version"] = 2)), /`format_version` is 2, and this runtime/],
    ["another base", altered((x) => (x.metadata["base_fingerprint"] = "sha256:0")), /tuned on the base sha256:0, and/, BaseMismatchError],
    ["another task", altered((x) => (x.metadata["task"] = "tag")), /is for the task "tag", and this bundle is for "generate"/],
    ["a classifier without words", altered((x) => (x.metadata["task"] = "classify")), /has no label words/],
    ["other positions", altered((x) => (x.metadata["positions"] = "before")), /`positions` should be "after_virtual"/],
    ["a count that is wrong", altered((x) => (x.metadata["virtual_tokens"] = 4)), /says 4 virtual tokens, and its tensors hold 3/],
    ["a lost tensor", altered((x) => delete x.tensors["past_key_values.1.value"]), /lacks the tensor `past_key_values.1.value`/],
    ["a layer too many", altered((x) => (x.tensors["past_key_values.2.key"] = x.tensors["past_key_values.1.key"]!)), /holds `past_key_values.2.key`, and the base has 2 layers/],
    ["another shape", altered((x) => (x.tensors["past_key_values.0.key"]!.shape = [1, 3, 2, 8])), /has the shape \[1, 3, 2, 8\], and \[1, 2, any, 8\] fits/],
    ["a longer layer", altered((x) => {
      for (const part of ["key", "value"]) {
        const tensor = x.tensors[`past_key_values.0.${part}`]!;
        tensor.shape = [1, 2, 6, 8];
        tensor.bytes = new Uint8Array([...tensor.bytes, ...tensor.bytes]);
      }
    }), /longer in some layers than in others, which this bundle's graph does not take/],
    ["another kind of numbers", altered((x) => {
      x.tensors["past_key_values.0.key"]!.dtype = "I32";
      x.tensors["past_key_values.0.key"]!.shape = [1, 2, 3, 8].map((n, i) => (i === 3 ? n * x.tensors["past_key_values.0.key"]!.bytes.length / 192 : n));
    }), /is I32, and float32 or float16 is read/],
    ["tokens behind the text", altered((x) => {
      x.metadata["virtual_tokens"] = 4;
      x.tensors["suffix_embeds"] = { dtype: "F32", shape: [1, 1, 32], bytes: new Uint8Array(128) };
    }), /has virtual tokens behind the text, which this bundle's graph does not take/],
  ]; // prettier-ignore
  for (const [what, bytes, message, kind = AdapterError] of cases) {
    it(what, async () => {
      const model = await loaded("decoder-shared");
      await assert.rejects(model.addAdapter(bytes, { name: "new" }), (error: unknown) => {
        assert.ok(error instanceof kind, String(error));
        assert.match(error.message, message);
        return true;
      });
      assert.ok(!model.adapters.has("new"));
    });
  }

  it("a classifier of another pooling, without labels, with labels twice, or of an unknown activation", async () => {
    const model = await loaded("encoder-shared");
    const refused: [(parts: Made) => void, RegExp][] = [
      [(x) => (x.metadata["pooling"] = "first"), /tuned with the pooling "first", and this graph has "mean"/],
      [(x) => (x.metadata["labels"] = []), /a classifier without labels/],
      [(x) => (x.metadata["labels"] = ["a", "a"]), /`labels` should be a list without repetitions/],
      [(x) => (x.metadata["labels"] = ["a", "b", "c"]), /`head.weight` has the shape \[2, 32\], and \[3, 32\] fits/],
      [(x) => (x.metadata["activation"] = "sine"), /`activation` should be one of "tanh", "gelu", "relu"/],
      [(x) => {
        x.tensors["head.dense.weight"] = { dtype: "F32", shape: [1, 32], bytes: new Uint8Array(128) };
      }, /has a head with a hidden layer, which this bundle's graph does not take/],
    ]; // prettier-ignore
    for (const [change, message] of refused) {
      await assert.rejects(model.addAdapter(altered(change, "encoder-shared", "mood"), { name: "new" }), message);
    }
  });
});
