/**
 * Models in several GGUF files: `NAME-00001-of-00003.gguf` and so on. The first has the metadata, each of them tensors.
 * Source: llama.cpp, tools/gguf-split.
 */
import { FormatError } from "../../tensor/errors.ts";
import type { GgufFile } from "../gguf/index.ts";
import { readPackedGguf } from "../gguf/reader.ts";
import type { PackedValue } from "../gguf/values.ts";
import { type ByteSource, plainName } from "../source.ts";
import { heldSource } from "./weights.ts";

type Packed = GgufFile<PackedValue>;

/**
 * A GGUF file with the tensors of all parts of its model, whichever of them it is.
 * @throws FormatError for a part whose others are not beside it, or are those of another model
 */
export async function readGgufParts(source: ByteSource): Promise<Packed> {
  const file = await readPackedGguf(source);
  const count = numberOf(file, "split.count");
  if (count <= 1) return file;
  const own = numberOf(file, "split.no");
  const fail = (what: string, cause?: unknown): never => {
    throw new FormatError(`${source.name}: part ${own + 1} of ${count} of a model: ${what}`, { cause });
  };
  const [, base] = /([^/\\]*)-\d{5}-of-\d{5}\.gguf$/i.exec(plainName(source.name)) ?? fail("its name has no numbers");
  const digits = (n: number): string => String(n).padStart(5, "0");
  const part = async (n: number): Promise<Packed> => {
    if (n === own) return file;
    if (!source.sibling) return fail("pass a path or URL, not bytes: the other parts are beside it");
    const name = `${base}-${digits(n + 1)}-of-${digits(count)}.gguf`;
    const other = await source.sibling(name).catch((e) => fail(`"${name}" is not beside it`, e));
    const read = await readPackedGguf(heldSource(other));
    if (numberOf(read, "split.no") !== n || numberOf(read, "split.count") !== count)
      fail(`"${name}" is a part of another model`);
    return read;
  };
  const first = await part(0);
  const tensors = new Map(first.tensors);
  for (let n = 1; n < count; n++)
    for (const [name, tensor] of (await part(n)).tensors) {
      if (tensors.has(name)) fail(`tensor ${JSON.stringify(name)} is in two parts`);
      tensors.set(name, tensor);
    }
  const total = numberOf(first, "split.tensors.count");
  if (total && total !== tensors.size) fail(`there are ${tensors.size} tensors of ${total}`);
  return { ...first, tensors };
}

function numberOf({ metadata }: Packed, key: string): number {
  const value = metadata.get(key);
  return typeof value === "number" ? value : 0;
}
