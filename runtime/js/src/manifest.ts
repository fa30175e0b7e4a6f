/** `bundle.json`, read and checked: the manifest of a bundle, as frozen values. */

import { type AdapterMetadata, metadataFrom } from "./adapter_metadata.js";
import { Fields, type Json } from "./checked.js";
import { BundleError, said } from "./errors.js";
import { objectFrom } from "./json_text.js";
import { type Layer, layersFrom } from "./layer.js";
import { listed, shown } from "./shown.js";

const FORMAT = "edgetune-bundle";
const FORMAT_VERSION = 1;
export const FILE_NAME = "bundle.json";

const TASKS: Record<string, readonly string[]> = { encoder: ["classify", "regress"], decoder: ["generate", "classify"] };

/** What a runtime must know of the ONNX graph. */
export interface Graph {
  readonly file: string;
  readonly layers: readonly Layer[];
  /** H. */
  readonly hiddenSize: number;
  /** Width of a prompt's vectors: H but for families such as ALBERT. */
  readonly embeddingSize: number;
  /** V. */
  readonly vocabSize: number;
  /** The most positions, virtual tokens and text together; null: no limit. */
  readonly maxPositions: number | null;
  /** Encoders: `"mean"`, `"first"`, `"start"`, `"mask"` or `"each"`. */
  readonly pooling: string | null;
  /** Encoders, shared: whether heads may have a hidden layer. */
  readonly denseHeads: boolean;
  /** Shared: whether the graph takes virtual tokens behind the text. */
  readonly suffixes: boolean;
  /** Shared: whether a prefix may be longer in some layers than in others. */
  readonly layerLengths: boolean;
  /** Decoders, shared: the same graph, whose keys and values are the new positions' alone; null: there is none. */
  readonly newPositionsFile: string | null;
}

/** The frozen model that the graph was exported from. */
export interface Base {
  readonly fingerprint: string;
  readonly name: string;
  readonly modelType: string;
  readonly parameters: number;
}

/** Where the tokenizer is, and the ids that have a role. */
export interface TokenizerFiles {
  readonly file: string;
  readonly padTokenId: number | null;
  readonly bosTokenId: number | null;
  readonly eosTokenIds: readonly number[];
  /** Where the pooling is `"mask"`, what a head reads at. */
  readonly maskTokenId: number | null;
  /** The file of a chat model's template. */
  readonly chatTemplate: string | null;
  /** What the template calls `bos_token`, `eos_token` and the like. */
  readonly specialTokens: Readonly<Record<string, string>>;
}

/** What a file must be. */
export interface FileEntry {
  readonly sha256: string;
  readonly sizeBytes: number;
}

/** A bundle's manifest, format version 1 (see `runtime/BUNDLE.md`). */
export interface Manifest {
  readonly producer: string;
  readonly form: "shared" | "standalone";
  readonly kind: "encoder" | "decoder";
  /** What its default adapter does; its adapters may differ. */
  readonly task: string;
  readonly precision: string;
  readonly base: Base;
  readonly graph: Graph;
  readonly tokenizer: TokenizerFiles;
  /** Name → file. */
  readonly adapters: ReadonlyMap<string, string>;
  readonly defaultAdapter: string | null;
  /** The folded adapter, in the standalone form. */
  readonly standalone: AdapterMetadata | null;
  readonly files: ReadonlyMap<string, FileEntry>;
}

/** Tasks whose adapters fit the graph. */
export function tasksOf(manifest: Manifest): readonly string[] {
  if (manifest.kind !== "encoder") return TASKS[manifest.kind]!;
  if (manifest.graph.pooling === "each") return ["tag"];
  return manifest.graph.pooling === "mask" ? ["classify"] : ["classify", "regress"];
}

/** The file of the graph that runs here. */
export function graphFile(graph: Graph): string {
  return graph.newPositionsFile ?? graph.file;
}

/** Files that hold weights of the graph beside it. */
export function weightFiles(manifest: Manifest): string[] {
  const { file } = manifest.graph;
  return [...manifest.files.keys()].filter((name) => name !== file && name.startsWith(file));
}

/** The manifest in the bytes of a `bundle.json`; `where` is named in errors: BundleError for what is none. */
export function readManifest(bytes: Uint8Array, where: string): Manifest {
  let data: Json;
  try {
    data = objectFrom(bytes);
  } catch (error) {
    throw new BundleError(`${where}: is not whole JSON (${said(error)}). Export the bundle again.`);
  }
  return manifestFrom(data, where);
}

