/** Stop strings in a text that arrives in pieces. */

/**
 * Lets text through up to the first stop string, wherever the pieces were cut.
 *
 * The end of a piece that may be the beginning of a stop string is held back until it is certain.
 */
export class StopStrings {
  #held = "";

  constructor(private readonly stop: readonly string[] = []) {}

  /** The text that may go out, and whether a stop string was met: then all after it is dropped. */
  push(piece: string): [text: string, stopped: boolean] {
    if (!this.stop.length || !piece) return [piece, false];
    const text = this.#held + piece;
    // the one that is whole first counts, of two that end together the longer: the same however the text arrives
    for (let end = 1; end <= text.length; end++) {
      const met = this.stop.filter((s) => text.endsWith(s, end)).map((s) => s.length);
      if (!met.length) continue;
      this.#held = "";
      return [text.slice(0, end - Math.max(...met)), true];
    }
    const sure = text.length - Math.max(...this.stop.map((s) => beginningAtEnd(text, s)));
    this.#held = text.slice(sure);
    return [text.slice(0, sure), false];
  }

  /** The text that was held back for a stop string that never came. */
  end(): string {
    const held = this.#held;
    this.#held = "";
    return held;
  }
}

/** Length of the longest end of `text` with which `stop` begins; the whole of `stop` does not count. */
export function beginningAtEnd(text: string, stop: string): number {
  for (let length = Math.min(stop.length - 1, text.length); length > 0; length--) {
    if (text.endsWith(stop.slice(0, length))) return length;
  }
  return 0;
}
