import fc from "fast-check";
import { cachedAttention } from "../../src/ops/cached-attention.ts";
import { kvAppend } from "../../src/ops/kv-append.ts";
import type { DType } from "../../src/tensor/dtype.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { opCase, tensorFrom } from "./case.ts";

const dim = (max: number): fc.Arbitrary<number> => fc.integer({ min: 1, max });
const dtype = fc.constantFrom<DType>("f32", "f32", "f32", "f32", "f64", "f16");
const position = (n: number): HostTensor => ({ dtype: "i32", shape: [1], data: Int32Array.of(n) });

const i32 = (values: readonly number[]): HostTensor => ({
  dtype: "i32",
  shape: [values.length],
  data: Int32Array.from(values),
});

/** Tokens of several sequences: a position in a cache of `rows` rows each, none twice; -1 for the sequence of gaps. */
function places(seed: number, tokens: number, sequences: number, rows: number) {
  const sequence = Array.from({ length: tokens }, (_, t) => (((seed >>> 3) + 5 * t) % (sequences + 1)) - 1);
  const position = sequence.map((s, t) => (s < 0 ? 0 : (t * 7 + (seed >>> 5)) % rows));
  return { sequence: i32(sequence), position: i32(position) };
}

export const decoderCases = {
  kvAppend: fc
    .record({
      seed: fc.nat(),
      dtype,
      half: fc.boolean(),
      width: dim(20),
      tokens: dim(6),
      before: fc.nat(9),
      rest: fc.nat(5),
      sequences: fc.constantFrom(0, 0, 1, 3),
    })
    .map(({ seed, dtype, half, width, tokens, before, rest, sequences }) => {
      const stored = half && dtype === "f32" ? "f16" : dtype;
      // Twice the same place would leave it open which token stays.
      const rows = sequences ? 7 * tokens : before + tokens + rest;
      const at = places(seed, tokens, sequences, rows);
      return opCase(
        kvAppend,
        [
          tensorFrom(seed, stored, sequences ? [sequences, rows, width] : [rows, width]),
          tensorFrom(seed + 1, dtype, seed % 2 ? [1, tokens, width] : [tokens, width]),
          sequences ? at.position : position(before),
          ...(sequences ? [at.sequence] : []),
        ],
        {},
      );
    }),
  cachedAttention: fc
    .record({
      seed: fc.nat(),
      dtype,
      half: fc.boolean(),
      kvHeads: dim(3),
      group: fc.oneof(dim(3), dim(9)),
      tokens: fc.oneof(fc.constant(1), dim(40)),
      before: fc.oneof(fc.nat(5), fc.nat(200)),
      rest: fc.nat(3),
      dim: fc.constantFrom(1, 3, 4, 8, 12, 16, 32, 48, 64, 72, 128),
      valueDim: fc.constantFrom(undefined, undefined, undefined, 5, 8, 96),
      scale: fc.constantFrom(undefined, undefined, 0.3),
      softcap: fc.constantFrom(undefined, undefined, 2),
      leftWindow: fc.constantFrom(undefined, undefined, 0, 3, 70),
      sequences: fc.constantFrom(0, 0, 1, 3),
    })
    .map(({ seed, dtype, half, kvHeads, group, tokens, before, rest, dim, valueDim = dim, sequences, ...attrs }) => {
      const stored = half && dtype === "f32" ? "f16" : dtype;
      const rows = before + tokens + rest;
      const shape = (width: number) => (sequences ? [sequences, rows, width] : [rows, width]);
      const at = places(seed, tokens, sequences, rows);
      return opCase(
        cachedAttention,
        [
          tensorFrom(seed, dtype, [1, tokens, kvHeads * group * dim]),
          tensorFrom(seed + 1, stored, shape(kvHeads * dim)),
          tensorFrom(seed + 2, stored, shape(kvHeads * valueDim)),
          sequences ? at.position : position(before),
          ...(sequences ? [at.sequence] : []),
        ],
        { ...attrs, heads: kvHeads * group, kvHeads },
      );
    }),
};
