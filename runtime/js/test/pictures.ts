/**
 * Takes the pictures of the sample's page: npm run pictures, with BUNDLES (what `make_bundles.py` made) and PICTURES (where
 * they go). It is no test: a person looks at them.
 */

import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { launched, served } from "./chromium.js";
import { smallPng } from "./small_png.js";
import { laidOut } from "./web_sample.js";

const BUNDLES = process.env["BUNDLES"] ?? join("..", "..", "samples", "web", "bundles");
const PICTURES = process.env["PICTURES"] ?? join("..", "..", "docs", "pictures");
const SENTENCES: Record<string, string> = {
  "Bank support": "the machine kept my card",
  Assistant: "put this song on my gym playlist",
};
const MOST_BYTES = 150_000;

const site = laidOut(join("build", "pictures"), (here) => execFileSync(process.execPath, [join(here, "build.mjs"), BUNDLES]));
const server = await served((path) => join(site, path.endsWith("/") ? `${path}index.html` : path));
const browser = await launched();
mkdirSync(PICTURES, { recursive: true });
for (const [device, width, height, scale] of [["phone", 390, 844, 2], ["desk", 1200, 800, 1]] as const) {
  for (const scheme of ["light", "dark"] as const) {
    const context = await browser.newContext({ viewport: { width, height }, deviceScaleFactor: scale, colorScheme: scheme });
    const page = await context.newPage();
    await page.goto(`${server.origin}/`);
    await page.waitForFunction('document.querySelectorAll("input:disabled").length === 0', null, { timeout: 60_000 });
    const titles = await page.locator("#classifier .choices span").allInnerTexts();
    const shown = titles.find((title) => title in SENTENCES);
    if (shown) await page.getByLabel(shown).check();
    await page.getByLabel("Your sentence").fill((shown && SENTENCES[shown]) ?? "wake me up at seven");
    await page.getByRole("button", { name: "Write" }).click();
    await page.waitForFunction('document.querySelector("#writer [type=submit]").textContent === "Write"', null, { timeout: 60_000 });
    // once more, now that the other model is at rest
    await page.getByLabel("Your sentence").press("End");
    await page.getByLabel("Your sentence").pressSequentially(" ");
    await page.evaluate("scrollTo(0, 0)");
    await page.waitForTimeout(1000);
    const path = join(PICTURES, `page-${device}-${scheme}.png`);
    const picture = smallPng(await page.screenshot({ fullPage: device === "desk" }));
    writeFileSync(path, picture);
    console.log(`${path}: ${picture.length} bytes`);
    if (picture.length > MOST_BYTES) process.exitCode = 1;
    await context.close();
  }
}
await browser.close();
server.close();
