import { FormatError, InputError } from "../errors.ts";
import { f16Table } from "../float.ts";
import type { BlockDecoder } from "./decoder.ts";
import * as i from "./i-quants.ts";
import * as k from "./k-quants.ts";
import * as legacy from "./legacy.ts";
import * as low from "./low-bit.ts";
import { type GgufType, ggufLayout } from "./types.ts";

/** Types without blocks: all elements at once. */
type PlainDecoder = (view: DataView, n: number, out: Float32Array) => void;

const plain =
  (bytes: number, read: (view: DataView, at: number) => number): PlainDecoder =>
  (view, n, out) => {
    for (let i = 0; i < n; i++) out[i] = read(view, i * bytes);
  };

const plainDecoders = {
  F32: plain(4, (v, at) => v.getFloat32(at, true)),
  F64: plain(8, (v, at) => v.getFloat64(at, true)),
  F16: (view, n, out) => {
    const table = f16Table();
    for (let i = 0; i < n; i++) out[i] = table[view.getUint16(i * 2, true)];
  },
  BF16: (view, n, out) => {
    const bits = new Uint32Array(out.buffer, out.byteOffset, n);
    for (let i = 0; i < n; i++) bits[i] = view.getUint16(i * 2, true) << 16;
  },
  I8: plain(1, (v, at) => v.getInt8(at)),
  I16: plain(2, (v, at) => v.getInt16(at, true)),
  I32: plain(4, (v, at) => v.getInt32(at, true)),
  I64: plain(8, (v, at) => Number(v.getBigInt64(at, true))),
} satisfies Partial<Record<GgufType, PlainDecoder>>;

type PlainType = keyof typeof plainDecoders;
const isPlain = (type: GgufType): type is PlainType => Object.hasOwn(plainDecoders, type);

const blockDecoders: Record<Exclude<GgufType, PlainType>, BlockDecoder> = {
  Q4_0: legacy.q4_0,
  Q4_1: legacy.q4_1,
  Q5_0: legacy.q5_0,
  Q5_1: legacy.q5_1,
  Q8_0: legacy.q8_0,
  Q8_1: legacy.q8_1,
  Q1_0: legacy.q1_0,
  Q2_0: legacy.q2_0,
  Q2_K: k.q2_k,
  Q3_K: k.q3_k,
  Q4_K: k.q4_k,
  Q5_K: k.q5_k,
  Q6_K: k.q6_k,
  Q8_K: k.q8_k,
  IQ1_S: i.iq1_s,
  IQ1_M: i.iq1_m,
  IQ2_XXS: i.iq2_xxs,
  IQ2_XS: i.iq2_xs,
  IQ2_S: i.iq2_s,
  IQ3_XXS: i.iq3_xxs,
  IQ3_S: i.iq3_s,
  IQ4_NL: i.iq4_nl,
  IQ4_XS: i.iq4_xs,
  TQ1_0: low.tq1_0,
  TQ2_0: low.tq2_0,
  MXFP4: low.mxfp4,
  NVFP4: low.nvfp4,
};

/**
 * The `n` elements stored in `bytes`, as f32: bit for bit what ggml's conversion gives.
 * @param out where to put them, instead of a new array: at least `n` long
 * @throws FormatError unless `n` fills whole blocks and `bytes` holds exactly these, InputError for a type and a number of elements that are none
 */
export function dequantize(type: GgufType, bytes: Uint8Array, n: number, out?: Float32Array): Float32Array {
  const { blockSize, blockBytes } = ggufLayout(type);
  if (!(bytes instanceof Uint8Array)) throw new InputError(`${type}: what is decoded are the bytes of a Uint8Array`);
  if (!Number.isSafeInteger(n) || n < 0) throw new InputError(`${type}: ${n} is no number of elements`);
  const blocks = n / blockSize;
  if (!Number.isInteger(blocks) || bytes.length !== blocks * blockBytes || (out && out.length < n))
    throw new FormatError(`${type}: ${n} elements in blocks of ${blockSize} do not take ${bytes.length} bytes`);
  const values = out ?? new Float32Array(n);
  if (isPlain(type)) {
    plainDecoders[type](new DataView(bytes.buffer, bytes.byteOffset, bytes.length), n, values);
    return values;
  }
  const decode = blockDecoders[type];
  for (let b = 0; b < blocks; b++) decode(bytes, b * blockBytes, values, b * blockSize);
  return values;
}
