/** The messages of a conversation: checked as they come, and dropped from the oldest turn on. */

import { isObject } from "./checked.js";
import { InputError } from "./errors.js";
import { shown } from "./shown.js";

/** One of a conversation. */
export interface Message {
  /** `"system"`, `"user"` or `"assistant"`. */
  readonly role: string;
  readonly content: string;
}

/** Roles whose messages make up the turns; what stands before them is pinned. */
const SPEAKERS = ["user", "assistant"];

/** What a conversation begins with; throws InputError for what is no message, and for two system texts. */
export function opening(system: unknown, messages: unknown): Message[] {
  if (!Array.isArray(messages)) {
    throw new InputError(`messages: is ${shown(messages)}. Pass a list of { role, content }.`);
  }
  const found = messages.map((message, i) => checkedMessage(message, `message ${i}`));
  if (system == null) return found;
  if (found[0]?.role === "system") {
    throw new InputError("system: the messages begin with a system text already. Pass one of them.");
  }
  return [{ role: "system", content: checkedContent(system, "system") }, ...found];
}

/** A string; throws InputError for anything else. */
export function checkedContent(content: unknown, where: string): string {
  if (typeof content === "string") return content;
  throw new InputError(`${where}: is ${shown(content)}. Pass a string.`);
}

/**
 * The same without the oldest turn, without the oldest two, … until one is left; pinned messages stay.
 *
 * A turn is a user's message with all that follows it until the next one.
 */
export function shortened(messages: readonly Message[]): Message[][] {
  const first = messages.findIndex((message) => SPEAKERS.includes(message.role));
  const pinned = first < 0 ? messages.length : first;
  const turns = messages.flatMap((message, i) => (message.role === "user" && i > pinned ? [i] : []));
  return turns.map((start) => [...messages.slice(0, pinned), ...messages.slice(start)]);
}

function checkedMessage(message: unknown, where: string): Message {
  if (!isObject(message) || Object.keys(message).sort().join() !== "content,role") {
    throw new InputError(`${where}: is ${shown(message)}. Pass { role, content }.`);
  }
  return {
    role: checkedContent(message["role"], `${where}: role`),
    content: checkedContent(message["content"], `${where}: content`),
  };
}
