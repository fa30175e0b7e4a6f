/** What was downloaded once and is kept, so that the next visit needs no network. */

import { OptionError } from "./errors.js";

/** Bytes by key. Keys are made of letters, digits, `-`, and `.`; what is kept under a key may be written anew. */
export interface Store {
  /** The bytes, or undefined where there are none. */
  get(key: string): Promise<Uint8Array | undefined>;
  put(key: string, bytes: Uint8Array): Promise<void>;
  delete(key: string): Promise<void>;
  keys(): Promise<string[]>;
}

const NAME = "edgetune";
/** The Cache API wants addresses; nobody has this one. */
const ADDRESS = "https://edgetune.invalid/";

/** A store in the Cache API: pages, workers and service workers of one origin share it. Throws OptionError without it. */
export function cacheStore(name = NAME, storage: CacheStorage | undefined = globalThis.caches): Store {
  if (!storage) throw new OptionError("store: there is no Cache API here. Serve the page over https, or pass null.");
  const opened = () => storage.open(name);
  return {
    async get(key) {
      const found = await (await opened()).match(ADDRESS + key);
      return found && new Uint8Array(await found.arrayBuffer());
    },
    async put(key, bytes) {
      await (await opened()).put(ADDRESS + key, new Response(bytes as Uint8Array<ArrayBuffer>));
    },
    async delete(key) {
      await (await opened()).delete(ADDRESS + key);
    },
    async keys() {
      return (await (await opened()).keys()).map((request) => request.url.slice(ADDRESS.length));
    },
  };
}
