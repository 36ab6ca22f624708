/** Kernels on GGUF blocks: generated cases, and every golden block at both levels of SIMD, on one thread and on two. */
import { existsSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { WasmFeatures } from "../../src/backends/wasm/features.ts";
import { wasm } from "../../src/backends/wasm/index.ts";
import { GROUP } from "../../src/backends/wasm/kernels/quantized-format.ts";
import { formats, packBlocks, packedBytes, unpackBlocks } from "../../src/backends/wasm/kernels/quantized-formats.ts";
import type { WasmSession } from "../../src/backends/wasm/session.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { compile } from "../../src/graph/compile.ts";
import { drive } from "../../src/graph/drive.ts";
import { GraphRunner } from "../../src/graph/runner.ts";
import { quantizedMatmul, rowBytes } from "../../src/ops/quantized-matmul.ts";
import type { BlockType } from "../../src/tensor/blocks/types.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { randomBlocks } from "../cases/blocks.ts";
import { opCase, tensorFrom } from "../cases/case.ts";
import { difference } from "../compare.ts";
import { runReference } from "../kernel-property.ts";
import { testKernels } from "../kernels.ts";
import { toleranceOf } from "../tolerance.ts";
import { standIn } from "./dot-add.ts";
import { onThreads } from "./threaded.ts";

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

const types = Object.keys(formats) as BlockType[];

/** x w^T with kernels for `features`. */
async function product(x: HostTensor, w: HostTensor, type: BlockType, features: Partial<WasmFeatures>) {
  const k = x.shape[1];
  const n = w.shape[0] / rowBytes({ type, k });
  const builder = new GraphBuilder();
  builder.output("y", quantizedMatmul(builder.input("x", "f32", x.shape), builder.constant(w), { type, n, k }));
  const session = await compile(builder.build(), { device: wasm({ threads: 1, features }) });
  return (await session.run({ x })).y.data as Float32Array;
}

/** Differences relative to the largest number of their column: a code of -128 taken for -127 would be off by about 1e-3. */
function expectSameIntegers(a: Float32Array, b: Float32Array, n: number, tolerance = 1e-5) {
  for (let column = 0; column < n; column++) {
    const of = (y: Float32Array) => y.filter((_, i) => i % n === column);
    const largest = Math.max(...of(a).map(Math.abs));
    of(b).forEach((v, r) => {
      expect(Math.abs(v - of(a)[r]) / largest, `column ${column}`).toBeLessThan(tolerance);
    });
  }
}

test.each(types)("%s: both levels of SIMD add up the same integers", async (type) => {
  const [n, k] = [11, 512];
  const [x, w] = [tensorFrom(7, "f32", [3, k]), randomBlocks(5, type, n, k)];
  // The same kernels twice where the host has no relaxed SIMD.
  const [a, b] = await Promise.all(levels.map(({ features }) => product(x, w, type, features)));
  expectSameIntegers(a, b, n);
});

describe.each(["unsigned", "signed"] as const)("dot products whose 7-bit operand is %s where it has 8", (dotAdd) => {
  standIn(dotAdd);

  test.each(types)("%s: the same integers as in baseline SIMD", async (type) => {
    // The number of one row may be much smaller than what was added up.
    for (const [m, n, k, tolerance] of [
      [1, 43, 512, 1e-4],
      [3, 11, 512, 1e-5],
    ]) {
      const [x, w] = [tensorFrom(7, "f32", [m, k]), randomBlocks(5, type, n, k)];
      const want = await product(x, w, type, { relaxedSimd: false });
      const fma = m === 1 ? 6 : 4;
      expectSameIntegers(want, await product(x, w, type, { relaxedSimd: true, dotAdd, fma }), n, tolerance);
    }
  });
});

onThreads((device) => {
  test.each([1, 2])("parts without panels leave the last one alone, %i rows", async (m) => {
    // Two panels, the second one not full: some parts begin behind both.
    const [type, n, k] = ["q8_0", 10, 4096] as const;
    const [x, w, bias] = [tensorFrom(7, "f32", [m, k]), randomBlocks(5, type, n, k), tensorFrom(9, "f32", [n])];
    const builder = new GraphBuilder();
    const constants = [builder.constant(w), builder.constant(bias)] as const;
    builder.output("y", quantizedMatmul(builder.input("x", "f32", x.shape), ...constants, undefined, { type, n, k }));
    const graph = builder.build();
    const [one, session] = await Promise.all([
      compile(graph, { device: wasm({ threads: 1 }) }),
      compile(graph, { device }),
    ]);
    const want = (await one.run({ x })).y.data.slice();
    for (let run = 0; run < 300; run++) expect((await session.run({ x })).y.data).toEqual(want);
    for (const s of [one, session]) s.dispose();
  });
});

// So many weights that panels have several turns, panels that are left over, and columns that are.
test.each(["q8_0", "q4_0", "q4_k", "f16"] as const)(
  "%s: a column is the same to the last bit wherever it stands",
  async (type) => {
    const [n, k] = [1024 + 61, 256];
    const [x, w] = [tensorFrom(7, "f32", [1, k]), randomBlocks(5, type, n, k)];
    for (const { features } of levels) {
      const all = await product(x, w, type, features);
      for (let first = 0; first < n; first += 101) {
        const rows = (w.data as Uint8Array).slice(first * rowBytes({ type, k }), (first + 3) * rowBytes({ type, k }));
        const few = await product(x, { dtype: "u8", shape: [rows.length], data: rows }, type, features);
        expect(few).toEqual(all.slice(first, first + few.length));
      }
    }
  },
);

for (const { label, features } of levels)
  test.each(types)(`%s, ${label}: a row's product is the same among many`, async (type) => {
    // More rows than a block of the product of floats, and one left over for its last tile.
    const [m, n, k] = [131, 43, 512];
    const [x, w] = [tensorFrom(7, "f32", [m, k]), randomBlocks(5, type, n, k)];
    const together = await product(x, w, type, features);
    for (const row of [0, 65, 66, 130]) {
      const data = (x.data as Float32Array).slice(row * k, (row + 1) * k);
      const alone = await product({ dtype: "f32", shape: [1, k], data }, w, type, features);
      const largest = Math.max(...alone.map(Math.abs));
      // Activations that are rounded in one of them only are off by 1e-3.
      alone.forEach((v, i) => {
        expect(Math.abs(v - together[row * n + i]) / largest, `row ${row}, column ${i}`).toBeLessThan(2e-5);
      });
    }
  });

test("packed blocks take little more than those of the file", () => {
  for (const type of types) {
    const k = 512;
    const inFile = GROUP * rowBytes({ type, k });
    expect(packedBytes(formats[type]!, GROUP, k) / inFile, type).toBeLessThan(1.06);
    // Rows that are not there are zeros, whatever stood there before.
    const one = new Uint8Array(packedBytes(formats[type]!, GROUP, k)).fill(255);
    packBlocks(type, k, new Uint8Array(rowBytes({ type, k })), one);
    // 224 is a scale of -32, which zero bits mean in q3_k and iq4_xs; 128 the code of zero.
    expect(
      one.every((b) => b === 0 || b === 224 || (b === 128 && type === "q8_0")),
      type,
    ).toBe(true);
  }
});

test.each(types)("packed %s gives back the file's bytes", (type) => {
  const [n, k] = [GROUP + 3, 512];
  const file = randomBlocks(5, type, n, k).data as Uint8Array;
  const packed = new Uint8Array(packedBytes(formats[type]!, n, k));
  packBlocks(type, k, file, packed);
  expect(unpackBlocks(type, n, k, packed)).toEqual(file);
});
