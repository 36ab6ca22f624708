import fc from "fast-check";
import { attention, attentionScores, type ScoreStage } from "../../src/ops/attention.ts";
import { causalConv } from "../../src/ops/causal-conv.ts";
import { appendCache, cacheStart, keyPaddingMask } from "../../src/ops/kv-cache.ts";
import { linearAttention } from "../../src/ops/linear-attention.ts";
import { rotaryEmbedding } from "../../src/ops/rotary-embedding.ts";
import type { DType } from "../../src/tensor/dtype.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { opCase, tensorFrom } from "./case.ts";

const dim = (max: number): fc.Arbitrary<number> => fc.integer({ min: 1, max });
const dtype = fc.constantFrom<DType>("f32", "f32", "f32", "f64", "f16");
const sometimes = fc.constantFrom(false, false, true);

const i64 = (values: readonly number[], shape = [values.length]): HostTensor => ({
  dtype: "i64",
  shape,
  data: BigInt64Array.from(values, BigInt),
});

/** A mask's shape, each axis whole or repeated; its columns may end early. */
const maskShape = (full: number[], kind: number, columns: number): number[] => {
  const shape = full.map((d, i) => (i < 3 && (kind >> i) & 1 ? 1 : d));
  if (columns > 1) shape[3] = Math.min(columns, full[3]);
  return shape.slice((kind >> 3) % 3);
};

const attentions = fc
  .record({
    seed: fc.integer(),
    dtype,
    batch: dim(2),
    kvHeads: dim(3),
    group: dim(3),
    seq: fc.oneof(fc.constant(1), dim(9), fc.integer({ min: 17, max: 40 })),
    total: fc.oneof(dim(12), fc.integer({ min: 30, max: 150 })),
    dim: fc.oneof(dim(9), fc.constantFrom(16, 64)),
    valueDim: fc.option(dim(10), { nil: undefined }),
    packedQ: fc.boolean(),
    packedKV: fc.boolean(),
    mask: fc.constantFrom("none", "none", "bool", "float"),
    maskKind: fc.nat(23),
    columns: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.integer({ min: 2, max: 150 })),
    lengths: sometimes,
    offset: sometimes,
    sink: sometimes,
    causal: fc.boolean(),
    scale: fc.constantFrom(undefined, undefined, 0.3),
    softcap: fc.constantFrom(undefined, undefined, 2),
    leftWindow: fc.constantFrom(undefined, undefined, 0, 3),
    rightWindow: fc.constantFrom(undefined, undefined, 0, 2),
  })
  .map((c) => {
    const { seed, dtype, batch, kvHeads, seq, total } = c;
    const heads = kvHeads * c.group;
    const valueDim = c.valueDim ?? c.dim;
    const make = (i: number, packed: boolean, h: number, positions: number, d: number): HostTensor =>
      tensorFrom(seed + i, dtype, packed ? [batch, positions, h * d] : [batch, h, positions, d]);
    const full = maskShape([batch, heads, seq, total], c.maskKind, c.columns);
    const mask = {
      none: undefined,
      bool: tensorFrom(seed + 3, "bool", full),
      float: tensorFrom(seed + 3, dtype, full),
    };
    const per = (i: number, min: number, max: number) => tensorFrom(seed + i, "i64", [batch], { min, max });
    const { causal, scale, softcap, leftWindow, rightWindow } = c;
    return {
      inputs: [
        make(0, c.packedQ, heads, seq, c.dim),
        make(1, c.packedKV, kvHeads, total, c.dim),
        make(2, c.packedKV, kvHeads, total, valueDim),
        mask[c.mask as keyof typeof mask],
        c.lengths ? per(4, 0, total) : undefined,
        c.offset ? per(5, -2, total) : undefined,
        c.sink ? tensorFrom(seed + 6, dtype, [heads]) : undefined,
      ],
      attrs: { heads, kvHeads, causal, scale, softcap, leftWindow, rightWindow },
    };
  });

const rotations = fc
  .record({
    seed: fc.integer(),
    dtype,
    batch: dim(3),
    heads: dim(4),
    seq: dim(6),
    half: dim(9),
    rest: fc.constantFrom(0, 0, 2, 5),
    packed: fc.boolean(),
    interleaved: fc.boolean(),
    positions: fc.constantFrom("none", "token", "first", "one"),
  })
  .map(({ seed, dtype, batch, heads, seq, half, rest, packed, interleaved, positions }) => {
    const headDim = 2 * half + rest;
    const rows = 20;
    const table = positions === "none" ? [batch, seq, half] : [rows, half];
    const start = (n: number, max: number) => tensorFrom(seed + 3, seed % 2 ? "i64" : "i32", [n], { min: 0, max });
    const token = { ...start(batch * seq, rows - 1), shape: [batch, seq] };
    const given = { none: undefined, token, first: start(batch, rows - seq), one: start(1, rows - seq) };
    return opCase(
      rotaryEmbedding,
      [
        tensorFrom(seed, dtype, packed ? [batch, seq, heads * headDim] : [batch, heads, seq, headDim]),
        tensorFrom(seed + 1, dtype, table, { min: -1, max: 1 }),
        tensorFrom(seed + 2, dtype, table, { min: -1, max: 1 }),
        given[positions as keyof typeof given],
      ],
      { heads, interleaved, rotaryDim: rest > 0 ? 2 * half : undefined },
    );
  });

