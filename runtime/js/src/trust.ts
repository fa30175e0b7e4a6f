/** What `load` asks about signatures; `signatures` of `edgetune-runtime/signatures` makes one. */

import type { Access } from "./bundle_files.js";
import type { FileLike } from "./source.js";

/** Where a signature is. */
export interface SignatureOptions {
  readonly signature?: FileLike | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Decides what may be loaded, before it is looked into. */
export interface Trust {
  /**
   * Rejects unless a bundle's manifest, of these bytes, and all that it lists were signed; the result, if there is one,
   * keeps the signature for the next visit.
   */
  bundleOf(access: Access, manifest: Uint8Array): Promise<(() => Promise<void>) | undefined>;
  /** Rejects unless the file, of these bytes, was signed; without a `signature` it is looked for beside the file. */
  adapter(bytes: Uint8Array, where: string, file: FileLike, options: SignatureOptions): Promise<void>;
}
