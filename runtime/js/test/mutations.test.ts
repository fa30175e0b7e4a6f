/** No change of a signed bundle is accepted: the list of every language, or the long one in `EDGETUNE_MUTATIONS`. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { it } from "node:test";

import { EdgetuneError } from "../dist/index.js";
import { readManifest } from "../dist/manifest.js";
import { signatures } from "../dist/signatures.js";
import { checkFile, sha256Of } from "../dist/verification.js";
import { GOLDEN } from "./backends.js";

interface Change {
  readonly kind: "byte" | "splice" | "remove" | "swap";
  readonly file: string;
  readonly at: number;
  readonly xor: number;
  readonly remove: number;
  readonly data: string;
  readonly other: string;
}

type Files = Map<string, Uint8Array>;

const { bundle, key, signature, changes } = JSON.parse(
  readFileSync(process.env["EDGETUNE_MUTATIONS"] ?? join(GOLDEN, "mutations.json"), "utf8"),
) as { bundle: string; key: string; signature: string; changes: Change[] };
const trust = signatures(key);
const hashes = new WeakMap<Uint8Array, string>();

/** What `load` does before it looks into a file, by the same functions. */
async function checked(files: Files): Promise<void> {
  const read = (name: string) => files.get(name) ?? assert.fail(new EdgetuneError(`${name} is missing`));
  const manifest = read("bundle.json");
  await trust.bundle(manifest, read("model.sig"));
  for (const [name, entry] of readManifest(manifest, "bundle.json").files) {
    const bytes = read(name);
    if (!hashes.has(bytes)) hashes.set(bytes, await sha256Of(bytes));
    checkFile(name, entry, bytes.length, hashes.get(bytes)!);
  }
}

function changed(files: Files, { kind, file, at, xor, remove, data, other }: Change): Files {
  const found = new Map(files);
  const before = files.get(file)!;
  if (kind === "byte") {
    const bytes = Uint8Array.from(before);
    bytes[at]! ^= xor;
    found.set(file, bytes);
  } else if (kind === "splice") {
    const parts = [before.subarray(0, at), Buffer.from(data, "base64"), before.subarray(at + remove)];
    found.set(file, new Uint8Array(Buffer.concat(parts)));
  } else if (kind === "remove") {
    found.delete(file);
  } else {
    found.set(file, files.get(other)!).set(other, before);
  }
  return found;
}

it(`a signed bundle is accepted and none of its ${changes.length} changes`, async () => {
  const listed = Object.keys(JSON.parse(readFileSync(join(GOLDEN, bundle, "bundle.json"), "utf8")).files);
  const names = ["bundle.json", ...listed];
  const files: Files = new Map(names.map((name) => [name, new Uint8Array(readFileSync(join(GOLDEN, bundle, name)))]));
  files.set("model.sig", new TextEncoder().encode(signature));
  await checked(files);
  for (const change of changes) {
    await assert.rejects(checked(changed(files, change)), EdgetuneError, JSON.stringify(change).slice(0, 300));
  }
});
