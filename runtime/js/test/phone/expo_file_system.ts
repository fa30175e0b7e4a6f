/** What the sample uses of `expo-file-system`, over a folder of this machine. */

import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

type Part = string | Entry;

abstract class Entry {
  readonly path: string;

  constructor(...parts: Part[]) {
    this.path = join(...parts.map((part) => (typeof part === "string" ? part : part.path)));
  }

  get uri(): string {
    return pathToFileURL(this.path).href;
  }

  get exists(): boolean {
    return existsSync(this.path);
  }

  delete(): void {
    rmSync(this.path, { recursive: true });
  }
}

export class Directory extends Entry {
  create(_: object): void {
    mkdirSync(this.path, { recursive: true });
  }

  list(): Entry[] {
    return readdirSync(this.path, { withFileTypes: true }).map((x) => new (x.isDirectory() ? Directory : File)(this, x.name));
  }
}

export class File extends Entry {
  get size(): number {
    return this.exists ? statSync(this.path).size : 0;
  }

  get parentDirectory(): Directory {
    return new Directory(dirname(this.path));
  }

  async bytes(): Promise<Uint8Array> {
    return new Uint8Array(readFileSync(this.path));
  }

  textSync(): string {
    return readFileSync(this.path, "utf8");
  }

  write(content: string): void {
    writeFileSync(this.path, content);
  }

  async copy(to: File): Promise<void> {
    copyFileSync(this.path, to.path);
  }

  static async downloadFileAsync(url: string, to: File): Promise<File> {
    const answer = await fetch(url);
    if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
    writeFileSync(to.path, new Uint8Array(await answer.arrayBuffer()));
    return to;
  }
}

export const Paths = {
  get document(): Directory {
    return new Directory(fileURLToPath((globalThis as unknown as { documents: URL }).documents));
  },
};
