import fc from "fast-check";
import { cachedAttention } from "../../src/ops/cached-attention.ts";
import { kvAppend } from "../../src/ops/kv-append.ts";
import type { DType } from "../../src/tensor/dtype.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { opCase, tensorFrom } from "./case.ts";

const dim = (max: number): fc.Arbitrary<number> => fc.integer({ min: 1, max });
const dtype = fc.constantFrom<DType>("f32", "f32", "f32", "f32", "f64", "f16");
const position = (n: number): HostTensor => ({ dtype: "i32", shape: [1], data: Int32Array.of(n) });

export const decoderCases = {
  kvAppend: fc
    .record({ seed: fc.integer(), dtype, width: dim(20), tokens: dim(6), before: fc.nat(9), rest: fc.nat(5) })
    .map(({ seed, dtype, width, tokens, before, rest }) =>
      opCase(
        kvAppend,
        [
          tensorFrom(seed, dtype, [before + tokens + rest, width]),
          tensorFrom(seed + 1, dtype, seed % 2 ? [1, tokens, width] : [tokens, width]),
          position(before),
        ],
        {},
      ),
    ),
  cachedAttention: fc
    .record({
      seed: fc.integer(),
      dtype,
      kvHeads: dim(3),
      group: dim(3),
      tokens: fc.oneof(fc.constant(1), dim(40)),
      before: fc.oneof(fc.nat(5), fc.nat(200)),
      rest: fc.nat(3),
      dim: fc.constantFrom(1, 3, 4, 8, 12, 16, 32, 48, 64, 72, 128),
      valueDim: fc.constantFrom(undefined, undefined, undefined, 5, 8, 96),
      scale: fc.constantFrom(undefined, undefined, 0.3),
      softcap: fc.constantFrom(undefined, undefined, 2),
      leftWindow: fc.constantFrom(undefined, undefined, 0, 3, 70),
    })
    .map(({ seed, dtype, kvHeads, group, tokens, before, rest, dim, valueDim = dim, ...attrs }) =>
      opCase(
        cachedAttention,
        [
          tensorFrom(seed, dtype, [1, tokens, kvHeads * group * dim]),
          tensorFrom(seed + 1, dtype, [before + tokens + rest, kvHeads * dim]),
          tensorFrom(seed + 2, dtype, [before + tokens + rest, kvHeads * valueDim]),
          position(before),
        ],
        { ...attrs, heads: kvHeads * group, kvHeads },
      ),
    ),
};
