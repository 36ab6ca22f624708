/** Where the extreme elements of rows are, among numbers that compare oddly. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { wasm } from "../../src/backends/wasm/index.ts";
import { compile } from "../../src/graph/compile.ts";
import { graph } from "../../src/graph/define.ts";
import { argMax, argMin } from "../../src/ops/arg-reduce.ts";
import { emptyTensor, type HostTensor } from "../../src/tensor/tensor.ts";

const numbers = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: -3, max: 3 }) },
  { weight: 1, arbitrary: fc.constantFrom(-0, Infinity, -Infinity) },
);
/** Rows behind one another, so that one is read beyond its end. NaN is in few of them. */
const rows = fc
  .record({ n: fc.integer({ min: 1, max: 70 }), count: fc.integer({ min: 1, max: 4 }), odd: fc.nat({ max: 6 }) })
  .chain(({ n, count, odd }) =>
    fc
      .array(odd === 0 ? fc.oneof(numbers, fc.constant(Number.NaN)) : numbers, {
        minLength: n * count,
        maxLength: n * count,
      })
      .map((all): HostTensor => ({ dtype: "f32", shape: [count, n], data: Float32Array.from(all) })),
  );

test.each([
  ["argMax", argMax],
  ["argMin", argMin],
] as const)("%s of rows is the reference's", async (_, op) => {
  for (const selectLastIndex of [false, true]) {
    const attrs = { axis: -1, selectLastIndex };
    const net = graph(({ input }) => ({ y: op(input("x", "f32", ["rows", "n"]), attrs) }));
    using session = await compile(net, { device: wasm({ threads: 1 }), plans: 1000 });
    await fc.assert(
      fc.asyncProperty(rows, async (x) => {
        const want = emptyTensor({ dtype: "i64", shape: [x.shape[0], 1] });
        op.op.reference!([x], attrs, [want]);
        expect((await session.run({ x }))["y"]).toEqual(want);
      }),
      { numRuns: 150 },
    );
    expect(new Set(session.explain().map((s) => s.kernel))).toEqual(new Set([`wasm/${op.op.name}/axis`]));
  }
});
