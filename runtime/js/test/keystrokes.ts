/**
 * How long a keystroke takes to become labels on the sample's page, and what a thousand requests leave behind:
 *
 *     BUNDLES=../../samples/web/bundles npm run keystrokes
 *
 * In Chromium, one thread of WebAssembly with SIMD, the model in its worker: from the event of the input to the rows of the
 * list, with the way to the worker and back, on texts of exactly 16 tokens, special ones included. It is no test.
 */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";

import type { Page } from "playwright-core";

import { load } from "../dist/index.js";
import { launched, served } from "./chromium.js";
import { laidOut } from "./web_sample.js";

const BUNDLES = process.env["BUNDLES"] ?? join("..", "..", "samples", "web", "bundles");
const TOKENS = 16;
const KEYSTROKES = 300;
const LOADS = 5;
const REQUESTS = 1000;
const WORDS = (
  "my card was not here when i tried to pay for the food this week so what can you do about it now play some music in " +
  "the house and turn off all of the lights before we leave for work next day please send her a note that i will be late"
).split(" ");

/** Texts of so many tokens, each a word longer than a text before it would be. */
async function texts(): Promise<string[]> {
  const { tokenizer, release } = await loadedHere();
  const found: string[] = [];
  for (let i = 0; found.length < KEYSTROKES; i++) {
    const words = Array.from({ length: TOKENS - 2 }, (_, k) => WORDS[(i * 7 + k * (1 + (i % 5))) % WORDS.length]!);
    const text = words.join(" ");
    if (tokenizer.encode(text).length === TOKENS) found.push(text);
  }
  await release();
  return found;
}

async function loadedHere() {
  const model = await load(join(BUNDLES, "classifier"), { threads: 1 });
  return { tokenizer: model.tokenizer, release: () => model.release() };
}

/** In the page: milliseconds from an input's event to the list's next change. */
function keystroke(text: string): Promise<number> {
  const { document, MutationObserver, Event, performance } = globalThis as any;
  const input = document.getElementById("sentence");
  const list = document.querySelector("#classifier .bars");
  return new Promise((resolve) => {
    const began = performance.now();
    const observer = new MutationObserver(() => {
      observer.disconnect();
      resolve(performance.now() - began);
    });
    observer.observe(list, { childList: true, subtree: true, characterData: true, attributes: true });
    input.value = text;
    input.dispatchEvent(new Event("input", { bubbles: true }));
  });
}

function summary(times: number[]): string {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!.toFixed(1);
  return `median ${at(0.5)} ms, 95 % below ${at(0.95)} ms, worst ${at(1)} ms`;
}

const given = await texts();
const site = laidOut(join("build", "keystrokes"), (here) => execFileSync(process.execPath, [join(here, "build.mjs"), BUNDLES]));
const server = await served((path) => join(site, path.endsWith("/") ? `${path}index.html` : path));
const browser = await launched();

async function opened(): Promise<Page> {
  const page = await (await browser.newContext()).newPage();
  await page.goto(`${server.origin}/`);
  await page.waitForFunction('document.querySelectorAll("input:disabled").length === 0', null, { timeout: 60_000 });
  return page;
}

const typed = (page: Page, text: string) => page.evaluate(`(${keystroke})(${JSON.stringify(text)})`) as Promise<number>;
const load1 = () => `load ${loadavg()[0]!.toFixed(1)}`;

const first: number[] = [];
for (let i = 0; i < LOADS; i++) {
  const page = await opened();
  first.push(await typed(page, given[i]!));
  const ready = await page.locator("#classifier .bytes").innerText();
  console.log(`page ${i + 1}: ${ready}; its first labels after ${first.at(-1)!.toFixed(1)} ms (${load1()})`);
  await page.context().close();
}
console.log(`first labels of ${LOADS} pages: ${summary(first)}`);

const page = await opened();
for (const title of await page.locator("#classifier .choices span").allInnerTexts()) {
  await page.getByLabel(title).check();
  await page.waitForTimeout(500);
  const times: number[] = [];
  for (const text of given) times.push(await typed(page, text));
  console.log(`${title}: ${KEYSTROKES} keystrokes at ${TOKENS} tokens, ${summary(times)} (${load1()})`);
}

/** Bytes of the page's heap after a collection; its workers have heaps of their own. */
async function heapBytes(): Promise<number> {
  const session = await page.context().newCDPSession(page);
  await session.send("HeapProfiler.collectGarbage");
  const { usedSize, backingStorageSize } = (await session.send("Runtime.getHeapUsage")) as any;
  await session.detach();
  return usedSize + backingStorageSize;
}

/** Resident bytes of the process that holds the page and its workers, WebAssembly's memory included. */
async function residentBytes(): Promise<number> {
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = (await session.send("SystemInfo.getProcessInfo")) as any;
  await session.detach();
  const pages = (id: number) => Number(readFileSync(`/proc/${id}/statm`, "utf8").split(" ")[1]);
  return Math.max(...processInfo.filter((x: any) => x.type === "renderer").map((x: any) => pages(x.id))) * 4096;
}

for (const text of given) await typed(page, text);
const before = [await heapBytes(), await residentBytes()] as const;
for (let i = 0; i < REQUESTS; i++) await typed(page, given[i % given.length]!);
const after = [await heapBytes(), await residentBytes()] as const;
const mb = (bytes: number) => (bytes / 1e6).toFixed(1);
console.log(`${REQUESTS} requests: heap ${mb(before[0])} → ${mb(after[0])} MB, resident ${mb(before[1])} → ${mb(after[1])} MB`);
assert.ok(after[1] - before[1] < 20e6, "resident memory grew");
await browser.close();
server.close();
