/** Chromium, where it is installed, and a local server of files for its pages. */

import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";

import { type Browser, chromium } from "playwright-core";

import { GOLDEN } from "./backends.js";

const CHROMIUM = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
]; // prettier-ignore
const TYPES: Record<string, string> = {
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
  ".html": "text/html",
  ".css": "text/css",
};

/** Why what runs in Chromium is skipped; false: it is not. */
export const skip = existsSync(CHROMIUM) ? false : `${CHROMIUM} is not here; CHROMIUM names another`;

export function launched(flags: readonly string[] = []): Promise<Browser> {
  return chromium.launch({ executablePath: CHROMIUM, args: [...FLAGS, ...flags] });
}

/** A server whose paths are what `find` gives for them: a file's path, its bytes, or nothing. */
export async function served(find: (path: string) => string | Uint8Array | undefined) {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url!, "http://x").pathname);
    asked.push(path);
    const found = find(path);
    const bytes = typeof found === "string" ? existsSync(found) && readFileSync(found) : found;
    const type = TYPES[extname(path.endsWith("/") ? "index.html" : path)];
    response.writeHead(bytes ? 200 : 404, { "content-type": type ?? "application/octet-stream" });
    response.end(bytes || undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { origin, asked, close };
}

/** That server for a page of the tests, which runs `/page.js` of `files`, beside the golden bundles and ONNX Runtime. */
export function servedPage(files: ReadonlyMap<string, Uint8Array>) {
  return served((path) => {
    const [, first, ...rest] = path.split("/");
    if (first === "golden") return join(GOLDEN, ...rest);
    if (first === "ort") return join("node_modules", "onnxruntime-web", "dist", ...rest);
    return path === "/" ? PAGE : files.get(path);
  });
}

const PAGE = Buffer.from('<!doctype html><meta charset="utf-8"><script type="module" src="/page.js"></script>');
