/** Every operator on integers, with every dtype of 8 to 64 bits: exactly its reference, where values overflow too. */
import { describe, expect, test } from "vitest";
import type { Backend } from "../../src/backends/backend.ts";
import { wasmFeatures } from "../../src/backends/wasm/features.ts";
import { wasm } from "../../src/backends/wasm/index.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { compile } from "../../src/graph/compile.ts";
import * as ops from "../../src/ops/index.ts";
import { integerRange, storeIntegers } from "../../src/ops/integers.ts";
import { type AnyOp, type Attrs, isHostInput } from "../../src/ops/op.ts";
import type { DType } from "../../src/tensor/dtype.ts";
import { emptyTensor, type HostTensor } from "../../src/tensor/tensor.ts";
import { runReference } from "../kernel-property.ts";
import { randomFrom } from "../random.ts";

const dtypes: DType[] = ["i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64"];
const backends = (wasmFeatures().relaxedSimd ? [true, false] : [false]).map((relaxedSimd): [string, Backend] => [
  relaxedSimd ? "relaxed SIMD" : "baseline SIMD",
  wasm({ threads: 1, features: { relaxedSimd } }) as Backend,
]);

const binary: [AnyOp, Attrs?][] = [
  [ops.add],
  [ops.sub],
  [ops.mul],
  [ops.div],
  [ops.min],
  [ops.max],
  [ops.mod],
  [ops.mod, { fmod: true }],
  [ops.pow],
  [ops.bitwiseAnd],
  [ops.bitwiseOr],
  [ops.bitwiseXor],
  [ops.bitShift, { direction: "left" }],
  [ops.bitShift, { direction: "right" }],
  [ops.equal],
  [ops.less],
  [ops.lessOrEqual],
  [ops.greater],
  [ops.greaterOrEqual],
];
const unary: [AnyOp, Attrs?][] = [
  [ops.abs],
  [ops.neg],
  [ops.sign],
  [ops.bitwiseNot],
  [ops.cast, { to: "bool" }],
  [ops.clip],
];

function tensor(dtype: DType, values: readonly bigint[]): HostTensor {
  const t = emptyTensor({ dtype, shape: [values.length] });
  storeIntegers(values, t);
  return t;
}

/** Each pair of the ends of the dtype, what is next to them, small numbers and powers of two; and random ones. */
function operands(dtype: DType): [a: HostTensor, b: HostTensor] {
  const [low, high] = integerRange(dtype);
  const random = randomFrom(11);
  const any = (): bigint => low + BigInt(Math.floor(random() * 2 ** 52)) * ((high - low) / 2n ** 52n || 1n);
  const special = [
    low,
    low + 1n,
    high,
    high - 1n,
    high / 2n,
    high / 3n,
    0n,
    1n,
    2n,
    3n,
    5n,
    7n,
    8n,
    13n,
    31n,
    32n,
    63n,
  ];
  const both = low < 0n ? [...special, -1n, -2n, -3n, -8n] : special;
  const pairs = both.flatMap((a) => both.map((b): [bigint, bigint] => [a, b]));
  for (let i = 0; i < 200; i++) pairs.push([any(), any()], [any(), BigInt(Math.floor(random() * 9))]);
  return [
    tensor(
      dtype,
      pairs.map(([a]) => a),
    ),
    tensor(
      dtype,
      pairs.map(([, b]) => b),
    ),
  ];
}

async function check(device: Backend, op: AnyOp, inputs: readonly HostTensor[], attrs: Attrs): Promise<void> {
  const builder = new GraphBuilder();
  const operands = inputs.map((t, i) =>
    isHostInput(op.op, i) ? builder.constant(t) : builder.input(`x${i}`, t.dtype, t.shape),
  );
  builder.output("y", builder.run(op.op, operands, attrs)[0]);
  using session = await compile(builder.build(), { device });
  const { y } = await session.run(Object.fromEntries(session.inputs.map(({ name }, i) => [name, inputs[i]])));
  expect(session.explain()[0].kernel).toMatch(/^wasm\//);
  expect(y.data).toEqual(runReference(op.op, { inputs, attrs })![0].data);
}

describe.each(backends)("with %s", (_, device) => {
  test.each(dtypes)(
    "operators of %s",
    async (dtype) => {
      const [a, b] = operands(dtype);
      const cut = (t: HostTensor, n: number): HostTensor =>
        tensor(dtype, Array.from(t.data.slice(0, n) as never, BigInt));
      for (const [op, attrs = {}] of binary) {
        await check(device, op, [a, b], attrs);
        await check(device, op, [a, cut(b, 1)], attrs);
        await check(device, op, [cut(a, 1), b], attrs);
        // What is left over from vectors.
        for (const n of [1, 3, 15, 31]) await check(device, op, [cut(a, n), cut(b, n)], attrs);
      }
      for (const [op, attrs = {}] of unary)
        if (dtype[0] === "i" || op !== ops.neg) for (const x of [b, cut(b, 5)]) await check(device, op, [x], attrs);
    },
    60_000,
  );

  test.each(dtypes)(
    "reductions and running sums of %s",
    async (dtype) => {
      const [{ data }] = operands(dtype);
      // Rows with a body and a remainder in vectors of every width.
      const shape = [3, 5, 83];
      const values = Array.from(data.slice(0, 3 * 5 * 83) as never, BigInt) as bigint[];
      while (values.length < 3 * 5 * 83) values.push(values[values.length % 97]);
      const x = { ...tensor(dtype, values), shape };
      const i64 = (numbers: number[], of = [numbers.length]): HostTensor => ({
        ...tensor("i64", numbers.map(BigInt)),
        shape: of,
      });
      for (const op of [ops.reduceSum, ops.reduceMean, ops.reduceProd, ops.reduceMax, ops.reduceMin])
        for (const axes of [[0], [1], [2], [0, 1], [1, 2], [0, 2], [0, 1, 2]])
          await check(device, op, [x, i64(axes)], {});
      for (const axis of [0, 1, 2]) {
        for (const op of [ops.argMax, ops.argMin])
          for (const selectLastIndex of [false, true]) await check(device, op, [x], { axis, selectLastIndex });
        for (const exclusive of [false, true])
          for (const reverse of [false, true])
            await check(device, ops.cumSum, [x, i64([axis], [])], { exclusive, reverse });
      }
    },
    60_000,
  );
});
