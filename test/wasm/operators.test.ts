/** Operators other than products and convolutions, divided among threads, give bit for bit what one thread gives. */
import { expect, test } from "vitest";
import type { Backend } from "../../src/backends/backend.ts";
import { wasm } from "../../src/backends/wasm/index.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { compile } from "../../src/graph/compile.ts";
import { graph } from "../../src/graph/define.ts";
import * as ops from "../../src/ops/index.ts";
import type { AnyOp, Attrs } from "../../src/ops/op.ts";
import { DeviceError } from "../../src/tensor/errors.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { tensorFrom } from "../cases/case.ts";
import { expectSame, onThreads } from "./threaded.ts";

/** What a node reads: shapes of f32 data, or tensors as they are. */
type Input = number[] | (HostTensor & { constant?: boolean }) | undefined;
type Node = readonly [op: AnyOp, inputs: readonly Input[], attrs?: Attrs];

const integers = (...values: number[]): HostTensor => ({
  dtype: "i64",
  shape: [values.length],
  data: BigInt64Array.from(values, BigInt),
});
const bytes = (dtype: "i8" | "u8", shape: number[], constant = false): HostTensor & { constant?: boolean } => ({
  ...tensorFrom(7, dtype, shape, { min: dtype === "i8" ? -100 : 0, max: 100 }),
  constant,
});
const bool = (shape: number[]): HostTensor => tensorFrom(9, "bool", shape);

const indices = (shape: number[], size: number): HostTensor & { constant?: boolean } => ({
  ...tensorFrom(11, "i32", shape, { min: -size, max: size - 1 }),
  constant: true,
});

/** Large enough for threads to take part, of odd sizes, and so that each way of dividing work occurs. */
const nodes: Record<string, Node> = {
  "unary, one run": [ops.gelu, [[3, 7, 1999]]],
  "binary, one run": [ops.add, [[70003], [70003]]],
  "binary, many runs": [
    ops.mul,
    [
      [1, 33, 60, 61],
      [33, 1, 1],
    ],
  ],
  "binary, few long runs": [ops.sub, [[3, 40001], [40001]]],
  "convolution of bytes to floats": [
    ops.convIntegerToFloat,
    [bytes("u8", [1, 5, 60, 61]), bytes("i8", [9, 5, 3, 3], true), [], [9], undefined, undefined, [9]],
    {},
  ],
  "convolution of bytes": [ops.convInteger, [bytes("u8", [1, 5, 60, 61]), bytes("i8", [9, 5, 3, 3], true)], {}],
  "convolution of bytes in groups": [
    ops.convInteger,
    [bytes("u8", [2, 6, 40, 41]), bytes("i8", [8, 3, 3, 3], true)],
    { groups: 2 },
  ],
  gridSample: [
    ops.gridSample,
    [
      [2, 7, 41, 37],
      [2, 50, 45, 2],
    ],
    { paddingMode: "reflection" },
  ],
  roiAlign: [
    ops.roiAlign,
    [[1, 30, 33, 35], tensorFrom(11, "f32", [23, 4], { min: -2, max: 37 }), integers(...new Array<number>(23).fill(0))],
    { outputHeight: 7, outputWidth: 5, samplingRatio: 2 },
  ],
  deformConv: [
    ops.deformConv,
    [[1, 12, 40, 41], { ...tensorFrom(12, "f32", [24, 12, 3, 3]), constant: true }, [1, 36, 40, 41]],
    { pads: [1, 1, 1, 1], offsetGroups: 2 },
  ],
  col2im: [ops.col2im, [[1, 7 * 12, 19 * 36], integers(39, 75), integers(3, 4)], { strides: [2, 2] }],
  "comparison of repeated": [ops.less, [[50001], [1]]],
  "where of three": [ops.where, [bool([9, 1, 333]), [9, 40, 333], [40, 1]]],
  cast: [ops.cast, [[80005]], { to: "i64" }],
  batchNorm: [ops.batchNorm, [[2, 31, 33, 35], [31], [31], [31], tensorFrom(5, "f32", [31], { min: 0.1 })]],
  "softmax of rows": [ops.softmax, [[37, 501]]],
  "softmax of columns": [ops.softmax, [[1, 101, 333]], { axis: 1 }],
  "lpNorm of rows": [ops.lpNorm, [[61, 517]]],
  "lpNorm of columns": [ops.lpNorm, [[1, 101, 333]], { axis: 1, p: 1 }],
  layerNorm: [ops.layerNorm, [[61, 517], [517], [517]]],
  groupNorm: [ops.groupNorm, [[2, 30, 31, 33], [30], [30]], { groups: 6 }],
  localResponseNorm: [ops.localResponseNorm, [[1, 40, 27, 31]], { size: 5 }],
  "sum of rows": [ops.reduceSum, [[1, 44, 29, 31], integers(2, 3)]],
  "mean of columns": [ops.reduceMean, [[1, 44, 29, 31], integers(1)]],
  "max across": [ops.reduceMax, [[5, 21, 29, 31], integers(0, 2, 3)]],
  "argMax of columns": [ops.argMax, [[1, 21, 40, 41]], { axis: 1 }],
  "argMax of rows": [ops.argMax, [[50, 801]], { axis: -1 }],
  "transpose of a plane": [ops.transpose, [[301, 203]]],
  "transpose of heads": [ops.transpose, [[2, 65, 12, 64]], { perm: [0, 2, 1, 3] }],
  "concat of one row": [
    ops.concat,
    [
      [1, 30, 31, 33],
      [1, 7, 31, 33],
      [1, 50, 31, 33],
    ],
    { axis: 1 },
  ],
  "concat of rows": [
    ops.concat,
    [
      [301, 77],
      [301, 99],
    ],
    { axis: 1 },
  ],
  split: [ops.split, [[1, 91, 31, 33]], { axis: 1, parts: 3 }],
  "resize to twice the size": [ops.resize, [[1, 30, 33, 35], undefined, undefined, integers(1, 30, 66, 70)]],
  "resize of pairs": [ops.resize, [bytes("u8", [3, 70, 71, 2]), undefined, undefined, integers(3, 99, 50, 2)]],
  "resize of rows alone": [ops.resize, [[5, 60, 301], undefined, undefined, integers(5, 25, 301)], { mode: "linear" }],
  "resize of planes": [ops.resize, [[1, 9, 61, 63], undefined, undefined, integers(1, 9, 80, 150)], { mode: "cubic" }],
  "resize of channels last": [
    ops.resize,
    [[2, 50, 51, 5], undefined, undefined, integers(2, 20, 80, 5)],
    { mode: "linear", antialias: true },
  ],
  gatherElements: [ops.gatherElements, [[61, 33, 40], indices([59, 33, 40], 40)], { axis: 2 }],
  gatherNd: [ops.gatherNd, [[3, 50, 40, 7], indices([3, 4001, 2], 40)], { batchDims: 1 }],
  quantizeLinear: [ops.quantizeLinear, [[3, 41, 999], [], bytes("i8", [])]],
  dynamicQuantizeLinear: [ops.dynamicQuantizeLinear, [[90003]]],
  "matmulInteger by rows": [ops.matmulInteger, [bytes("u8", [101, 67]), bytes("i8", [67, 45], true), bytes("u8", [])]],
  "matmulInteger by columns": [
    ops.matmulIntegerToFloat,
    [bytes("u8", [3, 67]), bytes("i8", [67, 145], true), [], [145], bytes("u8", [])],
  ],
  "attention by heads": [
    ops.attention,
    [
      [2, 5, 67, 24],
      [2, 5, 131, 24],
      [2, 5, 131, 24],
    ],
    { causal: true },
  ],
  "attention by queries": [
    ops.attention,
    [
      [1, 1, 301, 16],
      [1, 1, 40, 16],
      [1, 1, 40, 16],
    ],
    {},
  ],
};