const linear = fc
  .record({
    seed: fc.integer(),
    dtype: fc.constantFrom<DType>("f32", "f32", "f16"),
    batch: dim(2),
    seq: dim(5),
    kvHeads: dim(3),
    group: dim(2),
    d: dim(5),
    valueDim: dim(5),
    state: fc.boolean(),
    decayPerHead: fc.boolean(),
    betaPerHead: fc.boolean(),
    updateRule: fc.constantFrom("linear" as const, "gated" as const, "delta" as const, "gated_delta" as const),
    scale: fc.constantFrom(undefined, 0.5),
  })
  .map(({ seed, dtype, batch, seq, kvHeads, group, d, valueDim, state, updateRule, scale, ...c }) => {
    const heads = kvHeads * group;
    const make = (i: number, shape: number[], min = -1, max = 1) => tensorFrom(seed + i, dtype, shape, { min, max });
    return opCase(
      linearAttention,
      [
        make(0, [batch, seq, heads * d]),
        make(1, [batch, seq, kvHeads * d], -0.5, 0.5),
        make(2, [batch, seq, kvHeads * valueDim]),
        state ? make(3, [batch, kvHeads, d, valueDim]) : undefined,
        make(4, [batch, seq, c.decayPerHead ? kvHeads : kvHeads * d], -1, 0),
        make(5, [batch, seq, c.betaPerHead ? kvHeads : 1], 0, 1),
      ],
      { heads, kvHeads, updateRule, scale },
    );
  });

const convolutions = fc
  .record({
    seed: fc.integer(),
    dtype: fc.constantFrom<DType>("f32", "f32", "f16"),
    batch: dim(3),
    channels: dim(6),
    length: dim(12),
    kernel: dim(5),
    bias: fc.boolean(),
    state: fc.boolean(),
    activation: fc.constantFrom("none" as const, "silu" as const),
  })
  .map(({ seed, dtype, batch, channels, length, kernel, bias, state, activation }) =>
    opCase(
      causalConv,
      [
        tensorFrom(seed, dtype, [batch, channels, length]),
        tensorFrom(seed + 1, dtype, [channels, 1, kernel], { min: -1, max: 1 }),
        bias ? tensorFrom(seed + 2, dtype, [channels]) : undefined,
        state ? tensorFrom(seed + 3, dtype, [batch, channels, kernel - 1]) : undefined,
      ],
      { activation },
    ),
  );

/** A call with a cache: `seq` new tokens of a total of `seq + before`, the longest of the batch. */
const cached = fc
  .record({
    seed: fc.integer(),
    dtype,
    batch: dim(3),
    heads: dim(3),
    seq: dim(4),
    before: fc.nat(5),
    room: fc.nat(3),
    d: dim(6),
    packed: fc.boolean(),
  })
  .map(({ seed, dtype, batch, heads, seq, before, room, d, packed }) => {
    const total = seq + before;
    return {
      heads,
      x: tensorFrom(seed, dtype, packed ? [batch, seq, heads * d] : [batch, heads, seq, d]),
      lengths: tensorFrom(seed + 1, "i32", [batch], { min: before > 0 ? seq : 1, max: total }),
      total: i64([total], []),
      past: before + room > 0 ? tensorFrom(seed + 2, dtype, [batch, heads, before + room, d]) : undefined,
    };
  });

export const attentionCases = {
  attention: attentions.map(({ inputs, attrs }) => opCase(attention, inputs, attrs)),
  attentionScores: fc
    .tuple(attentions, fc.constantFrom<ScoreStage>("scaled", "capped", "masked", "probabilities"))
    .map(([{ inputs, attrs }, stage]) => opCase(attentionScores, inputs, { ...attrs, stage })),
  rotaryEmbedding: rotations,
  linearAttention: linear,
  causalConv: convolutions,
  cacheStart: cached.map(({ x, lengths, total }) => opCase(cacheStart, [x, lengths, total], {})),
  appendCache: cached.map(({ x, lengths, total, past, heads }) =>
    opCase(appendCache, [x, lengths, total, past], { heads }),
  ),
  keyPaddingMask: fc
    .record({ seed: fc.integer(), batch: dim(3), heads: dim(2), seq: dim(3), total: dim(6), form: fc.nat(5) })
    .map(({ seed, batch, heads, seq, total, form }) => {
      const forms = [[batch], [2 * batch], [3 * batch + 2], [batch, total], [batch, 1], [batch, seq, total]];
      const mask = tensorFrom(seed, "i32", forms[form], { min: 0, max: form < 3 ? total : 1 });
      return opCase(keyPaddingMask, [mask, tensorFrom(seed + 1, "f32", [batch, heads, total, 2])], {});
    }),
};
