import { type WasmBackend, type WasmOptions, wasm } from "../../src/backends/wasm/index.ts";
import type { WasmSession } from "../../src/backends/wasm/session.ts";

/** A backend whose workers have started, and stay until `dispose`: the first runs of others go without. */
export async function withWorkers(options: WasmOptions): Promise<{ backend: WasmBackend; dispose(): void }> {
  const backend = wasm(options);
  const holder = backend.open() as WasmSession;
  await holder.pool!.ready();
  if (!holder.pool!.started) throw new Error("no worker has started");
  return { backend, dispose: () => holder.dispose() };
}
