/** Text from a stream of tokens, as soon as it is certain. */

/** Tokens that wait for the rest of a character: UTF-8 needs 4 bytes, and a few tokens may stand for no byte. */
const PATIENCE = 8;
/** Bytes that the beginning of a character can have, each shown as U+FFFD by some tokenizers. */
const UNFINISHED = 3;

/**
 * Joined pieces are the text of all tokens.
 *
 * A tokenizer decodes a token differently at the start of a text (SentencePiece drops a leading space) and in the
 * middle of a character (half of one decodes to U+FFFD). So every piece is the difference that the new tokens make
 * behind the ones before them, and what may still become a character waits for the rest.
 */
export class Detokenizer {
  /** The tokens of the last piece, for context, then those that wait. */
  #ids: number[] = [];
  /** How many of them are context. */
  #context = 0;
  /** Their text as far as it has gone out. */
  #shown = "";

  constructor(private readonly decode: (tokenIds: readonly number[]) => string) {}

  /** The text that `tokenId` makes certain; often none. */
  push(tokenId: number): string {
    this.#ids.push(tokenId);
    const text = this.decode(this.#ids);
    const waiting = unfinished(text);
    if (waiting && this.#ids.length - this.#context < PATIENCE) return "";
    // bytes that are no text at all go out, but for the last few, which may still begin a character
    return this.#sent(text, Math.min(waiting, UNFINISHED));
  }

  /** The rest of the text, half a character as U+FFFD. */
  end(): string {
    return this.#sent(this.decode(this.#ids), 0);
  }

  /** What is new in `text`, the window's own, but for the last `held` characters; then the window moves on. */
  #sent(text: string, held: number): string {
    let piece: string;
    if (text.startsWith(this.#shown)) {
      piece = text.slice(this.#shown.length, Math.max(text.length - held, this.#shown.length));
    } else {
      // a broken byte behind a whole character makes some tokenizers take the character back
      text = this.decode(this.#ids.slice(this.#context));
      piece = text.slice(0, text.length - held);
    }
    if (piece || held) {
      this.#ids = held ? this.#ids.slice(-PATIENCE) : this.#ids.slice(this.#context);
      this.#context = held ? 0 : this.#ids.length;
      text = this.decode(this.#ids);
      this.#shown = text.slice(0, text.length - Math.min(unfinished(text), held));
    }
    return piece;
  }
}

/** How many U+FFFD the text ends in. */
function unfinished(text: string): number {
  return text.length - text.replace(/\ufffd+$/, "").length;
}
