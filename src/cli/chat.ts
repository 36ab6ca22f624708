/** `forwardpass chat`: a conversation with a language model. */
import { createInterface, type Interface } from "node:readline";
import { type CliIO, type Command, deviceOptions, positional, UsageError, wholeNumber } from "./command.ts";
import { Conversation } from "./conversation.ts";
import { openModel, statistics } from "./generate.ts";
import { generationOptions, openingOf, samplingOf } from "./generation.ts";
import { historySize, readHistory, writeHistory } from "./history.ts";
import { dim, formatCount, obeys } from "./progress.ts";
import { wrapped } from "./wrap.ts";

const help = `  /help          this text
  /reset         forget the conversation
  /retry         answer the last message again
  /history       what was said so far
  /stats         speed and size of the latest answer
  /system TEXT   begin anew with instructions; without TEXT, with none
  /quit          leave (or Ctrl-D)
What you paste is one message, sent with Enter. A line that ends with \\ goes on in the next one; """ begins and ends a text of several lines.
Ctrl-C stops an answer. Arrow keys bring back what you typed, also in earlier sessions.
`;

const noInstructions =
  "the model has no chat template that instructions could stand in; write them at the beginning of the text";
/** Tokens, unless --max-tokens says otherwise. */
const answerLength = 512;

export const chat: Command = {
  name: "chat",
  summary: "talk with a language model",
  usage: "MODEL [options]",
  options: {
    system: { type: "string", value: "TEXT", help: "instructions for the model" },
    ...generationOptions,
    "max-tokens": { ...generationOptions["max-tokens"], help: `length of the answer; default ${answerLength}` },
    ...deviceOptions,
  },
  examples: ["forwardpass chat tinyllama.gguf", 'forwardpass chat model.gguf --system "Answer briefly." --seed 1'],
  async run(args, io) {
    const sampling = samplingOf(args);
    const maxTokens = wholeNumber(args, "max-tokens", answerLength, 1);
    const opening = openingOf(args);
    const path = positional(args, 0, "MODEL");
    using model = await openModel(path, opening, args, io);
    const system = args.options["system"] as string | undefined;
    if (system !== undefined && model.chatTemplate === undefined)
      throw new UsageError(`--system does nothing here: ${noInstructions}`);
    const conversation = new Conversation(model, { ...sampling, maxTokens }, io, system);
    const { architecture, contextLength } = model.decoder.config;
    const name = path.split(/[\\/]/).filter(Boolean).at(-1);
    const facts = [architecture, `context of ${formatCount(contextLength)} tokens`, model.decoder.session.device.name];
    io.stderr.write(`${name} ${dim(io, `(${facts.join(", ")})`)}\n`);
    if (!conversation.chats)
      io.stderr.write("No chat template: the model goes on with what you write; Enter alone, further.\n");
    io.stderr.write(`${dim(io, "/help for help, Ctrl-D to leave")}\n`);
    return await new Terminal(conversation, io, io.stdin.isTTY ? await readHistory() : []).run();
  },
};

/** Asks a terminal to say where pasted text begins and ends, and not to. */
const bracketedPaste = { on: "\x1b[?2004h", off: "\x1b[?2004l" };

/** Lines to messages and commands. */
class Terminal {
  private readonly lines: Interface;
  private readonly isTerminal: boolean;
  /** Lines of a message that goes on. */
  private begun: string[] = [];
  private quoted = false;
  private pasting = false;
  private closed = false;
  private terminated = false;
  /** Of each line that was not read yet, whether it ended within a paste. */
  private readonly pasted: boolean[] = [];

  constructor(
    private readonly conversation: Conversation,
    private readonly io: CliIO,
    private history: string[],
  ) {
    const { stdin, stderr } = io;
    const terminal = stdin.isTTY === true;
    this.isTerminal = terminal;
    const output = terminal ? stderr : undefined;
    this.lines = createInterface({ input: stdin, output, terminal, historySize, history: [...history] });
    this.lines.on("history", (latest: string[]) => {
      this.history = latest;
    });
    this.lines.on("close", () => {
      this.closed = true;
    });
    this.lines.on("line", () => this.pasted.push(this.pasting));
    if (terminal)
      stdin.on("keypress", (_, key?: { name?: string }) => {
        if (key?.name?.startsWith("paste-")) this.pasting = key.name === "paste-start";
      });
  }

