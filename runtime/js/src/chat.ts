/**
 * Conversations with chat models, apart from the rest since most apps hold none. It needs `@huggingface/jinja`.
 *
 *     const conversation = await chat(model, { system: "Be brief." });
 *     (await conversation.send("Who are you?")).text;
 */

export { chat, type ChatOptions, Conversation, type Message } from "./conversation.js";
