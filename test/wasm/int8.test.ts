/** Products of bytes where hosts add four of them at once: both kinds of such instructions, stood in for. */
import { describe, expect, test } from "vitest";
import { wasm } from "../../src/backends/wasm/index.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { compile } from "../../src/graph/compile.ts";
import { convInteger } from "../../src/ops/conv-integer.ts";
import { matmulInteger } from "../../src/ops/matmul-integer.ts";
import { hostTensor } from "../../src/tensor/host-tensor.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { opCase } from "../cases/case.ts";
import { runReference } from "../kernel-property.ts";
import { testKernels } from "../kernels.ts";
import { type Random, randomFrom } from "../random.ts";
import { standIn } from "./dot-add.ts";
import { onThreads } from "./threaded.ts";

type Bytes = typeof Int8Array | typeof Uint8Array;

/** Bytes of all values, the extremes more often than others. */
const bytesOf = (type: Bytes, shape: number[], random: Random): HostTensor => {
  const pick = () => [Math.floor(256 * random()), 0, 127, 128, 255][Math.floor(8 * random())] ?? 1;
  const data = new type(shape.reduce((a, b) => a * b, 1));
  return hostTensor(
    data.map(() => pick()),
    { shape },
  );
};

const runs: readonly [m: number, k: number, n: number][] = [
  [1, 1, 1],
  [1, 64, 43],
  [2, 3, 8],
  [5, 17, 9],
  [31, 5, 21],
  [130, 38, 12],
];
const zeros = ["none", "one", "each"] as const;
const types = [Int8Array, Uint8Array];

describe.each(["unsigned", "signed"] as const)("a side of bytes is %s", (dotAdd) => {
  standIn(dotAdd);

  for (const fma of [4, 6] as const) {
    const backend = wasm({ threads: 1, features: { relaxedSimd: true, dotAdd, fma } });
    describe(`tiles of ${fma} rows`, async () => {
      const kernels = (await backend.ownKernels()).filter((k) => /nteger|qlinear/.test(k.op.name));
      testKernels("products of bytes", { ...backend, kernels });
    });
  }

  test.each(runs)("[%i, %i] times [.., %i]: to the last bit, whatever zero points there are", async (m, k, n) => {
    const random = randomFrom(m + k + n);
    const device = wasm({ threads: 1, features: { relaxedSimd: true, dotAdd, fma: 6 } });
    for (const typeA of types)
      for (const typeB of types)
        for (const ofA of zeros)
          for (const ofB of zeros) {
            const [a, b] = [bytesOf(typeA, [m, k], random), bytesOf(typeB, [k, n], random)];
            const aZero = ofA === "none" ? undefined : bytesOf(typeA, ofA === "one" ? [] : [m, 1], random);
            const bZero = ofB === "none" ? undefined : bytesOf(typeB, ofB === "one" ? [] : [n], random);
            const [want] = runReference(matmulInteger.op, opCase(matmulInteger, [a, b, aZero, bZero], {}))!;
            const g = new GraphBuilder();
            const x = g.input("a", a.dtype, a.shape);
            const zero = aZero && g.input("zero", aZero.dtype, aZero.shape);
            g.output("y", matmulInteger(x, g.constant(b), zero, bZero && g.constant(bZero)));
            const session = await compile(g.build(), { device });
            const { y } = await session.run(aZero ? { a, zero: aZero } : { a });
            expect(session.explain().map((s) => s.kernel)).toEqual(["wasm/matmulInteger/dot"]);
            expect(y.data, `${a.dtype} ${b.dtype} ${ofA} ${ofB}`).toEqual(want.data);
            session.dispose();
          }
  });

  test.each([
    [{}, 3, 4, 1],
    [{ pads: [1, 2, 0, 1], strides: [2, 1] }, 7, 9, 1],
    [{ pads: [1, 1, 1, 1], dilations: [1, 2], groups: 2 }, 10, 6, 2],
  ])("convolutions %o: padding is a zero point, whatever that is", async (attrs, channels, out, group) => {
    const random = randomFrom(channels);
    const device = wasm({ threads: 1, features: { relaxedSimd: true, dotAdd, fma: 6 } });
    for (const typeX of types)
      for (const typeW of types)
        for (const hasZero of [false, true]) {
          const [x, w] = [
            bytesOf(typeX, [2, channels, 6, 7], random),
            bytesOf(typeW, [out, channels / group, 3, 3], random),
          ];
          const xZero = hasZero ? bytesOf(typeX, [], random) : undefined;
          const wZero = typeW === Int8Array ? undefined : hostTensor(Uint8Array.of(128), { shape: [] });
          const [want] = runReference(convInteger.op, opCase(convInteger, [x, w, xZero, wZero], attrs))!;
          const g = new GraphBuilder();
          const zero = xZero && g.input("zero", xZero.dtype, []);
          const input = g.input("x", x.dtype, x.shape);
          g.output("y", convInteger(input, g.constant(w), zero, wZero && g.constant(wZero), attrs));
          const session = await compile(g.build(), { device });
          const { y } = await session.run(xZero ? { x, zero: xZero } : { x });
          expect(session.explain().map((s) => s.kernel)).toEqual(["wasm/convInteger/gemm"]);
          expect(y.data, `${x.dtype} ${w.dtype} ${hasZero}`).toEqual(want.data);
          session.dispose();
        }
  });

  onThreads(
    (device) => {
      test.each([
        [5, 301, 120],
        [130, 38, 12],
      ])("[%i, %i] times [.., %i], divided by columns or by rows", async (m, k, n) => {
        const random = randomFrom(m);
        // Each has a first bit to turn on one kind of host, and a sum of rows.
        for (const type of types) {
          const [a, b] = [bytesOf(type, [m, k], random), bytesOf(type, [k, n], random)];
          const [aZero, bZero] = [bytesOf(type, [m, 1], random), bytesOf(type, [n], random)];
          const [want] = runReference(matmulInteger.op, opCase(matmulInteger, [a, b, aZero, bZero], {}))!;
          const g = new GraphBuilder();
          const zero = g.input("zero", a.dtype, aZero.shape);
          g.output("y", matmulInteger(g.input("a", a.dtype, a.shape), g.constant(b), zero, g.constant(bZero)));
          const session = await compile(g.build(), { device });
          for (let run = 0; run < 20; run++) expect((await session.run({ a, zero: aZero })).y.data).toEqual(want.data);
          session.dispose();
        }
      });
    },
    { relaxedSimd: true, dotAdd, fma: 6 },
  );
});
