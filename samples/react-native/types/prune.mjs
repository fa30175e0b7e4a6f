// Makes package-lock.json hold the packages whose types are read, and none of what they need to run: node prune.mjs
// To move to other versions: change package.json, `npm install --package-lock-only --legacy-peer-deps`, then this.
import { readFileSync, writeFileSync } from "node:fs";

const TYPES = [
  "", "@react-native/virtualized-lists", "@types/react", "csstype", "expo-crypto", "expo-file-system",
  "onnxruntime-common", "onnxruntime-react-native", "react-native",
]; // prettier-ignore
const path = (name) => (name ? `node_modules/${name}` : "");

const lock = JSON.parse(readFileSync("package-lock.json", "utf8"));
lock.packages = Object.fromEntries(TYPES.map((name) => [path(name), lock.packages[path(name)]]));
for (const [name, entry] of Object.entries(lock.packages)) {
  if (!name) continue;
  const needed = Object.entries(entry.dependencies ?? {}).filter(([x]) => TYPES.includes(x));
  entry.dependencies = Object.fromEntries(needed);
  for (const field of ["peerDependencies", "peerDependenciesMeta", "bin", "hasInstallScript", "engines"]) delete entry[field];
}
writeFileSync("package-lock.json", `${JSON.stringify(lock, null, 2)}\n`);
