/** `forwardpass chat`: a conversation with a language model. */
import { createInterface } from "node:readline";
import { type ChatMessage, type Generation, type TextGenerator, tokensPerSecond } from "../tasks/text-generation.ts";
import { type CliIO, type Command, deviceOptions, positional, wholeNumber } from "./command.ts";
import { openModel, statistics } from "./generate.ts";
import { generationOptions, samplingOf } from "./generation.ts";

const help = `  /help          this text
  /reset         forget the conversation
  /history       what was said so far
  /stats         speed and size of the latest answer
  /system TEXT   begin anew with instructions for the model
  /quit          leave (or Ctrl-D)
Ctrl-C stops an answer; at the prompt it leaves.
`;

export const chat: Command = {
  name: "chat",
  summary: "talk with a language model",
  usage: "MODEL [options]",
  options: {
    system: { type: "string", value: "TEXT", help: "instructions for the model" },
    ...generationOptions,
    ...deviceOptions,
  },
  examples: ["forwardpass chat tinyllama.gguf", 'forwardpass chat model.gguf --system "Answer briefly." --seed 1'],
  async run(args, io) {
    const sampling = samplingOf(args);
    const maxTokens = wholeNumber(args, "max-tokens", 512, 1);
    using model = await openModel(positional(args, 0, "MODEL"), args, io);
    const system = args.options["system"] as string | undefined;
    const conversation = new Conversation(model, { ...sampling, maxTokens }, io, system);
    if (model.chatTemplate === undefined)
      io.stderr.write("This model has no chat template: it continues what you write.\n");
    io.stderr.write("/help for help\n");
    await conversation.run();
    return 0;
  },
};

class Conversation {
  private messages: ChatMessage[] = [];
  private last: Generation | undefined;
  private answering: AbortController | undefined;

  constructor(
    private readonly model: TextGenerator,
    private readonly options: Parameters<TextGenerator["stream"]>[1],
    private readonly io: CliIO,
    private system: string | undefined,
  ) {
    this.reset();
  }

  /** Until the input ends, /quit, or Ctrl-C at the prompt. */
  async run(): Promise<void> {
    const { stdin, stderr } = this.io;
    const terminal = stdin.isTTY === true;
    const lines = createInterface({ input: stdin, output: terminal ? stderr : undefined, terminal, prompt: "> " });
    const interrupt = (): void => {
      if (this.answering) this.answering.abort();
      else lines.close();
    };
    // A terminal in line mode gives Ctrl-C to the interface, otherwise it is a signal.
    lines.on("SIGINT", interrupt);
    process.on("SIGINT", interrupt);
    try {
      if (terminal) lines.prompt();
      for await (const line of lines) {
        if (line.trim() === "/quit") break;
        if (line.trim() !== "") await this.handle(line.trim());
        if (terminal) lines.prompt();
      }
    } finally {
      process.off("SIGINT", interrupt);
      lines.close();
    }
  }

  private async handle(line: string): Promise<void> {
    const { stderr } = this.io;
    if (!line.startsWith("/")) {
      await this.answer(line);
      return;
    }
    const [command, ...rest] = line.split(" ");
    switch (command) {
      case "/help":
        stderr.write(help);
        break;
      case "/reset":
        this.reset();
        stderr.write("forgotten\n");
        break;
      case "/system":
        this.system = rest.join(" ") || undefined;
        this.reset();
        stderr.write("a new conversation\n");
        break;
      case "/history":
        for (const { role, content } of this.messages) stderr.write(`${role}: ${content}\n`);
        break;
      case "/stats":
        stderr.write(this.last ? `${statistics(this.last)}\n` : "nothing was answered yet\n");
        break;
      default:
        stderr.write(`${command} is no command; /help lists them\n`);
    }
  }

  private reset(): void {
    this.messages = this.system === undefined ? [] : [{ role: "system", content: this.system }];
  }

  private async answer(text: string): Promise<void> {
    const { model, io } = this;
    const asked: ChatMessage[] = [...this.messages, { role: "user", content: text }];
    this.answering = new AbortController();
    const { signal } = this.answering;
    const stream = model.stream(model.chatTemplate === undefined ? text : asked, { ...this.options, signal });
    try {
      for await (const piece of stream) io.stdout.write(piece);
      io.stdout.write("\n");
      if (stream.generation.finish === "length" || stream.generation.finish === "context")
        io.stderr.write(
          `(cut off: ${stream.generation.finish === "length" ? "--max-tokens" : "the context is full"})\n`,
        );
    } catch (e) {
      // An answer that was stopped is still part of the conversation; other errors are told and leave it as it was.
      io.stdout.write("\n");
      if (!signal.aborted) {
        io.stderr.write(`${(e as Error).message}\n`);
        return;
      }
    } finally {
      this.answering = undefined;
      this.last = stream.generation;
    }
    this.messages = [...asked, { role: "assistant", content: stream.generation.text }];
    if (io.stderr.isTTY && tokensPerSecond(this.last))
      io.stderr.write(`\x1b[2m${tokensPerSecond(this.last).toFixed(1)} tokens/s\x1b[0m\n`);
  }
}
