/**
 * Run prompt-tuned and prefix-tuned language models in the browser, in Node and on phones: many tasks on one ONNX base.
 *
 *     const model = await load("bundle");
 *     (await model.classify("I want my money back")).label;
 *     for await (const chunk of model.stream("Once upon a time")) show(chunk.text);
 */

export type { LoadProgress } from "./bundle_files.js";
export type { Device } from "./device.js";
export {
  AdapterError,
  BaseMismatchError,
  BundleError,
  ContextLengthError,
  ConversationError,
  EdgetuneError,
  InputError,
  MissingExtraError,
  OptionError,
  SignatureError,
  TaskError,
} from "./errors.js";
export type { AdapterChoice, AdapterChoices, OneText, TokenIds } from "./inputs.js";
export { load, type LoadOptions } from "./loading.js";
export { type AddAdapterOptions, type ClassifyOptions, type GenerateOptions, Model } from "./model.js";
export type { GenerationOptions } from "./options.js";
export type {
  AdapterInfo,
  Chunk,
  Classification,
  FinishReason,
  Generation,
  Regression,
  Timing,
  TokenLogprob,
} from "./results.js";
export type { BundleSource, Fetch, FileLike, FileMap, Reading, Source } from "./source.js";
export { cacheStore, type Store } from "./store.js";
export type { Trust } from "./trust.js";
export type { Pair, Text, Tokenizer } from "./tokenizer.js";
