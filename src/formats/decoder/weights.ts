/** From a file's weights to those that the decoder's graph is built of. */
import type {
  BlockWeight,
  DecoderConfig,
  DecoderWeights,
  StoredWeight,
  Weight,
} from "../../models/transformer/config.ts";
import { FormatError } from "../../tensor/errors.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { ByteSource } from "../source.ts";
import type { DecoderFile } from "./file.ts";

export type F32Weight = Exclude<Weight, BlockWeight>;

/** Elements from which a weight is worth leaving in its file: others are read at once. */
export const largeWeight = 1 << 14;

/** For weights that are read later: held where it can be, with the name and the neighbours that it has. */
export const heldSource = (source: ByteSource): ByteSource =>
  source.hold ? { ...source.hold(), name: source.name, sibling: source.sibling } : source;

/**
 * The weights of a file. What is merged in it is taken apart; other large matrices stay there until a device is about to take
 * them.
 * @param atOnce only those that can be read without waiting may stay
 */
export async function storedWeights(file: DecoderFile, signal?: AbortSignal, atOnce = false): Promise<DecoderWeights> {
  const all = new Map<string, Weight | StoredWeight>();
  for (const [name, stored] of file.weights) {
    const { shape, type } = stored;
    const mayStay = sizeOf(shape) >= largeWeight && (stored.readSync || !atOnce);
    if (mayStay && partsOf(name, file.config, shape[0]).length === 1)
      all.set(name, {
        shape,
        type,
        read: () => stored.read(signal),
        readSync: stored.readSync,
        parts: stored.parts && ((granule) => stored.parts!(granule, signal)),
      });
    else for (const [part, w] of await readParts(file, name, stored, signal)) all.set(part, w);
  }
  return all;
}

async function readParts({ config }: DecoderFile, name: string, stored: StoredWeight, signal?: AbortSignal) {
  signal?.throwIfAborted();
  return splitRows(name, await stored.read(signal), partsOf(name, config, stored.shape[0]));
}

/** The weights that a tensor holds, one below the other: name and number of rows. */
function partsOf(name: string, { architecture, heads, kvHeads, headDim }: DecoderConfig, rows: number) {
  const part = (from: string, to: string, n: number): [string, number] => [name.replace(from, to), n];
  if (name.includes(".attn_qkv."))
    return [
      part("attn_qkv", "attn_q", heads * headDim),
      part("attn_qkv", "attn_k", kvHeads * headDim),
      part("attn_qkv", "attn_v", kvHeads * headDim),
    ];
  if (architecture === "phi3" && name.includes(".ffn_up."))
    return [part("ffn_up", "ffn_gate", rows / 2), part("ffn_up", "ffn_up", rows / 2)];
  return [part("", "", rows)];
}

/**
 * The parts as views: rows are whole blocks.
 * @throws FormatError unless they make up the whole
 */
export function splitRows(name: string, w: Weight, parts: readonly (readonly [string, number])[]): [string, Weight][] {
  if (parts.length === 1) return [[name, w]];
  const rows = w.shape[0];
  const total = parts.reduce((sum, [, n]) => sum + n, 0);
  if (total !== rows || parts.some(([, n]) => !Number.isInteger(n)))
    throw new FormatError(`"${name}" has ${rows} rows, expected ${total}`);
  let at = 0;
  return parts.map(([part, n]) => {
    const from = at;
    at += n;
    const shape = [n, ...w.shape.slice(1)];
    if ("bytes" in w) {
      const row = w.bytes.length / rows;
      return [part, { ...w, shape, bytes: w.bytes.subarray(from * row, at * row) }];
    }
    const row = w.data.length / rows;
    return [part, { ...w, shape, data: w.data.subarray(from * row, at * row) }];
  });
}
