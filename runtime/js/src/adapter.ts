/** An adapter: one task's tensors, checked against the base that they are to run on. */

import { type AdapterFile, type AdapterTensors, readAdapterFile } from "./adapter_file.js";
import type { AdapterMetadata } from "./adapter_metadata.js";
import { AdapterError, BaseMismatchError } from "./errors.js";
import type { Floats } from "./floats.js";
import { longestOf } from "./layer_lengths.js";
import { type Manifest, tasksOf } from "./manifest.js";
import type { AdapterInfo } from "./results.js";
import { shown } from "./shown.js";

/** One task's tensors, ready to be fed. */
export interface Adapter {
  readonly info: AdapterInfo;
  readonly metadata: AdapterMetadata;
  /** Keys and values of the virtual tokens, layer by layer, key before value: 2·L of [1, K, P_l, D], or empty. */
  readonly past: readonly Floats[];
  /** [1, P, E], not of decoders; E is the manifest's `embeddingSize`. */
  readonly prompt: Floats | null;
  /** [1, Q, E], virtual tokens behind the text. */
  readonly suffix: Floats | null;
  readonly head: Head | null;
}

/** What turns the pooled vector into logits. */
export interface Head {
  /** [C, H], or [C, F] behind a hidden layer. */
  readonly weight: Floats;
  /** [C]. */
  readonly bias: Floats;
  /** [F, H], the hidden layer; null: it has none. */
  readonly denseWeight: Floats | null;
  /** [F]. */
  readonly denseBias: Floats | null;
}

/** Virtual tokens that are keys and values, of the longest layer. */
export function prefixTokens(adapter: Adapter | null): number {
  return adapter ? longestOf(adapter.past) : 0;
}

/** Virtual tokens that are embeddings in front of the text. */
export function promptTokens(adapter: Adapter): number {
  return adapter.prompt?.dims[1] ?? 0;
}

/** Virtual tokens that are embeddings behind the text. */
export function suffixTokens(adapter: Adapter | null): number {
  return adapter?.suffix?.dims[1] ?? 0;
}

/** The adapter of a standalone graph: it has no tensors of its own. */
export function foldedAdapter(metadata: AdapterMetadata): Adapter {
  return { info: infoFrom(metadata, metadata.name, 0), metadata, past: [], prompt: null, suffix: null, head: null };
}

/**
 * The adapter in a file's bytes, called `name` or by the name in its metadata.
 *
 * Throws BaseMismatchError if it was tuned on another base than the manifest's, and AdapterError if the file is broken
 * or of an unknown version, or if its task or its shapes are not those of the graph.
 */
export function readAdapter(bytes: Uint8Array, where: string, manifest: Manifest, name?: string): Adapter {
  return adapterFrom(readAdapterFile(bytes, where), manifest, name);
}

function adapterFrom(file: AdapterFile, manifest: Manifest, name?: string): Adapter {
  const { where, metadata, tensors } = file;
  checkFit(where, metadata, manifest);
  const width = manifest.graph.embeddingSize;
  const past = pastFrom(tensors, manifest);
  const prompt = tensors.optional("prompt_embeds", [1, null, width]);
  if (manifest.kind === "decoder" && prompt) {
    throw new AdapterError(`${where}: holds \`prompt_embeds\`, which a decoder cannot take. Export it again.`);
  }
  const suffix = tensors.optional("suffix_embeds", [1, null, width]);
  if (suffix && !manifest.graph.suffixes) throw notTaken(where, "has virtual tokens behind the text");
  const head = manifest.kind === "encoder" ? headFrom(tensors, metadata, manifest) : null;
  const info = infoFrom(metadata, name ?? metadata.name, file.sizeBytes);
  const adapter = { info, metadata, past, prompt, suffix, head };
  const held = prefixTokens(adapter) + promptTokens(adapter) + suffixTokens(adapter);
  if (held !== metadata.virtualTokens) {
    throw new AdapterError(
      `${where}: says ${metadata.virtualTokens} virtual tokens, and its tensors hold ${held}. Export it again.`,
    );
  }
  return adapter;
}

