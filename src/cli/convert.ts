/** `forwardpass convert`: a model in another format, or with other weights. */
import type { Stats } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { convert as convertModel, type Quantization, quantizations } from "../formats/convert/index.ts";
import { makeFolder } from "../formats/sources/store-files.ts";
import { InputError } from "../tensor/errors.ts";
import { type CliIO, type Command, deviceOptions, positional, UsageError } from "./command.ts";
import { interruptible } from "./interruptible.ts";
import { fetchOptions } from "./model.ts";
import { formatBytes, progressBar } from "./progress.ts";
import { replaceFiles } from "./replace-files.ts";

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
        const chunks = shown(model.chunks, (loaded) => bar.update({ phase: "read", loaded, total: model.size }));
        const beside = [...model.beside].map(([name, text]): [string, string[]] => [join(dirname(path), name), [text]]);
        // The model last: one that is there can be read.
        await replaceFiles(new Map<string, string[] | typeof chunks>([...beside, [path, chunks]]));
        bar.done();
        const types = [...model.types].map(([type, n]) => `${n} ${type}`).join(", ");
        const others = model.beside.size ? `; beside it ${[...model.beside.keys()].join(", ")}` : "";
        const tokenizer = model.tokenizer ? "" : "; without a tokenizer";
        const folder = made === undefined ? "" : `; the folder ${dirname(path)} is new`;
        io.stdout.write(`${path}: ${formatBytes(model.size)}, tensors: ${types}${others}${tokenizer}${folder}\n`);
        return 0;
      } finally {
        loading.done();
        bar.done();
      }
    });
  },
};

async function* shown(chunks: AsyncIterable<Uint8Array>, onBytes: (n: number) => void): AsyncGenerator<Uint8Array> {
  let done = 0;
  for await (const chunk of chunks) {
    yield chunk;
    onBytes((done += chunk.length));
  }
}

const statOf = (path: string): Promise<Stats | undefined> => stat(path).catch(() => undefined);

/** What would be in vain, before anything is read. */
async function checkPlace(path: string): Promise<void> {
  const there = await statOf(path);
  if (there?.isDirectory()) throw new UsageError(`OUT is a folder, "${path}": name a file in it`);
  if (there && !there.isFile())
    throw new UsageError(`OUT is a pipe or a device, "${path}": name a regular file, or one that is not there yet`);
  const index = join(dirname(path), "model.safetensors.index.json");
  if (basename(path) === "model.safetensors" && (await statOf(index)))
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

/** Files of the folder that are another model's stay, and what is no file. */
async function checkBeside(path: string, beside: ReadonlyMap<string, string>): Promise<void> {
  for (const [name, text] of beside) {
    const there = join(dirname(path), name);
    const old = await statOf(there);
    if (!old) continue;
    if (!old.isFile())
      throw new InputError(`${there}: there already, and no regular file. Choose another folder for OUT, or remove it`);
    const said = await readFile(there, "utf8").catch((cause: Error) => {
      throw new InputError(`${there}: ${cause.message}`, { cause });
    });
    if (!isDeepStrictEqual(saidBy(said), saidBy(text)))
      throw new InputError(
        `${there}: there already, and of another model. Choose another folder for OUT, or remove it`,
      );
  }
}

/** What ends it besides Ctrl-C: the exit code, and what is said. SIGHUP comes when the terminal is closed. */
const endings = { SIGTERM: [143, "terminated"], SIGHUP: [129, "hung up"] } as const;
const endedBy = Object.keys(endings) as (keyof typeof endings)[];

/** As `interruptible`, with the signals of `endings` besides: they leave no half file behind either. */
async function stoppable(io: CliIO, work: (signal: AbortSignal) => Promise<number>): Promise<number> {
  let ended: readonly [number, string] | undefined;
  const end = (name: NodeJS.Signals): void => {
    ended = endings[name as keyof typeof endings];
  };
  for (const name of endedBy) process.once(name, end);
  try {
    return await interruptible(work, ["SIGINT", ...endedBy]);
  } catch (e) {
    if (!ended) throw e;
    io.stderr.write(`${ended[1]}\n`);
    return ended[0];
  } finally {
    for (const name of endedBy) process.off(name, end);
  }
}
