/** Folders as sources: the file in them that is the model. */
import { InputError } from "../../tensor/errors.ts";
import type { ByteSource } from "../source.ts";

const indexName = "model.safetensors.index.json";
const weightsName = "model.safetensors";

/** What a folder of a model is called after, the likeliest first: full names, then a file that is the only one of its kind. */
const names = [
  indexName,
  weightsName,
  "model.onnx",
  "onnx/model.onnx",
  "model.gguf",
  ...["_fp16", "_quantized", "_int8", "_uint8", "_q8", "_q4", "_q4f16"].map((variant) => `onnx/model${variant}.onnx`),
];
const kinds = [".safetensors", ".gguf", ".onnx"];
/** Of a model in several files, of which the first leads to the others. */
const laterPart = /-(?!00001)\d{5}-of-\d{5}\.gguf$/i;

/** Files to try in a folder that can't be listed. */
const usualNames: readonly string[] = names.slice(0, 3);

/** Undefined for what isn't there. @throws what else keeps it from being opened */
export async function ifThere(opened: Promise<ByteSource>): Promise<ByteSource | undefined> {
  try {
    const source = await opened;
    return (await isPage(source)) ? undefined : source;
  } catch (e) {
    if (e instanceof InputError && e.notFound) return undefined;
    throw e;
  }
}

/** The first of the files that is there. @throws what else keeps one from being opened */
export async function firstThere(
  names: readonly string[],
  open: (name: string) => Promise<ByteSource>,
): Promise<ByteSource | undefined> {
  for (const name of names) {
    const source = await ifThere(open(name));
    if (source) return source;
  }
  return undefined;
}

/** Servers of pages that are programs have their first page for whatever isn't there. */
async function isPage(source: ByteSource): Promise<boolean> {
  if (!/^https?:/i.test(source.name)) return false;
  return /^\s*</.test(new TextDecoder().decode(await source.read(0, Math.min(source.size, 16))));
}

/**
 * The model in a folder that can't be listed, such as a URL.
 * @param folder with a slash at the end
 * @throws InputError where there is none of a usual name, or the first that is there can't be read
 */
export async function openUsual(folder: string, open: (file: string) => Promise<ByteSource>): Promise<ByteSource> {
  const source = await firstThere(usualNames, (name) => open(folder + name));
  if (source) return source;
  throw new InputError(`${folder}: there is none of ${usualNames.join(", ")}`, { notFound: true });
}

/**
 * The file that is the model, of all files in a folder.
 * @throws InputError where there is none, or several without a usual name
 */
export function modelFileAmong(files: readonly string[], folder: string): string {
  const usual = names.find((name) => files.includes(name));
  if (usual) return usual;
  for (const kind of kinds) {
    const found = files.filter((f) => f.endsWith(kind) && !laterPart.test(f)).sort();
    if (found.length === 1) return found[0];
    if (found.length > 1) throw new InputError(`${folder}: name one of the models in it: ${found.join(", ")}`);
  }
  throw new InputError(`${folder}: there is no model in it (safetensors, GGUF or ONNX)`);
}
