/**
 * A signature in the format of OpenSSF Model Signing: who signed which files, checked against trusted keys.
 *
 * The file is a Sigstore bundle in JSON. In it is a DSSE envelope, which is what is signed; in that an in-toto
 * statement with the SHA-256 of each file. What is not signed has one value only, so that a file is accepted in one
 * form, white space and the order of keys aside.
 */

import { Fields, isObject } from "./checked.js";
import { SignatureError } from "./errors.js";
import { bytesOfBase64, type PublicKey } from "./public_keys.js";
import { sha256Of } from "./verification.js";

const MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json";
const PAYLOAD_TYPE = "application/vnd.in-toto+json";
const STATEMENT_TYPE = "https://in-toto.io/Statement/v1";
const PREDICATE_TYPE = "https://model_signing/signature/v1.0";
/** Of a signature's file: of tens of thousands of files. */
const MOST_BYTES = 4 * 2 ** 20;
const DIGEST = /^[0-9a-f]{64}$/;

/** What a trusted key has signed. */
export interface Statement {
  /** What the signer called it: a folder's name, or a file's. Nothing depends on it. */
  readonly name: string;
  /** Path → SHA-256, in hexadecimal; a single file is `"."`. */
  readonly files: ReadonlyMap<string, string>;
  /** The SHA-256 of the PEM of the key that made it. */
  readonly key: string;
}

/** The statement in a signature's bytes, found to be one of `keys`; rejects with SignatureError, naming `where`. */
export async function statementOf(data: Uint8Array, keys: readonly PublicKey[], where: string): Promise<Statement> {
  const { payload, signature, hint } = envelopeOf(data, where);
  const hints = await Promise.all(keys.map((key) => key.hint()));
  const known = keys[hints.indexOf(hint)];
  if (!known) {
    const trusted = hints.map((x) => `${x.slice(0, 16)}…`).join(", ");
    throw new SignatureError(
      `${where}: was made with the key ${hint.slice(0, 16)}…, which is not trusted (trusted: ${trusted}). Do not ` +
        "use this, unless you know whose key that is: then trust it too.",
    );
  }
  const head = new TextEncoder().encode(`DSSEv1 ${PAYLOAD_TYPE.length} ${PAYLOAD_TYPE} ${payload.length} `);
  const message = new Uint8Array(head.length + payload.length);
  message.set(head);
  message.set(payload, head.length);
  if (!(await known.verifies(signature, message))) {
    throw new SignatureError(
      `${where}: names the trusted key ${hint.slice(0, 16)}…, which did not make it: it was altered. Do not use ` +
        "this.",
    );
  }
  const found = jsonOf(payload);
  if (!found) throw new SignatureError(`${where}: what is signed is no statement in JSON. Sign again.`);
  return statementFrom(new Fields(found.value, where, SignatureError), hint);
}

/** An object of JSON and its text; null for what is none. */
function jsonOf(data: Uint8Array): { value: Record<string, any>; text: string } | null {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
    const value: unknown = JSON.parse(text);
    return isObject(value) ? { value, text } : null;
  } catch {
    return null;
  }
}

/** What is signed, the signature over it, and the hint of its key; throws SignatureError for another form. */
function envelopeOf(data: Uint8Array, where: string) {
  if (data.length > MOST_BYTES) {
    throw new SignatureError(`${where}: has more than ${MOST_BYTES} bytes, and is no signature. Check the address.`);
  }
  const found = jsonOf(data);
  const envelope = found?.value.dsseEnvelope;
  const sig: unknown = envelope?.signatures?.[0]?.sig;
  const hint: unknown = found?.value.verificationMaterial?.publicKey?.hint;
  const form = {
    mediaType: MEDIA_TYPE,
    verificationMaterial: { publicKey: { hint }, tlogEntries: [] },
    dsseEnvelope: { payload: envelope?.payload, payloadType: PAYLOAD_TYPE, signatures: [{ sig, keyid: "" }] },
  };
  if (found && typeof hint === "string" && DIGEST.test(hint) && isForm(found, form)) {
    const [payload, signature] = [envelope.payload, sig].map((x) => (typeof x === "string" ? bytesOfBase64(x) : null));
    if (payload && signature) return { payload, signature, hint };
  }
  throw new SignatureError(
    `${where}: is no signature that a key made in the format of OpenSSF Model Signing. Sign with ` +
      "`edgetune sign --key`, or `model_signing sign key`.",
  );
}

/** Whether it holds `form` and nothing else, each once. */
function isForm({ value, text }: { value: unknown; text: string }, form: unknown): boolean {
  const ordered = (_: string, x: unknown) => (isObject(x) ? Object.fromEntries(Object.entries(x).sort()) : x);
  try {
    // no string of it has white space; what JSON reads alike, such as a key that is there twice, differs here
    const isPlain = JSON.stringify(value) === text.replace(/\s/g, "");
    return isPlain && JSON.stringify(value, ordered) === JSON.stringify(form, ordered);
  } catch {
    return false; // too deep
  }
}

async function statementFrom(fields: Fields, key: string): Promise<Statement> {
  fields.exactly("_type", STATEMENT_TYPE);
  fields.exactly("predicateType", PREDICATE_TYPE);
  const [subject, ...others] = objectsOf(fields, "subject");
  if (!subject || others.length) throw fields.fail("subject", "one model");
  const predicate = fields.object("predicate");
  const serialization = predicate.object("serialization");
  serialization.exactly("method", "files");
  serialization.exactly("hash_type", "sha256");
  const files = new Map<string, string>();
  for (const resource of objectsOf(predicate, "resources")) {
    resource.exactly("algorithm", "sha256");
    const [name, digest] = [resource.text("name"), resource.text("digest")];
    if (!DIGEST.test(digest)) throw resource.fail("digest", "a SHA-256 in hexadecimal");
    if (files.has(name)) throw resource.fail("name", "there once");
    files.set(name, digest);
  }
  const bytes = [...files.values()].join("").match(/../g) ?? [];
  const root = await sha256Of(Uint8Array.from(bytes, (x) => parseInt(x, 16)));
  const digest = subject.object("digest");
  if (digest.text("sha256") !== root) throw digest.fail("sha256", "that of all files");
  return { name: subject.text("name"), files, key };
}

function objectsOf(fields: Fields, key: string): Fields[] {
  const found = fields.value(key);
  if (!Array.isArray(found) || !found.every(isObject)) throw fields.fail(key, "a list of objects");
  return found.map((x, i) => new Fields(x, `${fields.where}: ${key}[${i}]`, fields.error));
}
