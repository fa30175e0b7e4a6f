/** Token ids of what a caller passed, made to fit the base: cut for a classifier, refused for a generator. */

import { type Adapter } from "./adapter.js";
import { BARE, takesPairs } from "./adapter_metadata.js";
import type { EncoderRow } from "./encoder.js";
import { ContextLengthError, InputError } from "./errors.js";
import { checkedTokenIds, isIds, type Row } from "./inputs.js";
import type { Manifest } from "./manifest.js";
import { type Options, resolved } from "./options.js";
import type { Request } from "./progress.js";
import { shown } from "./shown.js";
import { filled } from "./template.js";
import type { Text, Tokenizer } from "./tokenizer.js";

/** Reads texts for one model; it remembers only whether it has warned of a cut. */
export class Texts {
  readonly #limit: number | null;
  readonly #vocabSize: number;
  /** The mask token's text; empty where there is none. */
  readonly #mask: string;
  #hasWarned = false;

  constructor(
    private readonly manifest: Manifest,
    private readonly tokenizer: Tokenizer,
  ) {
    this.#limit = manifest.graph.maxPositions;
    this.#vocabSize = manifest.graph.vocabSize;
    const { maskTokenId } = manifest.tokenizer;
    this.#mask = maskTokenId === null ? "" : tokenizer.token(maskTokenId);
  }

  /** The row, cut to the positions that the adapter leaves: the text's last tokens go, the special ones stay. */
  encoderRow(row: Row, adapter: Adapter, where: string): EncoderRow {
    const room = this.#limit === null ? Infinity : Math.max(this.#limit - adapter.info.virtualTokens, 0);
    const { template } = adapter.metadata;
    let ids: readonly number[];
    let length: number;
    if (isIds(row)) {
      // looked at before the cut, which could hide what is no token
      const all = checkedTokenIds(row, this.#vocabSize, where);
      [ids, length] = [template === null ? cut(all, room) : all, all.length];
    } else if (template !== null) {
      ids = this.#filledIds(row, template, adapter, room, where);
      length = ids.length;
    } else {
      [ids, length] = this.tokenizer.encodeWithin(row, room);
    }
    const tokenIds = this.classRow(ids, adapter, where);
    if (length > room) this.#warnOfCut(length, room, adapter);
    return { tokenIds, adapter };
  }

  /** As `wholeRow`; throws InputError where a head that reads the mask token finds none, or several. */
  classRow(tokenIds: readonly number[], adapter: Adapter, where: string): readonly number[] {
    const ids = this.wholeRow(tokenIds, adapter, where);
    const count = ids.filter((id) => id === this.manifest.tokenizer.maskTokenId).length;
    if (this.manifest.graph.pooling === "mask" && count !== 1) {
      throw new InputError(
        `${where}: holds ${count} mask tokens, and ${shown(adapter.info.name)} reads exactly one, ` +
          `${shown(this.#mask)}. Pass a string, or filled ids.`,
      );
    }
    return ids;
  }

  /** Token ids [T], none of them cut; throws ContextLengthError where they do not fit. */
  wholeRow(tokenIds: readonly number[], adapter: Adapter | null, where: string): readonly number[] {
    const ids = this.#notEmpty(checkedTokenIds(tokenIds, this.#vocabSize, where), where);
    const virtual = adapter?.info.virtualTokens ?? 0;
    if (this.#limit !== null && ids.length + virtual > this.#limit) {
      throw new ContextLengthError(
        `${where}: ${ids.length} tokens and ${virtual} virtual tokens, and the base holds ${this.#limit} positions. ` +
          "Shorten the text.",
      );
    }
    return ids;
  }

  /**
   * Token ids [T] of a text that has its special tokens written out, such as a rendered conversation,
   * and whether others are characters.
   *
   * Where the adapter is the text's beginning itself, the token that begins one is left out.
   */
  renderedIds([text, splits]: [string, boolean], adapter: Adapter | null): readonly number[] {
    const ids = this.tokenizer.encode(text, false, splits);
    const begins = adapter?.metadata.beginsText && ids[0] === this.manifest.tokenizer.bosTokenId;
    return begins ? ids.slice(1) : ids;
  }

  /** The row with its options; throws ContextLengthError where it and its new tokens do not fit. */
  request(row: Row, adapter: Adapter | null, options: Options, index: number, where: string): Request {
    checkedTokenIds([...options.logitBias.keys()], this.#vocabSize, "logitBias");
    // special tokens stand in front, as far as the adapter is not the text's beginning itself
    const encoded = isIds(row) ? row : this.tokenizer.encode(row, !adapter?.metadata.beginsText);
    const tokenIds = this.#notEmpty(checkedTokenIds(encoded, this.#vocabSize, where), where);
    const used = tokenIds.length + (adapter?.info.virtualTokens ?? 0);
    const defaults = adapter?.metadata.generation ?? BARE;
    return { tokenIds, adapter, options: resolved(options, defaults, index, used, this.#limit, where) };
  }

  #filledIds(row: Text, template: string, adapter: Adapter, room: number, where: string): readonly number[] {
    const { name } = adapter.info;
    const isPair = typeof row !== "string";
    if (isPair !== takesPairs(adapter.metadata)) {
      const [wants, got] = isPair ? ["one text", "a pair"] : ["a pair", "one text"];
      throw new InputError(
        `${where}: is ${got}, and the template of ${shown(name)} takes ${wants}: ${shown(template)}.`,
      );
    }
    const [first, second] = isPair ? [row.text, row.pair] : [row, ""];
    const ids = this.tokenizer.encode(this.#filled(template, [first, second]), true, false);
    if (ids.length > room) {
      throw new ContextLengthError(
        `${where}: makes ${ids.length} tokens with the template of ${shown(name)}, and ${room} fit. Shorten the text.`,
      );
    }
    return ids;
  }

  /** Control tokens of the template control, the texts' do not; mask tokens the texts lose. */
  #filled(template: string, texts: string[]): string {
    const { control, splitSpecialTokens } = this.tokenizer;
    const [first, second] = texts.map((text) => (this.#mask ? text.replaceAll(this.#mask, "") : text));
    const typed = splitSpecialTokens && control.areIn(first + "\0" + second);
    const [own, mask] = [template, this.#mask].map((x) => (typed ? control.named(x) : x));
    return filled(own!, first!, second!, mask!);
  }

  #notEmpty(ids: readonly number[], where: string): readonly number[] {
    if (ids.length) return ids;
    const { bosTokenId } = this.manifest.tokenizer;
    if (bosTokenId === null) {
      throw new InputError(
        `${where} has no tokens, and this base has none that begins a text. Pass at least one.`,
      );
    }
    return [bosTokenId];
  }

  #warnOfCut(length: number, room: number, adapter: Adapter): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    console.warn(
      `edgetune-runtime: a text of ${length} tokens was cut to ${room}: the base holds ${this.#limit} positions, and ` +
        `the adapter ${shown(adapter.info.name)} takes ${adapter.info.virtualTokens} of them.`,
    );
  }
}

/** At most `room` of the token ids [T], the last of which, a special token as a rule, stays. */
function cut(ids: readonly number[], room: number): readonly number[] {
  if (ids.length <= room) return ids;
  return room ? [...ids.slice(0, room - 1), ids.at(-1)!] : [];
}
