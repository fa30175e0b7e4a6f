/** Errors that say what happened, where, and what to do next; named as those of the Python runtime. */

/** Base of every error that this package throws on purpose. */
export class EdgetuneError extends Error {
  override name = "EdgetuneError";
}

/** A folder that is not a whole bundle of a known version; names the file. */
export class BundleError extends EdgetuneError {
  override name = "BundleError";
}

/** Files that no trusted key has signed, or that are not what it signed. */
export class SignatureError extends BundleError {
  override name = "SignatureError";
}

/** An adapter that is not there, is there already, or does not fit the graph. */
export class AdapterError extends EdgetuneError {
  override name = "AdapterError";
}

/** An adapter that was tuned on another base; names both fingerprints. */
export class BaseMismatchError extends AdapterError {
  override name = "BaseMismatchError";
}

/** More positions are asked for than the base can hold; names the numbers. */
export class ContextLengthError extends EdgetuneError {
  override name = "ContextLengthError";
}

/** A bundle was asked for a task that it was not made for. */
export class TaskError extends EdgetuneError {
  override name = "TaskError";
}

/** A text that is neither a string nor token ids of the base's vocabulary. */
export class InputError extends EdgetuneError {
  override name = "InputError";
}

/** An option outside its range, such as a negative temperature. */
export class OptionError extends EdgetuneError {
  override name = "OptionError";
}

/** A conversation whose turn is still being written was given another. */
export class ConversationError extends EdgetuneError {
  override name = "ConversationError";
}

/** Something was asked for that needs an optional package, such as a build of ONNX Runtime; names it. */
export class MissingExtraError extends EdgetuneError {
  override name = "MissingExtraError";
}

/** What an error of someone else's says. */
export function said(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
