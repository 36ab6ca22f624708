import { afterAll } from "vitest";
import { type WasmBackend, type WasmOptions, wasm } from "../../src/backends/wasm/index.ts";
import type { WasmSession } from "../../src/backends/wasm/session.ts";

/** A backend whose workers have started, and stay until `dispose`: the first runs of others go without. */
export async function withWorkers(options: WasmOptions): Promise<{ backend: WasmBackend; dispose(): void }> {
  const backend = wasm(options);
  await backend.load!([], []);
  const holder = backend.open() as WasmSession;
  await holder.pool!.ready();
  if (!holder.pool!.started) throw new Error("no worker has started");
  return { backend, dispose: () => holder.dispose() };
}

/**
 * Every way in which kernels are emitted, by name. Of two threads both have started, and the smallest step is divided. To be
 * awaited by a test file, whose end is the workers' end.
 */
export async function wasmDevices(): Promise<Record<string, () => WasmBackend>> {
  const onTwo = await withWorkers({ threads: 2, parallelWork: 0 });
  afterAll(onTwo.dispose);
  return {
    wasm: () => wasm({ threads: 1 }),
    "wasm without relaxed SIMD": () => wasm({ threads: 1, features: { relaxedSimd: false } }),
    "wasm on two threads": () => onTwo.backend,
  };
}
