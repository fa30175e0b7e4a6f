/** Public keys that signatures are checked with: EC keys on P-256, P-384 or P-521, from PEM. */

import { OptionError } from "./errors.js";
import { shown } from "./shown.js";
import { sha256Of } from "./verification.js";

interface Curve {
  readonly name: string;
  /** What a signature is made over. */
  readonly hash: string;
  /** Bytes of a coordinate, and of each number of a signature. */
  readonly size: number;
  /** What such a key begins with, in DER, before its two coordinates. */
  readonly head: string;
}

const CURVES: readonly Curve[] = [
  { name: "P-256", hash: "SHA-256", size: 32, head: "3059301306072a8648ce3d020106082a8648ce3d03010703420004" },
  { name: "P-384", hash: "SHA-384", size: 48, head: "3076301006072a8648ce3d020106052b8104002203620004" },
  { name: "P-521", hash: "SHA-512", size: 66, head: "30819b301006072a8648ce3d020106052b810400230381860004" },
];

/** One key. */
export interface PublicKey {
  /** The SHA-256 of its PEM, in hexadecimal: how a signature names the key that made it. */
  hint(): Promise<string>;
  /** Whether the private half of this key made `signature`, in DER, over `message`. */
  verifies(signature: Uint8Array, message: Uint8Array): Promise<boolean>;
}

/** The keys that are meant; throws OptionError for what is none. */
export function readKeys(given: string | readonly string[]): readonly PublicKey[] {
  const several = typeof given === "string" ? [given] : [...given];
  if (!several.length) {
    throw new OptionError("trustedKeys: is empty, so nothing could be trusted. Pass a public key, or leave trust out.");
  }
  return several.flatMap((pem, i) => keysOf(pem, `trustedKeys[${i}]`));
}

function keysOf(pem: unknown, where: string): PublicKey[] {
  if (typeof pem !== "string") {
    throw new OptionError(`${where}: is ${shown(pem)}. Pass the text of a public key in PEM.`);
  }
  const blocks = [...pem.matchAll(/-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----/gs)];
  if (!blocks.length) {
    throw new OptionError(`${where}: holds no key in PEM. Pass the text of a public key of \`edgetune keygen\`.`);
  }
  return blocks.map(([, kind, body]) => {
    if (kind!.includes("PRIVATE KEY")) {
      throw new OptionError(`${where}: is a private key, which only its owner may have. Pass the public one.`);
    }
    const text = body!.replace(/\s/g, "");
    const der = kind === "PUBLIC KEY" ? bytesOfBase64(text) : null;
    const head = der && Array.from(der, (x) => x.toString(16).padStart(2, "0")).join("");
    const curve = CURVES.find((x) => head?.startsWith(x.head) && head.length === x.head.length + 4 * x.size);
    if (!curve) {
      throw new OptionError(`${where}: is no public EC key on P-256, P-384 or P-521. Pass one of \`edgetune keygen\`.`);
    }
    return keyOf(der!, curve, where);
  });
}

function keyOf(der: Uint8Array<ArrayBuffer>, curve: Curve, where: string): PublicKey {
  const algorithm = { name: "ECDSA", namedCurve: curve.name, hash: curve.hash };
  const lines = base64Of(der).match(/.{1,64}/g)!.join("\n");
  const pem = `-----BEGIN PUBLIC KEY-----\n${lines}\n-----END PUBLIC KEY-----\n`;
  return {
    hint: () => sha256Of(new TextEncoder().encode(pem)),
    async verifies(signature, message) {
      const numbers = rawOf(signature, curve.size);
      if (!numbers) return false;
      let key: CryptoKey;
      try {
        key = await crypto.subtle.importKey("spki", der, algorithm, false, ["verify"]);
      } catch {
        throw new OptionError(`${where}: is no point of its curve, or ${curve.name} is not known here. Copy it again.`);
      }
      return crypto.subtle.verify(algorithm, key, numbers, message as Uint8Array<ArrayBuffer>);
    },
  };
}

/** A signature's two numbers, of `size` bytes each, from DER; null where it is not the one way to write them. */
function rawOf(der: Uint8Array, size: number): Uint8Array<ArrayBuffer> | null {
  const raw = new Uint8Array(2 * size);
  // from 128 on, a length takes a second byte
  let at = der[1] === 0x81 ? 3 : 2;
  const length = der[at - 1]!;
  if (der[0] !== 0x30 || length >= 128 !== (at === 3) || at + length !== der.length) return null;
  for (const end of [size, 2 * size]) {
    const count = der[at + 1]!;
    const number = der.subarray(at + 2, at + 2 + count);
    const isPadded = number[0] === 0;
    // below 128, or it would be negative; padded only where it would be
    const isMinimal = number[0]! < 128 && (!isPadded || number[1]! >= 128);
    const digits = isPadded ? number.subarray(1) : number;
    if (der[at] !== 2 || number.length !== count || !isMinimal || digits.length > size) return null;
    raw.set(digits, end - digits.length);
    at += 2 + count;
  }
  return at === der.length ? raw : null;
}

/** What base64 stands for; null for bits that stand for nothing, and for what is none. */
export function bytesOfBase64(text: string): Uint8Array<ArrayBuffer> | null {
  let data: Uint8Array<ArrayBuffer>;
  try {
    data = Uint8Array.from(atob(text), (x) => x.charCodeAt(0));
  } catch {
    return null;
  }
  return base64Of(data) === text ? data : null;
}

function base64Of(data: Uint8Array): string {
  let text = "";
  for (const byte of data) text += String.fromCharCode(byte);
  return btoa(text);
}
