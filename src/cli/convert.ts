/** `forwardpass convert`: a model in another format, or with other weights. */
import { mkdir, open, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { convert as convertModel, type Quantization, quantizations } from "../formats/convert/index.ts";
import { InputError } from "../tensor/errors.ts";
import { type Command, deviceOptions, positional, UsageError } from "./command.ts";
import { interruptible } from "./generation.ts";
import { fetchOptions } from "./model.ts";
import { formatBytes, progressBar } from "./progress.ts";

export const convert: Command = {
  name: "convert",
  summary: "write a language model in another format, or with other weights",
  usage: "MODEL OUT [options]",
  positionals: 2,
  options: {
    quant: {
      type: "string",
      value: "TYPE",
      help: `type of the matrices: ${quantizations.join(", ")}; default: as they are`,
    },
    "no-tokenizer": { type: "boolean", help: "leave the vocabulary out" },
    offline: deviceOptions.offline,
  },
  examples: [
    "forwardpass convert stories15M.bin stories15M.gguf --quant q8_0",
    "forwardpass convert SmolLM-folder smollm.gguf --quant q4_k",
    "forwardpass convert model.gguf folder/model.safetensors --quant f16",
  ],
  async run(args, io) {
    const input = positional(args, 0, "MODEL");
    const path = positional(args, 1, "OUT");
    const to = /\.(gguf|safetensors)$/.exec(path)?.[1] as "gguf" | "safetensors" | undefined;
    if (!to) throw new UsageError(`OUT is a .gguf or a .safetensors file, got "${path}"`);
    const quant = args.options["quant"] as Quantization | undefined;
    if (quant && !quantizations.includes(quant))
      throw new UsageError(`--quant takes one of ${quantizations.join(", ")}, got "${quant}"`);
    const bar = progressBar(io, "converting");
    return interruptible(async (signal) => {
      try {
        const options = { ...fetchOptions(args), to, quant, tokenizer: !args.options["no-tokenizer"], signal };
        const model = await convertModel(input, options);
        const made = await mkdir(dirname(path), { recursive: true }).catch((cause: Error) => {
          throw new InputError(`${path}: ${cause.message}`, { cause });
        });
        await write(path, model.chunks, (done) => bar.update({ phase: "read", loaded: done, total: model.size }));
        for (const [name, text] of model.beside) await writeFile(join(dirname(path), name), text);
        bar.done();
        const types = [...model.types].map(([type, n]) => `${n} ${type}`).join(", ");
        const beside = model.beside.size ? `; beside it ${[...model.beside.keys()].join(", ")}` : "";
        const tokenizer = model.tokenizer ? "" : "; without a tokenizer";
        const folder = made === undefined ? "" : `; the folder ${dirname(path)} is new`;
        io.stdout.write(`${path}: ${formatBytes(model.size)}, tensors: ${types}${beside}${tokenizer}${folder}\n`);
        return 0;
      } finally {
        bar.done();
      }
    });
  },
};

/** Under another name until it is whole: MODEL and OUT may be the same file, and Ctrl-C leaves nothing behind. */
async function write(path: string, chunks: AsyncIterable<Uint8Array>, onBytes: (n: number) => void): Promise<void> {
  const partial = `${path}.partial`;
  const fail = (cause: Error): never => {
    throw new InputError(`${path}: ${cause.message}`, { cause });
  };
  const file = await open(partial, "w").catch(fail);
  try {
    let done = 0;
    for await (const chunk of chunks) {
      await file.writeFile(chunk).catch(fail);
      onBytes((done += chunk.length));
    }
    await file.close();
    await rename(partial, path);
  } catch (e) {
    await file.close().catch(() => {});
    await rm(partial, { force: true });
    throw e;
  }
}
