/** With trusted keys nothing is loaded that one of them has not signed; over the golden signatures. */

import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";

import { BundleError, load, type LoadOptions, OptionError, SignatureError, type Source } from "../dist/index.js";
import { loadInWorker } from "../dist/remote.js";
import { signatures } from "../dist/signatures.js";
import { serve } from "../dist/worker.js";
import { BACKENDS, GOLDEN, golden, goldenFiles } from "./backends.js";

interface Case {
  readonly name: string;
  readonly keys: readonly string[];
  readonly bundle?: string;
  readonly file?: string;
  readonly signature: string | null;
  readonly expected: string | null;
}

const { keys: KEYS, cases: CASES } = JSON.parse(readFileSync(join(GOLDEN, "signatures.json"), "utf8")) as {
  keys: Record<string, string>;
  cases: Case[];
};
const OPTIONS: LoadOptions = { backend: BACKENDS.node, threads: 1 };
const bytesOf = (text: string) => new TextEncoder().encode(text);
const trustIn = (...names: string[]) => signatures(names.map((name) => KEYS[name]!));

/** The golden signature of that name. */
function signed(of: { bundle?: string; file?: string }, name: string): Uint8Array {
  const found = CASES.find((x) => x.name === name && x.bundle === of.bundle && x.file === of.file);
  return bytesOf(found!.signature!);
}

const SIGNED = signed({ bundle: "decoder-shared" }, "signed with release");
const ADAPTER = CASES.find((x) => x.file)!.file!;
const ADAPTER_SIGNED = signed({ file: ADAPTER }, "signed with release");

/** The files of a golden bundle with a signature; `change` may alter them. */
function files(name: string, signature: Uint8Array | null, change?: (files: Map<string, Blob>) => void) {
  const found = goldenFiles(name);
  if (signature) found.set("model.sig", new Blob([signature as Uint8Array<ArrayBuffer>]));
  change?.(found);
  return found;
}

describe("a golden signature is taken or refused", () => {
  for (const { name, keys, bundle, file, signature, expected } of CASES) {
    it(`${bundle ?? file}: ${name}`, async () => {
      const trust = trustIn(...keys);
      const call = async () => {
        if (file) return trust.file(readFileSync(golden(file)), bytesOf(signature!), file);
        return load(files(bundle!, signature === null ? null : bytesOf(signature)), { ...OPTIONS, trust });
      };
      if (expected === null) await call();
      else await assert.rejects(call(), (error: Error) => error.name === expected && error instanceof BundleError);
    });
  }
});

it("every other byte of a signature counts", async () => {
  const trust = trustIn("release");
  const adapter = readFileSync(golden(ADAPTER));
  await trust.file(adapter, ADAPTER_SIGNED);
  let seed = 1;
  for (let at = 0; at < ADAPTER_SIGNED.length; at++) {
    seed = (seed * 48271) % 2147483647;
    const altered = ADAPTER_SIGNED.slice();
    altered[at]! ^= 1 + (seed % 255);
    // JSON reads a line's end as it reads a space, and there is none in what model_signing writes
    await assert.rejects(trust.file(adapter, altered), SignatureError, `byte ${at}: ${altered[at]}`);
  }
});