async function run([op, inputs, attrs = {}]: Node, device: Backend): Promise<{ kernel: string; ys: HostTensor[] }> {
  const builder = new GraphBuilder();
  const data: Record<string, HostTensor> = {};
  const values = inputs.map((given, i) => {
    if (!given) return undefined;
    const t = Array.isArray(given) ? tensorFrom(i + 1, "f32", given) : given;
    if (t.dtype === "i64" || (t as { constant?: boolean }).constant) return builder.constant(t);
    data[`x${i}`] = t;
    return builder.input(`x${i}`, t.dtype, t.shape);
  });
  const outputs = builder.run(op.op, values, attrs);
  outputs.forEach((y, i) => {
    builder.output(`y${i}`, y);
  });
  using session = await compile(builder.build(), { device });
  const results = await session.run(data);
  return { kernel: session.explain()[0].kernel, ys: outputs.map((_, i) => results[`y${i}`]) };
}

onThreads((device) => {
  test.each(Object.entries(nodes))("%s", async (_, node) => {
    const got = await run(node, device);
    const want = await run(node, wasm({ threads: 1 }));
    expect(got.kernel).toContain("wasm/");
    got.ys.forEach((y, k) => {
      expectSame(y, want.ys[k]);
    });
  });
});

test("an odd number of 8-bit channels reads nothing behind the last one", async () => {
  // Larger than a page of memory, in which small images would always find something.
  const x = tensorFrom(1, "u8", [1, 3, 300, 300], { min: 0, max: 255 });
  const w = tensorFrom(2, "i8", [2, 3, 1, 1], { min: -128, max: 127 });
  const g = graph(({ input, weight }) => ({
    y: ops.convInteger(input("x", "u8", x.shape), weight(w), undefined, undefined, {}),
  }));
  using session = await compile(g, { device: wasm({ threads: 1 }) });
  const { y } = await session.run({ x });
  const size = 300 * 300;
  for (const i of [0, 12_345, size - 1])
    expect([y.data[i], y.data[size + i]]).toEqual(
      [0, 1].map((o) =>
        [0, 1, 2].reduce((sum, c) => sum + Number(x.data[c * size + i]) * Number(w.data[3 * o + c]), 0),
      ),
    );
});

test("a 64-bit integer is true where any of its bits is set", async () => {
  const values = [0n, 1n, -1n, 1n << 32n, -(1n << 63n), 0n, (1n << 63n) - 1n];
  const g = graph(({ input }) => ({ y: ops.cast(input("x", "i64", ["n"]), { to: "bool" }) }));
  using session = await compile(g, { device: wasm({ threads: 1 }) });
  const { y } = await session.run({ x: BigInt64Array.from(values) });
  expect([...y.data]).toEqual(values.map((v) => Number(v !== 0n)));
  expect(session.explain()[0].kernel).toBe("wasm/cast/lanes");
});

test.each([1, 2])("what 4 GiB can't hold is refused, and smaller runs go on, with %i threads", async (threads) => {
  const g = graph(({ input, weight }) => ({ y: ops.expand(input("x", "f32", ["n", 1]), weight(integers(1, 40_000))) }));
  using session = await compile(g, { device: wasm({ threads }), memoryLimit: 1e12 });
  const large = session.run({ x: new Float32Array(40_000) });
  await expect(large).rejects.toThrow(DeviceError);
  await expect(large).rejects.toThrow(/needs 6400\d{6} bytes of memory at once, more than the 4 GiB/);
  const { y } = await session.run({ x: Float32Array.of(1, 2) });
  expect([y.shape, y.data[39_999], y.data[40_000]]).toEqual([[2, 40_000], 1, 2]);
});
