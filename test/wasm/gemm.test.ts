import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { f32x4, ModuleBuilder, v128 } from "../../src/backends/wasm/assembler.ts";
import { wasmFeatures } from "../../src/backends/wasm/features.ts";
import { emitGemm, type GemmOptions, gemmWorkspaceBytes } from "../../src/backends/wasm/kernels/gemm.ts";
import {
  emitGroups,
  GROUP_ROWS,
  groupPanels,
  groupWorkspaceBytes,
} from "../../src/backends/wasm/kernels/gemm-groups.ts";
import { emitPackB, packB, packedLength } from "../../src/backends/wasm/kernels/gemm-pack.ts";
import { emitStream, STREAM_ROWS } from "../../src/backends/wasm/kernels/gemm-stream.ts";
import type { Fma } from "../../src/backends/wasm/kernels/gemm-tile.ts";

const CANARY = 12345;
const random = (length: number, seed: number) => {
  let state = seed >>> 0;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
};

type Runner = (...args: number[]) => void;
function instantiate(build: (m: ModuleBuilder) => void): { memory: WebAssembly.Memory; run: Runner } {
  const m = new ModuleBuilder();
  m.memory({ min: 4, export: "memory" });
  build(m);
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(m.toBytes()));
  return { memory: exports.memory as WebAssembly.Memory, run: exports.run as Runner };
}

/** Places arrays one after the other with a canary in between; deliberately only 4-byte aligned. */
function layout(memory: WebAssembly.Memory, arrays: Float32Array[]): { address: number[]; view: Float32Array[] } {
  const all = new Float32Array(memory.buffer).fill(CANARY);
  let at = 1;
  const address: number[] = [];
  const view = arrays.map((array) => {
    address.push(4 * at);
    all.set(array, at);
    const place = all.subarray(at, at + array.length);
    at += array.length + 1;
    return place;
  });
  return { address, view };
}

/** Every float outside of the views is still a canary. */
function untouched(memory: WebAssembly.Memory, views: Float32Array[]): boolean {
  for (const view of views) view.fill(CANARY);
  return new Float32Array(memory.buffer).every((x) => x === CANARY);
}

const clip = (lo: number, hi: number) => (x: number) => Math.min(Math.max(x, lo), hi);
const activations = {
  none: { reference: (x: number) => x, emit: undefined },
  relu6: {
    reference: clip(0, 6),
    emit: (_: unknown, x: Parameters<typeof f32x4.abs>[0] & { type: "v128" }) =>
      f32x4.pmin(f32x4.pmax(x, v128.const(new Uint8Array(16))), f32x4.splat(6)),
  },
} as const;

const fmaChoices: readonly Fma[] = wasmFeatures().relaxedSimd ? [0, 4, 6] : [0];

for (const fma of fmaChoices)
  it(`columns of the same weights are the same to the last bit, ${fma} rows in a tile`, () => {
    const { memory, run } = instantiate((m) => emitGemm(m, { name: "run", fma, oneRow: true, export: true }));
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 90 }), fc.integer({ min: 1, max: 90 }), fc.nat(), (n, k, seed) => {
        const column = random(k, seed);
        const b = Float32Array.from({ length: k * n }, (_, i) => column[Math.floor(i / n)]);
        const packed = new Float32Array(packedLength(k, n));
        packB(b, packed, { k, n, transposed: false });
        const workspace = new Float32Array(gemmWorkspaceBytes(1, k) / 4);
        const { address, view } = layout(memory, [random(k, seed + 1), packed, new Float32Array(n), workspace]);
        run(address[0], 4 * k, address[1], address[2], 4 * n, 1, n, k, 0, 0, 0, address[3]);
        expect(new Set(view[2]).size).toBe(1);
      }),
    );
  });

