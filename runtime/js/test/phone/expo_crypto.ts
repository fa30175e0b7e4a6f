/** What the sample uses of `expo-crypto`. */

import { webcrypto } from "node:crypto";

export const CryptoDigestAlgorithm = { SHA256: "SHA-256" };

export function digest(algorithm: string, bytes: BufferSource): Promise<ArrayBuffer> {
  return webcrypto.subtle.digest(algorithm, bytes);
}
