// The part of Web Cryptography that edgetune-runtime uses, which Hermes does not have: SHA-256, and chance for seeds.
import { CryptoDigestAlgorithm, digest, getRandomValues } from "expo-crypto";

const subtle = { digest: (_: "SHA-256", bytes: Uint8Array<ArrayBuffer>) => digest(CryptoDigestAlgorithm.SHA256, bytes) };
const found = globalThis as { crypto?: object };
found.crypto ??= { subtle, getRandomValues };
