/** What backends are told that operators compute with: enough to have the kernels, and no more than that. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { wasm } from "../../src/backends/wasm/index.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { compile } from "../../src/graph/compile.ts";
import { graph } from "../../src/graph/define.ts";
import { dtypesOf } from "../../src/graph/operand-types.ts";
import { ifElse } from "../../src/ops/if.ts";
import * as allOps from "../../src/ops/index.ts";
import { add, cast, cumSum, gather, identity, mod, mul, shape, sub, topk, where } from "../../src/ops/index.ts";
import type { OpDef } from "../../src/ops/op.ts";
import { hostTensor } from "../../src/tensor/host-tensor.ts";
import type { OpCase } from "../cases/case.ts";
import { cases } from "../cases/index.ts";
import { mlCases } from "../cases/ml.ts";
import { runReference } from "../kernel-property.ts";

const mask = graph(({ input, weight }) => {
  const ids = input("ids", "i64", [4]);
  const x = input("x", "f32", [4]);
  const size = mul(shape(x), weight(hostTensor([2n], { dtype: "i64" })));
  const table = weight(hostTensor([1, 2, 3]));
  const rows = mul(gather(table, ids), cast(sub(ids, ids), { to: "f32" }));
  const [, at] = topk(x, [2]);
  return { rows, size, even: mod(at, weight(hostTensor([2n], { dtype: "i64" }))) };
});

test("operators that compute with data say so, those on shapes and constants don't", () => {
  const typed = dtypesOf(mask);
  expect(typed).toEqual(expect.arrayContaining(["i64", "f32", "sub:i64", "mul:f32", "gather:i64", "mod:int"]));
  expect(typed).not.toContain("mul:i64");
  expect(typed).toEqual(expect.arrayContaining(["cast:i64", "cast:f32"]));
});

test("so do those in a branch, of which only the results of casts are known", () => {
  const branch = graph(({ input }) => ({ y: cast(input("v", "i64", [2]), { to: "f64" }) }));
  const builder = new GraphBuilder();
  const x = builder.input("x", "i64", [2]);
  const inputs = [builder.input("c", "bool", []), x, x];
  const [y] = builder.run(ifElse.op, inputs, { thenBranch: branch, elseBranch: branch });
  builder.output("y", y);
  expect(dtypesOf(builder.build())).toEqual(expect.arrayContaining(["cast:i64", "cast:f64"]));
});

test("kernels for integers are loaded and chosen", async () => {
  const sum = graph(({ input }) => {
    const [a, b] = [input("a", "i64", ["n"]), input("b", "i64", ["n"])];
    return { y: where(input("c", "bool", ["n"]), add(a, b), b) };
  });
  using session = await compile(sum, { device: wasm({ threads: 1 }) });
  const a = hostTensor([2n ** 62n, 3n], { dtype: "i64" });
  const { y } = await session.run({ a, b: a, c: hostTensor([true, false], { dtype: "bool" }) });
  expect([...(y.data as BigInt64Array)]).toEqual([-(2n ** 63n), 3n]);
  expect(session.explain().map((s) => s.kernel)).toEqual(["wasm/add/integers", "wasm/where/integers"]);
});

test("what is loaded for integers does not stand in for kernels of other dtypes", async () => {
  const device = wasm({ threads: 1 });
  const axis = hostTensor(0n, { dtype: "i64" });
  const kernels = async (dtype: "i64" | "f32", data: BigInt64Array | Float32Array) => {
    const both = graph(({ input, weight }) => ({
      rest: mod(input("a", dtype, [2]), input("b", dtype, [2])),
      sums: cumSum(input("c", dtype, [2]), weight(axis)),
    }));
    using session = await compile(both, { device });
    const t = { dtype, shape: [2], data };
    await session.run({ a: t, b: t, c: t });
    return session.explain().map((s) => s.kernel);
  };
  const integers = await kernels("i64", BigInt64Array.of(5n, -3n));
  expect(integers).toEqual(["wasm/mod/integers", "wasm/cumSum/integers"]);
  expect(await kernels("f32", Float32Array.of(5, -3))).toEqual(["cpu/mod/any", "wasm/cumSum/columns"]);
});

/** What gives a dtype of its own to anything, and is rare, or known while planning. So do the operators of ai.onnx.ml. */
const others = new Set(
  (
    "shape size constantOfShape randomNormal randomUniform bernoulli multinomial eyeLike dynamicQuantizeLinear " +
    "layerNormStatistics hannWindow hammingWindow blackmanWindow melWeightMatrix"
  ).split(" "),
);

test("what reads the result of an operator is told of with its dtype", () => {
  const operators = Object.values(allOps).flatMap((f) => (typeof f === "function" && "op" in f ? [f.op as OpDef] : []));
  let checked = 0;
  for (const op of operators) {
    const arbitrary = (cases as Record<string, fc.Arbitrary<OpCase>>)[op.name];
    if (!op.infer || !arbitrary || others.has(op.name) || op.name in mlCases) continue;
    for (const { inputs, attrs } of fc.sample(arbitrary, { numRuns: 20, seed: 1 })) {
      const want = runReference(op, { inputs, attrs })?.[0].dtype;
      if (!want || inputs.length === 0) continue;
      const builder = new GraphBuilder();
      const given = inputs.map((t, i) => t && builder.input(`x${i}`, t.dtype, t.shape));
      const [y] = builder.run(op, given, attrs);
      builder.output("y", builder.run(identity.op, [y], {})[0]);
      const told = dtypesOf(builder.build()).filter((t) => /^identity:(?!int$)/.test(t));
      expect(told, op.name).toEqual([`identity:${want}`]);
      checked++;
    }
  }
  expect(checked).toBeGreaterThan(1000);
});
