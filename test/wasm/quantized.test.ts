/** Kernels on GGUF blocks: generated cases, and every golden block at both levels of SIMD, on one thread and on two. */
import { existsSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { wasm } from "../../src/backends/wasm/index.ts";
import { GROUP } from "../../src/backends/wasm/kernels/quantized-format.ts";
import { formats, packBlocks, packedBytes, unpackBlocks } from "../../src/backends/wasm/kernels/quantized-formats.ts";
import type { WasmSession } from "../../src/backends/wasm/session.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { drive } from "../../src/graph/drive.ts";
import { GraphRunner } from "../../src/graph/runner.ts";
import { compile } from "../../src/graph/session.ts";
import { quantizedMatmul, rowBytes } from "../../src/ops/quantized-matmul.ts";
import type { BlockType } from "../../src/tensor/blocks/types.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { randomBlocks } from "../cases/blocks.ts";
import { opCase, tensorFrom } from "../cases/case.ts";
import { difference } from "../compare.ts";
import { runReference } from "../kernel-property.ts";
import { testKernels } from "../kernels.ts";
import { toleranceOf } from "../tolerance.ts";

const levels = [true, false].map((relaxed) => ({
  label: relaxed ? "as the host allows" : "in baseline SIMD",
  features: relaxed ? {} : { relaxedSimd: false },
}));

for (const { label, features } of levels) {
  const backend = wasm({ threads: 1, features });
  const kernels = (await backend.ownKernels()).filter((k) => k.op.name.startsWith("quantized"));
  testKernels(`block kernels ${label}`, { ...backend, kernels });
}

const shared = new URL("../../../shared/formats/gguf-blocks/", import.meta.url);
const present = existsSync(shared);
if (!present) console.warn("quantised kernels: shared/formats is absent, the golden blocks are skipped");

interface Golden {
  type: string;
  rows: number;
  cols: number;
  finite: boolean;
}
const goldens: Golden[] = present ? JSON.parse(readFileSync(new URL("index.json", shared), "utf8")) : [];

/** `n` rows of the golden ones, again and again. */
function repeated(bytes: Uint8Array, row: number, n: number): HostTensor {
  const data = new Uint8Array(n * row);
  for (let i = 0; i < n; i++)
    data.set(bytes.subarray((i * row) % bytes.length, ((i * row) % bytes.length) + row), i * row);
  return { dtype: "u8", shape: [data.length], data };
}

for (const threads of [1, 2])
  for (const { label, features } of levels)
    describe.skipIf(!present)(`golden blocks ${label}, ${threads} thread${threads > 1 ? "s" : ""}`, () => {
      const backend = wasm({ threads, features, parallelWork: 0 });
      let device: WasmSession;
      beforeAll(async () => {
        await backend.load!([], []);
        device = backend.open() as WasmSession;
        // Runs go without threads until they have started.
        await device.pool?.ready();
        expect(device.pool?.started ?? false).toBe(threads > 1);
      }, 30_000);
      afterAll(() => device.dispose());
      test.each(goldens)("$type", async ({ type: name, cols: k, finite }) => {
        expect(finite).toBe(true);
        const type = name.toLowerCase() as BlockType;
        const bytes = new Uint8Array(readFileSync(new URL(`${name}.bin`, shared)));
        for (const m of [1, 2, 5, 16, 33]) {
          // Long enough that both threads come.
          const n = m === 1 && threads > 1 ? 4001 : 21;
          const x = tensorFrom(m, "f32", [m, k]);
          const w = repeated(bytes, rowBytes({ type, k }), n);
          const attrs = { type, n, k };
          const builder = new GraphBuilder();
          builder.output("y", quantizedMatmul(builder.input("x", "f32", x.shape), builder.constant(w), attrs));
          const runner = new GraphRunner(builder.build(), backend, device);
          const [y] = (await drive(runner.execute([x]))) as HostTensor[];
          const c = opCase(quantizedMatmul, [x, w], attrs);
          const [want] = runReference(quantizedMatmul.op, c)!;
          expect(difference(y, want, toleranceOf("quantizedMatmul", "f32", c)), `${m} rows`).toBeUndefined();
        }
      });
    });

test.each(Object.keys(formats) as BlockType[])("%s: both levels of SIMD add up the same integers", async (type) => {
  const [m, n, k] = [3, 11, 512];
  const [x, w] = [tensorFrom(7, "f32", [m, k]), randomBlocks(5, type, n, k)];
  const [a, b] = await Promise.all(
    levels.map(async ({ features }) => {
      const builder = new GraphBuilder();
      const attrs = { type, n, k };
      builder.output("y", quantizedMatmul(builder.input("x", "f32", x.shape), builder.constant(w), attrs));
      const session = await compile(builder.build(), { device: wasm({ threads: 1, features }) });
      return (await session.run({ x })).y.data as Float32Array;
    }),
  );
  // The same kernels twice where the host has no relaxed SIMD. A code of -128 taken for -127 would be off by about 1e-3.
  for (let column = 0; column < n; column++) {
    const of = (y: Float32Array) => Array.from({ length: m }, (_, r) => y[r * n + column]);
    const largest = Math.max(...of(a).map(Math.abs));
    of(b).forEach((v, r) => {
      expect(Math.abs(v - of(a)[r]) / largest, `column ${column}`).toBeLessThan(1e-5);
    });
  }
});

for (const { label, features } of levels)
  test.each(Object.keys(formats) as BlockType[])(
    `%s, ${label}: a row's product is the same among many`,
    async (type) => {
      // More rows than a block of the product of floats, and one left over for its last tile.
      const [m, n, k] = [131, 43, 512];
      const [x, w] = [tensorFrom(7, "f32", [m, k]), randomBlocks(5, type, n, k)];
      const product = async (rows: HostTensor) => {
        const builder = new GraphBuilder();
        const y = quantizedMatmul(builder.input("x", "f32", rows.shape), builder.constant(w), { type, n, k });
        builder.output("y", y);
        const session = await compile(builder.build(), { device: wasm({ threads: 1, features }) });
        return (await session.run({ x: rows })).y.data as Float32Array;
      };
      const together = await product(x);
      for (const row of [0, 65, 66, 130]) {
        const data = (x.data as Float32Array).slice(row * k, (row + 1) * k);
        const alone = await product({ dtype: "f32", shape: [1, k], data });
        const largest = Math.max(...alone.map(Math.abs));
        // Activations that are rounded in one of them only are off by 1e-3.
        alone.forEach((v, i) => {
          expect(Math.abs(v - together[row * n + i]) / largest, `row ${row}, column ${i}`).toBeLessThan(2e-5);
        });
      }
    },
  );

test("packed blocks take little more than those of the file", () => {
  for (const type of Object.keys(formats) as BlockType[]) {
    const k = 512;
    const inFile = GROUP * rowBytes({ type, k });
    expect(packedBytes(formats[type]!, GROUP, k) / inFile, type).toBeLessThan(1.06);
    // Rows that are not there are zeros, whatever stood there before.
    const one = new Uint8Array(packedBytes(formats[type]!, GROUP, k)).fill(255);
    packBlocks(type, k, new Uint8Array(rowBytes({ type, k })), one);
    // 224 is a scale of -32, which zero bits mean in q3_k and iq4_xs.
    expect(
      one.every((b) => b === 0 || b === 224),
      type,
    ).toBe(true);
  }
});

test.each(Object.keys(formats) as BlockType[])("packed %s gives back the file's bytes", (type) => {
  const [n, k] = [GROUP + 3, 512];
  const file = randomBlocks(5, type, n, k).data as Uint8Array;
  const packed = new Uint8Array(packedBytes(formats[type]!, n, k));
  packBlocks(type, k, file, packed);
  expect(unpackBlocks(type, n, k, packed)).toEqual(file);
});
