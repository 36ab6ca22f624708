import fc from "fast-check";
import { maxUnpool } from "../../src/ops/max-unpool.ts";
import {
  averagePool,
  globalAveragePool,
  globalLpPool,
  globalMaxPool,
  lpPool,
  maxPool,
  poolWindow,
} from "../../src/ops/pool.ts";
import type { DType } from "../../src/tensor/dtype.ts";
import { hostTensor } from "../../src/tensor/host-tensor.ts";
import { emptyTensor, type HostTensor } from "../../src/tensor/tensor.ts";
import { opCase, shapeOf, tensorFrom, tensorOf } from "./case.ts";
import { windowCase } from "./conv.ts";

const pooling = fc.record({
  window: windowCase(14),
  batch: fc.integer({ min: 1, max: 2 }),
  channels: fc.integer({ min: 1, max: 3 }),
  ceilMode: fc.boolean(),
  seed: fc.integer(),
  flag: fc.boolean(),
  dtype: fc.constantFrom<DType>("f32", "f32", "f32", "f64", "f16"),
});

type Pooling = typeof pooling extends fc.Arbitrary<infer T> ? T : never;

const shape = (c: Pooling): number[] => [c.batch, c.channels, ...c.window.input];
/** Padding smaller than the kernel: windows on padding alone have no average. */
const poolAttrs = ({ window: { kernel, attrs }, ceilMode }: Pooling) => ({
  ...attrs,
  pads: attrs.pads?.map((p, i) => Math.min(p, kernel[i % kernel.length] - 1)),
  kernelShape: kernel,
  ceilMode,
});

const channelTensor = shapeOf(2, 5, 6).chain((s) => tensorOf(s));

export const poolCases = {
  maxPool: fc
    .record({ c: pooling, bytes: fc.constantFrom<DType | undefined>(undefined, undefined, undefined, "i8", "u8") })
    .map(({ c, bytes }) =>
      opCase(maxPool, [tensorFrom(c.seed, bytes ?? c.dtype, shape(c), bytes && { min: -128, max: 127 })], {
        ...poolAttrs(c),
        columnMajor: c.flag,
      }),
    ),
  averagePool: pooling.map((c) =>
    opCase(averagePool, [tensorFrom(c.seed, c.dtype, shape(c))], { ...poolAttrs(c), countIncludePad: c.flag }),
  ),
  lpPool: pooling.map((c) =>
    opCase(lpPool, [tensorFrom(c.seed, c.dtype, shape(c))], { ...poolAttrs(c), p: c.flag ? 3 : undefined }),
  ),
  globalAveragePool: channelTensor.map((x) => opCase(globalAveragePool, [x], {})),
  globalMaxPool: channelTensor.map((x) => opCase(globalMaxPool, [x], {})),
  globalLpPool: channelTensor.map((x) => opCase(globalLpPool, [x], { p: 2 })),
  maxUnpool: pooling.map((c) => {
    const kernelShape = c.window.kernel;
    // Disjoint windows without padding, so that the indices lie in the shape that they imply.
    const attrs = { kernelShape, strides: kernelShape };
    const x = tensorFrom(c.seed, "f32", [
      c.batch,
      c.channels,
      ...c.window.input.map((n, i) => kernelShape[i] * Math.ceil(n / 4)),
    ]);
    const y: HostTensor = emptyTensor({
      dtype: "f32",
      shape: [c.batch, c.channels, ...poolWindow("maxPool", x, attrs).output],
    });
    const indices = emptyTensor({ dtype: "i64", shape: y.shape });
    maxPool.op.reference!([x], attrs, [y, indices]);
    const wider = x.shape.map((d, i) => BigInt(i < 2 ? d : d + 1));
    return opCase(maxUnpool, [y, indices, c.flag ? hostTensor(BigInt64Array.from(wider)) : undefined], attrs);
  }),
};
