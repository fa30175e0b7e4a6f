/** The face of the runtime: a loaded bundle that reads and generates. */

import { type Adapter, readAdapter } from "./adapter.js";
import type { AdapterSet } from "./adapter_set.js";
import type { Device } from "./device.js";
import { classificationFrom, type Classifier, type Encoder } from "./encoder.js";
import type { ExtendableDecoder } from "./engine.js";
import { AdapterError, InputError, OptionError, TaskError } from "./errors.js";
import { generatedChunks, generationsFrom } from "./generation.js";
import { type AdapterChoice, type AdapterChoices, type OneText, place, rowsFrom, type TokenIds } from "./inputs.js";
import { WordClassifier } from "./label_words.js";
import type { Manifest } from "./manifest.js";
import { checkWhole } from "./option_checks.js";
import { type GenerationOptions, type Options, optionsFrom } from "./options.js";
import type { Request } from "./progress.js";
import type { AdapterInfo, Chunk, Classification, Generation, Regression } from "./results.js";
import type { Session } from "./session.js";
import { shown } from "./shown.js";
import { type FileLike, readFileLike } from "./source.js";
import { Texts } from "./texts.js";
import type { Tokenizer } from "./tokenizer.js";
import type { Trust } from "./trust.js";

/** What `classify` takes beside texts. */
export interface ClassifyOptions<Choice = AdapterChoice> {
  readonly adapter?: Choice;
  /** The most labels in `scores`. */
  readonly topK?: number | null | undefined;
  /** Below this probability of the most probable label, the label is null: out of scope. */
  readonly threshold?: number | null | undefined;
}

/** What `generate` takes beside texts. */
export interface GenerateOptions<Choice = AdapterChoice> extends GenerationOptions {
  readonly adapter?: Choice;
}

/** What `addAdapter` takes beside the file. */
export interface AddAdapterOptions {
  /** What it is called here; left out: as its metadata says. */
  readonly name?: string | undefined;
  /** Whether it takes the place of one of the same name. */
  readonly replace?: boolean | undefined;
  /** With `trust`, where the signature is; left out: beside a URL or a path, under its name with `.sig`. */
  readonly signature?: FileLike | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What `load` makes a model of. */
export interface ModelParts {
  readonly manifest: Manifest;
  readonly tokenizer: Tokenizer;
  readonly adapters: AdapterSet;
  readonly session: Session;
  readonly encoder: Encoder | null;
  readonly decoder: ExtendableDecoder | null;
  readonly trust: Trust | undefined;
  /** The bundle's own, in jinja's language. */
  readonly chatTemplate: string | null;
}

/** What a conversation needs of its model. */
export interface Conversing extends Pick<ModelParts, "manifest" | "tokenizer" | "chatTemplate"> {
  readonly texts: Texts;
  readonly decoder: ExtendableDecoder;
  readonly adapter: Adapter | null;
}

/** A base with its adapters, made by `load`. Calls may overlap; runs of the graph go one after the other. */
export class Model {
  readonly manifest: Manifest;
  readonly tokenizer: Tokenizer;
  readonly #parts: ModelParts;
  readonly #texts: Texts;

  /** Models are made by `load`. */
  constructor(parts: ModelParts) {
    this.#parts = parts;
    this.manifest = parts.manifest;
    this.tokenizer = parts.tokenizer;
    this.#texts = new Texts(parts.manifest, parts.tokenizer);
  }

  /** `"encoder"` or `"decoder"`. */
  get kind(): "encoder" | "decoder" {
    return this.manifest.kind;
  }

  /** What runs its graph. */
  get device(): Device {
    return this.#parts.session.device;
  }

  /** What its default adapter does: `"classify"`, `"regress"` or `"generate"`. */
  get task(): string {
    return this.manifest.task;
  }