describe("a signed bundle", () => {
  const trust = trustIn("release");

  it("answers as the unsigned one, from a folder as from files", async () => {
    const folder = mkdtempSync(join(tmpdir(), "edgetune-"));
    after(() => rmSync(folder, { recursive: true }));
    cpSync(golden("decoder-shared"), folder, { recursive: true });
    writeFileSync(join(folder, "model.sig"), SIGNED);
    const expected = await (await load(golden("decoder-shared"), OPTIONS)).generate("once", { maxNewTokens: 8 });
    for (const source of [folder, files("decoder-shared", SIGNED)]) {
      const found = await (await load(source, { ...OPTIONS, trust })).generate("once", { maxNewTokens: 8 });
      assert.deepEqual(found.tokenIds, expected.tokenIds);
    }
  });

  it("is refused where a file was altered, by its name", async () => {
    const names = ["bundle.json", "model.new_positions.onnx", "model.onnx.data", "tokenizer.json", "adapters/soft.safetensors"];
    for (const name of names) {
      const bytes = readFileSync(join(golden("decoder-shared"), name));
      bytes[bytes.length >> 1]! ^= 1;
      const source = files("decoder-shared", SIGNED, (found) => found.set(name, new Blob([bytes])));
      await assert.rejects(load(source, { ...OPTIONS, trust }), (error: Error) => {
        assert.ok(error instanceof BundleError && error.message.includes(name), error.message);
        return true;
      });
    }
  });

  it("is refused where its manifest and a file were altered together", async () => {
    const source = files("decoder-shared", SIGNED, (found) => {
      const manifest = JSON.parse(readFileSync(join(golden("decoder-shared"), "bundle.json"), "utf8"));
      manifest.files["tokenizer.json"] = manifest.files["model.onnx"];
      found.set("bundle.json", new Blob([JSON.stringify(manifest)]));
      found.set("tokenizer.json", found.get("model.onnx")!);
    });
    await assert.rejects(load(source, { ...OPTIONS, trust }), /bundle\.json: is not the one that was signed/);
    await load(source, OPTIONS).catch((error) => assert.ok(!(error instanceof SignatureError)));
  });

  it("asks for nothing of a bundle that is not signed but its manifest and its signature", async () => {
    const read: string[] = [];
    const source: Source = {
      where: "here",
      isRemote: true,
      async read(path) {
        read.push(path);
        if (path === "model.sig") throw new BundleError("here/model.sig: cannot be read (no such file).");
        return readFileSync(join(golden("decoder-shared"), path));
      },
    };
    const words = /SignatureError: here\/model\.sig: cannot be read.*edgetune sign/;
    await assert.rejects(load(source, { ...OPTIONS, trust }), words);
    assert.deepEqual(read, ["bundle.json", "model.sig"]);
  });

  it("cannot be loaded without comparing files", async () => {
    await assert.rejects(load(files("decoder-shared", SIGNED), { ...OPTIONS, trust, verify: false }), OptionError);
  });

  it("is there without a network, and an altered one does not take its place", async () => {
    const kept = new Map<string, Uint8Array>();
    const store = {
      get: async (key: string) => kept.get(key),
      put: async (key: string, bytes: Uint8Array) => void kept.set(key, bytes),
      delete: async (key: string) => void kept.delete(key),
      keys: async () => [...kept.keys()],
    };
    let network: "whole" | "altered" | "gone" = "whole";
    const source: Source = {
      where: "https://example.org/bundle",
      isRemote: true,
      async read(path) {
        if (network === "gone") throw new TypeError("no network");
        if (path === "model.sig") return SIGNED;
        const bytes = readFileSync(join(golden("decoder-shared"), path));
        return network === "altered" && path === "bundle.json" ? Buffer.concat([bytes, Buffer.from(" ")]) : bytes;
      },
    };
    const options = { ...OPTIONS, trust, store };
    await load(source, options);
    network = "altered";
    await assert.rejects(load(source, options), SignatureError);
    network = "gone";
    assert.ok(await load(source, options), "what was kept is what was signed");
    await assert.rejects(load(source, { ...options, trust: trustIn("next") }), SignatureError);
    kept.clear();
    await assert.rejects(load(source, options), /no network/);
  });
});

