// Makes the folder `site`, which any server of files can serve: node build.mjs BUNDLES [--serve]
// BUNDLES is what make_bundles.py leaves: the folders `classifier` and `writer` and, if it is there, page.json.
import { existsSync } from "node:fs";
import { cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { context } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const site = join(here, "site");
const [bundles, ...options] = process.argv.slice(2);
if (!bundles) throw new Error("usage: node build.mjs BUNDLES [--serve]");

await rm(site, { recursive: true, force: true });
await mkdir(join(site, "ort"), { recursive: true });
for (const name of ["classifier", "writer"]) await cp(join(bundles, name), join(site, name), { recursive: true });
const described = join(bundles, "page.json");
await writeFile(join(site, "page.json"), existsSync(described) ? await readFile(described) : "{}");
for (const name of ["index.html", "style.css"]) await cp(join(here, name), join(site, name));
const runtime = dirname(createRequire(import.meta.url).resolve("onnxruntime-web"));
for (const end of ["mjs", "wasm"]) {
  await cp(join(runtime, `ort-wasm-simd-threaded.${end}`), join(site, "ort", `ort-wasm-simd-threaded.${end}`));
}

const bundling = await context({
  absWorkingDir: here,
  entryPoints: ["app.js", "worker.js"],
  outdir: site,
  bundle: true,
  minify: true,
  format: "esm",
  // the build of ONNX Runtime without WebGPU, half as large; its WebAssembly is served from `ort`
  alias: { "onnxruntime-web": "onnxruntime-web/wasm" },
  conditions: ["onnxruntime-web-use-extern-wasm"],
});
await bundling.rebuild();
// what the page is made of is kept by its service worker; bundles are kept by the runtime
const shell = ["./", "app.js", "worker.js", "style.css", "page.json", ...(await readdir(join(site, "ort"))).map((x) => `ort/${x}`)];
const script = await readFile(join(here, "service.js"), "utf8");
await writeFile(join(site, "service.js"), script.replace("SHELL", JSON.stringify(shell)).replace("BUILT", Date.now()));
if (options.includes("--serve")) {
  const { hosts, port } = await bundling.serve({ servedir: site, host: "127.0.0.1" });
  console.log(`http://${hosts[0]}:${port}`);
} else {
  await bundling.dispose();
}
