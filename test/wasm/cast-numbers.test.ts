/** Every cast between numbers of 8 to 64 bits and bools, as the reference has it: in range and out of it, for lengths with a remainder. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Backend } from "../../src/backends/backend.ts";
import { compile } from "../../src/graph/compile.ts";
import { graph } from "../../src/graph/define.ts";
import { cast, castLike } from "../../src/ops/index.ts";
import { integerRange, storeIntegers } from "../../src/ops/integers.ts";
import { fromF64 } from "../../src/tensor/convert.ts";
import { type DType, isInteger } from "../../src/tensor/dtype.ts";
import { emptyTensor, type HostTensor } from "../../src/tensor/tensor.ts";
import { runReference } from "../kernel-property.ts";
import { wasmDevices } from "./workers.ts";

const dtypes: DType[] = ["f32", "f64", "i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64", "bool"];
const devices = Object.entries(await wasmDevices());

const ends = [7, 8, 15, 16, 31, 32, 53, 63, 64].flatMap((bits) => [2 ** bits, -(2 ** bits)]);
const float = fc.oneof(
  fc.float({ noDefaultInfinity: true, noNaN: true, min: -1000, max: 1000 }),
  fc.constantFrom(...ends, ...ends.map((v) => v * (1 - 2 ** -24)), 0.5, -0.5, 0, -0, 1e30, -1e30),
  fc.constantFrom(Number.NaN, Infinity, -Infinity),
);

const valuesOf = (dtype: DType): fc.Arbitrary<HostTensor> => {
  const length = { minLength: 1, maxLength: 70 };
  const filled = <T>(values: readonly T[], store: (values: T[], t: HostTensor) => void): HostTensor => {
    const t = emptyTensor({ dtype, shape: [values.length] });
    store([...values], t);
    return t;
  };
  if (!isInteger(dtype)) return fc.array(float, length).map((v) => filled(v, fromF64));
  const [min, max] = integerRange(dtype);
  // Beyond 2^53 the reference goes from integers to f32 by way of doubles.
  const [low, high] = [min < -(2n ** 53n) ? -(2n ** 53n) : min, max > 2n ** 53n ? 2n ** 53n : max];
  return fc
    .array(fc.oneof(fc.bigInt(low, high), fc.constantFrom(min, max, 0n, 1n)), length)
    .map((v) => filled(v, storeIntegers));
};

test.each(devices)("every pair of dtypes, %s", async (_, open) => {
  const device = open() as Backend;
  for (const from of dtypes)
    for (const to of dtypes)
      if (from !== to)
        await fc.assert(
          fc.asyncProperty(valuesOf(from), fc.boolean(), async (x, like) => {
            const model = graph(({ input }) => {
              const value = input("x", from, x.shape);
              return { y: like ? castLike(value, input("like", to, [1])) : cast(value, { to }) };
            });
            using session = await compile(model, { device });
            const { y } = await session.run(like ? { x, like: emptyTensor({ dtype: to, shape: [1] }) } : { x });
            expect(y.data).toEqual(runReference(cast.op, { inputs: [x], attrs: { to } })![0].data);
            expect(session.explain()[0].kernel).toMatch(/^wasm\/cast/);
          }),
          { numRuns: 12 },
        );
});
