/** Every operator on integers, with every dtype of 8 to 64 bits: exactly its reference, where values overflow too. */
import { describe, expect, test } from "vitest";
import type { Backend } from "../../src/backends/backend.ts";
import { wasmFeatures } from "../../src/backends/wasm/features.ts";
import { wasm } from "../../src/backends/wasm/index.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { compile } from "../../src/graph/session.ts";
import * as ops from "../../src/ops/index.ts";
import { integerRange, storeIntegers } from "../../src/ops/integers.ts";
import type { AnyOp, Attrs } from "../../src/ops/op.ts";
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
  const operands = inputs.map((t, i) => builder.input(`x${i}`, t.dtype, t.shape));
  builder.output("y", builder.run(op.op, operands, attrs)[0]);
  using session = await compile(builder.build(), { device });
  const { y } = await session.run(Object.fromEntries(inputs.map((t, i) => [`x${i}`, t])));
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
});
