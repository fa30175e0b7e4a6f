/** Where the files of a bundle come from: a URL, a folder in Node, files that a user chose, or whatever has `read`. */

import { folderSource, readPath } from "#folder";
import { AdapterError, BundleError, EdgetuneError, InputError, said } from "./errors.js";
import { FILE_NAME } from "./manifest.js";
import { shown } from "./shown.js";

/** How a file is read. */
export interface Reading {
  readonly signal?: AbortSignal | undefined;
  /** Told how many bytes have come since the last time. */
  readonly onBytes?: ((count: number) => void) | undefined;
  /** How many bytes there should be; no more than one beyond is read. */
  readonly sizeBytes?: number | undefined;
}

/** A folder of files. */
export interface Source {
  /** What messages call it. */
  readonly where: string;
  /** Whether it comes over a network, so that a store saves something. */
  readonly isRemote: boolean;
  /** The bytes of the file at a POSIX path in it; rejects with BundleError if it is not there. */
  read(path: string, reading: Reading): Promise<Uint8Array>;
  /** Where a backend finds the file itself, if it can. */
  pathOf?(path: string): string;
  /** The file's SHA-256, in hexadecimal, and its size, without holding the whole of it. */
  hash?(path: string, reading: Reading): Promise<{ sha256: string; sizeBytes: number }>;
}

/** Files by their paths in the bundle's folder. */
export type FileMap = ReadonlyMap<string, Blob> | Readonly<Record<string, Blob>>;

/**
 * What `load` takes: a URL, a path in Node (in browsers a string is a URL, relative to the page), the files of a chosen
 * or dropped folder, files by path, or a `Source` of one's own.
 */
export type BundleSource = string | URL | Iterable<File> | ArrayLike<File> | FileMap | Source;

/** One file: its bytes, a `Blob`, a URL or, in Node, a path. */
export type FileLike = string | URL | Blob | ArrayBuffer | Uint8Array;

/** What `fetch` is. */
export type Fetch = (url: string, init?: RequestInit) => Promise<Response>;

/** The source that is meant; throws InputError for what is none. */
export function sourceFrom(given: BundleSource, fetcher: Fetch = fetch): Source {
  if (typeof given === "string" || given instanceof URL) {
    const url = urlOf(given);
    if (url.protocol !== "file:") return urlSource(url, fetcher);
    return folderSource(given instanceof URL || given.startsWith("file:") ? url : given);
  }
  if (typeof given !== "object" || given === null) throw notBundle(given);
  if (typeof (given as Source).read === "function") return given as Source;
  return filesSource(given as Exclude<typeof given, Source>);
}

/** The bytes of one file, and what messages call it; rejects with AdapterError where it cannot be read. */
export async function readFileLike(file: FileLike, signal?: AbortSignal): Promise<[Uint8Array, where: string]> {
  if (file instanceof Uint8Array) return [file, "the adapter"];
  if (file instanceof ArrayBuffer) return [new Uint8Array(file), "the adapter"];
  if (file instanceof Blob) return [new Uint8Array(await file.arrayBuffer()), (file as File).name ?? "the adapter"];
  if (typeof file !== "string" && !(file instanceof URL)) {
    throw new InputError(`the adapter is ${shown(file)}. Pass its bytes, a Blob, a URL, or a path in Node.`);
  }
  const where = String(file);
  try {
    const url = urlOf(file);
    if (url.protocol === "file:") return [await readPath(where.startsWith("file:") ? url : where), where];
    return [await bytesOf(url.href, fetch, { signal }), where];
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new AdapterError(`${where}: cannot be read (${said(error)}). Check the address.`);
  }
}

/** A string that names no protocol is a path, where there is a file system, else relative to the page. */
function urlOf(given: string | URL): URL {
  if (given instanceof URL) return given;
  if (/^[a-z][a-z\d+.-]+:/i.test(given)) return new URL(given);
  const page = (globalThis as { document?: Document }).document?.baseURI ?? globalThis.location?.href;
  return page === undefined ? new URL("file:///") : new URL(given, page);
}

function urlSource(given: URL, fetcher: Fetch): Source {
  // what follows a `?` may be a key, and is in no message. React Native's URLs have no parts that can be written
  const where = address(given.href).replace(/\/(bundle\.json)?$/, "");
  return {
    where,
    isRemote: true,
    read(path, reading) {
      const file = path.split("/").map(encodeURIComponent).join("/");
      return bytesOf(`${where}/${file}${given.search}`, fetcher, reading);
    },
  };
}

/** An answer of a server that is not the file; the server was reached. */
export class AnswerError extends BundleError {}

function address(href: string): string {
  return href.replace(/[?#].*/, "");
}

async function bytesOf(href: string, fetcher: Fetch, { signal, onBytes, sizeBytes }: Reading): Promise<Uint8Array> {
  const response = await fetcher(href, signal ? { signal } : {});
  if (!response.ok) {
    throw new AnswerError(`${address(href)}: the server answers ${response.status}. Check the address.`);
  }
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of partsOf(response)) {
    parts.push(part);
    length += part.length;
    onBytes?.(part.length);
    // the size check that follows says what is wrong
    if (sizeBytes !== undefined && length > sizeBytes) break;
  }
  if (parts.length === 1) return parts[0]!;
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

async function* partsOf(response: Response): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  if (!reader) {
    // some fetches, such as React Native's, have no streams
    yield new Uint8Array(await response.arrayBuffer());
    return;
  }
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) yield part.value;
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

function filesSource(given: Iterable<File> | ArrayLike<File> | FileMap): Source {
  const files = byPath(given);
  return {
    where: "the files",
    isRemote: false,
    async read(path, { onBytes }) {
      const file = files.get(path);
      if (!file) throw new BundleError(`the files: have no ${path}. Pass all of the bundle's folder.`);
      const bytes = new Uint8Array(await file.arrayBuffer());
      onBytes?.(bytes.length);
      return bytes;
    },
  };
}

/** Files by their paths inside the folder that holds the manifest. */
function byPath(given: Iterable<File> | ArrayLike<File> | FileMap): Map<string, Blob> {
  const isList = "length" in given || (Symbol.iterator in given && !(given instanceof Map));
  const entries: [string, Blob][] = isList
    ? Array.from(given as Iterable<File>, (file) => [file.webkitRelativePath || file.name, file])
    : given instanceof Map
      ? [...given]
      : Object.entries(given);
  if (!entries.length || !entries.every(([, file]) => file instanceof Blob)) throw notBundle(given);
  const manifest = entries.map(([path]) => path).find((path) => `/${path}`.endsWith(`/${FILE_NAME}`));
  const folder = manifest?.slice(0, -FILE_NAME.length) ?? "";
  return new Map(entries.map(([path, file]) => [path.startsWith(folder) ? path.slice(folder.length) : path, file]));
}

function notBundle(given: unknown): EdgetuneError {
  return new InputError(
    `the bundle is ${shown(given)}. Pass a URL, a folder's path in Node, or the files of a folder.`,
  );
}
