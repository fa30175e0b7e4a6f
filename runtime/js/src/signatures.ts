/**
 * Signatures in the format of OpenSSF Model Signing, checked with the public keys that an app trusts.
 *
 *     import { signatures } from "edgetune-runtime/signatures";
 *     const model = await load("https://example.org/bundle", { trust: signatures(PUBLIC_KEY) });
 *
 * With it `load` gives only what one of the keys has signed: a bundle through its `model.sig`, an adapter through the
 * signature beside it, under its name with `.sig`.
 */

import { type Access, newest } from "./bundle_files.js";
import { BundleError, InputError, OptionError, said, SignatureError } from "./errors.js";
import { FILE_NAME, readManifest } from "./manifest.js";
import { readKeys } from "./public_keys.js";
import { type FileLike, readFileLike } from "./source.js";
import { type Statement, statementOf } from "./statement.js";
import type { SignatureOptions, Trust } from "./trust.js";
import { sha256Of } from "./verification.js";

export type { Statement } from "./statement.js";
export type { Trust } from "./trust.js";

/** A bundle's. */
const SIGNATURE = "model.sig";
/** Of a file's, behind the whole name. */
const SUFFIX = ".sig";
/** What a statement about one file calls it. */
const ITSELF = ".";

/**
 * What `load` takes as `trust`: one of these keys, in PEM, must have signed what is loaded. A text may hold several.
 *
 * Throws OptionError for what is no public EC key on P-256, P-384 or P-521, and for none at all.
 */
export function signatures(trustedKeys: string | readonly string[]): Signatures {
  return new Signatures(trustedKeys);
}

/** Checks signatures with keys; see `signatures`. All of its calls reject with SignatureError. */
export class Signatures implements Trust {
  readonly #keys;

  constructor(trustedKeys: string | readonly string[]) {
    this.#keys = readKeys(trustedKeys);
  }

  /**
   * The statement in the bytes of a `model.sig`: these bytes of a `bundle.json` were signed, and every file that they
   * list, with the hash that they list. `where` is the bundle's folder, in messages.
   */
  async bundle(manifest: Uint8Array, signature: Uint8Array, where = "the bundle"): Promise<Statement> {
    const statement = await statementOf(signature, this.#keys, `${where}/${SIGNATURE}`);
    const path = `${where}/${FILE_NAME}`;
    if (statement.files.get(FILE_NAME) !== (await sha256Of(manifest))) {
      throw new SignatureError(`${path}: is not the one that was signed. Copy the bundle again.`);
    }
    for (const [name, entry] of readManifest(manifest, path).files) {
      if (statement.files.get(name) !== entry.sha256) {
        throw new SignatureError(`${path}: lists "${name}" otherwise than it was signed. Sign the bundle again.`);
      }
    }
    return statement;
  }

  /** The statement in the bytes of a signature about one file, of these bytes; `where` is its name in messages. */
  async file(bytes: Uint8Array, signature: Uint8Array, where = "the file"): Promise<Statement> {
    const statement = await statementOf(signature, this.#keys, `the signature of ${where}`);
    if (statement.files.size !== 1 || !statement.files.has(ITSELF)) {
      throw new SignatureError(
        `the signature of ${where}: is of a folder, and one of a single file is wanted. Sign the file.`,
      );
    }
    if (statement.files.get(ITSELF) !== (await sha256Of(bytes))) {
      throw new SignatureError(`${where}: is not the file that was signed. Copy it again, or sign it.`);
    }
    return statement;
  }

  /** What `load` asks: the signature is the bundle's `model.sig`. */
  async bundleOf(access: Access, manifest: Uint8Array) {
    // only what is compared with its hash is what was signed
    if (!access.verify) throw new OptionError("verify: is false, and trust asks for comparison. Leave it out.");
    let signature: Uint8Array;
    let keep: (() => Promise<void>) | undefined;
    try {
      ({ bytes: signature, keep } = await newest(access, SIGNATURE));
    } catch (error) {
      if (!(error instanceof BundleError)) throw error; // there is no network
      throw new SignatureError(`${said(error)} Only what is signed is trusted: sign with \`edgetune sign\`.`);
    }
    await this.bundle(manifest, signature, access.source.where);
    return keep;
  }

  /** What `addAdapter` asks: the signature is the one that is given, or beside a file that is a URL or a path. */
  async adapter(bytes: Uint8Array, where: string, file: FileLike, { signature, signal }: SignatureOptions = {}) {
    const place = signature ?? beside(file);
    if (place === null) {
      throw new SignatureError(`${where}: came without a signature. Pass it as the option \`signature\`.`);
    }
    let data: Uint8Array;
    try {
      [data] = await readFileLike(place, signal);
    } catch (error) {
      if (signal?.aborted || error instanceof InputError) throw error;
      throw new SignatureError(`${String(place)}: the signature cannot be read. Sign with \`edgetune sign\`.`);
    }
    await this.file(bytes, data, where);
  }
}

/** Where the signature of a file is expected; null for one that is nowhere. */
function beside(file: FileLike): FileLike | null {
  if (file instanceof URL || (typeof file === "string" && /^[a-z][a-z\d+.-]+:/i.test(file))) {
    const url = new URL(file);
    url.pathname += SUFFIX;
    return url;
  }
  return typeof file === "string" ? file.replace(/(?=[?#]|$)/, SUFFIX) : null;
}