  /** The tasks that this model can do, by name, in the bundle's order. */
  get adapters(): ReadonlyMap<string, AdapterInfo> {
    return new Map([...this.#parts.adapters.byName].map(([name, adapter]) => [name, adapter.info]));
  }

  /** The adapter of calls that name none; null: the bare base. */
  get defaultAdapter(): string | null {
    return this.#parts.adapters.default;
  }

  /** Tokens that end a generation. */
  get eosTokenIds(): readonly number[] {
    return this.manifest.tokenizer.eosTokenIds;
  }

  /**
   * A Classification of one text, a list of them of a list of texts.
   *
   * A text is a string, `{ text, pair }` or token ids. A text that is too long loses its last tokens, with one warning
   * per model. An adapter with label words puts its template around strings and pairs, not around token ids, and refuses
   * what is too long. Rejects with TaskError, AdapterError, InputError, OptionError, ContextLengthError.
   */
  classify(text: OneText, options?: ClassifyOptions): Promise<Classification>;
  classify(texts: readonly OneText[], options?: ClassifyOptions<AdapterChoices>): Promise<Classification[]>;
  async classify(texts: unknown, options: ClassifyOptions<AdapterChoices> = {}): Promise<unknown> {
    const { adapter, topK, threshold } = options;
    checkWhole("topK", topK, 1);
    if (threshold != null && !(threshold >= 0 && threshold <= 1)) {
      throw new OptionError(`threshold: is ${shown(threshold)}. Pass a probability from 0 to 1.`);
    }
    return this.#read(texts, adapter, "classify", (logits, info) =>
      classificationFrom(logits, info.labels, topK ?? undefined, threshold ?? undefined),
    );
  }

  /** A Regression of one text, a list of them of a list of texts; texts and errors as in `classify`. */
  regress(text: OneText, options?: { readonly adapter?: AdapterChoice }): Promise<Regression>;
  regress(texts: readonly OneText[], options?: { readonly adapter?: AdapterChoices }): Promise<Regression[]>;
  async regress(texts: unknown, options: { readonly adapter?: AdapterChoices } = {}): Promise<unknown> {
    if (!this.#parts.encoder) throw new TaskError("this bundle holds no encoder, so it predicts no numbers. Use one.");
    return this.#read(texts, options.adapter, "regress", (logits) => ({ value: logits[0]! }));
  }

  /** Logits [B][C] of texts given as token ids, B of [T]. Nothing is cut, and no template is put around the ids. */
  async classLogits(rows: readonly TokenIds[], options: { readonly adapter?: AdapterChoice } = {}) {
    const [chosen] = this.#parts.adapters.chosen(options.adapter, 1);
    const task = chosen?.info.task === "regress" ? "regress" : "classify";
    const [head] = this.#parts.adapters.withHeads(options.adapter, 1, task);
    const given = rows.map((ids, i) => this.#texts.classRow(Array.from(ids, Number), head!, place(i)));
    return this.#classifier.classLogits(given.map((tokenIds) => ({ tokenIds, adapter: head! })));
  }

  /**
   * A Generation for one text, a list of them for a list of texts.
   *
   * A text is a string or token ids. What `options` leave out is the task's own, else: 256 new tokens or as many as fit,
   * temperature 0 (the most probable token), no limits, no stop strings, a fresh seed. Result i of text r is drawn with
   * seed + r · n + i; the further results of a text are its `others`. A `signal` that is aborted ends the texts where
   * they are, as `"cancelled"`. Rejects with ContextLengthError, TaskError, AdapterError, InputError, OptionError.
   */
  generate(text: string | TokenIds, options?: GenerateOptions): Promise<Generation>;
  generate(
    texts: readonly (string | TokenIds)[],
    options?: GenerateOptions<AdapterChoices>,
  ): Promise<Generation[]>;
  async generate(texts: unknown, options: GenerateOptions<AdapterChoices> = {}): Promise<unknown> {
    const started = performance.now();
    const [requests, isOne, { n }] = this.#requests(texts, options);
    const chunks: Chunk[] = [];
    for await (const chunk of this.#chunks(requests, started)) chunks.push(chunk);
    const results = generationsFrom(chunks, requests.length, n);
    return isOne ? results[0] : results;
  }

  /**
   * The chunks of one text as they come; options as in `generate`. Errors of the arguments are thrown at once.
   *
   * A loop that is left early ends the generation before its next step.
   */
  stream(text: string | TokenIds, options: GenerateOptions = {}): AsyncGenerator<Chunk, void, undefined> {
    const started = performance.now();
    const [requests, isOne, { n }] = this.#requests(text, options);
    if (!isOne) throw new InputError("stream takes one text, and this is a list. Use generate.");
    if (n > 1) throw new OptionError("n: stream gives one result. Use generate, with onChunk for its pieces.");
    return this.#chunks(requests, started);
  }

  /**
   * What a conversation behind an adapter needs: `chat`, of `edgetune-runtime/chat`, asks for it.
   *
   * Throws TaskError, AdapterError.
   */
  conversing(choice: AdapterChoice): Conversing {
    const decoder = this.#decoder;
    const [adapter] = this.#parts.adapters.chosen(choice, 1);
    this.#parts.adapters.refuseOtherTasks([adapter!], "generate");
    const { manifest, tokenizer, chatTemplate } = this.#parts;
    return { manifest, tokenizer, texts: this.#texts, decoder, chatTemplate, adapter: adapter! };
  }

  /** Logits [T][V] of one text given as token ids, token by token over the cache: as they arise while generating. */
  async stepLogits(tokenIds: TokenIds, options: { readonly adapter?: AdapterChoice } = {}): Promise<Float32Array[]> {
    const decoder = this.#decoder;
    const [adapter] = this.#parts.adapters.chosen(options.adapter, 1);
    const ids = this.#texts.wholeRow(Array.from(tokenIds, Number), adapter!, "the text");
    if (adapter?.suffix) {
      throw new TaskError(
        `the adapter ${shown(adapter.info.name)} has virtual tokens behind the text, so a text has no steps.`,
      );
    }
    let [logits, state] = await decoder.prefill([ids.slice(0, 1)], [adapter!]);
    const rows = [logits[0]!.slice()];
    for (const id of ids.slice(1)) {
      [logits, state] = await decoder.step([id], state);
      rows.push(logits[0]!.slice());
    }
    return rows;
  }

  /**
   * One more task from a `.safetensors` file, for this model alone: its bytes, a `Blob` or `File`, a URL, or, in Node, a
   * path. Calls that run do not see it.
   *
   * Rejects with BaseMismatchError if it is of another base, AdapterError if it does not fit or if the name is taken and
   * `replace` is false.
   */
  async addAdapter(file: FileLike, options: AddAdapterOptions = {}): Promise<AdapterInfo> {
    this.#refuseFolded();
    const [bytes, where] = await readFileLike(file, options.signal);
    await this.#parts.trust?.adapter(bytes, where, file, options);
    const adapter = readAdapter(bytes, where, this.manifest, options.name);
    this.#parts.adapters.add(adapter, options.replace ?? false);
    return adapter.info;
  }

  /** One task less; throws AdapterError if it is not here, or if it is the bundle's default. Calls that run keep it. */
  removeAdapter(name: string): void {
    this.#refuseFolded();
    this.#parts.adapters.remove(name);
  }

  /** Its memory is free once the run that is going on has ended; it answers no more. */
  release(): Promise<void> {
    return this.#parts.session.release();
  }

  get #classifier(): Classifier {
    return this.#parts.encoder ?? new WordClassifier(this.#decoder);
  }

  get #decoder(): ExtendableDecoder {
    if (this.#parts.decoder) return this.#parts.decoder;
    throw new TaskError("this bundle holds an encoder, which does not generate. Use classify, or a decoder's bundle.");
  }

  async #read<Result>(
    texts: unknown,
    choice: unknown,
    task: "classify" | "regress",
    result: (logits: Float32Array, info: AdapterInfo) => Result,
  ): Promise<Result | Result[]> {
    const [rows, isOne] = rowsFrom(texts, true);
    const heads = this.#parts.adapters.withHeads(choice, rows.length, task);
    const given = rows.map((row, i) => this.#texts.encoderRow(row, heads[i]!, place(i, isOne)));
    const logits = await this.#classifier.classLogits(given);
    const results = logits.map((x, i) => result(x, heads[i]!.info));
    return isOne ? results[0]! : results;
  }

  #requests(texts: unknown, options: GenerateOptions<AdapterChoices>): [Request[], isOne: boolean, Options] {
    void this.#decoder; // an encoder is refused before its texts are looked at
    const checked = optionsFrom(options, ["adapter"]);
    const [rows, isOne] = rowsFrom(texts, false);
    const adapters = this.#parts.adapters.chosen(options.adapter, rows.length);
    this.#parts.adapters.refuseOtherTasks(adapters, "generate");
    const requests = rows.map((row, i) =>
      this.#texts.request(row, adapters[i]!, checked, i, place(i, isOne)),
    );
    return [requests, isOne, checked];
  }

  #chunks(requests: readonly Request[], started: number): AsyncGenerator<Chunk, void, undefined> {
    return generatedChunks(this.#decoder, this.tokenizer, this.eosTokenIds, requests, started);
  }

  #refuseFolded(): void {
    if (!this.manifest.standalone) return;
    throw new AdapterError("a standalone bundle has its adapter folded in and takes no other. Use a shared bundle.");
  }
}
