import { expect, test } from "vitest";
import { cpu } from "../../src/backends/cpu/index.ts";
import { wasm } from "../../src/backends/wasm/index.ts";
import { compile } from "../../src/graph/compile.ts";
import { graph } from "../../src/graph/define.ts";
import { powF64 } from "../../src/ops/binary.ts";
import { pow } from "../../src/ops/index.ts";
import { randomFrom } from "../random.ts";

const special = [0, -0, 1, -1, 2, -2, 0.5, -0.5, 3, -3, 1e-3, 1e-40, -1e-40, 3e38, -3e38, Infinity, -Infinity, NaN];
const random = randomFrom(7);
const pairs = [
  ...special.flatMap((x) => special.map((e) => [x, e])),
  ...Array.from({ length: 20_000 }, () => [Math.exp(40 * random() - 20), 20 * random() - 10]),
  ...Array.from({ length: 5_000 }, () => [-10 * random(), Math.round(20 * random() - 10)]),
];
const x = Float32Array.from(pairs, ([v]) => v);
const e = Float32Array.from(pairs, ([, v]) => v);
const shape = [pairs.length];
const ulp = (v: number): number => 2 ** (Math.max(Math.floor(Math.log2(Math.abs(v))), -126) - 23);

test.each([
  ["wasm/pow/f32", wasm({ threads: 1 })],
  ["cpu/pow/f32", cpu()],
])("%s is within an ulp of the power, and exact where it is special", async (kernel, device) => {
  const power = graph(({ input }) => ({ y: pow(input("x", "f32", shape), input("e", "f32", shape)) }));
  using session = await compile(power, { device });
  const { y } = await session.run({ x: { dtype: "f32", shape, data: x }, e: { dtype: "f32", shape, data: e } });
  expect(session.explain().map((s) => s.kernel)).toEqual([kernel]);
  const wrong = pairs.flatMap((_, i) => {
    const want = powF64(x[i], e[i]);
    const got = y.data[i] as number;
    const rounded = Math.fround(want);
    const close = Object.is(got, rounded) || Math.abs(got - want) <= ulp(want);
    return close ? [] : [`${x[i]}^${e[i]} = ${want}, not ${got}`];
  });
  expect(wrong).toEqual([]);
});
