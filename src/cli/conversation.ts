/** What was said so far, and answers to it. */

import { tokensPerSecond } from "../tasks/language/speed.ts";
import type { ChatMessage, Generation, TextGenerator } from "../tasks/text-generation.ts";
import { type CliIO, onCommandLine } from "./command.ts";
import { dim, obeys, printable } from "./progress.ts";
import { wrapFor, wrapped } from "./wrap.ts";

type Options = NonNullable<Parameters<TextGenerator["stream"]>[1]>;

/** What was said so far: one of the two, as the model takes it. */
interface Said {
  readonly messages: readonly ChatMessage[];
  readonly text: string;
}

interface Turn {
  readonly message: string;
  readonly before: Said;
}

export class Conversation {
  /** With a chat template: messages. */
  private messages: readonly ChatMessage[] = [];
  /** Without one: a text that the model goes on with. */
  private text = "";
  private answering: AbortController | undefined;
  /** The latest message that was answered, and what was said before it. */
  private latest: Turn | undefined;
  last: Generation | undefined;

  constructor(
    private readonly model: TextGenerator,
    private readonly options: Options,
    private readonly io: CliIO,
    private system: string | undefined,
  ) {
    this.reset();
  }

  /** Whether the model answers, or goes on with a text. */
  get chats(): boolean {
    return this.model.chatTemplate !== undefined;
  }

  /** Forgets what was said. With `system`, even an empty one, instructions change as well. */
  reset(system?: string): void {
    if (system !== undefined) this.system = system || undefined;
    this.messages = this.system === undefined ? [] : [{ role: "system", content: this.system }];
    this.text = "";
    this.latest = undefined;
  }

  history(): string {
    const all = this.chats ? this.messages : [];
    if (all.length === 0 && this.text === "") return "nothing was said yet";
    if (!this.chats) return this.text;
    return all.map(({ role, content }) => `${role}: ${content}`).join("\n");
  }

  /** Stops an answer. False where there is none under way. */
  interrupt(): boolean {
    this.answering?.abort();
    return this.answering !== undefined;
  }

  /** Answers the latest message, or goes on with the text before it, once more. False where there is none. */
  async retry(): Promise<boolean> {
    if (this.latest === undefined) return false;
    await this.say(this.latest.message, this.latest.before);
    return true;
  }

  /**
   * An answer to a message, shown as it comes. An empty one goes on with a text.
   * @param before what is said so far, if not all
   */
  async say(message: string, before: Said = { messages: this.messages, text: this.text }): Promise<void> {
    const { model, chats } = this;
    const asked: ChatMessage[] = [...before.messages, { role: "user", content: message }];
    const text = before.text + (before.text !== "" && message !== "" ? "\n" : "") + message;
    this.answering = new AbortController();
    const { signal } = this.answering;
    const stream = model.stream(chats ? asked : text, { ...this.options, signal });
    try {
      await this.show(stream);
    } catch (e) {
      // An answer that was stopped is still part of the conversation; other errors leave it as it was.
      if (!signal.aborted) {
        this.note(onCommandLine((e as Error).message, this.instead(before)));
        if (/context of/.test((e as Error).message) && before.messages.length + before.text.length > 0)
          this.note("/reset begins anew");
        return;
      }
    } finally {
      this.answering = undefined;
    }
    this.last = stream.generation;
    if (chats) this.messages = [...asked, { role: "assistant", content: stream.generation.text }];
    else this.text = text + stream.generation.text;
    this.latest = { message, before };
    this.note(this.remark(stream.generation, signal.aborted));
  }

  /** What helps where the template does not take the messages: often it has no place for instructions. */
  private instead({ messages }: Said): string {
    if (this.system !== undefined) return "/system without a text begins anew without instructions";
    return messages.length > 0 ? "/reset begins anew" : "forwardpass generate continues texts without it";
  }

  private async show(stream: AsyncIterable<string>): Promise<void> {
    const { stdout, stderr } = this.io;
    const isTerminal = stdout.isTTY === true && stderr.isTTY === true;
    const wrap = isTerminal ? wrapFor(stdout) : undefined;
    const clear = isTerminal && obeys(stderr) ? "\r\x1b[K" : "";
    if (clear) stderr.write(dim(this.io, "..."));
    let first = true;
    try {
      for await (const piece of stream) {
        if (first) stderr.write(clear);
        stdout.write(wrap ? wrap.push(printable(first ? piece.trimStart() : piece)) : piece);
        first = false;
      }
    } finally {
      if (first) stderr.write(clear);
      stdout.write(`${wrap?.end() ?? ""}\n`);
    }
  }

  /** Why an answer ended, where that is not plain, and how fast it came. */
  private remark({ finish, ...g }: Generation, stopped: boolean): string {
    const rate = tokensPerSecond(g as Generation);
    const reasons: Record<string, string> = {
      length: "cut off by --max-tokens",
      context: "the context is full: /reset begins anew",
      ...(this.chats || g.tokens.length > 0 ? {} : { end: "the text has come to its end: /reset begins anew" }),
    };
    const why = stopped ? "stopped" : reasons[finish ?? ""];
    const speed = this.io.stderr.isTTY && rate ? `${rate.toFixed(1)} tokens/s` : undefined;
    return [why, speed].filter(Boolean).join(", ");
  }

  private note(text: string): void {
    if (text !== "") this.io.stderr.write(`${dim(this.io, wrapped(this.io, `(${text})`))}\n`);
  }
}
