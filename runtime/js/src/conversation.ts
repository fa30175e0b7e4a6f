/** A conversation with a chat model: each turn computes only the tokens that the cache does not hold. */

import { type ChatTemplate, chatTemplate } from "./chat_template.js";
import { ContextLengthError, ConversationError, InputError, OptionError } from "./errors.js";
import { generatedChunks, generationsFrom } from "./generation.js";
import type { AdapterChoice } from "./inputs.js";
import { hidden, unhidden } from "./hidden_tokens.js";
import { checkedContent, type Message, opening, shortened } from "./messages.js";
import type { Conversing, Model } from "./model.js";
import { DEFAULT_MAX_NEW_TOKENS, type GenerationOptions, type Options, optionsFrom } from "./options.js";
import type { Request } from "./progress.js";
import { ResumedDecoder } from "./resumed.js";
import type { Chunk, Generation } from "./results.js";
import { shown } from "./shown.js";
import { readable } from "./tokenizer.js";

export type { Message };

/** What `chat` takes beside a model; generation options are those of every turn, and a turn's own go first. */
export interface ChatOptions extends GenerationOptions {
  readonly adapter?: AdapterChoice;
  readonly system?: string | null | undefined;
  readonly messages?: readonly Message[] | undefined;
  /** Where a turn does not fit the base: an error, or the oldest turns are dropped. Left out: `"refuse"`. */
  readonly overflow?: "refuse" | "slide" | undefined;
  /** Jinja source; left out: the bundle's own. */
  readonly template?: string | undefined;
}

const OWN = ["adapter", "system", "messages", "overflow", "template"];
/** Once turns have to go, so many go that one in four positions is free: the next turns need not move again. */
const SPARE = 4;

/** What stays the same for as long as a conversation lasts. Conversations may share it. */
interface Setting extends Pick<Conversing, "manifest" | "tokenizer" | "texts"> {
  readonly template: ChatTemplate;
  readonly overflow: "refuse" | "slide";
  readonly options: GenerationOptions;
}

/**
 * A conversation with a model behind one adapter, from `messages` on, or from a `system` text.
 *
 * Nothing is computed before the first turn. Rejects with TaskError, AdapterError, InputError, OptionError, BundleError for
 * what is no template, MissingExtraError without `@huggingface/jinja`.
 */
export async function chat(model: Model, given: ChatOptions = {}): Promise<Conversation> {
  const { adapter: choice, system, messages = [], overflow = "refuse", template, ...options } = given;
  const conversing = model.conversing(choice);
  const { manifest, tokenizer, texts, decoder, adapter } = conversing;
  if (overflow !== "refuse" && overflow !== "slide") {
    throw new OptionError(`overflow: is ${shown(overflow)}. Pass "refuse" or "slide".`);
  }
  oneAnswer(options);
  const said = opening(system, messages);
  const cache = new ResumedDecoder(decoder, adapter, manifest.graph.vocabSize);
  const setting = { manifest, tokenizer, texts, template: await templateOf(conversing, template), overflow, options };
  return new Conversation(setting, cache, said);
}

function templateOf({ manifest, tokenizer, chatTemplate: own }: Conversing, given: unknown): Promise<ChatTemplate> {
  const { bosTokenId, eosTokenIds, specialTokens, chatTemplate: file } = manifest.tokenizer;
  if (given === undefined && own === null) {
    throw new InputError(
      "this bundle has no chat template, so it is not known how its base was told who speaks. Export a chat model (its " +
        "tokenizer has a `chat_template`), pass template, or use generate.",
    );
  }
  if (given !== undefined && typeof given !== "string") {
    throw new InputError(`template: is ${shown(given)}. Pass jinja source.`);
  }
  const token = (id: number | null | undefined) => (id == null ? "" : tokenizer.token(id));
  const names = { bos_token: token(bosTokenId), eos_token: token(eosTokenIds[0]), ...specialTokens };
  return chatTemplate(given ?? own!, names, given === undefined ? file! : "template");
}

/** The options of a turn; throws OptionError where they ask for several results, and as `optionsFrom` does. */
function oneAnswer(given: GenerationOptions): Options {
  const options = optionsFrom(given, OWN);
  if (options.n === 1) return options;
  throw new OptionError("n: a turn of a conversation has one answer. Leave it out, or use generate.");
}

/** Turns behind one adapter, made by `chat`. One turn is written at a time; forks are apart from it. */
export class Conversation {
  #isWriting = false;
  #messages: readonly Message[];
  readonly #setting: Setting;
  readonly #cache: ResumedDecoder;

  /** Conversations are made by `chat`. */
  constructor(setting: Setting, cache: ResumedDecoder, messages: readonly Message[]) {
    this.#setting = setting;
    this.#cache = cache;
    this.#messages = messages;
  }

  /** What the next turn goes on from; those that slid out are gone. A copy. */
  get messages(): Message[] {
    return this.#messages.map((message) => ({ ...message }));
  }

