/** Chat messages to a prompt, by the template that comes with the model. */

import { InputError } from "../../tensor/errors.ts";
import { loadPeer } from "../../tensor/peer.ts";
import { decodeUtf8 } from "../../tensor/utf8.ts";
import type { Tokenizer } from "../tokenizers/tokenizer.ts";

export interface ChatMessage {
  readonly role: "system" | "user" | "assistant" | (string & {});
  /** null just beside `tool_calls`, as OpenAI writes it. */
  readonly content: string | null;
  /** As the model's template takes them, as all else that a message has. */
  readonly tool_calls?: readonly unknown[];
}

interface Jinja {
  Template: new (source: string) => { render(values: Record<string, unknown>): string };
}

/**
 * The text that the model was trained to continue with the assistant's answer.
 * @throws MissingPeerError without `@huggingface/jinja`, InputError where the template is wrong or refuses the messages
 */
export async function renderChat(
  template: string,
  messages: readonly ChatMessage[],
  tokenizer: Tokenizer,
): Promise<string> {
  const { Template } = await loadPeer<Jinja>("@huggingface/jinja", "a chat template");
  // Files do not always say of these that they are special.
  const name = (token: number | undefined): string =>
    token === undefined ? "" : (tokenizer.specialName(token) ?? decodeUtf8(tokenizer.bytes(token)));
  const [end] = tokenizer.end;
  try {
    const text = new Template(template).render({
      messages,
      // Templates ask whether they are none, which what is not defined is not.
      tools: null,
      documents: null,
      bos_token: name(tokenizer.begin),
      eos_token: name(end),
      add_generation_prompt: true,
    });
    if (text === "") throw new Error("it makes nothing of them");
    return text;
  } catch (cause) {
    const why = (cause as Error).message;
    throw new InputError(
      `the model's chat template fails on these messages: ${why}. Pass other messages, a text, or { chatTemplate } when loading`,
      { cause },
    );
  }
}

/** @throws InputError unless `v` is a list of messages */
export function checkMessages(v: readonly ChatMessage[]): void {
  if (!Array.isArray(v) || v.length === 0 || !v.every((m) => typeof m === "object" && m !== null))
    throw new InputError("generate: takes a text, messages [{ role, content }, ...], or an array of tokens");
  for (const [i, m] of v.entries())
    for (const part of ["role", "content"] as const) {
      const value: unknown = m[part];
      if (typeof value === "string") continue;
      if (part === "content" && value === null && Array.isArray(m.tool_calls)) continue;
      const got = value === null ? "null" : Array.isArray(value) ? "an array" : typeof value;
      throw new InputError(`generate: the ${part} of message ${i} is a text, got ${got}`);
    }
}
