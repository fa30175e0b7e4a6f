/**
 * How much a chat template may do: it is a program that comes with a model, and nothing else bounds its time and memory.
 *
 * Each expression and each block is a step, and what it makes is counted in characters; both are spent from a budget
 * that is drawn up anew for each rendering. A template of a chat model takes a few dozen steps for each message.
 */

/** Beside some for each character of the messages. */
const STEPS = 500_000;
const STEPS_PER_CHARACTER = 4;
const STEPS_PER_PASS = 10;
/** Characters made on the way, beside what the messages take: each filter that passes one on makes it anew. */
const CHARACTERS = 4_000_000;
const CHARACTERS_PER_CHARACTER = 256;
/** Of a number that a call or a filter is given. */
const LARGEST = 100_000;
/** Of a `range`: a loop takes memory for each number. */
const LONGEST_RANGE = 20_000;
/** Whose values are new, and are counted with all that is in them. */
const MAKING = new Set([
  "ArrayLiteral", "TupleLiteral", "ObjectLiteral", "CallExpression", "FilterExpression", "BinaryExpression",
]); // prettier-ignore

/** What may make each character of its text as many as an argument says. */
const MULTIPLYING = new Set(["replace", "join", "indent", "tojson"]);

/** What goes beyond the budget. */
function tooMuch(): Error {
  return new Error("it does more than a chat template may: loops, repeats or writes too much");
}

/** The numbers from `start` on, as jinja counts them; throws an Error for too many. */
export function range(start: number, stop?: number, step = 1): number[] {
  const [from, to] = stop === undefined ? [0, start] : [start, stop];
  const count = Math.max(0, Math.ceil((to - from) / step));
  if (!(count <= LONGEST_RANGE)) throw tooMuch();
  return Array.from({ length: count }, (_, i) => from + i * step);
}

/** What runs a template's nodes; jinja's own. */
interface Runs {
  evaluate(node: any, environment: unknown): any;
  run(program: unknown): { value: unknown };
}

/** The class of interpreters that have a budget, for messages of `given` characters. */
export function boundedInterpreter(
  Base: new (environment: any) => Runs,
): new (environment: unknown, given: number) => Runs {
  return class Bounded extends Base {
    #steps: number;
    #characters: number;
    readonly #most: number;
    /** Of a text or a list that was there. */
    #longest = 1;
    /** Nodes that say how much such a call or filter makes. */
    readonly #arguments = new WeakSet<object>();
    /** Nodes that loops go through. */
    readonly #lists = new WeakSet<object>();

    constructor(environment: unknown, given: number) {
      super(environment);
      this.#steps = STEPS + STEPS_PER_CHARACTER * given;
      this.#characters = this.#most = CHARACTERS + CHARACTERS_PER_CHARACTER * given;
    }

    override evaluate(node: any, environment: unknown): any {
      this.#spend(0);
      const called = node?.filter ?? node;
      if (MULTIPLYING.has(called?.callee?.property?.value ?? called?.callee?.value)) {
        for (const x of called.args) this.#arguments.add(x.value?.type ? x.value : (x.argument ?? x));
      }
      if (node?.type === "For") this.#lists.add(node.iterable.lhs ?? node.iterable);
      const found = super.evaluate(node, environment);
      // a loop prepares a place for each pass before it begins
      if (node && this.#lists.has(node)) this.#steps -= STEPS_PER_PASS * sizeOf(found.value);
      if (node && this.#arguments.has(node)) this.#refuseLarge(found.value);
      this.#weigh(found.value, MAKING.has(node?.type));
      return found;
    }

    #spend(characters: number): void {
      this.#characters -= characters;
      if (--this.#steps < 0 || this.#characters < 0) throw tooMuch();
    }

    /** Counts a value, a new one with all that is in it, as often as it is in it. */
    #weigh(value: unknown, isNew: boolean): void {
      const stack = [value];
      for (let x = stack.pop(); x !== undefined; x = stack.pop()) {
        const size = sizeOf(x);
        this.#spend(size);
        this.#longest = Math.max(this.#longest, size);
        if (isNew) for (const part of partsOf(x)) stack.push(part);
      }
    }

    /** Throws where an operation would make much of little: what is repeated, filled up, or put in many places. */
    #refuseLarge(value: unknown): void {
      for (const x of [value, ...partsOf(value)]) {
        const size = typeof x === "number" ? Math.abs(x) : sizeOf(x);
        if ((typeof x === "number" && size > LARGEST) || size * this.#longest > this.#most) throw tooMuch();
      }
    }
  };
}

function sizeOf(x: unknown): number {
  return typeof x === "string" || Array.isArray(x) ? x.length : x instanceof Map ? x.size : 0;
}

/** The values in a list or an object of jinja's. */
function partsOf(x: unknown): unknown[] {
  const found: any[] = Array.isArray(x) ? x : x instanceof Map ? [...x.values()] : [];
  return found.map((part) => part?.value);
}
