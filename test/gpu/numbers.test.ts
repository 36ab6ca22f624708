/** Numbers at the ends of what the language's own functions promise: against the plain device. */
import { expect, test } from "vitest";
import { cpu } from "../../src/backends/cpu/index.ts";
import { openWebgpu } from "../../src/backends/webgpu/index.ts";
import {
  type Backend,
  compile,
  graph,
  type HostTensor,
  InputError,
  UnsupportedOpError,
  type SymbolicValue as Value,
} from "../../src/index.ts";
import * as ops from "../../src/ops/index.ts";
import { difference } from "../compare.ts";
import { installDawn } from "./dawn.ts";

await installDawn();
const device = await openWebgpu();

const special = [Number.NaN, Infinity, -Infinity, 0, -0, 1, -1, 0.25, -0.25, 0.5, 3, -3];
const large = [1e3, -1e3, 8191, 8193, -1e5, 1e6, 1e7, 2 ** 24, -1e10, 1e20, -3e38];

const run = async (of: (...inputs: Value[]) => Value, inputs: readonly HostTensor[], on: Backend) => {
  const g = graph(({ input }) => ({ y: of(...inputs.map((t, i) => input(`x${i}`, t.dtype, t.shape))) }));
  using session = await compile(g, { device: on });
  return (await session.run(Object.fromEntries(inputs.map((t, i) => [`x${i}`, t])))).y;
};

async function expectSame(of: (...inputs: Value[]) => Value, ...inputs: HostTensor[]): Promise<void> {
  const [got, want] = [await run(of, inputs, device), await run(of, inputs, cpu() as Backend)];
  expect(difference(got, want, { absolute: 1e-5, relative: 1e-5 })).toBeUndefined();
}

const f32 = (values: readonly number[], shape = [values.length]): HostTensor => ({
  dtype: "f32",
  shape,
  data: Float32Array.from(values),
});

test.each<[string, (x: Value) => Value]>([
  ["log", ops.log],
  ["asinh", ops.asinh],
  ["acosh", ops.acosh],
  ["atanh", ops.atanh],
  ["sin", ops.sin],
  ["cos", ops.cos],
  ["tan", ops.tan],
  ["exp", ops.exp],
  ["softplus", (x) => ops.softplus(x)],
  ["cast to bool", (x) => ops.cast(x, { to: "bool" })],
])("%s", async (_, of) => {
  await expectSame(of, f32([...special, ...large]));
  // The code of one element, not of four.
  await expectSame(of, f32([1e6], []));
});

test("the remainder of floats is exact", async () => {
  const all = [...special, ...large, 7, 1e-40, 2 ** -140, 1.5e-45];
  const pairs = all.flatMap((a) => all.map((b) => [a, b]));
  const [a, b] = [0, 1].map((k) => f32(pairs.map((p) => p[k])));
  const remainder = (x: Value, y: Value) => ops.mod(x, y, { fmod: true });
  const [got, want] = [await run(remainder, [a, b], device), await run(remainder, [a, b], cpu() as Backend)];
  expect(got.data).toEqual(want.data);
});

const rows = [
  [Number.NaN, 1, 2],
  [1, Number.NaN, 2],
  [Infinity, 1, 2],
  [-Infinity, -Infinity, -Infinity],
  [-Infinity, Number.NaN, -Infinity],
];

test.each([
  ["softmax", ops.softmax],
  ["logSoftmax", ops.logSoftmax],
  ["hardmax", ops.hardmax],
] as const)("%s of rows with NaN and infinity", async (_, of) => {
  await expectSame((x) => of(x, {}), f32(rows.flat(), [rows.length, 3]));
  // Rows that a workgroup shares.
  const long = rows.map(([first, ...rest]) => [first, ...new Array<number>(60).fill(0.5), ...rest]);
  await expectSame((x) => of(x, {}), f32(long.flat(), [rows.length, 63]));
});

test("isInf of neither side, and gather from nothing", async () => {
  await expectSame((x) => ops.isInf(x, { detectNegative: false, detectPositive: false }), f32(special));
  const nothing = run(
    (x, at) => ops.gather(x, at, {}),
    [f32([], [0, 3]), { dtype: "i64", shape: [1], data: BigInt64Array.of(0n) }],
    device,
  );
  await expect(nothing).rejects.toThrow(InputError);
  await expect(nothing).rejects.toThrow("gather: index 0 is outside axis 0 of size 0");
});

const i64 = (values: readonly number[]): HostTensor => ({
  dtype: "i64",
  shape: [values.length],
  data: BigInt64Array.from(values, BigInt),
});

test("means of integers whose sums leave 32 bits", async () => {
  const mean = (x: Value): Value => ops.reduceMean(x, undefined, {});
  const [least, most] = [-(2 ** 31), 2 ** 31 - 1];
  for (const values of [
    [most, most, most - 3],
    [least, least],
    [-7, 2, -3],
    [least, most],
  ]) {
    await expectSame(mean, i64(values));
    await expectSame(mean, i64(new Array<number[]>(50).fill(values).flat()));
    await expectSame(mean, { dtype: "i32", shape: [values.length], data: Int32Array.from(values) });
  }
  await expectSame(mean, { dtype: "u32", shape: [3], data: Uint32Array.of(2 ** 32 - 1, 2 ** 32 - 1, 5) });
});

test("products and casts that leave 32 bits of 64 are for the host; sums, as of masks, are not", async () => {
  const refused = async (of: (x: Value) => Value, t: HostTensor): Promise<void> =>
    await expect(run(of, [t], device)).rejects.toThrow(UnsupportedOpError);
  const x = i64([70000, 70000, -1]);
  const product = (v: Value): Value => ops.reduceProd(v, undefined, {});
  await refused(product, x);
  await refused((v) => ops.reduceSumSquare(v, undefined, {}), x);
  await refused((v) => ops.cast(v, { to: "u64" }), x);
  await refused((v) => ops.cast(v, { to: "i64" }), { dtype: "u32", shape: [1], data: Uint32Array.of(2 ** 32 - 1) });
  const lenient = (await openWebgpu({ fallback: "cpu" })) as Backend;
  expect((await run(product, [i64([700, -3])], lenient)).data).toEqual(BigInt64Array.of(-2100n));
  await expect(run(product, [x], lenient)).rejects.toThrow("-4900000000 does not fit in 32 bits");
  const mask = i64([1, 1, 1, 0]);
  await expectSame((v) => ops.reduceSum(v, undefined, {}), mask);
  await expectSame((v) => ops.cast(ops.cast(v, { to: "u8" }), { to: "i64" }), mask);
});

test.each([[[0, 0]], [[-1, -2]], [[Number.NaN, 1]], [[Infinity, 1]]])("reduceLogSum of %o", async (values) => {
  await expectSame((x) => ops.reduceLogSum(x, undefined, {}), f32(values));
});