  /** Its adapter's name; null: the bare base. */
  get adapter(): string | null {
    return this.#cache.adapter?.info.name ?? null;
  }

  /** Tokens in the cache, virtual ones apart; those behind a common beginning are replaced in the next turn. */
  get tokenCount(): number {
    return this.#cache.tokenIds.length;
  }

  /**
   * The answer to the user's `text`. Options as in `generate`, but for `n`: there is one answer.
   *
   * Both become messages; an answer that `maxTimeS` or `signal` ended counts as it is, and a turn of which nothing was
   * written has not been. An error leaves the conversation as it was. Rejects with ConversationError while another turn is
   * being written, InputError where the template refuses the messages, ContextLengthError where they do not fit, and what
   * `generate` does.
   */
  async send(text: string, options: GenerationOptions = {}): Promise<Generation> {
    const chunks: Chunk[] = [];
    for await (const chunk of this.stream(text, options)) chunks.push(chunk);
    return generationsFrom(chunks, 1, 1)[0]!;
  }

  /**
   * The chunks of the answer as they come; options as in `send`. The turn begins with the first chunk that is asked for,
   * and errors that are not of the arguments come then.
   *
   * Of a loop that is left before the last chunk, what it has given is the answer.
   */
  stream(text: string, options: GenerationOptions = {}): AsyncGenerator<Chunk, void, undefined> {
    checkedContent(text, "the text");
    return this.#turn(text, oneAnswer({ ...this.#setting.options, ...options }), performance.now());
  }

  /** Another conversation that goes on from here; neither sees the other's turns. The cache is copied. */
  fork(): Conversation {
    this.#refuseBusy();
    return new Conversation(this.#setting, this.#cache.copy(), this.#messages);
  }

  async *#turn(text: string, options: Options, started: number): AsyncGenerator<Chunk, void, undefined> {
    this.#refuseBusy();
    this.#isWriting = true;
    const { tokenizer, manifest } = this.#setting;
    let answer = "";
    let isOver = false;
    let said: readonly Message[] = [];
    const end = (isWhole: boolean) => {
      isOver = true;
      if (answer || isWhole) this.#messages = [...said, { role: "assistant", content: answer }];
      this.#isWriting = false;
    };
    try {
      const [messages, request] = this.#fitted([...this.#messages, { role: "user", content: text }], options);
      said = messages;
      const ends = manifest.tokenizer.eosTokenIds;
      for await (const chunk of generatedChunks(this.#cache, tokenizer, ends, [request], started)) {
        answer += chunk.text;
        if (chunk.finishReason !== null) end(["eos", "stop", "length"].includes(chunk.finishReason));
        yield chunk;
      }
    } catch (error) {
      // the conversation is as it was
      isOver = true;
      throw error;
    } finally {
      if (!isOver) end(false);
      this.#isWriting = false;
    }
  }

  #refuseBusy(): void {
    if (!this.#isWriting) return;
    throw new ConversationError(
      "a turn of this conversation is still being written. Read its stream to the end or leave its loop, or go on with " +
        "a fork() made before.",
    );
  }

  /**
   * The messages that are gone on from, and the request that they make; throws ContextLengthError.
   *
   * Where turns slide out the rest is computed anew: keys hold the positions of their tokens, and above the first layer
   * what stood before them; only so are they those of a conversation that began with what is left.
   */
  #fitted(messages: readonly Message[], options: Options): [readonly Message[], Request] {
    const { manifest, overflow } = this.#setting;
    const limit = manifest.graph.maxPositions;
    if (overflow === "refuse" || limit === null) return [messages, this.#request(messages, options)];
    const spare = Math.floor(limit / SPARE);
    const usual = this.#cache.adapter?.metadata.generation.maxNewTokens || DEFAULT_MAX_NEW_TOKENS;
    const wanted = options.maxNewTokens || Math.min(usual, spare);
    if (this.#fits(messages, options, wanted)) return [messages, this.#request(messages, options)];
    const fewer = shortened(messages);
    for (const room of [wanted + spare, wanted]) {
      const found = fewer.find((candidate) => this.#fits(candidate, options, room));
      if (found) return [found, this.#request(found, options)];
    }
    const last = fewer.at(-1) ?? messages;
    return [last, this.#request(last, options)];
  }

  #fits(messages: readonly Message[], options: Options, maxNewTokens: number): boolean {
    try {
      this.#request(messages, { ...options, maxNewTokens });
      return true;
    } catch (error) {
      if (error instanceof ContextLengthError) return false;
      throw error;
    }
  }

  #request(messages: readonly Message[], options: Options): Request {
    const { texts, template, tokenizer } = this.#setting;
    const { control, splitSpecialTokens: splits } = tokenizer;
    const said = messages.map((x) => ({ ...x, content: splits ? hidden(control, readable(x.content)) : x.content }));
    const ids = texts.renderedIds(unhidden(control, template(said)), this.#cache.adapter);
    return texts.request(ids, this.#cache.adapter, options, 0, "the conversation");
  }
}