describe("an adapter", () => {
  const trust = trustIn("release");
  const bytes = readFileSync(golden(ADAPTER));

  it("is added with the signature that is given, or beside it", async () => {
    const folder = mkdtempSync(join(tmpdir(), "edgetune-"));
    after(() => rmSync(folder, { recursive: true }));
    const path = join(folder, "news.safetensors");
    writeFileSync(path, bytes);
    const model = await load(files("decoder-shared", SIGNED), { ...OPTIONS, trust });
    const add = (name: string, file: string | Uint8Array, signature?: string | Uint8Array) =>
      model.addAdapter(file, { name, signature });
    await add("bytes", bytes, ADAPTER_SIGNED);
    await assert.rejects(add("none", bytes), /SignatureError: the adapter: came without a signature/);
    await assert.rejects(add("none", path), /SignatureError: .*news\.safetensors\.sig: the signature cannot be read/);
    writeFileSync(`${path}.sig`, ADAPTER_SIGNED);
    await add("beside", path);
    await add("named", path, `${path}.sig`);
    await assert.rejects(add("none", bytes, SIGNED), /SignatureError: .*is of a folder/);
    await assert.rejects(add("none", bytes, new Uint8Array()), /SignatureError: .*is no signature/);
    const altered = Uint8Array.from(bytes);
    altered[altered.length - 1]! ^= 1;
    await assert.rejects(add("none", altered, ADAPTER_SIGNED), /SignatureError: .*is not the file that was signed/);
    assert.ok(["bytes", "beside", "named"].every((name) => model.adapters.has(name)) && !model.adapters.has("none"));
  });

  it("of a URL has its signature beside it, what follows a ? included", async () => {
    const asked: string[] = [];
    const real = globalThis.fetch;
    globalThis.fetch = (async (url: string) => {
      asked.push(url);
      return new Response((url.includes(".sig") ? ADAPTER_SIGNED : bytes) as Uint8Array<ArrayBuffer>);
    }) as typeof fetch;
    after(() => (globalThis.fetch = real));
    const model = await load(files("decoder-shared", SIGNED), { ...OPTIONS, trust });
    await model.addAdapter("https://example.org/a.safetensors?key=1", { name: "one" });
    await model.addAdapter(new URL("https://example.org/b.safetensors"), { name: "two" });
    globalThis.fetch = real;
    assert.deepEqual(asked, [
      "https://example.org/a.safetensors?key=1",
      "https://example.org/a.safetensors.sig?key=1",
      "https://example.org/b.safetensors",
      "https://example.org/b.safetensors.sig",
    ]);
  });

  it("in a worker is signed as well", async () => {
    const { port1, port2 } = new MessageChannel();
    after(() => [port1, port2].forEach((port) => port.close()));
    serve({ backend: BACKENDS.node, trust }, port2);
    const blobs = Object.fromEntries(files("decoder-shared", SIGNED));
    const model = await loadInWorker(port1, blobs, { threads: 1 });
    await model.addAdapter(bytes, { name: "news", signature: ADAPTER_SIGNED });
    await assert.rejects(model.addAdapter(bytes, { name: "none" }), SignatureError);
    assert.ok(model.adapters.has("news") && !model.adapters.has("none"));
  });
});

describe("trusted keys", () => {
  it("may be one text or several, with several keys in a text", async () => {
    const { release, next, wide } = KEYS as Record<string, string>;
    const both = `our keys\r\n${next}${release!.replaceAll("\n", "\r\n")}`;
    for (const given of [release!, [next!, release!], both, [wide!, release!]]) {
      await signatures(given).file(readFileSync(golden(ADAPTER)), ADAPTER_SIGNED);
    }
  });

  it("that are none are refused, by their place", () => {
    const pem = (kind: string, body: string) => `-----BEGIN ${kind}-----\n${body}\n-----END ${kind}-----\n`;
    const body = KEYS["release"]!.split("\n").slice(1, -2).join("");
    for (const [given, words] of [
      [[], /is empty/],
      [[""], /trustedKeys\[0\]: holds no key in PEM/],
      [["keys/release.pub"], /holds no key in PEM/],
      [[KEYS["release"], pem("PRIVATE KEY", "AAAA")], /trustedKeys\[1\]: is a private key/],
      [[pem("EC PRIVATE KEY", "AAAA")], /is a private key/],
      [[pem("CERTIFICATE", "AAAA")], /is no public EC key/],
      [[pem("PUBLIC KEY", "AAAA")], /is no public EC key/],
      [[pem("PUBLIC KEY", body.slice(0, -4))], /is no public EC key/],
      [[pem("PUBLIC KEY", "%%%%")], /is no public EC key/],
      [[7], /is 7/],
    ] as [any, RegExp][]) {
      const isSaid = (error: Error) => error instanceof OptionError && words.test(error.message);
      assert.throws(() => signatures(given), isSaid);
    }
  });

  it("that are no point of the curve are refused when they are needed", async () => {
    const body = KEYS["release"]!.split("\n").slice(1, -2).join("");
    const bytes = Buffer.from(body, "base64");
    bytes[bytes.length - 1]! ^= 1;
    const lines = bytes.toString("base64").match(/.{1,64}/g)!.join("\n");
    const pem = `-----BEGIN PUBLIC KEY-----\n${lines}\n-----END PUBLIC KEY-----\n`;
    const hint = Buffer.from(await crypto.subtle.digest("SHA-256", bytesOf(pem))).toString("hex");
    const made = JSON.parse(new TextDecoder().decode(ADAPTER_SIGNED));
    made.verificationMaterial.publicKey.hint = hint;
    const call = signatures(pem).file(readFileSync(golden(ADAPTER)), bytesOf(JSON.stringify(made)));
    await assert.rejects(call, /OptionError: trustedKeys\[0\]: is no point of its curve/);
  });
});
