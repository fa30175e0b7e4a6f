/** What an adapter says about itself: the JSON beside its tensors. */

import type { Fields } from "./checked.js";
import { MASK, PAIR, TEXT } from "./template.js";

const FORMAT_VERSION = 1;

/** Of a head's hidden layer, by their numbers in the graph. */
export const ACTIVATIONS = ["tanh", "gelu", "relu"] as const;

/** What a task sets where a call leaves an option out; null: the runtime's own default. */
export interface GenerationDefaults {
  readonly maxNewTokens: number | null;
  readonly stop: readonly string[] | null;
  readonly temperature: number | null;
  readonly topK: number | null;
  readonly topP: number | null;
}

/** Of a task that sets nothing. */
export const BARE: GenerationDefaults = { maxNewTokens: null, stop: null, temperature: null, topK: null, topP: null };

/** The `edgetune` key of an adapter's safetensors metadata, format version 1. */
export interface AdapterMetadata {
  readonly name: string;
  readonly task: string;
  readonly method: string;
  readonly baseFingerprint: string;
  /** P. */
  readonly virtualTokens: number;
  readonly labels: readonly string[];
  readonly pooling: string | null;
  readonly generation: GenerationDefaults;
  /** Of the head's hidden layer, where it has one. */
  readonly activation: (typeof ACTIVATIONS)[number];
  /** What the text is filled into, of a classifier that answers with words. */
  readonly template: string | null;
  /** The tokens of each label's words, in the order of the labels. */
  readonly labelWords: readonly (readonly number[])[];
  /** Whether the virtual tokens are a text's beginning: what stands behind them has no special tokens of its own. */
  readonly beginsText: boolean;
}

/** Whether a text comes with a second one: as it likes, where there is no template. */
export function takesPairs(metadata: AdapterMetadata): boolean {
  return metadata.template === null || metadata.template.includes(PAIR);
}

/** The metadata in `fields`; throws their error for an unknown version or a field of the wrong type. */
export function metadataFrom(fields: Fields): AdapterMetadata {
  fields.exactly("format_version", FORMAT_VERSION);
  if ((fields.data["positions"] ?? "after_virtual") !== "after_virtual") {
    throw fields.fail("positions", '"after_virtual" (a newer runtime may know others)');
  }
  const labels = fields.texts("labels");
  if (new Set(labels).size !== labels.length) throw fields.fail("labels", "a list without repetitions");
  return {
    name: fields.text("name"),
    task: fields.text("task"),
    method: fields.text("method"),
    baseFingerprint: fields.text("base_fingerprint"),
    virtualTokens: fields.whole("virtual_tokens"),
    labels,
    pooling: fields.optionalText("pooling"),
    generation: generationFrom(fields),
    ...wordsFrom(fields, labels),
    beginsText: fields.flag("begins_text"),
    activation: fields.oneOf("activation", ACTIVATIONS, true),
  };
}

function wordsFrom(fields: Fields, labels: readonly string[]) {
  const template = fields.optionalText("template");
  const labelWords = fields.listsOfWholes("label_words");
  const count = (place: string) => template!.split(place).length - 1;
  if (template !== null && (count(TEXT) !== 1 || count(MASK) > 1 || count(PAIR) > 1)) {
    throw fields.fail("template", `a text that holds ${TEXT} once, and ${PAIR} and ${MASK} at most once`);
  }
  if ((labelWords.length || template !== null) && labelWords.length !== labels.length) {
    throw fields.fail("label_words", `${labels.length} lists, one for each label`);
  }
  return { template, labelWords };
}

function generationFrom(fields: Fields): GenerationDefaults {
  if (fields.isEmpty("generation")) return BARE;
  const given = fields.object("generation");
  const stop = given.data["stop"];
  return {
    maxNewTokens: given.optionalWhole("max_new_tokens"),
    // one string is as good as a list of one
    stop: given.isEmpty("stop") ? null : typeof stop === "string" ? [stop] : given.texts("stop"),
    temperature: given.optionalNumber("temperature"),
    topK: given.optionalWhole("top_k"),
    topP: given.optionalNumber("top_p"),
  };
}
