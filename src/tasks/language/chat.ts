/** Chat messages to a prompt, by the template that comes with the model. */

import { InputError } from "../../tensor/errors.ts";
import { loadPeer } from "../../tensor/peer.ts";
import type { Tokenizer } from "../tokenizers/tokenizer.ts";

export interface ChatMessage {
  readonly role: "system" | "user" | "assistant" | (string & {});
  readonly content: string;
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
  const name = (token: number | undefined): string => (token === undefined ? "" : (tokenizer.specialName(token) ?? ""));
  const [end] = tokenizer.end;
  try {
    const text = new Template(template).render({
      messages,
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
    for (const part of ["role", "content"] as const)
      if (typeof m[part] !== "string")
        throw new InputError(
          `generate: the ${part} of message ${i} is a text, got ${Array.isArray(m[part]) ? "an array" : typeof m[part]}`,
        );
}
