/** There is no file system here. */

import { InputError } from "./errors.js";
import type { Source } from "./source.js";

/** Throws InputError. */
export function folderSource(given: string | URL): Source {
  throw noFiles(given);
}

/** Rejects with InputError. */
export async function readPath(given: string | URL): Promise<Uint8Array> {
  throw noFiles(given);
}

function noFiles(given: string | URL): InputError {
  return new InputError(`${String(given)}: there is no file system here. Pass a URL, or the files of a folder.`);
}
