/** The formats of block types, and matrices of them. */
import { type BlockType, ggufBytes, ggufTypeNamed, ggufTypes } from "../../../tensor/blocks/types.ts";
import { FormatError } from "../../../tensor/errors.ts";
import { type Format, GROUP, range } from "./quantized-format.ts";
import { iqFormats } from "./quantized-iq.ts";
import { kFormats } from "./quantized-k.ts";
import { legacyFormats } from "./quantized-legacy.ts";

export const formats: Partial<Record<BlockType, Format>> = { ...legacyFormats, ...kFormats, ...iqFormats };

/** Bytes of n rows of k elements. */
export const packedBytes = ({ unit, bytes }: Format, n: number, k: number): number =>
  Math.ceil(n / GROUP) * (k / unit) * bytes;

/** Bytes of n rows of k elements in the file. */
export const storedBytes = (type: BlockType, n: number, k: number): number => ggufBytes(ggufTypeNamed(type), n * k);

/**
 * Lays out rows of k elements, of a type whose format this is.
 * @throws FormatError for a block whose scale is infinite or NaN
 */
export function packBlocks(type: BlockType, k: number, src: Uint8Array, dst: Uint8Array): void {
  const format = formats[type]!;
  const rowBytes = storedBytes(type, 1, k);
  let last = 0;
  dst.fill(0);
  try {
    forEachBlock(type, src.length / rowBytes, k, (at, to, row) => {
      last = at;
      format.pack(src, at, dst, to, row);
    });
  } catch (e) {
    if (!(e instanceof FormatError)) throw e;
    // Large weights come in parts: which row of all it is is not known here.
    const block = ((last % rowBytes) / rowBytes) * (k / format.unit);
    const message = `${type}, rows of ${k}: ${e.message} (block ${block} of its row): the file is damaged, fetch it anew`;
    throw new FormatError(message, { cause: e });
  }
}

/** Calls back with where each block is in the file, where its unit is, and as which of the unit's rows. */
function forEachBlock(
  type: BlockType,
  n: number,
  k: number,
  visit: (at: number, to: number, row: number) => void,
): void {
  const { unit, bytes } = formats[type]!;
  const { blockBytes } = ggufTypes[ggufTypeNamed(type)];
  const units = k / unit;
  let to = 0;
  for (let group = 0; group < n; group += GROUP) {
    const rows = Math.min(GROUP, n - group);
    for (let u = 0; u < units; u++, to += bytes)
      for (let r = 0; r < rows; r++) visit(((group + r) * units + u) * blockBytes, to, r);
  }
}

/**
 * What `packBlocks` laid out, as the file has it. Bit by bit, which is slow: packing a block of one bit shows where it
 * goes. (A number that has 32 taken away carries into the bits above: the lowest one tells.)
 */
export function unpackBlocks(type: BlockType, n: number, k: number, packed: Uint8Array): Uint8Array {
  const { bytes, pack } = formats[type]!;
  const { blockBytes } = ggufTypes[ggufTypeNamed(type)];
  const block = new Uint8Array(blockBytes);
  const [zero, one] = [new Uint8Array(bytes), new Uint8Array(bytes)];
  const out = new Uint8Array((n * k * blockBytes) / formats[type]!.unit);
  const places = range(GROUP, (row) => {
    pack(block, 0, zero.fill(0), 0, row);
    return range(8 * blockBytes, (bit) => {
      block[bit >> 3] = 1 << (bit & 7);
      pack(block, 0, one.fill(0), 0, row);
      block[bit >> 3] = 0;
      const i = one.findIndex((b, j) => b !== zero[j]);
      if (i < 0) return undefined;
      const changed = one[i] ^ zero[i];
      return { from: i, shift: 31 - Math.clz32(changed & -changed), invert: (zero[i] & changed) !== 0 ? 1 : 0 };
    });
  });
  forEachBlock(type, n, k, (at, to, row) => {
    places[row].forEach((p, bit) => {
      if (p) out[at + (bit >> 3)] |= (((packed[to + p.from] >> p.shift) & 1) ^ p.invert) << (bit & 7);
    });
  });
  return out;
}