  /** Until the input ends, /quit, or SIGTERM, which leaves a terminal as it was too. Returns the exit code. */
  async run(): Promise<number> {
    const { lines } = this;
    const interrupt = (): void => this.interrupt();
    const terminate = (): void => {
      this.terminated = true;
      this.conversation.interrupt();
      lines.close();
    };
    let left = false;
    // A terminal in line mode gives Ctrl-C to the interface, otherwise it is a signal.
    lines.on("SIGINT", interrupt);
    process.on("SIGINT", interrupt);
    process.once("SIGTERM", terminate);
    const pastes = this.isTerminal && obeys(this.io.stderr);
    try {
      if (pastes) this.io.stderr.write(bracketedPaste.on);
      this.prompt();
      for await (const line of lines) {
        if (this.terminated) break;
        const message = this.completed(line, this.pasted.shift());
        if (message !== undefined) {
          if (message.trim() === "/quit") {
            left = true;
            break;
          }
          await this.handle(message);
        }
        this.prompt();
      }
      // What has no end but that of a file is a message all the same.
      if (!this.isTerminal && !left && !this.terminated && this.begun.length > 0)
        await this.handle(this.begun.join("\n").trim());
      // Ctrl-D leaves the cursor behind the prompt.
      if (this.isTerminal && !left) this.io.stderr.write("\n");
    } finally {
      process.off("SIGINT", interrupt);
      process.off("SIGTERM", terminate);
      lines.close();
      if (pastes) this.io.stderr.write(bracketedPaste.off);
      if (this.isTerminal) await writeHistory(this.history);
    }
    if (!this.terminated) return 0;
    this.io.stderr.write("terminated\n");
    return 143;
  }

  private prompt(): void {
    // A prompt after the end, which came during an answer, would have the program wait for more.
    if (!this.isTerminal || this.closed) return;
    this.lines.setPrompt(this.promptText());
    this.lines.prompt();
  }

  private promptText(): string {
    return this.begun.length > 0 || this.quoted ? "... " : "> ";
  }

  /** Stops the answer, else drops what is typed. Without a terminal it ends the program. */
  private interrupt(): void {
    const { lines, conversation, io } = this;
    if (conversation.interrupt()) return;
    if (!this.isTerminal) {
      lines.close();
      return;
    }
    const isEmpty = lines.line === "" && this.begun.length === 0 && !this.quoted;
    io.stderr.write(isEmpty ? "\n(Ctrl-D or /quit leaves)\n" : "\n");
    this.begun = [];
    this.quoted = false;
    if (lines.line === "") {
      this.prompt();
      return;
    }
    // To the end of the line, and back over all of it, which draws it anew.
    lines.setPrompt(this.promptText());
    lines.write(null, { ctrl: true, name: "e" });
    lines.write(null, { ctrl: true, name: "u" });
  }

  /** The message that a line completes. A line within a paste completes none. */
  private completed(line: string, pasted = false): string | undefined {
    const quote = '"""';
    if (this.quoted) {
      const end = line.trimEnd().endsWith(quote);
      this.begun.push(end ? line.trimEnd().slice(0, -quote.length) : line);
      if (!end) return undefined;
    } else if (line.trimStart().startsWith(quote)) {
      this.quoted = true;
      const rest = line.trimStart().slice(quote.length);
      return rest === "" ? undefined : this.completed(rest);
    } else if (pasted) {
      this.begun.push(line);
      return undefined;
    } else if (line.endsWith("\\")) {
      this.begun.push(line.slice(0, -1));
      return undefined;
    } else this.begun.push(line);
    const message = this.begun.join("\n").trim();
    this.begun = [];
    this.quoted = false;
    return message;
  }

  private async handle(message: string): Promise<void> {
    const { conversation } = this;
    const { stderr } = this.io;
    if (!message.startsWith("/")) {
      if (message !== "" || !conversation.chats) await conversation.say(message);
      return;
    }
    const [command, ...rest] = message.split(" ");
    switch (command) {
      case "/help":
        stderr.write(wrapped(this.io, help));
        break;
      case "/reset":
        conversation.reset();
        stderr.write("forgotten\n");
        break;
      case "/retry":
        if (!(await conversation.retry())) stderr.write("nothing was asked yet\n");
        break;
      case "/system":
        if (conversation.chats) {
          conversation.reset(rest.join(" "));
          stderr.write("a new conversation\n");
        } else stderr.write(wrapped(this.io, `nothing has changed: ${noInstructions}\n`));
        break;
      case "/history":
        stderr.write(wrapped(this.io, `${conversation.history()}\n`));
        break;
      case "/stats":
        stderr.write(
          wrapped(this.io, conversation.last ? `${statistics(conversation.last)}\n` : "nothing was answered yet\n"),
        );
        break;
      default:
        stderr.write(`${command} is no command; /help lists them\n`);
    }
  }
}
