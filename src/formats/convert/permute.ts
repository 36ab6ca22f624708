/** Rows of queries and keys in another order: the pairs that rotary positions turn, as neighbours or half a head apart. */
import type { Weight } from "../../models/transformer/config.ts";
import { ggufTypeNamed } from "../../tensor/blocks/types.ts";
import type { FileWeight } from "../decoder/file.ts";
import { dequantize } from "../gguf/index.ts";

/**
 * @param rotated rows of a head that have pairs, the first ones; the others stay
 * @param to how the pairs are to lie; they lie the other way
 */
export function permuteHeads(w: FileWeight, headDim: number, rotated: number, to: "neighbours" | "halves"): FileWeight {
  const half = rotated / 2;
  const placeOf = (i: number): number => {
    if (i >= rotated) return i;
    return to === "neighbours" ? (i % half) * 2 + Math.floor(i / half) : (i % 2) * half + (i >> 1);
  };
  return {
    ...w,
    type: undefined,
    async read(signal) {
      const { data, shape } = floats(await w.read(signal));
      const row = data.length / shape[0];
      const out = new Float32Array(data.length);
      for (let r = 0; r < shape[0]; r++) {
        const i = r % headDim;
        out.set(data.subarray(r * row, (r + 1) * row), (r - i + placeOf(i)) * row);
      }
      return { dtype: "f32", shape, data: out };
    },
  };
}

export function floats(w: Weight): { shape: readonly number[]; data: Float32Array } {
  if (!("bytes" in w)) return w;
  return {
    shape: w.shape,
    data: dequantize(
      ggufTypeNamed(w.type),
      w.bytes,
      w.shape.reduce((n, d) => n * d, 1),
    ),
  };
}
