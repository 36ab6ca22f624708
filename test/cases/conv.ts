import fc from "fast-check";
import { col2im } from "../../src/ops/col2im.ts";
import { conv } from "../../src/ops/conv.ts";
import { convInteger, convIntegerToFloat, qlinearConv } from "../../src/ops/conv-integer.ts";
import { convTranspose, convTransposeGeometry } from "../../src/ops/conv-transpose.ts";
import { deformConv } from "../../src/ops/deform-conv.ts";
import { kernelExtent, resolveWindow, type WindowAttrs } from "../../src/ops/window.ts";
import type { DType, Half } from "../../src/tensor/dtype.ts";
import { hostTensor } from "../../src/tensor/host-tensor.ts";
import { halfWeightFrom, opCase, tensorFrom, type ValueRange } from "./case.ts";
import { activation } from "./epilogue.ts";

const times = (arbitrary: fc.Arbitrary<number>, n: number): fc.Arbitrary<number[]> =>
  fc.array(arbitrary, { minLength: n, maxLength: n });
const up = (min: number, max: number): fc.Arbitrary<number> => fc.integer({ min, max });

export interface WindowCase {
  kernel: number[];
  input: number[];
  attrs: WindowAttrs;
}

/** Windows that fit their input, over 1 to 3 axes. Small in 3-D, up to `large` otherwise. */
export const windowCase = (large: number): fc.Arbitrary<WindowCase> =>
  up(1, 3).chain((rank) =>
    fc
      .record({
        kernel: fc.oneof(fc.constant<number[]>(new Array(rank).fill(1)), times(up(1, rank === 3 ? 3 : 5), rank)),
        strides: fc.option(times(up(1, 3), rank), { nil: undefined }),
        dilations: fc.option(times(up(1, 2), rank), { nil: undefined }),
        pads: fc.option(times(up(0, 2), 2 * rank), { nil: undefined }),
        autoPad: fc.constantFrom("notset", "notset", "notset", "sameUpper", "sameLower", "valid"),
        spare: times(up(0, rank === 3 ? 4 : rank === 2 ? large : 2 * large), rank),
      })
      .map(({ kernel, strides, dilations, pads, autoPad, spare }) => ({
        kernel,
        input: kernelExtent(kernel, dilations ?? new Array(rank).fill(1)).map((e, i) => e + spare[i]),
        attrs: { strides, dilations, pads: autoPad === "notset" ? pads : undefined, autoPad } as WindowAttrs,
      })),
  );

/** Channel counts by group: dense, grouped, depthwise, depthwise with a multiplier. */
const channels = fc.oneof(
  fc.record({ groups: fc.constant(1), inPerGroup: up(1, 9), outPerGroup: up(1, 13) }),
  fc.record({ groups: up(2, 3), inPerGroup: up(1, 4), outPerGroup: up(1, 5) }),
  fc.record({ groups: up(2, 6), inPerGroup: fc.constant(1), outPerGroup: up(1, 2) }),
);

const layout = fc.record({
  window: windowCase(14),
  channels,
  batch: up(1, 2),
  seed: fc.integer(),
  dtype: fc.constantFrom<DType>("f32", "f32", "f32", "f32", "f64", "f16"),
  bias: fc.boolean(),
});

/** As networks have them: square kernels, the same padding all round, more channels. */
const networkLayer = fc
  .record({
    size: fc.tuple(up(4, 21), up(4, 21)),
    kernel: fc.constantFrom(1, 3, 3, 3, 5),
    stride: fc.constantFrom(1, 1, 2),
    depthwise: fc.constantFrom(false, false, true),
    counts: fc.tuple(up(6, 34), up(6, 34)),
    batch: up(1, 2),
    seed: fc.integer(),
    bias: fc.boolean(),
  })
  .map(({ size, kernel, stride, depthwise, counts: [ins, outs], ...c }) => ({
    ...c,
    dtype: "f32" as DType,
    // Many products are added up here: the table of tolerances is for sums of about this size.
    range: { min: -1, max: 1 },
    window: {
      kernel: [kernel, kernel],
      input: size,
      attrs: { strides: [stride, stride], pads: new Array<number>(4).fill(Math.floor(kernel / 2)) } as WindowAttrs,
    },
    channels: depthwise
      ? { groups: ins, inPerGroup: 1, outPerGroup: 1 }
      : { groups: 1, inPerGroup: ins, outPerGroup: outs },
  }));