function infoFrom(metadata: AdapterMetadata, name: string, sizeBytes: number): AdapterInfo {
  const { task, method, virtualTokens, labels } = metadata;
  return Object.freeze({ name, task, method, virtualTokens, labels, sizeBytes });
}

function headFrom(tensors: AdapterTensors, metadata: AdapterMetadata, manifest: Manifest): Head {
  const classes = metadata.task === "regress" ? 1 : metadata.labels.length;
  if (!classes) throw new AdapterError(`${tensors.where}: a classifier without labels. Export it again.`);
  const denseWeight = tensors.optional("head.dense.weight", [null, manifest.graph.hiddenSize]);
  if (denseWeight && !manifest.graph.denseHeads) throw notTaken(tensors.where, "has a head with a hidden layer");
  const width = denseWeight ? denseWeight.dims[0]! : manifest.graph.hiddenSize;
  return {
    weight: tensors.taken("head.weight", [classes, width]),
    bias: tensors.taken("head.bias", [classes]),
    denseWeight,
    denseBias: denseWeight && tensors.taken("head.dense.bias", [width]),
  };
}

function checkFit(where: string, metadata: AdapterMetadata, manifest: Manifest): void {
  const { base, graph, kind } = manifest;
  if (metadata.baseFingerprint !== base.fingerprint) {
    throw new BaseMismatchError(
      `${where}: was tuned on the base ${metadata.baseFingerprint}, and this bundle holds ${base.fingerprint} ` +
        `(${base.name}). Use that base, or tune the task on this one.`,
    );
  }
  if (!tasksOf(manifest).includes(metadata.task)) {
    const tasks = tasksOf(manifest).map(shown).join(" and ");
    throw new AdapterError(
      `${where}: is for the task ${shown(metadata.task)}, and this bundle is for ${tasks}. Use another.`,
    );
  }
  const needsWords = metadata.task === "classify" && (kind === "decoder" || graph.pooling === "mask");
  if (needsWords && (!metadata.labelWords.length || metadata.template === null)) {
    throw new AdapterError(`${where}: has no label words, which this bundle's classifiers need. Export it again.`);
  }
  if (metadata.labelWords.flat().some((token) => token >= graph.vocabSize)) {
    throw new AdapterError(`${where}: has label words outside of the vocabulary. Use its own base.`);
  }
  if (kind === "encoder" && metadata.pooling !== graph.pooling) {
    throw new AdapterError(
      `${where}: was tuned with the pooling ${shown(metadata.pooling)}, and this graph has ${shown(graph.pooling)}. ` +
        "Export it again.",
    );
  }
}

/** Keys and values of every layer; both of one length, layers may differ. */
function pastFrom(tensors: AdapterTensors, manifest: Manifest): Floats[] {
  const { layers, layerLengths } = manifest.graph;
  const present = tensors.names.filter((name) => name.includes("past_key_values."));
  const isShared = present.some((name) => name.endsWith(".key_value"));
  const wanted = layers.flatMap((_, i) =>
    (isShared ? ["key_value", "key_value"] : ["key", "value"]).map((part) => `past_key_values.${i}.${part}`),
  );
  const extra = present.filter((name) => !wanted.includes(name)).sort()[0];
  if (extra !== undefined) {
    throw new AdapterError(
      `${tensors.where}: holds \`${extra}\`, and the base has ${layers.length} layers. Use that base.`,
    );
  }
  if (!present.length) return [];
  const past: Floats[] = [];
  layers.forEach(({ keyValueHeads, headSize }, i) => {
    const key = tensors.taken(wanted[2 * i]!, [1, keyValueHeads, null, headSize]);
    // keys that are the values too are held once
    past.push(key, isShared ? key : tensors.taken(wanted[2 * i + 1]!, key.dims));
  });
  if (!layerLengths && past.some((x) => x.dims[2] !== past[0]!.dims[2])) {
    throw notTaken(tensors.where, "has a prefix that is longer in some layers than in others");
  }
  return past;
}

function notTaken(where: string, what: string): AdapterError {
  return new AdapterError(
    `${where}: ${what}, which this bundle's graph does not take. Export the bundle again.`,
  );
}