/** The manifest in an already decoded JSON object. `where` is named in errors (BundleError). */
export function manifestFrom(data: Json, where: string): Manifest {
  const top = new Fields(data, where, BundleError);
  top.exactly("format", FORMAT);
  top.exactly("format_version", FORMAT_VERSION);
  const form = top.oneOf("form", ["shared", "standalone"] as const);
  const kind = top.oneOf("kind", ["encoder", "decoder", "encoder-decoder"] as const);
  const task = top.oneOf("task", ["classify", "generate", "tag", "regress"] as const);
  if (kind === "encoder-decoder" || !TASKS[kind].includes(task)) {
    throw new BundleError(
      `${where}: the kind ${shown(kind)} with the task ${shown(task)} is not run by the JavaScript runtime. Use the ` +
        "Python runtime, or export again.",
    );
  }
  const [base, tokenizer] = [top.object("base"), top.object("tokenizer")];
  const files = filesFrom(top);
  const inFiles = (name: string) => {
    if (files.has(name)) return name;
    throw new BundleError(
      `${where}: does not list the file ${shown(name)}. Export the bundle again.`,
    );
  };
  const graph = graphFrom(top.object("graph"));
  const standalone = form === "standalone" ? metadataFrom(top.object("standalone")) : null;
  const adapters = new Map(top.objects("adapters").map(([name, value]) => [name, inFiles(value.text("file"))]));
  const defaultAdapter = top.optionalText("default_adapter");
  inFiles(graphFile(graph));
  const known = standalone ? [standalone.name] : [...adapters.keys()];
  if (defaultAdapter !== null && !known.includes(defaultAdapter)) {
    throw new BundleError(
      `${where}: the default adapter ${shown(defaultAdapter)} is not one of ${listed(known)}. Export the bundle again.`,
    );
  }
  return Object.freeze({
    producer: top.text("producer", ""),
    form,
    kind,
    task,
    precision: top.text("precision"),
    base: {
      fingerprint: base.text("fingerprint"),
      name: base.text("name", ""),
      modelType: base.text("model_type", ""),
      parameters: base.whole("parameters", 0),
    },
    graph,
    tokenizer: {
      file: inFiles(tokenizer.text("file")),
      padTokenId: tokenizer.optionalWhole("pad_token_id"),
      maskTokenId: tokenizer.optionalWhole("mask_token_id"),
      bosTokenId: tokenizer.optionalWhole("bos_token_id"),
      eosTokenIds: tokenizer.wholes("eos_token_ids"),
      ...chatFrom(tokenizer, inFiles),
    },
    adapters,
    defaultAdapter,
    standalone,
    files,
  });
}

function graphFrom(graph: Fields): Graph {
  return {
    file: graph.text("file"),
    layers: layersFrom(graph, "layers"),
    hiddenSize: graph.positive("hidden_size"),
    embeddingSize: graph.positive("embedding_size"),
    vocabSize: graph.positive("vocab_size"),
    maxPositions: graph.optionalWhole("max_positions"),
    pooling: graph.optionalText("pooling"),
    denseHeads: graph.flag("dense_heads"),
    suffixes: graph.flag("suffixes"),
    layerLengths: graph.flag("layer_lengths"),
    newPositionsFile: graph.optionalText("new_positions_file"),
  };
}

function chatFrom(tokenizer: Fields, inFiles: (name: string) => string) {
  const name = tokenizer.optionalText("chat_template_file");
  if (name === null) return { chatTemplate: null, specialTokens: {} };
  const tokens = tokenizer.object("special_tokens");
  const named = Object.keys(tokens.data).map((token) => [token, tokens.text(token)] as const);
  return { chatTemplate: inFiles(name), specialTokens: Object.fromEntries(named) };
}

function filesFrom(top: Fields): Map<string, FileEntry> {
  const files = new Map<string, FileEntry>();
  for (const [name, entry] of top.objects("files")) {
    if (!staysInside(name)) {
      throw new BundleError(
        `${top.where}: lists the file ${shown(name)}, which is not a plain path inside it. ` +
          "Export the bundle again.",
      );
    }
    files.set(name, { sha256: entry.text("sha256").toLowerCase(), sizeBytes: entry.whole("size_bytes") });
  }
  return files;
}

/** A relative POSIX path without `..`, and none that Windows reads as a drive or a root. */
function staysInside(name: string): boolean {
  const parts = name.split("/").filter((part) => part !== "" && part !== ".");
  return parts.length > 0 && !/^\/|^[A-Za-z]:|[\\\0]/.test(name) && !parts.includes("..");
}
