/** `forwardpass convert`: a model in another format, or with other weights. */
import { open, readFile, readlink, realpath, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { convert as convertModel, type Quantization, quantizations } from "../formats/convert/index.ts";
import { makeFolder } from "../formats/sources/store-files.ts";
import { InputError } from "../tensor/errors.ts";
import { type CliIO, type Command, deviceOptions, positional, UsageError } from "./command.ts";
import { interruptible } from "./interruptible.ts";
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
    await checkPlace(path);
    const loading = progressBar(io, "loading");
    const bar = progressBar(io, "converting");
    return stoppable(io, async (signal) => {
      try {
        const model = await convertModel(input, {
          ...fetchOptions(args),
          to,
          quant,
          tokenizer: !args.options["no-tokenizer"],
          signal,
          onProgress: (p) => loading.update(p),
        });
        loading.done();
        await checkBeside(path, model.beside);
        const made = await makeFolder(dirname(path)).catch((cause: Error) => {
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
        loading.done();
        bar.done();
      }
    });
  },
};

const exists = async (path: string): Promise<boolean> => (await stat(path).catch(() => undefined)) !== undefined;

/** What would be in vain, before anything is read. */
async function checkPlace(path: string): Promise<void> {
  if ((await stat(path).catch(() => undefined))?.isDirectory())
    throw new UsageError(`OUT is a folder, "${path}": name a file in it`);
  const index = join(dirname(path), "model.safetensors.index.json");
  if (basename(path) === "model.safetensors" && (await exists(index)))
    throw new InputError(
      `${index}: a folder with it is read by it, not by ${basename(path)}. Choose another folder, or remove it with the files that it names`,
    );
}

/** What is said of a model without the type of its weights, which another conversion of it changes. */
function saidBy(text: string): unknown {
  try {
    const { torch_dtype: _, dtype: __, ...said } = JSON.parse(text) as Record<string, unknown>;
    return said;
  } catch {
    return text;
  }
}

/** Files of the folder that are another model's stay. */
async function checkBeside(path: string, beside: ReadonlyMap<string, string>): Promise<void> {
  for (const [name, text] of beside) {
    const there = join(dirname(path), name);
    const old = await readFile(there, "utf8").catch(() => undefined);
    if (old !== undefined && !isDeepStrictEqual(saidBy(old), saidBy(text)))
      throw new InputError(
        `${there}: there already, and of another model. Choose another folder for OUT, or remove it`,
      );
  }
}

/** As `interruptible`, with SIGTERM besides: that leaves no half file behind either. */
async function stoppable(io: CliIO, work: (signal: AbortSignal) => Promise<number>): Promise<number> {
  let terminated = false;
  const terminate = (): void => {
    terminated = true;
  };
  process.once("SIGTERM", terminate);
  try {
    return await interruptible(work, ["SIGINT", "SIGTERM"]);
  } catch (e) {
    if (!terminated) throw e;
    io.stderr.write("terminated\n");
    return 143;
  } finally {
    process.off("SIGTERM", terminate);
  }
}

/** Where a link leads, through others too: there may be nothing yet. */
async function behindLinks(path: string, most = 40): Promise<string> {
  const link = await readlink(path).catch(() => undefined);
  if (link === undefined) return path;
  if (most === 0) throw new InputError(`${path}: links lead in a circle`);
  const folder = await realpath(dirname(path));
  return behindLinks(resolve(folder, link), most - 1);
}

/** Under another name until it is whole: MODEL and OUT may be the same file, and who stops it finds nothing left behind. */
async function write(path: string, chunks: AsyncIterable<Uint8Array>, onBytes: (n: number) => void): Promise<void> {
  // A link stays one.
  const target = await behindLinks(path);
  const partial = `${target}.partial`;
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
    await rename(partial, target);
  } catch (e) {
    await file.close().catch(() => {});
    await rm(partial, { force: true });
    throw e;
  }
}
