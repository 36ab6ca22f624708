/** Tests that run for several numbers of threads, all of which are up. */
import { afterAll, beforeAll, describe, expect } from "vitest";
import type { WasmFeatures } from "../../src/backends/wasm/features.ts";
import { type WasmBackend, wasm } from "../../src/backends/wasm/index.ts";
import type { WasmSession } from "../../src/backends/wasm/session.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";

export function onThreads(define: (device: WasmBackend) => void, features?: Partial<WasmFeatures>): void {
  for (const threads of [2, 3])
    describe(`${threads} threads`, () => {
      const device = wasm({ threads, parallelWork: 0, features });
      let holder: WasmSession;
      beforeAll(async () => {
        await device.load!([], []);
        holder = device.open() as WasmSession;
        await holder.pool!.ready();
        expect(holder.pool!.started).toBe(true);
      });
      afterAll(() => holder.dispose());
      define(device);
    });
}

/** The same shape and the same bits. */
export function expectSame(got: HostTensor, want: HostTensor): void {
  expect(got.shape).toEqual(want.shape);
  const [a, b] = [got, want].map((t) => t.data as Float32Array);
  expect(a.findIndex((v, i) => !Object.is(v, b[i]))).toBe(-1);
}
