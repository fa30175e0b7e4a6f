/** A conversation as the text that a chat model was trained on: its jinja template, rendered as transformers does it. */

import { boundedInterpreter, range } from "./chat_bounds.js";
import { BundleError, InputError, MissingExtraError, said } from "./errors.js";
import type { Message } from "./messages.js";

/** Of a template's source. */
const MOST_CHARACTERS = 60_000;

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
  const jinja = await importedJinja();
  if (source.length > MOST_CHARACTERS) {
    throw new BundleError(`${where}: has more than ${MOST_CHARACTERS} characters. Shorten it.`);
  }
  let template: InstanceType<typeof jinja.Template>;
  try {
    template = new jinja.Template(source);
  } catch (error) {
    throw new BundleError(`${where}: is no jinja template (${said(error)}). Correct it.`);
  }
  const Interpreter = boundedInterpreter(jinja.Interpreter);
  const date = new jinja.Template("{{ strftime_now(format) }}");
  const globals = {
    true: true, false: false, none: null, True: true, False: false, None: null, range,
    raise_exception(message: string) {
      throw new Error(message);
    },
    strftime_now: (format: string) => date.render({ format }),
  }; // prettier-ignore
  return (messages) => {
    const given = { messages: messages.map((x) => ({ ...x })), tools: null, documents: null };
    const size = messages.reduce((sum, x) => sum + x.role.length + x.content.length, 0);
    const environment = new jinja.Environment();
    const named = { ...globals, ...specialTokens, ...given, add_generation_prompt: true };
    for (const [name, value] of Object.entries(named)) environment.set(name, value);
    try {
      return new Interpreter(environment, size).run(template.parsed).value as string;
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
