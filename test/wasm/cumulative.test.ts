/** Running sums and products of floats: bit by bit the reference's, with infinities, NaN and whatever else. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Backend } from "../../src/backends/backend.ts";
import { compile } from "../../src/graph/compile.ts";
import { graph } from "../../src/graph/define.ts";
import { cumProd, cumSum } from "../../src/ops/index.ts";
import { sizeOf } from "../../src/tensor/shape.ts";
import { runReference } from "../kernel-property.ts";
import { wasmDevices } from "./workers.ts";

const devices = Object.entries(await wasmDevices());

const element = fc.oneof(
  { weight: 20, arbitrary: fc.float({ min: -9, max: 9, noNaN: true }) },
  { weight: 1, arbitrary: fc.double() },
);

test.each(devices)("%s", async (_, open) => {
  const device = open() as Backend;
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        op: fc.constantFrom(cumSum, cumProd),
        dtype: fc.constantFrom("f32" as const, "f64" as const),
        shape: fc.tuple(fc.integer({ min: 0, max: 5 }), fc.constantFrom(1, 2, 40), fc.constantFrom(1, 5, 16, 37, 130)),
        axis: fc.integer({ min: -3, max: 2 }),
        some: fc.array(element, { minLength: 1, maxLength: 211 }),
        exclusive: fc.boolean(),
        reverse: fc.boolean(),
      }),
      async ({ op, dtype, shape, axis, some, exclusive, reverse }) => {
        const data = new (dtype === "f32" ? Float32Array : Float64Array)(sizeOf(shape));
        data.forEach((_, i) => {
          data[i] = some[i % some.length];
        });
        const x = { dtype, shape, data };
        const along = { dtype: "i64" as const, shape: [], data: BigInt64Array.of(BigInt(axis)) };
        const attrs = { exclusive, reverse };
        const made = graph(({ input, weight }) => ({ y: op(input("x", dtype, shape), weight(along), attrs) }));
        using session = await compile(made, { device });
        const { y } = await session.run({ x });
        if (data.length > 0) expect(session.explain().map((s) => s.kernel)).toEqual([`wasm/${op.op.name}/columns`]);
        expect(y.data).toEqual(runReference(op.op, { inputs: [x, along], attrs })![0].data);
      },
    ),
    { numRuns: 80, seed: 20260803 },
  );
});
