/** The sample's page, built from golden bundles, as a person uses it. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import type { Browser, BrowserContext, Page } from "playwright-core";

import { golden, loaded } from "./backends.js";
import { launched, served, skip } from "./chromium.js";

const SAMPLE = join("..", "..", "samples", "web");
const HERE = join("build", "web");
const SITE = join(HERE, "site");
/** Where pictures of the page go; left out: nowhere. */
const PICTURES = process.env["PICTURES"];

describe("the sample's page", { skip, timeout: 120_000 }, () => {
  let server: Awaited<ReturnType<typeof served>>;
  let browser: Browser;
  let context: BrowserContext;
  let page: Page;
  /** Answers in place of files. */
  const altered = new Map<string, Uint8Array>();

  before(async () => {
    rmSync(HERE, { recursive: true, force: true });
    mkdirSync(join(HERE, "node_modules"), { recursive: true });
    for (const name of readdirSync(SAMPLE)) {
      if (statSync(join(SAMPLE, name)).isFile()) cpSync(join(SAMPLE, name), join(HERE, name));
    }
    // as `npm install` lays it beside the page
    symlinkSync(process.cwd(), join(HERE, "node_modules", "edgetune-runtime"));
    execFileSync(process.execPath, [join(HERE, "build.mjs"), golden("encoder-shared"), golden("decoder-shared")]);
    server = await served((path) => altered.get(path) ?? join(SITE, path.endsWith("/") ? `${path}index.html` : path));
    browser = await launched();
    context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
    page = await context.newPage();
    page.on("pageerror", (error) => assert.fail(error));
    await page.goto(`${server.origin}/`);
    await ready(page);
  });

  after(async () => {
    await browser?.close();
    server?.close();
  });

  async function ready(on: Page): Promise<void> {
    await on.waitForFunction('document.querySelectorAll("input:disabled").length === 0');
  }

  async function bars(): Promise<string[]> {
    await page.waitForSelector("#classifier .bars li");
    return page.locator("#classifier .bars li").allInnerTexts();
  }

  it("labels a sentence as it is typed, for each task, and downloads nothing for it", async () => {
    const model = await loaded("encoder-shared");
    const before = server.asked.length;
    await page.getByLabel("Your sentence").pressSequentially("what is the weather");
    for (const adapter of ["mood", "weather"]) {
      await page.getByLabel(adapter).check();
      const { scores } = await model.classify("what is the weather", { adapter });
      const expected = [...scores].map(([label, score]) => `${label} ${(100 * score).toFixed(0)} %`);
      await page.waitForFunction(
        `document.querySelectorAll("#classifier .bars li").length === ${scores.size}`,
      );
      assert.deepEqual((await bars()).map((text) => text.replace(/\s+/g, " ")), expected);
    }
    assert.match(await page.locator("#classifier .figures").innerText(), /^\d+ ms$/);
    assert.equal(server.asked.length, before);
    await page.getByLabel("Your sentence").fill("");
    await page.waitForFunction('document.querySelectorAll("#classifier .bars li").length === 0');
    await page.getByLabel("Your sentence").fill("I am so happy to see you");
  });

  it("tells how much was loaded, and what a task adds", async () => {
    const manifest = JSON.parse(readFileSync(join(golden("encoder-shared"), "bundle.json"), "utf8"));
    const sizes = Object.values<{ size_bytes: number }>(manifest.files).map((file) => file.size_bytes);
    const total = (sizes.reduce((sum, n) => sum + n, 0) / 1e6).toFixed(1);
    assert.match(await page.locator("#classifier .note span").innerText(), new RegExp(`^${total} MB, ready after [\\d.]+ s$`));
    assert.match(await page.locator("#classifier fieldset").innerText(), /weather \(3 kB\)/);
  });

  it("streams a text, behind a task and behind none", async () => {
    const story = page.locator("#writer .story");
    for (const task of [/soft/, "the bare model"]) {
      await page.getByLabel(task).check();
      await page.getByRole("button", { name: "Write" }).click();
      await page.waitForFunction('document.querySelector("#writer button").textContent === "Write"');
      const text = await story.innerText();
      assert.ok(text.startsWith("Once upon a time") && text.length > 20);
      assert.match(await page.locator("#writer .figures").innerText(), /^first token after \d+ ms, then \d+ tokens/);
    }
  });

  it("fits a phone and a desk, in light and in dark", async () => {
    for (const [name, width, scheme] of [["phone", 390, "dark"], ["desk", 1280, "light"]] as const) {
      await page.setViewportSize({ width, height: 900 });
      await page.emulateMedia({ colorScheme: scheme });
      assert.equal(await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), true);
      if (PICTURES) await page.screenshot({ path: join(PICTURES, `page-${name}.png`), fullPage: true });
    }
  });

  it("can be used by its roles and names", async () => {
    for (const control of await page.locator("input, button").all()) {
      assert.ok(await control.evaluate((x) => (x as HTMLInputElement).labels?.length || x.textContent));
    }
    assert.equal(await page.locator("h1").count(), 1);
    assert.equal(await page.getByRole("region").count(), 2);
  });

  it("opens and answers without a network on the second visit", async () => {
    await page.evaluate("navigator.serviceWorker.ready");
    await context.setOffline(true);
    await page.reload();
    await ready(page);
    await page.getByLabel("Your sentence").fill("what is the weather");
    assert.equal((await bars()).length, 3);
    await context.setOffline(false);
  });

  it("says what is wrong where an adapter was altered, and goes on with the rest", async () => {
    const bytes = new Uint8Array(readFileSync(join(SITE, "classifier", "adapters", "mood.safetensors")));
    bytes[bytes.length - 1]! ^= 1;
    altered.set("/classifier/adapters/mood.safetensors", bytes);
    const fresh = await (await browser.newContext()).newPage();
    await fresh.goto(`${server.origin}/`);
    const alert = fresh.locator("#classifier .error");
    await alert.waitFor({ state: "visible" });
    assert.match(await alert.innerText(), /mood\.safetensors: its SHA-256 is not the one in bundle\.json: it was altered/);
    await fresh.waitForFunction('!document.querySelector("#writer button").disabled');
  });
});
