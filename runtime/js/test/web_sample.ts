/** The sample's page with its packages beside it, as `npm install` lays them. */

import { cpSync, mkdirSync, readdirSync, rmSync, statSync, symlinkSync } from "node:fs";
import { join } from "node:path";

const SAMPLE = join("..", "..", "samples", "web");

/** Copies the page's sources to the folder `here`, builds it there, and gives the folder of its site. */
export function laidOut(here: string, build: (here: string) => void): string {
  rmSync(here, { recursive: true, force: true });
  mkdirSync(join(here, "node_modules"), { recursive: true });
  for (const name of readdirSync(SAMPLE)) {
    if (statSync(join(SAMPLE, name)).isFile()) cpSync(join(SAMPLE, name), join(here, name));
  }
  symlinkSync(process.cwd(), join(here, "node_modules", "edgetune-runtime"));
  build(here);
  return join(here, "site");
}
