/** `forwardpass transcribe`: what is said in a recording. */
import { transcription } from "../tasks/transcription.ts";
import { type Command, deviceOptions, positional, UsageError } from "./command.ts";
import { interruptible } from "./interruptible.ts";
import { opened } from "./model.ts";
import { formatMs, printable } from "./progress.ts";

export const transcribe: Command = {
  name: "transcribe",
  summary: "write down what is said in a recording",
  usage: "FILE.wav --model FOLDER [options]",
  options: {
    model: { type: "string", short: "m", value: "FOLDER", help: "a folder of Whisper: safetensors or ONNX" },
    language: {
      type: "string",
      short: "l",
      value: "NAME",
      help: "de, German, ...; default: what its files say or it hears",
    },
    translate: { type: "boolean", help: "into English" },
    ...deviceOptions,
    json: { type: "boolean", help: "print text, segments and statistics as JSON" },
  },
  examples: ["forwardpass transcribe speech.wav --model whisper-tiny/ --language en"],
  async run(args, io) {
    const path = positional(args, 0, "FILE.wav");
    const folder = args.options["model"] as string | undefined;
    if (folder === undefined) throw new UsageError("--model is missing: a folder of Whisper");
    const json = args.options["json"] === true;
    using model = await opened(args, io, (options) => transcription(folder, options));
    return await interruptible(async (signal) => {
      const result = await model.transcribe(path, {
        language: args.options["language"] as string | undefined,
        task: args.options["translate"] ? "translate" : undefined,
        signal,
        onText: json ? undefined : (piece) => io.stdout.write(io.stdout.isTTY ? printable(piece) : piece),
      });
      const { seconds, totalMs, firstTokenMs, tokens, language } = result;
      const first = tokens.length > 0 ? firstTokenMs : undefined;
      if (json) io.stdout.write(`${JSON.stringify({ ...result, firstTokenMs: first })}\n`);
      else io.stdout.write(result.text === "" ? "(nothing is said)\n" : "\n");
      const rate = (tokens.length / Math.max(totalMs - firstTokenMs, 1)) * 1000;
      const facts = [
        `${seconds.toFixed(1)} s of sound in ${formatMs(totalMs)}`,
        ...(language ? [`language ${language}`] : []),
        ...(first === undefined ? [] : [`first token after ${formatMs(first)}`]),
        ...(tokens.length > 1 ? [`${tokens.length} tokens at ${rate.toFixed(1)} tokens/s`] : []),
      ];
      io.stderr.write(`${facts.join(", ")} on ${model.device}\n`);
      return 0;
    });
  },
};