const withShapes = (c: {
  range?: ValueRange;
  window: WindowCase;
  channels: { groups: number; inPerGroup: number; outPerGroup: number };
  batch: number;
  seed: number;
  dtype: DType;
  bias: boolean;
}) => {
  const { groups, inPerGroup, outPerGroup } = c.channels;
  return {
    ...c,
    groups,
    outs: groups * outPerGroup,
    x: [c.batch, groups * inPerGroup, ...c.window.input],
    w: [groups * outPerGroup, inPerGroup, ...c.window.kernel],
    y: [
      c.batch,
      groups * outPerGroup,
      ...resolveWindow("conv", c.window.input, c.window.kernel, c.window.attrs).output,
    ],
  };
};

const spatialConv = layout.map(withShapes);

const byte = fc.constantFrom<DType>("i8", "u8");
const bytes = { min: -128, max: 127 };

const integerConv = fc
  .record({ c: spatialConv, xType: byte, wType: byte, perChannel: fc.boolean(), zeros: fc.boolean() })
  .map(({ c, xType, wType, perChannel, zeros }) => ({
    ...c,
    zeros,
    x: tensorFrom(c.seed, xType, c.x, bytes),
    w: tensorFrom(c.seed + 1, wType, c.w, bytes),
    xZero: tensorFrom(c.seed + 2, xType, [], bytes),
    wZero: tensorFrom(c.seed + 3, wType, perChannel ? [c.outs] : [], bytes),
    scale: (i: number, wide: boolean, max = 0.02) =>
      tensorFrom(c.seed + i, "f32", wide && perChannel ? [c.outs] : [], { min: 0.001, max }),
  }));

const transposed = fc
  .record({
    c: spatialConv,
    outputPadding: fc.boolean(),
    outputShape: fc.constantFrom(undefined, undefined, 0, 1, 3),
    activation,
  })
  .map(({ c, outputPadding, outputShape, activation }) => {
    const { strides, dilations } = c.window.attrs;
    const rank = c.window.input.length;
    // Few positions: they grow by the stride. Pads must leave something of the smallest kernel.
    const spatial = c.window.input.map((n) => Math.min(n, rank === 3 ? 3 : 6));
    const pads = c.window.attrs.pads?.map((p, i) => Math.min(p, Math.floor((c.window.kernel[i % rank] - 1) / 2)));
    const x = tensorFrom(c.seed, c.dtype, [c.batch, c.x[1], ...spatial]);
    const w = tensorFrom(c.seed + 1, c.dtype, [c.x[1], c.channels.outPerGroup, ...c.window.kernel]);
    const bias = c.bias ? tensorFrom(c.seed + 2, c.dtype, [c.outs]) : undefined;
    const attrs = {
      strides,
      dilations,
      pads,
      autoPad: c.window.attrs.autoPad,
      groups: c.groups,
      outputPadding: outputPadding ? spatial.map((_, i) => (strides?.[i] ?? 1) - 1) : undefined,
    };
    const natural = convTransposeGeometry(x, w, attrs).window.input;
    return opCase(convTranspose, [x, w, bias], {
      ...attrs,
      outputShape: outputShape === undefined ? undefined : natural.map((n) => n + outputShape),
      activation,
    });
  });

