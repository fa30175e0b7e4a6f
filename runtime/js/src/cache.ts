/** Keys and values of a batch, in buffers that a graph reads and that what it adds is put into. */

import { ContextLengthError } from "./errors.js";
import { type Floats, zeros } from "./floats.js";
import type { Layer } from "./layer.js";
import { longestOf } from "./layer_lengths.js";

/** Positions by which a buffer grows. Few: a step costs by the size of the buffers, whatever is in use of them. */
const STEP = 32;

/** One buffer [B, K, S, D] per layer and key or value; row r uses its first `lengths[r]` positions. */
export class KeyValueCache {
  /** Positions in use, [B]. */
  lengths: number[];

  /** `buffers` are 2·L of [B, K, S, D]; they are the cache's own. */
  constructor(
    public buffers: readonly Floats[],
    lengths: readonly number[],
  ) {
    this.lengths = [...lengths];
  }

  /** An empty one for `rows` rows of up to `capacity` positions. */
  static empty(layers: readonly Layer[], rows: number, capacity: number): KeyValueCache {
    const shapes = layers.map((layer) => [rows, layer.keyValueHeads, capacity, layer.headSize]);
    return new KeyValueCache(shapes.flatMap((shape) => [zeros(shape), zeros(shape)]), new Array(rows).fill(0));
  }

  /** B. */
  get rows(): number {
    return this.lengths.length;
  }

  /** S. */
  get capacity(): number {
    return this.buffers[0]!.dims[2]!;
  }

  /** Positions in use of the longest row. */
  get longest(): number {
    return Math.max(0, ...this.lengths);
  }

  /** The row begins with keys and values `past`, 2·L of [1, K, P_l, D], all of them in use, or with nothing. */
  put(row: number, past: readonly Floats[]): void {
    past.forEach((x, i) => copyPositions(x, 0, this.buffers[i]!, row, x.dims[2]!));
    this.lengths[row] = longestOf(past);
  }

  /**
   * Every row goes on by `count` positions: those of `found`, 2·L of [B, K, count, D], or of whole caches, 2·L of
   * [B, K, S, D]. `missing` says how many positions less than the row's others a buffer has.
   */
  add(count: number, found: readonly Floats[], missing: (row: number, buffer: number) => number): void {
    found.forEach((x, i) =>
      this.lengths.forEach((length, row) => {
        const at = length - missing(row, i);
        copyPositions(x, row, this.buffers[i]!, row, count, x.dims[2] === count ? 0 : at, at);
      }),
    );
    this.lengths = this.lengths.map((length) => length + count);
  }

  /** Row i becomes what row `rows[i]` was; there are as many rows as that. What is in use is copied. */
  take(rows: readonly number[], capacity = this.capacity): void {
    const used = this.longest;
    this.buffers = this.buffers.map((old) => {
      const [, heads, , size] = old.dims as [number, number, number, number];
      const next = zeros([rows.length, heads, capacity, size]);
      rows.forEach((row, i) => copyPositions(old, row, next, i, used));
      return next;
    });
    this.lengths = rows.map((row) => this.lengths[row]!);
  }

  /** Another one that holds the same. */
  copy(): KeyValueCache {
    const buffers = this.buffers.map(({ data, dims }) => ({ data: data.slice(), dims }));
    return new KeyValueCache(buffers, this.lengths);
  }

  /** S becomes `capacity`; what is in use is copied once. */
  grow(capacity: number): void {
    this.take([...this.lengths.keys()], capacity);
  }
}

/** `count` positions of a row of [B, K, S, D] go to those of a row of another; S may differ. */
function copyPositions(
  from: Floats,
  fromRow: number,
  to: Floats,
  toRow: number,
  count: number,
  fromAt = 0,
  toAt = 0,
): void {
  const [, heads, length, size] = from.dims as [number, number, number, number];
  const room = to.dims[2]!;
  for (let head = 0; head < heads; head++) {
    const first = ((fromRow * heads + head) * length + fromAt) * size;
    to.data.set(from.data.subarray(first, first + count * size), ((toRow * heads + head) * room + toAt) * size);
  }
}

/**
 * S for at least `positions`: the next multiple of 32, or the base's limit.
 *
 * Throws ContextLengthError where the base cannot hold that many.
 */
export function capacityFor(positions: number, maxPositions: number | null): number {
  checkRoom(positions, maxPositions);
  const capacity = Math.ceil(positions / STEP) * STEP;
  return maxPositions === null ? capacity : Math.min(capacity, maxPositions);
}

/** Throws ContextLengthError where the base cannot hold `positions`. */
export function checkRoom(positions: number, maxPositions: number | null): void {
  if (maxPositions !== null && positions > maxPositions) {
    throw new ContextLengthError(
      `${positions} positions are needed, and the base holds ${maxPositions}. Shorten the text.`,
    );
  }
}
