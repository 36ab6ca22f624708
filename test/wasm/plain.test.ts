/** The plain backend is loaded for what has no kernel in wasm, and for nothing else. */
import { beforeEach, expect, test, vi } from "vitest";
import type { SymbolicValue } from "../../src/graph/builder.ts";
import { compile } from "../../src/graph/compile.ts";
import { graph } from "../../src/graph/define.ts";
import * as ops from "../../src/ops/index.ts";
import type { DType } from "../../src/tensor/dtype.ts";
import { emptyTensor } from "../../src/tensor/tensor.ts";

beforeEach(() => void vi.resetModules());

/** Runs what `body` makes of two inputs: its kernels, and whether the plain backend came with them. */
async function loaded(dtype: DType, body: (x: SymbolicValue, y: SymbolicValue) => SymbolicValue) {
  const { wasm } = await import("../../src/backends/wasm/index.ts");
  const model = graph(({ input }) => ({ out: body(input("x", dtype, [2, 3]), input("y", dtype, [2, 3])) }));
  const device = wasm({ threads: 1 });
  using session = await compile(model, { device });
  const given = emptyTensor({ dtype, shape: [2, 3] });
  await session.run({ x: given, y: given });
  return {
    kernels: session.explain().map((s) => s.kernel.replace(/\/.*/, "")),
    plain: device.kernels.some((k) => k.name.startsWith("cpu/")),
  };
}

const rare: DType[] = ["f64", "i16", "u16", "u32", "u64"];
const integers = rare.filter((d) => d !== "f64");

test.each(rare)("casts from and to %s and moves of it take no plain kernel", async (dtype) => {
  const others: DType[] = ["f32", "bool", "i64", "u8"];
  for (const other of others) {
    expect(await loaded(dtype, (x) => ops.cast(x, { to: other }))).toEqual({ kernels: ["wasm"], plain: false });
    expect(await loaded(other, (x) => ops.cast(x, { to: dtype }))).toEqual({ kernels: ["wasm"], plain: false });
  }
  const moved = await loaded(dtype, (x, y) => ops.transpose(ops.concat(x, y, { axis: 0 })));
  expect(moved).toEqual({ kernels: ["wasm", "wasm"], plain: false });
});

test.each(integers)("arithmetic on %s takes no plain kernel", async (dtype) => {
  const got = await loaded(dtype, (x, y) => ops.reduceMax(ops.where(ops.less(x, y), ops.add(x, y), y)));
  expect(got).toEqual({ kernels: ["wasm", "wasm", "wasm", "wasm"], plain: false });
});

test("arithmetic on f64, and forms that only the plain backend has, take its kernels", async () => {
  expect(await loaded("f64", ops.add)).toEqual({ kernels: ["cpu"], plain: true });
  expect(await loaded("f32", ops.mod)).toEqual({ kernels: ["cpu"], plain: true });
});