for (const fma of fmaChoices) {
  describe(`gemm with ${fma ? `relaxed SIMD, ${fma} rows in a tile` : "baseline SIMD"}`, () => {
    for (const bias of ["none", "row", "column"] as const) {
      for (const residual of [false, true]) {
        for (const activation of ["none", "relu6"] as const) {
          const { emit, reference } = activations[activation];
          const options: GemmOptions = { name: "run", fma, bias, residual, activation: emit, export: true };
          const any = instantiate((m) => emitGemm(m, options));
          const one = instantiate((m) => emitGemm(m, { ...options, oneRow: true }));
          it(`bias ${bias}, residual ${residual}, activation ${activation}`, () => {
            fc.assert(
              fc.property(
                fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 100, max: 260 })),
                fc.integer({ min: 1, max: 40 }),
                fc.integer({ min: 0, max: 50 }),
                fc.nat(3),
                fc.nat(),
                fc.boolean(),
                (rows, n, k, pad, seed, oneRow) => {
                  const { memory, run } = oneRow ? one : any;
                  const m = oneRow ? 1 : rows;
                  const a = random(m * (k + pad), seed);
                  const b = random(k * n, seed + 1);
                  const biases = random(bias === "row" ? m : n, seed + 2);
                  const rest = random(m * (n + pad), seed + 3);
                  const packed = new Float32Array(packedLength(k, n));
                  packB(b, packed, { k, n });
                  const c = new Float32Array(m * (n + pad)).fill(CANARY);
                  const workspace = new Float32Array(gemmWorkspaceBytes(m, k) / 4);
                  const { address, view } = layout(memory, [a, packed, c, biases, rest, workspace]);
                  const [pa, pb, pc, pBias, pResidual, pWorkspace] = address;
                  const ldc = 4 * (n + pad);
                  run(pa, 4 * (k + pad), pb, pc, ldc, m, n, k, pBias, pResidual, ldc, pWorkspace);
                  for (let i = 0; i < m; i++) {
                    for (let j = 0; j < n; j++) {
                      let sum = 0;
                      for (let q = 0; q < k; q++) sum += a[i * (k + pad) + q] * b[q * n + j];
                      if (bias !== "none") sum += biases[bias === "row" ? i : j];
                      if (residual) sum += rest[i * (n + pad) + j];
                      const got = view[2][i * (n + pad) + j];
                      const error = Math.abs(got - reference(sum));
                      if (!(error <= (k + 3) * 2 ** -23)) {
                        throw new Error(`C[${i},${j}] = ${got}, expected ${reference(sum)}`);
                      }
                    }
                    for (let j = n; j < n + pad; j++) expect(view[2][i * (n + pad) + j]).toBe(CANARY);
                  }
                  expect(untouched(memory, view)).toBe(true);
                },
              ),
              { numRuns: 40 },
            );
          });
        }
      }
    }

    const asItLies = {
      "few rows": { rows: STREAM_ROWS, wide: [1000, 2100], emit: emitStream, last: () => [] },
      "groups of panels": {
        rows: GROUP_ROWS,
        wide: [200, 290],
        emit: emitGroups,
        last: (m: number, n: number, k: number, panels: number): [number, Float32Array] => {
          const group = Math.min(panels, groupPanels(k, n));
          return [group, new Float32Array(groupWorkspaceBytes(m, k, n) / 4)];
        },
      },
    };
    for (const [name, { rows, wide, emit, last }] of Object.entries(asItLies))
      it(`${name}, with B as it lies`, () => {
        const { memory, run } = instantiate((m) => emit(m, { name: "run", fma, export: true }));
        const columns = fc.oneof(fc.integer({ min: 1, max: 60 }), fc.integer({ min: wide[0], max: wide[1] }));
        fc.assert(
          fc.property(
            fc.integer({ min: 1, max: rows }),
            columns,
            fc.integer({ min: 0, max: 18 }),
            fc.nat(3),
            fc.integer({ min: 1, max: 9 }),
            fc.nat(),
            (m, n, k, pad, panels, seed) => {
              if (rows > STREAM_ROWS && k === 0) return;
              const a = random(m * (k + pad), seed);
              const b = random(k * (n + pad), seed + 1);
              const c = new Float32Array(m * (n + pad)).fill(CANARY);
              const [group, workspace] = last(m, n, k, panels);
              const { address, view } = layout(memory, workspace ? [a, b, c, workspace] : [a, b, c]);
              const more = group && workspace ? [group, address[3]] : [];
              run(address[0], 4 * (k + pad), address[1], 4 * (n + pad), address[2], 4 * (n + pad), m, n, k, ...more);
              for (let i = 0; i < m; i++)
                for (let j = 0; j < n + pad; j++) {
                  let sum = 0;
                  for (let q = 0; q < k; q++) sum += a[i * (k + pad) + q] * b[q * (n + pad) + j];
                  const got = view[2][i * (n + pad) + j];
                  if (j >= n ? got !== CANARY : !(Math.abs(got - sum) <= (k + 3) * 2 ** -23))
                    throw new Error(`C[${i},${j}] = ${got}, expected ${j >= n ? CANARY : sum}`);
                }
              expect(untouched(memory, view)).toBe(true);
            },
          ),
          { numRuns: 60 },
        );
      });

    it("does not hide NaN and infinities behind the padding", () => {
      const { memory, run } = instantiate((m) => emitGemm(m, { name: "run", fma, export: true }));
      const [m, n, k] = [3, 5, 2];
      const packed = new Float32Array(packedLength(k, n));
      packB(new Float32Array(k * n).fill(1), packed, { k, n });
      const a = new Float32Array([1, Number.NaN, Number.POSITIVE_INFINITY, 1, 1, 1]);
      const arrays = [a, packed, new Float32Array(m * n), new Float32Array(gemmWorkspaceBytes(m, k) / 4)];
      const { address, view } = layout(memory, arrays);
      run(address[0], 4 * k, address[1], address[2], 4 * n, m, n, k, 0, 0, 0, address[3]);
      expect([...view[2]]).toEqual([Number.NaN, Number.POSITIVE_INFINITY, 2].flatMap((x) => new Array(n).fill(x)));
    });
  });
}

describe("packing B", () => {
  for (const transposed of [false, true]) {
    const { memory, run } = instantiate((m) => emitPackB(m, { name: "run", transposed, export: true }));
    it(`in wasm as on the host${transposed ? ", transposed" : ""}`, () => {
      fc.assert(
        fc.property(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 1, max: 40 }), fc.nat(3), (k, n, pad) => {
          const [rows, columns] = transposed ? [n, k] : [k, n];
          const source = random(rows * columns, k * 100 + n);
          const strided = new Float32Array(rows * (columns + pad));
          for (let i = 0; i < rows; i++) {
            strided.set(source.subarray(i * columns, (i + 1) * columns), i * (columns + pad));
          }
          const want = new Float32Array(packedLength(k, n)).fill(CANARY);
          packB(source, want, { k, n, transposed });
          const { address, view } = layout(memory, [strided, new Float32Array(want.length).fill(7)]);
          run(address[0], 4 * (columns + pad), k, n, address[1]);
          expect(view[1]).toEqual(want);
          expect(untouched(memory, view)).toBe(true);
        }),
      );
    });
  }
});
