/** A conversation as the text that a chat model was trained on: its jinja template, rendered as transformers does it. */

import { BundleError, InputError, MissingExtraError, said } from "./errors.js";
import type { Message } from "./messages.js";

/** The conversation, up to where the assistant's next message begins; its special tokens are in the text. */
export type ChatTemplate = (messages: readonly Message[]) => string;

/**
 * The template of a source in jinja's language; `where` is named in errors. It throws InputError, with the template's own
 * words, for messages that it does not take.
 *
 * Rejects with BundleError for what is no template, MissingExtraError without `@huggingface/jinja`.
 */
export async function chatTemplate(
  source: string,
  specialTokens: Readonly<Record<string, string>>,
  where: string,
): Promise<ChatTemplate> {
  const { Template } = await importedJinja();
  let template: InstanceType<typeof Template>;
  try {
    template = new Template(source);
  } catch (error) {
    throw new BundleError(`${where}: is no jinja template (${said(error)}). Correct it.`);
  }
  return (messages) => {
    const given = { messages: messages.map((x) => ({ ...x })), tools: null, documents: null };
    try {
      return template.render({ ...specialTokens, ...given, add_generation_prompt: true });
    } catch (error) {
      throw new InputError(`${where} does not take these messages: ${said(error).split("\n")[0]}.`);
    }
  };
}

async function importedJinja() {
  try {
    return await import("@huggingface/jinja");
  } catch (error) {
    throw new MissingExtraError(
      `chat templates need @huggingface/jinja (${said(error)}). Install it: npm install @huggingface/jinja`,
    );
  }
}
