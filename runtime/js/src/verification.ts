/** The files of a bundle compared with their hashes, as they are read. */

import { BundleError, OptionError } from "./errors.js";
import { FILE_NAME, type FileEntry } from "./manifest.js";

/** Throws BundleError, naming the file, if it has another size or hash than the manifest lists; null: not looked at. */
export function checkFile(where: string, entry: FileEntry, sizeBytes: number, sha256: string | null): void {
  if (sizeBytes !== entry.sizeBytes) {
    throw new BundleError(
      `${where}: has ${sizeBytes} bytes where ${FILE_NAME} lists ${entry.sizeBytes}: it was altered. ` +
        "Export the bundle again.",
    );
  }
  if (sha256 !== null && sha256 !== entry.sha256) {
    throw new BundleError(
      `${where}: its SHA-256 is not the one in ${FILE_NAME}: it was altered. Export the bundle again.`,
    );
  }
}

/** The SHA-256 of bytes, in hexadecimal; rejects with OptionError where there is no Web Cryptography. */
export async function sha256Of(bytes: Uint8Array): Promise<string> {
  const subtle = globalThis.crypto?.subtle;
  if (!subtle) {
    throw new OptionError(
      "verify: there is no Web Cryptography here. Serve the page over https, or pass false.",
    );
  }
  const digest = new Uint8Array(await subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
