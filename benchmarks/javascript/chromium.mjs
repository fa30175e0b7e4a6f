/**
 * One engine in a page of Chromium: each line on the standard input, ["turn", prompt ids, steps] or ["next"], is answered.
 *
 *     node chromium.mjs ours|theirs PATH --threads 2 [--dtype q4] [--adapter FILE]
 *
 * Answers are lines of JSON; the first line of all says which version runs. The page is isolated from
 * other origins, so WebAssembly has threads.
 */

import { createReadStream, existsSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { dirname, basename, extname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { build } from "esbuild";
import { chromium } from "playwright-core";

const HERE = dirname(fileURLToPath(import.meta.url));
const MODULES = join(HERE, "node_modules");
const TYPES = { ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm", ".html": "text/html" };
const ISOLATED = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { threads: { type: "string" }, dtype: { type: "string" }, adapter: { type: "string" } },
});
const [engine, path] = positionals;

/** The page's script, with the library that is measured alone. */
async function script() {
  const other = engine === "ours" ? "@huggingface/transformers" : "edgetune-runtime";
  const { outputFiles } = await build({
    entryPoints: [join(HERE, "page.mjs")],
    bundle: true,
    write: false,
    format: "esm",
    platform: "browser",
    // ours finds its WebAssembly by a setting, theirs beside its script
    conditions: ["onnxruntime-web-use-extern-wasm"],
    external: [other],
  });
  return outputFiles[0].contents;
}

const page = '<!doctype html><link rel="icon" href="data:,"><meta charset="utf-8"><script type="module" src="/page.js"></script>';
const ready = { "/": page, "/page.js": await script() };
const places = {
  "/ort/": join(MODULES, "onnxruntime-web", "dist"),
  "/their-ort/": join(MODULES, "@huggingface", "transformers", "node_modules", "onnxruntime-web", "dist"),
  "/model/": path,
  "/adapter.safetensors": values.adapter,
};

const server = createServer((request, response) => {
  const { pathname } = new URL(request.url, "http://x");
  const type = TYPES[extname(pathname) || ".html"] ?? "application/octet-stream";
  const head = { ...ISOLATED, "content-type": type };
  if (ready[pathname] !== undefined) return response.writeHead(200, head).end(ready[pathname]);
  const [start, folder] = Object.entries(places).find(([start]) => pathname.startsWith(start)) ?? [];
  const file = folder && join(folder, pathname.slice(start.length));
  if (!file || !existsSync(file)) return response.writeHead(404, head).end();
  response.writeHead(200, { ...head, "content-length": statSync(file).size });
  createReadStream(file).pipe(response);
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu"],
});
const tab = await browser.newPage();
tab.on("pageerror", (error) => console.error(String(error)));
tab.on("console", (message) => message.type() === "error" && console.error(message.text()));
await tab.goto(`http://127.0.0.1:${server.address().port}/`);
await tab.waitForFunction("globalThis.ready");
const options = { threads: Number(values.threads), dtype: values.dtype, device: "wasm" };
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const version = await tab.evaluate(([engine, source, options]) => globalThis.start(engine, source, options), [
  engine, engine === "ours" ? "/model" : "model", options,
]);
say(`${version} in Chromium ${browser.version()}`);
for await (const line of createInterface({ input: process.stdin })) {
  say(await tab.evaluate((question) => globalThis.ask(question), JSON.parse(line)));
}
await browser.close();
server.closeAllConnections();
server.close();
