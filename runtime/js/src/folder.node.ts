/** A folder of the file system, in Node: the backend maps the weights itself, and hashes are taken as files are read. */

import { createHash } from "node:crypto";
import { createReadStream, realpathSync, statSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";

import { BundleError, said } from "./errors.js";
import { FILE_NAME } from "./manifest.js";
import type { Source } from "./source.js";

const BLOCK_BYTES = 1 << 20;

/** The folder at a path or a `file:` URL. */
export function folderSource(given: string | URL): Source {
  const folder = given instanceof URL ? fileURLToPath(given) : given;
  const pathOf = (path: string) => insideOf(folder, join(folder, ...path.split("/")));
  return {
    where: folder,
    isRemote: false,
    pathOf,
    async read(path, { signal, onBytes }) {
      try {
        const bytes = await readFile(pathOf(path), signal ? { signal } : {});
        onBytes?.(bytes.length);
        return bytes;
      } catch (error) {
        signal?.throwIfAborted();
        throw await unreadable(folder, path, error);
      }
    },
    async hash(path, { signal, onBytes }) {
      const digest = createHash("sha256");
      let sizeBytes = 0;
      try {
        const options = { highWaterMark: BLOCK_BYTES, ...(signal && { signal }) };
        for await (const block of createReadStream(pathOf(path), options) as AsyncIterable<Buffer>) {
          digest.update(block);
          sizeBytes += block.length;
          onBytes?.(block.length);
        }
      } catch (error) {
        signal?.throwIfAborted();
        throw await unreadable(folder, path, error);
      }
      return { sha256: digest.digest("hex"), sizeBytes };
    },
  };
}

/** The path of a file; throws BundleError where links lead out of the folder, and for what is no file: a pipe is not read. */
function insideOf(folder: string, path: string): string {
  let real: string;
  try {
    if (!statSync(path).isFile()) throw new BundleError(`${path}: is no file. Copy or export the bundle again.`);
    real = realpathSync(path);
  } catch (error) {
    if (error instanceof BundleError) throw error;
    return path; // whoever reads it says what is wrong
  }
  if (relative(realpathSync(folder), real).startsWith("..")) {
    throw new BundleError(
      `${path}: is a link that leads out of the bundle. Copy the bundle with its files, not with links to them.`,
    );
  }
  return path;
}

/** The bytes of the file at a path or a `file:` URL. */
export function readPath(given: string | URL): Promise<Uint8Array> {
  return readFile(given);
}

async function unreadable(folder: string, path: string, error: unknown): Promise<BundleError> {
  if (error instanceof BundleError) return error;
  const found = await stat(folder).catch(() => null);
  if (!found) return new BundleError(`${folder}: no such folder. Pass the folder that holds ${FILE_NAME}.`);
  if (!found.isDirectory()) {
    return new BundleError(`${folder}: is a file, and a bundle is a folder. Unpack an archive first.`);
  }
  if (path === FILE_NAME && (error as NodeJS.ErrnoException).code === "ENOENT") {
    return new BundleError(
      `${folder}: holds no ${FILE_NAME}, so it is no bundle. Make one with \`edgetune export\`.`,
    );
  }
  return new BundleError(`${join(folder, path)}: cannot be read (${said(error)}). Copy the bundle again.`);
}
