/** A bundle in a phone's documents: whole or as it was before, downloaded once, gone on with where it was left. */

import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, beforeEach, it } from "node:test";
import { pathToFileURL } from "node:url";

import { build } from "esbuild";

import { load, type Source } from "../dist/index.js";
import { golden, loaded } from "./backends.js";
import { served } from "./chromium.js";

type Installed = (url: string, onProgress: (done: number, total: number) => void) => Promise<Source>;

let installedBundle: Installed;
let server: Awaited<ReturnType<typeof served>>;
let published: string;
let broken: string | null = null;

before(async () => {
  const outfile = resolve("build", "bundle_folder.mjs");
  await build({
    entryPoints: ["../../samples/react-native/bundle_folder.ts"],
    bundle: true,
    format: "esm",
    platform: "node",
    outfile,
    alias: {
      "expo-file-system": resolve("test/phone/expo_file_system.ts"),
      "expo-crypto": resolve("test/phone/expo_crypto.ts"),
    },
  });
  ({ installedBundle } = await import(pathToFileURL(outfile).href));
  server = await served((path) => (broken !== null && path.endsWith(broken) ? undefined : join(published, path)));
});

after(() => server.close());

beforeEach(() => {
  const folder = mkdtempSync(join(tmpdir(), "edgetune-phone-"));
  published = join(folder, "published");
  mkdirSync(join(folder, "documents"));
  cpSync(golden("encoder-shared"), join(published, "reader"), { recursive: true });
  Object.assign(globalThis, { documents: pathToFileURL(join(folder, "documents")) });
  server.asked.length = 0;
  broken = null;
});

const url = () => `${server.origin}/reader`;
const install = () => installedBundle(url(), () => undefined);

async function checkAnswers(source: Source): Promise<void> {
  const model = await load(source, { threads: 1 });
  assert.deepEqual(await model.classify("a"), await (await loaded("encoder-shared")).classify("a"));
}

/** The manifest of another version, whose adapter `mood` has another name inside. */
function publishUpdate(): void {
  const path = join(published, "reader", "bundle.json");
  const manifest = JSON.parse(readFileSync(path, "utf8"));
  delete manifest.adapters.mood;
  delete manifest.files["adapters/mood.safetensors"];
  writeFileSync(path, JSON.stringify(manifest));
}

it("it is downloaded once, with progress, and answers", async () => {
  const told: number[][] = [];
  await checkAnswers(await installedBundle(url(), (...progress) => told.push(progress)));
  assert.ok(told.every(([done], i) => i === 0 || done! > told[i - 1]![0]!));
  assert.equal(told.at(-1)![0], told.at(-1)![1]);
  server.asked.length = 0;
  await checkAnswers(await install());
  assert.deepEqual(server.asked, ["/reader/bundle.json"]);
});

it("without a network it is as it was the last time; before the first, that is said", async () => {
  broken = "bundle.json";
  await assert.rejects(install(), /cannot be reached, and nothing was downloaded before/);
  broken = null;
  await install();
  broken = "bundle.json";
  await checkAnswers(await install());
});

it("an interrupted download goes on where it was", async () => {
  broken = "tokenizer.json";
  await assert.rejects(install(), /tokenizer\.json: 404/);
  const before = server.asked.filter((path) => !path.endsWith("bundle.json") && !path.endsWith("tokenizer.json"));
  broken = null;
  server.asked.length = 0;
  await checkAnswers(await install());
  assert.deepEqual(server.asked.filter((path) => before.includes(path)), []);
});

it("of another version what changed is downloaded, and the one before goes", async () => {
  await install();
  publishUpdate();
  server.asked.length = 0;
  const source = await install();
  assert.deepEqual(server.asked, ["/reader/bundle.json"], "all of its files are those of the version before");
  assert.deepEqual([...(await load(source, { threads: 1 })).adapters.keys()], ["weather"]);
  const kept = readdirSync((globalThis as any).documents).flatMap((name) =>
    readdirSync(new URL(`${encodeURIComponent(name)}/`, `${(globalThis as any).documents}/`)),
  );
  assert.equal(kept.length, 1);
});

it("a file that was altered on the phone is refused", async () => {
  const source = await install();
  const bytes = await source.read("adapters/mood.safetensors", {});
  bytes[bytes.length - 1]! ^= 1;
  writeFileSync(source.pathOf!("adapters/mood.safetensors"), bytes);
  await assert.rejects(load(await install(), { threads: 1 }), /its SHA-256 is not the one in bundle\.json/);
});
