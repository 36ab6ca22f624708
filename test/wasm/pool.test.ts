/** The worker threads of a device end with its last session and start again with the next. */
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { wasm } from "../../src/backends/wasm/index.ts";
import { WorkerPool } from "../../src/backends/wasm/pool.ts";
import type { WasmSession } from "../../src/backends/wasm/session.ts";
import { compile, graph, matmul } from "../../src/index.ts";
import { tensorFrom } from "../cases/case.ts";

const size = 128;
const square = tensorFrom(1, "f32", [size, size]);

test("a device outlives its sessions", async () => {
  const device = wasm({ threads: 2, parallelWork: 0 });
  const product = graph(({ input }) => ({
    y: matmul(input("a", "f32", [size, size]), input("b", "f32", [size, size])),
  }));
  let first: ArrayLike<unknown> | undefined;
  for (let round = 0; round < 3; round++) {
    using session = await compile(product, { device });
    for (let i = 0; i < 6; i++) {
      const { y } = await session.run({ a: square, b: square });
      first ??= y.data;
      expect(y.data).toEqual(first);
      await sleep(20); // The workers start and end between runs.
    }
  }
});

test.each([
  ["runs", {}],
  ["profiled runs", { profile: true }],
])("a program that awaits nothing but %s has its threads soon", async (_, options) => {
  const device = wasm({ threads: 2, parallelWork: 0 });
  await device.load!([], []);
  const holder = device.open() as WasmSession;
  const { pool } = holder;
  const product = graph(({ input }) => ({
    y: matmul(input("a", "f32", [size, size]), input("b", "f32", [size, size])),
  }));
  using session = await compile(product, { device });
  const late = performance.now() + 20_000;
  while (!pool!.started && performance.now() < late) await session.run({ a: square, b: square }, options);
  expect(pool!.started).toBe(true);
  expect(pool!.pending).toBe(false);
  holder.dispose();
});

test("workers that end are no failure of those that follow", async () => {
  const pool = new WorkerPool(2);
  for (let round = 0; round < 3; round++) {
    pool.acquire();
    await pool.ready();
    expect(pool.started).toBe(true);
    await sleep(100);
    pool.begin(0);
    pool.release();
    expect(pool.started).toBe(false);
  }
});

test("a pool released while it starts keeps no workers", async () => {
  const pool = new WorkerPool(2);
  pool.acquire();
  const ready = pool.ready();
  pool.release();
  await ready;
  await sleep(50);
  expect(pool.started).toBe(false);
});
