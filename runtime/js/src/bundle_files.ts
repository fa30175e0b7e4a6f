/** The files of one bundle: read from their source or from a store, checked, counted. */

import { BundleError } from "./errors.js";
import { FILE_NAME, type FileEntry, type Manifest, readManifest } from "./manifest.js";
import { shown } from "./shown.js";
import { AnswerError, type Source } from "./source.js";
import type { Store } from "./store.js";
import type { Trust } from "./trust.js";
import { checkFile, sha256Of } from "./verification.js";

/** How far the loading of a bundle is. */
export interface LoadProgress {
  /** The file that these bytes are of. */
  readonly file: string;
  /** Bytes of the files that are wanted, from network, store or disk, so far. */
  readonly loadedBytes: number;
  /** Of all of them. */
  readonly totalBytes: number;
}

/** How they are read. */
export interface Access {
  readonly source: Source;
  readonly store: Store | null;
  readonly verify: boolean;
  readonly trust: Trust | undefined;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: ((progress: LoadProgress) => unknown) | undefined;
}

/**
 * The manifest. From a network the newest is taken; without one, that of the last visit, if a store has it.
 *
 * Rejects with BundleError for what is no bundle of a known version, and with what `trust` says.
 */
export async function openedManifest(access: Access): Promise<Manifest> {
  const { bytes, keep } = await newest(access, FILE_NAME);
  const keepSignature = await access.trust?.bundleOf(access, bytes);
  const manifest = readManifest(bytes, `${access.source.where}/${FILE_NAME}`);
  await keep?.();
  await keepSignature?.();
  return manifest;
}

/** A file of which no hash is known, as `openedManifest` says; one that is new can be kept for the next visit. */
export async function newest(
  { source, store, signal }: Access,
  name: string,
): Promise<{ bytes: Uint8Array; keep?: () => Promise<void> }> {
  if (!store) return { bytes: await source.read(name, { signal }) };
  const key = `newest-${await sha256Of(new TextEncoder().encode(`${source.where}/${name}`)).catch(() => "")}`;
  try {
    const bytes = await source.read(name, { signal });
    return { bytes, keep: () => kept(store, key, bytes) };
  } catch (error) {
    const bytes = signal?.aborted || error instanceof AnswerError ? undefined : await store.get(key);
    if (!bytes) throw error;
    return { bytes };
  }
}

/** The files of a bundle whose manifest is known. */
export class BundleFiles {
  #loadedBytes = 0;
  #totalBytes = 0;

  constructor(
    private readonly access: Access,
    private readonly manifest: Manifest,
  ) {}

  /** What a message calls a file. */
  where(path: string): string {
    return `${this.access.source.where}/${path}`;
  }

  /** These are going to be read. */
  expect(paths: Iterable<string>): void {
    for (const path of paths) this.#totalBytes += this.#entry(path).sizeBytes;
  }

  /** The bytes of a file; rejects with BundleError where it is not what the manifest lists. */
  async read(path: string): Promise<Uint8Array> {
    const { source, store, verify, signal } = this.access;
    const entry = this.#entry(path);
    const key = `sha256-${entry.sha256}`;
    const known = await store?.get(key);
    // what a browser has kept may be broken as well
    if (known && known.length === entry.sizeBytes && (!verify || (await sha256Of(known)) === entry.sha256)) {
      this.#count(path, known.length);
      return known;
    }
    const { sizeBytes } = entry;
    const bytes = await source.read(path, { signal, sizeBytes, onBytes: (count) => this.#count(path, count) });
    checkFile(this.where(path), entry, bytes.length, verify ? await sha256Of(bytes) : null);
    if (store) await kept(store, key, bytes);
    return bytes;
  }

  /** Checks a file that the backend reads itself. */
  async check(path: string): Promise<void> {
    const { source, signal } = this.access;
    const found = await source.hash!(path, { signal, onBytes: (count) => this.#count(path, count) });
    checkFile(this.where(path), this.#entry(path), found.sizeBytes, found.sha256);
  }

  #entry(path: string): FileEntry {
    const entry = this.manifest.files.get(path);
    if (entry) return entry;
    throw new BundleError(`${this.where(FILE_NAME)}: does not list the file ${shown(path)}. Export the bundle again.`);
  }

  #count(file: string, bytes: number): void {
    this.#loadedBytes += bytes;
    this.access.onProgress?.({ file, loadedBytes: this.#loadedBytes, totalBytes: this.#totalBytes });
  }
}

/** A store that is full or closed keeps nothing; the model runs all the same. */
async function kept(store: Store, key: string, bytes: Uint8Array): Promise<void> {
  try {
    await store.put(key, bytes);
  } catch (error) {
    console.warn(`edgetune-runtime: a file could not be kept for the next visit (${String(error)}).`);
  }
}
