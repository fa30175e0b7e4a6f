/** Downloads kept in the origin's private file system, which holds gigabytes better than a cache does. */

import { OptionError } from "./errors.js";
import type { Store } from "./store.js";

const NAME = "edgetune";

/** A store in the origin's private file system. Throws OptionError where there is none. */
export function fileStore(
  name = NAME,
  storage: Pick<StorageManager, "getDirectory"> | undefined = globalThis.navigator?.storage,
): Store {
  if (!storage?.getDirectory) {
    throw new OptionError("store: there is no origin private file system here. Serve the page over https, or pass null.");
  }
  const folder = async () => (await storage.getDirectory()).getDirectoryHandle(name, { create: true });
  return {
    async get(key) {
      try {
        const file = await (await (await folder()).getFileHandle(key)).getFile();
        return new Uint8Array(await file.arrayBuffer());
      } catch (error) {
        if ((error as DOMException).name === "NotFoundError") return undefined;
        throw error;
      }
    },
    async put(key, bytes) {
      const writable = await (await (await folder()).getFileHandle(key, { create: true })).createWritable();
      // what is written appears when it is closed, whole
      await writable.write(bytes as Uint8Array<ArrayBuffer>);
      await writable.close();
    },
    async delete(key) {
      await (await folder()).removeEntry(key).catch((error: DOMException) => {
        if (error.name !== "NotFoundError") throw error;
      });
    },
    async keys() {
      const found: string[] = [];
      for await (const key of (await folder()).keys()) found.push(key);
      return found;
    },
  };
}