const deformable = fc
  .record({ c: spatialConv, offsetGroups: fc.boolean(), mask: fc.boolean() })
  .filter(({ c }) => c.window.attrs.autoPad === "notset")
  .map(({ c, offsetGroups, mask }) => {
    const groups = offsetGroups ? c.x[1] : 1;
    const taps = groups * c.window.kernel.reduce((a, b) => a * b, 1);
    const outputs = c.y.slice(2);
    const make = (i: number, shape: number[]) => tensorFrom(c.seed + i, c.dtype, shape, { min: -2, max: 2 });
    return opCase(
      deformConv,
      [
        make(0, c.x),
        make(1, c.w),
        make(2, [c.batch, taps * c.window.kernel.length, ...outputs]),
        c.bias ? make(3, [c.outs]) : undefined,
        mask ? make(4, [c.batch, taps, ...outputs]) : undefined,
      ],
      { ...c.window.attrs, groups: c.groups, offsetGroups: groups },
    );
  });

export const convCases = {
  conv: fc
    .record({
      c: fc.oneof({ weight: 2, arbitrary: spatialConv }, networkLayer.map(withShapes)),
      residual: fc.boolean(),
      activation,
      half: fc.constantFrom<(Half | undefined)[]>(undefined, undefined, "f16", "bf16"),
    })
    .map(({ c, residual, activation, half }) =>
      opCase(
        conv,
        [
          tensorFrom(c.seed, c.dtype, c.x, c.range),
          half && c.dtype === "f32"
            ? halfWeightFrom(c.seed + 1, half, c.w, c.range)
            : tensorFrom(c.seed + 1, c.dtype, c.w, c.range),
          c.bias ? tensorFrom(c.seed + 2, c.dtype, [c.outs]) : undefined,
          residual ? tensorFrom(c.seed + 3, c.dtype, c.y) : undefined,
        ],
        { ...c.window.attrs, groups: c.groups, activation },
      ),
    ),
  convTranspose: transposed,
  convInteger: integerConv.map((c) =>
    opCase(convInteger, [c.x, c.w, c.zeros ? c.xZero : undefined, c.zeros ? c.wZero : undefined], {
      ...c.window.attrs,
      groups: c.groups,
    }),
  ),
  convIntegerToFloat: integerConv.map((c) =>
    opCase(
      convIntegerToFloat,
      [
        c.x,
        c.w,
        c.scale(4, false),
        c.scale(5, true),
        c.zeros ? c.xZero : undefined,
        c.zeros ? c.wZero : undefined,
        c.bias ? tensorFrom(c.seed + 8, "f32", [c.outs]) : undefined,
      ],
      { ...c.window.attrs, groups: c.groups },
    ),
  ),
  qlinearConv: integerConv.map((c) =>
    opCase(
      qlinearConv,
      [
        c.x,
        c.scale(4, false),
        c.xZero,
        c.w,
        c.scale(5, true),
        c.wZero,
        c.scale(6, false, 0.5),
        tensorFrom(c.seed + 7, c.x.dtype, [], bytes),
        c.bias ? tensorFrom(c.seed + 8, "i32", [c.outs], { min: -500, max: 500 }) : undefined,
      ],
      { ...c.window.attrs, groups: c.groups },
    ),
  ),
  deformConv: deformable,
  col2im: fc
    .record({ window: windowCase(6), channels: up(1, 3), batch: up(1, 2), seed: fc.integer() })
    .map(({ window: { kernel, input, attrs }, channels, batch, seed }) => {
      const { strides, dilations, pads } = attrs;
      const { output } = resolveWindow("col2im", input, kernel, { strides, dilations, pads });
      const product = (list: readonly number[]): number => list.reduce((a, b) => a * b, 1);
      const x = tensorFrom(seed, "f32", [batch, channels * product(kernel), product(output)]);
      return opCase(
        col2im,
        [x, hostTensor(BigInt64Array.from(input, BigInt)), hostTensor(BigInt64Array.from(kernel, BigInt))],
        {
          strides,
          dilations,
          pads,
        },
      );
    }),
};
