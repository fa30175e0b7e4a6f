// A bundle in the app's documents: downloaded once, file by file, so that ONNX Runtime opens the graph by its path.
import { CryptoDigestAlgorithm, digest } from "expo-crypto";
import { Directory, File, Paths } from "expo-file-system";

import type { Source } from "edgetune-runtime";

const MANIFEST = "bundle.json";

interface Files {
  readonly files: Readonly<Record<string, { readonly sha256: string; readonly size_bytes: number }>>;
}

/**
 * The folder of the bundle at `url`: that of today where there is a network, else that of the last time.
 *
 * Each version has a folder of its own. Its manifest is written last, so a download that was interrupted is begun again
 * where it was, and the version before is there until the new one is whole. `load` compares every file with its hash.
 */
export async function installedBundle(
  url: string,
  onProgress: (loadedBytes: number, totalBytes: number) => void,
): Promise<Source> {
  const bundles = new Directory(Paths.document, encodeURIComponent(url));
  bundles.create({ intermediates: true, idempotent: true });
  const kept = bundles.list().filter((x): x is Directory => x instanceof Directory && new File(x, MANIFEST).exists);
  const text = await fetch(`${url}/${MANIFEST}`).then((answer) => (answer.ok ? answer.text() : null)).catch(() => null);
  if (text === null) {
    if (kept.length) return folderSource(kept[0]!);
    throw new Error(`${url}: cannot be reached, and nothing was downloaded before. Check the network.`);
  }
  const version = hex(await digest(CryptoDigestAlgorithm.SHA256, new TextEncoder().encode(text)));
  const folder = new Directory(bundles, version);
  if (!new File(folder, MANIFEST).exists) {
    folder.create({ intermediates: true, idempotent: true });
    await download(url, JSON.parse(text) as Files, folder, kept[0], onProgress);
    new File(folder, MANIFEST).write(text);
  }
  for (const old of kept) if (old.uri !== folder.uri) old.delete();
  return folderSource(folder);
}

/** Files that the version before had with the same hash are copied, the others come from the network. */
async function download(
  url: string,
  { files }: Files,
  folder: Directory,
  before: Directory | undefined,
  onProgress: (loadedBytes: number, totalBytes: number) => void,
): Promise<void> {
  const known: Files = before ? JSON.parse(new File(before, MANIFEST).textSync()) : { files: {} };
  const entries = Object.entries(files);
  const total = entries.reduce((sum, [, { size_bytes }]) => sum + size_bytes, 0);
  let done = 0;
  for (const [path, { sha256, size_bytes }] of entries) {
    const file = new File(folder, ...path.split("/"));
    if (!file.exists || file.size !== size_bytes) {
      if (file.exists) file.delete();
      file.parentDirectory.create({ intermediates: true, idempotent: true });
      if (before && known.files[path]?.sha256 === sha256) await new File(before, ...path.split("/")).copy(file);
      else await File.downloadFileAsync(`${url}/${path}`, file, { idempotent: true });
    }
    onProgress((done += size_bytes), total);
  }
}

/** What `load` reads of a folder. */
function folderSource(folder: Directory): Source {
  const at = (path: string) => new File(folder, ...path.split("/"));
  return {
    where: folder.uri,
    isRemote: false,
    pathOf: (path) => decodeURIComponent(at(path).uri.replace(/^file:\/\//, "")),
    read: (path) => at(path).bytes(),
    async hash(path, { onBytes }) {
      const bytes = await at(path).bytes();
      onBytes?.(bytes.length);
      return { sha256: hex(await digest(CryptoDigestAlgorithm.SHA256, bytes)), sizeBytes: bytes.length };
    },
  };
}

function hex(bytes: ArrayBuffer): string {
  return Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
