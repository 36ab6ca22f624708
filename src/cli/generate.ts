/** `forwardpass generate`: a language model continues a text. */
import { tokensPerSecond } from "../tasks/language/speed.ts";
import { type Generation, type JsonSchema, textGeneration } from "../tasks/text-generation.ts";
import { InputError } from "../tensor/errors.ts";
import {
  type Arguments,
  type CliIO,
  type Command,
  deviceOptions,
  positional,
  UsageError,
  wholeNumber,
} from "./command.ts";
import { generationOptions, openingOf, samplingOf } from "./generation.ts";
import { interruptible } from "./interruptible.ts";
import { opened, standardInput } from "./model.ts";
import { counted, formatMs, printable } from "./progress.ts";
import { readNamed } from "./system.ts";

export const generate: Command = {
  name: "generate",
  summary: "continue a text with a language model",
  usage: 'MODEL "PROMPT" [options]',
  positionals: 2,
  options: {
    ...generationOptions,
    chat: { type: "boolean", help: "take the prompt as a user's message, in the model's chat template" },
    schema: { type: "string", value: "FILE", help: "answer in JSON that this JSON schema allows" },
    ...deviceOptions,
    json: { type: "boolean", help: "print text, tokens and statistics as JSON" },
  },
  examples: [
    'forwardpass generate stories15M.bin "Once upon a time" --temperature 0',
    'forwardpass generate model.gguf "The capital of France is" --max-tokens 20 --seed 1',
    "forwardpass generate model.gguf - --chat < question.txt",
  ],
  async run(args, io) {
    const path = positional(args, 0, "MODEL");
    const sampling = samplingOf(args);
    const maxTokens = wholeNumber(args, "max-tokens", 256, 0);
    const opening = openingOf(args);
    const schema = await schemaOf(args.options["schema"] as string | undefined);
    const prompt = await promptOf(args.positionals[1], io);
    using model = await openModel(path, opening, args, io);
    return await interruptible(async (signal) => {
      const given = args.options["chat"] ? [{ role: "user", content: prompt }] : prompt;
      const stream = model.stream(given, { ...sampling, maxTokens, schema, signal });
      if (args.options["json"]) {
        for await (const _ of stream);
        io.stdout.write(`${JSON.stringify({ prompt, ...jsonOf(stream.generation) })}\n`);
        return 0;
      }
      // A continuation reads best after what it continues, which waits for it: there may be an error in its place.
      const answers = args.options["chat"] || schema !== undefined;
      let before = answers ? "" : prompt;
      let written = false;
      const write = (piece: string): void => {
        io.stdout.write(io.stdout.isTTY ? printable(before + piece) : before + piece);
        before = "";
        written = true;
      };
      try {
        for await (const piece of stream) write(piece);
        if (!written) write("");
      } finally {
        if (written) io.stdout.write("\n");
      }
      io.stderr.write(`${statistics(stream.generation)} on ${model.decoder.session.device.name}\n`);
      const why = answers && cut[stream.generation.finish ?? ""];
      if (why) io.stderr.write(`(${why}${schema === undefined ? "" : ": the JSON is not whole"})\n`);
      return 0;
    });
  },
};

/** Why an answer is not whole. */
const cut: Readonly<Record<string, string>> = {
  length: "cut off by --max-tokens",
  context: "cut off by the end of the context",
};

/** Of the command line, or of the standard input: for `-`, and where something is piped in and nothing else is there. */
async function promptOf(given: string | undefined, io: CliIO): Promise<string> {
  if (given !== undefined && given !== "-") return given;
  const isPiped = given === "-" || !io.stdin.isTTY;
  // The line's end is that of a file or of `echo`, and not part of the text.
  const text = isPiped ? (await standardInput(io)).replace(/\r?\n$/, "") : "";
  if (text === "" && given === undefined)
    throw new UsageError("PROMPT is missing: a text in quotes, or - for the standard input");
  return text;
}

async function schemaOf(path: string | undefined): Promise<JsonSchema | undefined> {
  if (path === undefined) return undefined;
  const bytes = await readNamed(path, "--schema");
  let schema: JsonSchema;
  try {
    schema = JSON.parse(new TextDecoder().decode(bytes)) as JsonSchema;
  } catch (cause) {
    throw new InputError(`--schema: ${path} is not JSON: ${(cause as Error).message}`, { cause });
  }
  // What it can't say is told before a model is loaded for it.
  (await import("../tasks/language/json-schema.ts")).schemaGrammar(schema);
  return schema;
}

/** A language model as the options say, with progress on a terminal. */
export const openModel = (path: string, opening: ReturnType<typeof openingOf>, args: Arguments, io: CliIO) =>
  opened(args, io, (options) => textGeneration(path, { ...options, ...opening }));

export function statistics(g: Generation): string {
  const rate = tokensPerSecond(g);
  const reused = g.reusedTokens ? `, ${g.reusedTokens} of them known` : "";
  return [
    `${counted(g.promptTokens, "prompt token")}${reused}`,
    ...(g.tokens.length > 0 ? [`first token after ${formatMs(g.firstTokenMs)}`] : []),
    `${counted(g.tokens.length, "token")}${rate ? ` at ${rate.toFixed(rate < 10 ? 2 : 1)} tokens/s` : ""}`,
  ].join(", ");
}

const jsonOf = (g: Generation): object => ({
  text: g.text,
  tokens: g.tokens,
  finish: g.finish,
  promptTokens: g.promptTokens,
  firstTokenMs: g.tokens.length > 0 ? g.firstTokenMs : undefined,
  tokensPerSecond: tokensPerSecond(g),
});
