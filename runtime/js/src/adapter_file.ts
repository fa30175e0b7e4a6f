/** An adapter's safetensors file: its metadata and its tensors, from its bytes. */

import { type AdapterMetadata, metadataFrom } from "./adapter_metadata.js";
import { Fields, isObject, isWhole, type Json } from "./checked.js";
import { AdapterError, said } from "./errors.js";
import { objectFrom } from "./json_text.js";
import { type Floats, fromHalf, sizeOf } from "./floats.js";
import { expanded } from "./scaled_tensors.js";

const METADATA_KEY = "edgetune";
/** The header's length stands in front of it. */
const LENGTH_BYTES = 8;
/** Bytes of a number, by the header's names; what else there is is not of an adapter. */
const BYTES: Record<string, number> = { F32: 4, F16: 2, I8: 1, F64: 8, I64: 8, I32: 4, U8: 1, BOOL: 1 };

/** One tensor as the file has it. */
export interface Stored {
  /** Its number type by the header's name. */
  readonly kind: string;
  readonly dims: readonly number[];
  /** Its bytes, copied, so that they are aligned. */
  readonly buffer: ArrayBuffer;
}

/** The metadata and tensors of one file. */
export interface AdapterFile {
  readonly where: string;
  readonly metadata: AdapterMetadata;
  readonly tensors: AdapterTensors;
  readonly sizeBytes: number;
}

/** The tensors of one file by name. */
export class AdapterTensors {
  constructor(
    readonly where: string,
    private readonly byName: ReadonlyMap<string, Stored>,
  ) {}

  get names(): string[] {
    return [...this.byName.keys()];
  }

  has(name: string): boolean {
    return this.byName.has(name);
  }

  /** The tensor as float32, after its shape is checked; null stands for any length. Throws AdapterError. */
  taken(name: string, shape: readonly (number | null)[]): Floats {
    const stored = this.byName.get(name);
    if (stored === undefined) {
      throw new AdapterError(`${this.where}: lacks the tensor \`${name}\`. Export it again.`);
    }
    const { kind, dims, buffer } = stored;
    if (kind !== "F32" && kind !== "F16") throw unreadable(this.where, name, kind);
    if (dims.length !== shape.length || shape.some((want, i) => want !== null && want !== dims[i])) {
      const wanted = shape.map((n) => n ?? "any").join(", ");
      throw new AdapterError(
        `${this.where}: \`${name}\` has the shape [${dims.join(", ")}], and [${wanted}] fits this base and its labels.`,
      );
    }
    const data = kind === "F32" ? new Float32Array(buffer) : fromHalf(new Uint16Array(buffer));
    if (!data.every(Number.isFinite)) {
      throw new AdapterError(`${this.where}: \`${name}\` holds NaN or infinity. Export it again.`);
    }
    return { data, dims };
  }

  /** As `taken`; null where it is absent. */
  optional(name: string, shape: readonly (number | null)[]): Floats | null {
    return this.has(name) ? this.taken(name, shape) : null;
  }
}

/** The adapter in a file's bytes; throws AdapterError if it is none of this version. */
export function readAdapterFile(bytes: Uint8Array, where: string): AdapterFile {
  const [{ __metadata__: about, ...entries }, data] = headerOf(bytes, where);
  const found = new Map<string, Stored>();
  // one lies behind the other
  const place = ([, entry]: [string, any]) => entry?.data_offsets?.[0] + entry?.data_offsets?.[1];
  let end = 0;
  for (const [name, entry] of Object.entries(entries).sort((a, b) => place(a) - place(b))) {
    const stored = storedFrom(entry, name, data, end, where);
    end += stored.buffer.byteLength;
    found.set(name, stored);
  }
  if (end !== data.length) throw notWhole(where, "tensors do not fill it");
  const tensors = new AdapterTensors(where, expanded(where, found));
  return { where, metadata: metadataOf(about?.[METADATA_KEY], where), tensors, sizeBytes: bytes.length };
}

function headerOf(bytes: Uint8Array, where: string): [Record<string, any>, Uint8Array] {
  const length =
    bytes.length < LENGTH_BYTES ? NaN : Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  if (!(LENGTH_BYTES + length <= bytes.length)) throw notWhole(where, "its header is longer");
  try {
    const header = objectFrom(bytes.subarray(LENGTH_BYTES, LENGTH_BYTES + length));
    return [header, bytes.subarray(LENGTH_BYTES + length)];
  } catch (error) {
    throw notWhole(where, said(error));
  }
}

function storedFrom(entry: unknown, name: string, data: Uint8Array, from: number, where: string): Stored {
  const [kind, dims, offsets] = isObject(entry) ? [entry["dtype"], entry["shape"], entry["data_offsets"]] : [];
  if (typeof kind !== "string" || !Array.isArray(dims) || !dims.every(isWhole) || !Array.isArray(offsets)) {
    throw notWhole(where, `\`${name}\` is not described`);
  }
  const width = Object.hasOwn(BYTES, kind) ? BYTES[kind]! : 0;
  if (!width) throw unreadable(where, name, kind);
  const [start, end] = offsets as [unknown, unknown];
  if (start !== from || !isWhole(end) || end > data.length || end - start !== sizeOf(dims) * width) {
    throw notWhole(where, `\`${name}\` does not lie in it`);
  }
  return { kind, dims, buffer: new Uint8Array(data.subarray(start, end)).buffer };
}

function metadataOf(text: unknown, where: string): AdapterMetadata {
  let data: Json;
  try {
    data = objectFrom(text);
  } catch (error) {
    throw new AdapterError(`${where}: has no \`${METADATA_KEY}\` metadata (${said(error)}). Copy it again.`);
  }
  return metadataFrom(new Fields(data, `${where}: ${METADATA_KEY}`, AdapterError));
}

function notWhole(where: string, why: string): AdapterError {
  return new AdapterError(`${where}: is not a whole safetensors file of numbers (${why}). Copy it again.`);
}

function unreadable(where: string, name: string, kind: string): AdapterError {
  return new AdapterError(`${where}: \`${name}\` is ${kind}, and float32 or float16 is read. Export it again.`);
}
