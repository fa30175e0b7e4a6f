/** The sample's page, built from golden bundles, as a person uses it. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import type { Browser, BrowserContext, Page } from "playwright-core";

import { golden, loaded } from "./backends.js";
import { launched, served, skip } from "./chromium.js";
import { laidOut } from "./web_sample.js";

const HERE = join("build", "web");
const SITE = join(HERE, "site");
/** What `make_bundles.py` writes of its tasks. */
const PAGE = {
  titles: { weather: "The sky" },
  examples: { weather: ["is it going to rain"], mood: ["I am so happy", "go away"] },
  beginnings: ["Once upon a time", "One day"],
};

describe("the sample's page", { skip, timeout: 120_000 }, () => {
  let server: Awaited<ReturnType<typeof served>>;
  let browser: Browser;
  let context: BrowserContext;
  let page: Page;
  /** Answers in place of files. */
  const altered = new Map<string, Uint8Array>();

  before(async () => {
    laidOut(HERE, (here) => {
      cpSync(golden("encoder-shared"), join(here, "bundles", "classifier"), { recursive: true });
      cpSync(golden("decoder-shared"), join(here, "bundles", "writer"), { recursive: true });
      writeFileSync(join(here, "bundles", "page.json"), JSON.stringify(PAGE));
      execFileSync(process.execPath, [join(here, "build.mjs"), join(here, "bundles")]);
    });
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

  /** `Label 93 %` of each row, once there are as many as that. */
  async function bars(count: number): Promise<string[]> {
    await page.waitForFunction(`document.querySelectorAll("#classifier .bars li").length === ${count}`);
    return (await page.locator("#classifier .bars li").allInnerTexts()).map((text) => text.replace(/\s+/g, " "));
  }

  /** What the rows should say. */
  async function expected(text: string, adapter: string): Promise<string[]> {
    const { scores } = await (await loaded("encoder-shared")).classify(text, { adapter });
    const named = (label: string) => label[0]!.toUpperCase() + label.slice(1).replace("_", " ");
    return [...scores].map(([label, score]) => `${named(label)} ${(100 * score).toFixed(0)} %`);
  }

  async function figure(section: string, name: string): Promise<string> {
    return page.locator(`#${section} .figures div`).filter({ hasText: name }).locator("dd").innerText();
  }

  /** Waits until the rows are these: an answer comes after what was typed. */
  async function shows(rows: string[]): Promise<void> {
    const deadline = Date.now() + 5000;
    while ((await bars(rows.length)).join() !== rows.join() && Date.now() < deadline) await page.waitForTimeout(20);
    assert.deepEqual(await bars(rows.length), rows);
  }

  it("labels a sentence as it is typed, for each task, and downloads nothing for it", async () => {
    const before = server.asked.length;
    const text = "what is the weather";
    await page.getByLabel("Your sentence").pressSequentially(text);
    await shows(await expected(text, "weather"));
    await page.getByLabel("Mood").check();
    await shows(await expected(text, "mood"));
    await page.getByLabel("The sky").check();
    await shows(await expected(text, "weather"));
    assert.match(await figure("classifier", "Answer"), /^\d+ ms$/);
    assert.equal(server.asked.length, before);
    await page.getByLabel("Your sentence").fill("");
    await bars(0);
  });

  it("says an answer to those who hear it, once typing has paused", async () => {
    await page.getByLabel("Your sentence").fill("it is windy");
    const [first] = await expected("it is windy", "weather");
    const said = page.locator("#classifier").getByRole("status");
    await said.getByText(first!.replace(/ (\d+) %/, ", $1 percent"), { exact: true }).waitFor({ state: "attached" });
  });

  it("offers each task's own examples", async () => {
    await page.getByRole("button", { name: "is it going to rain" }).click();
    await shows(await expected("is it going to rain", "weather"));
    await page.getByLabel("Mood").check();
    assert.deepEqual(await page.locator("#classifier .examples button").allInnerTexts(), PAGE.examples.mood);
  });

  it("is used by keys alone", async () => {
    await page.getByLabel("Mood").focus();
    await page.keyboard.press("ArrowLeft");
    assert.equal(await page.getByLabel("The sky").isChecked(), true);
    await page.keyboard.press("Tab");
    await page.keyboard.type("a cloud");
    await shows(await expected("a cloud", "weather"));
    await page.getByLabel("A beginning").focus();
    await page.keyboard.press("Enter");
    await page.waitForFunction('document.querySelector("#writer button").textContent === "Write"');
  });

  it("tells how much was loaded, and what a task adds", async () => {
    const manifest = JSON.parse(readFileSync(join(golden("encoder-shared"), "bundle.json"), "utf8"));
    const sizes = Object.values<{ size_bytes: number }>(manifest.files).map((file) => file.size_bytes);
    const total = Math.round(sizes.reduce((sum, n) => sum + n, 0) / 1000);
    const told = await page.locator("#classifier .bytes").innerText();
    assert.match(told, new RegExp(`^${total} kB, ready after [\\d.]+ s$`));
    const { sizeBytes } = (await loaded("encoder-shared")).adapters.get("weather")!;
    const kilobytes = `${Math.round(sizeBytes / 1000)} kB`;
    assert.match(await page.locator("#classifier fieldset").innerText(), new RegExp(`The sky\\s+${kilobytes}`));
    assert.equal(await figure("classifier", "This task"), kilobytes);
    assert.equal(await page.locator("progress:visible").count(), 0);
  });

  it("takes a task from a file, and refuses a file that was cut off", async () => {
    const path = join(golden("encoder-shared"), "adapters", "mood.safetensors");
    const file = page.getByLabel("Add a task from a file");
    await file.setInputFiles({ name: "cut.safetensors", mimeType: "", buffer: readFileSync(path).subarray(0, -5) });
    const alert = page.locator("#classifier .error");
    await alert.waitFor({ state: "visible" });
    assert.match(await alert.innerText(), /^cut\.safetensors: /);
    const renamed = readFileSync(path);
    renamed.write("food", renamed.indexOf("mood"));
    await file.setInputFiles({ name: "food.safetensors", mimeType: "", buffer: renamed });
    await page.getByLabel("Food").waitFor();
    assert.equal(await alert.isVisible(), false);
    await page.getByLabel("Your sentence").fill("I am so happy");
    await shows(await expected("I am so happy", "mood"));
    await page.getByLabel("The sky").check();
  });

  it("streams a text, behind a task and behind none, and stops when asked", async () => {
    const story = page.locator("#writer .story");
    for (const task of [/Soft/, /No prefix/]) {
      await page.getByLabel(task).check();
      await page.getByRole("button", { name: "Write" }).click();
      await page.waitForFunction('document.querySelector("#writer [type=submit]").textContent === "Write"');
      const text = await story.innerText();
      assert.ok(text.startsWith("Once upon a time") && text.length > 20);
      assert.equal(await story.getAttribute("aria-busy"), "false");
      assert.match(await figure("writer", "First token"), /^\d+ ms$/);
      assert.match(await figure("writer", "Then"), /^\d+ tokens\/s$/);
    }
    await page.getByRole("button", { name: "One day" }).click();
    await page.getByRole("button", { name: "Stop" }).click();
    await page.getByRole("button", { name: "Write" }).waitFor();
    assert.ok((await story.innerText()).startsWith("One day"));
  });

  it("fits a phone and a desk, in light and in dark, and its letters stand out", async () => {
    for (const [width, scheme] of [[390, "dark"], [390, "light"], [1280, "light"], [1280, "dark"]] as const) {
      await page.setViewportSize({ width, height: 900 });
      await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
      assert.equal(await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), true);
      const weak = (await page.evaluate(`(${contrasts})()`)) as [string, number][];
      assert.deepEqual(weak.filter(([, ratio]) => ratio < 4.5), [], scheme);
      assert.ok(weak.length > 15);
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
    await shows(await expected("what is the weather", "weather"));
    await page.getByRole("button", { name: "One day" }).click();
    await page.waitForFunction('document.querySelector("#writer .story").textContent.length > 20');
    assert.equal(await page.locator("#network").innerText(), "Offline, and working");
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
    await fresh.getByLabel("Your sentence").fill("what is the weather");
    await fresh.locator("#classifier .bars li").first().waitFor();
    assert.deepEqual(await fresh.locator("#classifier .choices span").allInnerTexts(), ["The sky"]);
  });
});

/** In the page: each element with letters of its own, and how its colour stands out from what is behind it (WCAG 2.2). */
function contrasts(): [string, number][] {
  const { document, getComputedStyle } = globalThis as any;
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const channels = (color: string): number[] => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (color: number[]) => {
    const [r, g, b] = color.map((x) => (x / 255 <= 0.04045 ? x / 255 / 12.92 : ((x / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!;
  };
  const behind = (element: any): number[] => {
    for (let x = element; x; x = x.parentElement) {
      const color = channels(getComputedStyle(x).backgroundColor);
      if (color[3] === 255) return color;
    }
    return channels("canvas");
  };
  const hasLetters = (element: any) =>
    element.matches("input:not([type=radio])") || [...element.childNodes].some((x) => x.nodeType === 3 && x.data.trim());
  return [...document.querySelectorAll("main *")]
    .filter((x) => x.checkVisibility() && !x.disabled && hasLetters(x))
    .map((element) => {
      const [a, b] = [luminance(channels(getComputedStyle(element).color)), luminance(behind(element))];
      return [`${element.tagName} ${element.textContent}`, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
    });
}
