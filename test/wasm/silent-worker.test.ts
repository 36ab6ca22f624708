/** A worker that never answers. */
import { expect, test, vi } from "vitest";
import { WorkerPool } from "../../src/backends/wasm/pool.ts";

const workers: { ended: boolean }[] = [];
vi.mock("../../src/backends/wasm/worker.ts", () => ({
  emitDispatch: undefined,
  startWorker: async () => {
    const worker = { ended: false, postMessage() {}, terminate: () => (worker.ended = true) };
    workers.push(worker);
    return worker;
  },
}));

test("a pool gives one up, and ends it should it come up later", async () => {
  vi.useFakeTimers();
  try {
    const pool = new WorkerPool(2);
    const ready = pool.ready();
    await vi.waitFor(() => expect(workers.length).toBe(1));
    await vi.advanceTimersByTimeAsync(60_000);
    await ready;
    expect(pool.started).toBe(false);
    expect(pool.pending).toBe(false);
    expect(workers.map((w) => w.ended)).toEqual([true]);
  } finally {
    vi.useRealTimers();
  }
});
